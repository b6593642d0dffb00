"""How far a new batch is: which of its seven steps are done, which is open, and by whom. Pure: made from the trail and the cell's view.

The page holds nothing of its own: two people in two browsers, or one who loads the page again, see the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from api.status import CellStatus
from audit.canonical import JsonObject, JsonValue


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


@dataclass(frozen=True, slots=True)
class Progress:
    """`open`: the steps that are to be done now, None of them once the batch runs. `refused`: its gates ended the last run."""

    open: tuple[Step, ...]
    started: bool = False
    refused: bool = False
    checking: bool = False

    def state(self, step: Step) -> str:
        """`done`, `open` or `later`."""
        if step in self.open:
            return "open"
        if self.started or not self.open:
            return "done"
        return "done" if ORDER.index(step) < ORDER.index(self.open[0]) else "later"


def progress(
    order: JsonObject | None, batch: JsonObject | None, status: CellStatus | None, batch_id: str, *, shown: bool = False
) -> Progress:
    """Say how far a batch is. `status`: the view of its cell, None where it has none yet. `shown`: an unsigned dose is on the page."""
    if order is None:
        return Progress((Step.PRESCRIPTION, Step.DOSE) if shown else (Step.PRESCRIPTION,))
    if order.get("status") == "entered":
        return Progress((Step.SECOND,))
    # a run that was asked for over the interface may be on without a scan: its scan is not waited for any more
    if batch is None or batch.get("status") == "created":
        return Progress((Step.GATES,) if all_scanned(order) else (Step.CARTRIDGE,))
    if batch.get("status") != "running" or status is None or status.batch != batch_id:
        return Progress((), started=True)
    if status.ended:
        return Progress((Step.GATES,), refused=True) if status.unmet else Progress((), started=True)
    if status.state in _BEFORE_START:
        return Progress((Step.GATES,), checking=True)
    if status.state == "READY":
        return Progress((Step.PREVIEW, Step.START))
    return Progress((), started=True)


def heads(order: JsonObject) -> int:
    """Return how many cartridges an order names."""
    document = order.get("order")
    return 2 if isinstance(document, dict) and isinstance(document.get("second"), dict) else 1


def all_scanned(order: JsonObject) -> bool:
    """Whether the cartridge in each head was scanned."""
    found: JsonValue = order.get("mounted")
    mounted = found if isinstance(found, list) else []
    return len(mounted) == heads(order) and all(mounted)
