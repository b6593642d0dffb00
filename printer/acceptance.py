"""Judge one unit: weight with its drying and its uncertainty, totals, temperatures, history → verdict with reasons.

A unit is rejected until everything speaks for it. The guard band is the expanded uncertainty (k = 2) of the net
weighing: a unit is accepted only where |mass - target| + U ≤ tolerance, so that a unit outside the tolerance is not
accepted on the strength of measurement error (JCGM 106, guarded acceptance).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from enum import StrEnum

from audit.quantities import EXACT, Celsius, Microlitre, Milligram, MilligramPerSecond, Percent, plain_text, round_to


class Verdict(StrEnum):
    ACCEPTED = "accepted"
    REJECTED = "rejected"
    SCRAPPED = "scrapped"
    CALIBRATION = "calibration"
    """A purge unit whose mass is evidence for the correction; it is waste, as a rejected unit is."""


@dataclass(frozen=True, slots=True)
class Weighing:
    """Two stable gross weights of the plate some seconds apart: a weight and the slope of its drift.

    `at` is process time in µs of the later reading, the one that is used as the weight.
    """

    first: Milligram
    first_at: int
    second: Milligram
    at: int

    @property
    def slope(self) -> MilligramPerSecond:
        span = self.at - self.first_at
        change = EXACT.multiply((self.second - self.first).value, Decimal(1_000_000))
        return MilligramPerSecond(EXACT.divide(change, Decimal(span)))

    @property
    def span_us(self) -> int:
        return self.at - self.first_at


@dataclass(frozen=True, slots=True)
class Criteria:
    """What the recipe and the machine profile ask of a unit's weighing and totals."""

    target: Milligram
    tolerance: Percent
    balance_uncertainty: Milligram
    readability: Milligram
    wet: bool
    drift_limit: MilligramPerSecond
    volume_resolution: Microlitre
    nozzle_low: Celsius
    nozzle_high: Celsius
    plate_low: Celsius
    plate_high: Celsius
    end: tuple[Decimal, ...] = ()
    """Where the proof says that the nozzle ends: X, Y, Z in mm. Empty: not judged."""
    planned_us: int = 0
    time_deviation: Percent | None = None
    """How long printing shall take by the proof, and how far from it the recipe lets it be. None: recorded, not judged."""


POSITION_RESOLUTION = Decimal("0.02")
"""mm. M114 reports two decimals, and a target is rounded to a motor step."""


@dataclass(frozen=True, slots=True)
class UnitEvidence:
    """All that was seen of one unit. `ended`: X, Y, Z in mm as the printer reported them after it.

    `printed_us`: from the first line sent to the last one executed. `unread_lines`: lines of which the printer's own echo did not
    come, or came so damaged that it says nothing; what was carried out in their place is not known.
    """

    before: Weighing
    after: Weighing
    commanded: Microlitre
    reported: Microlitre | None
    nozzle_min: Celsius | None
    nozzle_max: Celsius | None
    plate_min: Celsius | None
    plate_max: Celsius | None
    printed_us: int | None = None
    unread_lines: int = 0
    ended: tuple[Decimal, ...] | None = None


class Against(StrEnum):
    """What a reason against a unit rests on."""

    DRIFT = "drift of the balance"
    MASS = "mass outside its tolerance"
    GUARD_BAND = "mass nearer to a limit than its uncertainty"
    WITNESS = "two balances that disagree"
    REPORT = "the printer's report after the unit"
    READ_BACK = "lines that were not read back"
    TEMPERATURE = "temperature"
    TIME = "time of printing"
    IDENTITY = "identity of the ink"


@dataclass(frozen=True, slots=True)
class Finding:
    """One reason against a unit, in words."""

    against: Against
    text: str


@dataclass(frozen=True, slots=True)
class Judgement:
    """The verdict on a unit: net mass, its expanded uncertainty, and every reason against it.

    `mass` has the drift taken off where the recipe weighs wet; `adjusted` has it taken off always.
    """

    verdict: Verdict
    mass: Milligram
    adjusted: Milligram
    adjusted_uncertainty: Milligram
    drift: MilligramPerSecond
    drift_correction: Milligram
    uncertainty: Milligram
    findings: tuple[Finding, ...] = ()

    @property
    def reasons(self) -> tuple[str, ...]:
        return tuple(finding.text for finding in self.findings)

    def speaks(self, *against: Against) -> bool:
        """Whether a reason against the unit rests on one of these."""
        return any(finding.against in against for finding in self.findings)


