"""Errors of the cell.

DosewrightError
├── CellError            PR-001    the cell cannot do what was asked
│   ├── CellRefused      PR-002    a rule of the cell forbids it; the reasons are listed
│   └── RunMissing       PR-003    no such run, unit or alarm on this cell
├── CellUnreachable      PR-101    the workstation cannot talk to the cell
├── FrameInvalid         PR-102    a message is too long, malformed, replayed or of the wrong shape
├── BenchTimeLost        PR-110    the bench that grants time is gone or speaks another protocol
├── CellConfiguration    PR-120    the cell's own files are missing or wrong
└── ReplayImpossible     PR-130    the record of a run does not hold what its replay needs
"""

from __future__ import annotations

from collections.abc import Sequence

from audit.errors import DosewrightError


class CellError(DosewrightError):
    code = "PR-001"


class CellRefused(CellError):
    code = "PR-002"

    def __init__(self, reasons: Sequence[str], *, remedy: str = "") -> None:
        super().__init__("The cell refuses: " + "; ".join(reason.rstrip(".") for reason in reasons) + ".", remedy=remedy)
        self.reasons = tuple(reasons)


class RunMissing(CellError):
    code = "PR-003"


class CellUnreachable(DosewrightError):
    code = "PR-101"


class FrameInvalid(DosewrightError):
    code = "PR-102"


class BenchTimeLost(DosewrightError):
    code = "PR-110"


class CellConfiguration(DosewrightError):
    code = "PR-120"


class ReplayImpossible(DosewrightError):
    code = "PR-130"
