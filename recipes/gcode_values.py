"""What the proof knows of a program: limits in, tallies out. Lengths are nanometres, feeds nanometres per minute, volumes attolitres."""

from __future__ import annotations

from dataclasses import dataclass, field

E_QUANTUM = 10
"""nm of E in the last decimal: an amount may differ by this much from its share, because rounding is carried forward."""

FEED_QUANTUM = 1000
"""nm/min of F in the last decimal."""

_SHOWN_REFUSALS = 25

SECTIONS_BEFORE = ("PREPARE", "HEAT", "HOME", "PRIME")
SECTIONS_AFTER = ("PARK", "HEAT OFF")


@dataclass(frozen=True, slots=True)
class Limits:
    """Every limit of one head as an integer in the units above. `low`/`high` pairs are proven acceptable ranges, ends included.

    `temperatures`: set points of this head's nozzle and of the plate. `offset`: where its nozzle stands against that of the first head.
    """

    area: int
    envelope: tuple[tuple[int, int], tuple[int, int], tuple[int, int]]
    flow: tuple[int, int]
    retraction: tuple[int, int]
    retraction_rate: tuple[int, int]
    prime: tuple[int, int]
    travel: tuple[int, int]
    z_travel: int
    print_feed: int
    volumetric_rate: int
    layer: tuple[int, int]
    lift: int
    surface_z: int
    exposure: int
    footprint: int
    park: tuple[int, int]
    purge: tuple[int, int, int]
    temperatures: tuple[int, int]
    dispense: bool
    unknown: frozenset[str]
    """Codes that the machine's firmware does not know: an `ok` for one of them would say nothing."""
    offset: tuple[int, int, int] = (0, 0, 0)


@dataclass(slots=True)
class LayerTally:
    """One layer as read: nozzle height, thickness, length of bead, volume."""

    z: int
    thickness: int
    length: int = 0
    volume: int = 0


@dataclass(slots=True)
class SectionTally:
    """What a section does, added up. For a unit and a purge unit, `n` is its number and (x, y) its place on the plate.

    `part` is 1 or 2 in a unit of two inks; `base` the height that it stands on; `selected`: it has taken its head into use.
    """

    name: str
    n: int = 0
    purge: bool = False
    part: int = 0
    base: int = 0
    selected: bool = False
    x: int = 0
    y: int = 0
    net: int = 0
    deposited: int = 0
    time_us: int = 0
    lines: int = 0
    moves: int = 0
    layers: list[LayerTally] = field(default_factory=list)
    radius_squared: int = 0
    slowest: int | None = None
    fastest: int = 0
    retracted_at_start: int = 0
    waited: bool = False
    end: tuple[int | None, int | None, int | None] = (None, None, None)
    temperatures: list[str] = field(default_factory=list)

    def rate_seen(self, slowest: int, fastest: int) -> None:
        """Widen the range of flow found, in aL/min."""
        self.slowest = slowest if self.slowest is None else min(self.slowest, slowest)
        self.fastest = max(self.fastest, fastest)

    @property
    def primes(self) -> bool:
        return self.name.startswith("PRIME")

    @property
    def head(self) -> int:
        """Which head it is for, from 0, where the machine has several."""
        return 1 if self.part == 2 or self.name == "PRIME 2" else 0


@dataclass(slots=True)
class Refusals:
    """What is refused, by line. The reader sets `line` and `where` as it goes; a reason that repeats is said once."""

    line: int = 0
    where: str = ""
    _found: list[tuple[str, str, int, int]] = field(default_factory=list)

    def refuse(self, reason: str) -> None:
        """Refuse the line at hand."""
        if self._found and self._found[-1][:2] == (self.where, reason):
            self._found[-1] = (self.where, reason, self._found[-1][2], self.line)
        else:
            self._found.append((self.where, reason, self.line, self.line))

    @property
    def texts(self) -> list[str]:
        """One reason with its lines after another, the first ones in full."""
        said = []
        for where, reason, first, last in self._found[:_SHOWN_REFUSALS]:
            lines = f"line {first}" if first == last else f"lines {first} to {last}"
            said.append(f"{lines}{where}: {reason}")
        if len(self._found) > _SHOWN_REFUSALS:
            said.append(f"and {len(self._found) - _SHOWN_REFUSALS} more")
        return said


def sections_before(heads: int) -> tuple[str, ...]:
    """Return the sections before the units, in order: each of several heads is primed."""
    return SECTIONS_BEFORE if heads == 1 else (*SECTIONS_BEFORE[:-1], *(f"PRIME {head}" for head in range(1, heads + 1)))


def nanometres(text: str) -> int:
    """Read a decimal number (mm, or mm/min) as millionths, exactly."""
    whole, _, fraction = text.partition(".")
    return int(whole + fraction.ljust(6, "0"))
