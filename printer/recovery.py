"""Start-up: a run that was open when the process ended becomes INTERRUPTED, its unit is scrapped, and it stays signable.

The process may have ended at any moment, so what the printer did after the last record is unknown: it is told to stop
(which also switches its heaters off) before anything else, and the unit in progress is scrapped.
"""

from __future__ import annotations

from dataclasses import dataclass

from audit.canonical import JsonObject
from audit.events import EntryDraft, EventKind, Subject
from audit.reader import TrailReader
from firmware_bridge.link_values import STOP_BYTES, StopStrength
from printer.messages import CELL
from printer.states import RunState

STOP = STOP_BYTES[StopStrength.KILL]


@dataclass(frozen=True, slots=True)
class Recovery:
    """What start-up found: the last run, whether it was open, and the entries that close it."""

    last_run: str | None
    interrupted: bool
    drafts: tuple[EntryDraft, ...]


def plan_recovery(store: TrailReader, device: str) -> Recovery:
    """Return what has to be recorded so that no run is open any more."""
    last: tuple[int, str] | None = None
    drafts: list[EntryDraft] = []
    interrupted = False
    for key, state in store.objects("run"):
        closed = state.get("state") == RunState.AWAITING_REVIEW.value
        interrupted = interrupted or not closed
        drafts += _close(store, key, device, closed=closed)
    for entry in store.search(kind=EventKind.RUN_RECORD_CREATED.value, limit=100_000):
        if last is None or entry.seq > last[0]:
            last = (entry.seq, entry.subject.id)
    return Recovery(last[1] if last else None, interrupted, tuple(drafts))


def _close(store: TrailReader, run: str, device: str, *, closed: bool) -> list[EntryDraft]:
    """Close a run; of one that is closed already, the units whose end was not kept."""
    reason = "the cell process ended while the run was open"
    drafts = []
    for key, purge in store.objects("calibration"):
        if purge.get("run") == run and purge.get("state") == "printing":
            given_up: JsonObject = {"state": "judged", "verdict": "scrapped", "mass_mg": None, "reasons": [f"interrupted: {reason}"]}
            drafts.append(EntryDraft(EventKind.CALIBRATION_PRINT_SCRAPPED, Subject("calibration", key), given_up, CELL, device))
    for key, unit in store.objects("unit"):
        if unit.get("run") == run and unit.get("state") == "printing":
            scrapped: JsonObject = {
                "state": "judged",
                "verdict": "scrapped",
                "mass_mg": None,
                "reasons": [f"interrupted: {reason}"],
            }
            drafts.append(EntryDraft(EventKind.UNIT_PRINT_SCRAPPED, Subject("unit", key), scrapped, CELL, device))
            deviation: JsonObject = {
                "run": run,
                "unit_n": unit.get("n"),
                "alarm": None,
                "text": f"interrupted: {reason}",
                "status": "open",
            }
            drafts.append(
                EntryDraft(EventKind.DEVIATION_RECORD_OPENED, Subject("deviation", f"{run}/interrupted"), deviation, CELL, device)
            )
    if closed:
        return drafts
    interrupted: JsonObject = {"state": RunState.INTERRUPTED.value}
    record: JsonObject = {
        "state": RunState.AWAITING_REVIEW.value,
        "ended": RunState.INTERRUPTED.value,
        "program_sent_sha256": None,
        "wire_log_sha256": None,
    }
    return [
        EntryDraft(EventKind.RUN_STATE_CHANGED, Subject("run", run), interrupted, CELL, device, reason=reason),
        *drafts,
        EntryDraft(EventKind.RUN_RECORD_CLOSED, Subject("run", run), record, CELL, device, reason=reason),
    ]
