"""The entries of a run: what each decision leaves in the cell's trail, in one place."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

from audit.canonical import JsonValue, sha256_hex
from audit.events import Actor, EntryDraft, EventKind, Subject
from audit.quantities import Milligram, plain_text, round_to
from printer.acceptance import limits
from printer.alarm_register import Alarm, Change, as_record
from printer.dose_control import DoseControl
from printer.messages import CELL, Command, UnitCompiled
from printer.plan import Action, PlannedUnit, RunPlan
from printer.readiness import Gate
from printer.states import RunState


def unit_id(run: str, n: int) -> str:
    return f"{run}/{n:03d}"


def purge_id(run: str, n: int) -> str:
    return f"{run}/P{n}"


def printed(identity: str) -> Subject:
    """Return the subject of what was printed under an identifier: a unit, or a purge unit (`calibration`)."""
    return Subject("calibration" if identity.rpartition("/")[2].startswith("P") else "unit", identity)


def part_id(run: str, n: int, part: int) -> str:
    return f"{run}/{n:03d}.{part}"


def subject_of(run: str, unit: PlannedUnit) -> Subject:
    if unit.part:
        return Subject("part", part_id(run, unit.n, unit.part))
    return printed(purge_id(run, unit.n) if unit.purge else unit_id(run, unit.n))


_OF_PART = {
    EventKind.UNIT_PRINT_INTENDED: EventKind.PART_PRINT_INTENDED,
    EventKind.UNIT_WEIGHT_JUDGED: EventKind.PART_WEIGHT_JUDGED,
    EventKind.UNIT_PRINT_SCRAPPED: EventKind.PART_PRINT_SCRAPPED,
}
_OF_PURGE = {
    EventKind.UNIT_PRINT_INTENDED: EventKind.CALIBRATION_PRINT_INTENDED,
    EventKind.UNIT_WEIGHT_JUDGED: EventKind.CALIBRATION_WEIGHT_JUDGED,
    EventKind.UNIT_PRINT_SCRAPPED: EventKind.CALIBRATION_PRINT_SCRAPPED,
    EventKind.UNIT_REMOVAL_CONFIRMED: EventKind.CALIBRATION_REMOVAL_CONFIRMED,
}


def kind_for(subject: Subject, kind: EventKind) -> EventKind:
    """Return the kind of an entry on a unit as it is for this subject."""
    of_subject = _OF_PURGE if subject.type == "calibration" else _OF_PART if subject.type == "part" else {}
    return of_subject.get(kind, kind)


def intent(plan: RunPlan, unit: PlannedUnit) -> dict[str, JsonValue]:
    """Return what is on record of a unit before anything of it is sent."""
    low, high = limits(unit.criteria)
    return {
        "run": plan.run,
        "batch": plan.batch,
        "n": unit.n,
        **({"part": unit.part, "unit": unit_id(plan.run, unit.n), **unit.source} if unit.part else {}),
        "strength_mg": None if unit.purge else unit.strength.text,
        "flow_factor": plain_text(unit.flow_factor),
        "target_mass_mg": unit.target_mass.text,
        "target_volume_uL": unit.target_volume.text,
        "low_mg": low.rounded(2).text,
        "high_mg": high.rounded(2).text,
        "shape": dict(unit.shape),
        "x": plain_text(unit.x),
        "y": plain_text(unit.y),
        "gcode_sha256": unit.gcode_sha256,
        "state": "printing",
        **marked(plan),
    }


def marked(plan: RunPlan) -> dict[str, JsonValue]:
    """Return the mark of what is not for patients; nothing for what is."""
    return {"purpose": plan.created["purpose"]} if "purpose" in plan.created else {}


def whole_intent(plan: RunPlan, n: int) -> dict[str, JsonValue]:
    """Return what is on record of a unit of several inks before anything of its first part is sent."""
    parts = [unit for unit in plan.units if unit.n == n]
    return {
        "run": plan.run,
        "batch": plan.batch,
        "n": n,
        "parts": [part_id(plan.run, n, unit.part) for unit in parts],
        "strengths_mg": [unit.strength.text for unit in parts],
        "target_mass_mg": Milligram(sum((unit.target_mass.value for unit in parts), Decimal(0))).text,
        "x": plain_text(parts[0].x),
        "y": plain_text(parts[0].y),
        "state": "printing",
        **marked(plan),
    }


class Drafts:
    """Collects the entries of one step of the run machine and numbers the records asked for.

    Concurrency: owned by the run machine.
    """

    def __init__(self, run: str, device: str) -> None:
        self._run = run
        self._device = device
        self._drafts: list[EntryDraft] = []
        self._token = 0
        self._deviations = 0
        self._segments = 0

    def take(self) -> tuple[EntryDraft, ...]:
        drafts = tuple(self._drafts)
        self._drafts.clear()
        return drafts

    @property
    def empty(self) -> bool:
        """Whether nothing was drafted in this step yet."""
        return not self._drafts

    def next_token(self) -> int:
        self._token += 1
        return self._token

    def created(self, plan: RunPlan, who: Actor) -> None:
        new = {**plan.created, "state": RunState.CREATED.value}
        self._add(EventKind.RUN_RECORD_CREATED, "run", self._run, new, who=who, attachments=plan.attachments)

    def command(self, command: Command) -> None:
        new: dict[str, JsonValue] = {"command": command.operation.value}
        self._add(EventKind.RUN_COMMAND_RECEIVED, "run", self._run, new, who=command.who, reason=command.reason or None)

    def state(self, state: RunState, reason: str, who: Actor | None, attachments: Mapping[str, bytes]) -> None:
        new: dict[str, JsonValue] = {"state": state.value}
        self._add(EventKind.RUN_STATE_CHANGED, "run", self._run, new, who=who or CELL, reason=reason or None, attachments=attachments)

    def journal(self, sealed: bytes) -> None:
        """A segment of the journal that was full."""
        self._segments += 1
        name = f"journal/part-{self._segments:03d}.jsonl"
        new: dict[str, JsonValue] = {"journal_parts": self._segments, "journal_part_sha256": sha256_hex(sealed)}
        self._add(EventKind.RUN_JOURNAL_SEALED, "run", self._run, new, attachments={name: sealed})

    def gates(self, gates: tuple[Gate, ...], *, passed: bool) -> None:
        kind = EventKind.RUN_GATES_PASSED if passed else EventKind.RUN_GATES_REFUSED
        self._add(kind, "run", self._run, {"gates": [gate.as_record() for gate in gates]})

    def action_intended(self, action: Action) -> None:
        new: dict[str, JsonValue] = {"action": action.name, "action_sha256": action.sha256}
        self._add(EventKind.RUN_ACTION_INTENDED, "run", self._run, new)

    def action_completed(self, action: Action) -> None:
        self._add(EventKind.RUN_ACTION_COMPLETED, "run", self._run, {"action_completed": action.name})

    def unit_intended(self, plan: RunPlan, unit: PlannedUnit) -> None:
        new = intent(plan, unit)
        units = {"strength_mg": "mg", "target_mass_mg": "mg", "target_volume_uL": "uL", "low_mg": "mg", "high_mg": "mg"}
        subject = subject_of(self._run, unit)
        self._add(kind_for(subject, EventKind.UNIT_PRINT_INTENDED), subject.type, subject.id, new, unit=units)

    def whole_intended(self, plan: RunPlan, n: int) -> None:
        """That a unit of several inks is begun; its parts have entries of their own."""
        new = whole_intent(plan, n)
        self._add(EventKind.UNIT_PRINT_INTENDED, "unit", unit_id(self._run, n), new, unit={"target_mass_mg": "mg", "strengths_mg": "mg"})

    def whole_ended(self, kind: EventKind, n: int, new: Mapping[str, JsonValue]) -> None:
        """The verdict on a unit of several inks, or that it was given up."""
        self._add(kind, "unit", unit_id(self._run, n), new, unit={"mass_mg": "mg"})

    def corrected(self, compiled: UnitCompiled, planned: PlannedUnit, control: DoseControl) -> None:
        """The decision to correct, with the masses it follows from; the bytes and their proof are attached."""
        rule = control.rule
        new: dict[str, JsonValue] = {
            "run": self._run,
            "unit_n": compiled.n,
            **({"part": compiled.part} if compiled.part else {}),
            "purge_unit": compiled.purge,
            "flow_factor": plain_text(compiled.factor),
            "estimate": plain_text(round_to(control.estimate, 6)),
            "estimate_uncertainty": plain_text(round_to(control.standard_uncertainty, 6)),
            "evidence": [
                {
                    "n": seen.n,
                    "purge_unit": seen.purge,
                    "mass_mg": seen.mass.rounded(2).text,
                    "commanded_uL": plain_text(round_to(seen.commanded.value, 3)),
                    "gain": plain_text(round_to(seen.gain, 6)),
                    "gain_uncertainty": plain_text(round_to(seen.uncertainty, 6)),
                }
                for seen in control.observations
            ],
            "largest_percent": None if rule is None else rule.largest.text,
            "ink_limit_percent": None if rule is None else plain_text(round_to(rule.identity_limit, 3)),
            "target_volume_uL": compiled.target_volume.text,
            "planned_gcode_sha256": planned.gcode_sha256,
            "gcode_sha256": compiled.sha256,
        }
        name = f"corrected/{planned.file}"
        attachments = {f"{name}.gcode": compiled.gcode, f"{name}-proof.json": compiled.proof}
        key = subject_of(self._run, planned).id
        self._add(EventKind.DOSE_CORRECTION_DECIDED, "correction", key, new, unit={"target_volume_uL": "uL"}, attachments=attachments)

    def weight_entered(self, unit: PlannedUnit, entry: int, attempt: int, serial: str, who: Actor, outcome: str) -> None:
        """That a weight was entered, by whom; the value stays out until the unit is judged, so that the second entry is blind."""
        subject = subject_of(self._run, unit)
        new: dict[str, JsonValue] = {"entered": {"entry": entry, "attempt": attempt, "balance_serial": serial, "outcome": outcome}}
        self._add(EventKind.UNIT_WEIGHT_ENTERED, subject.type, subject.id, new, who=who)

    def unit_ended(self, kind: EventKind, unit: PlannedUnit, new: Mapping[str, JsonValue], attachments: Mapping[str, bytes]) -> None:
        subject = subject_of(self._run, unit)
        units = {name: name.rsplit("_", 1)[1] for name in new if name.endswith(("_mg", "_uL", "_kPa", "_C"))}
        self._add(kind_for(subject, kind), subject.type, subject.id, new, unit=units, attachments=attachments)

    def again(self, draft: EntryDraft) -> None:
        """Ask once more for an entry whose record failed."""
        self._drafts.append(draft)

    def alarm(self, change: Change, who: Actor = CELL, reason: str = "") -> None:
        """One event of one alarm; its kind is named after the event."""
        kind = EventKind(f"alarm.condition.{change.event}")
        self._add(kind, "alarm", change.alarm.key, as_record(change, self._run), who=who, reason=reason or None)

    def deviation(self, alarm: Alarm) -> None:
        self._deviations += 1
        new: dict[str, JsonValue] = {
            "run": self._run,
            "unit_n": alarm.unit_n,
            "alarm": alarm.key,
            "text": f"{alarm.definition.name}: {alarm.message}",
            "status": "open",
        }
        self._add(EventKind.DEVIATION_RECORD_OPENED, "deviation", f"{self._run}/D{self._deviations:02d}", new)

    def closed(self, ended: str, wire_sha256: str, program_sha256: str, attachments: Mapping[str, bytes]) -> None:
        new: dict[str, JsonValue] = {
            "state": RunState.AWAITING_REVIEW.value,
            "ended": ended,
            "program_sent_sha256": program_sha256,
            "wire_log_sha256": wire_sha256,
        }
        self._add(EventKind.RUN_RECORD_CLOSED, "run", self._run, new, attachments=attachments)

    def _add(
        self,
        kind: EventKind,
        subject_type: str,
        subject_id: str,
        new: Mapping[str, JsonValue],
        *,
        who: Actor = CELL,
        reason: str | None = None,
        unit: Mapping[str, str] | None = None,
        attachments: Mapping[str, bytes] | None = None,
    ) -> None:
        self._drafts.append(
            EntryDraft(kind, Subject(subject_type, subject_id), dict(new), who, self._device, reason, unit or {}, attachments or {})
        )
