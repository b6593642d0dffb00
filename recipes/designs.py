"""Designs: what the units of one strength have in common, their path or their dispensing, and whether this head can make them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise
from types import MappingProxyType
from typing import assert_never

from audit.quantities import EXACT, Microlitre, Millimetre, MillimetrePerSecond, Year, plain_text
from recipes.dose import StrengthPlan
from recipes.errors import GeometryRefused
from recipes.exact_designs import ProvenRanges, plan_exact
from recipes.model import Caplet, Cylinder, Dispense, DoseCorrection, Film, Grid, MachineProfile, Parameter, Recipe, StlSolid, Torus
from recipes.patient_rules import largest_for
from recipes.shapes import Range, Solid, build_solid, slice_solid
from recipes.stl_solid import FileSolid
from recipes.toolpath import UnitPath, plan_dispense, plan_unit

INCREMENT = Microlitre(2)
"""Largest amount that one line moves with E alone, so that little is under way when a run is stopped."""

LARGEST_STEP = Decimal("0.5")
"""Percent of a unit that one motor step may move; a coarser head cannot dose it."""


@dataclass(frozen=True, slots=True)
class Design:
    """What the units of one strength have in common."""

    plan: StrengthPlan
    body: UnitPath | tuple[Fraction, ...]
    shape: Mapping[str, str]

    @property
    def height(self) -> int:
        """Height above the surface in µm."""
        return self.body.height if isinstance(self.body, UnitPath) else 0


def design_unit(
    plan: StrengthPlan, recipe: Recipe, machine: MachineProfile, *, age: Year | None = None, file: FileSolid | None = None
) -> Design:
    """Design the units of one strength; `age` of the patient, `file` the checked solid of a recipe that binds an STL file.

    Raises GeometryRefused where the geometry of the recipe does not give a unit of this volume.
    """
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
            return Design(
                plan, plan_dispense(plan.target_volume, increment=line_increment(machine)), MappingProxyType({"family": "dispense"})
            )
        case Cylinder() | Torus():
            solid = smooth_solid(plan, recipe, machine)
            return Design(plan, _path(solid, plan, recipe), _shape(solid))
        case Caplet() | Film() | Grid() | StlSolid():
            printed = plan_exact(geometry, plan.target_volume, machine, exact_ranges(recipe), age=age, file=file)
            return Design(plan, printed.path, printed.shape)
        case _:
            assert_never(geometry)


def scale_design(design: Design, factor: Decimal, recipe: Recipe, machine: MachineProfile) -> Design:
    """Return the design with its volume times `factor`; its path stays. Raises GeometryRefused where a capsule does not hold it."""
    volume = Microlitre(EXACT.multiply(design.plan.target_volume.value, factor))
    plan = replace(design.plan, target_volume=volume)
    if not isinstance(design.body, UnitPath):
        return design_unit(plan, recipe, machine)
    layers = tuple(replace(layer, volume=layer.volume * Fraction(factor)) for layer in design.body.layers)
    return replace(design, plan=plan, body=replace(design.body, volume=volume, layers=layers))


def stacking_reasons(designs: Sequence[Design]) -> list[str]:
    """Return why the parts of a unit (one design each, from the plate up) cannot stand upon each other."""
    reasons = []
    for lower, upper in pairwise(designs):
        if Decimal(upper.shape["diameter_mm"]) > Decimal(lower.shape["diameter_mm"]):
            reasons.append(
                f"the part of {upper.plan.label} would be {upper.shape['diameter_mm']} mm across, upon one of "
                f"{lower.shape['diameter_mm']} mm: it would overhang; choose a lower strength of it, or a higher one of the first ink"
            )
    return reasons


def swallowing_reasons(recipe: Recipe, age: Year | None, designs: Sequence[Design]) -> list[str]:
    """Return why a patient of this age should not be asked to swallow a unit of these parts (one design each, from the plate up)."""
    if not recipe.swallowability or age is None:
        return []
    largest = largest_for(recipe.swallowability, age)
    if largest is None:
        youngest = recipe.swallowability[0].from_age
        return [f"recipe {recipe.reference} is for patients from {youngest}, the patient is {age} old; choose another form"]
    sizes = [Decimal(size) for design in designs for name, size in design.shape.items() if name.endswith("_mm")]
    sizes.append(EXACT.divide(Decimal(sum(design.height for design in designs)), Decimal(1000)))
    if max(sizes) <= largest.value:
        return []
    return [
        f"a unit of {designs[0].plan.label} would be {plain_text(max(sizes))} mm at its largest, and recipe {recipe.reference} allows "
        f"{largest} for a patient of {age}; have the dose divided, or choose another form"
    ]


def head_reasons(plan: StrengthPlan, machine: MachineProfile) -> list[str]:
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


def line_increment(machine: MachineProfile) -> Microlitre:
    """Half the bounded exposure at most, so that the rounding of E cannot lift one line above it."""
    return min(INCREMENT, machine.bounded_exposure / 2)


def smooth_solid(plan: StrengthPlan, recipe: Recipe, machine: MachineProfile) -> Solid:
    """Return the cylinder or torus of a strength. Raises GeometryRefused."""
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
    return plan_unit(slice_solid(solid), plan.target_volume, bead_width=_bead_range(recipe), speed=_expected_speed(recipe))


def _expected_speed(recipe: Recipe) -> MillimetrePerSecond:
    parameters = recipe.parameters
    bead = parameters.bead_width.set_point.value * parameters.layer_height.set_point.value
    return MillimetrePerSecond(EXACT.divide(parameters.flow_rate.set_point.value, bead))


def exact_ranges(recipe: Recipe) -> ProvenRanges:
    """Return what a recipe allows of layers and beads, with room for the largest correction of its dose."""
    rule = recipe.control.dose_correction
    correction = rule.largest.fraction if isinstance(rule, DoseCorrection) else Decimal(0)
    return ProvenRanges(_range(recipe.parameters.layer_height), _bead_range(recipe), _expected_speed(recipe), correction)


def _bead_range(recipe: Recipe) -> Range:
    """The proven range of the bead, less what the largest correction of the dose takes of it: a corrected unit must be provable too."""
    bead, rule = _range(recipe.parameters.bead_width), recipe.control.dose_correction
    if not isinstance(rule, DoseCorrection):
        return bead
    largest = rule.largest.fraction
    low, high = EXACT.divide(bead.low, 1 - largest), EXACT.divide(bead.high, 1 + largest)
    return Range(min(max(bead.set_point, low), high), low, high)


def _range(parameter: Parameter[Millimetre]) -> Range:
    return Range(parameter.set_point.value, parameter.low.value, parameter.high.value)
