"""The arithmetic of process models against programs and figures from outside: SciPy, NumPy, scikit-learn, a published RMSEP."""

from __future__ import annotations

from decimal import Decimal as D

import numpy as np
import pytest
import scipy.signal
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from model_story import data_set, fitted
from sklearn.cross_decomposition import PLSRegression

from api.model_fitting import preprocess, with_coefficients
from audit.canonical import canonical
from audit.errors import ModelRefused
from audit.quantities import plain_text
from audit.release.model_evaluation import Held, Predicted, check_vectors, evaluate, outcome_record, prepared, score
from audit.release.model_limits import f_below, f_quantile, q_limit, t2_limit
from audit.release.model_testing import figures, judge, overlap, performance, read_data_set
from audit.release.process_models import ModelDefinition, Preprocessing, read_definition

MODELS = ("unit-mass", "nir-strength")


def numbers(*texts: str) -> list[D]:
    return [D(text) for text in texts]


def test_rmsep_bias_and_sep_are_those_of_the_published_example() -> None:
    predicted = numbers("1", "2", "3", "4", "5", "6", "7", "8", "9", "10")
    observed = numbers("1.5", "1.8", "3.3", "3.9", "4.4", "6", "7.5", "9", "11", "10")
    rmsep, bias, sep, r = figures(predicted, observed)
    assert round(rmsep, 9) == D("0.774596669") and bias == D("-0.34")
    errors = np.array([float(a - b) for a, b in zip(predicted, observed, strict=True)])
    assert float(sep) == pytest.approx(errors.std(ddof=1), rel=1e-14)
    assert r is not None and float(r) == pytest.approx(np.corrcoef([*map(float, predicted)], [*map(float, observed)])[0, 1], rel=1e-14)


@pytest.mark.parametrize("first", [1, 2, 3, 5, 8, 20])
@pytest.mark.parametrize("second", [1, 2, 7, 40, 151, 400])
def test_the_f_distribution_is_scipys(first: int, second: int) -> None:
    for p in ("0.5", "0.95", "0.99", "0.999"):
        found = f_quantile(D(p), first, second)
        assert float(found) == pytest.approx(scipy.stats.f.ppf(float(p), first, second), rel=1e-8)
        assert abs(f_below(found, first, second) - D(p)) < D("1e-9")


@pytest.mark.parametrize(("a", "n"), [(1, 10), (2, 96), (4, 155), (7, 40)])
def test_the_limit_of_t2_is_that_of_the_f_distribution(a: int, n: int) -> None:
    wanted = a * (n * n - 1) / (n * (n - a)) * scipy.stats.f.ppf(0.99, a, n - a)
    assert float(t2_limit(a, n, D("0.99"))) == pytest.approx(wanted, rel=1e-9)


@pytest.mark.parametrize("theta", [("1", "100", "7500"), ("1", "1", "2"), ("1", "0", "0"), ("0", "1", "1")])
def test_sums_that_no_eigenvalues_have_give_no_limit_of_q(theta: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="eigenvalues"):
        q_limit([D(value) for value in theta], D("0.95"))


def test_the_limit_of_q_holds_what_it_should_of_simulated_residuals() -> None:
    eigenvalues = np.array([2.0, 1.0, 0.7, 0.3, 0.1])
    theta = [D(repr(float(np.sum(eigenvalues**k)))) for k in (1, 2, 3)]
    limit = float(q_limit(theta, D("0.95")))
    draws = np.random.default_rng(7).normal(size=(200_000, 5)) ** 2 @ eigenvalues
    assert np.mean(draws <= limit) == pytest.approx(0.95, abs=0.005)  # an approximation, a little on the safe side
    h = 1 - 2 * float(theta[0]) * float(theta[2]) / (3 * float(theta[1]) ** 2)
    z = scipy.stats.norm.ppf(0.95)
    one, two = float(theta[0]), float(theta[1])
    assert limit == pytest.approx(one * (1 - two * h * (1 - h) / one**2 + z * np.sqrt(2 * two * h * h) / one) ** (1 / h), rel=1e-9)


