"""The plant: what happens to the medicine, whatever the controller believes.

Plunger → compliance of syringe and paste → Herschel–Bulkley flow through the nozzle → patches on the plate, which dry.
Heaters are here too. Floats are allowed: this is a simulation. Everything random is drawn from seeded generators.
Units: µL, mm, s, kPa, mg; stresses inside the flow law in Pa.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

SAMPLE_US = 10_000
_TINY_UL = 1e-9
_DRYING_US = 50_000


@dataclass(frozen=True, slots=True)
class Rheology:
    """A Herschel–Bulkley fluid in a straight tube: τ = yield + consistency · rate^index (Pa, Pa·s^n)."""

    radius_mm: float
    length_mm: float
    index: float
    consistency: float
    yield_pa: float


@dataclass(frozen=True, slots=True)
class HeaterConfig:
    """A first-order heater. `full_power_rise_c`: how far above ambient it would settle at full power."""

    ambient_c: float
    tau_s: float
    full_power_rise_c: float
    noise_c: float


@dataclass(frozen=True, slots=True)
class PlantConfig:
    """The physics of one case. `lag_s` is the time constant of the flow at `nominal_flow`; it sets the compliance."""

    e_area_mm2: float
    rheology: Rheology
    lag_s: float
    nominal_flow: float
    density: float
    strength: float
    cartridge_uL: float
    drying_fraction: float
    drying_tau_s: float
    nozzle: HeaterConfig
    plate: HeaterConfig
    onset_uL: float
    bubble_uL: float
    scatter_rsd: float = 0.006
    stall_kPa: float = 1500.0
    patch_margin_mm: float = 2.5
    plate_min_mm: float = 20.0
    plate_max_mm: float = 185.0


class Motion(NamedTuple):
    """One stretch of even motion: times in µs, positions in mm, `e` in mm of plunger (or filament) moved within it, by head `tool`."""

    t0: int
    t1: int
    x0: float
    y0: float
    x1: float
    y1: float
    z: float
    e: float
    tool: int = 0

    def cut(self, at: int) -> tuple[Motion, Motion]:
        """Return the two parts of the stretch, before and after a time within it."""
        done = (at - self.t0) / (self.t1 - self.t0)
        x, y, e = self.x0 + (self.x1 - self.x0) * done, self.y0 + (self.y1 - self.y0) * done, self.e * done
        return self._replace(t1=at, x1=x, y1=y, e=e), self._replace(t0=at, x0=x, y0=y, e=self.e - e)


class TubeFlow:
    """Steady Herschel–Bulkley flow through a round tube, in closed form.

    Integrating r²·γ̇ over the section (Rabinowitsch) gives Q; its derivative follows from the same integral.
    """

    __slots__ = ("_a", "_b", "_c", "_exponent", "_inverse_k", "_pi_r3", "_stress_per_kpa", "_yield", "yield_kPa")

    def __init__(self, rheology: Rheology) -> None:
        m = 1.0 / rheology.index
        self._exponent = m
        self._inverse_k = 1.0 / rheology.consistency
        self._yield = rheology.yield_pa
        self._stress_per_kpa = 1000.0 * rheology.radius_mm / (2.0 * rheology.length_mm)
        self._pi_r3 = math.pi * rheology.radius_mm**3
        self._a, self._b, self._c = 1.0 / (3.0 + m), 2.0 * rheology.yield_pa / (2.0 + m), rheology.yield_pa**2 / (1.0 + m)
        self.yield_kPa = rheology.yield_pa / self._stress_per_kpa

    def flow(self, pressure_kpa: float) -> float:
        """Return the flow in µL/s at a pressure drop in kPa; 0 up to the yield pressure."""
        return self.flow_and_slope(pressure_kpa)[0]

    def flow_and_slope(self, pressure_kpa: float) -> tuple[float, float]:
        """Return the flow in µL/s and dQ/dP in µL/s/kPa."""
        wall = pressure_kpa * self._stress_per_kpa
        over = wall - self._yield
        if over <= 0.0:
            return 0.0, 0.0
        shear_rate = (over * self._inverse_k) ** self._exponent
        flow = self._pi_r3 * shear_rate * over * (self._a * over * over + self._b * over + self._c) / (wall * wall * wall)
        return flow, (self._pi_r3 * shear_rate - 3.0 * flow) / wall * self._stress_per_kpa

    def pressure(self, flow: float) -> float:
        """Return the pressure in kPa that a steady flow in µL/s needs (bisection on the closed form)."""
        low, high = self.yield_kPa, self.yield_kPa + 1.0
        while self.flow(high) < flow:
            high *= 2.0
        for _ in range(80):
            middle = 0.5 * (low + high)
            low, high = (middle, high) if self.flow(middle) < flow else (low, middle)
        return 0.5 * (low + high)


class Heater:
    """A heated body with its thermistor and a controller that knows its steady power."""

    def __init__(self, config: HeaterConfig, seed: str) -> None:
        self._config = config
        self._random = random.Random(seed)
        self.temperature = config.ambient_c
        self.target = 0.0
        self.power = 0.0
        self.element_dead = False
        self.stuck_on = False
        self.thermistor_open = False
        self._step, self._factor = 0.0, 1.0

    def advance(self, seconds: float) -> None:
        """Move the temperature on, exactly for the power held over steps of at most a quarter second."""
        config = self._config
        while seconds > 1e-9:
            step = min(seconds, 0.25)
            wanted = (self.target - config.ambient_c) / config.full_power_rise_c + 0.08 * (self.target - self.temperature)
            self.power = min(1.0, max(0.0, wanted)) if self.target > 0.0 else 0.0
            real = 1.0 if self.stuck_on else 0.0 if self.element_dead else self.power
            final = config.ambient_c + real * config.full_power_rise_c
            if step != self._step:
                self._step, self._factor = step, math.exp(-step / config.tau_s)
            self.temperature = final + (self.temperature - final) * self._factor
            seconds -= step

    def reading(self) -> float:
        """Return what the thermistor says, in °C; an open one reads far below zero, as Marlin shows it."""
        if self.thermistor_open:
            return -15.0
        return self.temperature + self._random.gauss(0.0, self._config.noise_c)


class Drying:
    """First-order loss of water from all that lies on one plate: each mass loses `fraction` of itself in the end."""

    __slots__ = ("_factor", "_span", "fraction", "now", "tau_us", "to_lose_mg")

    def __init__(self, fraction: float, tau_s: float, now: int) -> None:
        self.fraction, self.tau_us, self.now = fraction, tau_s * 1e6, now
        self.to_lose_mg = 0.0
        self._span, self._factor = 0, 1.0

    def advance(self, to_us: int) -> None:
        """Let everything dry up to `to_us`."""
        span = to_us - self.now
        if span != self._span:
            self._span, self._factor = span, math.exp(-span / self.tau_us)
        self.to_lose_mg *= self._factor
        self.now = to_us

    def left(self, water_mg: float, since: int) -> float:
        """Return what is left now of water that was to be lost at `since`."""
        return water_mg * math.exp((since - self.now) / self.tau_us)


@dataclass(slots=True)
class Patch:
    """What lies together on the plate: one unit, if all went well. Masses in mg.

    `slips` is the scatter of each head's volume in it; `mass_of`, `active_of` and `pushed_by` say what each head has brought.
    """

    index: int
    x_min: float
    x_max: float
    y_min: float
    y_max: float
    slips: tuple[float, ...]
    drying: Drying
    mass_of: list[float]
    active_of: list[float]
    pushed_by: list[float]
    wet_mg: float = 0.0
    active_mg: float = 0.0
    plunger_uL: float = 0.0
    last_deposit_us: int = 0
    _to_lose_mg: float = 0.0
    _since: int = 0

    @property
    def slip(self) -> float:
        """The scatter of the first head's volume in it."""
        return self.slips[0]

    @property
    def to_lose_mg(self) -> float:
        """The water that will still dry off."""
        return self.drying.left(self._to_lose_mg, self._since)

    @property
    def dried_mg(self) -> float:
        """What has dried off so far."""
        return self.drying.fraction * self.wet_mg - self.to_lose_mg

    def add(self, mass_mg: float, active_mg: float, head: int = 0) -> None:
        self.mass_of[head] += mass_mg
        self.active_of[head] += active_mg
        self.wet_mg += mass_mg
        self.active_mg += active_mg
        if self.drying.fraction:
            self._to_lose_mg = self.to_lose_mg + self.drying.fraction * mass_mg
            self._since = self.drying.now

    def holds(self, x: float, y: float, margin: float) -> bool:
        return self.x_min - margin <= x <= self.x_max + margin and self.y_min - margin <= y <= self.y_max + margin

    def grow(self, x: float, y: float) -> None:
        if x < self.x_min:
            self.x_min = x
        elif x > self.x_max:
            self.x_max = x
        if y < self.y_min:
            self.y_min = y
        elif y > self.y_max:
            self.y_max = y


