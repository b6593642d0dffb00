"""The mover of the virtual printer: planned blocks, where the head is, and the stretches of even motion it makes.

Targets are rounded to motor steps from absolute positions, so that rounding never accumulates. Units: mm, µs.
"""

from __future__ import annotations

import math
from collections import deque
from typing import NamedTuple

from hil_tests.plant import SAMPLE_US, Motion

AXES = "XYZE"
NEVER = 1 << 62


class Block(NamedTuple):
    """One planned move: from, to (E as absolute mm), its time in µs."""

    x0: float
    y0: float
    z0: float
    e0: float
    x1: float
    y1: float
    z1: float
    e1: float
    span: int


class Mover:
    """Planner and steppers. `capacity` blocks, the running one included."""

    def __init__(
        self,
        capacity: int,
        steps: tuple[float, float, float, float],
        feeds: tuple[float, float, float, float],
        sizes: tuple[float, float, float],
    ) -> None:
        self._capacity = capacity
        self._steps = steps
        self._feeds = feeds
        self._sizes = sizes
        self.blocks: deque[Block] = deque()
        self.block_end = NEVER
        self._block_start = 0
        self.planned = [0.0, 0.0, 0.0, 0.0]
        self._stepped = [0.0, 0.0, 0.0, 0.0]
        self._moved_to = 0
        self.tool = 0
        self.shift = (0.0, 0.0, 0.0)
        self.relative = [False, False, False, False]
        self.feed = 1500.0 / 60.0
        self.feed_percent = 100.0
        self.flow_percent = 100.0

    @property
    def has_room(self) -> bool:
        return len(self.blocks) < self._capacity

    def take(self, tool: int, e_steps: float, shift: tuple[float, float, float]) -> None:
        """Take another head; `shift` is by how much its nozzle stands beside the place that the firmware takes it for."""
        self.tool, self.shift = tool, shift
        self._steps = (*self._steps[:3], e_steps)

    def planned_steps(self) -> tuple[int, int, int]:
        x, y, z = (round(self.planned[i] * self._steps[i]) for i in range(3))
        return x, y, z

    def extrusion(self, e_word: float) -> float:
        """Return by how much an E word would move the plunger, in mm."""
        return e_word if self.relative[3] else e_word - self.planned[3]

    def skip_extrusion(self, e_word: float) -> None:
        """Count an extrusion that was prevented: Marlin's position goes on although nothing moves."""
        delta = self.extrusion(e_word)
        self.planned[3] += delta
        self._stepped[3] += delta

    def set_position(self, words: dict[str, float]) -> None:
        """G92: call the present position something else."""
        for index, axis in enumerate(AXES):
            if axis in words:
                shift = words[axis] - self.planned[index]
                self.planned[index] += shift
                self._stepped[index] += shift

    def home(self, axes: list[str]) -> None:
        for axis in axes:
            index = AXES.index(axis)
            self.planned[index] = self._stepped[index] = 0.0

    def plan(self, words: dict[str, float], now: int) -> None:
        """Append one linear move. Positions beyond the soft end stops are clamped, as Marlin does."""
        if words.get("F", 0.0) > 0.0:
            self.feed = words["F"] / 60.0
        target = list(self.planned)
        for index, axis in enumerate(AXES):
            if axis in words:
                place = words[axis] + (target[index] if self.relative[index] else 0.0)
                target[index] = place if index == 3 else min(max(place, 0.0), self._sizes[index])
        self.planned = target
        flow = self.flow_percent / 100.0
        stepped = [round(place * steps) / steps for place, steps in zip(target, self._steps, strict=True)]
        if flow != 1.0:
            stepped[3] = self._stepped[3] + (stepped[3] - self._stepped[3]) * flow
        span = self._span(stepped)
        begun = self._stepped
        self._stepped = stepped
        if span == 0:
            return
        block = Block(begun[0], begun[1], begun[2], begun[3], stepped[0], stepped[1], stepped[2], stepped[3], span)
        if not self.blocks:
            self._block_start, self._moved_to, self.block_end = now, now, now + span
        self.blocks.append(block)

    def run(self, from_us: int, to_us: int, motions: list[Motion]) -> None:
        """Move from `from_us` to `to_us`, no further than the end of the running block."""
        if not self.blocks:
            return
        x0, y0, z0, e0, x1, y1, z1, e1, span = self.blocks[0]
        start, dx, dy, dz, de = self._block_start, x1 - x0, y1 - y0, z1 - z0, e1 - e0
        if self.tool:
            x, y, z = self.shift
            x0, y0, z0 = x0 + x, y0 + y, z0 + z
        a = (from_us - start) / span
        while from_us < to_us:
            # A stretch has one height: a move up or down is cut where the plant takes its samples.
            end = min(to_us, from_us - from_us % SAMPLE_US + SAMPLE_US) if dz else to_us
            b = (end - start) / span
            x, y = x0 + dx * b, y0 + dy * b
            motions.append(Motion(from_us, end, x0 + dx * a, y0 + dy * a, x, y, z0 + dz * b, de * (b - a), self.tool))
            from_us, a = end, b
        self._moved_to = to_us
        if to_us >= self.block_end:
            self.blocks.popleft()
            self._block_start = to_us
            self.block_end = to_us + self.blocks[0].span if self.blocks else NEVER

    def drop(self) -> None:
        """Forget all planned moves; the position becomes where the head is."""
        if self.blocks:
            block = self.blocks[0]
            done = (self._moved_to - self._block_start) / block.span
            self._stepped = [begin + (end - begin) * done for begin, end in zip(block[:4], block[4:8], strict=True)]
        self.blocks.clear()
        self.block_end = NEVER
        self.planned = list(self._stepped)

    def _span(self, target: list[float]) -> int:
        begun, feeds = self._stepped, self._feeds
        x, y, z, e = abs(target[0] - begun[0]), abs(target[1] - begun[1]), abs(target[2] - begun[2]), abs(target[3] - begun[3])
        length = math.sqrt(x**2 + y**2 + z**2) or e
        if length < 1e-9:
            return 0
        seconds = length / (self.feed * self.feed_percent / 100.0)
        seconds = max(seconds, x / feeds[0], y / feeds[1], z / feeds[2], e / feeds[3])
        return max(1, round(seconds * 1e6))