def limits(criteria: Criteria) -> tuple[Milligram, Milligram]:
    """Return the lower and upper tolerance limit of the unit's mass."""
    allowed = criteria.target * criteria.tolerance.fraction
    return criteria.target - allowed, criteria.target + allowed


def judge(criteria: Criteria, evidence: UnitEvidence) -> Judgement:
    """Judge a unit. The mean of the two slopes times the time between the weights is the drying taken off (trapezoid)."""
    before, after = evidence.before, evidence.after
    slope = MilligramPerSecond(EXACT.divide((before.slope + after.slope).value, Decimal(2)))
    elapsed = EXACT.divide(Decimal(after.at - before.at), Decimal(1_000_000))
    drift = Milligram(EXACT.multiply(slope.value, elapsed))
    correction = drift if criteria.wet else Milligram(0)
    mass, adjusted = after.second - before.second - correction, after.second - before.second - drift
    wet_uncertainty = _uncertainty(criteria, before, after, elapsed)
    uncertainty = wet_uncertainty if criteria.wet else criteria.balance_uncertainty
    findings = (*_drift(criteria, evidence), *_mass(criteria, mass, uncertainty, places=1), *_execution(criteria, evidence))
    return Judgement(_verdict(findings), mass, adjusted, wet_uncertainty, slope, correction, uncertainty, findings)


WITNESS_FACTOR = 2
"""The two balances disagree beyond twice their expanded uncertainties together: another unit, or another number, was weighed."""


def judge_external(criteria: Criteria, evidence: UnitEvidence, mass: Milligram, uncertainty: Milligram) -> Judgement:
    """Judge a unit by its net mass on an external balance; `uncertainty` is that balance's (k = 2), its guard band.

    The plate balance is too coarse to judge the tolerance, but sees which unit was weighed: its own mass for the unit, drift
    taken off, must not disagree grossly. All else is judged as for any unit.
    """
    plate = judge(criteria, evidence)
    findings = [*_drift(criteria, evidence), *_mass(criteria, mass, uncertainty, places=2)]
    if abs(mass - plate.adjusted) > (plate.adjusted_uncertainty + uncertainty) * WITNESS_FACTOR:
        text = f"the external balance shows {mass.rounded(2)}, the plate balance saw {plate.adjusted.rounded(1)} come on the plate"
        findings.append(Finding(Against.WITNESS, text))
    findings += _execution(criteria, evidence)
    return replace(
        plate,
        verdict=_verdict(findings),
        mass=mass,
        adjusted=mass,
        adjusted_uncertainty=uncertainty,
        drift_correction=Milligram(0),
        uncertainty=uncertainty,
        findings=tuple(findings),
    )


def _verdict(findings: Sequence[Finding]) -> Verdict:
    return Verdict.REJECTED if findings else Verdict.ACCEPTED


def _drift(criteria: Criteria, evidence: UnitEvidence) -> list[Finding]:
    steepest = max(abs(evidence.before.slope), abs(evidence.after.slope))
    if steepest > criteria.drift_limit:
        text = f"balance drifts by {_short(steepest.value, 3)} mg/s, limit {criteria.drift_limit.text} mg/s"
        return [Finding(Against.DRIFT, text)]
    return []


def _mass(criteria: Criteria, mass: Milligram, uncertainty: Milligram, *, places: int) -> list[Finding]:
    low, high = limits(criteria)
    if mass < low or mass > high:
        text = f"mass {mass.rounded(places)} outside {low.rounded(places)} to {high.rounded(places)}"
        return [Finding(Against.MASS, text)]
    if mass - uncertainty < low or mass + uncertainty > high:
        text = f"mass {mass.rounded(places)} is nearer to a limit than its uncertainty of {uncertainty.rounded(2)}"
        return [Finding(Against.GUARD_BAND, text)]
    return []


