"""What the correction of the dose leaves of a flow error, over many seeds."""

from __future__ import annotations

import statistics

from flow_errors import batch

from tests.benchmarks import Row

SEEDS = range(1, 13)


def corrected_mean_error() -> list[Row]:
    """14 units, flow +4 % and +0.05 % a unit: how far the mean from the third unit on is off, worst of the seeds."""
    with_it = [batch(seed, corrected=True, flow=1.04, drift=0.0005) for seed in SEEDS]
    without = [batch(seed, corrected=False, flow=1.04, drift=0.0005) for seed in SEEDS]
    worst, plain = max(abs(b.mean_error) for b in with_it), statistics.mean(abs(b.mean_error) for b in without)
    ratio = max(mine.value / other.value for mine, other in zip(with_it, without, strict=True))
    setting = (
        f"the same without correction, mean of {len(SEEDS)} seeds; AV of all 14 units at most {max(b.value for b in with_it):.2f} with, "
        f"{statistics.mean(b.value for b in without):.2f} without, worst ratio {ratio:.2f}"
    )
    return [Row("cell.corrected_mean_error_percent", f"{worst:.2f}", "%", setting, f"{plain:.2f}", f"{worst / plain:.2f}")]
