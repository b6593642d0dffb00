"""Compile: order, recipe, ink lot, cartridge and machine become a proved print program.

The only place that joins them. What stands against the order is collected and refused at once, with every reason. The
proof reads the final bytes; sizes of time come from it, so that there is one estimate.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from types import MappingProxyType

from audit.quantities import Milligram, Millimetre, Year
from recipes.binding import Source, binding_reasons
from recipes.capability import balance_reasons, total_reasons
from recipes.clearance import clearance_reasons
from recipes.designs import Design, design_unit, head_reasons, scale_design, stacking_reasons, swallowing_reasons
from recipes.dose import DoseResult, StrengthPlan, calculate
from recipes.errors import CompileRefused, DoseRefused, GeometryRefused, SolidFileRefused
from recipes.gcode_check import prove
from recipes.gcode_writer import Motion, ProcedureName, Written, write_dispense, write_preamble, write_unit
from recipes.inks import cartridge_reasons, course_reasons, ink_reasons, release_reasons
from recipes.model import Cartridge, DoseCorrection, DoseOrder, InkLot, MachineProfile, Recipe, StlSolid
from recipes.plate import Place, lay_out, purge_places
from recipes.plausibility import prescription_reasons
from recipes.procedures import micrometres, plan_motion, write_actions
from recipes.program import AFTER, BEFORE, ActionProgram, Basis, Piece, PrintProgram, UnitProgram, head_of, procedure_bytes
from recipes.proof import UnitProof, UnitTarget
from recipes.purge_units import plan_purge, purge_reasons
from recipes.stl_solid import FileSolid, bound_solid
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
    second: tuple[InkLot, Cartridge] | None = None,
    solid: bytes | None = None,
) -> PrintProgram:
    """Compile and prove the program of an order; `today` is an ISO date, `second` what the second ink of a unit is printed from.

    `solid` is the STL file of a recipe that binds one.

    Raises DoseRefused where no dose follows, CompileRefused with every reason that stands against the order, ProofRefused
    where the bytes fail their own proof.
    """
    sources = [Source(ink, cartridge), *([Source(*second)] if second is not None else [])]
    reasons = binding_reasons(order, recipe, sources, machine)
    for part, source in zip(recipe.parts, sources, strict=False):
        reasons.extend(ink_reasons(part, source.ink, today))
    reasons.extend(prescription_reasons(recipe, order.prescription, today))
    reasons.extend(release_reasons(recipe, [source.ink for source in sources]))
    reasons.extend(course_reasons(recipe, [(source.ink, source.cartridge) for source in sources], order.prescription.days, today))
    try:
        dose = calculate(recipe, order.prescription, ink, None if second is None else second[0])
    except DoseRefused as refused:
        if set(reasons) <= set(refused.reasons):
            raise
        raise CompileRefused(tuple(dict.fromkeys([*refused.reasons, *reasons]))) from refused
    if recipe.second_ink is not None and machine.second_head is None:
        reasons.append(f"recipe {recipe.reference} prints two inks, machine {machine.id} has one head; print on a cell with two")
        raise CompileRefused(tuple(dict.fromkeys(reasons)), remedy="Nothing is printed.")
    if recipe.second_ink is None and machine.second_head is not None:
        reasons.append(
            f"recipe {recipe.reference} prints one ink, machine {machine.id} has two heads: which one is in use would not be known; "
            "print on a cell with one head"
        )
    for part, head, source, plans in zip(recipe.parts, machine.heads, sources, dose.parts, strict=False):
        reasons.extend(_part_reasons(part, head, source, plans, today))
    purge = plan_purge(recipe, dose, ink)
    reasons.extend(purge_reasons(purge, recipe, machine))
    places: tuple[tuple[Place, ...], ...] = ()
    try:
        places = lay_out(machine.plate, [plan.units for plan in dose.strengths], 0 if purge is None else purge.units)
    except CompileRefused as refused:
        reasons.extend(refused.reasons)
    design = _Designer(_bound(recipe, solid, reasons), order.prescription.age, reasons)
    designs = [
        design.strengths(plans.strengths, part, head) for part, head, plans in zip(recipe.parts, machine.heads, dose.parts, strict=False)
    ]
    for parts in zip(*designs, strict=False):
        reasons.extend(swallowing_reasons(recipe, order.prescription.age, parts))
    purged = None if purge is None else design.one(purge, recipe, machine, "purge unit")
    for parts in zip(*designs, strict=False) if len(designs) > 1 else ():
        reasons.extend(stacking_reasons(parts))
    reasons.extend(clearance_reasons([*(one for part in designs for one in part), *([purged] if purged else [])], machine))
    if reasons:
        raise CompileRefused(tuple(dict.fromkeys(reasons)), remedy="Nothing is printed.")
    return _assemble(dose, designs, places, purged, recipe, machine, demonstration)


def _part_reasons(part: Recipe, head: MachineProfile, source: Source, dose: DoseResult, today: str) -> list[str]:
    """Return what stands against one part of the units: its cartridge, and whether balance and totals can judge it."""
    volumes = [plan.target_volume * _largest_factor(part) for plan in dose.strengths for _ in range(plan.units)]
    reasons = list(cartridge_reasons(part, source.ink, source.cartridge, head, volumes, today))
    if part.weighing.external_balance is None:
        # Where the recipe permits an external balance, the cell judges at its gates whether it has one that can.
        reasons.extend(balance_reasons(part, head, [plan.target_mass for plan in dose.strengths]))
    reasons.extend(total_reasons(part, head, [(plan.target_mass, plan.target_volume) for plan in dose.strengths]))
    return reasons


def _bound(recipe: Recipe, solid: bytes | None, reasons: list[str]) -> FileSolid | None:
    """Return the checked solid of a recipe that binds an STL file; what stands against it is added to the reasons."""
    if not isinstance(recipe.geometry, StlSolid):
        return None
    try:
        return bound_solid(recipe.geometry, solid)
    except SolidFileRefused as refused:
        reasons.extend([*refused.reasons, refused.remedy])
    return None


@dataclass(frozen=True, slots=True)
class _Designer:
    """Designs the units of an order; what cannot be designed is added to the reasons."""

    file: FileSolid | None
    age: Year | None
    reasons: list[str]

    def strengths(self, plans: Sequence[StrengthPlan], recipe: Recipe, machine: MachineProfile) -> list[Design]:
        found = [self.one(plan, recipe, machine, str(plan.label)) for plan in plans]
        return [design for design in found if design is not None]

    def one(self, plan: StrengthPlan, recipe: Recipe, machine: MachineProfile, what: str) -> Design | None:
        self.reasons.extend(head_reasons(plan, machine))
        if isinstance(recipe.geometry, StlSolid) and self.file is None:
            return None
        try:
            return design_unit(plan, recipe, machine, age=self.age, file=self.file)
        except GeometryRefused as refused:
            self.reasons.extend(f"{what}: {reason}" for reason in refused.reasons)
        return None


def _assemble(
    dose: DoseResult,
    designs: list[list[Design]],
    places: tuple[tuple[Place, ...], ...],
    purged: Design | None,
    recipe: Recipe,
    machine: MachineProfile,
    demonstration: bool,
) -> PrintProgram:
    purges = [] if purged is None else [(purged, place) for place in purge_places(machine.plate, purged.plan.units)]
    first = tuple(Piece(n, design, place, purge=True) for n, (design, place) in enumerate(purges, start=1))
    pieces = _pieces(designs, places)
    motions = _motions(recipe, machine, designs, [design.height for design, _ in purges])
    preamble = write_preamble(
        recipe=f"{recipe.reference} {recipe.digest}",
        machine=f"{machine.reference} {machine.digest}",
        e_areas=[head.e_area for head in machine.heads],
        demonstration=demonstration,
    )
    written = write_actions(recipe, machine, motions)
    sections = [_write(piece, motions) for piece in (*first, *pieces)]
    before = b"".join(written[name].gcode for name in BEFORE if name in written)
    after = b"".join(written[name].gcode for name in AFTER)
    planned = b"".join([preamble, before, *(section.gcode for section in sections), after])
    proof = prove(planned, recipe=recipe, machine=machine, units=_targets(pieces), demonstration=demonstration, purges=_targets(first))
    units = [
        _unit(piece, lines, found) for piece, lines, found in zip((*first, *pieces), sections, (*proof.purges, *proof.units), strict=True)
    ]
    return PrintProgram(
        dose=dose,
        preamble=preamble,
        actions=MappingProxyType({name: _action(name, lines) for name, lines in written.items()}),
        purges=tuple(units[: len(first)]),
        units=tuple(units[len(first) :]),
        planned=planned,
        sha256=proof.sha256,
        proof=proof,
        e_area=machine.e_area,
        basis=Basis(recipe, machine, motions, demonstration, pieces, first),
    )


def _pieces(designs: list[list[Design]], places: tuple[tuple[Place, ...], ...]) -> tuple[Piece, ...]:
    """Return the units in order of printing; of a unit of two inks one part after the other, at one place."""
    found: list[Piece] = []
    n = 0
    several = len(designs) > 1
    for strength, group in enumerate(places):
        for place in group:
            n += 1
            found.extend(Piece(n, of_part[strength], place, part=k if several else 0) for k, of_part in enumerate(designs, start=1))
    return tuple(found)


def _motions(recipe: Recipe, machine: MachineProfile, designs: list[list[Design]], purge_heights: list[int]) -> tuple[Motion, ...]:
    """Return how each part's head moves: above all that will stand on the plate, a second part upon the first."""
    if len(designs) == 1:
        return (plan_motion(recipe, machine, max([*(design.height for design in designs[0]), *purge_heights])),)
    heights = [max(design.height for design in of_part) for of_part in designs]
    return tuple(
        plan_motion(part, head, sum(heights), tool=k, base=sum(heights[:k]))
        for k, (part, head) in enumerate(zip(recipe.parts, machine.heads, strict=True))
    )


