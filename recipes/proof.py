"""The proof of a program as values: what each unit must be, what it was found to be, each limit with its margin."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from audit.canonical import JsonValue
from audit.quantities import EXACT, Microlitre, Milligram, plain_text


@dataclass(frozen=True, slots=True)
class UnitTarget:
    """What a unit or a purge unit must be: its number, strength (a purge unit has none), volume and place (mm, machine coordinates).

    Of a unit of two inks, what one `part` (1 or 2) must be; both have one number and one place.
    """

    n: int
    strength: Milligram | None
    volume: Microlitre
    x: Decimal
    y: Decimal
    part: int = 0

    @property
    def name(self) -> str:
        unit = f"unit {self.n}" if self.strength is not None else f"purge unit {self.n}"
        return f"{unit} part {self.part}" if self.part else unit


@dataclass(frozen=True, slots=True)
class UnitProof:
    """What a unit was found to be. `closure` and `step_closure` are deviations from the target in percent."""

    n: int
    strength: Milligram | None
    target: Microlitre
    net: Microlitre
    closure: Decimal
    step_closure: Decimal
    height: Decimal
    radius: Decimal
    layers: int
    layer_height: tuple[Decimal, Decimal] | None
    bead_width: tuple[Decimal, Decimal] | None
    flow: tuple[Decimal, Decimal]
    duration_us: int
    lines: int
    end: tuple[Decimal, ...]
    """Where the nozzle is when the section has ended: X, Y, Z in mm; empty where a coordinate is not known."""
    part: int = 0

    def as_record(self) -> dict[str, JsonValue]:
        """Return decimal strings; lengths in mm, volumes in uL, flow in uL/s."""
        return {
            "n": self.n,
            **({"part": self.part} if self.part else {}),
            "strength_mg": None if self.strength is None else self.strength.text,
            "target_uL": shown(self.target.value, 4),
            "net_uL": shown(self.net.value, 4),
            "closure_percent": shown(self.closure, 4),
            "step_closure_percent": shown(self.step_closure, 4),
            "height_mm": shown(self.height, 3),
            "radius_mm": shown(self.radius, 3),
            "layers": self.layers,
            "layer_height_mm": pair_text(self.layer_height, 3),
            "bead_width_mm": pair_text(self.bead_width, 3),
            "flow_uL_s": pair_text(self.flow, 3),
            "duration_s": shown(Decimal(self.duration_us).scaleb(-6), 1),
            "lines": self.lines,
            "end_mm": [shown(coordinate, 3) for coordinate in self.end],
        }


@dataclass(frozen=True, slots=True)
class Margin:
    """One limit with what was found, and the distance to the nearer end in percent of the range."""

    name: str
    unit: str
    low: Decimal
    high: Decimal
    found_low: Decimal
    found_high: Decimal

    @property
    def percent(self) -> Decimal:
        width = self.high - self.low
        if width == 0:
            return Decimal(0)
        return EXACT.divide(min(self.found_low - self.low, self.high - self.found_high) * 100, width)

    def as_record(self) -> dict[str, JsonValue]:
        """Return decimal strings."""
        found = pair_text((self.found_low, self.found_high), 3)
        return {
            "limit": self.name,
            "unit": self.unit,
            "range": [plain_text(self.low), plain_text(self.high)],
            "found": found,
            "margin_percent": shown(self.percent, 1),
        }


@dataclass(frozen=True, slots=True)
class Proof:
    """The outcome of reading a program. It holds where `refusals` is empty. `primed`: of each head that is used."""

    sha256: str
    lines: int
    units: tuple[UnitProof, ...]
    purges: tuple[UnitProof, ...]
    margins: tuple[Margin, ...]
    primed: tuple[Microlitre, ...]
    duration_us: int
    refusals: tuple[str, ...]

    @property
    def closure_max(self) -> Decimal:
        """Largest deviation of a unit's net volume from its target, in percent, without sign."""
        return max((abs(unit.closure) for unit in self.units), default=Decimal(0))

    @property
    def step_closure_max(self) -> Decimal:
        """The same after rounding to whole motor steps."""
        return max((abs(unit.step_closure) for unit in self.units), default=Decimal(0))

    def as_record(self) -> dict[str, JsonValue]:
        """Return the proof as text and numbers for the batch record (`proof.json`)."""
        return {
            "format": "dosewright-proof/1",
            "program_sha256": self.sha256,
            "holds": not self.refusals,
            "refusals": list(self.refusals),
            "lines": self.lines,
            "duration_s": shown(Decimal(self.duration_us).scaleb(-6), 1),
            "primed_uL": shown(self.primed[0].value, 3),
            **{f"primed_{head}_uL": shown(volume.value, 3) for head, volume in enumerate(self.primed[1:], start=2)},
            "closure_max_percent": shown(self.closure_max, 4),
            "step_closure_max_percent": shown(self.step_closure_max, 4),
            "margins": [margin.as_record() for margin in self.margins],
            "purge_units": [unit.as_record() for unit in self.purges],
            "units": [unit.as_record() for unit in self.units],
        }


def shown(value: Decimal, places: int) -> str:
    """Return a decimal rounded to be shown."""
    # Adding zero turns a negative zero into zero.
    return plain_text(EXACT.add(value.quantize(Decimal(1).scaleb(-places), context=EXACT), Decimal(0)))


def pair_text(pair: tuple[Decimal, Decimal] | None, places: int) -> list[JsonValue]:
    """Return both ends of what was found, rounded to be shown; nothing where nothing was found."""
    return [] if pair is None else [shown(pair[0], places), shown(pair[1], places)]
