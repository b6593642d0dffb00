"""Seeded batches with random faults and people who press buttons: nothing bad is accepted, nothing hangs, nothing is lost.

A failing seed is reproduced by `python tests/printer/simulation.py SEED SEED+1`.
"""

from __future__ import annotations

import sys

import pytest
from simulation import TWO_INKS, UNSEEN, Scenario, Tally, build, simulate, tally, true_contents

from printer.alarms import AlarmName

_NORMAL, _DEEP = 100, 10_000
_TWO_INKS, _DEEP_TWO_INKS = 25, 1_025
_CHUNK, _DEEP_CHUNK = 25, 100


def assert_holds(result: Tally, capsys: pytest.CaptureFixture[str]) -> None:
    with capsys.disabled():
        sys.stdout.write(f"\n{result.text()}\n")
    assert result.wrong == []
    assert result.needless_stops == []
    assert len(result.needless_rejects) <= max(1, result.good_units // 500)
    assert result.good_units > 0


@pytest.mark.parametrize("first", range(0, _NORMAL, _CHUNK))
def test_seeded_batches(first: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert_holds(tally(range(first, first + _CHUNK)), capsys)


@pytest.mark.parametrize("first", range(0, _TWO_INKS, _CHUNK))
def test_seeded_batches_of_two_inks(first: int, capsys: pytest.CaptureFixture[str]) -> None:
    """Each active of each unit is judged by itself: no unit is accepted with one of them beyond its own tolerance."""
    assert_holds(tally(range(first, first + _CHUNK), TWO_INKS), capsys)


@pytest.mark.deep
@pytest.mark.parametrize("first", range(_TWO_INKS, _DEEP_TWO_INKS, _DEEP_CHUNK))
def test_many_seeded_batches_of_two_inks(first: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert_holds(tally(range(first, first + _DEEP_CHUNK), TWO_INKS), capsys)


@pytest.mark.deep
@pytest.mark.parametrize("first", range(_NORMAL, _DEEP, _DEEP_CHUNK))
def test_many_seeded_batches(first: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert_holds(tally(range(first, first + _DEEP_CHUNK)), capsys)


@pytest.mark.parametrize("seed", [1, 17])
def test_a_seed_reproduces_exactly(seed: int) -> None:
    scenario = Scenario.of(seed)
    assert scenario == Scenario.of(seed)
    assert simulate(scenario).digest == simulate(scenario).digest


def test_the_judge_of_the_simulation_sees_a_wrong_content() -> None:
    """What the suite rests on: a unit whose true content is off is named, whatever the cell says of it."""
    scenario = next(s for s in map(Scenario.of, range(1000)) if s.fault is None and not s.actions)
    cell = build(scenario)
    cell.bench.plant.strength *= 1.20
    cell.run()
    assert set(cell.verdicts().values()) == {"accepted"}
    assert all(error > allowed for error, allowed in true_contents(cell).values())


@pytest.mark.parametrize("fault", sorted(UNSEEN))
def test_what_no_instrument_of_a_cell_can_see(fault: str) -> None:
    """Another strength at the same mass, density and flow: the certificate answers for it, not the balance.

    Stated here so that it is known: the run finishes, and the record holds no claim about the strength but the certificate's.
    """
    scenario = next(s for s in map(Scenario.of, range(1000)) if s.fault is None and not s.actions)
    cell = build(Scenario(scenario.seed, scenario.case, scenario.days, f"{fault}:1", (), warm=True))
    cell.run()
    assert cell.machine.ended == "FINISHED"
    assert AlarmName.MASS_OUT_OF_TOLERANCE not in [alarm.definition.name for alarm in cell.machine.alarms.alarms]
    errors = [error for error, _ in true_contents(cell).values()]
    assert max(map(abs, errors)) > 10
