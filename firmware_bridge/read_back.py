"""What the firmware says that it carried out, compared with what it was sent. Pure; memory is bounded.

With `M111 S1` Marlin prints `echo:` and the whole line, number and checksum included, when it begins to carry it out and before
its `ok` (GcodeSuite::process_next_command). Eight bits of checksum let one damaged line in a few hundred pass; the echo shows
it. An echo may itself be damaged on the way back. That is told apart by the echo's own checksum: where it holds, the firmware
has carried out what the echo says; where it does not, nothing is known of the line but that it may have been another.
"""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass
from itertools import islice

from firmware_bridge.gcode_lines import checksum

PREFIX = b"echo:"
# Marlin reads number and checksum as strtol does: blanks and a sign before, anything behind.
_NUMBER = re.compile(rb"N[ \t]*\+?([0-9]{1,9})")
_CHECKSUM = re.compile(rb"[ \t]*\+?([0-9]{1,9})")
_COMMAND = re.compile(rb"[GMT][0-9]|.*\*[0-9]{1,3}\s*\Z", re.DOTALL)
_LOOK_AHEAD = 64
_MAX_EXPECTED = 4096


@dataclass(frozen=True, slots=True)
class CarriedOutOther:
    """The firmware has carried out something else than it was sent under this number."""

    number: int
    sent: bytes
    found: bytes


@dataclass(frozen=True, slots=True)
class CarriedOutTwice:
    number: int
    found: bytes


@dataclass(frozen=True, slots=True)
class Fragment:
    """The firmware has carried out a command that was not sent as a line: it has no number."""

    found: bytes


@dataclass(frozen=True, slots=True)
class Damaged:
    """An echo that was damaged on the way back: its line stays unproved."""


Finding = CarriedOutOther | CarriedOutTwice | Fragment | Damaged


