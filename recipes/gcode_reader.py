"""Reading G-code for the proof: an own parser and an own machine model, in integers.

Nothing here is shared with the writer. Lengths are nanometres, feeds nanometres per minute, volumes attolitres
(1 µL = 10^12 aL, the product of nanometres of E and millionths of a mm²). What the closed grammar does not know is refused,
line by line; what a line would do is judged against `Limits` before the model takes it as done.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from math import isqrt

LONGEST_LINE = 96
"""Marlin drops what exceeds MAX_CMD_SIZE without a word."""

SECTIONS_BEFORE = ("PREPARE", "HEAT", "HOME", "PRIME")
SECTIONS_AFTER = ("PARK", "HEAT OFF")
E_QUANTUM = 10
"""nm of E in the last decimal: an amount may differ by this much from its share, because rounding is carried forward."""

FEED_QUANTUM = 1000
_SHOWN_REFUSALS = 25
_SAME_PLACE = 1000
_MINUTE_US = 60_000_000

_NUMBER = r"(-?[0-9]{1,6}\.[0-9]{1,%d})"
_MOVE = re.compile(
    "G([01])" + "".join(rf"(?: {axis}{_NUMBER % places})?" for axis, places in (("X", 3), ("Y", 3), ("Z", 3), ("E", 5), ("F", 3)))
)
_TEMPERATURE = re.compile(r"M(104|140)(?: T([01]))? S([0-9]{1,3}(?:\.[0-9]{1,3})?)")
_OFFSET = re.compile(rf"M218 T1 X{_NUMBER % 3} Y{_NUMBER % 3} Z{_NUMBER % 3}")
_HEAD = re.compile(r"T([01])")
_OPENING = re.compile(r"(UNIT|PURGE) ([1-9][0-9]{0,3})(?: PART ([12]))?")

_NEEDED = frozenset({"G21", "G90", "M83", "G28"})
_ONCE = {"G21": "PREPARE", "G90": "PREPARE", "M83": "PREPARE", "M155 S1": "PREPARE", "G28": "HOME"}


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

    @property
    def primes(self) -> bool:
        return self.name.startswith("PRIME")

    @property
    def head(self) -> int:
        """Which head it is for, from 0, where the machine has several."""
        return 1 if self.part == 2 or self.name == "PRIME 2" else 0


def sections_before(heads: int) -> tuple[str, ...]:
    """Return the sections before the units, in order: each of several heads is primed."""
    return SECTIONS_BEFORE if heads == 1 else (*SECTIONS_BEFORE[:-1], *(f"PRIME {head}" for head in range(1, heads + 1)))


def nanometres(text: str) -> int:
    """Read a decimal number (mm, or mm/min) as millionths, exactly."""
    whole, _, fraction = text.partition(".")
    return int(whole + fraction.ljust(6, "0"))


class ProgramReader:
    """Read a program once, from first to last line; afterwards `sections` and `refusals` say what was found.

    Lifetime: one program. Concurrency: none.
    """

    def __init__(
        self, heads: tuple[Limits, ...], places: tuple[tuple[int, int], ...], purge_places: tuple[tuple[int, int], ...] = ()
    ) -> None:
        """`heads`: the limits of each head of the machine that is used; `places` one for each unit, whatever the number of its parts."""
        self.heads = heads
        self.limits = heads[0]
        self.places = places
        self.purge_places = purge_places
        self.header: list[str] = []
        self.sections: list[SectionTally] = []
        self._refused: list[tuple[str, str, int, int]] = []
        self.lines = 0
        self.reach: list[tuple[int, int] | None] = [None, None, None]
        self._at: list[int | None] = [None, None, None]
        self._feed: int | None = None
        self._in_use = 0
        self._changing = False
        self._held = [0] * len(heads)
        self._tops: dict[int, int] = {}
        self._before = sections_before(len(heads))
        self._needed = _NEEDED if len(heads) == 1 else _NEEDED | {"M218"}
        self._top = heads[0].surface_z
        self._was_near = False
        self._section: SectionTally | None = None
        self._done: set[str] = set()
        self._ready = False

    def read(self, content: bytes) -> None:
        """Read all lines; every line ends with a newline, and there is nothing but ASCII."""
        if not content.isascii() or not content.endswith(b"\n"):
            self._refuse("the file is not ASCII or does not end with a line end")
        for text in content.decode("ascii", errors="replace").split("\n")[:-1]:
            self.lines += 1
            move = _MOVE.fullmatch(text)
            if move is not None:
                self._move(*move.groups())
            elif text.startswith(";"):
                self._comment(text[1:])
            else:
                self._command(text)
            if len(text) > LONGEST_LINE:
                self._refuse(f"the line has {len(text)} bytes; a printer takes {LONGEST_LINE}")
        if self._section is not None:
            self._refuse(f"{self._section.name} is never closed")

    @property
    def refusals(self) -> list[str]:
        """What was refused, one reason with its lines after another; a reason that repeats is said once."""
        said = []
        for where, reason, first, last in self._refused[:_SHOWN_REFUSALS]:
            lines = f"line {first}" if first == last else f"lines {first} to {last}"
            said.append(f"{lines}{where}: {reason}")
        if len(self._refused) > _SHOWN_REFUSALS:
            said.append(f"and {len(self._refused) - _SHOWN_REFUSALS} more")
        return said

    def _refuse(self, reason: str) -> None:
        where = f" in {self._section.name}" if self._section else ""
        if self._refused and self._refused[-1][:2] == (where, reason):
            self._refused[-1] = (where, reason, self._refused[-1][2], self.lines)
        else:
            self._refused.append((where, reason, self.lines, self.lines))

    @property
    def _retracted(self) -> int:
        """How far the head in use is retracted; each head stays as it was left."""
        return self._held[self._in_use]

    # comments

    def _comment(self, text: str) -> None:
        if text.startswith("END "):
            self._close(text[4:])
        elif text in self._before or text in SECTIONS_AFTER:
            self._open(SectionTally(text))
        elif opening := _OPENING.fullmatch(text):
            self._open_unit(text, int(opening[2]), purge=opening[1] == "PURGE", part=int(opening[3] or 0))
        elif self.sections or self._section:
            self._refuse(f"the comment {text[:40]!r} is not one of the format")
        else:
            self.header.append(text)

    def _open_unit(self, name: str, n: int, *, purge: bool, part: int) -> None:
        places = self.purge_places if purge else self.places
        base = self.limits.surface_z
        if part == 2:
            if n not in self._tops:
                self._refuse(f"{name.lower()} has no first part to stand on")
            base = self._tops.get(n, base)
        x, y = places[n - 1] if n <= len(places) else (0, 0)
        if n > len(places):
            self._refuse(f"{name.lower()} is more than the {len(places)} ordered")
        self._open(SectionTally(name, n=n, purge=purge, part=part, base=base, x=x, y=y, retracted_at_start=self._retracted))

    def _open(self, section: SectionTally) -> None:
        if self._section is not None:
            self._refuse(f"{section.name} begins inside it")
        self._section = section
        self._feed = None

    def _close(self, name: str) -> None:
        section = self._section
        if section is None or section.name != name:
            self._refuse(f"END {name[:40]} closes nothing")
            return
        if len(self.heads) > 1 and (section.n or section.primes) and not section.selected:
            self._refuse("it never takes its head into use")
        if section.moves:
            if not section.waited:
                self._refuse("motion is not waited for: the last command must be M400")
            if self._at[0] != self.limits.park[0] or self._at[1] != self.limits.park[1]:
                self._refuse("it does not end at the park position")
        least, most = self.limits.retraction
        held, slack = self._retracted * self.limits.area, E_QUANTUM * self.limits.area
        if (section.n or section.primes) and not least - slack <= held <= most + slack:
            self._refuse(f"{held / 1e12:.2f} uL are retracted at its end, outside the range")
        if section.n and self._retracted != section.retracted_at_start:
            self._refuse("retraction is not balanced: it must end as far retracted as it began")
        if section.layers:
            self._top = max(self._top, section.layers[-1].z)
            if section.part == 1:
                self._tops[section.n] = section.layers[-1].z
        section.end = (self._at[0], self._at[1], self._at[2])
        self.sections.append(section)
        self._section = None

    # commands other than moves

    def _command(self, text: str) -> None:
        section = self._section
        if section is None:
            self._refuse(f"the command {text[:40]!r} stands outside every section")
            return
        section.lines += 1
        if text.partition(" ")[0] in self.limits.unknown:
            self._refuse(f"{text} is not known to the firmware of this machine")
        elif text == "M400":
            section.waited = True
            self._changing = False
        elif self._changing:
            self._refuse("a command before the change of head is waited for")
        elif len(self.heads) > 1 and (head := _HEAD.fullmatch(text)):
            self._select(section, int(head[1]))
        elif len(self.heads) > 1 and (offset := _OFFSET.fullmatch(text)):
            self._offset(section, (nanometres(offset[1]), nanometres(offset[2]), nanometres(offset[3])))
        elif text in _ONCE:
            if section.name != _ONCE[text] or text in self._done:
                self._refuse(f"{text} belongs once into {_ONCE[text]}")
            self._done.add(text)
            self._ready = self._done >= self._needed
            if text == "G28":
                self._at = [None, None, None]
        elif heat := _TEMPERATURE.fullmatch(text):
            self._temperature(section, heat[1], heat[2], nanometres(heat[3]))
        else:
            self._refuse(f"the command {text[:40]!r} is not one of the closed set")

    def _temperature(self, section: SectionTally, code: str, head: str | None, value: int) -> None:
        nozzle, plate = self.heads[min(int(head or 0), len(self.heads) - 1)].temperatures
        wanted = {"HEAT": nozzle if code == "104" else plate, "HEAT OFF": 0}.get(section.name)
        if wanted is None or wanted != value:
            self._refuse(f"M{code} sets {value / 1_000_000:g} degC, which is not the recipe's set point at this place")
        section.temperatures.append(code if head is None else f"{code} T{head}")

    def _offset(self, section: SectionTally, offset: tuple[int, int, int]) -> None:
        if section.name != "PREPARE" or "M218" in self._done:
            self._refuse("M218 belongs once into PREPARE")
        if offset != self.heads[1].offset:
            self._refuse("M218 states another offset of the second head than the machine profile")
        self._done.add("M218")

    def _select(self, section: SectionTally, head: int) -> None:
        """Take a head into use. The firmware puts its nozzle where the last one's was, so that positions stay."""
        if not (section.n or section.primes) or section.selected or section.net:
            self._refuse("a head is taken into use once in each unit and priming, before material moves, and nowhere else")
        if head != section.head:
            self._refuse(f"it takes head T{head} into use, and is for T{section.head}")
        if self._at[:2] != [*self.limits.park] or (self._at[2] or 0) < self._top + self.limits.lift:
            self._refuse("a head is changed away from the park position or below the clear height")
        self._in_use, self.limits = head, self.heads[head]
        self._feed, self._changing = None, True
        section.selected, section.waited, section.retracted_at_start = True, False, self._retracted

    # moves

    def _move(self, kind: str, *words: str | None) -> None:
        section = self._section
        if section is None:
            self._refuse("motion outside every section")
            return
        section.lines += 1
        section.moves += 1
        section.waited = False
        x, y, z, e, f = (None if word is None else nanometres(word) for word in words)
        if f is not None:
            self._feed = f
        if not self._feed or self._feed < 0:
            self._refuse("no feed rate in force; each section states its own")
            return
        if not self._ready:
            self._refuse("motion before G21, G90, M83 and G28" + (" and M218" if "M218" in self._needed else ""))
        if self._changing:
            self._refuse("motion before the change of head is waited for")
        if e is not None and len(self.heads) > 1 and not section.selected:
            self._refuse("material moves before the section has taken its head into use")
        across = x is not None or y is not None
        if e is None:
            if across and z is not None:
                self._refuse("a travel goes up or across, not both at once")
            if z is not None:
                self._raise(section, z)
            if across:
                self._travel(section, x, y)
        elif kind == "0" or z is not None:
            self._refuse("E moves on G0, or together with Z")
        elif across:
            self._extrude(section, x, y, e)
        else:
            self._pump(section, e)

    def _inside(self, axis: int, value: int) -> None:
        low, high = self.limits.envelope[axis]
        if not low <= value <= high:
            self._refuse(f"{'XYZ'[axis]} {value / 1_000_000:.3f} leaves the envelope {low / 1_000_000:g} to {high / 1_000_000:g} mm")
        reach = self.reach[axis] or (value, value)
        self.reach[axis] = (min(reach[0], value), max(reach[1], value))

    def _clear(self, section: SectionTally) -> int:
        """The lowest height at which the nozzle may go across the plate."""
        own = section.layers[-1].z if section.layers else max(section.base, self.limits.surface_z)
        return max(self._top, own) + self.limits.lift

    def _near(self, section: SectionTally, x: int | None, y: int | None) -> bool:
        """Say whether a point lies on the place where this section may go down."""
        if x is None or y is None:
            return False
        if section.n:
            dx, dy = x - section.x, y - section.y
            reach = _SAME_PLACE if self.limits.dispense else self.limits.footprint
            return dx * dx + dy * dy <= reach * reach
        purge = self.limits.purge
        return section.primes and (x, y) == purge[:2]

    def _raise(self, section: SectionTally, z: int) -> None:
        self._inside(2, z)
        feed = self._feed or 1
        if feed > self.limits.z_travel:
            self._refuse(f"Z moves at {feed / _MINUTE_US:.1f} mm/s, above the machine's limit")
        old = self._at[2]
        if z < self._clear(section) and not self._near(section, self._at[0], self._at[1]):
            self._refuse("Z goes below the clear height away from its own place")
        ground = self.limits.purge[2] if section.primes else max(section.base, self.limits.surface_z)
        floor = section.layers[-1].z if section.layers else ground
        if z < floor:
            self._refuse("Z goes down into what is printed or into the plate")
        section.time_us += 0 if old is None else abs(z - old) * _MINUTE_US // feed
        self._at[2] = z

    def _travel(self, section: SectionTally, x: int | None, y: int | None) -> None:
        feed = self._feed or 1
        low, high = self.limits.travel
        if not low - FEED_QUANTUM <= feed <= high:
            self._refuse(f"travel at {feed / _MINUTE_US:.1f} mm/s leaves its range")
        z = self._at[2]
        length = self._go(x, y)
        target_near = self._near(section, self._at[0], self._at[1])
        if z is None:
            self._refuse("travel at an unknown height")
        elif z < self._clear(section) and not (section.layers and self._was_near and target_near and z >= section.layers[-1].z):
            self._refuse("travel below the clear height")
        section.time_us += length * _MINUTE_US // feed

    def _go(self, x: int | None, y: int | None) -> int:
        """Take the nozzle to x, y; return the distance, 0 where it was unknown."""
        old_x, old_y = self._at[0], self._at[1]
        if self._section is not None:
            self._was_near = self._near(self._section, old_x, old_y)
        if x is not None:
            self._inside(0, x)
            self._at[0] = x
        if y is not None:
            self._inside(1, y)
            self._at[1] = y
        new_x, new_y = self._at[0], self._at[1]
        if old_x is None or old_y is None or new_x is None or new_y is None:
            return 0
        dx, dy = new_x - old_x, new_y - old_y
        return isqrt(dx * dx + dy * dy)

    def _extrude(self, section: SectionTally, x: int | None, y: int | None, e: int) -> None:
        limits, feed = self.limits, self._feed or 1
        if not section.n or limits.dispense or self._at[0] is None or self._at[1] is None or self._at[2] is None:
            self._refuse("material is laid down outside a printed unit or from an unknown place")
            return
        if self._retracted:
            self._refuse("material is laid down while retracted: the un-retraction is missing")
        length = self._go(x, y)
        if not self._was_near or not self._near(section, self._at[0], self._at[1]):
            self._refuse("material is laid down outside the unit's own place")
        layer = self._layer(section, self._at[2])
        volume = e * limits.area
        if e < 0 or not length:
            self._refuse("an extruding move goes nowhere or takes material back")
            return
        layer.length += length
        layer.volume += volume
        section.deposited += e
        self._rate(section, volume, length, feed, E_QUANTUM * limits.area)
        if feed > limits.print_feed:
            self._refuse(f"printing at {feed / _MINUTE_US:.1f} mm/s is above the machine's limit")
        self._count(section, e, length * _MINUTE_US // feed)
        dx, dy = (self._at[0] or 0) - section.x, (self._at[1] or 0) - section.y
        section.radius_squared = max(section.radius_squared, dx * dx + dy * dy)

    def _layer(self, section: SectionTally, z: int) -> LayerTally:
        layers = section.layers
        if layers and layers[-1].z == z:
            return layers[-1]
        thickness = z - (layers[-1].z if layers else section.base)
        low, high = self.limits.layer
        if not low <= thickness <= high:
            self._refuse(f"layer {len(layers) + 1} is {thickness / 1_000_000:.3f} mm high, outside {low / 1e6:g} to {high / 1e6:g} mm")
        layers.append(LayerTally(z, thickness))
        return layers[-1]

    def _rate(self, section: SectionTally, volume: int, length: int, feed: int, slack: int) -> None:
        low, high = self.limits.flow
        too_fast = (volume - slack) * feed > min(high, self.limits.volumetric_rate) * length
        if too_fast or (volume + slack) * (feed + FEED_QUANTUM) < low * length:
            self._refuse(f"the flow is {volume * feed / length / 6e13:.2f} uL/s, outside {low / 6e13:g} to {high / 6e13:g} uL/s")
        rate = volume * feed // length
        section.fastest = max(section.fastest, rate)
        section.slowest = rate if section.slowest is None or rate < section.slowest else section.slowest

    def _count(self, section: SectionTally, e: int, time_us: int) -> None:
        if abs(e) * self.limits.area > self.limits.exposure:
            self._refuse("one line moves more than the bounded exposure")
        section.net += e
        section.time_us += time_us

    def _pump(self, section: SectionTally, e: int) -> None:
        """Move E alone: retraction, un-retraction of what was retracted, or a dispensed increment."""
        if not (section.n or section.primes):
            self._refuse("E moves outside a unit and outside priming")
        if e < 0 or self._retracted > 0:
            self._retract(section, e)
            return
        if section.n and not self.limits.dispense:
            self._refuse("E alone lays material down in a printed unit")
        wanted_z = self.limits.purge[2] if section.primes else self.limits.surface_z
        if self._at[2] != wanted_z or not self._near(section, self._at[0], self._at[1]):
            self._refuse("material is dispensed away from its place")
        feed = self._feed or 1
        section.deposited += e
        self._rate(section, e * self.limits.area, e or 1, feed, 0)
        self._count(section, e, e * _MINUTE_US // feed)

    def _retract(self, section: SectionTally, e: int) -> None:
        limits, feed = self.limits, self._feed or 1
        low, high = limits.retraction_rate
        if limits.area * (feed + FEED_QUANTUM) < low or limits.area * feed > min(high, limits.volumetric_rate):
            self._refuse(f"retraction at {limits.area * feed / 6e13:.2f} uL/s leaves its range")
        if e > self._retracted:
            self._refuse("more is un-retracted than was retracted")
        self._held[self._in_use] = max(0, self._retracted - e)
        self._count(section, e, abs(e) * _MINUTE_US // feed)
