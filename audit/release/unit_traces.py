"""Features of a printed unit with a physical meaning, from its sealed trace and the data of its run; pure, exact decimals.

`unit-trace/1`. While the plunger moves (from the first row with more commanded volume than the row before, to the last), the pressure says
how much really flows: at equal plunger speed a unit that takes more ink through the nozzle shows more pressure than its neighbours. The
level itself says how viscous the ink is, its spread whether air or a clog passed, the difference of the resting pressures how much was
left compressed.
Inputs of a model: nominal_mass (mg, plunger travel times certified density), excess_pressure (%, over the median of the run's units of the
same target), pressure (kPa), pressure_spread (%), rest_difference (kPa), nozzle (degC).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from audit.canonical import JsonObject
from audit.quantities import EXACT, QuantityError, decimal_from_text, plain_text, round_to
from audit.release.uniformity import mean, standard_deviation

HEADER = "t_s,pressure_kPa,nozzle_C,commanded_uL"
FEWEST_UNITS = 3
"""Units of one target in a run below which there is no median to compare with."""

_RESTING_ROWS = 20
_FEWEST_ROWS = 50
_PLACES = 4
_HUNDRED, _ONE = Decimal(100), Decimal(1)


class TraceUnreadable(ValueError):
    """A trace that is no trace, or too short to say anything."""


@dataclass(frozen=True, slots=True)
class TraceFigures:
    """What one trace says by itself: net plunger travel (µL), mean and standard deviation of the pressure while it moved (kPa), the
    difference of the resting pressures after and before (kPa), the mean temperature of the nozzle (°C)."""

    travel: Decimal
    pressure: Decimal
    pressure_sd: Decimal
    rest_difference: Decimal
    nozzle: Decimal


def read_trace(data: bytes) -> TraceFigures:
    """Read a sealed trace (CSV). Raises TraceUnreadable."""
    rows = _rows(data)
    volumes = [row[3] for row in rows]
    moving = [at for at in range(1, len(rows)) if volumes[at] > volumes[at - 1]]
    if not moving or moving[-1] - moving[0] < _FEWEST_ROWS or len(rows) < 2 * _RESTING_ROWS:
        raise TraceUnreadable("the plunger moved for less than half a second")
    pressures = [row[1] for row in rows]
    pushed = pressures[moving[0] : moving[-1] + 1]
    before, after = mean(pressures[:_RESTING_ROWS]), mean(pressures[-_RESTING_ROWS:])
    return TraceFigures(
        travel=EXACT.subtract(volumes[-1], volumes[0]),
        pressure=mean(pushed),
        pressure_sd=standard_deviation(pushed),
        rest_difference=EXACT.subtract(after, before),
        nozzle=mean([row[2] for row in rows[moving[0] : moving[-1] + 1]]),
    )


def _rows(data: bytes) -> list[tuple[Decimal, ...]]:
    try:
        lines = data.decode("ascii").split("\n")
        if lines[0] != HEADER or lines[-1] != "":
            raise TraceUnreadable("it does not begin with the names of its columns, or its last row is cut off")
        rows = [tuple(decimal_from_text(cell) for cell in line.split(",")) for line in lines[1:-1]]
    except (UnicodeDecodeError, QuantityError) as error:
        raise TraceUnreadable(f"a row cannot be read: {error}") from error
    if any(len(row) != 4 for row in rows):
        raise TraceUnreadable("a row has not four columns")
    return rows


def features(units: Mapping[str, tuple[TraceFigures, Decimal]], density: Decimal) -> dict[str, JsonObject]:
    """Return the inputs of each unit of a run by name; `units`: figures and target mass (mg), `density` of the ink certificate (g/mL).

    A unit with too few neighbours of the same target has no excess, so that a model that asks for it holds the unit.
    """
    found: dict[str, JsonObject] = {}
    for id_, (figures, target) in units.items():
        like = [other.pressure for other, its_target in units.values() if its_target == target]
        spread = EXACT.divide(EXACT.multiply(_HUNDRED, figures.pressure_sd), figures.pressure) if figures.pressure > 0 else _HUNDRED
        inputs: JsonObject = {
            "nominal_mass": _text(EXACT.multiply(figures.travel, density)),
            "pressure": _text(figures.pressure),
            "pressure_spread": _text(spread),
            "rest_difference": _text(figures.rest_difference),
            "nozzle": _text(figures.nozzle),
        }
        if len(like) >= FEWEST_UNITS and (middle := _median(like)) > 0:
            excess = EXACT.subtract(EXACT.divide(figures.pressure, middle), _ONE)
            inputs["excess_pressure"] = _text(EXACT.multiply(_HUNDRED, excess))
        found[id_] = inputs
    return found


def _median(values: Sequence[Decimal]) -> Decimal:
    ordered = sorted(values)
    half = len(ordered) // 2
    return ordered[half] if len(ordered) % 2 else EXACT.divide(EXACT.add(ordered[half - 1], ordered[half]), Decimal(2))


def _text(value: Decimal) -> str:
    return plain_text(round_to(value, _PLACES))
