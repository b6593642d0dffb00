"""A process model (soft sensor) as data: what it is for, what it may be asked, how it computes, and what it was fitted from; pure.

A definition is one canonical JSON tree, and its digest is what people sign. It holds the plan (intended use, impact, inputs with
their ranges, acceptance limits, all set before any test), the identity of the training set, every parameter of the computation, and
reference vectors: inputs with the results that this computation must give to the last digit. A model in use learns nothing.

Sources: EU GMP draft Annex 22 (static, deterministic, independent test data, pre-set criteria); EMA/90634/2024 (process models:
justification, description, validation, life cycle); ICH Q2(R2), Q13, Q14; ICH Q-IWG Points to Consider R2 (impact); ASTM E2617.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    StrictInt,
    ValidationError,
    model_validator,
)

from audit.canonical import JsonObject, canonical, sha256_hex
from audit.errors import ModelRefused
from audit.quantities import EXACT, decimal_from_text, plain_text
from audit.release.model_limits import q_limit, t2_limit

EVALUATION = "dosewright-evaluation/1"
"""The computation of `model_evaluation`; a change of any digit of its results is a new number."""

MASS, STRENGTH = "unit mass", "active strength"
_LIMIT_ROUNDING = Decimal("0.000001")
_ONE = Decimal(1)


def _text_only(value: object) -> Decimal:
    if isinstance(value, Decimal):
        return value
    if isinstance(value, str):
        return decimal_from_text(value)
    raise ValueError(f"write the number as text, for example '1.069', not as a {type(value).__name__}")


def _above_zero(value: Decimal) -> Decimal:
    if value <= 0:
        raise ValueError(f"must be above zero, found {plain_text(value)}")
    return value


Number = Annotated[Decimal, BeforeValidator(_text_only), PlainSerializer(plain_text, return_type=str)]
Above = Annotated[Number, AfterValidator(_above_zero)]
Line = Annotated[str, Field(min_length=1, max_length=500)]
Word = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
Hex256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Few = Annotated[StrictInt, Field(ge=1, le=10_000)]
Vector = Annotated[tuple[Number, ...], Field(max_length=4096)]
Matrix = Annotated[tuple[Vector, ...], Field(max_length=64)]
Impact = Literal["low", "medium", "high"]
Metric = Literal["rmsep", "bias", "sep", "r", "coverage_percent", "held_percent"]


class Part(BaseModel):
    """A frozen piece of a definition that refuses unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def as_record(self) -> JsonObject:
        """Return the canonical tree: numbers as plain decimal text, absent values as null."""
        tree: JsonObject = self.model_dump(mode="json")
        return tree


class Output(Part):
    """What is predicted, and in which unit; `places`: decimals of a prediction.

    `unit mass` is in % of the nominal mass (plunger travel times certified density), `active strength` in mg/g."""

    name: Line
    quantity: Literal["unit mass", "active strength", "other"]
    unit: Line
    places: Annotated[StrictInt, Field(ge=0, le=9)]

    @model_validator(mode="after")
    def _in_its_unit(self) -> Self:
        wanted = {MASS: "%", STRENGTH: "mg/g"}.get(self.quantity)
        if wanted is not None and self.unit != wanted:
            raise ValueError(f"a model of {self.quantity} predicts in {wanted}, not in {self.unit}")
        return self


class Input(Part):
    """One input: a figure, or with `axis` a spectrum, one value at each place of it. `low` to `high`: where it is valid, both included."""

    name: Word
    unit: Line
    meaning: Line
    low: Number
    high: Number
    axis: Vector | None = None
    axis_unit: Line | None = None

    @property
    def length(self) -> int:
        return 1 if self.axis is None else len(self.axis)

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.low >= self.high:
            raise ValueError(f"{self.name}: low {self.low} must lie below high {self.high}")
        if self.axis is not None and (len(self.axis) < 2 or self.axis_unit is None):
            raise ValueError(f"{self.name}: an axis has two places at least, and a unit")
        return self


class Criterion(Part):
    """A metric on independent data and its limit: `r` and `coverage_percent` at least, the others (bias by amount) at most."""

    metric: Metric
    limit: Number


class Covered(Part):
    """What the model was shown to hold for: nothing else may be asked of it (ASTM E2617). Ink products, and equipment by its identity."""

    materials: Annotated[tuple[Line, ...], Field(min_length=1)]
    equipment: Annotated[tuple[Line, ...], Field(min_length=1)]


class Update(Part):
    """What leads to a change of the model, and which kind of change it is."""

    trigger: Line
    category: Literal["re-estimate", "extend", "new"]


