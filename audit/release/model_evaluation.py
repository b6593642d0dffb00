"""What a process model says of one set of inputs: a prediction with its interval, or *hold* with the reasons; pure, bit-reproducible.

`dosewright-evaluation/1`: decimals of 28 digits, only + − × ÷ and the square root, sums from the first value to the last. Order: the
range of each input; preprocessing; x = (value − centre)/scale; scores tₐ = Σ x·Rₐ; T² = Σ tₐ²/varₐ; e = x − Σ tₐPₐ, Q = Σ e²; prediction
ȳ + Σ tₐqₐ; half-width k·s·√(1 + 1/n + T²/(n − 1)). Outside a range or a limit there is no number: a model is never extrapolated.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Context, Decimal

from audit.canonical import JsonObject, JsonValue
from audit.quantities import EXACT, QuantityError, decimal_from_text, plain_text, round_to
from audit.release.process_models import Input, ModelDefinition

_STATISTIC = Context(prec=9, rounding=ROUND_HALF_EVEN)
"""T² and Q are recorded to nine significant digits: both may be very small."""

_ZERO, _ONE = Decimal(0), Decimal(1)


@dataclass(frozen=True, slots=True)
class Predicted:
    """A prediction inside the domain: its value and the half-width of its interval, in the unit of the output; T² and Q."""

    value: Decimal
    half_width: Decimal
    t2: Decimal
    q: Decimal


@dataclass(frozen=True, slots=True)
class Held:
    """No prediction: every reason why the inputs are outside the domain; T² and Q where they could be computed."""

    reasons: tuple[str, ...]
    t2: Decimal | None = None
    q: Decimal | None = None


Outcome = Predicted | Held


@dataclass(frozen=True, slots=True)
class Scored:
    """What the computation gives for values, whether or not they lie in the domain."""

    value: Decimal
    t2: Decimal
    q: Decimal


def evaluate(
    model: ModelDefinition, inputs: Mapping[str, JsonValue], *, material: str | None = None, equipment: str | None = None
) -> Outcome:
    """Evaluate a model for inputs by name: decimal text, or a list of it for a spectrum.

    `material` and `equipment` are what the inputs were measured of and on; where given they must be covered. Never raises for what
    is in the inputs: what cannot be read is a reason to hold.
    """
    reasons = _not_covered(model, material, equipment)
    values: list[Decimal] = []
    for item in model.plan.inputs:
        values += _values(item, inputs.get(item.name), reasons)
    reasons += [f"{name} is no input of {model.reference}" for name in inputs if name not in {item.name for item in model.plan.inputs}]
    if reasons:
        return Held(tuple(reasons))
    ready = prepared(model, values)
    if ready is None:
        return Held(("the spectrum does not vary: nothing was measured",))
    found = score(model, ready)
    computation = model.computation
    if found.t2 > computation.t2_limit:
        reasons.append(f"T² {plain_text(found.t2)} is above {_short(computation.t2_limit)}: unlike the training data")
    if computation.q_limit is not None and found.q > computation.q_limit:
        reasons.append(f"Q {plain_text(found.q)} is above {_short(computation.q_limit)}: holds something that the training data do not")
    if reasons:
        return Held(tuple(reasons), found.t2, found.q)
    return Predicted(found.value, _half_width(model, found.t2), found.t2, found.q)


def score(model: ModelDefinition, values: Sequence[Decimal]) -> Scored:
    """Compute prediction, T² and Q of preprocessed values, each rounded once as it is recorded."""
    computation = model.computation
    x = [EXACT.divide(EXACT.subtract(v, c), s) for v, c, s in zip(values, computation.centre, computation.scale, strict=True)]
    scores = [_dot(x, rotation) for rotation in computation.rotations]
    t2 = _ZERO
    for t, variance in zip(scores, computation.score_variances, strict=True):
        t2 = EXACT.add(t2, EXACT.divide(EXACT.multiply(t, t), variance))
    rest = list(x)
    for t, loading in zip(scores, computation.loadings, strict=True):
        rest = [EXACT.subtract(e, EXACT.multiply(t, p)) for e, p in zip(rest, loading, strict=True)]
    value = EXACT.add(computation.y_centre, _dot(scores, computation.y_loadings))
    q = _dot(rest, rest) if computation.q_limit is not None else _ZERO
    return Scored(round_to(value, model.plan.output.places), _STATISTIC.plus(t2), _STATISTIC.plus(q))


def check_vectors(model: ModelDefinition) -> tuple[str, ...]:
    """Return which reference vectors this computation does not give again digit by digit; empty where it is the one that was approved."""
    problems = []
    for number, vector in enumerate(model.vectors, start=1):
        ready = prepared(model, list(vector.inputs))
        wanted = Scored(vector.prediction, vector.t2, vector.q)
        if ready is None or score(model, ready) != wanted:
            problems.append(f"reference vector {number} of {model.reference} gives another result than the one it was approved with")
    return tuple(problems)


def named(model: ModelDefinition, values: Sequence[Decimal]) -> JsonObject:
    """Return values in the order of the inputs as inputs by name."""
    found: JsonObject = {}
    at = 0
    for item in model.plan.inputs:
        texts: list[JsonValue] = [plain_text(value) for value in values[at : at + item.length]]
        found[item.name] = texts[0] if item.axis is None else texts
        at += item.length
    return found


def outcome_record(outcome: Outcome) -> JsonObject:
    """Return an outcome as an entry holds it."""
    match outcome:
        case Predicted(value, half_width, t2, q):
            figures: JsonObject = {"prediction": plain_text(value), "half_width": plain_text(half_width)}
            return {"outcome": "predicted", **figures, "t2": plain_text(t2), "q": plain_text(q), "reasons": []}
        case Held(reasons, held_t2, held_q):
            statistics: JsonObject = {
                "t2": None if held_t2 is None else plain_text(held_t2),
                "q": None if held_q is None else plain_text(held_q),
            }
            return {"outcome": "held", "prediction": None, "half_width": None, **statistics, "reasons": list(reasons)}


def _not_covered(model: ModelDefinition, material: str | None, equipment: str | None) -> list[str]:
    covered = model.plan.covered
    found = []
    if material is not None and material not in covered.materials:
        found.append(f"{material} is no material that {model.reference} covers ({', '.join(covered.materials)})")
    if equipment is not None and equipment not in covered.equipment:
        found.append(f"{equipment} is no equipment that {model.reference} covers ({', '.join(covered.equipment)})")
    return found


def _values(item: Input, given: JsonValue, reasons: list[str]) -> list[Decimal]:
    """Return the values of one input; what is wrong with it goes to `reasons`."""
    texts = given if isinstance(given, list) else [given]
    if given is None or len(texts) != item.length or (item.axis is None) is isinstance(given, list):
        reasons.append(f"{item.name} is missing, or is not {item.length} value{'' if item.length == 1 else 's'}")
        return []
    values = []
    for text in texts:
        try:
            values.append(decimal_from_text(text if isinstance(text, str) else ""))
        except QuantityError:
            reasons.append(f"{item.name} holds something that is not a plain decimal number")
            return []
    low, high = min(values), max(values)
    if low < item.low or high > item.high:
        beyond = plain_text(low if low < item.low else high)
        reasons.append(f"{item.name} {beyond} {item.unit} is outside {plain_text(item.low)} to {plain_text(item.high)} {item.unit}")
    return values


def prepared(model: ModelDefinition, values: list[Decimal]) -> list[Decimal] | None:
    """Return the values after preprocessing; None where a spectrum has no variation that it could be scaled by."""
    for step in model.plan.preprocessing:
        if step.step == "derivative":
            width = len(step.coefficients)
            values = [_dot(values[at : at + width], step.coefficients) for at in range(len(values) - width + 1)]
            continue
        n = Decimal(len(values))
        average = EXACT.divide(_sum(values), n)
        offsets = [EXACT.subtract(value, average) for value in values]
        deviation = EXACT.sqrt(EXACT.divide(_dot(offsets, offsets), EXACT.subtract(n, _ONE)))
        if deviation == 0:
            return None
        values = [EXACT.divide(offset, deviation) for offset in offsets]
    return values


def _half_width(model: ModelDefinition, t2: Decimal) -> Decimal:
    n = Decimal(len(model.training.samples))
    leverage = EXACT.add(EXACT.divide(_ONE, n), EXACT.divide(t2, EXACT.subtract(n, _ONE)))
    width = EXACT.multiply(model.computation.residual_sd, EXACT.sqrt(EXACT.add(_ONE, leverage)))
    return round_to(EXACT.multiply(model.plan.coverage_factor, width), model.plan.output.places)


def _dot(first: Sequence[Decimal], second: Sequence[Decimal]) -> Decimal:
    total = _ZERO
    for a, b in zip(first, second, strict=True):
        total = EXACT.add(total, EXACT.multiply(a, b))
    return total


def _sum(values: Sequence[Decimal]) -> Decimal:
    total = _ZERO
    for value in values:
        total = EXACT.add(total, value)
    return total


def _short(value: Decimal) -> str:
    return plain_text(round_to(value, 3))
