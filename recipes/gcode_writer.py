"""G-code writer: strokes and increments become lines, the rounding of E carried from line to line.

E is relative (M83) and written with five decimals. Each line's E is the difference of two rounded cumulative amounts, so
that the lines of a unit add up to its target within half of 0.00001 mm, however many they are. Un-retraction and
retraction are equal and lie inside the unit's brackets. Feed rates are rounded down, never up.

Every unit, and priming, begins by lifting to the clear height (above the tallest unit) and ends lifted, at the park
position, with M400. The format is described in docs/gcode.md; the proof of the bytes is in `gcode_check`, which does not
use this file.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Literal

from audit.quantities import Celsius, Microlitre, MicrolitrePerSecond, MillimetrePerSecond, SquareMillimetre
from recipes.strokes import XY, UnitPath

ProcedureName = Literal["prepare", "heat", "home", "prime", "prime_2", "park", "heat_off"]

E_TICKS = 100_000
"""Ticks of 0.00001 mm in one mm of E."""

_SECTION: dict[ProcedureName, str] = {
    "prepare": "PREPARE",
    "heat": "HEAT",
    "home": "HOME",
    "prime": "PRIME",
    "prime_2": "PRIME 2",
    "park": "PARK",
    "heat_off": "HEAT OFF",
}


@dataclass(frozen=True, slots=True)
class Motion:
    """What the writer needs of recipe and machine. Positions in µm, machine coordinates.

    `tool`: the head that each section takes into use before all else; None on a machine with one head. `surface_z` is where a
    section's material begins: the plate, or the top of the part below.
    """

    e_area: SquareMillimetre
    flow: MicrolitrePerSecond
    travel: MillimetrePerSecond
    z_travel: MillimetrePerSecond
    print_limit: MillimetrePerSecond
    retraction: Microlitre
    retraction_rate: MicrolitrePerSecond
    increment: Microlitre
    surface_z: int
    clear_z: int
    park: tuple[int, int, int]
    purge: tuple[int, int, int]
    tool: int | None = None


@dataclass(frozen=True, slots=True)
class Written:
    """One bracketed section: its bytes, its commands without comments, and net nanolitres after each command."""

    gcode: bytes
    commands: tuple[bytes, ...]
    cumulative_nl: tuple[int, ...]


def write_preamble(*, recipe: str, machine: str, e_areas: Sequence[SquareMillimetre], demonstration: bool) -> bytes:
    """Write the header: comments only. `recipe` and `machine` are `id@version digest`; `e_areas` has one value for each head."""
    lines = ["DOSEWRIGHT 1", f"RECIPE {recipe}", f"MACHINE {machine}", f"E_AREA_MM2 {' '.join(area.text for area in e_areas)}"]
    if demonstration:
        lines.append("DEMONSTRATION not for patients")
    return "".join(f";{line}\n" for line in lines).encode("ascii")


def write_unit(section: str, path: UnitPath, centre: XY, motion: Motion) -> Written:
    """Write a printed unit at a centre (µm): un-retract, layers, retract, each layer at the speed that its bead needs."""
    out = _Lines(motion)
    first = path.layers[0]
    x0, y0 = first.strokes[0].points[0]
    out.select()
    out.enter(centre[0] + x0, centre[1] + y0, motion.surface_z + first.z)
    out.unretract()
    laid = Fraction(0)
    per_ul = out.per_ul
    done = 0
    for layer in path.layers:
        out.lift(motion.surface_z + layer.z)
        speed = min(float(motion.flow.value) / layer.bead_area, float(motion.print_limit.value))
        feed = math.floor(speed * 60_000)
        base = float(laid * per_ul)
        scale = float(layer.volume * per_ul) / layer.length
        laid += layer.volume
        last = round(laid * per_ul)
        walked = 0.0
        for stroke in layer.strokes:
            out.travel(centre[0] + stroke.points[0][0], centre[1] + stroke.points[0][1])
            before = stroke.points[0]
            for point in stroke.points[1:]:
                walked += math.dist(before, point) / 1000
                before = point
                upto = min(round(base + walked * scale), last)
                out.extrude(centre[0] + point[0], centre[1] + point[1], upto - done, feed)
                done = upto
        out.settle_rounding(last - done)
        done = last
    out.retract()
    out.leave()
    return out.bracketed(section)


def write_dispense(section: str, increments: Iterable[Fraction], centre: XY, motion: Motion) -> Written:
    """Write a dispensed unit: un-retract, the increments, retract, all at one place. Increments in µL, exact."""
    out = _Lines(motion)
    out.enter(centre[0], centre[1], motion.surface_z)
    out.unretract()
    out.pump_all(increments)
    out.retract()
    out.leave()
    return out.bracketed(section)


def write_prime(increments: Iterable[Fraction], motion: Motion) -> Written:
    """Write priming at the purge position of the head; it ends retracted, as every unit does."""
    out = _Lines(motion)
    if motion.tool is not None:
        # A head is changed where nothing stands, and above all that will stand.
        out.lift(motion.clear_z)
        out.travel(motion.park[0], motion.park[1])
        out.select()
    out.enter(*motion.purge)
    out.pump_all(increments)
    out.retract()
    out.leave()
    return out.bracketed("PRIME" if motion.tool is None else f"PRIME {motion.tool + 1}")


def write_park(motion: Motion) -> Written:
    """Write the way to the park position: up first, then across."""
    out = _Lines(motion)
    out.lift(max(motion.clear_z, motion.park[2]))
    out.travel(motion.park[0], motion.park[1])
    out.command("M400")
    return out.bracketed(_SECTION["park"])


def write_commands(name: ProcedureName, commands: Iterable[str], motion: Motion) -> Written:
    """Write a procedure without motion of ours."""
    out = _Lines(motion)
    for text in commands:
        out.command(text)
    return out.bracketed(_SECTION[name])


def heat_commands(nozzles: Sequence[Celsius], plate: Celsius) -> tuple[str, ...]:
    """Set points without waiting: the run machine watches the reports with its own limits. One nozzle for each head."""
    if len(nozzles) == 1:
        return f"M104 S{_plain(nozzles[0].value)}", f"M140 S{_plain(plate.value)}"
    return (*(f"M104 T{tool} S{_plain(nozzle.value)}" for tool, nozzle in enumerate(nozzles)), f"M140 S{_plain(plate.value)}")


def offset_command(tool: int, offset: tuple[int, int, int]) -> str:
    """Where the nozzle of a further head stands against that of the first, in µm: stated anew in every run."""
    x, y, z = offset
    return f"M218 T{tool} X{_mm(x)} Y{_mm(y)} Z{_mm(z)}"


class _Lines:
    """Lines of one section. Feed rate is modal in G-code; here each section states it anew."""

    def __init__(self, motion: Motion) -> None:
        self._motion = motion
        self._commands: list[str] = []
        self._ticks_after: list[int] = []
        self._net = 0
        self.per_ul = Fraction(E_TICKS) / Fraction(motion.e_area.value)
        self._feed: int | None = None
        self._xy: XY | None = None
        self._z: int | None = None
        self._travel_feed = _feed(motion.travel)
        self._z_feed = _feed(motion.z_travel)

    def command(self, text: str) -> None:
        self._commands.append(text)
        self._ticks_after.append(self._net)

    def select(self) -> None:
        """Take the section's head into use, where the machine has several, and wait until it is."""
        if self._motion.tool is not None:
            self.command(f"T{self._motion.tool}")
            self.command("M400")
            self._feed = None

    def enter(self, x: int, y: int, z: int) -> None:
        """Lift, go across, lower."""
        self.lift(self._motion.clear_z)
        self.travel(x, y)
        self.lift(z)

    def leave(self) -> None:
        """Lift, go to the park position, wait for motion to end."""
        self.lift(self._motion.clear_z)
        self.travel(self._motion.park[0], self._motion.park[1])
        self.command("M400")

    def lift(self, z: int) -> None:
        if z != self._z:
            self.command(f"G0 Z{_mm(z)}{self._f(self._z_feed)}")
            self._z = z

    def travel(self, x: int, y: int) -> None:
        if (x, y) != self._xy:
            self.command(f"G0 X{_mm(x)} Y{_mm(y)}{self._f(self._travel_feed)}")
            self._xy = (x, y)

    def extrude(self, x: int, y: int, ticks: int, feed: int) -> None:
        self._net += ticks
        self.command(f"G1 X{_mm(x)} Y{_mm(y)} E{_e(ticks)}{self._f(feed)}")
        self._xy = (x, y)

    def retract(self) -> None:
        self._retraction(-1)

    def unretract(self) -> None:
        self._retraction(1)

    def _retraction(self, sign: int) -> None:
        """Move the retraction volume in lines of at most one increment: a line is the least that a stop leaves under way."""
        whole = round(Fraction(self._motion.retraction.value) * self.per_ul)
        parts = math.ceil(whole / max(1, round(Fraction(self._motion.increment.value) * self.per_ul)))
        feed = self._pump_feed(self._motion.retraction_rate)
        for part in range(parts):
            self._pump(sign * (whole * (part + 1) // parts - whole * part // parts), feed)

    def _pump_feed(self, rate: MicrolitrePerSecond) -> int:
        """The feed rate of E alone that moves a volume rate."""
        return math.floor(Fraction(rate.value) * 60_000 / Fraction(self._motion.e_area.value))

    def _pump(self, ticks: int, feed: int) -> None:
        """Move E alone."""
        if ticks:
            self._net += ticks
            self.command(f"G1 E{_e(ticks)}{self._f(feed)}")

    def pump_all(self, increments: Iterable[Fraction]) -> None:
        """Move E alone in increments (µL, exact) at the flow rate, rounding carried forward."""
        feed = self._pump_feed(self._motion.flow)
        laid, done = Fraction(0), 0
        for volume in increments:
            laid += volume * self.per_ul
            upto = round(laid)
            self._pump(upto - done, feed)
            done = upto

    def settle_rounding(self, ticks: int) -> None:
        """Add the ticks that floating-point shares have left to the last extruding line (0 or 1 of them)."""
        if ticks == 0:
            return
        head, _, tail = self._commands[-1].partition(" E")
        amount, _, feed = tail.partition(" ")
        self._net += ticks
        whole = round(Fraction(amount) * E_TICKS) + ticks
        self._commands[-1] = f"{head} E{_e(whole)}" + (f" {feed}" if feed else "")
        self._ticks_after[-1] = self._net

    def bracketed(self, name: str) -> Written:
        commands = tuple(text.encode("ascii") for text in self._commands)
        area = int(self._motion.e_area.value.scaleb(6))
        nanolitres = tuple((2 * ticks * area + 100_000_000) // 200_000_000 for ticks in self._ticks_after)
        body = "\n".join([f";{name}", *self._commands, f";END {name}", ""])
        return Written(gcode=body.encode("ascii"), commands=commands, cumulative_nl=nanolitres)

    def _f(self, feed: int) -> str:
        if feed == self._feed:
            return ""
        self._feed = feed
        return f" F{_mm(feed)}"


def _feed(speed: MillimetrePerSecond) -> int:
    """mm/s → thousandths of mm/min."""
    return math.floor(Fraction(speed.value) * 60_000)


def _mm(thousandths: int) -> str:
    if thousandths < 0:
        return f"-{_mm(-thousandths)}"
    return f"{thousandths // 1000}.{thousandths % 1000:03d}"


def _e(ticks: int) -> str:
    if ticks < 0:
        return f"-{_e(-ticks)}"
    return f"{ticks // E_TICKS}.{ticks % E_TICKS:05d}"


def _plain(value: Decimal) -> str:
    text = format(value, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text
