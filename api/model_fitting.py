"""Fitting a process model from a plan and a training set: scikit-learn finds the numbers, the definition keeps them.

The only file that loads scikit-learn (extra `models`); what is fitted here is evaluated by `audit.release.model_evaluation` without it.
All models are of one form, latent variables (PLS); with as many components as inputs that is ordinary multiple linear regression.
Number of components: leave one batch out; the fewest whose RMSECV is within 2 % of the lowest.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Context, Decimal

import numpy as np
from sklearn.cross_decomposition import PLSRegression

from api.errors import InputInvalid
from audit.quantities import decimal_from_text
from audit.release.model_evaluation import prepared, score
from audit.release.model_limits import q_limit, t2_limit
from audit.release.model_testing import DataSet, Sample
from audit.release.process_models import Computation, ModelDefinition, ModelPlan, Preprocessing, ReferenceVector, Training

_DIGITS = Context(prec=12, rounding=ROUND_HALF_EVEN)
_TOLERATED = 1.02
_VECTORS = 3
_CROSS_VALIDATION = "leave one batch out; the fewest components whose RMSECV is within 2 % of the lowest"

Floats = np.ndarray[tuple[int, ...], np.dtype[np.float64]]


@dataclass(frozen=True, slots=True)
class _Fit:
    centre: Floats
    scale: Floats
    pls: PLSRegression
    y_centre: float

    def predict(self, x: Floats) -> Floats:
        scores = ((x - self.centre) / self.scale) @ self.pls.x_rotations_
        found: Floats = self.y_centre + scores @ self.pls.y_loadings_[0]
        return found


def fit_model(plan: ModelPlan, data: DataSet) -> ModelDefinition:
    """Fit a model. Raises InputInvalid where the training set does not fit the plan: inputs, ranges, too few samples or batches."""
    if data.reference_method != plan.reference_method:
        raise InputInvalid("The training set states another reference method than the plan.", remedy="Correct one of them.")
    steps = tuple(with_coefficients(step) for step in plan.preprocessing)
    rows = [_row(plan, sample) for sample in data.samples]
    x = preprocess(steps, np.array([[float(v) for v in row] for row in rows]))
    y = np.array([float(sample.reference) for sample in data.samples])
    groups = np.array([data.batches.index(sample.batch) for sample in data.samples])
    most = min(plan.most_components, x.shape[1], len(y) - 2)
    if len(data.batches) < 3 or len(y) < most + 10:
        raise InputInvalid(
            f"{len(y)} samples of {len(data.batches)} batches are too few for {most} components.", remedy="Train on more batches."
        )
    rmsecv = [_cross_validated(plan, x, y, groups, a) for a in range(1, most + 1)]
    components = next(a for a, value in enumerate(rmsecv, start=1) if value <= _TOLERATED * min(rmsecv))
    fit = _fitted(plan, x, y, components)
    plan = plan.model_copy(update={"preprocessing": steps})
    draft = ModelDefinition.model_construct(
        plan=plan,
        training=_training(data, components, rmsecv),
        computation=_computation(plan, fit, x, rmsecv[components - 1]),
        vectors=(),
    )
    picked = [round(k * (len(rows) - 1) / (_VECTORS - 1)) for k in range(_VECTORS)]
    vectors = tuple(_vector(draft, rows[at], x[at]) for at in picked)
    return ModelDefinition(plan=plan, training=draft.training, computation=draft.computation, vectors=vectors)


def with_coefficients(step: Preprocessing) -> Preprocessing:
    """Return a derivative with its Savitzky–Golay coefficients: the least-squares polynomial over the window, derived at its middle."""
    if step.step != "derivative" or step.window is None or step.degree is None or step.order is None:
        return step
    half = step.window // 2
    powers = np.vander(np.arange(-half, half + 1, dtype=float), step.degree + 1, increasing=True)
    row = np.linalg.pinv(powers)[step.order] * (1.0 if step.order == 1 else 2.0)
    return step.model_copy(update={"coefficients": _decimals(row)})


def preprocess(steps: Sequence[Preprocessing], x: Floats) -> Floats:
    """Apply the steps to rows of spectra in floating point, as fitting needs it; the definition's own arithmetic is in decimals."""
    for step in steps:
        if step.step == "derivative":
            x = np.array([np.convolve(row, [float(c) for c in reversed(step.coefficients)], mode="valid") for row in x])
        else:
            x = (x - x.mean(axis=1, keepdims=True)) / x.std(axis=1, ddof=1, keepdims=True)
    return x


