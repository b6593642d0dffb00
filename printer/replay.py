"""Replay: the sealed inputs of a run through a fresh machine give the same decisions, byte for byte."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from audit.canonical import JsonObject, JsonValue, canonical, sha256_hex
from audit.events import Actor, Entry, EntryDraft, EventKind, Subject
from printer.journal import read_journal
from printer.messages import Command, Operation, Record, Recorded, RecordFailed, UnitCompiled, UnitRefused
from printer.plan import RunPlan
from printer.run import RunMachine
from printer.states import RunState

Recompile = Callable[[int, Decimal, bool, int], UnitCompiled | UnitRefused]
_BY_PEOPLE = frozenset({EventKind.UNIT_REMOVAL_CONFIRMED.value, EventKind.CALIBRATION_REMOVAL_CONFIRMED.value})
"""Kinds that the cell records beside the run machine, at any time: they are no decision of the run."""
_AFTER_THE_END = frozenset(
    {
        EventKind.ALARM_CONDITION_ACKNOWLEDGED.value,
        EventKind.ALARM_CONDITION_RESET.value,
        # a start of the cell closes what was left of units whose end was not kept
        EventKind.UNIT_PRINT_SCRAPPED.value,
        EventKind.PART_PRINT_SCRAPPED.value,
        EventKind.CALIBRATION_PRINT_SCRAPPED.value,
        EventKind.DEVIATION_RECORD_OPENED.value,
    }
)


@dataclass(frozen=True, slots=True)
class Replayed:
    """What the replay decided: every entry it asked for, and the digest over all of them.

    `failed`: positions of entries whose commit failed when the run was lived; `compiled`: where a unit compiled anew today is
    not the one that the run was given.
    """

    entries: tuple[EntryDraft, ...]
    sha256: str
    inputs: int = 0
    failed: frozenset[int] = frozenset()
    compiled: tuple[Difference, ...] = ()


@dataclass(frozen=True, slots=True)
class Difference:
    """One decision that differs: where, of which kind, and each field as (name, recorded, replayed); a missing one is None."""

    place: str
    kind: str
    fields: tuple[tuple[str, JsonValue, JsonValue], ...]


@dataclass(frozen=True, slots=True)
class Comparison:
    """The replay of a run beside its trail.

    `entries` were compared. `unsealed` are entries of a run that was interrupted, whose inputs were lost with the process;
    `later` are entries after the run's end, which rest on no journal.
    """

    entries: int
    recorded_sha256: str
    replayed_sha256: str
    difference: Difference | None
    unsealed: tuple[str, ...]
    later: tuple[str, ...]

    @property
    def identical(self) -> bool:
        return self.difference is None


def replay(plan: RunPlan, segments: Iterable[bytes], recompile: Recompile | None = None) -> Replayed:
    """Feed the journal segments of a run, in order, to a fresh machine of the same plan.

    With `recompile`, each unit that was compiled in mid-run is compiled and proved again. Raises ValueError, KeyError or
    TypeError where a segment is not a journal.
    """
    machine = RunMachine(plan)
    entries: list[EntryDraft] = []
    places: dict[int, range] = {}
    failed: set[int] = set()
    compiled: list[Difference] = []
    inputs = 0
    for segment in segments:
        for now, event in read_journal(segment):
            inputs += 1
            if isinstance(event, RecordFailed):
                failed.update(places.get(event.token, ()))
            if isinstance(event, Recorded):
                failed.difference_update(places.get(event.token, ()))
            if recompile is not None and isinstance(event, UnitCompiled | UnitRefused):
                compiled += _compiled(event, recompile, inputs)
            for effect in machine.handle(event, now):
                if isinstance(effect, Record):
                    places[effect.token] = range(len(entries), len(entries) + len(effect.drafts))
                    entries += effect.drafts
    return Replayed(tuple(entries), decisions_digest(entries), inputs, frozenset(failed), tuple(compiled))


def _compiled(event: UnitCompiled | UnitRefused, recompile: Recompile, number: int) -> Iterator[Difference]:
    """Compile a unit again. A refusal by time or by failure is an input like any other; only bytes are compared."""
    if isinstance(event, UnitRefused):
        return
    again = recompile(event.n, event.factor, event.purge, event.part)
    if again != event:
        digests = (("refused", None, again.reason),) if isinstance(again, UnitRefused) else (("gcode_sha256", event.sha256, again.sha256),)
        yield Difference(f"input {number}, unit {event.n} compiled with factor {event.factor}", "unit compiled", digests)


def compare(plan: RunPlan, prepared_by: Actor, replayed: Replayed, entries: Iterable[Entry]) -> Comparison:
    """Compare each decision of a replay with the cell's trail; the first that differs is named field by field.

    `entries` are those of the trail, in order; those of other runs are passed over. `prepared_by` asked for the run: where
    nothing was sealed before the process ended, the entries that create the run are still compared.
    """
    rows = [row_of(entry) for entry in of_run(entries, plan.run) if entry.kind not in _BY_PEOPLE]
    drafts, failed = replayed.entries, replayed.failed
    if not replayed.inputs:
        effects = RunMachine(plan).handle(Command(Operation.PREPARE, prepared_by), 0)
        drafts = tuple(draft for effect in effects if isinstance(effect, Record) for draft in effect.drafts)
    wanted: list[JsonObject] = []
    difference: Difference | None = None
    for number, draft in enumerate(drafts):
        if number in failed:
            continue
        row, found = row_of(draft), rows[len(wanted)] if len(wanted) < len(rows) else None
        if row == found:
            wanted.append(row)
        else:
            difference = _difference(len(wanted) + 1, found, row)
            break
    count = len(wanted)
    unsealed, later = _rest(rows[count:], rows)
    if difference is None and count < len(rows) and not (unsealed or later):
        difference = _difference(count + 1, rows[count], None)
    shown = tuple(row_of(draft) for number, draft in enumerate(drafts) if number not in failed)
    end = count if difference is None else len(rows)
    return Comparison(
        entries=count,
        recorded_sha256=_digest(rows[:end]),
        replayed_sha256=_digest(wanted if difference is None else shown),
        difference=difference or next(iter(replayed.compiled), None),
        unsealed=unsealed if difference is None else (),
        later=later if difference is None else (),
    )


def _rest(rest: Sequence[JsonObject], rows: Sequence[JsonObject]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the kinds of what the replay does not reach: of an interrupted run, and after the end; both empty if neither explains it."""
    kinds = tuple(str(row["kind"]) for row in rest)
    closing = [row["new"] for row in rest if row["kind"] == EventKind.RUN_RECORD_CLOSED]
    if closing:
        ended = [new.get("ended") for new in closing if isinstance(new, dict)]
        return (kinds, ()) if ended == [RunState.INTERRUPTED.value] else ((), ())
    over = any(row["kind"] == EventKind.RUN_RECORD_CLOSED for row in rows[: len(rows) - len(rest)])
    return ((), kinds) if over and _AFTER_THE_END.issuperset(kinds) else ((), ())


