"""Deterministic simulation: one seed is one batch of 3 to 8 units with a fault or none and people who press buttons.

What counts as unacceptable is judged by what only the plant knows. A unit is *unacceptable* where the true mass of active
in it differs from its label by more than the recipe's tolerance on the unit's mass plus the relative uncertainty of the
strength on the ink certificate: the mass is what the cell answers for, the strength of the ink what the certificate does.
Two faults of the bench change the strength alone, at the same mass, density and flow; nothing in a cell can see them, so
they are left out of the draw and have a test of their own. A unit of two inks is judged by each of its actives: it is as bad as
the worse of them.

Usage: `python tests/printer/simulation.py FIRST LAST [PROCESSES]` prints the table of those seeds.
"""

from __future__ import annotations

import functools
import math
import multiprocessing
import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from decimal import Decimal

from simulated_cell import TODAY, SimulatedCell, admitted, demonstration_job, signature

from audit.canonical import JsonValue
from audit.quantities import Milligram, MilligramPerSquareMetre
from hil_tests.cases import bench_for
from hil_tests.faults import FAULTS
from hil_tests.virtual_bench import VirtualBench
from printer.admission import MEANING_CONFIRMED, MEANING_ENTERED, Admitted
from printer.alarm_register import from_record
from printer.alarms import AlarmName
from printer.messages import Operation, Record
from printer.plan import limits_of_heads
from printer.replay import decisions_digest, replay
from printer.run import Phase, RunMachine
from printer.states import RunState
from recipes.library import load_demonstration, load_recipe, load_second
from recipes.order import DoseOrder

CASES = ("cyclophosphamide", "hydrocortisone", "minoxidil", "sildenafil")
TWO_INKS = ("polypill",)
"""Cases of two inks in one unit: seeds of their own, so that those of one ink stay what they were."""

UNSEEN = frozenset({"strength", "wrong_ink"})
"""Faults that change the strength of the ink and nothing that is measured."""

TOLERABLE = frozenset({"busy", "byte_burst", "byte_drop", "byte_flip", "latency", "noise", "ok_damaged", "resend_wrong"})
"""Faults that leave every unit good: a stop under one of them is safe, but costs a batch."""

_REPORTED = ("printer reports ", "the printer reported no ", "the nozzle ended at ")
"""How the reasons begin that rest on the printer's reports before and after a unit."""

DISK_FULL = "disk_full"
_SMALL = {
    "cyclophosphamide": MilligramPerSquareMetre("7.4"),
    "sildenafil": Milligram(3),
    "minoxidil": Milligram("0.75"),
    "polypill": Milligram(6),
}
_ONCE_DAILY = tuple((units, units) for units in (3, 3, 3, 4, 4, 5, 6, 7, 8))
_LENGTHS = {
    "cyclophosphamide": _ONCE_DAILY,
    "hydrocortisone": ((1, 3), (1, 3), (2, 6)),
    "minoxidil": _ONCE_DAILY,
    "sildenafil": ((1, 3), (1, 3), (2, 6)),
    "polypill": tuple((units, units) for units in (2, 2, 3, 3, 4)),
}
"""Days and units of a batch."""
_LIMIT_US = 3_000_000_000
_JOURNALS = ("journal/preparation.jsonl", "journal/purge-", "journal/unit-", "journal/run.jsonl")
_PORTS = ("printer", "balance", "pressure")


