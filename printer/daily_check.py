"""The daily check of the balance: sensitivity and eccentricity with one check weight, as a procedure that gives a record.

Empty pan, the weight in the centre, in the four corners, the empty pan again. The reading in the centre is compared with the
conventional mass of the weight (sensitivity), each corner with the centre (eccentricity), the empty pan with itself (return to
zero). A person moves the weight and confirms each step; the balance decides. Source: general information on weighing in USP
<1251> (performance checks) and OIML R 76-1 A.4.7 (eccentric loading); limits are the site's own.

Pure: balance events and confirmations go in, requests and the record come out. Times in µs, masses in mg.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from audit.canonical import JsonValue
from audit.quantities import EXACT, Milligram
from firmware_bridge.balance import BalanceEvent, BalanceFault, BalanceIdentified, WeighFailed, WeighResult
from printer.errors import CellConfiguration

_TRIES = 3
_PLACED_WITHIN = 10


class CheckStep(StrEnum):
    IDENTIFY = "identify"
    EMPTY_BEFORE = "empty before"
    CENTRE = "centre"
    FRONT_LEFT = "front left"
    BACK_LEFT = "back left"
    BACK_RIGHT = "back right"
    FRONT_RIGHT = "front right"
    EMPTY_AFTER = "empty after"
    ENDED = "ended"


_ORDER = tuple(CheckStep)
_CORNERS = (CheckStep.FRONT_LEFT, CheckStep.BACK_LEFT, CheckStep.BACK_RIGHT, CheckStep.FRONT_RIGHT)
_EMPTY = (CheckStep.EMPTY_BEFORE, CheckStep.EMPTY_AFTER)


class CheckRequest(StrEnum):
    """What the caller shall ask the balance driver for."""

    IDENTIFY = "identify"
    WEIGHT = "weight"


@dataclass(frozen=True, slots=True)
class CheckWeight:
    """A calibrated weight: identification, conventional mass and expanded uncertainty of its certificate, the certificate's last day."""

    identification: str
    mass: Milligram
    uncertainty: Milligram
    certificate: str
    valid_until: str


@dataclass(frozen=True, slots=True)
class CheckPlan:
    """What is checked against what. `balance_serial` is that of the equipment register; `today` an ISO date. Raises CellConfiguration."""

    balance_serial: str
    weight: CheckWeight
    sensitivity_limit: Milligram
    eccentricity_limit: Milligram
    zero_limit: Milligram
    today: str

    def __post_init__(self) -> None:
        zero = Milligram("0")
        if not (self.weight.mass > zero and min(self.sensitivity_limit, self.eccentricity_limit, self.zero_limit) > zero):
            raise CellConfiguration("The check weight and every limit must be above 0 mg.", remedy="Correct the equipment register.")
        if EXACT.multiply(self.weight.uncertainty.value, 3) > self.sensitivity_limit.value:
            text = f"The weight {self.weight.identification} is known to {self.weight.uncertainty} only: more than a third of the limit."
            raise CellConfiguration(text, remedy="Use a weight of a better class, or a wider limit that the process allows.")
        if self.weight.valid_until < self.today:
            text = (
                f"The certificate {self.weight.certificate} of the weight {self.weight.identification} ended on {self.weight.valid_until}."
            )
            raise CellConfiguration(text, remedy="Have the weight calibrated, or use another.")


@dataclass(frozen=True, slots=True)
class CheckReading:
    step: CheckStep
    value: Milligram
    raw: bytes
    at: int


@dataclass(frozen=True, slots=True)
class CheckResult:
    """The outcome. Deviations are None where the check ended before; `reasons` is empty if and only if it passed."""

    passed: bool
    reasons: tuple[str, ...]
    readings: tuple[CheckReading, ...]
    failures: tuple[str, ...]
    sensitivity: Milligram | None
    eccentricity: Mapping[CheckStep, Milligram]
    zero_return: Milligram | None
    balance: BalanceIdentified | None

    def record(self, plan: CheckPlan) -> dict[str, JsonValue]:
        """Return the record for the trail: decimal strings in mg, the balance's own bytes in hex."""
        found = self.balance
        return {
            "balance": {} if found is None else {"model": found.model, "serial": found.serial, "software": found.software},
            "weight": {
                "id": plan.weight.identification,
                "mass_mg": plan.weight.mass.text,
                "uncertainty_mg": plan.weight.uncertainty.text,
                "certificate": plan.weight.certificate,
                "valid_until": plan.weight.valid_until,
            },
            "readings": [{"step": r.step.value, "value_mg": r.value.text, "raw": r.raw.hex(), "at_us": r.at} for r in self.readings],
            "failures": list(self.failures),
            "deviations": {
                "sensitivity_mg": None if self.sensitivity is None else self.sensitivity.text,
                "eccentricity_mg": {step.value: value.text for step, value in self.eccentricity.items()},
                "zero_return_mg": None if self.zero_return is None else self.zero_return.text,
            },
            "limits": {
                "sensitivity_mg": plan.sensitivity_limit.text,
                "eccentricity_mg": plan.eccentricity_limit.text,
                "zero_return_mg": plan.zero_limit.text,
            },
            "passed": self.passed,
            "reasons": list(self.reasons),
        }


