"""One writer a trail: an advisory lock of the operating system beside the store, gone with the process that holds it.

A second process that opened the same store would take the run that the first is printing for interrupted. So it is refused
before it reads anything.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Self

from audit.errors import StoreBusy, StoreReadOnly

if sys.platform == "win32":
    import msvcrt

    def _take(descriptor: int) -> None:
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
else:
    import fcntl

    def _take(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


class WriterLock:
    """The right to write one store. Lifetime: from `take` to `release`, or to the end of the process, however it ends."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor: int | None = descriptor

    @classmethod
    def take(cls, store: Path) -> Self:
        """Take the lock of a store. Raises StoreBusy where another holds it, StoreReadOnly where its folder cannot be written."""
        place = store.with_name(f"{store.name}.writer")
        try:
            descriptor = os.open(place, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            text = f"{place} cannot be made or opened ({error.strerror})."
            raise StoreReadOnly(text, remedy="Make the folder of the store writable for this account.") from error
        try:
            _take(descriptor)
        except OSError:
            os.close(descriptor)
            raise StoreBusy(
                f"{store} is being written by another process.",
                remedy="A trail has one writer: end that process (a cell or a workstation that still runs), then start this one.",
            ) from None
        return cls(descriptor)

    def release(self) -> None:
        """Let go of the lock. Safe to call twice."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