class Monitoring(Part):
    """How a model in use is watched: a reference check at the latest after so many batches; EWMA and CUSUM of its residuals.

    `cusum_slack`, `cusum_decision` and `ewma_width` are in standard deviations of the residual; `drift_share`: share of the T² limit
    that the EWMA of the batches' mean T² may reach.
    """

    check_every_batches: Few
    ewma_weight: Annotated[Number, Field(gt=0, le=1)]
    ewma_width: Above
    cusum_slack: Above
    cusum_decision: Above
    drift_share: Annotated[Number, Field(gt=0, le=1)]


class Preprocessing(Part):
    """What is done with the values before they are centred: `snv` (each spectrum to mean 0 and standard deviation 1), or a Savitzky–Golay
    derivative of a polynomial of `degree` over `window` places, whose `coefficients` are part of the fitted model."""

    step: Literal["snv", "derivative"]
    window: Annotated[StrictInt, Field(ge=3, le=51)] | None = None
    degree: Annotated[StrictInt, Field(ge=1, le=4)] | None = None
    order: Annotated[StrictInt, Field(ge=1, le=2)] | None = None
    coefficients: Vector = ()

    @model_validator(mode="after")
    def _complete(self) -> Self:
        figures = (self.window, self.degree, self.order)
        if self.step == "snv" and (any(f is not None for f in figures) or self.coefficients):
            raise ValueError("snv takes no figures")
        if self.window is not None and self.degree is not None and self.order is not None:
            if self.window % 2 == 0 or not self.order <= self.degree < self.window:
                raise ValueError("a derivative has an odd window longer than its degree, and a degree of its order at least")
            if self.coefficients and len(self.coefficients) != self.window:
                raise ValueError("a derivative has as many coefficients as its window is long")
        elif self.step == "derivative":
            raise ValueError("a derivative states window, degree and order")
        return self


class ModelPlan(Part):
    """What is laid down before anything is fitted or tested. `features`: how the inputs come from what was recorded."""

    id: Word
    version: Few
    title: Line
    intended_use: Line
    decision: Line
    impact: Impact
    justification: Line
    description: Line
    features: Literal["unit-trace/1", "spectrum/1", "given"]
    output: Output
    inputs: Annotated[tuple[Input, ...], Field(min_length=1, max_length=64)]
    covered: Covered
    preprocessing: tuple[Preprocessing, ...] = ()
    scaled: bool
    most_components: Annotated[StrictInt, Field(ge=1, le=20)]
    confidence: Annotated[Number, Field(gt=0.5, lt=1)]
    coverage_factor: Above
    criteria: Annotated[tuple[Criterion, ...], Field(min_length=1)]
    fewest_test_samples: Few
    reference_method: Line
    out_of_domain: Literal["hold"] = "hold"
    monitoring: Monitoring
    updates: Annotated[tuple[Update, ...], Field(min_length=1)]
    supersedes: Line | None = None

    @property
    def reference(self) -> str:
        return f"{self.id}@{self.version}"

    @model_validator(mode="after")
    def _sound(self) -> Self:
        names = [item.name for item in self.inputs]
        metrics = [item.metric for item in self.criteria]
        if len(set(names)) < len(names) or len(set(metrics)) < len(metrics):
            raise ValueError("an input or a criterion is there twice")
        if "rmsep" not in metrics or "bias" not in metrics:
            raise ValueError("criteria name rmsep and bias at least")
        if self.preprocessing and (len(self.inputs) != 1 or self.inputs[0].axis is None):
            raise ValueError("preprocessing is for one spectrum as the only input")
        return self


class Training(Part):
    """What the model was fitted from: its data set by digest, each sample by the digest of its inputs, its batches by name."""

    dataset_sha256: Hex256
    dataset: Line
    samples: Annotated[tuple[Hex256, ...], Field(min_length=3, max_length=10_000)]
    batches: Annotated[tuple[Line, ...], Field(min_length=2)]
    components: Annotated[StrictInt, Field(ge=1, le=20)]
    cross_validation: Line
    rmsecv: Annotated[Vector, Field(min_length=1)]
    fitted_with: Line


class Computation(Part):
    """The numbers: x̄ and scale of the preprocessed inputs; rotations R and loadings P (one row a component); ȳ and its loadings q; the
    variance of each score. Limits at the plan's confidence: T² after F, Q (if residuals are left) from `theta`."""

    evaluation: Literal["dosewright-evaluation/1"] = "dosewright-evaluation/1"
    centre: Vector
    scale: Vector
    rotations: Matrix
    loadings: Matrix
    y_centre: Number
    y_loadings: Vector
    score_variances: Vector
    t2_limit: Above
    theta: tuple[Above, Above, Above] | None
    q_limit: Above | None
    residual_sd: Above


