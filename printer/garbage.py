"""When a cell's process looks for cyclic garbage: all of it only while nothing can move.

A full collection stops every thread of the process for as long as it takes to look at every object, tens of milliseconds in a
cell; a stop would wait behind it. What is loaded at the start is therefore put aside for good, only the young are collected as
they come (a millisecond at most), and the rest when no run is active.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable

_EVERY_S = 60.0
_NEVER = 1_000_000_000


class Garbage:
    """Lifetime: that of the process, whose collector it sets. Concurrency: owned by the controller thread."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._last = monotonic()

    def begin(self) -> None:
        """Put aside what is there now, and let no full collection come by itself any more."""
        gc.collect()
        gc.freeze()
        young, middle, _ = gc.get_threshold()
        gc.set_threshold(young, middle, _NEVER)
        self._last = self._monotonic()

    def collect(self) -> None:
        """Collect everything, once a minute at most. To be called when nothing can move."""
        now = self._monotonic()
        if now - self._last >= _EVERY_S:
            gc.collect()
            self._last = self._monotonic()