def _uncertainty(criteria: Criteria, before: Weighing, after: Weighing, elapsed: Decimal) -> Milligram:
    """Return U (k = 2): the balance's own, and that of the drift from the readability over each weighing's span."""
    squared = EXACT.power(criteria.balance_uncertainty.value, 2)
    # A difference of two readings rounded to d has a standard uncertainty of d·√(2/12); the mean of two slopes halves it.
    reading = EXACT.divide(EXACT.power(criteria.readability.value, 2), Decimal(6))
    per_slope = [EXACT.divide(reading, EXACT.power(Decimal(w.span_us) / 1_000_000, 2)) for w in (before, after)]
    squared = EXACT.add(squared, EXACT.multiply(EXACT.power(elapsed, 2), sum(per_slope, Decimal(0))))
    return Milligram(EXACT.sqrt(squared))


def report_reasons(criteria: Criteria, commanded: Microlitre, reported: Microlitre | None, ended: tuple[Decimal, ...] | None) -> list[str]:
    """Return what the printer's report after the unit has against it: the volume extruded and where the nozzle is."""
    return _totals(criteria, commanded, reported) + _position(criteria, ended)


def _position(criteria: Criteria, ended: tuple[Decimal, ...] | None) -> list[str]:
    if not criteria.end:
        return []
    if ended is None:
        return ["the printer reported no position after the unit"]
    off = [abs(EXACT.subtract(found, planned)) for found, planned in zip(ended, criteria.end, strict=True)]
    if max(off) <= POSITION_RESOLUTION:
        return []
    found, planned = (", ".join(plain_text(at) for at in place) for place in (ended, criteria.end))
    return [f"the nozzle ended at {found} mm, the program ends at {planned} mm"]


def _totals(criteria: Criteria, commanded: Microlitre, reported: Microlitre | None) -> list[str]:
    if reported is None:
        return ["the printer reported no extruder total"]
    if abs(reported - commanded) > criteria.volume_resolution:
        return [f"printer reports {reported.rounded(2)} extruded, {commanded.rounded(2)} commanded"]
    return []


def _execution(criteria: Criteria, evidence: UnitEvidence) -> list[Finding]:
    """Return what speaks against the unit in how it was carried out: reports, temperature, lines not read back, duration."""
    reported = report_reasons(criteria, evidence.commanded, evidence.reported, evidence.ended)
    found = [Finding(Against.REPORT, text) for text in reported]
    found += [Finding(Against.TEMPERATURE, text) for text in _temperatures(criteria, evidence)]
    if evidence.unread_lines:
        text = f"{evidence.unread_lines} lines could not be read back: what the printer carried out is not known"
        found.append(Finding(Against.READ_BACK, text))
    allowed, planned, took = criteria.time_deviation, criteria.planned_us, evidence.printed_us
    if allowed is not None and took is not None and abs(took - planned) * 100 > allowed.value * planned:
        seconds, wanted = (_short(EXACT.divide(Decimal(span), Decimal(1_000_000)), 1) for span in (took, planned))
        found.append(Finding(Against.TIME, f"printing took {seconds} s, {wanted} s by the proof, limit {allowed} about it"))
    return found


def _temperatures(criteria: Criteria, evidence: UnitEvidence) -> list[str]:
    found, low, high = list[str](), evidence.nozzle_min, evidence.nozzle_max
    if low is None or high is None:
        found.append("no nozzle temperature was reported during the unit")
    elif low < criteria.nozzle_low or high > criteria.nozzle_high:
        found.append(f"nozzle between {low} and {high}, validated {criteria.nozzle_low} to {criteria.nozzle_high}")
    low, high = evidence.plate_min, evidence.plate_max
    if low is None or high is None:
        found.append("no plate temperature was reported during the unit")
    elif low < criteria.plate_low or high > criteria.plate_high:
        found.append(f"plate between {low} and {high}, validated {criteria.plate_low} to {criteria.plate_high}")
    return found


def _short(value: Decimal, places: int) -> str:
    return plain_text(round_to(value, places))