class ReferenceVector(Part):
    """Inputs, and what the computation must give for them, digit by digit."""

    inputs: Vector
    prediction: Number
    t2: Number
    q: Number


class ModelDefinition(Part):
    """One version of a process model, whole. `digest` is what is signed, named by recipes, and stands in every prediction."""

    format: Literal["dosewright-model/1"] = "dosewright-model/1"
    plan: ModelPlan
    training: Training
    computation: Computation
    vectors: Annotated[tuple[ReferenceVector, ...], Field(min_length=3, max_length=20)]

    @property
    def reference(self) -> str:
        return self.plan.reference

    @property
    def digest(self) -> str:
        return sha256_hex(canonical(self.as_record()))

    @property
    def width(self) -> int:
        """How many values come in."""
        return sum(item.length for item in self.plan.inputs)

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        problems = list(_problems(self))
        if problems:
            raise ValueError("; ".join(problems))
        return self


def _problems(model: ModelDefinition) -> Iterator[str]:
    computation, a = model.computation, model.training.components
    inside = model.width
    for step in model.plan.preprocessing:
        if step.step == "derivative":
            if not step.coefficients:
                yield "a derivative has no coefficients"
            inside -= len(step.coefficients) - 1
    if not len(computation.centre) == len(computation.scale) == inside:
        yield f"centre and scale are of {len(computation.centre)} and {len(computation.scale)} values, not of {inside}"
    if any(len(row) != inside for row in (*computation.rotations, *computation.loadings)):
        yield f"a rotation or a loading is not of {inside} values"
    rows = (computation.rotations, computation.loadings, computation.y_loadings, computation.score_variances)
    if any(len(row) != a for row in rows):
        yield f"not every part of the computation has the {a} components stated"
    if any(value <= 0 for value in (*computation.scale, *computation.score_variances)):
        yield "a scale or a variance is not above zero"
    if any(len(vector.inputs) != model.width for vector in model.vectors):
        yield "a reference vector has not the inputs of the model"
    n = len(model.training.samples)
    if n <= a + 1 or len(set(model.training.samples)) < n:
        yield "there are too few training samples, or one is there twice"
        return
    if not _near(computation.t2_limit, t2_limit(a, n, model.plan.confidence)):
        yield "the limit of T² does not follow from components, samples and confidence"
    if (computation.theta is None) != (computation.q_limit is None) or (computation.theta is None) != (a == inside):
        yield "there is a limit of Q exactly where there are residuals"
    elif not _q_follows(computation, model.plan.confidence):
        yield "the limit of Q does not follow from its sums and the confidence"


def _q_follows(computation: Computation, confidence: Decimal) -> bool:
    if computation.theta is None or computation.q_limit is None:
        return True
    try:
        return _near(computation.q_limit, q_limit(computation.theta, confidence))
    except ValueError:
        return False  # no limit follows from these sums


def _near(stated: Decimal, found: Decimal) -> bool:
    return abs(EXACT.subtract(EXACT.divide(stated, found), _ONE)) <= _LIMIT_ROUNDING


def read_definition(record: object, what: str = "The process model") -> ModelDefinition:
    """Read a definition from a JSON tree. Raises ModelRefused naming every field that is wrong."""
    try:
        return ModelDefinition.model_validate(record)
    except ValidationError as error:
        raise ModelRefused(f"{what} is not a model definition: {explain(error)}.", remedy="Fit it again from its plan and data.") from error


def read_plan(record: object, what: str = "The plan") -> ModelPlan:
    """Read a plan from a TOML or JSON tree. Raises ModelRefused naming every field that is wrong."""
    try:
        return ModelPlan.model_validate(record)
    except ValidationError as error:
        raise ModelRefused(
            f"{what} is not the plan of a model: {explain(error)}.", remedy="Correct it; docs/models.md shows one."
        ) from error


def explain(error: ValidationError) -> str:
    """Return the findings of a validation, one a field."""
    found = []
    for item in error.errors(include_url=False, include_context=False, include_input=False)[:8]:
        where = ".".join(str(part) for part in item["loc"]) or "as a whole"
        found.append(f"{where}: {str(item['msg']).removeprefix('Value error, ')}")
    return "; ".join(found)
