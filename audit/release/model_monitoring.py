"""A process model in use is watched: residuals of reference checks on EWMA and CUSUM charts, and the drift of its inputs; pure.

A reference check compares a prediction with the reference method. A signal suspends the model until people have looked: batches that need
it are held. The charts are those of `trends`; the standard deviation is the one stated with the model.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from audit.quantities import EXACT, plain_text, round_to
from audit.release.process_models import ModelDefinition
from audit.release.trends import cusum, ewma

_PLACES = 4


def residual_signals(model: ModelDefinition, residuals: Sequence[Decimal]) -> tuple[str, ...]:
    """Return what the last of the residuals (prediction − reference, oldest first) signals; empty where it signals nothing."""
    plan, sd = model.plan.monitoring, model.computation.residual_sd
    if not residuals:
        return ()
    zero, last = Decimal(0), len(residuals) - 1
    found = []
    chart = ewma(residuals, zero, sd, weight=plan.ewma_weight, width=plan.ewma_width)
    unit = model.plan.output.unit
    if last in chart.outside:
        limit = _shown(chart.upper[last])
        found.append(f"EWMA of the residual {_shown(chart.values[last])} {unit} is beyond ± {limit} {unit}: the model is biased")
    sums = cusum(residuals, zero, slack=EXACT.multiply(plan.cusum_slack, sd), decision=EXACT.multiply(plan.cusum_decision, sd))
    if last in sums.outside:
        found.append(f"CUSUM of the residual {_shown(max(sums.high[last], sums.low[last]))} {unit} is above {_shown(sums.decision)} {unit}")
    return tuple(found)


def drift(model: ModelDefinition, mean_t2: Sequence[Decimal]) -> tuple[Decimal, tuple[str, ...]]:
    """Return the EWMA of the batches' mean T² (oldest first), begun at its expected value A, and what it signals of the inputs.

    T² above its limit is held unit by unit; this sees inputs that move within the domain towards its edge.
    """
    plan, value = model.plan.monitoring, Decimal(model.training.components)
    rest = EXACT.subtract(Decimal(1), plan.ewma_weight)
    for t2 in mean_t2:
        value = EXACT.fma(plan.ewma_weight, t2, EXACT.multiply(rest, value))
    limit = EXACT.multiply(plan.drift_share, model.computation.t2_limit)
    if value <= limit:
        return value, ()
    return value, (f"EWMA of T² {_shown(value)} is above {_shown(limit)}: the inputs drift away from the training data",)


def _shown(value: Decimal) -> str:
    return plain_text(round_to(value, _PLACES))
