"""One unit, or one part of a unit of several inks: totals and weight before, intent, print, totals, stillness, weight after, verdict.

A part begins with taking its head into use: nothing else of it is sent before the printer has said that it is that head. The weight
after one unit serves as the weight before the next when nothing moved in between and it is fresh.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from enum import StrEnum
from typing import Protocol

from audit.canonical import JsonValue, sha256_hex
from audit.events import EntryDraft, EventKind
from audit.quantities import EXACT, Celsius, Microlitre, Milligram, plain_text, round_to
from firmware_bridge.balance import WeighResult
from firmware_bridge.link_values import PositionReport
from printer.acceptance import Against, Finding, Judgement, UnitEvidence, Verdict, Weighing, judge, judge_external, report_reasons
from printer.alarms import AlarmName
from printer.devices import Devices
from printer.drafts import Drafts, intent, kind_for, unit_id, whole_intent
from printer.external_weighing import MOST_ATTEMPTS, ExternalWeighing, Outcome
from printer.journal import Journal
from printer.messages import Command
from printer.plan import PlannedUnit, RunPlan, e_area_of
from printer.unit_evidence import alarm_of, extruding_span, measured, microlitres, reasons_of
from printer.unit_sequence import UnitSequence
from printer.watch import Watch
from printer.whole_unit import WholeUnit, whole_record

_HEAD_ASKED_MOST = 3
_TOTAL_ASKED_MOST = 3
_FRESH_US = 3_000_000
"""A weight older than this is not taken as the weight before the next unit: the plate may have been touched."""


class Step(StrEnum):
    NONE = "none"
    TOTAL_BEFORE = "extruder total before"
    WEIGH_BEFORE = "weighing before"
    INTENT = "intent recorded"
    HEAD = "head taken into use"
    PRINT = "printing"
    TOTAL_AFTER = "extruder total after"
    SETTLE = "settling"
    WEIGH_AFTER = "weighing after"
    EXTERNAL_WEIGHING = "external weighing"
    RECORD = "verdict recorded"


class Run(Protocol):
    """What the cycle needs of its run machine."""

    plan: RunPlan
    watch: Watch
    devices: Devices
    units: UnitSequence
    journal: Journal

    @property
    def drafts(self) -> Drafts: ...
    def await_unit_record(self) -> None: ...
    def alarm(self, name: AlarmName, message: str, unit_n: int | None, now: int) -> None: ...
    def fault(self, name: AlarmName, message: str, now: int) -> None: ...
    def unit_judged(self, *, accepted: bool, now: int) -> None: ...
    def head_taken(self, head: int) -> None: ...
    def wrong_head(self, wanted: int, now: int) -> None: ...
    def refuse_units(self, name: AlarmName, reason: str, now: int) -> None: ...


class UnitCycle:
    """The steps of the unit in progress.

    Concurrency: owned by the run machine.
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        self.step = Step.NONE
        self.unit: PlannedUnit | None = None
        self.weighings: dict[int, Judgement] = {}
        self.verdicts: dict[int, tuple[Verdict, Milligram | None, tuple[str, ...]]] = {}
        self.whole_parts: dict[int, dict[int, tuple[Verdict, Milligram | None, tuple[str, ...]]]] = {}
        self.purge_verdicts: dict[int, tuple[Verdict, Milligram | None, tuple[str, ...]]] = {}
        self._acknowledged = 0
        self._span = (0, 0)
        self._total_before: Decimal | None = None
        self._total_after: Decimal | None = None
        self._totals_told: list[Decimal] = []
        self._total_asked = 0
        self._ended: tuple[Decimal, ...] | None = None
        self._asked_again = False
        self._first: WeighResult | None = None
        self._before: Weighing | None = None
        self._after: Weighing | None = None
        self._raw: list[WeighResult] = []
        self._deadline = 0
        self._wake: int | None = None
        self._began = 0
        self._printed_us: int | None = None
        self._lines_before = (0, 0)
        self._accepted = False
        self._head_asked = 0
        self.whole: WholeUnit | None = None
        self.external: ExternalWeighing | None = None

    @property
    def unit_n(self) -> int | None:
        """The unit that an alarm now would touch. A purge unit is waste anyway: an alarm touches no unit then."""
        unit = self._in_progress
        if unit is None and self.whole is not None:
            return self.whole.n
        return None if unit is None or unit.purge else unit.n

    @property
    def _in_progress(self) -> PlannedUnit | None:
        """What may have left something on the plate and has no verdict: from its intent to its verdict."""
        begun = (Step.INTENT, Step.HEAD, Step.PRINT, Step.TOTAL_AFTER, Step.SETTLE, Step.WEIGH_AFTER, Step.EXTERNAL_WEIGHING)
        return self.unit if self.step in begun else None

    @property
    def moving(self) -> bool:
        """Whether the unit is being printed: the balance is not at rest."""
        return self.step in (Step.INTENT, Step.HEAD, Step.PRINT, Step.TOTAL_AFTER)

    def weighing_us(self, now: int) -> int | None:
        """Return for how long the weighing under way has lasted, None where none is."""
        if self.step not in (Step.WEIGH_BEFORE, Step.WEIGH_AFTER):
            return None
        return self._run.plan.limits.weighing_timeout_us - (self._deadline - now)

    @property
    def commanded_nl(self) -> int:
        """Net volume in nL commanded by the lines of this unit that the printer has taken."""
        if self.unit is None or self._acknowledged == 0:
            return 0
        return self.unit.cumulative_nl[self._acknowledged - 1]

    def begin(self, unit: PlannedUnit, now: int) -> None:
        self.unit = unit
        self._span = extruding_span(unit)
        self._acknowledged = 0
        # Nothing moves between two units: the total after the one is the total before the other.
        self._totals_told = [] if self._total_after is None else [self._total_after]
        self._total_after = self._ended = None
        self._total_asked = 0
        self._asked_again = False
        self._raw = []
        # A unit that was weighed elsewhere was taken off: the plate is not what it was.
        fresh = self.external is None and self._after is not None and now - self._after.at <= _FRESH_US
        self._before = self._after if fresh else None
        self.external = None
        self._after = None
        self.step = Step.TOTAL_BEFORE
        self._ask_total_before(now)

    # What the machine tells

    def reported(self, report: PositionReport, now: int) -> None:
        """Take the printer's position and extruder total."""
        if self.step is Step.TOTAL_BEFORE:
            self._total_before = report.e
        elif self.step is Step.TOTAL_AFTER:
            self._total_after = report.e
            self._ended = (report.x, report.y, report.z)

    def drained(self, now: int) -> None:
        match self.step:
            case Step.TOTAL_BEFORE:
                self._total_before_told(now)
            case Step.HEAD:
                self._head_answered(now)
            case Step.PRINT:
                self._printed_us = now - self._began
                self._run.devices.sent.finished()
                self.step = Step.TOTAL_AFTER
                self._run.devices.ask_total(now)
            case Step.TOTAL_AFTER if self._doubtful and not self._asked_again:
                # Digits may be damaged on the wire: a report that speaks against the unit counts when it comes twice.
                self._asked_again = True
                self._run.devices.ask_total(now)
            case Step.TOTAL_AFTER:
                self.step = Step.SETTLE
                self._wake = now + self._run.plan.limits.settle_us
            case _:
                pass

    def acknowledged(self, now: int) -> None:
        if self.step is not Step.PRINT or self.unit is None:
            return  # lines that take a head into use move nothing, and are counted when they are done
        self._acknowledged += 1
        first, last = self._span
        if self._acknowledged == first + 1:
            self._run.watch.extruding_since = now
        elif self._acknowledged == last + 1:
            self._run.watch.extruding_since = None

    def tick(self, now: int) -> None:
        if self._wake is not None and now >= self._wake:
            self._wake = None
            if self.step is Step.SETTLE:
                self.step = Step.WEIGH_AFTER
                self._start_weighing(now)
            elif self.step in (Step.WEIGH_BEFORE, Step.WEIGH_AFTER):
                self._ask_weight(now)
        if self.step in (Step.WEIGH_BEFORE, Step.WEIGH_AFTER) and now >= self._deadline:
            self._no_weight("no stable weight in time", now)
        if self.step is Step.EXTERNAL_WEIGHING and self.external is not None and now >= self.external.deadline:
            self._no_weight("no weight of the external balance was entered in time", now)

    def weighed(self, result: WeighResult, now: int) -> None:
        if self.step not in (Step.WEIGH_BEFORE, Step.WEIGH_AFTER):
            return
        if not result.stable:
            self._ask_weight(now)
            return
        self._raw.append(result)
        if self._first is None:
            self._first = result
            self._wake = now + self._run.plan.limits.weighing_span_us
            return
        weighing = Weighing(self._first.value, self._first.at, result.value, result.at)
        self._first = None
        if self.step is Step.WEIGH_BEFORE:
            self._before = weighing
            self._intend(now)
        else:
            self._after = weighing
            self._judge_or_ask(now)

    def weigh_failed(self, text: str, now: int) -> None:
        if self.step in (Step.WEIGH_BEFORE, Step.WEIGH_AFTER):
            self._wake = now + 1_000_000

    def balance_fault(self, text: str, now: int) -> None:
        """Give the unit up: where the balance weighs it, it has no weight; in any other step the run stops, for it will have none.

        After a unit that is rejected already, nothing is weighed any more: the run ends in order.
        """
        if self.step in (Step.WEIGH_BEFORE, Step.WEIGH_AFTER):
            self._no_weight(text, now)
        elif self.step is not Step.RECORD or self._accepted:
            self._run.fault(AlarmName.BALANCE_FAULT, text, now)

    def refusal(self, command: Command) -> tuple[str, ...]:
        """Return why a weight would not be taken now."""
        if self.step is not Step.EXTERNAL_WEIGHING or self.external is None:
            return ("no unit waits to be weighed on the external balance",)
        return self.external.refusal(command)

    def enter_weight(self, command: Command, now: int) -> None:
        """Take what a person read on the external balance, unless it is refused; judge the unit once two entries agree."""
        unit, external, entered = self.unit, self.external, command.weight
        if self.refusal(command) or unit is None or external is None or entered is None:
            return
        outcome = external.enter(command, now)
        self._run.drafts.weight_entered(unit, entered.entry, entered.attempt, entered.serial, command.who, outcome.value)
        if outcome is Outcome.AGREED:
            self._judge(now)
        elif outcome is Outcome.GIVEN_UP:
            self._no_weight(f"the two entries of its external weight differed {MOST_ATTEMPTS} times", now)

    def recorded(self, now: int) -> None:
        """Go on after the awaited record: print after the intent, the next unit after the verdict."""
        unit = self.unit
        if unit is None:
            return
        if self.step is Step.INTENT:
            self._lines_before = self._read_back()
            self._head_asked = 0
            if unit.taking:
                self._take_head(unit, now)
            else:
                self._print(unit, unit.title, now)
        elif self.step is Step.RECORD:
            self.step = Step.NONE
            self._run.unit_judged(accepted=self._accepted, now=now)

    def scrap(self, reasons: Sequence[str]) -> None:
        """Give up the unit in progress, if there is one: it was begun, so it must be taken off the plate."""
        unit = self._in_progress
        self._wake = None
        if unit is None:
            self.step = Step.NONE
            self.give_up_whole(reasons)
            return
        self._run.devices.sent.stopped()
        # An intent that is not known to be on record: the end says itself which unit it is.
        known = intent(self._run.plan, unit) if self.step is Step.INTENT else {}
        self._close(EventKind.UNIT_PRINT_SCRAPPED, Verdict.SCRAPPED, None, tuple(reasons), known)
        self.step = Step.NONE

    def give_up_whole(self, reasons: Sequence[str]) -> None:
        """Scrap a unit of several inks of which a part is missing: it lies on the plate, whatever its first part weighed."""
        if self.whole is not None:
            self._end_whole(self.whole, Verdict.SCRAPPED, (*self.whole.reasons, *reasons), {})

    def end_lost(self, draft: EntryDraft, reason: str) -> EntryDraft:
        """Return how a unit ends whose verdict could not be recorded: scrapped, whatever it weighed."""
        reasons = (f"its end could not be recorded: {reason}", *reasons_of(draft))
        if draft.subject.type != "part":
            purge = draft.subject.type == "calibration"
            n = int(draft.subject.id.rpartition("/")[2].removeprefix("P"))
            (self.purge_verdicts if purge else self.verdicts)[n] = (Verdict.SCRAPPED, None, reasons)
        new = {**draft.new, "verdict": Verdict.SCRAPPED.value, "mass_mg": None, "reasons": list[JsonValue](reasons)}
        return replace(draft, kind=kind_for(draft.subject, EventKind.UNIT_PRINT_SCRAPPED), new=new)

    # Steps

    def _ask_total_before(self, now: int) -> None:
        self._total_before = None
        self._total_asked += 1
        self._run.devices.ask_total(now)

    def _total_before_told(self, now: int) -> None:
        """Go on where the total is that after the unit before, or has come twice: its digits may be damaged on the wire."""
        told = self._total_before
        if told is not None and told in self._totals_told:
            self._weigh_before(now)
        elif self._total_asked < _TOTAL_ASKED_MOST:
            self._totals_told += [] if told is None else [told]
            self._ask_total_before(now)
        else:
            self.step = Step.NONE
            self._run.refuse_units(AlarmName.VOLUME_MISMATCH, _total_unread(self.unit), now)

    def _weigh_before(self, now: int) -> None:
        if self._before is not None:
            self._intend(now)
            return
        self.step = Step.WEIGH_BEFORE
        self._start_weighing(now)

    def _start_weighing(self, now: int) -> None:
        self._first = None
        self._deadline = now + self._run.plan.limits.weighing_timeout_us
        self._ask_weight(now)

    def _ask_weight(self, now: int) -> None:
        """Ask for a stable weight. A balance in fault is not asked: it would have to be identified first, and its zero is gone."""
        balance = self._run.devices.balance
        if balance.fault is not None:
            self._no_weight(balance.fault.text, now)
        else:
            balance.request_weight(now)

    def _intend(self, now: int) -> None:
        unit, before = self.unit, self._before
        if unit is None or before is None:
            return
        if abs(before.slope) > unit.criteria.drift_limit:
            text = f"{plain_text(round_to(before.slope.value, 3))} mg/s before {unit.name}, limit {unit.criteria.drift_limit}"
            self.step = Step.NONE
            self._run.refuse_units(AlarmName.BALANCE_DRIFT, text, now)
            return
        self.step = Step.INTENT
        if unit.part == 1:
            self.whole = WholeUnit(unit.n)
            self._run.drafts.whole_intended(self._run.plan, unit.n)
        self._run.drafts.unit_intended(self._run.plan, unit)
        self._run.await_unit_record()

    def _take_head(self, unit: PlannedUnit, now: int) -> None:
        """Send what takes the head of a part into use, and nothing more until the printer has said that it is."""
        self.step = Step.HEAD
        self._run.devices.tool = None
        self._run.devices.submit(unit.lines[: unit.taking], None if self._head_asked else unit.title, now)
        self._head_asked += 1

    def _head_answered(self, now: int) -> None:
        """Go on where the printer has said the right head. Its answer may be damaged on the wire: it is asked again, never guessed."""
        unit = self.unit
        if unit is None:
            return
        if self._run.devices.tool == unit.head:
            self._acknowledged = unit.taking
            self._run.head_taken(unit.head)
            self._print(unit, None, now)
        elif self._head_asked < _HEAD_ASKED_MOST:
            self._take_head(unit, now)
        else:
            self._run.wrong_head(unit.head, now)

    def _print(self, unit: PlannedUnit, title: str | None, now: int) -> None:
        self.step = Step.PRINT
        self._began, self._printed_us = now, None
        self._run.watch.begin_unit(now)
        self._run.devices.submit(unit.lines[unit.taking :], title, now)

    def _no_weight(self, text: str, now: int) -> None:
        self._wake = None
        printed = self.step in (Step.WEIGH_AFTER, Step.EXTERNAL_WEIGHING)
        if printed and self.unit is not None:
            self._run.alarm(AlarmName.BALANCE_FAULT, text, self.unit_n, now)
            self._accepted = False
            self._close(EventKind.UNIT_WEIGHT_JUDGED, Verdict.REJECTED, None, (f"not weighed: {text}",), {})
            self.step = Step.RECORD
            self._run.await_unit_record()
        else:
            self.step = Step.NONE
            self._run.refuse_units(AlarmName.BALANCE_FAULT, text, now)

    def _judge_or_ask(self, now: int) -> None:
        """The plate is weighed: judge, or wait for people to weigh the unit on the external balance."""
        unit, balance = self.unit, self._run.plan.external
        if unit is None or balance is None or unit.purge:
            self._judge(now)
            return
        self.external = ExternalWeighing(balance, unit_id(self._run.plan.run, unit.n), now)
        self.step = Step.EXTERNAL_WEIGHING

    def _judge(self, now: int) -> None:
        unit, before, after = self.unit, self._before, self._after
        if unit is None or before is None or after is None:
            return
        watch = self._run.watch
        reported = self._reported()
        evidence = UnitEvidence(
            before=before,
            after=after,
            commanded=microlitres(unit.cumulative_nl[-1]),
            reported=reported,
            nozzle_min=None if watch.nozzle_min is None else Celsius(watch.nozzle_min),
            nozzle_max=None if watch.nozzle_max is None else Celsius(watch.nozzle_max),
            plate_min=None if watch.plate_min is None else Celsius(watch.plate_min),
            plate_max=None if watch.plate_max is None else Celsius(watch.plate_max),
            ended=self._ended,
            printed_us=self._printed_us,
            unread_lines=self._read_back()[1] - self._lines_before[1],
        )
        external = self.external
        if external is not None and external.mass is not None:
            judgement = judge_external(unit.criteria, evidence, external.mass, external.balance.expanded_uncertainty)
        else:
            judgement = judge(unit.criteria, evidence)
        dose = self._run.units.dose_of(unit)
        identity = dose.identity_reason(judgement.adjusted, evidence.commanded)
        if identity is not None:
            held = Finding(Against.IDENTITY, identity)
            judgement = replace(judgement, verdict=Verdict.REJECTED, findings=(*judgement.findings, held))
        self._accepted = judgement.verdict is Verdict.ACCEPTED
        if unit.purge and self._accepted:
            judgement = replace(judgement, verdict=Verdict.CALIBRATION)
        elif not unit.purge:
            self.weighings[unit.n] = judgement
        if self._accepted:
            watch.flow.unit_accepted()
            dose.observe(unit.n, judgement, evidence.commanded, purge=unit.purge)
        self._alarms(judgement, unit, now)
        found = measured(judgement, before, after, evidence, watch)
        found["lines_unproved"] = self._read_back()[0] - self._lines_before[0]
        found["planned_s"] = plain_text(round_to(EXACT.divide(Decimal(unit.duration_us), Decimal(1_000_000)), 1))
        self._close(EventKind.UNIT_WEIGHT_JUDGED, judgement.verdict, judgement.mass, judgement.reasons, found)
        self.step = Step.RECORD
        self._run.await_unit_record()

    def _alarms(self, judgement: Judgement, unit: PlannedUnit, now: int) -> None:
        if judgement.verdict is not Verdict.REJECTED:
            return
        self._run.alarm(alarm_of(judgement, purge=unit.purge), "; ".join(judgement.reasons), None if unit.purge else unit.n, now)

    def _read_back(self) -> tuple[int, int]:
        """Return how many lines of the connection were not proved by the printer's echo, and how many of them say nothing at all."""
        link = self._run.devices.link
        return link.unproved_lines, link.doubtful_lines

    @property
    def _doubtful(self) -> bool:
        """Whether the report after the unit speaks against it."""
        unit = self.unit
        if unit is None:
            return False
        allowed, reported = unit.criteria, self._reported()
        commanded = microlitres(unit.cumulative_nl[-1])
        return bool(report_reasons(allowed, commanded, reported, self._ended))

    def _reported(self) -> Microlitre | None:
        if self._total_before is None or self._total_after is None:
            return None
        e_area = self._run.plan.e_area if self.unit is None else e_area_of(self._run.plan, self.unit)
        return Microlitre(EXACT.multiply(self._total_after - self._total_before, e_area.value))

    def _close(
        self,
        kind: EventKind,
        verdict: Verdict,
        mass: Milligram | None,
        reasons: tuple[str, ...],
        seen: dict[str, JsonValue],
    ) -> None:
        """Draft the end of the unit with its journal and trace."""
        unit = self.unit
        if unit is None:
            return
        journal, trace = self._run.journal.seal(), self._run.watch.end_unit()
        if not unit.part:
            (self.purge_verdicts if unit.purge else self.verdicts)[unit.n] = (verdict, mass, reasons)
        new: dict[str, JsonValue] = {
            **seen,
            **({} if self.external is None else self.external.as_record()),
            "state": "judged",
            "verdict": verdict.value,
            "mass_mg": None if mass is None else mass.rounded(2).text,
            "reasons": list(reasons),
            "journal_sha256": sha256_hex(journal),
            "trace_sha256": sha256_hex(trace),
            "balance_serial": self._run.devices.balance_serial,
            "weighings": [
                {"at_us": w.at, "value_mg": w.value.text, "raw": w.raw.hex(), "device": w.device} for w in self._raw
            ],
        }  # fmt: skip
        attachments = {f"journal/{unit.file}.jsonl": journal, f"traces/{unit.file}.csv": trace}
        self._run.drafts.unit_ended(kind, unit, new, attachments)
        if unit.part:
            self._part_ended(unit, verdict, mass, reasons, known=bool(seen) and kind is EventKind.UNIT_PRINT_SCRAPPED)

    def _part_ended(self, unit: PlannedUnit, verdict: Verdict, mass: Milligram | None, reasons: tuple[str, ...], *, known: bool) -> None:
        """The verdict on a part decides its unit, unless it is accepted and another part is to come."""
        whole = self.whole if self.whole is not None else WholeUnit(unit.n)
        whole.judged(unit, verdict, mass, reasons)
        if whole.verdict is not None:
            self._end_whole(whole, whole.verdict, whole.reasons, whole_intent(self._run.plan, unit.n) if known else {})

    def _end_whole(self, whole: WholeUnit, verdict: Verdict, reasons: tuple[str, ...], known: dict[str, JsonValue]) -> None:
        kind = EventKind.UNIT_PRINT_SCRAPPED if verdict is Verdict.SCRAPPED else EventKind.UNIT_PARTS_JUDGED
        mass = whole.mass if verdict is Verdict.ACCEPTED else None
        self.verdicts[whole.n] = (verdict, mass, reasons)
        self.whole_parts[whole.n] = dict(whole.parts)
        self._run.drafts.whole_ended(kind, whole.n, {**known, **whole_record(verdict, mass, reasons)})
        self.whole = None


def _total_unread(unit: PlannedUnit | None) -> str:
    """Say that the total before a unit cannot be read; each kind of unit in a sentence of its own, as it is translated."""
    if unit is None:
        return "the printer's extruder total before the unit cannot be read"
    if unit.purge:
        return f"the printer's extruder total before purge unit {unit.n} cannot be read"
    if unit.part:
        return f"the printer's extruder total before unit {unit.n} part {unit.part} cannot be read"
    return f"the printer's extruder total before unit {unit.n} cannot be read"
