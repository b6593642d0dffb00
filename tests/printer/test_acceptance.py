"""Judging a unit: drying taken off, guard band, totals, temperatures; every doubt rejects."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit.quantities import Celsius, Microlitre, Milligram, MilligramPerSecond, Percent
from printer.acceptance import Criteria, UnitEvidence, Verdict, Weighing, judge, limits

CRITERIA = Criteria(
    target=Milligram("467.17"),
    tolerance=Percent("5"),
    balance_uncertainty=Milligram("0.3"),
    readability=Milligram("0.1"),
    wet=True,
    drift_limit=MilligramPerSecond("0.25"),
    volume_resolution=Microlitre("3.3"),
    nozzle_low=Celsius("38"),
    nozzle_high=Celsius("42"),
    plate_low=Celsius("15"),
    plate_high=Celsius("25"),
)


def weighing(value: str, at_s: int, slope: str = "0") -> Weighing:
    """A weight at `at_s` whose first reading, 4 s earlier, lies on the slope."""
    first = Decimal(value) - 4 * Decimal(slope)
    return Weighing(Milligram(first), (at_s - 4) * 1_000_000, Milligram(value), at_s * 1_000_000)


EVIDENCE = UnitEvidence(
    before=weighing("1000.0", 4),
    after=weighing("1467.2", 74),
    commanded=Microlitre("389.31"),
    reported=Microlitre("389.5"),
    nozzle_min=Celsius("39.6"),
    nozzle_max=Celsius("40.4"),
    plate_min=Celsius("19.7"),
    plate_max=Celsius("20.3"),
)


def test_a_good_unit_is_accepted() -> None:
    judgement = judge(CRITERIA, EVIDENCE)
    assert judgement.verdict is Verdict.ACCEPTED
    assert judgement.mass == Milligram("467.2")
    assert judgement.reasons == ()


def test_drying_of_the_whole_plate_is_taken_off() -> None:
    # 0.1 mg/s over the 70 s between the two weights: 7 mg lost that the unit did weigh.
    evidence = replace(EVIDENCE, before=weighing("1000.0", 4, "-0.1"), after=weighing("1460.2", 74, "-0.1"))
    judgement = judge(CRITERIA, evidence)
    assert judgement.drift == MilligramPerSecond("-0.1")
    assert judgement.drift_correction == Milligram("-7.0")
    assert judgement.mass == Milligram("467.2")


def test_a_dry_unit_is_not_corrected() -> None:
    criteria = replace(CRITERIA, wet=False)
    evidence = replace(EVIDENCE, before=weighing("1000.0", 4, "-0.1"), after=weighing("1467.2", 74, "-0.1"))
    judgement = judge(criteria, evidence)
    assert judgement.drift_correction == Milligram(0)
    assert judgement.uncertainty == Milligram("0.3")


def test_uncertainty_of_the_drift_by_hand() -> None:
    # U² = 0.3² + 70² · 2 · (0.1²/6)/4², by hand: sqrt(0.09 + 1.0208333) = 1.05396
    assert judge(CRITERIA, EVIDENCE).uncertainty.rounded(4) == Milligram("1.0540")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"after": weighing("1400.0", 74)}, "outside"),
        ({"after": weighing("1490.3", 74)}, "nearer to a limit than its uncertainty"),
        ({"after": weighing("1467.2", 74, "0.5")}, "drifts"),
        ({"reported": Microlitre("380")}, "extruded"),
        ({"reported": None}, "no extruder total"),
        ({"nozzle_max": Celsius("43")}, "validated"),
        ({"nozzle_min": None}, "no nozzle temperature"),
        ({"plate_max": Celsius("25.1")}, "plate between 19.7 degC and 25.1 degC, validated 15 degC to 25 degC"),
        ({"plate_min": Celsius("14.9")}, "validated 15 degC"),
        ({"plate_min": None}, "no plate temperature"),
    ],
)
def test_every_doubt_rejects_and_says_why(change: dict[str, object], reason: str) -> None:
    judgement = judge(CRITERIA, replace(EVIDENCE, **change))  # type: ignore[arg-type]
    assert judgement.verdict is Verdict.REJECTED
    assert any(reason in text for text in judgement.reasons)


@given(st.decimals("0", "1000", places=1), st.decimals("-0.24", "0.24", places=2), st.decimals("-0.24", "0.24", places=2))
def test_nothing_outside_the_tolerance_is_ever_accepted(net: Decimal, before: Decimal, after: Decimal) -> None:
    evidence = replace(EVIDENCE, before=weighing("1000.0", 4, str(before)), after=weighing(str(1000 + net), 74, str(after)))
    judgement = judge(CRITERIA, evidence)
    low, high = limits(CRITERIA)
    if judgement.verdict is Verdict.ACCEPTED:
        assert low + judgement.uncertainty <= judgement.mass <= high - judgement.uncertainty
    else:
        assert judgement.reasons


PARKED = (Decimal("190"), Decimal("190"), Decimal("7"))


@pytest.mark.parametrize(
    ("ended", "reason"),
    [
        (PARKED, None),
        ((Decimal("190.02"), Decimal("189.98"), Decimal("7.01")), None),
        ((Decimal("190.03"), Decimal("190"), Decimal("7")), "the nozzle ended at 190.03, 190, 7 mm"),
        ((Decimal("190"), Decimal("190"), Decimal("6.5")), "the nozzle ended at 190, 190, 6.5 mm"),
        (None, "no position"),
    ],
)
def test_the_nozzle_must_end_where_the_program_ends(ended: tuple[Decimal, ...] | None, reason: str | None) -> None:
    judgement = judge(replace(CRITERIA, end=PARKED), replace(EVIDENCE, ended=ended))
    assert (judgement.verdict is Verdict.ACCEPTED) is (reason is None)
    assert reason is None or reason in "; ".join(judgement.reasons)
