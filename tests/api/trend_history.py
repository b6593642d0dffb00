"""A history of closed batches, written into the two trails that hold them, without a print."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from audit.events import SYSTEM, EntryDraft, EventKind, Subject

LABEL = Decimal("18.5")


def write_batch(
    workstation: Any, cell: Any, *, batch: str, recipe: str, lot: str, contents: Sequence[str], status: str = "awaiting review"
) -> None:
    """Record one batch of `cell-1` with units of these contents (% of label); its ink lot has to be on record."""
    assay = Decimal(str(workstation.state("ink_lot", lot)["assay"]).partition(" ")[0])
    run = f"{batch}-R1"
    new = {"status": "created", "cell": "cell-1", "recipe": recipe, "ink_lot": lot, "order": f"O-{batch}"}
    mine = [_draft(EventKind.BATCH_RECORD_CREATED, "batch", batch, new)]
    of_cell = [_draft(EventKind.RUN_RECORD_CREATED, "run", run, {"batch": batch, "state": "CREATED"})]
    for n, content in enumerate(contents, 1):
        mass = Decimal(content) / 100 * LABEL / assay * 1000
        unit = {"n": n, "strength_mg": str(LABEL), "state": "printing"}
        judged = {"verdict": "accepted", "mass_mg": str(mass.quantize(Decimal("0.001")))}
        of_cell.append(_draft(EventKind.UNIT_PRINT_INTENDED, "unit", f"{run}/{n:03d}", unit))
        of_cell.append(_draft(EventKind.UNIT_WEIGHT_JUDGED, "unit", f"{run}/{n:03d}", judged))
    of_cell.append(_draft(EventKind.RUN_RECORD_CLOSED, "run", run, {"state": "AWAITING_REVIEW", "ended": "FINISHED"}))
    mine.append(_draft(EventKind.BATCH_RUN_REQUESTED, "batch", batch, {"status": "running", "run": run}))
    if status != "running":
        mine.append(_draft(EventKind.BATCH_RUN_CLOSED, "batch", batch, {"status": status}))
    cell.append(*of_cell)
    workstation.append(*mine)


def write_lot(workstation: Any, like: str, lot: str) -> None:
    """Record another ink lot like one that is there."""
    workstation.append(_draft(EventKind.INK_LOT_RECEIVED, "ink_lot", lot, {**workstation.state("ink_lot", like), "lot": lot}))


def _draft(kind: EventKind, type_: str, id_: str, new: dict[str, Any]) -> EntryDraft:
    return EntryDraft(kind, Subject(type_, id_), new, SYSTEM, "test")