class ReadBack:
    """Lines whose echo is awaited, in the order of sending. Concurrency: that of the link.

    `expected` maps the whole echo to the line's number, so that an undamaged echo costs one look-up.
    """

    def __init__(self) -> None:
        self.expected: dict[bytes, int] = {}
        self.damaged = self.forgotten = 0
        self._one_byte_off: set[int] = set()
        self._answered: dict[int, bytes] = {}
        self._recent: deque[bytes] = deque(maxlen=_LOOK_AHEAD)

    def sent(self, number: int, wire: bytes) -> None:
        """Expect the echo of a line that goes out for the first time."""
        if len(self.expected) >= _MAX_EXPECTED:
            self._answered.pop(self.expected.pop(next(iter(self.expected))), None)
            self.forgotten += 1
        self.expected[PREFIX + wire[:-1]] = number

    def withdrawn(self, wire: bytes) -> None:
        """Expect it no longer: the firmware has not taken the line, its number is free again."""
        self._answered.pop(self.expected.pop(PREFIX + wire[:-1], 0), None)

    def proved(self, echo: bytes) -> Fragment | None:
        """Take an echo that is expected as it stands."""
        number = self.expected.pop(echo)
        self._recent.append(echo)
        if self._answered and number in self._answered:
            # What was taken for this line's own echo, damaged, was another command's: it has been carried out besides.
            return Fragment(self._answered.pop(number))
        return None

    def is_awaited(self, wire: bytes) -> bool:
        """Tell whether this line is not proved."""
        return PREFIX + wire[:-1] in self.expected

    def unproved(self, first_in_flight: int) -> int:
        """Return how many lines are acknowledged and not proved."""
        return self.forgotten + sum(number < first_in_flight for number in self.expected.values())

    def doubtful(self, first_in_flight: int) -> int:
        """Return how many of them had no echo, or one that differs from the line in more than one byte.

        A line that fooled the checksum differs from what was sent in two bytes or more, so an echo that is one byte off is
        all but certainly that of the right line.
        """
        near = sum(number < first_in_flight and number in self._one_byte_off for number in self.expected.values())
        return self.unproved(first_in_flight) - near

    # ---- what is not expected as it stands

    def judge(self, line: bytes) -> Finding | None:
        """Judge a line that is no expected echo. None: it is not the echo of a command, or its line is proved by it."""
        found = self._embedded(line)
        if found is not None:
            return self.proved(found)
        if not line.startswith(PREFIX):
            return None
        body = line[len(PREFIX) :].lstrip(b" ")
        match = _NUMBER.match(body)
        # A zero byte ends a line for the firmware, so it prints none: that one came on the way back.
        if match is not None and b"\0" not in body and _holds(body):
            return self._numbered(int(match.group(1)), body)
        if match is None and not body.startswith(b"N") and not (body[:1].isdigit() and b"*" in body) and not self._commandlike(line, body):
            return None
        return self._unclear(body)

    def _embedded(self, line: bytes) -> bytes | None:
        """Find an expected line that stands whole behind a damaged `echo:`, or before bytes that do not belong to it."""
        at = line.rfind(b":N", 0, line.rfind(b"*") + 1) + 1
        if at == 0 and not line.startswith(PREFIX):
            at = line.find(b"N", 0, len(PREFIX) + 2)
        if at < 0 or line[at : at + 1] != b"N":
            return None
        star = line.find(b"*", at)
        digits = _CHECKSUM.match(line, star + 1) if star > 0 else None
        echo = PREFIX + line[at : digits.end()] if digits else b""
        return echo if echo in self.expected else None

    def _numbered(self, number: int, body: bytes) -> Finding | None:
        """The echo's own checksum holds: the firmware has carried out what it says, if it can have come to that number."""
        star = body.rfind(b"*")
        for echo, awaited in self.expected.items():
            if awaited == number:
                sent = echo[len(PREFIX) :]
                same = body[:star] == sent[: sent.rfind(b"*")]
                return self.proved(echo) if same else CarriedOutOther(number, sent, body)
        if PREFIX + body in self._recent:
            return CarriedOutTwice(number, body)
        return self._unclear(body)  # a number that it cannot have taken: the number was damaged on the way back

    @staticmethod
    def _commandlike(line: bytes, body: bytes) -> bool:
        indented = line[len(PREFIX) : len(PREFIX) + 1] == b" "
        return _COMMAND.match(body) is not None and (not indented or b"*" in body)

    def _unclear(self, body: bytes) -> Finding:
        """Give a damaged echo to the line that it is nearest to, else to the first that has none yet."""
        waiting = [(echo[len(PREFIX) :], number) for echo, number in islice(self.expected.items(), _LOOK_AHEAD)]
        waiting = [(sent, number) for sent, number in waiting if number not in self._answered]
        near = [(_edits(body, sent), number) for sent, number in waiting]
        edits, number = min(near, key=lambda pair: pair[0], default=(_MANY, 0))
        if edits >= _MANY and not body.startswith(b"N"):
            return Fragment(body)
        self.damaged += 1
        if waiting:
            number = number if edits <= 1 else waiting[0][1]
            self._answered[number] = body
            if edits <= 1:
                self._one_byte_off.add(number)
        return Damaged()


_MANY = 3


def _holds(body: bytes) -> bool:
    """Tell whether the line's own checksum holds, as Marlin reads it."""
    star = body.rfind(b"*")
    digits = _CHECKSUM.match(body, star + 1) if star >= 0 else None
    return digits is not None and int(digits.group(1)) == checksum(body[:star])


def _edits(found: bytes, sent: bytes) -> int:
    """Return by how many bytes inserted, lost or changed the two differ; _MANY for that many or more."""
    if abs(len(found) - len(sent)) >= _MANY:
        return _MANY
    start = 0
    while start < len(found) and start < len(sent) and found[start] == sent[start]:
        start += 1
    found, sent = found[start:], sent[start:]
    while found and sent and found[-1] == sent[-1]:
        found, sent = found[:-1], sent[:-1]
    if len(found) > 2 * 96:
        return _MANY
    row = list(range(len(sent) + 1))
    for at, byte in enumerate(found, start=1):
        before, row[0] = row[0], at
        for column, other in enumerate(sent, start=1):
            before, row[column] = row[column], min(row[column] + 1, row[column - 1] + 1, before + (byte != other))
    return min(row[-1], _MANY)