def _row(plan: ModelPlan, sample: Sample) -> list[Decimal]:
    """Return the values of a sample in the order of the inputs; each must lie in its range."""
    found: list[Decimal] = []
    for item in plan.inputs:
        given = sample.inputs.get(item.name)
        if given is None or isinstance(given, str) is not (item.axis is None):
            raise InputInvalid(f"Sample {sample.sample} has no input {item.name} as the plan describes it.", remedy="Correct the data set.")
        values = [decimal_from_text(given, item.name)] if isinstance(given, str) else list(given)
        if len(values) != item.length or not all(item.low <= value <= item.high for value in values):
            raise InputInvalid(
                f"Sample {sample.sample}: {item.name} has not {item.length} values between {item.low} and {item.high} {item.unit}.",
                remedy="Widen the range in the plan, or leave the sample out with a reason.",
            )
        found += values
    return found


def _fitted(plan: ModelPlan, x: Floats, y: Floats, components: int) -> _Fit:
    centre = x.mean(axis=0)
    scale = x.std(axis=0, ddof=1) if plan.scaled else np.ones(x.shape[1])
    if not np.all(scale > 0):
        raise InputInvalid("An input does not vary in the training set.", remedy="Leave it out of the plan, or vary it.")
    pls = PLSRegression(n_components=components, scale=False).fit((x - centre) / scale, y - y.mean())
    return _Fit(centre, scale, pls, float(y.mean()))


def _cross_validated(plan: ModelPlan, x: Floats, y: Floats, groups: Floats, components: int) -> float:
    errors = []
    for group in np.unique(groups):
        left = groups == group
        fit = _fitted(plan, x[~left], y[~left], components)
        errors.extend(fit.predict(x[left]) - y[left])
    return float(np.sqrt(np.mean(np.square(errors))))


def _training(data: DataSet, components: int, rmsecv: Sequence[float]) -> Training:
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in ("scikit-learn", "numpy"))
    return Training(
        dataset_sha256=data.digest,
        dataset=f"{data.name}; {data.origin}",
        samples=tuple(sample.inputs_sha256 for sample in data.samples),
        batches=data.batches,
        components=components,
        cross_validation=_CROSS_VALIDATION,
        rmsecv=_decimals(rmsecv),
        fitted_with=versions,
    )


def _computation(plan: ModelPlan, fit: _Fit, x: Floats, rmsecv: float) -> Computation:
    scaled = (x - fit.centre) / fit.scale
    rotations, loadings = fit.pls.x_rotations_, fit.pls.x_loadings_
    scores = scaled @ rotations
    residuals = scaled - scores @ loadings.T
    n, a = scores.shape
    theta = None
    if a < x.shape[1]:
        values = np.linalg.eigvalsh(residuals.T @ residuals / (n - 1)).clip(min=0.0)
        one, two, three = _decimals([float(np.sum(values**power)) for power in (1, 2, 3)])
        theta = (one, two, three)
    return Computation(
        centre=_decimals(fit.centre),
        scale=_decimals(fit.scale),
        rotations=tuple(_decimals(row) for row in rotations.T),
        loadings=tuple(_decimals(row) for row in loadings.T),
        y_centre=_decimal(fit.y_centre),
        y_loadings=_decimals(fit.pls.y_loadings_[0]),
        score_variances=_decimals(scores.var(axis=0, ddof=1)),
        t2_limit=_DIGITS.plus(t2_limit(a, n, plan.confidence)),
        theta=theta,
        q_limit=None if theta is None else _DIGITS.plus(q_limit(theta, plan.confidence)),
        residual_sd=_decimal(rmsecv),
    )


def _vector(model: ModelDefinition, row: Sequence[Decimal], x: Floats) -> ReferenceVector:
    values = prepared(model, list(row))
    if values is None or not np.allclose([float(v) for v in values], x, rtol=1e-9, atol=1e-9):
        raise InputInvalid("The definition's preprocessing differs from the fitted one.", remedy="Report this with the plan.")
    found = score(model, values)
    return ReferenceVector(inputs=tuple(row), prediction=found.value, t2=found.t2, q=found.q)


def _decimal(value: float) -> Decimal:
    """Return a number of twelve significant digits without exponent."""
    return Decimal(format(_DIGITS.plus(Decimal(repr(float(value)))), "f"))


def _decimals(values: Sequence[float] | Floats) -> tuple[Decimal, ...]:
    return tuple(_decimal(value) for value in values)