class DailyCheck:
    """One check, from identification to its result. The caller passes requests to the driver and its events to `event`.

    Lifetime: one check; another is a new object. Concurrency: one thread.
    """

    def __init__(self, plan: CheckPlan) -> None:
        self.plan = plan
        self.step = CheckStep.IDENTIFY
        self.result: CheckResult | None = None
        self._request: CheckRequest | None = CheckRequest.IDENTIFY
        self._weighing = False
        self._tries = 0
        self._balance: BalanceIdentified | None = None
        self._readings: dict[CheckStep, CheckReading] = {}
        self._failures: list[str] = []

    @property
    def instruction(self) -> str:
        """What a person has to do now; empty while the balance is awaited or the check has ended."""
        if self._weighing or self.step in (CheckStep.IDENTIFY, CheckStep.ENDED):
            return ""
        if self.step in _EMPTY:
            return "Empty the pan, close the draught shield, and confirm."
        return f"Put the weight {self.plan.weight.identification} on the pan ({self.step}), close the draught shield, and confirm."

    @property
    def readings(self) -> tuple[CheckReading, ...]:
        """The readings taken so far."""
        return tuple(self._readings.values())

    @property
    def failures(self) -> tuple[str, ...]:
        """The weighings that could not be used, with the reason."""
        return tuple(self._failures)

    def take_request(self) -> CheckRequest | None:
        """Return what is to be asked of the balance, once."""
        request, self._request = self._request, None
        return request

    def confirm(self) -> bool:
        """A person has done what the instruction says; False, and nothing happens, if none is open."""
        if not self.instruction:
            return False
        self._weighing, self._request = True, CheckRequest.WEIGHT
        return True

    def abandon(self, reason: str) -> None:
        """End the check without a verdict in its favour."""
        self._end([f"abandoned: {reason}"])

    def event(self, event: BalanceEvent) -> None:
        """Take an event of the balance driver."""
        if self.step is CheckStep.ENDED:
            return
        match event:
            case BalanceIdentified(_, serial) if serial != self.plan.balance_serial:
                self._end([f"another balance: serial number {serial}, expected {self.plan.balance_serial}"])
            case BalanceIdentified():
                self._balance = event
                if self.step is CheckStep.IDENTIFY:
                    self._next()
            case BalanceFault(_, text):
                self._end([f"balance fault: {text}"])
            case WeighFailed(_, text) if self._weighing:
                self._again(text)
            case WeighResult() if self._weighing:
                self._weighed(event)
            case _:
                pass

    def _weighed(self, found: WeighResult) -> None:
        expected = Milligram("0") if self.step in _EMPTY else self.plan.weight.mass
        if not found.stable:
            self._again("the value is not stable")
        elif self.step is not CheckStep.EMPTY_BEFORE and self._misplaced(found.value - self._tare() - expected):
            self._again(f"{found.value} is not {'an empty pan' if self.step in _EMPTY else 'the check weight'}")
        else:
            self._readings[self.step] = CheckReading(self.step, found.value, found.raw, found.at)
            self._next()

    def _misplaced(self, difference: Milligram) -> bool:
        return EXACT.multiply(abs(difference.value), _PLACED_WITHIN) > self.plan.weight.mass.value

    def _tare(self) -> Milligram:
        empty = self._readings.get(CheckStep.EMPTY_BEFORE)
        return Milligram("0") if empty is None else empty.value

    def _again(self, why: str) -> None:
        """The same step once more, by the same person; three times are enough."""
        self._failures.append(f"{self.step}: {why}")
        self._tries += 1
        self._weighing = False
        if self._tries >= _TRIES:
            self._end([f"no usable weight at step '{self.step}' in {_TRIES} tries: {why}"])

    def _next(self) -> None:
        self._weighing, self._tries = False, 0
        self.step = _ORDER[_ORDER.index(self.step) + 1]
        if self.step is CheckStep.ENDED:
            self._end([])

    def _end(self, reasons: list[str]) -> None:
        if self.result is not None:
            return
        self.step, self._weighing, self._request = CheckStep.ENDED, False, None
        values = {step: reading.value for step, reading in self._readings.items()}
        empty, centre, after = (values.get(step) for step in (CheckStep.EMPTY_BEFORE, CheckStep.CENTRE, CheckStep.EMPTY_AFTER))
        sensitivity = None if empty is None or centre is None else centre - empty - self.plan.weight.mass
        zero_return = None if empty is None or after is None else after - empty
        corners = {step: values[step] - centre for step in _CORNERS if step in values} if centre is not None else {}
        judged = (
            ("sensitivity", sensitivity, self.plan.sensitivity_limit),
            *((f"eccentricity {step}", value, self.plan.eccentricity_limit) for step, value in corners.items()),
            ("return to zero", zero_return, self.plan.zero_limit),
        )
        reasons += [
            f"{name}: deviation {value}, limit {limit}"
            for name, value, limit in judged
            if value is not None and abs(value.value) > limit.value
        ]
        self.result = CheckResult(
            not reasons,
            tuple(reasons),
            tuple(self._readings.values()),
            tuple(self._failures),
            sensitivity,
            corners,
            zero_return,
            self._balance,
        )
