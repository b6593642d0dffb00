"""Compile: order, recipe, ink lot, cartridge and machine become a proved print program.

The only place that joins them. What stands against the order is collected and refused at once, with every reason. The
proof reads the final bytes; sizes of time come from it, so that there is one estimate.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from decimal import Decimal
from types import MappingProxyType

from audit.quantities import Milligram, Millimetre
from recipes.capability import balance_reasons, total_reasons
from recipes.designs import Design, design_unit, head_reasons, scale_design
from recipes.dose import DoseResult, calculate
from recipes.errors import CompileRefused, DoseRefused, GeometryRefused
from recipes.gcode_check import UnitProof, UnitTarget, prove
from recipes.gcode_writer import Motion, ProcedureName, Written, write_dispense, write_preamble, write_unit
from recipes.inks import cartridge_reasons, ink_reasons
from recipes.model import Cartridge, DoseCorrection, DoseOrder, InkLot, MachineProfile, Recipe
from recipes.plate import Place, lay_out, purge_places
from recipes.procedures import micrometres, plan_motion, write_actions
from recipes.program import AFTER, BEFORE, ActionProgram, Basis, PrintProgram, UnitProgram, procedure_bytes
from recipes.purge_units import plan_purge, purge_reasons
from recipes.toolpath import UnitPath


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
    purge = plan_purge(recipe, dose, ink)
    reasons.extend(purge_reasons(purge, recipe, machine))
    places: tuple[tuple[Place, ...], ...] = ()
    try:
        places = lay_out(machine.plate, [plan.units for plan in dose.strengths], 0 if purge is None else purge.units)
    except CompileRefused as refused:
        reasons.extend(refused.reasons)
    designs = []
    for plan in (*dose.strengths, *([purge] if purge is not None else ())):
        reasons.extend(head_reasons(plan, machine))
        try:
            designs.append(design_unit(plan, recipe, machine))
        except GeometryRefused as refused:
            reasons.extend(f"{'purge unit' if plan is purge else plan.label}: {reason}" for reason in refused.reasons)
    if reasons:
        raise CompileRefused(tuple(dict.fromkeys(reasons)), remedy="Nothing is printed.")
    purged = designs.pop() if purge is not None else None
    return _assemble(dose, designs, places, purged, recipe, machine, demonstration)


def _assemble(
    dose: DoseResult,
    designs: list[Design],
    places: tuple[tuple[Place, ...], ...],
    purged: Design | None,
    recipe: Recipe,
    machine: MachineProfile,
    demonstration: bool,
) -> PrintProgram:
    purges = [] if purged is None else [(purged, place) for place in purge_places(machine.plate, purged.plan.units)]
    motion = plan_motion(recipe, machine, max(design.height for design in (*designs, *(design for design, _ in purges))))
    preamble = write_preamble(
        recipe=f"{recipe.reference} {recipe.digest}",
        machine=f"{machine.reference} {machine.digest}",
        e_area=machine.e_area,
        demonstration=demonstration,
    )
    written = write_actions(recipe, machine, motion)
    placed = [(design, place) for design, group in zip(designs, places, strict=True) for place in group]
    units = [_write(f"UNIT {n}", design, place, motion) for n, (design, place) in enumerate(placed, start=1)]
    first = [_write(f"PURGE {n}", design, place, motion) for n, (design, place) in enumerate(purges, start=1)]
    before = b"".join(written[name].gcode for name in BEFORE)
    after = b"".join(written[name].gcode for name in AFTER)
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
    scaled = scale_design(design, flow_factor, basis.recipe, basis.machine)
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


def _targets(placed: Sequence[tuple[Design, Place]], *, purge: bool = False) -> list[UnitTarget]:
    return [
        UnitTarget(n=n, strength=None if purge else design.plan.label, volume=design.plan.target_volume, x=place[0], y=place[1])
        for n, (design, place) in enumerate(placed, start=1)
    ]


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


def _write(section: str, design: Design, place: Place, motion: Motion) -> Written:
    centre = (micrometres(Millimetre(place[0])), micrometres(Millimetre(place[1])))
    if isinstance(design.body, UnitPath):
        return write_unit(section, design.body, centre, motion)
    return write_dispense(section, design.body, centre, motion)


def _unit(n: int, design: Design, place: Place, lines: Written, found: UnitProof) -> UnitProgram:
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
