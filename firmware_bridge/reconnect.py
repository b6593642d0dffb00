"""Open a port again and make sure who is there before anything else is said to it.

After a cable was out, the port may belong to another device: the same adapter, another balance. So the first exchange on an
opened port is a question of identity, and a transport is handed on only if the answer is the expected one. Nothing but that
question is ever written here.
"""

from __future__ import annotations

import select
from collections.abc import Callable
from typing import Protocol

from firmware_bridge.balance import BalanceDriver, BalanceFault, BalanceIdentified
from firmware_bridge.errors import LinkLost, OtherDevice
from firmware_bridge.firmware_profile import FirmwareProfile
from firmware_bridge.gcode_lines import Capability, Fatal, Identity, Ok, Restarted
from firmware_bridge.link_handshake import HELLO, Handshake, IdentityDiffers, IdentityKnown
from firmware_bridge.link_values import LinkFault
from firmware_bridge.reply_reader import ReplyReader
from firmware_bridge.transport import Transport, open_transport

SECOND = 1_000_000


class Question(Protocol):
    """A question of identity as a sans-I/O machine. `answer`: None while open, empty for the expected device, else the difference."""

    def begin(self, now: int) -> None: ...

    def receive(self, data: bytes, now: int) -> None: ...

    def tick(self, now: int) -> None: ...

    def bytes_to_send(self) -> bytes: ...

    def next_deadline(self) -> int | None: ...

    @property
    def answer(self) -> str | None: ...

    @property
    def words(self) -> str:
        """Who answered, for a person; empty while nobody has."""
        ...


class BalanceQuestion:
    """Ask a balance for its serial number; `serial` None takes any. `driver` must be fresh and may be used on: it is identified then."""

    def __init__(self, driver: BalanceDriver, serial: str | None) -> None:
        self.driver, self.serial = driver, serial
        self.words = ""
        self._answer: str | None = None

    @property
    def answer(self) -> str | None:
        return self._answer

    def begin(self, now: int) -> None:
        self.driver.identify(now)

    def receive(self, data: bytes, now: int) -> None:
        self.driver.receive(data, now)
        self._look()

    def tick(self, now: int) -> None:
        self.driver.tick(now)
        self._look()

    def bytes_to_send(self) -> bytes:
        return self.driver.bytes_to_send()

    def next_deadline(self) -> int | None:
        return self.driver.next_deadline()

    def _look(self) -> None:
        while (event := self.driver.next_event()) is not None:
            match event:
                case BalanceIdentified(model, serial):
                    self.words = f"{model}, serial number {serial}"
                    self._answer = "" if self.serial in (None, serial) else f"{model}, serial number {serial}, expected {self.serial}."
                case BalanceFault(_, text):
                    self._answer = text
                case _:
                    pass


class PrinterQuestion:
    """Ask a printer for its firmware (M115) and compare it with the approved profile. Numbering is left to the link."""

    def __init__(self, profile: FirmwareProfile) -> None:
        self._handshake = Handshake(profile)
        self._reader = ReplyReader(profile.max_reply)
        self._out = b""
        self._answer: str | None = None

    @property
    def answer(self) -> str | None:
        return self._answer

    @property
    def words(self) -> str:
        return " ".join(self._handshake.fields.get(name, "") for name in ("FIRMWARE_NAME", "FIRMWARE_VERSION")).strip()

    def begin(self, now: int) -> None:
        self._judge(self._handshake.begin(now))

    def receive(self, data: bytes, now: int) -> None:
        for reply in self._reader.replies(data):
            match reply:
                case Identity() | Capability():
                    self._judge(self._handshake.identity(reply, now))
                case Ok():
                    self._judge(self._handshake.ok(reply, now))
                case Restarted():
                    self._handshake.restarted(now)
                case Fatal(_, text) if self._answer is None:
                    self._answer = text
                case _:
                    pass

    def tick(self, now: int) -> None:
        due = self._handshake.deadline
        if self._answer is None and due is not None and now >= due:
            self._judge(self._handshake.silent(now))

    def bytes_to_send(self) -> bytes:
        data, self._out = self._out, b""
        return data

    def next_deadline(self) -> int | None:
        return self._handshake.deadline if self._answer is None else None

    def _judge(self, result: object) -> None:
        # Only the question itself goes out: the numbering that the handshake would begin next is not written.
        self._out += HELLO if HELLO in self._handshake.bytes_to_send() else b""
        match result:
            case IdentityKnown():
                self._answer = ""
            case IdentityDiffers(differences):
                self._answer = "; ".join(differences)
            case LinkFault(_, text):
                self._answer = text
            case _:
                pass


def _open(address: str, baud: int, framing: str) -> Transport:
    return open_transport(address, baud, framing=framing)


def reconnect(
    address: str,
    question: Question,
    *,
    clock: Callable[[], int],
    baud: int = 250_000,
    framing: str = "8N1",
    limit_us: int = 20 * SECOND,
    opener: Callable[[str, int, str], Transport] = _open,
) -> Transport:
    """Open `address` and identify the device on it; return the transport if it is the expected one.

    Blocks for at most about `limit_us`. Raises OtherDevice (the port is closed again), or what the opening raises.
    Concurrency: call it from a thread that may wait; no other may use the port meanwhile.
    """
    transport = opener(address, baud, framing)
    try:
        _ask(transport, question, clock, clock() + limit_us)
    except BaseException:
        transport.close()
        raise
    if question.answer:
        transport.close()
        raise OtherDevice(address, question.answer)
    return transport


def _ask(transport: Transport, question: Question, clock: Callable[[], int], until: int) -> None:
    poller = select.poll()
    poller.register(transport.fileno(), select.POLLIN)
    question.begin(clock())
    pending = question.bytes_to_send()
    while question.answer is None:
        now = clock()
        if now >= until:
            raise LinkLost(f"The device at {transport.name} does not say who it is.", remedy="Check the device and its cable.")
        pending = pending[transport.write(pending) :] if pending else b""
        due = min(until, question.next_deadline() or until)
        # A device that takes no bytes is tried again soon; otherwise wait for an answer or the next deadline.
        if poller.poll(20 if pending else max(1, (due - now) // 1000)):
            question.receive(transport.read(), clock())
        question.tick(clock())
        pending += question.bytes_to_send()
