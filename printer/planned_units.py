"""What of a recipe and a proved program a run machine works by: planned units, limits, the rule of correction."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from audit.canonical import canonical
from audit.errors import DosewrightError
from audit.quantities import EXACT, Celsius, Percent
from printer.acceptance import Criteria
from printer.dose_control import CorrectionRule
from printer.errors import CellRefused
from printer.messages import UnitCompiled, UnitRefused
from printer.plan import Limits, PlannedUnit, commands_of, out_lines
from recipes.capability import total_resolution
from recipes.compile import compile_unit
from recipes.machine import MachineProfile
from recipes.model import LARGEST_CORRECTION, DoseCorrection, Recipe
from recipes.order import Cartridge, InkLot
from recipes.program import PrintProgram, UnitProgram


def correction_rule(recipe: Recipe, ink: InkLot) -> CorrectionRule | None:
    """Return how the dose is corrected with this ink, None where the recipe does not correct."""
    rule = recipe.control.dose_correction
    if not isinstance(rule, DoseCorrection):
        return None
    relative = Percent(EXACT.divide(ink.density_uncertainty.value * 100, ink.density.value))
    start = recipe.control.start_up_calibration
    return CorrectionRule(
        prior=rule.prior,
        repeatability=rule.repeatability,
        drift=rule.drift,
        largest=rule.largest,
        ink_limit=rule.ink_limit,
        density=ink.density,
        density_uncertainty=relative,
        start_up_largest=None if start is None else start.largest,
    )


def compile_corrected(program: PrintProgram, n: int, factor: Decimal, purge: bool = False, part: int = 0) -> UnitCompiled | UnitRefused:
    """Compile and prove one unit (a part of it, or purge unit) anew; a refusal is an answer, never the unit as it was planned."""
    try:
        unit = compile_unit(program, n, factor, purge=purge, part=part)
    except DosewrightError as error:
        return UnitRefused(n, error.message, purge, part)
    return UnitCompiled(
        n=n,
        factor=factor,
        gcode=unit.gcode,
        sha256=unit.sha256,
        target_volume=unit.target_volume,
        cumulative_nl=unit.cumulative_nl,
        duration_us=unit.duration_us,
        proof=canonical(unit.proof.as_record()),
        purge=purge,
        part=part,
    )


def planned_purge(unit: UnitProgram, program: PrintProgram, recipe: Recipe, machine: MachineProfile) -> PlannedUnit:
    """The last purge unit must be within the recipe's tolerance for going on; one before it may be as far off as any correction goes."""
    start, rule = recipe.control.start_up_calibration, recipe.control.dose_correction
    if start is None or not isinstance(rule, DoseCorrection):
        raise CellRefused([f"recipe {recipe.reference} has no start-up calibration"])
    last = unit.n == len(program.purges)
    return planned_unit(unit, recipe, machine, tolerance=start.tolerance if last else LARGEST_CORRECTION)


def _source(unit: UnitProgram, recipe: Recipe, sources: Sequence[tuple[InkLot, Cartridge]]) -> dict[str, str]:
    """Name what a part of a unit is printed from; a unit of one ink says it with its run."""
    if not unit.part:
        return {}
    lot, cartridge = sources[unit.head]
    return {"moiety": recipe.active.moiety, "basis": recipe.active.basis, "ink_lot": lot.lot, "cartridge": cartridge.serial}


def planned_unit(
    unit: UnitProgram,
    whole: Recipe,
    profile: MachineProfile,
    *,
    tolerance: Percent | None = None,
    sources: Sequence[tuple[InkLot, Cartridge]] = (),
) -> PlannedUnit:
    """Return a unit, or a part of one, as the run machine prints and judges it; `sources` in the order of the heads."""
    recipe, machine = whole.parts[unit.head], profile.heads[unit.head]
    nozzle, plate = recipe.parameters.nozzle_temperature, recipe.parameters.plate_temperature
    criteria = Criteria(
        target=unit.target_mass,
        tolerance=tolerance or recipe.tolerance(unit.target_mass),
        balance_uncertainty=machine.balance.expanded_uncertainty,
        readability=machine.balance.readability,
        wet=recipe.weighing.stage == "wet",
        drift_limit=recipe.weighing.drift_limit,
        volume_resolution=total_resolution(machine),
        nozzle_low=nozzle.low,
        nozzle_high=nozzle.high,
        plate_low=plate.low,
        plate_high=plate.high,
        planned_us=unit.duration_us,
        time_deviation=recipe.alarms.print_time_deviation,
        end=unit.proof.end,
    )
    return PlannedUnit(
        n=unit.n,
        strength=unit.strength,
        target_mass=unit.target_mass,
        target_volume=unit.target_volume,
        gcode_sha256=unit.sha256,
        lines=out_lines(commands_of(unit.gcode), machine.e_area),
        cumulative_nl=unit.cumulative_nl,
        duration_us=unit.duration_us,
        criteria=criteria,
        x=unit.centre[0],
        y=unit.centre[1],
        shape=dict(unit.shape),
        purge=unit.purge,
        part=unit.part,
        last=unit.part in (0, len(whole.parts)),
        source=_source(unit, recipe, sources),
    )


def limits_of(recipe: Recipe) -> Limits:
    """Return what a recipe asks of a run's readings and times."""
    parameters, alarms, weighing = recipe.parameters, recipe.alarms, recipe.weighing
    nozzle, plate = parameters.nozzle_temperature.set_point, parameters.plate_temperature.set_point
    nozzle_band, plate_band = alarms.nozzle_temperature_band, alarms.plate_temperature_band
    return Limits(
        nozzle_set=nozzle,
        nozzle_low=Celsius(nozzle.value - nozzle_band.value),
        nozzle_high=Celsius(nozzle.value + nozzle_band.value),
        plate_set=plate,
        plate_low=Celsius(plate.value - plate_band.value),
        plate_high=Celsius(plate.value + plate_band.value),
        flow_nl_per_s=int(parameters.flow_rate.set_point.value * 1000),
        pressure_high=alarms.pressure_high,
        pressure_low=alarms.pressure_low_while_extruding,
        pressure_high_delay_us=alarms.pressure_high_delay.microseconds,
        pressure_low_delay_us=alarms.pressure_low_delay.microseconds,
        pressure_stale_us=alarms.pressure_stale_after.microseconds,
        temperature_delay_us=alarms.temperature_delay.microseconds,
        temperature_stale_us=alarms.temperature_stale_after.microseconds,
        heating_limit_us=alarms.heat_timeout.microseconds,
        settle_us=weighing.settle.microseconds,
        weighing_span_us=weighing.drift_window.microseconds,
        weighing_timeout_us=weighing.timeout.microseconds,
    )