@dataclass(frozen=True, slots=True)
class Scenario:
    """What a seed stands for. `actions`: process time in µs and what a person then does."""

    seed: int
    case: str
    days: int
    fault: str | None
    actions: tuple[tuple[int, Operation], ...]
    warm: bool

    @classmethod
    def of(cls, seed: int, cases: tuple[str, ...] = CASES) -> Scenario:
        draw = random.Random(f"scenario:{seed}")
        case = draw.choice(cases)
        days, units = draw.choice(_LENGTHS[case])
        fault = _draw_fault(draw, units) if draw.random() < 0.75 else None
        if fault is not None and case in TWO_INKS and not fault.startswith(DISK_FULL):
            fault += draw.choice((":head1", ":head2"))
        actions = []
        if draw.random() < 0.3:
            paused = draw.randint(20, 200) * 1_000_000 + draw.randint(0, 999_999)
            actions.append((paused, Operation.PAUSE))
            actions.append((paused + draw.randint(1, 120) * 1_000_000, Operation.RESUME))
        if draw.random() < 0.15:
            stop = draw.choice((Operation.STOP_FINISH_UNIT, Operation.STOP_QUICK, Operation.STOP_KILL))
            actions.append((draw.randint(5, 300) * 1_000_000 + draw.randint(0, 999_999), stop))
        if draw.random() < 0.5:
            actions.append((draw.randint(5, 300) * 1_000_000, Operation.ACKNOWLEDGE))
        return cls(seed, case, days, fault, tuple(sorted(actions)), draw.random() < 0.9)

    @property
    def stopped_by_person(self) -> bool:
        return any(operation.value.startswith("stop") for _, operation in self.actions)


def _draw_fault(draw: random.Random, units: int) -> str:
    name = draw.choice([*sorted(set(FAULTS) - UNSEEN), DISK_FULL])
    unit = draw.randint(1, units)
    if name == DISK_FULL:
        return f"{name}:{draw.randint(1, 12 + 4 * units)}"
    if FAULTS[name].device:
        return f"{name}:{draw.choice(_PORTS)}:{unit}"
    return f"{name}:{unit}"


@dataclass(slots=True)
class Outcome:
    """What came of a seed; `wrong` names every property that does not hold."""

    scenario: Scenario
    ended: str
    accepted: int
    good: int
    watched: int
    wrong: list[str]
    needless_stop: str | None
    needless_rejects: list[str]
    alarms: tuple[str, ...]
    begun: tuple[str, ...]
    digest: str


@functools.cache
def _admitted(case: str, days: int) -> Admitted:
    """A run of small units: the same physics in less time."""
    recipe = load_recipe(case)
    prescription, ink, cartridge = load_demonstration(case, TODAY)
    prescription = prescription.model_copy(update={"days": days, "prescribed": _SMALL.get(case, prescription.prescribed)})
    if prescription.second is not None:
        small = prescription.second.model_copy(update={"prescribed": Milligram(3)})
        prescription = prescription.model_copy(update={"second": small})
    second = load_second(case, TODAY)
    order = DoseOrder.create("O-1", recipe=recipe, ink=ink, cartridge=cartridge, prescription=prescription, second=second)
    return admitted(
        demonstration_job(
            case,
            order=order,
            entered=signature("pharmacist", MEANING_ENTERED, order.sha256),
            confirmed=signature("operator", MEANING_CONFIRMED, order.sha256),
        )
    )


def build(scenario: Scenario) -> SimulatedCell:
    found = _admitted(scenario.case, scenario.days)
    plan = found.plan
    fault = scenario.fault
    on_bench = () if fault is None or fault.startswith(DISK_FULL) else (fault,)
    bench = VirtualBench(bench_for(scenario.case, faults=on_bench, seed=scenario.seed))
    cell = SimulatedCell(RunMachine(plan), bench, program=found.program)
    if scenario.warm:
        # A cell that has just printed another batch: heating is the same physics each time.
        for nozzle, limits in zip(bench.printer.nozzles, limits_of_heads(plan), strict=True):
            nozzle.temperature = float(limits.nozzle_set.value) - 1.0
        bench.printer.bed.temperature = float(plan.limits.plate_set.value) - 0.5
    if fault is not None and fault.startswith(DISK_FULL):
        cell.refuse_record = _refuse_from(int(fault.split(":")[1]))
    return cell


def _refuse_from(nth: int) -> Callable[[Record], bool]:
    """One commit in the middle fails, as on a disk that is full for a moment."""
    left = [nth]

    def refuse(record: Record) -> bool:
        full = record.token in left
        if full:
            left.clear()
        return full

    return refuse


