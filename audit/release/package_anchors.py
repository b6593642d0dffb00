"""Anchors that travel in a package: checkpoints cosigned by witnesses, and RFC 3161 tokens over checkpoints.

A `.note` is a checkpoint of one of the two trails with the trail's own signature and those of witnesses; it is checked against the
root that the entries lead to, and its cosignatures against keys from outside. A `.tsr` is bound by the manifest and named by its size only:
what it says of time is for a verifier that trusts a time-stamping authority. Source: C2SP tlog-cosignature v1.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from audit.checkpoint import VerifierKey, parse_checkpoint, split_note, verify_note
from audit.errors import DosewrightError, NoteInvalid
from audit.release.package import AnchorName, anchor_name
from audit.release.package_entries import Checked
from audit.release.trail_view import TrailView, text_of

_COSIGNATURE = b"\x04"
_KEY_ID, _TIME, _SIGNATURE = 4, 8, 64


@dataclass(frozen=True, slots=True)
class WitnessKey:
    """The verifier key of a witness, `name+hash+base64(0x04 ‖ Ed25519 key)`."""

    name: str
    key_id: bytes
    public: bytes

    @classmethod
    def parse(cls, text: str) -> WitnessKey:
        """Read the text form. Raises NoteInvalid."""
        name, _, rest = text.strip().partition("+")
        stated, _, encoded = rest.partition("+")
        try:
            data = base64.b64decode(encoded, validate=True)
        except binascii.Error:
            data = b""
        key_id = hashlib.sha256(name.encode() + b"\n" + data).digest()[:_KEY_ID]
        if not name or data[:1] != _COSIGNATURE or len(data) != 33 or key_id.hex() != stated:
            raise NoteInvalid(f"{text[:60]!r} is not the verifier key of a witness (type 4).", remedy="Copy the whole line.")
        return cls(name, key_id, data[1:])

    def time_of(self, text: str, signatures: Sequence[tuple[str, bytes]]) -> int | None:
        """Return the POSIX time at which this witness cosigned a note's text; None where it did not. Raises NoteInvalid (it is forged)."""
        for name, data in signatures:
            if (name, data[:_KEY_ID]) == (self.name, self.key_id):
                if len(data) != _KEY_ID + _TIME + _SIGNATURE:
                    raise NoteInvalid(f"The cosignature of {self.name} has another length.")
                time = int.from_bytes(data[_KEY_ID : _KEY_ID + _TIME], "big")
                signed = f"cosignature/v1\ntime {time}\n{text}".encode()
                try:
                    Ed25519PublicKey.from_public_bytes(self.public).verify(data[_KEY_ID + _TIME :], signed)
                except (InvalidSignature, ValueError) as error:
                    raise NoteInvalid(f"The cosignature of {self.name} does not fit the checkpoint.") from error
                return time
        return None


def check_anchors(state: Checked, views: Sequence[TrailView], witnesses: Sequence[WitnessKey]) -> None:
    """Check every file under `anchors/`, and where witnesses are given, that each cosigned a checkpoint of each trail."""
    by_origin = {view.origin: view for view in views}
    anchors = [anchor for name in state.files if (anchor := anchor_name(name)) and anchor.origin in by_origin]
    seen = {(view.origin, witness.name): 0 for view in views for witness in witnesses}
    for anchor in anchors:
        view = by_origin[anchor.origin]
        if anchor.size > view.size:
            state.find(anchor.name, f"anchors {anchor.size} entries, its trail has {view.size}")
        elif anchor.kind == "note":
            for name in _cosigned(state, anchor, view, witnesses):
                seen[anchor.origin, name] = max(seen[anchor.origin, name], anchor.size)
    for (origin, name), size in seen.items():
        if not size:
            state.find(f"anchors/{origin}", f"holds no checkpoint that the witness {name} cosigned")
    if anchors or witnesses:
        told = "; ".join(f"{name} saw {size} entries of {origin}" for (origin, name), size in seen.items() if size)
        state.say(f"6 anchors: {len(anchors)} files; {told or 'no key of a witness was given'}")


def _cosigned(state: Checked, anchor: AnchorName, view: TrailView, witnesses: Sequence[WitnessKey]) -> list[str]:
    """Check one cosigned checkpoint; return the witnesses that signed it."""
    try:
        note = state.files[anchor.name].decode()
        text, signatures = split_note(note)
        verify_note(note, [VerifierKey.parse(text_of(view[0].new.get("verifier_key")) or "")])
        stated = parse_checkpoint(text)
        root = base64.b64encode(stated.root).decode()
        if (stated.origin, stated.size) != (anchor.origin, anchor.size) or root != view.root(anchor.size):
            state.find(anchor.name, "is not a checkpoint of this size and root of its trail")
            return []
        return [witness.name for witness in witnesses if witness.time_of(text, signatures) is not None]
    except (UnicodeDecodeError, DosewrightError) as error:
        state.find(anchor.name, f"is not a checkpoint that its trail signed: {error}")
        return []
