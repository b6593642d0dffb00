"""Ink that does not last, in volume or in time, and a clock that is set: told in time, and never without cause."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest
from simulated_cell import STANDING, TODAY, SimulatedCell, admitted, demonstration_job, signature, simulated
from simulation import CASES

from audit.checkpoint import SigningKey
from audit.clock import SystemClock, UtcReading
from audit.quantities import Microlitre
from audit.store import TrailStore
from printer.admission import MEANING_CONFIRMED, MEANING_ENTERED
from printer.alarms import DEFINITIONS, AlarmName
from printer.cell import Cell
from printer.clock_watch import ClockWatch
from printer.journal import Journal, read_journal
from printer.messages import ClockCompared, Operation, Port
from printer.plan import RunPlan
from printer.ports import Place, Ports
from printer.replay import decisions_digest, replay
from printer.run import Phase
from printer.standing import left_of_day_s
from printer.supply import SupplyWatch, time_needed_us
from printer.supply_gate import supply_gate, supply_of
from recipes.library import load_demonstration

HOUR = 3600
NOON = STANDING.model_copy(update={"left_of_day_s": 12 * HOUR})


def at_noon(case: str, *faults: str, plan: Callable[[RunPlan], RunPlan] = lambda found: found) -> SimulatedCell:
    cell = simulated(case, *faults, standing=NOON)
    changed = plan(cell.machine.plan)
    if changed is not cell.machine.plan:
        cell.machine.__init__(changed)  # type: ignore[misc]
    return cell


def with_supply(plan: RunPlan, **changes: int) -> RunPlan:
    (supply,) = plan.supplies
    return replace(plan, supplies=(replace(supply, **changes),))


def volume_nl(plan: RunPlan) -> int:
    return sum(unit.cumulative_nl[-1] for unit in plan.purges + plan.units)


def names(cell: SimulatedCell) -> list[AlarmName]:
    return [alarm.definition.name for alarm in cell.machine.alarms.alarms]


def start(cell: SimulatedCell) -> None:
    cell.command(Operation.PREPARE)
    cell.until(lambda machine: machine.phase is Phase.START)
    cell.command(Operation.START)


@pytest.mark.parametrize("case", CASES)
def test_a_healthy_batch_is_admitted_and_never_warned_of(case: str) -> None:
    cell = at_noon(case)
    gate = next(gate for gate in cell.machine.plan.static_gates if gate.name == "ink lot and cartridge")
    assert gate.met and "the run needs about" in gate.text
    cell.run()
    assert (cell.machine.ended, names(cell)) == ("FINISHED", [])


def test_a_cartridge_that_is_hardly_full_enough_is_told_after_the_first_unit() -> None:
    def scarce(plan: RunPlan) -> RunPlan:
        return with_supply(plan, give_nl=plan.supplies[0].prime_nl + volume_nl(plan) + 1000)

    cell = at_noon("minoxidil", plan=scarce)
    start(cell)
    cell.until(lambda machine: machine.units.done == 1)
    (alarm,) = cell.machine.alarms.alarms
    left = len(cell.machine.plan.units) - 1
    assert alarm.definition.name is AlarmName.INK_SHORT and f"the {left} units that remain need" in alarm.message
    cell.until(lambda machine: machine.phase is Phase.DONE)
    assert cell.machine.ended == "FINISHED", "a warning never stops"
    assert len(cell.machine.alarms.alarms) == 1, "it does not chatter"
    journals = ("journal/preparation.jsonl", "journal/purge-", "journal/unit-", "journal/run.jsonl")
    segments = [data for entry in cell.entries for name, data in entry.attachments.items() if name.startswith(journals)]
    assert replay(cell.machine.plan, segments).sha256 == decisions_digest(cell.entries)


def test_a_correction_that_takes_more_ink_is_counted_and_gone_with_the_last_unit() -> None:
    plan = admitted(demonstration_job("minoxidil"), NOON).plan
    one, rest = plan.units[0], plan.units[1:]
    need = sum(int(unit.target_volume.value * 1000) for unit in rest)
    (supply,) = plan.supplies
    give = supply.prime_nl + one.cumulative_nl[-1] + need * 103 // 100 + 100
    for factor, raised in (("1", False), ("1.04", True)):
        watch = SupplyWatch((replace(supply, give_nl=give),))
        crossing = watch.used(one, rest, Decimal(factor), 0)
        assert (crossing is not None) == raised
    assert crossing is not None and crossing.message is not None
    gone = watch.used(rest[-1], (), Decimal(1), 0)
    assert gone is not None and gone.message is None


def test_a_pause_that_outlasts_the_life_of_the_ink_is_told_and_no_unit_is_begun_after_it() -> None:
    cell = at_noon("minoxidil", plan=lambda plan: with_supply(plan, life_us=1_200_000_000))
    start(cell)
    cell.until(lambda machine: machine.units.done == 1)
    cell.command(Operation.PAUSE)
    cell.until(lambda machine: machine.phase is Phase.PAUSED)
    done = cell.machine.units.done
    cell.until(lambda machine: machine.alarms.alarms != ())
    (alarm,) = cell.machine.alarms.alarms
    left = cell.machine.plan.units[done:]
    assert alarm.definition.name is AlarmName.LIFE_ENDS
    assert f"units that remain need about {-(-time_needed_us(left) // 60_000_000)} min" in alarm.message
    assert 1_200_000_000 - alarm.raised_at < time_needed_us(left) + 20_000_000, "not before it is so"
    cell.until(lambda machine: machine.life_over(cell.now) is not None)
    cell.command(Operation.RESUME)
    cell.until(lambda machine: machine.phase is Phase.DONE)
    assert (cell.machine.ended, cell.machine.units.done) == ("ABORTED", done)
    assert names(cell) == [AlarmName.LIFE_ENDS, AlarmName.LIFE_OVER]
    assert len(cell.kinds("unit.print.intended")) == done


def test_a_run_that_is_prepared_too_late_prints_nothing() -> None:
    cell = at_noon("minoxidil", plan=lambda plan: with_supply(plan, life_us=30_000_000))
    start(cell)
    cell.until(lambda machine: machine.phase is Phase.DONE)
    assert names(cell)[-1] is AlarmName.LIFE_OVER and cell.kinds("unit.print.intended") == []


@pytest.mark.parametrize(("last", "left_s", "met"), [(TODAY, 12 * HOUR, True), (TODAY, 600, False), ("2026-11-21", 600, True)])
def test_the_gate_counts_the_last_day_whole(last: str, left_s: int, met: bool) -> None:
    _, ink, cartridge = load_demonstration("minoxidil", TODAY)
    plan = admitted(demonstration_job("minoxidil")).plan
    cartridge = cartridge.model_copy(update={"in_use_until": last})
    supply = supply_of(ink, cartridge, heel=Microlitre(0), prime=Microlitre(0), rate="1", today=TODAY, left_of_day_s=left_s)
    gate = supply_gate([(ink, cartridge)], (supply,), plan.units)
    assert gate.met is met
    if not met:
        assert gate.text.startswith(f"cartridge {cartridge.serial} may be used until {last}, which is 10 min more, and the run needs about")
    older = ink.model_copy(update={"expires": TODAY})
    assert f"ink lot {ink.lot} may be used until {TODAY}" in supply_of(
        older, cartridge.model_copy(update={"in_use_until": "2027-01-01"}), heel=Microlitre(0), prime=Microlitre(0), rate="1", today=TODAY,
        left_of_day_s=0,
    ).what  # fmt: skip


def test_a_run_that_would_outlast_the_life_of_its_ink_is_refused_before_anything_moves() -> None:
    job = demonstration_job("minoxidil")
    cartridge = job.cartridge.model_copy(update={"in_use_until": TODAY})
    one_day = job.order.prescription.model_copy(update={"days": 1})  # a longer course would run past its use-by, and not be compiled
    order = job.order.model_copy(update={"cartridge_digest": cartridge.digest, "prescription": one_day})
    signed = {
        "entered": signature("pharmacist", MEANING_ENTERED, order.sha256),
        "confirmed": signature("operator", MEANING_CONFIRMED, order.sha256),
    }
    late = STANDING.model_copy(update={"left_of_day_s": 300})
    cell = simulated("minoxidil", job=job.model_copy(update={"cartridge": cartridge, "order": order, **signed}), standing=late)
    cell.command(Operation.PREPARE)
    cell.until(lambda machine: machine.phase is Phase.DONE)
    assert cell.machine.ended == "ABORTED"
    (refused,) = cell.kinds("run.gates.refused")
    gates = refused.new["gates"]
    assert isinstance(gates, list)
    (unmet,) = (gate for gate in gates if isinstance(gate, dict) and not gate["met"])
    assert unmet["gate"] == "ink lot and cartridge" and "take a cartridge of a lot that may be used longer" in str(unmet["reason"])


@pytest.mark.parametrize(
    ("at", "zone", "seconds"),
    [
        ("2026-11-20T12:00:00.000000Z", "UTC", 12 * HOUR),
        ("2026-11-20T22:30:00.000000Z", "Europe/Paris", HOUR // 2),
        ("2026-10-24T22:00:00.000000Z", "Europe/Paris", 25 * HOUR),
        ("2026-03-28T23:00:00.000000Z", "Europe/Paris", 23 * HOUR),
    ],
)
def test_the_day_of_a_site_ends_at_its_own_midnight(at: str, zone: str, seconds: int) -> None:
    assert left_of_day_s(UtcReading(at, zone, "ntp")) == seconds


class Clocks:
    def __init__(self) -> None:
        self.steady = self.utc = 1_000_000

    def tick(self, utc_us: int, steady_us: int) -> None:
        self.utc, self.steady = self.utc + utc_us, self.steady + steady_us


def test_only_a_clock_that_parts_from_the_steady_one_is_told_and_once_a_second_at_most() -> None:
    clocks = Clocks()
    watch = ClockWatch(lambda: clocks.steady, lambda: clocks.utc)
    assert watch.look() is None
    for _ in range(1000):
        clocks.tick(1_000_100, 1_000_000)  # a tenth of a millisecond in each second
        assert watch.look() is None
    clocks.tick(3_601_000_000, 1_000_000)
    assert watch.look() == ClockCompared(3_600_100, 3_600_100)
    clocks.tick(-3_600_000_000, 100_000)
    assert watch.look() is None, "not twice within a second"
    clocks.tick(1_000_000, 1_000_000)
    assert watch.look() == ClockCompared(0, -3_600_100) or watch.look() is None
    watch.begin()
    clocks.tick(1_000_000, 1_000_000)
    assert watch.look() is None


def test_a_clock_that_was_set_is_a_latched_warning_and_is_replayed() -> None:
    cell = at_noon("minoxidil")
    start(cell)
    cell.until(lambda machine: machine.units.done == 1)
    cell.give(ClockCompared(1_500, 1_500))
    assert names(cell) == []
    cell.give(ClockCompared(-7_200_000, -7_201_500))
    (alarm,) = cell.machine.alarms.alarms
    assert alarm.definition.name is AlarmName.CLOCK_STEPPED and "-7200000 ms since the run was created" in alarm.message
    cell.give(ClockCompared(400, 7_200_400))
    assert alarm.key in {one.key for one in cell.machine.alarms.alarms}
    assert cell.machine.alarms.alarms[0].state.value.startswith("latched")
    cell.until(lambda machine: machine.phase is Phase.DONE)
    assert cell.machine.ended == "FINISHED"
    journals = ("journal/preparation.jsonl", "journal/purge-", "journal/unit-", "journal/run.jsonl")
    segments = [data for entry in cell.entries for name, data in entry.attachments.items() if name.startswith(journals)]
    assert replay(cell.machine.plan, segments).sha256 == decisions_digest(cell.entries)


def test_a_comparison_of_clocks_reads_back_from_the_journal() -> None:
    journal = Journal()
    journal.add(ClockCompared(-7, 12), 5)
    assert read_journal(journal.seal()) == [(5, ClockCompared(-7, 12))]


@pytest.mark.parametrize("name", [AlarmName.INK_SHORT, AlarmName.LIFE_ENDS, AlarmName.CLOCK_STEPPED])
def test_they_are_warnings_and_stop_nothing(name: AlarmName) -> None:
    assert DEFINITIONS[name].is_warning and not DEFINITIONS[name].stops_at_once


def test_a_cell_puts_every_step_of_its_clock_on_record_without_a_run(tmp_path: Path) -> None:
    store = TrailStore.create(
        tmp_path / "cell.db", origin="t/cell", key=SigningKey.generate("t/cell"), clock=SystemClock(), software="test", demonstration=True
    )
    clocks = Clocks()
    ports = Ports(dict.fromkeys(Port, Place("/dev/none")), SystemClock())
    watch = ClockWatch(lambda: clocks.steady, lambda: clocks.utc)
    cell = Cell(store=store, clock=SystemClock(), ports=ports, bench=None, data_dir=tmp_path, name="cell-1", clocks=watch)
    try:
        for step_us in (0, -7_200_000_000, 0, 7_200_000_000):
            clocks.tick(1_000_000 + step_us, 1_000_000)
            cell._compare_clocks()
    finally:
        cell.close()
    steps = [entry.new["step_ms"] for entry in store.search(kind="cell.clock.stepped", limit=10, newest_first=False)]
    store.close()
    assert steps == [-7_200_000, 7_200_000]


def test_each_head_has_its_own_ink_and_the_first_to_end_counts() -> None:
    plan = admitted(demonstration_job("polypill"), NOON).plan
    first, second = plan.supplies
    part_1, part_2 = plan.units[:2]
    left = plan.units[2:]
    need = sum(int(unit.target_volume.value * 1000) for unit in left if unit.head == 1)
    short = replace(second, give_nl=second.prime_nl + part_2.cumulative_nl[-1] + need - 1000)
    watch = SupplyWatch((first, short))
    assert watch.used(part_1, left, Decimal(1), 0) is None
    crossing = watch.used(part_2, left, Decimal(1), 0)
    assert crossing is not None and "the cartridge in head 2 has" in str(crossing.message)
    watch = SupplyWatch((replace(first, life_us=5_000_000), replace(second, life_us=9_000_000, what="the second")))
    watch.begin(0)
    assert watch.life_over(5_000_000) is None and watch.life_over(5_000_001) == f"{first.what}, and that day is over"
    job = demonstration_job("polypill")
    assert job.second is not None
    sources = [(job.ink_lot, job.cartridge), job.second]
    gate = supply_gate(sources, (first, replace(second, life_us=1, what="the second")), plan.units)
    assert not gate.met and gate.text.startswith("the second, which is")
    assert all(cartridge.serial in supply_gate(sources, plan.supplies, plan.units).text for _, cartridge in sources)
