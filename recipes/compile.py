"""Compile: order, recipe, ink lot, cartridge and machine become a proved print program.

The only place that joins them. What stands against the order is collected and refused at once, with every reason. The
proof reads the final bytes; sizes of time come from it, so that there is one estimate.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from fractions import Fraction
from types import MappingProxyType
from typing import assert_never

from audit.quantities import EXACT, Microlitre, Milligram, Millimetre, MillimetrePerSecond, SquareMillimetre
from recipes.capability import SHARE_OF_TOLERANCE, balance_reasons, total_reasons
from recipes.dose import DoseResult, StrengthPlan, calculate
from recipes.errors import CompileRefused, DoseRefused, GeometryRefused
from recipes.gcode_check import Proof, UnitProof, UnitTarget, prove
from recipes.gcode_writer import (
    Motion,
    ProcedureName,
    Written,
    heat_commands,
    write_commands,
    write_dispense,
    write_park,
    write_preamble,
    write_prime,
    write_unit,
)
from recipes.inks import cartridge_reasons, ink_reasons
from recipes.model import Cartridge, Cylinder, Dispense, DoseCorrection, DoseOrder, InkLot, MachineProfile, Parameter, Recipe, Torus
from recipes.plate import Place, lay_out, purge_places
from recipes.shapes import Range, Solid, build_solid, slice_solid
from recipes.toolpath import UnitPath, plan_dispense, plan_unit

INCREMENT = Microlitre(2)
"""Largest amount that one line moves with E alone, so that little is under way when a run is stopped."""

LARGEST_STEP = Decimal("0.5")
"""Percent of a unit that one motor step may move; a coarser head cannot dose it."""

_BEFORE: tuple[ProcedureName, ...] = ("prepare", "heat", "home", "prime")
_AFTER: tuple[ProcedureName, ...] = ("park", "heat_off")


@dataclass(frozen=True, slots=True)
class ActionProgram:
    """One action outside units. `commands` and `cumulative_nl` as in a unit."""

    name: ProcedureName
    gcode: bytes
    sha256: str
    commands: tuple[bytes, ...]
    cumulative_nl: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class UnitProgram:
    """One unit, or one purge unit (`purge`, of strength 0).

    `commands` are its lines without comments and line ends; `cumulative_nl` the net commanded volume in nanolitres after
    each. `centre` and `height` in mm, `shape` family and dimensions as text; `duration_us` is an estimate without
    accelerations.
    """

    n: int
    strength: Milligram
    target_mass: Milligram
    target_volume: Microlitre
    net_volume: Microlitre
    gcode: bytes
    sha256: str
    commands: tuple[bytes, ...]
    cumulative_nl: tuple[int, ...]
    duration_us: int
    centre: Place
    height: Decimal
    shape: Mapping[str, str]
    proof: UnitProof
    purge: bool = False

    @property
    def exposure_nl(self) -> tuple[int, ...]:
        """Nanolitres that each command moves, without sign."""
        return _exposure(self.cumulative_nl)


@dataclass(frozen=True, slots=True)
class Basis:
    """What a program was compiled from: enough to compile one of its units anew."""

    recipe: Recipe
    machine: MachineProfile
    motion: Motion
    demonstration: bool
    placed: tuple[tuple[_Design, Place], ...]
    purges: tuple[tuple[_Design, Place], ...] = ()


@dataclass(frozen=True, slots=True)
class PrintProgram:
    """A proved program: the dose it serves, its actions and units, the whole file and the proof."""

    dose: DoseResult
    preamble: bytes
    actions: Mapping[ProcedureName, ActionProgram]
    purges: tuple[UnitProgram, ...]
    units: tuple[UnitProgram, ...]
    planned: bytes
    sha256: str
    proof: Proof
    e_area: SquareMillimetre
    basis: Basis

    @property
    def procedures(self) -> Mapping[ProcedureName, bytes]:
        """The bytes of each action outside units."""
        return MappingProxyType({name: action.gcode for name, action in self.actions.items()})


@dataclass(frozen=True, slots=True)
class _Design:
    """What the units of one strength have in common."""

    plan: StrengthPlan
    body: UnitPath | tuple[Fraction, ...]
    shape: Mapping[str, str]

    @property
    def height(self) -> int:
        """Height above the surface in µm."""
        return self.body.height if isinstance(self.body, UnitPath) else 0


def compile_program(
    *,
    order: DoseOrder,
    recipe: Recipe,
    ink: InkLot,
    cartridge: Cartridge,
    machine: MachineProfile,
    today: str,
    demonstration: bool,
) -> PrintProgram:
    """Compile and prove the program of an order; `today` is an ISO date.

    Raises DoseRefused where no dose follows, CompileRefused with every reason that stands against the order, ProofRefused
    where the bytes fail their own proof.
    """
    reasons = [*_binding_reasons(order, recipe, ink, cartridge, machine), *ink_reasons(recipe, ink, today)]
    try:
        dose = calculate(recipe, order.prescription, ink)
    except DoseRefused as refused:
        if set(reasons) <= set(refused.reasons):
            raise
        raise CompileRefused(tuple(dict.fromkeys([*refused.reasons, *reasons]))) from refused
    volumes = [plan.target_volume * _largest_factor(recipe) for plan in dose.strengths for _ in range(plan.units)]
    reasons.extend(cartridge_reasons(recipe, ink, cartridge, machine, volumes, today))
    if recipe.weighing.external_balance is None:
        # Where the recipe permits an external balance, the cell judges at its gates whether it has one that can.
        reasons.extend(balance_reasons(recipe, machine, [plan.target_mass for plan in dose.strengths]))
    reasons.extend(total_reasons(recipe, machine, [(plan.target_mass, plan.target_volume) for plan in dose.strengths]))
    purge = _purge_plan(recipe, dose, ink)
    reasons.extend(_purge_reasons(purge, recipe, machine))
    places: tuple[tuple[Place, ...], ...] = ()
    try:
        places = lay_out(machine.plate, [plan.units for plan in dose.strengths], 0 if purge is None else purge.units)
    except CompileRefused as refused:
        reasons.extend(refused.reasons)
    designs = []
    for plan in (*dose.strengths, *([purge] if purge is not None else ())):
        reasons.extend(_head_reasons(plan, machine))
        try:
            designs.append(_design(plan, recipe, machine))
        except GeometryRefused as refused:
            reasons.extend(f"{'purge unit' if plan is purge else plan.label}: {reason}" for reason in refused.reasons)
    if reasons:
        raise CompileRefused(tuple(dict.fromkeys(reasons)), remedy="Nothing is printed.")
    purged = designs.pop() if purge is not None else None
    return _assemble(dose, designs, places, purged, recipe, machine, demonstration)


def _purge_plan(recipe: Recipe, dose: DoseResult, ink: InkLot) -> StrengthPlan | None:
    """Return what a purge unit is to be, None where the recipe has no start-up calibration. Its mass is that of its volume of ink."""
    start = recipe.control.start_up_calibration
    if start is None:
        return None
    mass = Milligram(EXACT.multiply(start.volume.value, ink.density.value))
    return replace(dose.strengths[0], units=start.units, intakes=(), target_mass=mass, target_volume=start.volume)


def _purge_reasons(purge: StrengthPlan | None, recipe: Recipe, machine: MachineProfile) -> list[str]:
    """Return why the balance cannot tell whether a purge unit is within its tolerance."""
    start = recipe.control.start_up_calibration
    if purge is None or start is None:
        return []
    tolerance = purge.target_mass * start.tolerance.fraction
    if machine.balance.expanded_uncertainty * SHARE_OF_TOLERANCE <= tolerance:
        return []
    return [
        f"purge units of {purge.target_mass.rounded(2)} have a tolerance of ± {tolerance.rounded(2)}; the expanded uncertainty of the "
        f"balance of {machine.id}, {machine.balance.expanded_uncertainty}, is more than a quarter of it: use a cell with a finer balance"
    ]


def procedure_bytes(program: PrintProgram) -> tuple[bytes, bytes]:
    """Return what stands before and after the units in the planned file, header not included."""
    procedures = program.procedures
    return b"".join(procedures[name] for name in _BEFORE), b"".join(procedures[name] for name in _AFTER)


def _assemble(
    dose: DoseResult,
    designs: list[_Design],
    places: tuple[tuple[Place, ...], ...],
    purged: _Design | None,
    recipe: Recipe,
    machine: MachineProfile,
    demonstration: bool,
) -> PrintProgram:
    purges = [] if purged is None else [(purged, place) for place in purge_places(machine.plate, purged.plan.units)]
    motion = _motion(recipe, machine, max(design.height for design in (*designs, *(design for design, _ in purges))))
    preamble = write_preamble(
        recipe=f"{recipe.reference} {recipe.digest}",
        machine=f"{machine.reference} {machine.digest}",
        e_area=machine.e_area,
        demonstration=demonstration,
    )
    written = _actions(recipe, machine, motion)
    placed = [(design, place) for design, group in zip(designs, places, strict=True) for place in group]
    units = [_write(f"UNIT {n}", design, place, motion) for n, (design, place) in enumerate(placed, start=1)]
    first = [_write(f"PURGE {n}", design, place, motion) for n, (design, place) in enumerate(purges, start=1)]
    before = b"".join(written[name].gcode for name in _BEFORE)
    after = b"".join(written[name].gcode for name in _AFTER)
    planned = b"".join([preamble, before, *(unit.gcode for unit in (*first, *units)), after])
    proof = prove(
        planned,
        recipe=recipe,
        machine=machine,
        units=_targets(placed),
        demonstration=demonstration,
        purges=_targets(purges, purge=True),
    )
    return PrintProgram(
        dose=dose,
        preamble=preamble,
        actions=MappingProxyType({name: _action(name, lines) for name, lines in written.items()}),
        purges=tuple(
            _unit(n, design, place, lines, proof.purges[n - 1])
            for n, ((design, place), lines) in enumerate(zip(purges, first, strict=True), start=1)
        ),
        units=tuple(
            _unit(n, design, place, lines, proof.units[n - 1])
            for n, ((design, place), lines) in enumerate(zip(placed, units, strict=True), start=1)
        ),
        planned=planned,
        sha256=proof.sha256,
        proof=proof,
        e_area=machine.e_area,
        basis=Basis(recipe, machine, motion, demonstration, tuple(placed), tuple(purges)),
    )


def compile_unit(program: PrintProgram, n: int, flow_factor: Decimal, *, purge: bool = False) -> UnitProgram:
    """Compile unit `n` (or purge unit `n`) anew with its volume times `flow_factor`, and prove it in its place in the whole program.

    Its path stays: what changes is the volume along it. Raises CompileRefused where the recipe does not correct the dose
    or not so far, ProofRefused where the bytes fail their proof.
    """
    basis = program.basis
    rule = basis.recipe.control.dose_correction
    if not isinstance(rule, DoseCorrection):
        raise CompileRefused([f"recipe {basis.recipe.reference} does not correct the dose"], remedy="Print the program as planned.")
    if not 1 <= n <= len(program.purges if purge else program.units):
        raise CompileRefused([f"there is no {'purge ' if purge else ''}unit {n} in this program"])
    if abs(flow_factor - 1) > rule.largest.fraction:
        raise CompileRefused([f"a flow factor of {flow_factor} is beyond {rule.largest} about 1"], remedy="End the run and find the cause.")
    group = basis.purges if purge else basis.placed
    design, place = group[n - 1]
    scaled = _scaled(design, flow_factor, basis)
    lines = _write(f"{'PURGE' if purge else 'UNIT'} {n}", scaled, place, basis.motion)
    before, after = procedure_bytes(program)
    changed = [(scaled, at) if number == n else (other, at) for number, (other, at) in enumerate(group, start=1)]
    sections = [lines.gcode if (unit.n, unit.purge) == (n, purge) else unit.gcode for unit in (*program.purges, *program.units)]
    proof = prove(
        b"".join([program.preamble, before, *sections, after]),
        recipe=basis.recipe,
        machine=basis.machine,
        units=_targets(basis.placed if purge else changed),
        demonstration=basis.demonstration,
        purges=_targets(changed if purge else basis.purges, purge=True),
    )
    return _unit(n, scaled, place, lines, (proof.purges if purge else proof.units)[n - 1])


def _targets(placed: Sequence[tuple[_Design, Place]], *, purge: bool = False) -> list[UnitTarget]:
    return [
        UnitTarget(n=n, strength=None if purge else design.plan.label, volume=design.plan.target_volume, x=place[0], y=place[1])
        for n, (design, place) in enumerate(placed, start=1)
    ]


def _scaled(design: _Design, factor: Decimal, basis: Basis) -> _Design:
    volume = Microlitre(EXACT.multiply(design.plan.target_volume.value, factor))
    plan = replace(design.plan, target_volume=volume)
    if not isinstance(design.body, UnitPath):
        return _design(plan, basis.recipe, basis.machine)
    layers = tuple(replace(layer, volume=layer.volume * Fraction(factor)) for layer in design.body.layers)
    return replace(design, plan=plan, body=replace(design.body, volume=volume, layers=layers))


def _largest_factor(recipe: Recipe) -> Decimal:
    """What a unit may take of the cartridge at most, as a multiple of its planned volume."""
    rule = recipe.control.dose_correction
    return 1 + rule.largest.fraction if isinstance(rule, DoseCorrection) else Decimal(1)


def _binding_reasons(order: DoseOrder, recipe: Recipe, ink: InkLot, cartridge: Cartridge, machine: MachineProfile) -> list[str]:
    """Return where what is at hand is not what the order names, by name and by digest."""
    reasons = []
    if (order.recipe, order.recipe_version) != (recipe.id, recipe.version):
        reasons.append(f"the order is for recipe {order.recipe}@{order.recipe_version}, found {recipe.reference}; take the recipe ordered")
    for what, named, found, digest, actual in (
        (f"recipe {recipe.reference}", recipe.id, recipe.id, order.recipe_digest, recipe.digest),
        ("ink lot", order.ink_lot, ink.lot, order.ink_lot_digest, ink.digest),
        ("cartridge", order.cartridge, cartridge.serial, order.cartridge_digest, cartridge.digest),
    ):
        if named != found:
            reasons.append(f"the order names {what} {named}, found {found}; take the one ordered, or write a new order")
        elif digest != actual:
            reasons.append(f"{what} is not as it was when the order was written; write the order again and have it confirmed again")
    if recipe.machine != machine.id or recipe.process != machine.process:
        reasons.append(
            f"recipe {recipe.reference} is for machine {recipe.machine}, this is {machine.id}; print on a cell with that machine"
        )
    elif recipe.machine_digest != machine.digest:
        reasons.append(
            f"the profile of machine {machine.reference} is not the one that recipe {recipe.reference} was signed for; "
            "restore that profile, or have a new version of the recipe signed"
        )
    return reasons


def _head_reasons(plan: StrengthPlan, machine: MachineProfile) -> list[str]:
    """Return why this head cannot dose a unit of this size."""
    reasons = []
    step = Microlitre(EXACT.divide(machine.e_area.value, machine.steps_per_mm.value))
    share = step.ratio(plan.target_volume) * 100
    if share > LARGEST_STEP:
        reasons.append(
            f"{plan.label}: one motor step of {machine.id} is {share.quantize(Decimal('0.01'))} % of the unit, "
            f"{LARGEST_STEP} % is allowed; use a finer head"
        )
    return reasons


def _design(plan: StrengthPlan, recipe: Recipe, machine: MachineProfile) -> _Design:
    geometry = recipe.geometry
    match geometry:
        case Dispense():
            if plan.target_volume > geometry.capsule_capacity:
                raise GeometryRefused(
                    [
                        f"{plan.target_volume.rounded(1)} do not go into a capsule body of size {geometry.capsule_size} "
                        f"({geometry.capsule_capacity}); choose a lower strength"
                    ]
                )
            return _Design(plan, plan_dispense(plan.target_volume, increment=_increment(machine)), MappingProxyType({"family": "dispense"}))
        case Cylinder() | Torus():
            solid = _solid(plan, recipe, machine)
            return _Design(plan, _path(solid, plan, recipe), _shape(solid))
        case _:
            assert_never(geometry)


def _solid(plan: StrengthPlan, recipe: Recipe, machine: MachineProfile) -> Solid:
    geometry = recipe.geometry
    layer = _range(recipe.parameters.layer_height)
    if isinstance(geometry, Torus):
        solid = build_solid("torus", plan.target_volume, aspect=EXACT.divide(Decimal(1), geometry.tube_to_ring), layer_height=layer)
    elif isinstance(geometry, Cylinder):
        solid = build_solid("cylinder", plan.target_volume, aspect=geometry.height_to_diameter, layer_height=layer)
    else:
        raise GeometryRefused(["a dispensed unit has no solid"])
    if solid.diameter > machine.plate.largest_unit_diameter.value:
        raise GeometryRefused(
            [f"the unit is {solid.diameter:.2f} mm across, the plate takes {machine.plate.largest_unit_diameter}; choose a lower strength"]
        )
    if solid.smallest_feature < machine.nozzle_diameter.value:
        raise GeometryRefused(
            [f"the unit is {solid.smallest_feature:.2f} mm at its thinnest, finer than the nozzle; choose a higher strength"]
        )
    return solid


def _shape(solid: Solid) -> Mapping[str, str]:
    """Return the family and dimensions of a solid as text, for records and pictures."""
    return MappingProxyType({"family": solid.family, "diameter_mm": f"{solid.diameter:.2f}", "height_mm": f"{solid.height:.2f}"})


def _path(solid: Solid, plan: StrengthPlan, recipe: Recipe) -> UnitPath:
    parameters = recipe.parameters
    bead = parameters.bead_width.set_point.value * parameters.layer_height.set_point.value
    speed = MillimetrePerSecond(EXACT.divide(parameters.flow_rate.set_point.value, bead))
    return plan_unit(slice_solid(solid), plan.target_volume, bead_width=_bead_range(recipe), speed=speed)


def _bead_range(recipe: Recipe) -> Range:
    """The proven range of the bead, less what the largest correction of the dose takes of it: a corrected unit must be provable too."""
    bead, rule = _range(recipe.parameters.bead_width), recipe.control.dose_correction
    if not isinstance(rule, DoseCorrection):
        return bead
    largest = rule.largest.fraction
    low, high = EXACT.divide(bead.low, 1 - largest), EXACT.divide(bead.high, 1 + largest)
    return Range(min(max(bead.set_point, low), high), low, high)


def _motion(recipe: Recipe, machine: MachineProfile, tallest: int) -> Motion:
    parameters = recipe.parameters
    surface = _micrometres(machine.plate.surface_z)
    return Motion(
        e_area=machine.e_area,
        flow=parameters.flow_rate.set_point,
        travel=min(parameters.travel_speed.set_point, machine.max_travel),
        z_travel=min(parameters.travel_speed.set_point, machine.max_z_travel),
        print_limit=machine.max_travel,
        retraction=parameters.retraction.set_point,
        retraction_rate=parameters.retraction_rate.set_point,
        increment=_increment(machine),
        surface_z=surface,
        clear_z=surface + tallest + _micrometres(parameters.travel_lift.set_point),
        park=(_micrometres(machine.park.x), _micrometres(machine.park.y), _micrometres(machine.park.z)),
        purge=(_micrometres(machine.purge.x), _micrometres(machine.purge.y), _micrometres(machine.purge.z)),
    )


def _increment(machine: MachineProfile) -> Microlitre:
    """Half the bounded exposure at most, so that the rounding of E cannot lift one line above it."""
    return min(INCREMENT, machine.bounded_exposure / 2)


def _actions(recipe: Recipe, machine: MachineProfile, motion: Motion) -> dict[ProcedureName, Written]:
    parameters = recipe.parameters
    reports = ["M155 S1"] if machine.firmware.reports_temperatures else []
    prime = plan_dispense(parameters.prime_volume.set_point, increment=motion.increment)
    heat = heat_commands(parameters.nozzle_temperature.set_point, parameters.plate_temperature.set_point)
    return {
        "prepare": write_commands("prepare", ["G21", "G90", "M83", *reports], motion),
        "heat": write_commands("heat", heat, motion),
        "home": write_commands("home", ["G28"], motion),
        "prime": write_prime(prime, motion),
        "park": write_park(motion),
        "heat_off": write_commands("heat_off", ["M104 S0", "M140 S0"], motion),
    }


def _write(section: str, design: _Design, place: Place, motion: Motion) -> Written:
    centre = (_micrometres(Millimetre(place[0])), _micrometres(Millimetre(place[1])))
    if isinstance(design.body, UnitPath):
        return write_unit(section, design.body, centre, motion)
    return write_dispense(section, design.body, centre, motion)


def _unit(n: int, design: _Design, place: Place, lines: Written, found: UnitProof) -> UnitProgram:
    return UnitProgram(
        n=n,
        strength=Milligram(0) if found.strength is None else found.strength,
        target_mass=design.plan.target_mass,
        target_volume=design.plan.target_volume,
        net_volume=found.net,
        gcode=lines.gcode,
        sha256=hashlib.sha256(lines.gcode).hexdigest(),
        commands=lines.commands,
        cumulative_nl=lines.cumulative_nl,
        duration_us=found.duration_us,
        centre=place,
        height=found.height,
        shape=design.shape,
        proof=found,
        purge=found.strength is None,
    )


def _action(name: ProcedureName, lines: Written) -> ActionProgram:
    return ActionProgram(name, lines.gcode, hashlib.sha256(lines.gcode).hexdigest(), lines.commands, lines.cumulative_nl)


def _exposure(cumulative: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(abs(after - before) for before, after in zip((0, *cumulative), cumulative, strict=False))


def _range(parameter: Parameter[Millimetre]) -> Range:
    return Range(parameter.set_point.value, parameter.low.value, parameter.high.value)


def _micrometres(length: Millimetre) -> int:
    return int(length.value.scaleb(3).to_integral_value())
