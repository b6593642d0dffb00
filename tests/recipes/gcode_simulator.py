"""What a printer would do with a program, in floats: the oracle of the mutation test. It shares nothing with the proof.

It reads as Marlin does: words in any order, numbers as far as they go, what it does not know passed over, no comment looked at.
Paste comes out where E goes beyond the furthest that it was before, so that a retraction which is not undone costs material. What
comes out belongs to the place on the plate that is nearest. `harms` names what would be wrong with the units: their volume by
more than 0.5 %, the envelope, a validated range.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from audit.quantities import Microlitre
from recipes.machine import MachineProfile
from recipes.model import Recipe

VOLUME = 0.005
PLACE = 12.5
"""mm: half the pitch of the demonstration plates; what comes out further from every place belongs to none."""

LAST_OF_E, LAST_OF_F = 1.00001e-5, 1.1e-3
"""mm and mm/min: what rounding to the last decimal may take or give."""

_WORD = re.compile(r"([A-Z]) *([-+]?[0-9]*\.?[0-9]*)")
_CODE = re.compile(r"\s*([GMT]) *0*([0-9]+)")
_TINY = 1e-9


@dataclass(frozen=True, slots=True)
class Target:
    """What shall lie on a place (mm): µL from each head, and from each head the number of the part, from 0."""

    x: float
    y: float
    volumes: tuple[float, ...]


def targets_of(units: Sequence[tuple[float, float, int, Microlitre]]) -> tuple[Target, ...]:
    """Gather units (x, y, head, volume) by place."""
    places: dict[tuple[float, float], dict[int, float]] = {}
    for x, y, head, volume in units:
        places.setdefault((x, y), {})[head] = float(volume.value)
    return tuple(Target(x, y, tuple(heads[head] for head in sorted(heads))) for (x, y), heads in places.items())


Pair = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Ranges:
    """The validated ranges of one head, in mm, mm/s, uL/s and uL."""

    area: float
    flow: Pair
    retraction_rate: Pair
    retraction: float
    travel: Pair
    lift: float
    layer: Pair
    bead: Pair
    nozzle: Pair
    plate: Pair
    dispense: bool


def _ranges(recipe: Recipe, machine: MachineProfile) -> Ranges:
    p, most = recipe.parameters, float(machine.max_volumetric_rate.value)

    def pair(low: Decimal, high: Decimal, ceiling: float = math.inf) -> Pair:
        return float(low) - _TINY, min(float(high), ceiling) + _TINY

    return Ranges(
        area=float(machine.e_area.value),
        flow=pair(p.flow_rate.low.value, p.flow_rate.high.value, most),
        retraction_rate=pair(p.retraction_rate.low.value, p.retraction_rate.high.value, most),
        retraction=float(p.retraction.high.value),
        travel=pair(p.travel_speed.low.value - Decimal("0.0001"), p.travel_speed.high.value, float(machine.max_travel.value)),
        lift=float(p.travel_lift.low.value),
        layer=pair(p.layer_height.low.value, p.layer_height.high.value),
        bead=pair(p.bead_width.low.value, p.bead_width.high.value),
        nozzle=pair(p.nozzle_temperature.low.value, p.nozzle_temperature.high.value),
        plate=pair(p.plate_temperature.low.value, p.plate_temperature.high.value),
        dispense=recipe.geometry.family == "dispense",
    )


@dataclass(slots=True)
class Layer:
    """Beads of one head at one height on one place."""

    z: float
    head: int
    length: float = 0.0
    volume: float = 0.0


@dataclass(slots=True)
class Pile:
    """What lies on a place."""

    target: Target
    volume: list[float]
    layers: list[Layer] = field(default_factory=list)


class Printer:
    """A simulated printer: give it lines, ask for `harms`.

    Lifetime: one program. Concurrency: none.
    """

    def __init__(self, recipe: Recipe, machine: MachineProfile, targets: Sequence[Target]) -> None:
        heads = tuple(zip(recipe.parts, machine.heads, strict=False))
        self.ranges = [_ranges(part, head) for part, head in heads]
        box = machine.envelope
        sides = ((box.x_min, box.x_max), (box.y_min, box.y_max), (box.z_min, box.z_max))
        self.box = [(float(low.value) - _TINY, float(high.value) + _TINY) for low, high in sides]
        self.max_z, self.max_speed = float(machine.max_z_travel.value) + _TINY, float(machine.max_travel.value) + _TINY
        self.surface = self.top = float(machine.plate.surface_z.value)
        self.piles = [Pile(target, [0.0] * len(self.ranges)) for target in targets]
        self.harms: set[str] = set()
        self.at = [math.nan, math.nan, math.nan]
        self._last: Pile | None = None
        self.e = [0.0] * len(self.ranges)
        self.furthest = [0.0] * len(self.ranges)
        self.head, self.feed, self.inch = 0, 1500.0, 1.0
        self.relative = self.relative_e = False
        self.flow_factor = self.speed_factor = 1.0
        self.heat = {f"nozzle {head}": 0.0 for head in range(len(self.ranges))} | {"plate": 0.0}
        self.offset = [0.0, 0.0, 0.0]
        second = machine.second_head
        offset = None if second is None else second.offset
        self.true_offset = [0.0] * 3 if offset is None else [float(axis.value) for axis in (offset.x, offset.y, offset.z)]
        self.handlers: dict[str, Callable[[dict[str, float]], None]] = {
            "G0": self._move, "G1": self._move, "G28": self._home, "G92": self._set, "M104": self._nozzle, "M109": self._nozzle,
            "M140": self._plate, "M190": self._plate, "M218": self._offset, "T0": self._tool, "T1": self._tool,
            "G20": lambda _: setattr(self, "inch", 25.4), "G21": lambda _: setattr(self, "inch", 1.0),
            "G90": lambda _: self._modes(False), "G91": lambda _: self._modes(True),
            "M82": lambda _: setattr(self, "relative_e", False), "M83": lambda _: setattr(self, "relative_e", True),
            "M220": lambda w: setattr(self, "speed_factor", w.get("S", 100) / 100),
            "M221": lambda w: setattr(self, "flow_factor", w.get("S", 100) / 100),
        }  # fmt: skip

    def run(self, content: bytes) -> set[str]:
        """Print a program and return the harms."""
        for raw in content.decode("latin-1").split("\n"):
            line = raw.partition(";")[0]
            if line:
                self._line(line)
        return self.harms | self._judged()

    def _line(self, line: str) -> None:
        code = _CODE.match(line)
        handler = self.handlers.get(code[1] + code[2]) if code else None
        if handler is not None:
            handler({letter: _number(text) for letter, text in _WORD.findall(line)})

    # modes

    def _modes(self, relative: bool) -> None:
        self.relative = self.relative_e = relative

    def _home(self, words: dict[str, float]) -> None:
        self.at = [0.0, 0.0, 0.0]

    def _set(self, words: dict[str, float]) -> None:
        for axis, letter in enumerate("XYZ"):
            if letter in words and words[letter] * self.inch != self.at[axis]:
                self.harms.add("envelope: coordinates shifted")
        if "E" in words:
            shift = words["E"] * self.inch - self.e[self.head]
            self.e[self.head] += shift
            self.furthest[self.head] += shift

    def _nozzle(self, words: dict[str, float]) -> None:
        self.heat[f"nozzle {int(words.get('T', self.head))}"] = words.get("S", 0.0)

    def _plate(self, words: dict[str, float]) -> None:
        self.heat["plate"] = words.get("S", 0.0)

    def _offset(self, words: dict[str, float]) -> None:
        self.offset = [words.get(axis, 0.0) * self.inch for axis in "XYZ"]

    def _tool(self, words: dict[str, float]) -> None:
        if int(words["T"]) < len(self.ranges):
            self.head = int(words["T"])

    # motion

    def _move(self, words: dict[str, float]) -> None:
        if words.get("F", 0) > 0:
            self.feed = words["F"] * self.inch
        x, y, z = self.at
        at = [x, y, z]
        for axis, letter in enumerate("XYZ"):
            if letter in words:
                at[axis] = words[letter] * self.inch + (at[axis] if self.relative else 0.0)
        self.at = at
        self._envelope()
        speed = self.feed / 60 * self.speed_factor
        across = math.hypot(at[0] - x, at[1] - y)
        way = math.hypot(across, at[2] - z)
        if "E" in words:
            old_e = self.e[self.head]
            e = (words["E"] * self.inch - (0.0 if self.relative_e else old_e)) * self.flow_factor
            self.e[self.head] = old_e + e
            out = max(0.0, old_e + e - self.furthest[self.head])
            self.furthest[self.head] += out
            if e:
                self._extrude(e, out, 0.0 if math.isnan(way) else way, speed)
                return
        if across > _TINY:
            self._across((x, y), speed)
        if abs(at[2] - z) > _TINY and speed > self.max_z:
            self.harms.add("validated range: speed of Z")

    def _envelope(self) -> None:
        shift = [own - true for own, true in zip(self.offset, self.true_offset, strict=True)] if self.head else [0.0] * 3
        for axis, (low, high) in enumerate(self.box):
            if self.at[axis] + shift[axis] < low or self.at[axis] + shift[axis] > high:
                self.harms.add(f"envelope: {'XYZ'[axis]}")
        if self.head and any(abs(by) > _TINY for by in shift):
            self.harms.add("validated range: offset of the second head")

    def _across(self, start: tuple[float, float], speed: float) -> None:
        ranges = self.ranges[self.head]
        if not ranges.travel[0] <= speed <= ranges.travel[1]:
            self.harms.add("validated range: travel speed")
        pile = self._pile()
        inside = pile is not None and math.dist(start, (pile.target.x, pile.target.y)) <= PLACE
        if not inside and self.at[2] < self.top + ranges.lift - _TINY:
            self.harms.add("validated range: travel lift")

    def _pile(self) -> Pile | None:
        x, y, _ = self.at
        near = self._last
        if near is None or math.hypot(near.target.x - x, near.target.y - y) > PLACE / 2:
            near = min(self.piles, key=lambda pile: (pile.target.x - x) ** 2 + (pile.target.y - y) ** 2)
            self._last = near
        return near if math.hypot(near.target.x - x, near.target.y - y) <= PLACE else None

    def _extrude(self, e: float, out: float, way: float, speed: float) -> None:
        ranges = self.ranges[self.head]
        area = ranges.area
        low, high = ranges.flow if out > _TINY else ranges.retraction_rate
        seconds = (way or abs(e)) / speed
        rate = abs(e) * area / seconds
        slack = (LAST_OF_E * area / seconds if way else 0.0) + LAST_OF_F / 60 * area
        if not low - slack <= rate <= high + slack:
            self.harms.add(f"validated range: {'flow' if out > _TINY else 'retraction'} rate")
        if way and speed > self.max_speed:
            self.harms.add("validated range: print speed")
        if (self.furthest[self.head] - self.e[self.head] - LAST_OF_E) * area > ranges.retraction:
            self.harms.add("validated range: retraction")
        if out > _TINY:
            self._deposit(out * area, way)

    def _deposit(self, volume: float, way: float) -> None:
        ranges = self.ranges[self.head]
        for name, (low, high) in ((f"nozzle {self.head}", ranges.nozzle), ("plate", ranges.plate)):
            if not low <= self.heat[name] <= high:
                self.harms.add("validated range: temperature")
        pile = self._pile()
        if pile is None:
            return
        z = self.at[2]
        pile.volume[self.head] += volume
        self.top = max(self.top, z)
        if ranges.dispense:
            if math.dist(self.at[:2], (pile.target.x, pile.target.y)) > 1:
                self.harms.add("envelope: dispensed beside its capsule")
            return
        if not pile.layers or abs(pile.layers[-1].z - z) > _TINY or pile.layers[-1].head != self.head:
            pile.layers.append(Layer(z, self.head))
        pile.layers[-1].length += way
        pile.layers[-1].volume += volume

    # judgement

    def _judged(self) -> set[str]:
        harms = set()
        for pile in self.piles:
            for head, wanted in enumerate(pile.target.volumes):
                if abs(pile.volume[head] / wanted - 1) > VOLUME:
                    harms.add("volume")
            below = self.surface
            for layer in pile.layers:
                harms |= self._judge_layer(layer, layer.z - below)
                below = layer.z
        if any(self.heat.values()):
            harms.add("validated range: heat left on")
        return harms

    def _judge_layer(self, layer: Layer, height: float) -> set[str]:
        ranges = self.ranges[layer.head]
        if not ranges.layer[0] <= height <= ranges.layer[1]:
            return {"validated range: layer height"}
        width = layer.volume / layer.length / height if layer.length else math.inf
        return set() if ranges.bead[0] <= width <= ranges.bead[1] else {"validated range: bead width"}


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0
