"""Data sets of process models, and the test of a model on data that it has never seen; pure, exact decimals.

RMSEP = √(Σ(ŷ − y)²/n); bias = mean of ŷ − y; SEP = √(Σ(ŷ − y − bias)²/(n − 1)); R after Pearson. Independence is held by content and by
batch: a test set that shares one sample's inputs, or one batch, with the training set is refused.

Sources: ICH Q2(R2) (multivariate: calibration and validation sets, RMSEP); ASTM E1655, E2617 (bias, SEP); draft Annex 22 (test data).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Literal

from pydantic import Field, ValidationError

from audit.canonical import JsonObject, JsonValue, canonical, sha256_hex
from audit.errors import ModelRefused
from audit.quantities import EXACT, plain_text, round_to
from audit.release.model_evaluation import Predicted, evaluate
from audit.release.process_models import Line, Metric, ModelDefinition, Number, Part, Vector, explain
from audit.release.uniformity import mean

_PLACES = 6
_HUNDRED = Decimal(100)
_AT_LEAST: frozenset[Metric] = frozenset({"r", "coverage_percent"})


class Sample(Part):
    """One sample: its inputs by name (decimal text, a list of it for a spectrum), and its value by the reference method."""

    sample: Line
    batch: Line
    inputs: dict[str, str | Vector]
    reference: Number

    @property
    def named_inputs(self) -> JsonObject:
        record: JsonValue = self.as_record()["inputs"]
        return record if isinstance(record, dict) else {}

    @property
    def inputs_sha256(self) -> str:
        return sha256_hex(canonical(self.named_inputs))


class DataSet(Part):
    """Samples with their reference values. `origin`: where they were measured, or that they are simulated and of what."""

    format: Literal["dosewright-data/1"] = "dosewright-data/1"
    name: Line
    origin: Line
    reference_method: Line
    samples: Annotated[tuple[Sample, ...], Field(min_length=1, max_length=10_000)]

    @property
    def digest(self) -> str:
        return sha256_hex(canonical(self.as_record()))

    @property
    def batches(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(sample.batch for sample in self.samples))


def read_data_set(record: object, what: str = "The data set") -> DataSet:
    """Read a data set from a JSON tree. Raises ModelRefused naming every field that is wrong."""
    try:
        return DataSet.model_validate(record)
    except ValidationError as error:
        raise ModelRefused(f"{what} cannot be read: {explain(error)}.", remedy="Correct it; docs/models.md shows one.") from error


@dataclass(frozen=True, slots=True)
class Performance:
    """What a model showed on independent data. `held`: samples outside its domain, of which there is no prediction."""

    n: int
    held: int
    rmsep: Decimal
    bias: Decimal
    sep: Decimal
    r: Decimal | None
    coverage_percent: Decimal

    def value(self, metric: Metric) -> Decimal | None:
        """Return the figure of a metric; bias by amount."""
        if metric == "bias":
            return abs(self.bias)
        if metric == "held_percent":
            return EXACT.divide(Decimal(100 * self.held), Decimal(self.n + self.held))
        found: Decimal | None = getattr(self, metric)
        return found

    def as_record(self) -> JsonObject:
        return {
            "n": self.n,
            "held": self.held,
            **{name: _text(getattr(self, name)) for name in ("rmsep", "bias", "sep", "r", "coverage_percent")},
        }


def overlap(model: ModelDefinition, data: DataSet) -> tuple[str, ...]:
    """Return what a data set shares with the training of a model; empty where it is independent."""
    training = model.training
    found = ["it is the training set"] if data.digest == training.dataset_sha256 else []
    seen, batches = set(training.samples), set(training.batches)
    found += [f"sample {sample.sample} was fitted to" for sample in data.samples if sample.inputs_sha256 in seen]
    return (*found, *(f"batch {batch} was fitted to" for batch in data.batches if batch in batches))


def performance(model: ModelDefinition, data: DataSet) -> Performance:
    """Return what a model shows on a data set. Raises ModelRefused where fewer than three samples lie in its domain."""
    predicted, inside = [], 0
    for sample in data.samples:
        outcome = evaluate(model, sample.named_inputs)
        if isinstance(outcome, Predicted):
            predicted.append((outcome.value, sample.reference))
            inside += abs(EXACT.subtract(outcome.value, sample.reference)) <= outcome.half_width
    if len(predicted) < 3:
        raise ModelRefused(
            f"{len(predicted)} of {len(data.samples)} samples lie in the domain of {model.reference}: nothing follows from that.",
            remedy="Test it with samples that it is meant for.",
        )
    found = figures([y for y, _ in predicted], [y for _, y in predicted])
    share = EXACT.divide(Decimal(100 * inside), Decimal(len(predicted)))
    return Performance(len(predicted), len(data.samples) - len(predicted), *found, share)


def figures(predicted: Sequence[Decimal], reference: Sequence[Decimal]) -> tuple[Decimal, Decimal, Decimal, Decimal | None]:
    """Return RMSEP, bias (predicted − reference), SEP and R. Two pairs at least; R is None where one side does not vary."""
    errors = [EXACT.subtract(a, b) for a, b in zip(predicted, reference, strict=True)]
    n = len(errors)
    if n < 2:
        raise ValueError("figures of performance need two pairs at least")
    bias = mean(errors)
    rmsep = EXACT.sqrt(EXACT.divide(_squares(errors, Decimal(0)), Decimal(n)))
    sep = EXACT.sqrt(EXACT.divide(_squares(errors, bias), Decimal(n - 1)))
    return rmsep, bias, sep, _correlation(predicted, reference)


def judge(model: ModelDefinition, found: Performance) -> tuple[str, ...]:
    """Return every acceptance limit of the plan that is not kept; empty where the model passes."""
    problems = []
    if found.n < model.plan.fewest_test_samples:
        problems.append(f"{found.n} samples in its domain, the plan asks for {model.plan.fewest_test_samples}")
    for criterion in model.plan.criteria:
        value, limit = found.value(criterion.metric), criterion.limit
        kept = value is not None and (value >= limit if criterion.metric in _AT_LEAST else value <= limit)
        if not kept:
            word = "below" if criterion.metric in _AT_LEAST else "above"
            problems.append(f"{criterion.metric} {_text(value) or 'cannot be told'} is {word} {plain_text(limit)}")
    return tuple(problems)


def _squares(values: Sequence[Decimal], about: Decimal) -> Decimal:
    total = Decimal(0)
    for value in values:
        total = EXACT.add(total, EXACT.power(EXACT.subtract(value, about), 2))
    return total


def _correlation(first: Sequence[Decimal], second: Sequence[Decimal]) -> Decimal | None:
    one, two = mean(first), mean(second)
    spread = EXACT.multiply(_squares(first, one), _squares(second, two))
    if spread == 0:
        return None
    return EXACT.divide(sum(_products(first, one, second, two), Decimal(0)), EXACT.sqrt(spread))


def _products(first: Sequence[Decimal], one: Decimal, second: Sequence[Decimal], two: Decimal) -> Iterator[Decimal]:
    for a, b in zip(first, second, strict=True):
        yield EXACT.multiply(EXACT.subtract(a, one), EXACT.subtract(b, two))


def _text(value: Decimal | None) -> str | None:
    return None if value is None else plain_text(round_to(value, _PLACES))