@pytest.mark.parametrize("order", [1, 2])
def test_a_derivative_is_scipys_savitzky_golay(order: int) -> None:
    step = with_coefficients(Preprocessing(step="derivative", window=7, degree=3, order=order))
    rows = np.random.default_rng(3).normal(size=(4, 30))
    wanted = scipy.signal.savgol_filter(rows, 7, 3, deriv=order)[:, 3:-3]
    assert np.allclose(preprocess([step], rows), wanted, rtol=1e-9, atol=1e-9)


def floats(model: ModelDefinition, name: str) -> tuple[np.ndarray, np.ndarray]:
    data = data_set(f"{name}-{'training'}")
    rows = []
    for sample in data.samples:
        row: list[float] = []
        for item in model.plan.inputs:
            given = sample.inputs[item.name]
            row += [float(given)] if isinstance(given, str) else [float(value) for value in given]
        rows.append(row)
    return np.array(rows), np.array([float(sample.reference) for sample in data.samples])


@pytest.mark.parametrize("name", MODELS)
def test_the_definition_predicts_what_scikit_learn_predicts_with_t2_and_q_of_numpy(name: str) -> None:
    model = fitted(name)
    raw, y = floats(model, name)
    x = preprocess(model.plan.preprocessing, raw)
    scale = x.std(axis=0, ddof=1) if model.plan.scaled else np.ones(x.shape[1])
    z = (x - x.mean(axis=0)) / scale
    pls = PLSRegression(n_components=model.training.components, scale=False).fit(z, y)
    wanted, scores = pls.predict(z).ravel(), pls.transform(z)
    t2 = np.sum(scores**2 / scores.var(axis=0, ddof=1), axis=1)
    q = np.sum((z - scores @ pls.x_loadings_.T) ** 2, axis=1)
    half_a_place = 0.5 * 10.0**-model.plan.output.places
    for at in range(len(y)):
        values = prepared(model, [D(repr(float(value))) for value in raw[at]])
        assert values is not None
        found = score(model, values)
        assert abs(float(found.value) - wanted[at]) <= half_a_place + 1e-7
        assert float(found.t2) == pytest.approx(t2[at], rel=1e-6) and float(found.q) == pytest.approx(q[at], rel=1e-6)


@pytest.mark.parametrize("name", MODELS)
def test_a_model_says_the_same_again_and_from_its_file(name: str) -> None:
    model = fitted(name)
    again = read_definition(model.as_record())
    assert again == model and again.digest == model.digest and canonical(again.as_record()) == canonical(model.as_record())
    for sample in data_set(f"{name}-test").samples[:12]:
        assert outcome_record(evaluate(model, sample.named_inputs)) == outcome_record(evaluate(again, sample.named_inputs))
    assert check_vectors(again) == ()


@pytest.mark.parametrize("name", MODELS)
def test_a_changed_parameter_shows_in_the_reference_vectors(name: str) -> None:
    record = fitted(name).as_record()
    computation = dict(record["computation"])  # type: ignore[call-overload]
    computation["y_centre"] = plain_text(D(computation["y_centre"]) + D("0.01"))
    assert len(check_vectors(read_definition({**record, "computation": computation}))) == 3


@pytest.mark.parametrize(
    ("part", "field", "value", "words"),
    [
        ("computation", "t2_limit", "99", "limit of T²"),
        ("computation", "q_limit", "99", "limit of Q"),
        ("computation", "theta", ["1", "100", "7500"], "limit of Q"),
        ("training", "components", 3, "components stated"),
        ("computation", "evaluation", "dosewright-evaluation/2", "evaluation"),
        ("plan", "out_of_domain", "extrapolate", "out_of_domain"),
        ("plan", "coverage_factor", 3, "write the number as text"),
        ("plan", "learns", True, "learns"),
    ],
)
def test_a_definition_that_does_not_fit_together_is_refused(part: str, field: str, value: object, words: str) -> None:
    record = fitted("nir-strength").as_record()
    changed = {**record, part: {**record[part], field: value}}  # type: ignore[dict-item]
    with pytest.raises(ModelRefused, match=words):
        read_definition(changed)


