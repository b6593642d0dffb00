"""Ask a port who is on it: printer, balance or sensor hub. Nothing that moves, heats, zeroes or tares is ever written.

The questions, in this order, each on the port opened once: listen for sensor lines, then `M115` (a printer), `I4 I2 I3` (MT-SICS) and
`ESC x1_ x2_ x3_` (Sartorius). A device that does not know a question ignores it or says that it does not know it. Opening a port resets
many boards: ask only where a person asked for it.
"""

from __future__ import annotations

import select
from collections.abc import Callable
from typing import Protocol

from firmware_bridge.balance import BalanceDriver, BalanceFault, BalanceIdentified
from firmware_bridge.firmware_profile import parse_identity
from firmware_bridge.gcode_lines import Identity
from firmware_bridge.link_handshake import HELLO
from firmware_bridge.mt_sics import MtSics
from firmware_bridge.pressure import PressureHub
from firmware_bridge.reply_reader import ReplyReader
from firmware_bridge.sartorius_sbi import SartoriusSbi
from firmware_bridge.transport import Transport

_LISTEN_US = 600_000
_ASK_US = 2_500_000
_FEWEST_LINES = 5


class Enquiry(Protocol):
    """One question as a sans-I/O machine; `answer` is None while nobody has answered it."""

    @property
    def answer(self) -> str | None: ...

    def begin(self, now: int) -> bytes: ...

    def receive(self, data: bytes, now: int) -> bytes: ...


class HubEnquiry:
    """Listen for the lines of a sensor hub; writes nothing."""

    def __init__(self) -> None:
        self._hub = PressureHub()

    @property
    def answer(self) -> str | None:
        if self._hub.lines < _FEWEST_LINES or self._hub.last is None:
            return None
        return f"a pressure sensor hub: {self._hub.lines} lines heard, last {self._hub.last.value}"

    def begin(self, now: int) -> bytes:
        return b""

    def receive(self, data: bytes, now: int) -> bytes:
        self._hub.receive(data, now)
        return b""


class PrinterEnquiry:
    """Ask `M115`."""

    def __init__(self) -> None:
        self._reader = ReplyReader(1024)
        self.answer: str | None = None

    def begin(self, now: int) -> bytes:
        return HELLO

    def receive(self, data: bytes, now: int) -> bytes:
        for reply in self._reader.replies(data):
            if isinstance(reply, Identity):
                fields = parse_identity(reply.text)
                said = " ".join(fields[name] for name in ("FIRMWARE_NAME", "FIRMWARE_VERSION", "MACHINE_TYPE") if fields.get(name))
                self.answer = f"a printer: {said}"
        return b""


class BalanceEnquiry:
    """Ask a balance for model, serial number and software."""

    def __init__(self, name: str, driver: BalanceDriver) -> None:
        self._name, self._driver = name, driver
        self.answer: str | None = None
        self._over = False

    def begin(self, now: int) -> bytes:
        self._driver.identify(now)
        return self._driver.bytes_to_send()

    def receive(self, data: bytes, now: int) -> bytes:
        if self._over:
            return b""
        self._driver.receive(data, now)
        while (event := self._driver.next_event()) is not None:
            match event:
                case BalanceIdentified(model, serial, software):
                    self.answer = f"a balance ({self._name}): {model}, serial number {serial}, software {software}"
                case BalanceFault():
                    self._over = True
                case _:
                    pass
        return self._driver.bytes_to_send()


def ask(transport: Transport, clock: Callable[[], int]) -> str | None:
    """Ask the device on an open port who it is; None if nothing known answers. Blocks for some eight seconds at most. Raises LinkLost."""
    enquiries: tuple[tuple[Enquiry, int], ...] = (
        (HubEnquiry(), _LISTEN_US),
        (PrinterEnquiry(), _ASK_US),
        (BalanceEnquiry("mt-sics", MtSics()), _ASK_US),
        (BalanceEnquiry("sartorius-sbi", SartoriusSbi()), _ASK_US),
    )
    poller = select.poll()
    poller.register(transport.fileno(), select.POLLIN)
    for enquiry, patience in enquiries:
        until = clock() + patience
        pending = enquiry.begin(clock())
        while enquiry.answer is None and (left := until - clock()) > 0:
            pending = pending[transport.write(pending) :] if pending else b""
            if poller.poll(20 if pending else max(1, left // 1000)):
                pending += enquiry.receive(transport.read(), clock())
        if enquiry.answer is not None:
            return enquiry.answer
    return None