def decisions_digest(entries: Iterable[EntryDraft]) -> str:
    """Return one digest over the decisions of a run: kind, subject, content, actor, reason and attachments of every entry."""
    return _digest(row_of(entry) for entry in entries)


def recorded_digest(entries: Iterable[Entry], run: str) -> str:
    """Return the same digest over the entries of a run as they stand in the cell's trail."""
    return _digest(row_of(entry) for entry in of_run(entries, run))


def of_run(entries: Iterable[Entry], run: str) -> Iterator[Entry]:
    """Give the entries of one run and of its units, alarms, corrections and deviations."""
    return (entry for entry in entries if entry.subject.id == run or entry.subject.id.startswith(f"{run}/"))


def row_of(entry: Entry | EntryDraft) -> JsonObject:
    """Return what an entry decides, as plain values: all of it but number, link, time and the version that wrote it."""
    if isinstance(entry, Entry):
        attachments = {item["name"]: item["sha256"] for item in entry.attachments}
    else:
        attachments = {name: sha256_hex(data) for name, data in entry.attachments.items()}
    return _row(str(entry.kind), entry.subject, entry.new, entry.actor, entry.device, entry.unit, entry.reason, attachments)


def _row(
    kind: str,
    subject: Subject,
    new: Mapping[str, JsonValue],
    actor: Actor,
    device: str,
    unit: Mapping[str, str],
    reason: str | None,
    attachments: Mapping[str, str],
) -> JsonObject:
    values: JsonObject = {
        "kind": kind,
        "subject": str(subject),
        "new": dict(new),
        "actor": actor.username,
        "name": actor.name,
        "role": actor.role,
        "device": device,
        "unit": dict(unit),
        "reason": reason,
        "attachments": dict(attachments),
    }
    row: JsonObject = json.loads(canonical(values))
    return row


def _difference(number: int, recorded: JsonObject | None, replayed: JsonObject | None) -> Difference:
    """Name the fields of two rows that differ, by their paths."""
    one, two = _flat(recorded or {}), _flat(replayed or {})
    names = [name for name in dict.fromkeys((*one, *two)) if one.get(name) != two.get(name)]
    row = recorded or replayed or {}
    fields = tuple((name, one.get(name), two.get(name)) for name in names)
    return Difference(f"entry {number} of the run, {row.get('subject')}", str(row.get("kind")), fields)


def _flat(value: JsonValue, name: str = "") -> JsonObject:
    """Return the leaves of a tree by their paths, such as `new.gates[2].evidence`."""
    if isinstance(value, dict):
        return {path: leaf for key, item in value.items() for path, leaf in _flat(item, f"{name}.{key}" if name else key).items()}
    if isinstance(value, list):
        return {path: leaf for at, item in enumerate(value) for path, leaf in _flat(item, f"{name}[{at}]").items()}
    return {name: value}


def _digest(rows: Iterable[JsonObject]) -> str:
    return sha256_hex(canonical(list(rows)))