@pytest.mark.parametrize("name", MODELS)
def test_independent_batches_keep_the_limits_that_were_set_before(name: str) -> None:
    model, data = fitted(name), data_set(f"{name}-test")
    found = performance(model, data)
    assert overlap(model, data) == () and judge(model, found) == ()
    # figures that docs/models.md states
    stated = {"unit-mass": (D("0.66"), D("0.16")), "nir-strength": (D("0.17"), D("0.10"))}[name]
    assert (round(found.rmsep, 2), round(abs(found.bias), 2)) == stated


def test_the_mass_model_is_right_about_the_true_mass_too() -> None:
    found = performance(fitted("unit-mass"), data_set("unit-mass-truth"))
    assert round(found.rmsep, 2) == D("0.67") and found.held == 0


def test_what_shares_a_sample_or_a_batch_with_the_training_is_not_independent() -> None:
    model, test = fitted("unit-mass"), data_set("unit-mass-test")
    training = data_set("unit-mass-training")
    assert "it is the training set" in overlap(model, training)
    one = training.samples[0].model_copy(update={"batch": "another name", "sample": "renamed"})
    mixed = test.model_copy(update={"samples": (*test.samples, one)})
    assert overlap(model, mixed) == ("sample renamed was fitted to",)
    same_batch = test.samples[0].model_copy(update={"batch": training.samples[0].batch})
    assert overlap(model, test.model_copy(update={"samples": (same_batch,)})) == (f"batch {training.samples[0].batch} was fitted to",)


def test_a_model_that_misses_a_limit_fails_and_says_which() -> None:
    model, data = fitted("unit-mass"), data_set("unit-mass-test")
    biased = data.model_copy(update={"samples": tuple(s.model_copy(update={"reference": s.reference + 2}) for s in data.samples)})
    problems = judge(model, performance(model, biased))
    assert any(problem.startswith("rmsep ") for problem in problems) and any(problem.startswith("bias ") for problem in problems)
    few = data.model_copy(update={"samples": data.samples[:10]})
    assert any("the plan asks for 40" in problem for problem in judge(model, performance(model, few)))


@given(
    name=st.sampled_from(["nominal_mass", "excess_pressure", "pressure", "pressure_spread", "rest_difference"]),
    beyond=st.decimals(min_value="0.0001", max_value="1000", places=4),
    low=st.booleans(),
)
def test_outside_the_range_of_any_input_there_is_no_number(name: str, beyond: D, low: bool) -> None:
    model = fitted("unit-mass")
    inputs = data_set("unit-mass-test").samples[0].named_inputs
    item = next(item for item in model.plan.inputs if item.name == name)
    value = item.low - beyond if low else item.high + beyond
    outcome = evaluate(model, {**inputs, name: plain_text(value)})
    assert isinstance(outcome, Held) and any(reason.startswith(f"{name} ") for reason in outcome.reasons)
    at_the_edge = evaluate(model, {**inputs, name: plain_text(item.low if low else item.high)})
    assert not isinstance(at_the_edge, Held) or not any("is outside" in reason for reason in at_the_edge.reasons)


@given(st.dictionaries(st.text(max_size=12), st.one_of(st.none(), st.booleans(), st.text(max_size=8), st.lists(st.text(max_size=4)))))
@settings(max_examples=60)
def test_inputs_of_any_shape_are_held_and_never_raise(inputs: dict[str, object]) -> None:
    for name in MODELS:
        assert isinstance(evaluate(fitted(name), inputs), Held)  # type: ignore[arg-type]


def test_what_is_not_covered_is_held() -> None:
    model, inputs = fitted("unit-mass"), data_set("unit-mass-test").samples[0].named_inputs
    assert isinstance(evaluate(model, inputs, material="cyclophosphamide-40", equipment="sse-20g-10ml"), Predicted)
    for other in ({"material": "sildenafil-28"}, {"equipment": "sse-18g"}):
        outcome = evaluate(model, inputs, **other)
        assert isinstance(outcome, Held) and "covers" in outcome.reasons[0]


def test_a_data_set_with_a_float_is_refused() -> None:
    record = data_set("unit-mass-test").as_record()
    record["samples"][0]["reference"] = 1.5  # type: ignore[index,call-overload]
    with pytest.raises(ModelRefused, match="as text"):
        read_data_set(record)