_OF_A_HEAD = (
    "config", "tube", "compliance", "pressure", "hanging_uL", "delivered_uL", "resistance", "air_uL", "leak_uL_per_s", "delivery",
    "density", "strength",
)  # fmt: skip


class Plant:
    """Syringe, nozzle, plate. Volume is conserved exactly: what leaves is what was pushed in less what is compressed.

    With `second` there are two heads: the fields are those of the head in use (`head`), and the other one is docked with its nozzle
    capped, so that nothing leaves it. Fault scripts change the public fields; nothing else does.
    """

    def __init__(self, config: PlantConfig, seed: int, start_us: int = 0, second: PlantConfig | None = None) -> None:
        self.seed = seed
        self.now = start_us
        self.head = 0
        self.heads = 1 if second is None else 2
        self._docked: dict[int, dict[str, object]] = {}
        if second is not None:
            self._fill(second)
            self._docked[1] = self._of_head()
        self._fill(config)
        self.samples: list[float] = []
        self.patches: list[Patch] = []
        self._drying = Drying(config.drying_fraction, config.drying_tau_s, start_us)
        self._lasting_mg = 0.0
        self.extruded_mg = 0.0
        self.waste_mg = 0.0
        self.last_motion_us = start_us - 60_000_000
        self.x_shift_mm = 0.0
        self._next_sample = start_us - start_us % SAMPLE_US + SAMPLE_US
        self._current: Patch | None = None
        self._opened = 0
        self._print_z = math.inf
        self._z = 0.0
        self._x = self._y = 0.0

    def _fill(self, config: PlantConfig) -> None:
        """Take a fresh head with its cartridge."""
        self.config = config
        self.tube = TubeFlow(config.rheology)
        slope = self.tube.flow_and_slope(self.tube.pressure(config.nominal_flow))[1]
        self.compliance = config.lag_s * slope
        self.pressure = 0.0
        self.hanging_uL = 0.0
        self.delivered_uL = 0.0
        self.resistance = 1.0
        self.air_uL = 0.0
        self.leak_uL_per_s = 0.0
        self.delivery = 1.0
        self.density = config.density
        self.strength = config.strength

    def _of_head(self) -> dict[str, object]:
        return {name: getattr(self, name) for name in _OF_A_HEAD}

    def mount(self, head: int) -> None:
        """Dock the head in use and take another one."""
        if head == self.head:
            return
        self._docked[self.head] = self._of_head()
        for name, value in self._docked.pop(head).items():
            setattr(self, name, value)
        self.head = head

    def run(self, motions: Iterable[Motion], to_us: int) -> None:
        """Move everything on to `to_us` under the given stretches of motion (in order, none later than `to_us`)."""
        for motion in motions:
            if motion.tool != self.head:
                self.mount(motion.tool)
            if motion.t0 > self.now:
                self._rest(motion.t0)
            if self.x_shift_mm:
                motion = motion._replace(x0=motion.x0 + self.x_shift_mm, x1=motion.x1 + self.x_shift_mm)
            self._pieces(motion)
        if self.now < to_us:
            self._rest(to_us)
        if to_us - self._drying.now >= _DRYING_US:
            self._drying.advance(to_us)

    def plate_mg(self) -> float:
        """Return the mass of what lies on the plate now, less what has dried off."""
        return self._lasting_mg + self._drying.to_lose_mg

    def remove(self, index: int) -> None:
        """Take a patch off the plate, as an operator does with a rejected unit."""
        self.patches = [patch for patch in self.patches if patch.index != index]
        if self._current is not None and self._current.index == index:
            self._current = None
        lasting = 1.0 - self._drying.fraction
        self._lasting_mg = math.fsum(lasting * patch.wet_mg for patch in self.patches)
        self._drying.to_lose_mg = math.fsum(patch.to_lose_mg for patch in self.patches)

    @property
    def current(self) -> Patch | None:
        return self._current

    def _rest(self, until: int) -> None:
        if self.leak_uL_per_s == 0.0 and self.pressure <= self.resistance * self.tube.yield_kPa:
            self._stand(until)
        else:
            self._pieces(Motion(self.now, until, self._x, self._y, self._x, self._y, self._z, 0.0, self.head))

    def _stand(self, until: int) -> None:
        """Let time pass where nothing moves and nothing flows."""
        while self._next_sample <= until:
            self.samples.append(self.pressure)
            self._next_sample += SAMPLE_US
        self.now = until

    def _pieces(self, motion: Motion) -> None:
        """Take a stretch whole where it is treated alike from its beginning to its end, else cut on the sampling grid."""
        while self._next_sample < motion.t1 and not self._is_even(motion):
            piece, motion = motion.cut(self._next_sample)
            self._stretch(piece)
        self._stretch(motion)

    def _is_even(self, motion: Motion) -> bool:
        """Whether nothing can begin or end within the stretch: a fault of the flow, the cartridge's end, a stall, another place below."""
        if self.resistance != 1.0 or self.air_uL or self.leak_uL_per_s:
            return False
        if motion.e > 0.0:
            pushed = motion.e * self.config.e_area_mm2
            if self.delivered_uL + pushed >= self.config.cartridge_uL or self.pressure + pushed / self.compliance >= self.config.stall_kPa:
                return False
            current = self._current
            return current is not None and current.holds(motion.x0, motion.y0, self.config.patch_margin_mm)
        return self.pressure <= self.tube.yield_kPa or (motion.x0 == motion.x1 and motion.y0 == motion.y1)

    def _stretch(self, motion: Motion) -> None:
        t0, t1, x0, y0, x1, y1, z, e, head = motion
        span = t1 - t0
        if span <= 0:
            return
        if x0 != x1 or y0 != y1 or z != self._z:
            self.last_motion_us = t1
        self._x, self._y, self._z = x1, y1, z
        pushing = e > 0.0
        if pushing:
            self._print_z = z
        patch = self._under(motion, pushing)
        inflow = e * self.config.e_area_mm2 * 1e6 / span
        out = self._flow(t1, inflow if patch is None else inflow * patch.slips[head], inflow)
        if pushing and patch is not None:
            patch.plunger_uL += e * self.config.e_area_mm2
            patch.pushed_by[head] += e * self.config.e_area_mm2
        if out > _TINY_UL:
            self._land(out, motion, patch, pushing)

    def _flow(self, until: int, inflow: float, commanded: float) -> float:
        """Integrate the pressure up to `until` in steps of the sampling grid; return the volume that left the nozzle.

        Each step is exponential in the linearised flow law: stable however stiff a bubble or a clog makes it.
        """
        now, pressure, out = self.now, self.pressure, 0.0
        next_sample = self._next_sample
        compliance, flow_and_slope, resistance, expm1 = self.compliance, self.tube.flow_and_slope, self.resistance, math.expm1
        if commanded or self.leak_uL_per_s:
            inflow = self._pushed(inflow, commanded, until - now)
        while now < until:
            stop = next_sample if next_sample < until else until
            step = (stop - now) * 1e-6
            flow, slope = flow_and_slope(pressure / resistance)
            rate = slope / (resistance * compliance)
            reach = step if rate * step < 1e-6 else -expm1(-rate * step) / rate
            left = inflow * step - (inflow - flow) * reach
            if left < 0.0:
                left = 0.0
            pressure += (inflow * step - left) / compliance
            out += left
            now = stop
            if now == next_sample:
                self.samples.append(pressure)
                next_sample += SAMPLE_US
        self.now, self.pressure, self._next_sample = now, pressure, next_sample
        return out

    def _pushed(self, inflow: float, commanded: float, span_us: int) -> float:
        """Return what the plunger really pushes (µL/s): slip, an empty cartridge, a stalled motor, a leak."""
        inflow *= self.delivery
        if self.delivered_uL >= self.config.cartridge_uL and inflow > 0.0:
            inflow = 0.0
        if self.pressure >= self.config.stall_kPa and inflow > 0.0:
            inflow = 0.0
        self.delivered_uL += commanded * span_us * 1e-6
        if self.leak_uL_per_s and self.pressure > self.tube.yield_kPa:
            inflow -= self.leak_uL_per_s
        return inflow

    def _under(self, motion: Motion, pushing: bool) -> Patch | None:
        """Return the patch below the nozzle, a new one where paste is pushed onto bare plate, or None off the plate or in the air."""
        margin = self.config.patch_margin_mm
        current = self._current
        if not pushing and abs(motion.z - self._print_z) > 0.02:
            return None
        if current is not None and current.holds(motion.x0, motion.y0, margin):
            return current
        for patch in self.patches:
            if patch.holds(motion.x0, motion.y0, margin):
                self._current = patch if pushing else current
                return patch
        low, high = self.config.plate_min_mm, self.config.plate_max_mm
        if not pushing or not (low <= motion.x0 <= high and low <= motion.y0 <= high):
            return None
        self._opened += 1
        index = self._opened
        names = (f"{self.seed}:scatter:{index}", f"{self.seed}:scatter:{index}:1")[: self.heads]
        slips = tuple(1.0 + random.Random(name).gauss(0.0, self.config.scatter_rsd) for name in names)
        none = [0.0] * self.heads
        patch = Patch(index, motion.x0, motion.x0, motion.y0, motion.y0, slips, self._drying, [*none], [*none], [*none])
        self.patches.append(patch)
        self._current = patch
        return patch

    def _land(self, out: float, motion: Motion, patch: Patch | None, pushing: bool) -> None:
        """Put what left the nozzle where it falls: on a patch, into the purge tray, or as a drop that hangs at the tip."""
        if self.air_uL > 0.0:
            air = min(out, self.air_uL)
            self.air_uL -= air
            out -= air
            if self.air_uL <= _TINY_UL:
                self.air_uL, self.resistance = 0.0, 1.0
        mass = out * self.density
        self.extruded_mg += mass
        if not pushing:
            if patch is None:
                self.hanging_uL += out
                return
        elif self.hanging_uL:
            mass += self.hanging_uL * self.density
            self.hanging_uL = 0.0
        if patch is None:
            self.waste_mg += mass
            return
        patch.add(mass, mass * self.strength / 1000.0, self.head)
        fraction = self._drying.fraction
        self._lasting_mg += (1.0 - fraction) * mass
        self._drying.to_lose_mg += fraction * mass
        patch.last_deposit_us = motion.t1
        if pushing:
            patch.grow(motion.x0, motion.y0)
            patch.grow(motion.x1, motion.y1)
