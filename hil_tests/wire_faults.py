"""What may happen to bytes on a wire: lost, flipped, burst, late, and an `ok` that is damaged.

One `Wire` per port says what is wrong with it (fault scripts change it); one `Line` per port and direction carries the
bytes. Chance is drawn from the bench's seed only while something is wrong, so that a clean wire costs nothing.
"""

from __future__ import annotations

import random
import re
from collections import deque
from dataclasses import dataclass

_OK = re.compile(rb"(?:^|(?<=\n))ok[^\n]*\n")
_BURST = (4, 20)


@dataclass(slots=True)
class Wire:
    """What is wrong with one port: probabilities per byte (`damaged_ok`: per reply), delay of each direction in µs."""

    drop: float = 0.0
    flip: float = 0.0
    burst: float = 0.0
    damaged_ok: float = 0.0
    latency_us: int = 0

    @property
    def damaging(self) -> bool:
        return bool(self.drop or self.flip or self.burst)


class Line:
    """One direction of one port. Bytes come out in order, never before `latency_us` is over."""

    def __init__(self, wire: Wire, seed: str) -> None:
        self._wire = wire
        self._random = random.Random(seed)
        self._waiting: deque[tuple[int, bytes]] = deque()
        self._burst_left = 0

    def carry(self, data: bytes, now: int) -> bytes:
        """Put bytes onto the wire at `now` and return what comes out of it by then."""
        wire = self._wire
        if data and wire.damaged_ok:
            data = _OK.sub(self._damage_ok, data)
        if data and wire.damaging:
            data = self._damage(data)
        if not self._waiting and not wire.latency_us:
            return data
        if data:
            self._waiting.append((now + wire.latency_us, data))
        out = b""
        while self._waiting and self._waiting[0][0] <= now:
            out += self._waiting.popleft()[1]
        return out

    def _damage(self, data: bytes) -> bytes:
        wire, chance = self._wire, self._random
        out = bytearray()
        for byte in data:
            if self._burst_left:
                self._burst_left -= 1
                out.append(chance.randrange(256))
                continue
            drawn = chance.random()
            if drawn < wire.drop:
                continue
            drawn -= wire.drop
            if drawn < wire.flip:
                byte ^= 1 << chance.randrange(7)
            elif drawn - wire.flip < wire.burst:
                self._burst_left = chance.randint(*_BURST)
            out.append(byte)
        return bytes(out)

    def _damage_ok(self, found: re.Match[bytes]) -> bytes:
        line = found.group()
        if self._random.random() >= self._wire.damaged_ok:
            return line
        at = self._random.randrange(len(line) - 1)
        return line[:at] + bytes([line[at] ^ 1 << self._random.randrange(7)]) * self._random.randrange(2) + line[at + 1 :]
