"""Figures of the wire: streaming beside the field's hosts, and how soon a stop is on the wire."""

from __future__ import annotations

import os

from tests.benchmarks import Row
from tests.benchmarks.stop import TRIALS, measure
from tests.peers.streaming import LINES, Streamed, stream_all


def streaming() -> list[Row]:
    """Stream the same 20,000 lines from three hosts to the same responder; CPU of the host process only."""
    ours, peers = stream_all()
    measured = {name: found for name, found in peers.items() if isinstance(found, Streamed)}
    missing = [f"{name}: not run, {found}" for name, found in peers.items() if isinstance(found, str)]

    def peer_text(figures: dict[str, str]) -> str:
        return "; ".join([*(f"{name} {figure}" for name, figure in figures.items()), *missing])

    rates = {name: found.lines_per_s for name, found in measured.items()}
    costs = {name: found.cpu_s_per_1000 for name, found in measured.items()}
    best_rate, best_cost = max(rates.values(), default=None), min(costs.values(), default=None)
    setting = f"{LINES} lines, wire log on, {ours.window} in flight"
    return [
        Row(
            "link.stream_lines_per_s",
            f"{ours.lines_per_s:.0f}",
            "1/s",
            f"{setting}; {peer_text({name: f'{rate:.0f}' for name, rate in rates.items()})}; target at least 3 times",
            None if best_rate is None else f"{best_rate:.0f}",
            None if best_rate is None else f"{ours.lines_per_s / best_rate:.1f}",
        ),
        Row(
            "link.cpu_s_per_1000_lines",
            f"{ours.cpu_s_per_1000:.4f}",
            "s",
            f"{setting}; {peer_text({name: f'{cost:.4f}' for name, cost in costs.items()})}; target at most a third",
            None if best_cost is None else f"{best_cost:.4f}",
            None if best_cost is None else f"{ours.cpu_s_per_1000 / best_cost:.3f}",
        ),
    ]


def stop_latency() -> list[Row]:
    """From the last byte of a pressure line that crosses its limit to the first byte of the stop; the run machine decides."""
    return [_stop_row("link.stop_idle_p99_ms", "1", load=False), _stop_row("link.stop_load_p99_ms", "10", load=True)]


def _stop_row(name: str, target: str, *, load: bool) -> Row:
    bare, reading, stalled = measure(load=load, bare=True), measure(load=load), measure(load=load, stalled=True)
    value = max(reading.p99_ms, stalled.p99_ms)
    others = f"load average {os.getloadavg()[0]:.1f} at the end"
    text = f"bare reader thread and queue: {bare.text}; ours, {TRIALS} trials: {reading.text}; printer not reading: {stalled.text}"
    return Row(name, f"{value:.3f}", "ms", f"{text}; {others}; target {target} ms", f"{bare.p99_ms:.3f}", f"{value / bare.p99_ms:.2f}")
