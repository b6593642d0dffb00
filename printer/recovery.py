"""Start-up: a run that was open when the process ended becomes INTERRUPTED, its unit is scrapped, and it stays signable.

The process may have ended at any moment, so what the printer did after the last record is unknown: it is told to stop
(which also switches its heaters off) before anything else, and the unit in progress is scrapped. A daily check of the
balance that was under way is closed as abandoned.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from audit.canonical import JsonObject
from audit.events import Entry, EntryDraft, EventKind, Subject
from audit.reader import TrailReader
from printer.alarms import AlarmName
from printer.check_session import abandoned_at_restart
from printer.messages import CELL, ClockCompared, Port
from printer.states import RunState

_REASON = "the cell process ended while the run was open"
_SCRAPPED = {
    "calibration": EventKind.CALIBRATION_PRINT_SCRAPPED,
    "part": EventKind.PART_PRINT_SCRAPPED,
    "unit": EventKind.UNIT_PRINT_SCRAPPED,
}
_PAGE = 1_000


@dataclass(frozen=True, slots=True)
class _Begun:
    """A purge unit, a part or a unit that was being printed: what it is, its identifier and its state."""

    kind: str
    key: str
    state: JsonObject


@dataclass(frozen=True, slots=True)
class Recovery:
    """What start-up found: the last run, whether it was open, the entries that close it, and why the printer must be stopped first."""

    last_run: str | None
    interrupted: bool
    drafts: tuple[EntryDraft, ...]
    stop_owed: str | None = None


def plan_recovery(store: TrailReader, device: str) -> Recovery:
    """Return what has to be recorded so that no run is open any more. Each kind of object is read once, however many runs there were."""
    begun = _begun(store)
    drafts: list[EntryDraft] = []
    interrupted = False
    for key, state in store.objects("run"):
        closed = state.get("state") == RunState.AWAITING_REVIEW.value
        interrupted = interrupted or not closed
        drafts += _close(key, begun.get(key, []), device, closed=closed)
    for serial, state in store.objects("balance"):
        if state.get("status") == "under way":
            drafts.append(abandoned_at_restart(serial, state, device))
    created = store.search(kind=EventKind.RUN_RECORD_CREATED.value, limit=1, newest_first=True)
    owed = "the cell process ended while a run was open" if interrupted else _stop_owed(store)
    return Recovery(created[0].subject.id if created else None, interrupted, tuple(drafts), owed)


def _begun(store: TrailReader) -> dict[str, list[_Begun]]:
    """Return by run what was begun and has no end: purge units, parts, units."""
    found: dict[str, list[_Begun]] = {}
    for kind in _SCRAPPED:
        for key, state in store.objects(kind):
            if state.get("state") == "printing":
                found.setdefault(str(state.get("run")), []).append(_Begun(kind, key, state))
    return found


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
    settled = -1
    for kind in (EventKind.CELL_PRINTER_STOPPED, EventKind.RUN_GATES_PASSED):
        settled = max([settled, *(entry.seq for entry in store.search(kind=kind.value, limit=1, newest_first=True))])
    lost = any(entry.new.get("name") == AlarmName.PRINTER_LOST.value for entry in _alarms_since(store, settled))
    return "it was lost in a run before the cell was started" if lost else None


def _alarms_since(store: TrailReader, seq: int) -> Iterator[Entry]:
    """Give the alarms raised after an entry, oldest first, as many as there are."""
    while found := store.search(kind=EventKind.ALARM_CONDITION_RAISED.value, after_seq=seq, limit=_PAGE):
        yield from found
        seq = found[-1].seq


def _close(run: str, begun: Sequence[_Begun], device: str, *, closed: bool) -> list[EntryDraft]:
    """Close a run; of one that is closed already, what was begun and whose end was not kept."""
    drafts = [draft for one in begun for draft in _given_up(run, one, device)]
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
        EntryDraft(EventKind.RUN_STATE_CHANGED, Subject("run", run), interrupted, CELL, device, reason=_REASON),
        *drafts,
        EntryDraft(EventKind.RUN_RECORD_CLOSED, Subject("run", run), record, CELL, device, reason=_REASON),
    ]


def _given_up(run: str, begun: _Begun, device: str) -> list[EntryDraft]:
    """Scrap what was begun; a unit has a deviation besides."""
    text = f"interrupted: {_REASON}"
    scrapped: JsonObject = {"state": "judged", "verdict": "scrapped", "mass_mg": None, "reasons": [text]}
    drafts = [EntryDraft(_SCRAPPED[begun.kind], Subject(begun.kind, begun.key), scrapped, CELL, device)]
    if begun.kind == "unit":
        deviation: JsonObject = {"run": run, "unit_n": begun.state.get("n"), "alarm": None, "text": text, "status": "open"}
        subject = Subject("deviation", f"{run}/interrupted")
        drafts.append(EntryDraft(EventKind.DEVIATION_RECORD_OPENED, subject, deviation, CELL, device))
    return drafts
