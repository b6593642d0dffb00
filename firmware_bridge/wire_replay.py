"""Feed a captured wire log through the machines again and say where they first part from it.

The machines are deterministic, so what they would send must be what the log says was sent. Lines that the run submitted are
read from the log itself: a numbered line that the link did not send of its own accord is submitted at that place, and must then
go out as it stands. Times that only a caller knows (when it called `tick`) are taken as late as the log allows. The volumes of
lines are not in the log, so the exposure limit is not judged here.
"""

from __future__ import annotations

import heapq
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from firmware_bridge.balance import BalanceDriver
from firmware_bridge.errors import LocalProtocolError
from firmware_bridge.firmware_profile import FirmwareProfile
from firmware_bridge.gcode_lines import number_line
from firmware_bridge.gcode_link import GcodeLink, LinkState, OutLine
from firmware_bridge.link_values import StopStrength
from firmware_bridge.pressure import PressureHub, PressureQuality
from firmware_bridge.pressure_modbus import ModbusMap, ModbusPressure
from firmware_bridge.wire_log import WireChunk

_NUMBERED = re.compile(rb"N([0-9]{1,9}) ([^*\n]+)\*[0-9]{1,3}\n")
_REORDER = 1024
_NO_LIMIT_NL = 10**15


@dataclass(frozen=True, slots=True)
class Misalignment:
    """The first place where log and machine part: process time in µs, what the machine expected, what the log holds."""

    at_us: int
    port: str
    text: str
    expected: bytes
    found: bytes


@dataclass(frozen=True, slots=True)
class PortReplay:
    """What came of one port: chunks and bytes that were followed, and the first misalignment, if any."""

    port: str
    chunks: int
    received: int
    sent: int
    first: Misalignment | None


class Follower(Protocol):
    """A machine that follows one port's log. `lookahead` is the next chunk of that port that was sent, if any."""

    def follow(self, chunk: WireChunk, lookahead: bytes) -> Misalignment | None: ...


def in_time_order(chunks: Iterable[WireChunk]) -> Iterator[WireChunk]:
    """Put chunks in order of time within a bounded window: several threads append, so neighbours may have changed places."""
    heap: list[tuple[int, bool, int, WireChunk]] = []
    for index, chunk in enumerate(chunks):
        heapq.heappush(heap, (chunk.at_us, chunk.direction != "<", index, chunk))
        if len(heap) > _REORDER:
            yield heapq.heappop(heap)[3]
    while heap:
        yield heapq.heappop(heap)[3]


def replay(chunks: Iterable[WireChunk], port: str, follower: Follower) -> PortReplay:
    """Follow one port from the beginning of the log to its end, or to the first misalignment."""
    mine = [chunk for chunk in in_time_order(chunks) if chunk.port == port]
    received = sent = 0
    for index, (chunk, ahead) in enumerate(zip(mine, _lookaheads(mine), strict=True)):
        problem = follower.follow(chunk, ahead)
        if problem is not None:
            return PortReplay(port, index, received, sent, problem)
        received += len(chunk.data) if chunk.direction == "<" else 0
        sent += len(chunk.data) if chunk.direction != "<" else 0
    return PortReplay(port, len(mine), received, sent, None)


def _lookaheads(chunks: Sequence[WireChunk]) -> list[bytes]:
    found: list[bytes] = []
    following = b""
    for chunk in reversed(chunks):
        found.append(following)
        following = chunk.data if chunk.direction == ">" else following
    return found[::-1]


class PrinterFollower:
    """Follows the printer's port with a link of its own."""

    def __init__(self, profile: FirmwareProfile) -> None:
        self.link = GcodeLink(profile, exposure_limit_nl=_NO_LIMIT_NL)
        self._due = b""
        self._rest = b""

    def follow(self, chunk: WireChunk, lookahead: bytes) -> Misalignment | None:
        match chunk.direction:
            case "<":
                if self.link.pending and not self._rest:
                    self._submit(lookahead, chunk.at_us)
                self.link.receive(chunk.data, chunk.at_us)
                while self.link.next_event() is not None:
                    pass
                return None
            case "!":
                return self._stopped(chunk)
            case _:
                return self._sent(chunk)

    def _stopped(self, chunk: WireChunk) -> Misalignment | None:
        for strength in StopStrength:
            if self.link.profile.stop_bytes(strength) == chunk.data:
                self.link.stop(strength, chunk.at_us)
                self._due = self._rest = b""
                return None
        return Misalignment(chunk.at_us, chunk.port, "not the bytes of a stop", b"", chunk.data)

    def _sent(self, chunk: WireChunk) -> Misalignment | None:
        found = self._rest + chunk.data
        self._rest = b""
        while found:
            self._collect(found, chunk.at_us)
            if not self._due:
                if b"\n" in found:
                    return Misalignment(
                        chunk.at_us, chunk.port, f"sent while the link is {self.link.state}, of which it knows nothing", b"", found
                    )
                self._rest = found
                return None
            length = min(len(found), len(self._due))
            if found[:length] != self._due[:length]:
                return Misalignment(
                    chunk.at_us, chunk.port, f"the link, which is {self.link.state}, would send something else", self._due, found
                )
            found, self._due = found[length:], self._due[length:]
        return None

    def _collect(self, found: bytes, now: int) -> None:
        """Make the link send what it has reason to: of its own accord, by its timers, then because a line is submitted."""
        self._due += self.link.bytes_to_send()
        if not self._due and self.link.state is LinkState.NEW:
            self.link.start(now)
            self._due += self.link.bytes_to_send()
        if not self._due:
            self.link.tick(now)
            self._due += self.link.bytes_to_send()
        if not self._due:
            self._submit(found, now)
            self._due += self.link.bytes_to_send()

    def _submit(self, found: bytes, now: int) -> None:
        """Submit the line at the head of `found`, if it is the next one and was not submitted already."""
        match = _NUMBERED.match(found)
        if match is None or self.link.state not in (LinkState.READY, LinkState.STREAMING, LinkState.PROBING) or self.link.queued:
            return
        number, command = int(match.group(1)), match.group(2)
        if number != self.link.next_number or number_line(number, command) != match.group(0) or command == b"M105":
            return
        try:
            self.link.submit((OutLine(command, ""),), now)
        except LocalProtocolError:
            return  # not a line that a run may submit: it stays unexplained and is reported


