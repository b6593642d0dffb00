"""Start-up: a run that was open when the process ended becomes INTERRUPTED, its unit is scrapped, and it stays signable.

The process may have ended at any moment, so what the printer did after the last record is unknown: it is told to stop
(which also switches its heaters off) before anything else, and the unit in progress is scrapped. A daily check of the
balance that was under way is closed as abandoned.
"""

from __future__ import annotations

from dataclasses import dataclass

from audit.canonical import JsonObject
from audit.events import EntryDraft, EventKind, Subject
from audit.reader import TrailReader
from printer.alarms import AlarmName
from printer.check_session import abandoned_at_restart
from printer.messages import CELL, ClockCompared, Port
from printer.states import RunState


@dataclass(frozen=True, slots=True)
class Recovery:
    """What start-up found: the last run, whether it was open, the entries that close it, and why the printer must be stopped first."""

    last_run: str | None
    interrupted: bool
    drafts: tuple[EntryDraft, ...]
    stop_owed: str | None = None


def plan_recovery(store: TrailReader, device: str) -> Recovery:
    """Return what has to be recorded so that no run is open any more."""
    last: tuple[int, str] | None = None
    drafts: list[EntryDraft] = []
    interrupted = False
    for key, state in store.objects("run"):
        closed = state.get("state") == RunState.AWAITING_REVIEW.value
        interrupted = interrupted or not closed
        drafts += _close(store, key, device, closed=closed)
    for serial, state in store.objects("balance"):
        if state.get("status") == "under way":
            drafts.append(abandoned_at_restart(serial, state, device))
    for entry in store.search(kind=EventKind.RUN_RECORD_CREATED.value, limit=100_000):
        if last is None or entry.seq > last[0]:
            last = (entry.seq, entry.subject.id)
    owed = "the cell process ended while a run was open" if interrupted else _stop_owed(store)
    return Recovery(last[1] if last else None, interrupted, tuple(drafts), owed)


def printer_stopped(device: str, reason: str) -> EntryDraft:
    """Return the entry that says that the printer was told to stop on opening its port, and why."""
    new: JsonObject = {"printer": "told to stop"}
    return EntryDraft(EventKind.CELL_PRINTER_STOPPED, Subject("cell", device), new, CELL, device, reason=reason)


def clock_stepped(cell: str, compared: ClockCompared) -> EntryDraft:
    """Say that UTC has moved against the steady clock, in ms: times before and after it do not follow each other."""
    new: JsonObject = {"step_ms": compared.step_ms}
    return EntryDraft(EventKind.CELL_CLOCK_STEPPED, Subject("cell", cell), new, CELL, cell)


def device_returned(device: str, port: Port, words: str) -> EntryDraft:
    new: JsonObject = {"port": port.value, "device": words}
    return EntryDraft(EventKind.CELL_DEVICE_RETURNED, Subject("cell", device), new, CELL, device)


def _stop_owed(store: TrailReader) -> str | None:
    """Return why the printer is still owed a stop: it was lost in a run, and neither stopped nor identified since."""
    raised = store.search(kind=EventKind.ALARM_CONDITION_RAISED.value, limit=100_000)
    lost = [entry.seq for entry in raised if entry.new.get("name") == AlarmName.PRINTER_LOST.value]
    if not lost:
        return None
    kinds = (EventKind.CELL_PRINTER_STOPPED, EventKind.RUN_GATES_PASSED)
    settled = [entry.seq for kind in kinds for entry in store.search(kind=kind.value, limit=100_000)]
    return "it was lost in a run before the cell was started" if max(lost) > max(settled, default=-1) else None


def _close(store: TrailReader, run: str, device: str, *, closed: bool) -> list[EntryDraft]:
    """Close a run; of one that is closed already, the units whose end was not kept."""
    reason = "the cell process ended while the run was open"
    drafts = []
    for key, purge in store.objects("calibration"):
        if purge.get("run") == run and purge.get("state") == "printing":
            given_up: JsonObject = {"state": "judged", "verdict": "scrapped", "mass_mg": None, "reasons": [f"interrupted: {reason}"]}
            drafts.append(EntryDraft(EventKind.CALIBRATION_PRINT_SCRAPPED, Subject("calibration", key), given_up, CELL, device))
    for key, part in store.objects("part"):
        if part.get("run") == run and part.get("state") == "printing":
            lost: JsonObject = {"state": "judged", "verdict": "scrapped", "mass_mg": None, "reasons": [f"interrupted: {reason}"]}
            drafts.append(EntryDraft(EventKind.PART_PRINT_SCRAPPED, Subject("part", key), lost, CELL, device))
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