def compile_unit(program: PrintProgram, n: int, flow_factor: Decimal, *, purge: bool = False, part: int = 0) -> UnitProgram:
    """Compile unit `n`, a part of it, or purge unit `n` anew with its volume times `flow_factor`; prove it in the whole program.

    Its path stays: what changes is the volume along it. Raises CompileRefused where the recipe does not correct the dose
    or not so far, ProofRefused where the bytes fail their proof.
    """
    basis = program.basis
    recipe, head = basis.recipe.parts[head_of(part)], basis.machine.heads[head_of(part)]
    rule = recipe.control.dose_correction
    if not isinstance(rule, DoseCorrection):
        raise CompileRefused([f"recipe {basis.recipe.reference} does not correct the dose"], remedy="Print the program as planned.")
    pieces = (*basis.purges, *basis.pieces)
    chosen = next((piece for piece in pieces if (piece.n, piece.part, piece.purge) == (n, part, purge)), None)
    if chosen is None:
        raise CompileRefused([f"there is no {'purge ' if purge else ''}unit {n}{f' part {part}' if part else ''} in this program"])
    if abs(flow_factor - 1) > rule.largest.fraction:
        raise CompileRefused([f"a flow factor of {flow_factor} is beyond {rule.largest} about 1"], remedy="End the run and find the cause.")
    scaled = replace(chosen, design=scale_design(chosen.design, flow_factor, recipe, head))
    lines = _write(scaled, basis.motions)
    before, after = procedure_bytes(program)
    sections = [
        lines.gcode if piece is chosen else unit.gcode for piece, unit in zip(pieces, (*program.purges, *program.units), strict=True)
    ]
    changed = [scaled if piece is chosen else piece for piece in pieces]
    proof = prove(
        b"".join([program.preamble, before, *sections, after]),
        recipe=basis.recipe,
        machine=basis.machine,
        units=_targets([piece for piece in changed if not piece.purge]),
        demonstration=basis.demonstration,
        purges=_targets([piece for piece in changed if piece.purge]),
    )
    at = changed.index(scaled)
    return _unit(scaled, lines, (*proof.purges, *proof.units)[at])


