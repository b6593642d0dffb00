"""Who is there, and from which number do we count: the beginning of a printer link, as a pure machine.

Requests may be repeated safely: `M115` and `N0 M110 N0` move nothing. If one was repeated, the answers to all of them are
awaited before the next step, so that a late one cannot be taken for something else.
"""

from __future__ import annotations

from dataclasses import dataclass

from firmware_bridge.firmware_profile import FirmwareProfile, parse_identity
from firmware_bridge.gcode_lines import Capability, Identity, Ok
from firmware_bridge.link_values import LinkFault

HELLO = b"\nM115\n"
SET_NUMBER = b"N0 M110 N0*125\n"
_MAX_CAPABILITIES = 256


@dataclass(frozen=True, slots=True)
class IdentityKnown:
    """The firmware is the approved one; line numbering is being set."""


@dataclass(frozen=True, slots=True)
class IdentityDiffers:
    """The firmware is not the approved one; each difference is a sentence."""

    differences: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Numbered:
    """Numbering is set. `window` lines may be in flight; `advanced`: oks carry numbers."""

    window: int
    advanced: bool


HandshakeResult = IdentityKnown | IdentityDiffers | Numbered | LinkFault


class Handshake:
    """Identification, then numbering. Every input returns a result or None; bytes to send are taken with `bytes_to_send`.

    Times in µs. Lifetime: from `begin` to Numbered, IdentityDiffers or LinkFault. Concurrency: that of the link.
    """

    def __init__(self, profile: FirmwareProfile) -> None:
        self.profile = profile
        self.fields: dict[str, str] = {}
        self.capabilities: dict[str, bool] = {}
        self.deadline: int | None = None
        self.owes_ok = False
        self._identified = False
        self._tries = self._unanswered = 0
        self._answer: Ok | None = None
        self._out = b""

    def bytes_to_send(self) -> bytes:
        data, self._out = self._out, b""
        return data

    def begin(self, now: int) -> HandshakeResult | None:
        """Ask who is there."""
        self.fields, self.capabilities, self._answer = {}, {}, None
        return self._say(HELLO, now)

    def restarted(self, now: int) -> None:
        """The printer has started anew: forget what it said, and ask again when it is quiet."""
        self._identified = False
        self._unanswered, self._answer, self.fields = 0, None, {}
        self.deadline = now + self.profile.resend_settle_us

    def silent(self, now: int) -> HandshakeResult | None:
        """The deadline is reached."""
        if self._answer is not None:
            return self._step(self._answer, now)
        return self._say(SET_NUMBER, now) if self._identified else self.begin(now)

    def asked_again(self, now: int) -> HandshakeResult | None:
        """The printer wants a line again; its `ok` answers that, not a request."""
        self.owes_ok = True
        if not self._identified:
            return None
        self._unanswered = max(0, self._unanswered - 1)
        return self._say(SET_NUMBER, now)

    def identity(self, reply: Identity | Capability, now: int) -> HandshakeResult | None:
        """Take a line of the M115 reply."""
        if self._identified:
            return None
        if isinstance(reply, Capability):
            self.capabilities[reply.name] = reply.present
            if len(self.capabilities) > _MAX_CAPABILITIES:
                return LinkFault("FB-103", f"More than {_MAX_CAPABILITIES} capabilities reported.")
            return None
        self.fields = parse_identity(reply.text)
        return self.ok(Ok(), now) if reply.ok else None

    def ok(self, ok: Ok, now: int) -> HandshakeResult | None:
        if self.owes_ok and ok.number is None:
            self.owes_ok = False
            return None
        if not self._identified and not self.fields:
            return None  # the answer to rubbish that was in the line before us
        self._answer = ok
        self._unanswered = max(0, self._unanswered - 1)
        if self._unanswered:
            self.deadline = now + self.profile.hello_timeout_us
            return None
        return self._step(ok, now)

    def _say(self, data: bytes, now: int) -> HandshakeResult | None:
        self._tries += 1
        if self._tries > self.profile.hello_tries:
            return LinkFault("FB-107", f"No usable answer to {self.profile.hello_tries} requests for identity and line numbering.")
        self._unanswered += 1
        self._out += data
        self.deadline = now + self.profile.hello_timeout_us
        return None

    def _step(self, ok: Ok, now: int) -> HandshakeResult:
        """Every request of this step is answered, or long enough silent: judge it and go to the next."""
        self._answer, self._unanswered = None, 0
        if not self._identified:
            differences = self.profile.differences(self.fields, self.capabilities)
            if differences:
                return IdentityDiffers(differences)
            self._identified = True
            self._tries = 0
            return self._say(SET_NUMBER, now) or IdentityKnown()
        advanced = ok.slots is not None
        if self.profile.advanced_ok and not advanced:
            return IdentityDiffers(("ADVANCED_OK: approved yes, found no",))
        self.deadline = None
        # Without an emergency parser every line in flight delays a stop; then one is enough.
        several = self.profile.advanced_ok and ok.slots is not None and self.capabilities.get("EMERGENCY_PARSER")
        return Numbered(max(1, min(self.profile.command_slots, ok.slots + 1)) if several and ok.slots is not None else 1, advanced)