class BalanceFollower:
    """Follows a balance's port; `requests` says which method of the driver sends which bytes."""

    def __init__(self, driver: BalanceDriver, requests: dict[bytes, str]) -> None:
        self.driver = driver
        self._requests = requests
        self._due = b""

    def follow(self, chunk: WireChunk, lookahead: bytes) -> Misalignment | None:
        if chunk.direction == "<":
            self.driver.receive(chunk.data, chunk.at_us)
            while self.driver.next_event() is not None:
                pass
            return None
        self._due += self.driver.bytes_to_send()
        if not self._due:
            self.driver.tick(chunk.at_us)
            self._due += self.driver.bytes_to_send()
        if not self._due and chunk.data in self._requests and not self.driver.busy:
            self._request(self._requests[chunk.data], chunk.at_us)
        expected, self._due = self._due, b""
        if expected == chunk.data:
            return None
        text = "the driver waits for an answer" if self.driver.busy else "the driver would send something else"
        return Misalignment(chunk.at_us, chunk.port, text, expected, chunk.data)

    def _request(self, name: str, now: int) -> None:
        try:
            match name:
                case "identify":
                    self.driver.identify(now)
                case "weight":
                    self.driver.request_weight(now)
                case _:
                    self.driver.request_immediate(now)
        except LocalProtocolError:
            return  # reported as a misalignment: nothing is due
        self._due += self.driver.bytes_to_send()


MT_SICS_REQUESTS = {b"I2\r\n": "identify", b"S\r\n": "weight", b"SI\r\n": "immediate"}
SARTORIUS_REQUESTS = {b"\x1bx1_\r\n": "identify", b"\x1bP\r\n": "weight"}


class HubFollower:
    """Follows the sensor hub: the first damaged line, gap or restart of its sequence is the misalignment."""

    def __init__(self) -> None:
        self.hub = PressureHub()

    def follow(self, chunk: WireChunk, lookahead: bytes) -> Misalignment | None:
        if chunk.direction != "<":
            return Misalignment(chunk.at_us, chunk.port, "the hub is never written to", b"", chunk.data)
        damaged = self.hub.damaged
        self.hub.receive(chunk.data, chunk.at_us)
        text = "a line that cannot be read" if self.hub.damaged > damaged else ""
        while (reading := self.hub.next_event()) is not None:
            if not text and reading.quality in (PressureQuality.AFTER_GAP, PressureQuality.RESTARTED):
                text = f"{reading.quality} at sequence number {reading.seq}"
        return Misalignment(chunk.at_us, chunk.port, text, b"", chunk.data) if text else None


class ModbusFollower:
    """Follows a Modbus pressure transmitter's port: every poll must be the driver's own, and not before it was due.

    A timeout leaves no byte in the log; it is taken at its deadline, which is the earliest that the driver can have seen it.
    What the answers came to is in `driver` afterwards (`readings`, `damaged`, `timeouts`, `exceptions`).
    """

    def __init__(self, where: ModbusMap, *, period_us: int = 50_000, answer_timeout_us: int = 100_000, quiet_us: int = 20_000) -> None:
        self.driver = ModbusPressure(where, period_us=period_us, answer_timeout_us=answer_timeout_us, quiet_us=quiet_us)

    def follow(self, chunk: WireChunk, lookahead: bytes) -> Misalignment | None:
        driver = self.driver
        if chunk.direction == "<":
            self._timed_out(chunk.at_us)
            driver.receive(chunk.data, chunk.at_us)
            while driver.next_event() is not None:
                pass
            return None
        if driver.polls == 0:
            driver.start(chunk.at_us)
        else:
            self._timed_out(chunk.at_us)
            if driver.busy:
                return Misalignment(chunk.at_us, chunk.port, "polled while the driver waits for an answer", b"", chunk.data)
            driver.tick(chunk.at_us)
        expected = driver.bytes_to_send()
        if expected == chunk.data:
            return None
        return Misalignment(
            chunk.at_us, chunk.port, "polled before it was due" if not expected else "another request", expected, chunk.data
        )

    def _timed_out(self, now: int) -> None:
        due = self.driver.next_deadline()
        if self.driver.busy and due is not None and due < now:
            self.driver.tick(due)
