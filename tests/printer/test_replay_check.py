"""A run beside its replay, admitted anew from its own record: identical, or the first decision that is not."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from flow_errors import cell_of
from simulated_cell import OPERATOR, SimulatedCell, demonstration_job, simulated
from test_dose_control import correcting

import audit.release.package
import printer.journal
from audit.canonical import JsonObject, canonical, sha256_hex
from audit.events import Entry, EntryDraft, EventKind, Subject
from printer.admission import ADMISSION, admit_again, read_admission
from printer.drafts import kind_for
from printer.errors import CellRefused, ReplayImpossible
from printer.messages import Command, Operation, Record
from printer.replay_check import ReplayedRun, check_replay
from printer.run import Phase, RunMachine
from printer.states import RunState
from recipes.library import CASES


def entry(number: int, draft: EntryDraft) -> Entry:
    attachments = [{"name": name, "sha256": sha256_hex(data), "bytes": len(data)} for name, data in draft.attachments.items()]
    return Entry(
        canonical(
            {
                "seq": number, "prev": "0" * 64, "at": "2026-11-20T08:00:00.000000Z", "zone": "UTC", "clock": {},
                "actor": draft.actor.username, "name": draft.actor.name, "role": draft.actor.role, "device": draft.device,
                "kind": str(draft.kind), "subject": {"type": draft.subject.type, "id": draft.subject.id}, "old": {},
                "new": dict(draft.new), "unit": dict(draft.unit), "reason": draft.reason,
                "attachments": attachments, "demonstration": True, "software": "test",
            }
        )
    )  # fmt: skip


def checked(drafts: list[EntryDraft]) -> ReplayedRun:
    files = {name: data for draft in drafts for name, data in draft.attachments.items()}
    journal = [(name, data) for draft in drafts for name, data in draft.attachments.items() if name.startswith("journal/")]
    return check_replay("B-1-R1", [entry(number, draft) for number, draft in enumerate(drafts)], files, journal)


@pytest.fixture(scope="module")
def clean() -> SimulatedCell:
    cell = simulated("minoxidil")
    cell.run()
    return cell


@pytest.mark.parametrize("case", CASES)
def test_every_job_is_admitted_again_to_the_same_plan(case: str) -> None:
    plan = simulated(case).machine.plan
    admission = read_admission(plan.attachments[ADMISSION])
    assert admit_again(admission).plan == plan
    assert ADMISSION == audit.release.package.ADMISSION, "the name under which a package takes it along"


def test_the_order_of_roles_in_memory_does_not_matter() -> None:
    admission = read_admission(simulated("minoxidil").machine.plan.attachments[ADMISSION])
    turned = admission.model_copy(
        update={"trusted_people": {key: tuple(reversed(roles)) for key, roles in admission.trusted_people.items()}}
    )
    assert admit_again(turned).plan == admit_again(admission).plan


def test_a_clean_run_is_identical(clean: SimulatedCell) -> None:
    outcome = checked(clean.entries)
    assert outcome.identical and outcome.comparison is not None
    assert (outcome.comparison.entries, outcome.comparison.later, outcome.comparison.unsealed) == (len(clean.entries), (), ())
    assert outcome.inputs > 1000 and outcome.units == len(clean.machine.plan.units)


def test_a_run_that_waits_long_seals_its_journal_in_parts_and_is_identical(monkeypatch: pytest.MonkeyPatch) -> None:
    bound = 60_000
    monkeypatch.setattr(printer.journal, "FULL_BYTES", bound)
    cell = simulated("minoxidil")
    cell.command(Operation.PREPARE)
    cell.until(lambda machine: machine.phase is Phase.START)
    cell.until(lambda machine: len(cell.kinds("run.journal.sealed")) == 3)
    cell.command(Operation.START)
    cell.until(lambda machine: 1 in machine.cycle.verdicts)
    cell.command(Operation.PAUSE)
    cell.until(lambda machine: machine.state is RunState.PAUSED)
    before = len(cell.kinds("run.journal.sealed"))
    cell.until(lambda machine: len(cell.kinds("run.journal.sealed")) == before + 2)
    cell.command(Operation.RESUME)
    cell.until(lambda machine: machine.phase is Phase.DONE)
    assert cell.machine.ended == "FINISHED" and set(cell.verdicts().values()) == {"accepted"}
    journals = [data for draft in cell.entries for name, data in draft.attachments.items() if name.startswith("journal/")]
    longest = max(len(line) for data in journals for line in data.splitlines(keepends=True))
    assert max(map(len, journals)) < bound + longest
    names = [name for draft in cell.entries for name in draft.attachments if name.startswith("journal/")]
    assert len(names) == len(set(names)), "each has a name of its own in the package"
    assert checked(cell.entries).identical


def test_a_corrected_run_is_identical_and_its_units_are_compiled_again() -> None:
    cell = cell_of(correcting("minoxidil", 4), flow=1.03)
    cell.run()
    assert len(cell.kinds("dose.correction.decided")) == 3
    assert checked(cell.entries).identical
    # a compiler that gave other bytes than this one, and a proof that fits them
    for at, draft in enumerate(cell.entries):
        for name, data in draft.attachments.items():
            if name.startswith("journal/unit-") and b'"port":"compiler"' in data:
                lines = [json.loads(line) for line in data.splitlines()]
                given = next(line for line in lines if line["port"] == "compiler")
                body = json.loads(bytes.fromhex(given["bytes"]))
                body["gcode"] = body["gcode"] + "; \n"
                body["sha256"] = sha256_hex(body["gcode"].encode())
                given["bytes"] = canonical(body).hex()
                changed = b"".join(canonical(line) + b"\n" for line in lines)
                entries = list(cell.entries)
                entries[at] = EntryDraft(
                    draft.kind,
                    draft.subject,
                    draft.new,
                    draft.actor,
                    draft.device,
                    draft.reason,
                    draft.unit,
                    {**draft.attachments, name: changed},
                )
                outcome = checked(entries)
                assert not outcome.identical and outcome.difference is not None
                return
    raise AssertionError("no unit was compiled anew")


def test_entries_whose_commit_failed_are_in_no_trail_and_are_not_missed() -> None:
    def refuse(record: Record) -> bool:
        return any(draft.kind == "unit.print.intended" and draft.subject.id.endswith("/002") for draft in record.drafts)

    cell = simulated("minoxidil", refuse_record=refuse)
    cell.run()
    assert cell.machine.ended == "FAULTED"
    assert checked(cell.entries).identical


def test_the_first_entry_that_differs_is_named(clean: SimulatedCell) -> None:
    for at in range(0, len(clean.entries), 3):
        draft = clean.entries[at]
        entries = list(clean.entries)
        entries[at] = EntryDraft(
            draft.kind,
            draft.subject,
            {**draft.new, "added": "text"},
            draft.actor,
            draft.device,
            draft.reason,
            draft.unit,
            draft.attachments,
        )
        difference = checked(entries).difference
        assert difference is not None and difference.place.startswith(f"entry {at + 1} of the run, ")
        assert difference.fields == (("new.added", "text", None),)


@pytest.mark.parametrize("subject", [Subject("unit", "B-1-R1/001"), Subject("calibration", "B-1-R1/P1")], ids=str)
def test_a_removal_is_no_decision_of_the_run_whenever_it_is_confirmed(clean: SimulatedCell, subject: Subject) -> None:
    kind = kind_for(subject, EventKind.UNIT_REMOVAL_CONFIRMED)
    removal = EntryDraft(kind, subject, {"removed": True, "removal_method": "second person"}, OPERATOR, "cell-1")
    for at in (len(clean.entries) // 2, len(clean.entries)):
        outcome = checked([*clean.entries[:at], removal, *clean.entries[at:]])
        assert outcome.identical and outcome.comparison is not None
        assert outcome.comparison.entries == len(clean.entries)


@pytest.mark.parametrize(
    ("kind", "subject", "new"),
    [
        (EventKind.ALARM_CONDITION_ACKNOWLEDGED, Subject("alarm", "B-1-R1/A01"), {"state": "acknowledged"}),
        (EventKind.ALARM_CONDITION_RESET, Subject("alarm", "B-1-R1/A01"), {"state": "normal"}),
        (EventKind.UNIT_PRINT_SCRAPPED, Subject("unit", "B-1-R1/001"), {"verdict": "scrapped"}),
        (EventKind.PART_PRINT_SCRAPPED, Subject("part", "B-1-R1/001.1"), {"verdict": "scrapped"}),
        (EventKind.CALIBRATION_PRINT_SCRAPPED, Subject("calibration", "B-1-R1/P1"), {"verdict": "scrapped"}),
        (EventKind.DEVIATION_RECORD_OPENED, Subject("deviation", "B-1-R1/interrupted"), {"status": "open"}),
    ],
    ids=lambda given: str(given) if isinstance(given, EventKind) else "",
)
def test_what_follows_the_end_of_a_run_is_named_and_differs_nowhere_else(
    clean: SimulatedCell, kind: EventKind, subject: Subject, new: JsonObject
) -> None:
    later = EntryDraft(kind, subject, new, OPERATOR, "cell-1")
    outcome = checked([*clean.entries, later])
    assert outcome.identical and outcome.comparison is not None and outcome.comparison.later == (kind.value,)
    assert not checked([*clean.entries[:-1], later, clean.entries[-1]]).identical, "before the end it is a decision"


def test_a_missing_last_entry_differs(clean: SimulatedCell) -> None:
    bare = replace(clean.entries[-1], attachments={})
    shortened = checked([*clean.entries[:-1], bare])
    assert shortened.difference is not None and shortened.difference.fields, "its journal was taken away with it"
    assert {new for _, _, new in shortened.difference.fields} == {None}, "what is recorded was not decided again"


def test_nothing_sealed_still_shows_that_the_plan_is_the_same(clean: SimulatedCell) -> None:
    admission = read_admission(clean.machine.plan.attachments[ADMISSION])
    effects = RunMachine(clean.machine.plan).handle(Command(Operation.PREPARE, admission.job.actor.actor()), 0)
    created = [draft for effect in effects if isinstance(effect, Record) for draft in effect.drafts]
    assert "run.record.created" in [draft.kind for draft in created]
    killed = replace(clean.entries[-1], new={"state": "AWAITING_REVIEW", "ended": "INTERRUPTED"}, attachments={})
    outcome = checked([*created, killed])
    assert outcome.identical and outcome.comparison is not None
    assert (outcome.inputs, outcome.comparison.entries, outcome.comparison.unsealed) == (0, len(created), ("run.record.closed",))
    other = [replace(draft, new={**draft.new, "units": 9}) if draft.kind == "run.record.created" else draft for draft in created]
    assert not checked([*other, killed]).identical


def test_what_is_not_there_cannot_be_replayed(clean: SimulatedCell) -> None:
    data = clean.machine.plan.attachments[ADMISSION]
    with pytest.raises(ReplayImpossible, match=r"recorded without admission\.json"):
        check_replay("B-1-R1", [], {}, [])
    with pytest.raises(ReplayImpossible, match="is that of run B-1-R1"):
        check_replay("B-2-R1", [], {ADMISSION: data}, [])
    with pytest.raises(ReplayImpossible, match="cannot be read"):
        check_replay("B-1-R1", [], {ADMISSION: data[:-1]}, [])
    with pytest.raises(ReplayImpossible, match="cannot be read as inputs"):
        check_replay("B-1-R1", [], {ADMISSION: data}, [("journal/run.jsonl", b"[]\n")])
    with pytest.raises(CellRefused, match="job"):
        read_admission(json.dumps({**json.loads(data), "job": {}}).encode())


def test_a_job_that_would_be_refused_is_said_so(clean: SimulatedCell) -> None:
    admission = json.loads(clean.machine.plan.attachments[ADMISSION])
    admission["today"] = "2099-01-01"
    outcome = check_replay("B-1-R1", [], {ADMISSION: canonical(admission)}, [])
    assert not outcome.identical and "expired" in outcome.refused


def test_no_patient_is_named(clean: SimulatedCell) -> None:
    """The admission leaves the building with the package: a pseudonym and no more is in it."""
    admission = read_admission(clean.machine.plan.attachments[ADMISSION])
    assert set(admission.job.order.prescription.model_dump()) >= {"patient"}
    assert admission.job.order.prescription.patient.startswith("demonstration-")
    assert demonstration_job("minoxidil").order == admission.job.order
