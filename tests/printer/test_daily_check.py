"""The daily balance check: its order, its verdict, its record, and everything that must not pass it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from audit.canonical import canonical
from audit.quantities import Milligram
from firmware_bridge.balance import BalanceAdjusted, BalanceFault, BalanceIdentified, WeighFailed, WeighResult
from firmware_bridge.mt_sics import MtSics
from printer.daily_check import CheckPlan, CheckRequest, CheckStep, CheckWeight, DailyCheck
from printer.errors import CellConfiguration

WEIGHT = CheckWeight("W-20g-1", Milligram("20000.05"), Milligram("0.025"), "CERT-7", "2027-03-31")
PLAN = CheckPlan("B021002593", WEIGHT, Milligram("0.5"), Milligram("0.4"), Milligram("0.2"), "2026-11-20")
BALANCE = BalanceIdentified("XPE204", "B021002593", "1.0")
GOOD = {
    CheckStep.EMPTY_BEFORE: "0.1", CheckStep.CENTRE: "20000.3", CheckStep.FRONT_LEFT: "20000.5", CheckStep.BACK_LEFT: "20000.2",
    CheckStep.BACK_RIGHT: "20000.3", CheckStep.FRONT_RIGHT: "20000.0", CheckStep.EMPTY_AFTER: "0.0",
}  # fmt: skip


def weight(text: str, *, stable: bool = True, at: int = 7) -> WeighResult:
    return WeighResult(Milligram(text), stable, f"S S {text} mg".encode(), "XPE204 B021002593", at)


def started() -> DailyCheck:
    check = DailyCheck(PLAN)
    assert check.instruction == "" and not check.confirm() and check.take_request() is CheckRequest.IDENTIFY
    check.event(BALANCE)
    return check


def run(readings: dict[CheckStep, str]) -> DailyCheck:
    check = started()
    while check.result is None:
        text = readings[check.step]
        assert check.instruction and check.confirm() and not check.confirm() and check.instruction == ""
        assert check.take_request() is CheckRequest.WEIGHT and check.take_request() is None
        check.event(weight(text))
    return check


def test_a_good_balance_passes_and_the_record_says_with_what() -> None:
    result = run(GOOD).result
    assert result is not None and result.passed and result.reasons == () and len(result.readings) == 7
    assert result.sensitivity == Milligram("0.15") and result.zero_return == Milligram("-0.1")
    assert result.eccentricity[CheckStep.FRONT_RIGHT] == Milligram("-0.3")
    record = result.record(PLAN)
    assert record["deviations"] == {
        "sensitivity_mg": "0.15",
        "eccentricity_mg": {"front left": "0.2", "back left": "-0.1", "back right": "0.0", "front right": "-0.3"},
        "zero_return_mg": "-0.1",
    }
    assert record["passed"] is True and record["weight"]["id"] == "W-20g-1"  # type: ignore[index, call-overload]
    assert canonical(record)


@pytest.mark.parametrize(
    ("step", "value", "said"),
    [
        (CheckStep.CENTRE, "20000.66", "sensitivity: deviation 0.51 mg, limit 0.5 mg"),
        (CheckStep.CENTRE, "19999.6", "sensitivity: deviation -0.55 mg"),
        (CheckStep.BACK_LEFT, "20000.71", "eccentricity back left: deviation 0.41 mg, limit 0.4 mg"),
        (CheckStep.EMPTY_AFTER, "0.31", "return to zero: deviation 0.21 mg, limit 0.2 mg"),
    ],
)
def test_one_hundredth_beyond_a_limit_fails(step: CheckStep, value: str, said: str) -> None:
    result = run({**GOOD, step: value}).result
    assert result is not None and not result.passed and any(said in reason for reason in result.reasons)


def test_a_value_at_its_limit_passes() -> None:
    at_limit = {
        CheckStep.CENTRE: "20000.65",
        CheckStep.EMPTY_AFTER: "0.3",
        CheckStep.FRONT_RIGHT: "20000.3",
        CheckStep.BACK_LEFT: "20000.25",
    }
    result = run({**GOOD, **at_limit}).result
    assert result is not None and result.passed and result.sensitivity == Milligram("0.50")


def test_a_plate_with_a_weight_of_its_own_is_no_error() -> None:
    result = run({step: str(5000 + __import__("decimal").Decimal(text)) for step, text in GOOD.items()}).result
    assert result is not None and result.passed


@pytest.mark.parametrize(
    "event", [weight("20000.0", stable=False), weight("2.0"), weight("30000.0"), WeighFailed("FB-210", "No stable value in time.", b"S I")]
)
def test_an_unusable_weight_asks_again_and_ends_after_three(event: WeighResult | WeighFailed) -> None:
    check = started()
    check.confirm()
    check.event(weight("0.0"))
    for _ in range(3):
        assert check.result is None and check.step is CheckStep.CENTRE and check.confirm()
        check.event(event)
    assert check.result is not None and not check.result.passed and len(check.result.failures) == 3
    assert "no usable weight at step 'centre'" in check.result.reasons[0]
    assert check.result.sensitivity is None and check.result.record(PLAN)["deviations"] == {
        "sensitivity_mg": None, "eccentricity_mg": {}, "zero_return_mg": None,
    }  # fmt: skip


def test_two_failures_then_a_good_one_go_on_and_stay_in_the_record() -> None:
    check = started()
    for text, stable in (("0.0", False), ("0.0", False), ("0.0", True)):
        check.confirm()
        check.event(weight(text, stable=stable))
    assert check.step is CheckStep.CENTRE and check.result is None


def test_another_balance_a_fault_and_abandoning_end_it() -> None:
    other = DailyCheck(PLAN)
    other.event(BalanceIdentified("XPE204", "OTHER", "1"))
    assert other.result is not None and "serial number OTHER" in other.result.reasons[0]
    lost = started()
    lost.event(BalanceFault("FB-201", "silent"))
    assert lost.result is not None and not lost.result.passed and lost.result.reasons == ("balance fault: silent",)
    left = started()
    left.abandon("power cut")
    left.abandon("again")
    left.event(weight("0.0"))
    assert left.result is not None and left.result.reasons == ("abandoned: power cut",) and not left.confirm()


def test_weights_that_nobody_asked_for_are_not_taken() -> None:
    check = started()
    check.event(weight("0.0"))
    check.event(BalanceAdjusted("zero", b"Z A"))
    check.event(BALANCE)
    assert check.step is CheckStep.EMPTY_BEFORE and check.result is None


@pytest.mark.parametrize(
    "plan",
    [
        {"sensitivity_limit": Milligram("0")},
        {"weight": replace(WEIGHT, uncertainty=Milligram("0.2"))},
        {"weight": replace(WEIGHT, valid_until="2026-11-19")},
        {"weight": replace(WEIGHT, mass=Milligram("-1"))},
    ],
)
def test_a_plan_that_proves_nothing_is_refused(plan: dict[str, object]) -> None:
    with pytest.raises(CellConfiguration) as refused:
        replace(PLAN, **plan)  # type: ignore[arg-type]
    assert refused.value.remedy


def test_it_drives_a_balance() -> None:
    driver, check = MtSics(), DailyCheck(PLAN)
    readings = iter(GOOD.values())
    answers = {b"I2\r\n": b'I2 A "XPE204"', b"I3\r\n": b'I3 A "1.0"', b"I4\r\n": b'I4 A "B021002593"'}
    while check.result is None:
        check.confirm()
        match check.take_request():
            case CheckRequest.IDENTIFY:
                driver.identify(0)
            case CheckRequest.WEIGHT:
                driver.request_weight(0)
        while asked := driver.bytes_to_send():
            driver.receive(answers.get(asked) or b"S S %s mg" % next(readings).encode(), 0)
            driver.receive(b"\r\n", 0)
        while (event := driver.next_event()) is not None:
            check.event(event)
    assert check.result.passed