def _targets(pieces: Sequence[Piece]) -> list[UnitTarget]:
    return [
        UnitTarget(
            n=piece.n,
            strength=None if piece.purge else piece.design.plan.label,
            volume=piece.design.plan.target_volume,
            x=piece.place[0],
            y=piece.place[1],
            part=piece.part,
        )
        for piece in pieces
    ]


def _largest_factor(recipe: Recipe) -> Decimal:
    """What a unit may take of the cartridge at most, as a multiple of its planned volume."""
    rule = recipe.control.dose_correction
    return 1 + rule.largest.fraction if isinstance(rule, DoseCorrection) else Decimal(1)


def _write(piece: Piece, motions: Sequence[Motion]) -> Written:
    place, body, motion = piece.place, piece.design.body, motions[head_of(piece.part)]
    centre = (micrometres(Millimetre(place[0])), micrometres(Millimetre(place[1])))
    if isinstance(body, UnitPath):
        return write_unit(piece.section, body, centre, motion)
    return write_dispense(piece.section, body, centre, motion)


def _unit(piece: Piece, lines: Written, found: UnitProof) -> UnitProgram:
    plan = piece.design.plan
    return UnitProgram(
        n=piece.n,
        strength=Milligram(0) if found.strength is None else found.strength,
        target_mass=plan.target_mass,
        target_volume=plan.target_volume,
        net_volume=found.net,
        gcode=lines.gcode,
        sha256=hashlib.sha256(lines.gcode).hexdigest(),
        commands=lines.commands,
        cumulative_nl=lines.cumulative_nl,
        duration_us=found.duration_us,
        centre=piece.place,
        height=found.height,
        shape=piece.design.shape,
        proof=found,
        purge=piece.purge,
        part=piece.part,
    )


def _action(name: ProcedureName, lines: Written) -> ActionProgram:
    return ActionProgram(name, lines.gcode, hashlib.sha256(lines.gcode).hexdigest(), lines.commands, lines.cumulative_nl)
