"""How far a new batch is: which of its seven steps are done, which is open, and by whom. Pure: made from the trail and the cell's view.

The page holds nothing of its own: two people in two browsers, or one who loads the page again, see the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from api.status import CellStatus
from audit.canonical import JsonObject


class Step(StrEnum):
    PRESCRIPTION = "Prescription"
    DOSE = "Dose"
    SECOND = "Second person"
    CARTRIDGE = "Cartridge"
    GATES = "Gates"
    PREVIEW = "Preview"
    START = "Start"


ORDER = tuple(Step)
_BEFORE_START = ("CREATED", "PREFLIGHT")
_OF_CELL = (Step.GATES, Step.PREVIEW, Step.START)
"""Steps of which only the cell says whether they are done."""


@dataclass(frozen=True, slots=True)
class Progress:
    """`open`: the steps that are to be done now, none of them once the batch runs. `refused`: its gates ended the last run.

    `unknown`: its run was asked for, and its cell does not say how far it is.
    """

    open: tuple[Step, ...]
    started: bool = False
    unknown: bool = False
    refused: bool = False
    checking: bool = False

    def state(self, step: Step) -> str:
        """`done`, `open`, `later` or `unknown`."""
        if step in self.open:
            return "open"
        if self.unknown and step in _OF_CELL:
            return "unknown"
        if self.started or not self.open:
            return "done"
        return "done" if ORDER.index(step) < ORDER.index(self.open[0]) else "later"


def progress(
    order: JsonObject | None,
    batch: JsonObject | None,
    status: CellStatus | None,
    batch_id: str,
    *,
    shown: bool = False,
    scanned: bool = False,
) -> Progress:
    """Say how far a batch is. `status`: the view of its cell, None where it has none yet.

    `shown`: an unsigned dose is on the page. `scanned`: the scan of each cartridge stands.
    """
    if order is None:
        return Progress((Step.PRESCRIPTION, Step.DOSE) if shown else (Step.PRESCRIPTION,))
    if order.get("status") == "entered":
        return Progress((Step.SECOND,))
    # a run that was asked for over the interface may be on without a scan: its scan is not waited for any more
    if batch is None or batch.get("status") == "created":
        return Progress((Step.GATES,) if scanned else (Step.CARTRIDGE,))
    if batch.get("status") != "running":
        return Progress((), started=True)
    if status is None or status.state == "UNKNOWN":
        return Progress((), unknown=True)
    if status.batch != batch_id:
        return Progress((), started=True)
    if status.ended:
        if not status.unmet:
            return Progress((), started=True)
        # what was scanned once has to be scanned again where another cartridge was scanned in its head meanwhile
        return Progress((Step.GATES,), refused=True) if scanned or not order.get("mounted") else Progress((Step.CARTRIDGE,))
    if status.state in _BEFORE_START:
        return Progress((Step.GATES,), checking=True)
    if status.state == "READY":
        return Progress((Step.PREVIEW, Step.START))
    return Progress((), started=True)
