"""What may be said of the uniformity of weighed units: the statistic, its name, and a claim no larger than it carries; pure.

*Complies with 2.9.40* is said by nobody here: the units were weighed, not assayed. At most it is *would comply if tested, by real-time
release on mass* (Ph. Eur. General Notices), for 10 or 30 units and only where mass variation is open to them (`applicability`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from audit.canonical import JsonObject
from audit.quantities import plain_text, round_to
from audit.release.applicability import Applicability, decide
from audit.release.large_samples import SMALLEST_SAMPLE, parametric
from audit.release.small_batch import Predictive, Prior, predict
from audit.release.uniformity import (
    ACCEPTABILITY_CONSTANT,
    L1,
    SMALLEST_N_FOR_STATISTIC,
    UNITS_OF_2_9_5,
    DosageForm,
    StageOutcome,
    Statistic,
    UniformityOfMass,
    acceptance_value,
    mean,
    outside_l2,
    stage_of,
    standard_deviation,
    tolerance_statistic,
    uniformity_of_mass,
)

_HUNDRED = Decimal(100)
_PLACES = 6
SMALL_BATCH = 10
"""Below as many units the prediction from the stated history is given, where the recipe states one."""


@dataclass(frozen=True, slots=True)
class Basis:
    """What is known of the units of one strength beside what they weigh.

    `active_mg` on the label and `unit_mass_mg` aimed at; `validated_rsd` of concentration in finished units (recipe) and `certificate_rsd`
    (ink), in %; `target` content in % of label; `assay_expanded_percent`: expanded uncertainty (k = 2) of the ink's assay, in % of it;
    `prior` as the recipe states it; `real_time`: whether this place is authorised for real-time release under the recipe's legal route.
    """

    form: DosageForm
    active_mg: Decimal | None = None
    unit_mass_mg: Decimal | None = None
    validated_rsd: Decimal | None = None
    certificate_rsd: Decimal | None = None
    target: Decimal = _HUNDRED
    assay_expanded_percent: Decimal | None = None
    prior: Prior | None = None
    real_time: bool = False

    @property
    def judged_by(self) -> str:
        """On what the units are judged; *real-time release* is said only where the place is authorised for it."""
        return "by real-time release on mass" if self.real_time else "on the mass of every unit"

    @property
    def applicability(self) -> Applicability:
        return decide(self.active_mg, self.unit_mass_mg, self.validated_rsd, self.certificate_rsd)


@dataclass(frozen=True, slots=True)
class Uniformity:
    """The statistics of the units of one strength, with the name of the statistic and the claim it carries.

    `statistic` and `outside_l2` are None below three units; `within` says whether what was computed lies within its limit, None for no
    units; `predictive` is None where the recipe states no prior, or the batch is no small one.
    """

    n: int
    mean: Decimal | None
    sd: Decimal | None
    minimum: Decimal | None
    maximum: Decimal | None
    statistic: Statistic | None
    outside_l2: int | None
    name: str
    claim: str
    within: bool | None
    mass: UniformityOfMass | None
    mass_claim: str
    applicability: Applicability
    predictive: Predictive | None

    def as_record(self) -> JsonObject:
        """Return the figures as decimal text with six decimals, rounded once, for a batch record."""
        statistic, prediction = self.statistic, self.predictive
        return {
            "n": self.n,
            "mean_percent": _figure(self.mean),
            "sd_percent": _figure(self.sd),
            "minimum_percent": _figure(self.minimum),
            "maximum_percent": _figure(self.maximum),
            "statistic": {
                "name": self.name,
                "value_percent": _figure(statistic.value) if statistic else None,
                "k": plain_text(statistic.k) if statistic else None,
                "reference_percent": _figure(statistic.reference) if statistic else None,
                "limit_percent": plain_text(L1) if statistic else None,
            },
            "outside_l2": self.outside_l2,
            "within_limit": self.within,
            "claim": self.claim,
            "mass_claim": self.mass_claim,
            "applicability": {"route": self.applicability.route.value, "text": self.applicability.text},
            **({} if prediction is None else {"predictive": _predictive(prediction)}),
        }


def _predictive(found: Predictive) -> JsonObject:
    return {
        "centre_percent": _figure(found.centre),
        "scale_percent": _figure(found.scale),
        "degrees": found.degrees,
        "low_percent": _figure(found.low),
        "high_percent": _figure(found.high),
        "probability": _figure(found.probability),
        "prior_surprise": _figure(found.surprise),
        "within": found.within,
        "text": found.text,
    }


def _figure(value: Decimal | None) -> str | None:
    return None if value is None else plain_text(round_to(value, _PLACES))


def evaluate(contents: Sequence[Decimal], masses_mg: Sequence[Decimal], basis: Basis) -> Uniformity:
    """Evaluate the units of one strength: contents in % of label, masses in mg; strengths are never pooled."""
    if len(contents) != len(masses_mg):
        raise ValueError("one content for each mass")
    n = len(contents)
    mass = uniformity_of_mass(masses_mg, basis.form) if n >= UNITS_OF_2_9_5 else None
    prediction = None
    if basis.prior is not None and basis.assay_expanded_percent is not None and 0 < n < SMALL_BATCH:
        prediction = predict(contents, basis.prior, basis.assay_expanded_percent)
    statistic: Statistic | None = None
    outside: int | None = None
    if n < SMALLEST_N_FOR_STATISTIC:
        within = all(_HUNDRED - L1 <= value <= _HUNDRED + L1 for value in contents) if n else None
        name, claim = _few(n)
    else:
        exact = n in ACCEPTABILITY_CONSTANT
        statistic = acceptance_value(contents, basis.target) if exact else tolerance_statistic(contents, basis.target)
        outside = outside_l2(contents, statistic.reference)
        within = statistic.within_l1 and outside == 0
        name, claim = _claim(contents, statistic, outside, basis)
    if prediction is not None:
        within = bool(within) and prediction.within
        claim = f"{claim}; {prediction.text}; not a 2.9.40 test"
    return Uniformity(
        n=n,
        mean=mean(contents) if n else None,
        sd=standard_deviation(contents) if n >= 2 else None,
        minimum=min(contents, default=None),
        maximum=max(contents, default=None),
        statistic=statistic,
        outside_l2=outside,
        name=name,
        claim=claim,
        within=within,
        mass=mass,
        mass_claim=_mass_claim(mass, n),
        applicability=basis.applicability,
        predictive=prediction,
    )


def _few(n: int) -> tuple[str, str]:
    if n == 0:
        return "no units", "no unit to evaluate; nothing is claimed"
    text = f"{_units(n)}: individual contents by mass and their mean; no statistic is claimed, not a 2.9.40 test"
    return "individual contents only", text


def _claim(contents: Sequence[Decimal], statistic: Statistic, outside: int, basis: Basis) -> tuple[str, str]:
    n, k = statistic.n, plain_text(statistic.k)
    side = "at most" if statistic.within_l1 else "above"
    far = f", {outside} outside L2 = 25.0" if outside else ""
    if n not in ACCEPTABILITY_CONSTANT:
        name = f"|M − mean| + k·s with the exact two-sided 95/95 normal tolerance factor, k = {k}"
        large = f"; {_large(contents, basis)}" if n >= SMALLEST_SAMPLE else ""
        return name, f"{name}, for n = {n}: {side} 15.0 % of label{far}; not a 2.9.40 test{large}"
    name = "acceptance value (Ph. Eur. 2.9.40) computed on content by mass"
    if not basis.applicability.is_open:
        return name, f"{name}, n = {n}: {side} L1 = 15.0{far}; {basis.applicability.text}, so no statement on 2.9.40 is made"
    match stage_of(contents, basis.target).outcome:
        case StageOutcome.MET:
            verdict = "would comply if tested"
        case StageOutcome.SECOND_STAGE:
            verdict = "would not comply at stage 1 if tested; stage 2 would test 20 further units"
        case StageOutcome.NOT_MET:
            verdict = f"would not comply if tested (stage 2{far})"
    return name, f"{name}, n = {n}: {verdict}, {basis.judged_by} ({basis.applicability.text})"


def _large(contents: Sequence[Decimal], basis: Basis) -> str:
    """Return what may be said by 2.9.47; its wording keeps to the condition, as that of 2.9.40 does."""
    if not basis.applicability.is_open:
        return f"Ph. Eur. 2.9.47 is not evaluated: {basis.applicability.text}"
    try:
        found = parametric(contents, basis.target)
    except ValueError as error:
        return f"Ph. Eur. 2.9.47 is not evaluated: {error}"
    verdict = "would be met" if found.met else "would not be met"
    return (
        f"Ph. Eur. 2.9.47, alternative 1 (k = {plain_text(found.row.k)}, {found.outside_l2} of at most {found.row.c2} outside L2), "
        f"{verdict} if tested, {basis.judged_by}"
    )


def _mass_claim(mass: UniformityOfMass | None, n: int) -> str:
    if mass is None:
        return f"Ph. Eur. 2.9.5 is not claimed: it takes 20 units, {n} are evaluated"
    found = f"{mass.outside} outside ± {plain_text(mass.limit_percent)} % and {mass.outside_twice} outside twice that"
    verdict = "the criterion of Ph. Eur. 2.9.5 is met" if mass.met else "the criterion of Ph. Eur. 2.9.5 is not met"
    more = "" if mass.n == UNITS_OF_2_9_5 else f"; applied to all {mass.n} units as weighed, where the text takes 20"
    return f"{verdict} on mass as weighed: {found} of the average{more}"


def _units(n: int) -> str:
    return "1 unit" if n == 1 else f"{n} units"
