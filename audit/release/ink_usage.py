"""What one run took from one cartridge, and how long it was at temperature, as the cell's trail shows it.

Pure. Volumes in µL, as commanded: what was printed and what was purged is known; of a unit that was given up only that it is between
nothing and its target. Times are of the process: UTC of the entries times the rate of the cell's clock.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from audit.canonical import JsonObject
from audit.events import EventKind
from audit.quantities import EXACT, plain_text, round_to
from audit.release.trail_view import TrailView, fold, number_of

_HOUR_S = Decimal(3600)
_MICROSECOND = timedelta(microseconds=1)
_JUDGED = frozenset({"accepted", "rejected"})


@dataclass(frozen=True, slots=True)
class Usage:
    """Volumes in µL, time in hours; `wasted` is the most that units which were given up can have taken."""

    run: str
    primed: Decimal
    purged: Decimal
    printed: Decimal
    wasted: Decimal
    warm: Decimal

    @property
    def least(self) -> Decimal:
        return EXACT.add(EXACT.add(self.primed, self.purged), self.printed)

    @property
    def most(self) -> Decimal:
        return EXACT.add(self.least, self.wasted)

    def as_record(self) -> JsonObject:
        figures = {"primed_uL": self.primed, "purged_uL": self.purged, "printed_uL": self.printed, "wasted_uL": self.wasted}
        return {
            "run": self.run,
            **{name: plain_text(round_to(value, 3)) for name, value in figures.items()},
            "warm_h": plain_text(round_to(self.warm, 4)),
        }


def usage_of(view: TrailView, run: str, *, head: int, heads: int, prime: Decimal) -> Usage:
    """Return what a run took from the cartridge in `head` (from 0) of `heads`; `prime` is the volume of one priming of it in µL."""
    action = "prime" if head == 0 else f"prime_{head + 1}"
    of_run = view.of("run", run)
    primings = sum(entry.kind == EventKind.RUN_ACTION_INTENDED and entry.new.get("action") == action for entry in of_run)
    units = [fold(found) for found in view.under("unit" if heads == 1 else "part", run).values()]
    if heads > 1:
        units = [unit for unit in units if unit.get("part") == head + 1]
    purges = [fold(found) for found in view.under("calibration", run).values()] if head == 0 else []
    printed, wasted = _volumes(units)
    purged, given_up = _volumes(purges)
    return Usage(run, EXACT.multiply(prime, primings), purged, printed, EXACT.add(wasted, given_up), _warm(view, run))


def _volumes(states: Iterable[JsonObject]) -> tuple[Decimal, Decimal]:
    known = unknown = Decimal(0)
    for state in states:
        commanded, target = number_of(state.get("commanded_uL")), number_of(state.get("target_volume_uL"))
        if state.get("verdict") in _JUDGED and commanded is not None:
            known = EXACT.add(known, commanded)
        else:
            unknown = EXACT.add(unknown, target or commanded or Decimal(0))
    return known, unknown


def _warm(view: TrailView, run: str) -> Decimal:
    """Hours from the first action of a run, which heats, to its end."""
    entries = view.of("run", run)
    begun = next((entry.at for entry in entries if entry.kind == EventKind.RUN_ACTION_INTENDED), None)
    if begun is None:
        return Decimal(0)
    seconds = datetime.fromisoformat(entries[-1].at) - datetime.fromisoformat(begun)
    rate = number_of(view.state("run", run).get("rate")) or Decimal(1)
    elapsed = EXACT.divide(Decimal(seconds // _MICROSECOND), Decimal(1_000_000))
    return EXACT.divide(EXACT.multiply(elapsed, rate), _HOUR_S)