def simulate(scenario: Scenario) -> Outcome:
    """Run a scenario to its end and judge it."""
    cell = build(scenario)
    machine = cell.machine
    actions = list(scenario.actions)
    cell.command(Operation.PREPARE)
    while machine.phase is not Phase.DONE and cell.now < _LIMIT_US:
        while actions and actions[0][0] <= cell.now:
            operation = actions.pop(0)[1]
            alarms = machine.alarms.alarms
            cell.command(operation, "seeded", alarms[0].key if alarms else "nothing")
        if machine.phase is Phase.START:
            cell.command(Operation.START)
        elif machine.state is RunState.PAUSED and not any(op is Operation.RESUME for _, op in actions):
            cell.command(Operation.RESUME)
        cell.step()
    for _ in range(20):
        cell.step()
    return _judge(scenario, cell)


def _judge(scenario: Scenario, cell: SimulatedCell) -> Outcome:
    machine = cell.machine
    wrong: list[str] = []
    if machine.phase is not Phase.DONE or machine.state is not RunState.AWAITING_REVIEW:
        wrong.append(f"hangs in {machine.state}, {machine.phase}, step {machine.cycle.step}")
    wrong += _record_faults(cell)
    segments = [data for entry in cell.entries for name, data in entry.attachments.items() if name.startswith(_JOURNALS)]
    digest = decisions_digest(cell.entries)
    if not wrong and not (scenario.fault or "").startswith(DISK_FULL) and replay(machine.plan, segments).sha256 != digest:
        wrong.append("the replay decides otherwise")
    begun = tuple(spec.name for spec in cell.bench.script.begun)
    from_unit = min((spec.unit for spec in cell.bench.script.begun), default=math.inf)
    if (scenario.fault or "").startswith(DISK_FULL) and machine.alarms.alarms:
        begun = (DISK_FULL,)
    contents = true_contents(cell)
    good = sum(abs(error) <= allowed for error, allowed in contents.values())
    judged = {n for n, verdict in cell.verdicts().items() if verdict != "scrapped" and n < from_unit}
    watched = sum(n in judged and abs(error) <= allowed for n, (error, allowed) in contents.items())
    rejects = []
    for n, verdict in cell.verdicts().items():
        error, allowed = contents.get(n, (Decimal(-100), Decimal(0)))
        if verdict == "accepted" and abs(error) > allowed:
            wrong.append(f"unit {n} is accepted with a content {error:+.2f} % off, {allowed:.2f} % allowed")
        reasons = machine.cycle.verdicts[n][2]
        if verdict == "rejected" and abs(error) <= allowed and (not begun or _damaged_report(begun, reasons)):
            rejects.append(f"unit {n}: {'; '.join(reasons)}")
    stop = None
    if machine.ended != "FINISHED" and not begun and not scenario.stopped_by_person:
        stop = "; ".join(f"{a.definition.name}: {a.message}" for a in machine.alarms.alarms) or "no alarm"
    alarms = tuple(alarm.definition.name.value for alarm in machine.alarms.alarms)
    accepted = sum(verdict == "accepted" for verdict in cell.verdicts().values())
    return Outcome(scenario, machine.ended, accepted, good, watched, wrong, stop, rejects, alarms, begun, digest)


def _damaged_report(begun: tuple[str, ...], reasons: tuple[str, ...]) -> bool:
    """Whether flipped bits alone had a unit rejected for what the printer reports: reports are asked for again."""
    return begun == ("byte_flip",) and all(reason.startswith(_REPORTED) for reason in reasons)


