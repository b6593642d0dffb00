"""The in-line case: osmolality from refractive index and UV absorbance, fitted, tested, held outside its domain, watched."""

from __future__ import annotations

import random
from decimal import Decimal as D

from model_story import plan_of
from osmolality_data import osmolality_data, sample

from api.model_fitting import fit_model
from audit.quantities import EXACT
from audit.release.model_evaluation import Held, Predicted, evaluate
from audit.release.model_monitoring import drift, residual_signals
from audit.release.model_testing import judge, overlap, performance

TRAINING, TEST = osmolality_data("training", 1, 20), osmolality_data("test", 2, 8)
MODEL = fit_model(plan_of("osmolality"), TRAINING)


def test_it_keeps_its_limits_on_independent_batches() -> None:
    found = performance(MODEL, TEST)
    assert overlap(MODEL, TEST) == () and judge(MODEL, found) == ()
    # figures that docs/models.md states
    assert (found.n, round(found.rmsep, 1), round(found.bias, 1), MODEL.training.components) == (48, D("4.7"), D("1.2"), 3)


def test_neither_sensor_alone_would_do() -> None:
    refractive = [D(str(s.inputs["refractive_index_excess"])) for s in TEST.samples]
    absorbance = [D(str(s.inputs["absorbance_280"])) for s in TEST.samples]
    reference = [s.reference for s in TEST.samples]
    for values in (refractive, absorbance):
        assert abs(_correlation(values, reference)) < D("0.6")


def _correlation(first: list[D], second: list[D]) -> D:
    n = len(first)
    one, two = sum(first) / n, sum(second) / n
    products = sum((a - one) * (b - two) for a, b in zip(first, second, strict=True))
    return products / (sum((a - one) ** 2 for a in first) * sum((b - two) ** 2 for b in second)).sqrt()


def test_a_film_on_the_window_gives_no_number_once_it_is_thick() -> None:
    draw = random.Random("film")
    clean = evaluate(MODEL, sample(draw, 30, 150, 20)["inputs"])  # type: ignore[arg-type]
    thick = evaluate(MODEL, sample(draw, 30, 150, 20, fouling=0.9)["inputs"])  # type: ignore[arg-type]
    assert isinstance(clean, Predicted) and isinstance(thick, Held)


def test_a_thin_film_is_found_by_reference_checks_and_by_the_drift_of_the_inputs() -> None:
    drifting = osmolality_data("film", 3, 12, fouling=0.06)
    residuals: list[D] = []
    signals: tuple[str, ...] = ()
    while not signals:
        checked = drifting.samples[len(residuals)]
        outcome = evaluate(MODEL, checked.named_inputs)
        assert isinstance(outcome, Predicted)
        residuals.append(EXACT.subtract(outcome.value, checked.reference))
        signals = residual_signals(MODEL, residuals)
    assert len(residuals) <= 4 and any("biased" in text or "CUSUM" in text for text in signals)
    healthy = [
        EXACT.subtract(outcome.value, checked.reference)
        for checked in TEST.samples[:20]
        if isinstance(outcome := evaluate(MODEL, checked.named_inputs), Predicted)
    ]
    assert all(residual_signals(MODEL, healthy[:n]) == () for n in range(1, len(healthy) + 1))


def test_inputs_that_move_to_the_edge_of_the_domain_are_seen_batch_by_batch() -> None:
    limit = MODEL.computation.t2_limit
    level, quiet = drift(MODEL, [D(3)] * 30)
    assert quiet == () and level == D(3)
    moved = [EXACT.multiply(limit, D("0.8"))] * 30
    first = next(n for n in range(1, 30) if drift(MODEL, moved[:n])[1])
    assert 2 < first < 10 and "drift away" in drift(MODEL, moved[:first])[1][0]
