"""The proof: an independent reading of a program's final bytes against recipe, machine and dose.

`examine` reads the bytes with `gcode_reader` (own parser, own integer model of the machine), then judges what each section
adds up to: net volume of every unit against its target, beads and layers against their proven acceptable ranges, sizes
against the volume, sections in order and each once. It shares no code with the writer and takes from `recipes` only
values and errors. `prove` raises where `examine` lists; a program without a proof is not printed.

Closure is judged at the larger of 0.05 % of the target and half a motor step; both the volume as written and the volume
after rounding to whole motor steps are reported.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from decimal import Decimal

from audit.canonical import JsonValue
from audit.quantities import EXACT, Microlitre, Millimetre, plain_text
from recipes.errors import ProofRefused
from recipes.figures import Q
from recipes.gcode_extent import cavity_refusals
from recipes.gcode_reader import ProgramReader
from recipes.gcode_sizes import expected_reach, family_reasons
from recipes.gcode_values import SECTIONS_AFTER, Limits, SectionTally, sections_before
from recipes.model import Dispense, Geometry, MachineProfile, Parameter, Recipe
from recipes.proof import Margin, Proof, UnitProof, UnitTarget, pair_text, shown

CLOSURE_PERCENT = Decimal("0.05")
_SIZE_AGREES = Decimal("0.03")


def prove(
    content: bytes,
    *,
    recipe: Recipe,
    machine: MachineProfile,
    units: Sequence[UnitTarget],
    demonstration: bool,
    purges: Sequence[UnitTarget] = (),
) -> Proof:
    """Read a whole program and return its proof. Raises ProofRefused with the reasons, each with its line."""
    proof = examine(content, recipe=recipe, machine=machine, units=units, demonstration=demonstration, purges=purges)
    if proof.refusals:
        raise ProofRefused(proof.refusals, remedy="Do not print this program; compile the order again from the effective recipe.")
    return proof


def examine(
    content: bytes,
    *,
    recipe: Recipe,
    machine: MachineProfile,
    units: Sequence[UnitTarget],
    demonstration: bool,
    purges: Sequence[UnitTarget] = (),
) -> Proof:
    """Read a whole program and return what was found, refusals included. `purges` and `units` are in order of printing, n from 1."""
    parts = tuple(zip(recipe.parts, machine.heads, strict=False))
    if len(parts) != len(recipe.parts):
        raise ProofRefused([f"recipe {recipe.reference} prints {len(recipe.parts)} inks, machine {machine.id} has {len(parts)} head"])
    heads = tuple(limits_of(part, head, offset) for (part, head), offset in zip(parts, _offsets(machine), strict=False))
    places, purge_places = ({unit.n: (_scaled(unit.x), _scaled(unit.y)) for unit in targets} for targets in (units, purges))
    reader = ProgramReader(heads, tuple(places.values()), tuple(purge_places.values()))
    reader.read(content)
    refusals = reader.refusals
    refusals.extend(_header_refusals(reader.header, recipe, machine, demonstration))
    refusals.extend(_order_refusals(reader.sections, units, purges, len(heads)))
    found = {(section.purge, section.n, section.part): section for section in reader.sections if section.n}
    proofs: list[UnitProof] = []
    for unit in (*purges, *units):
        section = found.get((unit.strength is None, unit.n, unit.part))
        if section is not None:
            part, head = parts[section.head]
            proofs.append(_unit_proof(section, unit, heads[section.head], head))
            refusals.extend(_unit_refusals(proofs[-1], unit, part, head))
            refusals.extend(cavity_refusals(content, unit.name, (unit.x, unit.y), section.name, head.plate))
            refusals.extend(_overhang(proofs, unit))
    primed = []
    for number, limits in enumerate(heads):
        pushed = sum(section.deposited for section in reader.sections if section.primes and section.head == number) * limits.area
        refusals.extend(_prime_refusals(pushed, limits, number if len(heads) > 1 else None))
        primed.append(Microlitre(_litres(pushed)))
    return Proof(
        sha256=hashlib.sha256(content).hexdigest(),
        lines=reader.lines,
        units=tuple(proof for proof in proofs if proof.strength is not None),
        purges=tuple(proof for proof in proofs if proof.strength is None),
        margins=(*_margins(proofs, reader, recipe, machine), *_prime_margins(primed, recipe)),
        primed=tuple(primed),
        duration_us=sum(section.time_us for section in reader.sections),
        refusals=tuple(refusals),
    )


def _offsets(machine: MachineProfile) -> tuple[tuple[int, int, int], ...]:
    second = machine.second_head
    own = (0, 0, 0)
    if second is None:
        return (own,)
    return own, (_scaled(second.offset.x.value), _scaled(second.offset.y.value), _scaled(second.offset.z.value))


def _overhang(proofs: Sequence[UnitProof], unit: UnitTarget) -> list[str]:
    """A second part stands on the first: it may reach no further."""
    if unit.part != 2 or len(proofs) < 2 or (below := proofs[-2]).n != unit.n:
        return []
    own, under = _outside(proofs[-1]), _outside(below)
    if own <= under * (1 + _SIZE_AGREES):
        return []
    return [f"{unit.name}: it reaches {shown(own, 3)} mm from its place, the part that it stands on {shown(under, 3)} mm"]


def _outside(proof: UnitProof) -> Decimal:
    """How far a part reaches from its place, half a bead beyond the path, in mm."""
    return proof.radius + (proof.bead_width[0] / 2 if proof.bead_width is not None else 0)


def limits_of(recipe: Recipe, machine: MachineProfile, offset: tuple[int, int, int] = (0, 0, 0)) -> Limits:
    """Return every limit of recipe and machine, or of one part and its head, as integers for the reader.

    The nozzle, and the carriage that stands `offset` beside it, both stay inside the envelope.
    """
    parameters, box, plate = recipe.parameters, machine.envelope, machine.plate
    sides = (_span(box.x_min, box.x_max), _span(box.y_min, box.y_max), _span(box.z_min, box.z_max))
    x, y, z = ((max(low, low + by), min(high, high + by)) for (low, high), by in zip(sides, offset, strict=True))
    return Limits(
        area=_scaled(machine.e_area.value),
        envelope=(x, y, z),
        offset=offset,
        flow=_range(parameters.flow_rate, 60 * 10**12),
        retraction=_range(parameters.retraction, 10**12),
        retraction_rate=_range(parameters.retraction_rate, 60 * 10**12),
        prime=_range(parameters.prime_volume, 10**12),
        travel=_range(parameters.travel_speed, 60 * 10**6, ceiling=machine.max_travel.value),
        z_travel=_scaled(machine.max_z_travel.value * 60),
        print_feed=_scaled(machine.max_travel.value * 60),
        volumetric_rate=int(machine.max_volumetric_rate.value * 60 * 10**12),
        layer=_range(parameters.layer_height, 10**6),
        lift=_scaled(parameters.travel_lift.low.value + plate.rim.value),
        surface_z=_scaled(plate.surface_z.value),
        exposure=int(machine.bounded_exposure.value * 10**12),
        footprint=_scaled(plate.largest_unit_diameter.value) // 2,
        park=(_scaled(machine.park.x.value), _scaled(machine.park.y.value)),
        purge=(_scaled(machine.purge.x.value), _scaled(machine.purge.y.value), _scaled(machine.purge.z.value)),
        temperatures=(_scaled(parameters.nozzle_temperature.set_point.value), _scaled(parameters.plate_temperature.set_point.value)),
        dispense=recipe.geometry.family == "dispense",
        unknown=frozenset() if machine.firmware.reports_temperatures else frozenset({"M155"}),
    )


def _header_refusals(header: Sequence[str], recipe: Recipe, machine: MachineProfile, demonstration: bool) -> list[str]:
    wanted = ["DOSEWRIGHT 1", f"RECIPE {recipe.reference} {recipe.digest}", f"MACHINE {machine.reference} {machine.digest}"]
    wanted.append(f"E_AREA_MM2 {' '.join(plain_text(head.e_area.value) for head in machine.heads)}")
    if demonstration:
        wanted.append("DEMONSTRATION not for patients")
    missing = [f"the header lacks {line[:60]!r}" for line in wanted if line not in header]
    foreign = [f"the header says {line[:60]!r}, which is not of this order" for line in header if line not in wanted]
    if not missing and not foreign and list(header) != wanted:
        return ["the header repeats a line or is out of order"]
    return missing + foreign


def _order_refusals(sections: Sequence[SectionTally], units: Sequence[UnitTarget], purges: Sequence[UnitTarget], heads: int) -> list[str]:
    printed = [f"PURGE {n}" for n in range(1, len(purges) + 1)]
    parts = [""] if heads == 1 else [f" PART {part}" for part in range(1, heads + 1)]
    printed += [f"UNIT {n}{part}" for n in range(1, len(units) // heads + 1) for part in parts]
    wanted = [*sections_before(heads), *printed, *SECTIONS_AFTER]
    found = [section.name for section in sections]
    refusals = []
    if found != wanted:
        first = next((place for place, (a, b) in enumerate(zip(found, wanted, strict=False)) if a != b), min(len(found), len(wanted)))
        expected = wanted[first] if first < len(wanted) else "the end"
        refusals.append(f"the sections are not in order, each once: {expected} was expected as section {first + 1}")
    nozzles = ["104"] if heads == 1 else [f"104 T{head}" for head in range(heads)]
    for section in sections:
        if section.name in ("HEAT", "HEAT OFF") and sorted(section.temperatures) != [*nozzles, "140"]:
            refusals.append(f"{section.name} must set {'nozzle' if heads == 1 else 'each nozzle'} and plate once each")
    return refusals


def _prime_refusals(primed: int, limits: Limits, head: int | None) -> list[str]:
    low, high = limits.prime
    slack = 10 * limits.area
    if low <= primed + slack and primed - slack <= high:
        return []
    which = "" if head is None else f" of T{head}"
    return [f"priming{which} pushes {shown(_litres(primed), 2)} uL, outside {shown(_litres(low), 0)} to {shown(_litres(high), 0)} uL"]


def _unit_proof(section: SectionTally, unit: UnitTarget, limits: Limits, machine: MachineProfile) -> UnitProof:
    net = _litres(section.net * limits.area)
    target = unit.volume.value
    steps = (Decimal(section.net).scaleb(-6) * machine.steps_per_mm.value).to_integral_value(context=EXACT)
    stepped = EXACT.divide(steps, machine.steps_per_mm.value) * machine.e_area.value
    thicknesses = [Decimal(layer.thickness).scaleb(-6) for layer in section.layers]
    beads = [
        EXACT.divide(Decimal(layer.volume), Decimal(layer.length) * layer.thickness)
        for layer in section.layers
        if layer.length and layer.thickness
    ]
    top = section.layers[-1].z - section.base if section.layers else 0
    return UnitProof(
        n=unit.n,
        strength=unit.strength,
        target=unit.volume,
        net=Microlitre(net),
        closure=EXACT.divide((net - target) * 100, target),
        step_closure=EXACT.divide((stepped - target) * 100, target),
        height=Decimal(top).scaleb(-6),
        radius=EXACT.sqrt(Decimal(section.radius_squared)).scaleb(-6),
        layers=len(section.layers),
        layer_height=(min(thicknesses), max(thicknesses)) if thicknesses else None,
        bead_width=(min(beads), max(beads)) if beads else None,
        flow=(_per_second(section.slowest or 0), _per_second(section.fastest)),
        duration_us=section.time_us,
        lines=section.lines,
        end=tuple(Decimal(at).scaleb(-6) for at in section.end if at is not None),
        part=unit.part,
    )


def _unit_refusals(proof: UnitProof, unit: UnitTarget, recipe: Recipe, machine: MachineProfile) -> list[str]:
    where = unit.name
    refusals = []
    half_step = EXACT.divide(machine.e_area.value, machine.steps_per_mm.value * 2)
    allowed = max(unit.volume.value * CLOSURE_PERCENT / 100, half_step)
    if abs(proof.net.value - unit.volume.value) > allowed:
        refusals.append(
            f"{where}: net volume {shown(proof.net.value, 3)} uL against {shown(unit.volume.value, 3)} uL, "
            f"{shown(proof.closure, 3)} %; retractions are counted"
        )
    if not isinstance(recipe.geometry, Dispense):
        bead = recipe.parameters.bead_width
        if proof.bead_width is None:
            refusals.append(f"{where}: nothing is laid down")
        elif proof.bead_width[0] < bead.low.value or proof.bead_width[1] > bead.high.value:
            refusals.append(f"{where}: beads of {_text(pair_text(proof.bead_width, 3))} mm leave {bead.low.text} to {bead.high}")
        else:
            refusals.extend(_size_refusals(proof, unit, recipe.geometry, machine))
    return refusals


def _size_refusals(proof: UnitProof, unit: UnitTarget, geometry: Geometry, machine: MachineProfile) -> list[str]:
    """The size that the volume and the height printed demand, by formula: it catches a unit that is moved or spread out."""
    if proof.bead_width is None or proof.height <= 0:
        return [f"{unit.name}: it has no height"]
    expected = expected_reach(geometry, unit.volume, proof.height)
    if expected is None:
        return []
    found = proof.radius + proof.bead_width[0] / 2
    if 2 * expected > machine.plate.largest_unit_diameter.value:
        return [f"{unit.name}: {shown(2 * expected, 2)} mm across is more than the plate's {machine.plate.largest_unit_diameter}"]
    slack = expected * _SIZE_AGREES + proof.bead_width[0] / 4
    if not expected - 2 * slack <= found <= expected + slack:
        return [f"{unit.name}: it reaches {shown(found, 3)} mm from its place, its volume and height make {shown(expected, 3)} mm"]
    others = family_reasons(geometry, unit.volume, proof.height, proof.bead_width[0], proof.layers, proof.radius)
    return [f"{unit.name}: {reason}" for reason in others]


def _margins(proofs: Sequence[UnitProof], reader: ProgramReader, recipe: Recipe, machine: MachineProfile) -> tuple[Margin, ...]:
    box = machine.envelope
    margins = []
    for number, part in enumerate(recipe.parts, start=1):
        mine = [proof for proof in proofs if proof.part in (0, number)]
        margins.extend(_part_margins(mine, part, f", part {number}" if recipe.second_ink else ""))
    sides = ((box.x_min, box.x_max), (box.y_min, box.y_max), (box.z_min, box.z_max))
    for axis, (lowest, highest) in enumerate(sides):
        reach = reader.reach[axis]
        if reach is not None:
            low, high = (Decimal(end).scaleb(-6) for end in reach)
            margins.append(Margin(f"envelope {'xyz'[axis]}", "mm", lowest.value, highest.value, low, high))
    if proofs:
        closures = [unit.closure for unit in proofs]
        margins.append(Margin("net volume per unit", "%", -CLOSURE_PERCENT, CLOSURE_PERCENT, min(closures), max(closures)))
    return tuple(margins)


def _prime_margins(primed: Sequence[Microlitre], recipe: Recipe) -> list[Margin]:
    margins = []
    for number, (volume, part) in enumerate(zip(primed, recipe.parts, strict=True), start=1):
        allowed, name = part.parameters.prime_volume, f"prime volume, part {number}" if recipe.second_ink else "prime volume"
        margins.append(Margin(name, allowed.set_point.unit, allowed.low.value, allowed.high.value, volume.value, volume.value))
    return margins


def _part_margins(proofs: Sequence[UnitProof], recipe: Recipe, which: str) -> list[Margin]:
    parameters = recipe.parameters
    margins = []
    ranges = (
        ("flow rate", parameters.flow_rate, [unit.flow for unit in proofs]),
        ("layer height", parameters.layer_height, [unit.layer_height for unit in proofs]),
        ("bead width", parameters.bead_width, [unit.bead_width for unit in proofs]),
    )
    for name, parameter, found in ranges:
        pairs = [pair for pair in found if pair is not None]
        if pairs:
            low, high = min(pair[0] for pair in pairs), max(pair[1] for pair in pairs)
            margins.append(Margin(name + which, parameter.set_point.unit, parameter.low.value, parameter.high.value, low, high))
    return margins


def _range(parameter: Parameter[Q], factor: int, ceiling: Decimal | None = None) -> tuple[int, int]:
    high = parameter.high.value if ceiling is None else min(parameter.high.value, ceiling)
    return int(parameter.low.value * factor), int(high * factor)


def _span(low: Millimetre, high: Millimetre) -> tuple[int, int]:
    return _scaled(low.value), _scaled(high.value)


def _scaled(value: Decimal) -> int:
    return int(value.scaleb(6))


def _litres(attolitres: int) -> Decimal:
    return Decimal(attolitres).scaleb(-12)


def _per_second(attolitres_per_minute: int) -> Decimal:
    return EXACT.divide(Decimal(attolitres_per_minute).scaleb(-12), Decimal(60))


def _text(pair: list[JsonValue]) -> str:
    return " to ".join(str(value) for value in pair)