def true_contents(cell: SimulatedCell) -> dict[int, tuple[Decimal, Decimal]]:
    """Return for each unit begun the true deviation of its active content from the label and what is allowed, in percent."""
    machine = cell.machine
    case = cell.bench.config.case
    second = load_second(case, TODAY)
    inks = [load_demonstration(case, TODAY)[1], *([second[0]] if second is not None else [])]
    found: dict[int, tuple[Decimal, Decimal]] = {}
    for unit in machine.plan.units:
        ink, name = inks[unit.head], f"active_{unit.part}_mg" if unit.part else "active_mg"
        # Whatever lies within the unit's place belongs to it: a patch that fell beside it was meant for it.
        place = (("x", unit.x), ("y", unit.y))
        near = [row for row in cell.bench.truth() if all(abs(Decimal(str(row[axis])) - at) < 8 for axis, at in place)]
        active = sum((Decimal(str(row[name])) for row in near), Decimal(0))
        if active or unit.n in found or unit.n in machine.cycle.verdicts:
            error = (active - unit.strength.value) / unit.strength.value * 100
            allowed = unit.criteria.tolerance.value + ink.assay_uncertainty.value / ink.assay.value * 100
            worst = found.get(unit.n)
            if worst is None or abs(error) / allowed > abs(worst[0]) / worst[1]:
                found[unit.n] = (error, allowed)
    return found


def _record_faults(cell: SimulatedCell) -> list[str]:
    """Return what is missing in the trail of an ended run: every begin has its end, and the record is closed once, last."""
    kinds = [str(entry.kind) for entry in cell.entries]
    wrong = []
    if kinds.count("run.record.closed") != 1 or kinds[-1] != "run.record.closed":
        wrong.append("the record is not closed once, as its last entry")
    ended, begun = (".weight.judged", ".parts.judged", ".print.scrapped"), ".print.intended"
    ends = Counter(str(entry.subject) for entry in cell.entries if str(entry.kind).endswith(ended))
    begins = Counter(str(entry.subject) for entry in cell.entries if str(entry.kind).endswith(begun))
    if set(begins.values()) - {1} or set(ends.values()) - {1}:
        wrong.append("a unit begins or ends twice")
    # The intent of a unit may be what could not be recorded; its end, its alarm and its deviation are recorded all the same.
    lost = any(alarm.definition.name is AlarmName.RECORD_FAILURE for alarm in cell.machine.alarms.alarms)
    if begins - ends or (ends - begins and not lost):
        wrong.append(f"units begun {sorted(begins)} are not the units ended {sorted(ends)}")
    deviations = {entry.new["alarm"] for entry in cell.entries if str(entry.kind) == "deviation.record.opened"}
    touching = {alarm.key for alarm in cell.machine.alarms.alarms if alarm.unit_n is not None}
    if deviations != touching:
        wrong.append("an alarm that touched a unit has no deviation")
    states: dict[str, dict[str, JsonValue]] = {}
    for entry in cell.entries:
        if entry.subject.type == "alarm":
            states.setdefault(entry.subject.id, {}).update(entry.new)
    if [from_record(key, state) for key, state in states.items()] != list(cell.machine.alarms.alarms):
        wrong.append("the alarms of the trail are not those of the run")
    return wrong


@dataclass(slots=True)
class Tally:
    """Counts over many seeds."""

    outcomes: list[Outcome] = field(default_factory=list)

    def add(self, outcome: Outcome) -> None:
        self.outcomes.append(outcome)

    @property
    def wrong(self) -> list[str]:
        return [f"seed {o.scenario.seed} ({o.scenario.case}, {o.scenario.fault}): {text}" for o in self.outcomes for text in o.wrong]

    @property
    def needless_stops(self) -> list[str]:
        return [f"seed {o.scenario.seed} ({o.scenario.case}): {o.needless_stop}" for o in self.outcomes if o.needless_stop]

    @property
    def needless_rejects(self) -> list[str]:
        return [f"seed {o.scenario.seed} ({o.scenario.case}): {text}" for o in self.outcomes for text in o.needless_rejects]

    @property
    def good_units(self) -> int:
        return sum(outcome.good for outcome in self.outcomes)

    @property
    def watched_units(self) -> int:
        """Good units that were weighed before any fault began: what a false alarm can strike."""
        return sum(outcome.watched for outcome in self.outcomes)

    @property
    def false_alarms(self) -> int:
        """Runs that an alarm ended although nothing was wrong: at most one each."""
        return sum(bool(outcome.needless_stop or outcome.needless_rejects) for outcome in self.outcomes)

    @property
    def bad_accepted(self) -> int:
        return sum("is accepted with a content" in text for outcome in self.outcomes for text in outcome.wrong)

    def _figures(self) -> list[str]:
        wrong = [text for outcome in self.outcomes for text in outcome.wrong]
        hangs = sum(text.startswith("hangs") for text in wrong)
        broken = len(wrong) - hangs - self.bad_accepted
        rate, bound = rate_and_bound(self.false_alarms, self.watched_units)
        return [
            f"  bad units accepted {self.bad_accepted}, hangs {hangs}, broken trails and replays {broken}",
            f"  false alarms {self.false_alarms} in {self.watched_units} good units weighed before any fault: "
            f"{rate:.2f} per 1,000, at 95 % confidence below {bound:.2f}",
        ]

    def text(self) -> str:
        """A table: per fault the runs, their ends, and the first alarms."""
        lines = [
            f"{len(self.outcomes)} seeds, {self.good_units} good units, {sum(o.accepted for o in self.outcomes)} accepted; "
            f"wrong {len(self.wrong)}, needless stops {len(self.needless_stops)}, needless rejects {len(self.needless_rejects)}",
            *self._figures(),
        ]
        groups: dict[str, list[Outcome]] = {}
        for outcome in self.outcomes:
            groups.setdefault(outcome.begun[0] if outcome.begun else "none", []).append(outcome)
        for name in sorted(groups):
            ends = Counter(outcome.ended for outcome in groups[name])
            alarms = Counter(outcome.alarms[0] if outcome.alarms else "-" for outcome in groups[name])
            shown = ", ".join(f"{text} {count}" for text, count in alarms.most_common(3))
            mark = " (tolerable)" if name in TOLERABLE else ""
            lines.append(f"  {name + mark:28s} {len(groups[name]):4d} runs  {dict(ends)}  first alarm: {shown}")
        return "\n".join([*lines, *self.wrong, *self.needless_stops, *self.needless_rejects])


def tally(seeds: Iterable[int], cases: tuple[str, ...] = CASES) -> Tally:
    result = Tally()
    for seed in seeds:
        result.add(simulate(Scenario.of(seed, cases)))
    return result


def rate_and_bound(events: int, units: int) -> tuple[float, float]:
    """Return events per 1,000 units and the upper 95 % limit of their rate after Clopper and Pearson (1934), one-sided.

    The limit is the probability at which as few events or fewer come with 5 %; with none of them it is the rule of three.
    """
    if units == 0:
        return math.nan, math.nan
    low, high = events / units, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        few = math.fsum(math.comb(units, k) * middle**k * (1.0 - middle) ** (units - k) for k in range(events + 1))
        low, high = (middle, high) if few > 0.05 else (low, middle)
    return 1000 * events / units, 1000 * high


def _of_seed(seed: int) -> tuple[Outcome, float]:
    began = time.process_time()
    return simulate(Scenario.of(seed)), time.process_time() - began


def tallied(seeds: range, processes: int = 1) -> tuple[Tally, float]:
    """Simulate seeds on several processes; return their counts and the CPU time in s. What does not hold is printed as it comes."""
    result, spent = Tally(), 0.0
    with multiprocessing.Pool(processes) as pool:
        for outcome, seconds in pool.imap(_of_seed, seeds, chunksize=4):
            result.add(outcome)
            spent += seconds
            if outcome.wrong or outcome.needless_stop or outcome.needless_rejects:
                sys.stderr.write(f"{outcome}\n")
    return result, spent


def main(first: int, last: int, processes: int = 1) -> None:
    """Print the table of the seeds from `first` up to `last`."""
    result, spent = tallied(range(first, last), processes)
    sys.stdout.write(f"{result.text()}\n{spent:.1f} s of CPU, {spent / max(1, last - first):.2f} s a seed\n")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
