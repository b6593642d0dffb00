"""Master recipes: what is printed, from which ink, on which machine, within which ranges.

Every quantity carries its unit in the text of the file (`"1.20 g/mL"`); a bare number is a count or a ratio. Files are
TOML; a key that the model does not know is an error, and so is a figure without a source (`[sources]`, where the word
`illustrative` marks a figure that nobody has measured).

Machine profiles are in `recipes.machine`, ink lots, prescriptions and orders in `recipes.order`; all are named here.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import (
    Field,
    SerializerFunctionWrapHandler,
    StrictBool,
    ValidationError,
    field_validator,
    model_serializer,
    model_validator,
)

from audit.quantities import (
    EXACT,
    Celsius,
    GramPerMillilitre,
    Hour,
    Kilopascal,
    Microlitre,
    MicrolitrePerSecond,
    Milligram,
    MilligramPerGram,
    MilligramPerSecond,
    Millimetre,
    MillimetrePerSecond,
    Percent,
    Second,
    SquareMetre,
)
from recipes.errors import RecipeRefused
from recipes.figures import (
    DEMONSTRATION_STATUS,
    Count,
    Document,
    Hex256,
    Identifier,
    Name,
    NotNegative,
    Parameter,
    PlainNumber,
    Positive,
    Process,
    check_sources,
    explain,
    read_toml,
)
from recipes.machine import (
    BalanceProfile,
    Envelope,
    MachineProfile,
    Plate,
    Position,
    parse_machine,
)
from recipes.machine_devices import FirmwareRequirement, PressureSensor
from recipes.order import Cartridge, DoseOrder, InkLot, Intake, Prescribed, Prescription

__all__ = [
    "DEMONSTRATION_STATUS",
    "Active",
    "AlarmLimits",
    "BalanceProfile",
    "BsaFormula",
    "Cartridge",
    "Control",
    "Cylinder",
    "Dispense",
    "DoseBasis",
    "DoseCorrection",
    "DoseOrder",
    "DoseRule",
    "Envelope",
    "FirmwareRequirement",
    "Geometry",
    "Handling",
    "InkLot",
    "InkSpecification",
    "Intake",
    "LabelTexts",
    "MachineProfile",
    "Parameter",
    "Plate",
    "Position",
    "Prescribed",
    "Prescription",
    "PressureSensor",
    "Process",
    "ProcessParameters",
    "Recipe",
    "ToleranceBand",
    "Torus",
    "Weighing",
    "WeighingStage",
    "parse_machine",
    "parse_recipe",
]

DoseBasis = Literal["mg/m2", "mg/kg", "mg"]
BsaFormula = Literal["mosteller", "du_bois", "haycock", "gehan_george", "boyd"]
WeighingStage = Literal["wet", "dry", "filled capsule"]


class Active(Document):
    """The active moiety and the basis in which every strength of this recipe is stated.

    `made_with` is the substance weighed in when the ink is made, `made_with_factor` how many mg of it hold 1 mg of the
    stated form; both are for information: strengths are never converted here.
    """

    moiety: Name
    basis: Name
    made_with: Name
    made_with_factor: PlainNumber
    label_text: Name


class DoseRule(Document):
    """What may be prescribed and how it is rounded. Masses are of the stated active, per unit unless named daily."""

    minimum: Annotated[Milligram, Positive]
    maximum: Annotated[Milligram, Positive]
    grid: Annotated[Milligram, Positive]
    largest_rounding_deviation: Annotated[Percent, Positive]
    basis: DoseBasis
    per: Literal["day", "dose"]
    bsa_formula: BsaFormula | None = None
    bsa_cap: Annotated[SquareMetre, Positive] | None = None
    daily_maximum: Annotated[Milligram, Positive]
    largest_daily_deviation: Annotated[Percent, Positive]
    largest_days: Count

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.minimum > self.maximum:
            raise ValueError(f"minimum {self.minimum} is above maximum {self.maximum}")
        for name, bound in (("minimum", self.minimum), ("maximum", self.maximum)):
            if EXACT.remainder(bound.value, self.grid.value) != 0:
                raise ValueError(f"{name} {bound} is not a multiple of the grid {self.grid}")
        if (self.basis == "mg/m2") != (self.bsa_formula is not None):
            raise ValueError("bsa_formula belongs to a recipe with basis mg/m2, and to no other")
        return self


class InkSpecification(Document):
    """What an ink lot's certificate must say to serve this recipe; strength in mg of the stated active per g of ink."""

    ink: Identifier
    strength: Parameter[MilligramPerGram]
    density: Parameter[GramPerMillilitre]
    largest_assay_uncertainty: Annotated[Percent, Positive]
    largest_density_uncertainty: Annotated[Percent, Positive]
    longest_at_temperature: Annotated[Hour, Positive]


class Cylinder(Document):
    """A cylinder of the unit's volume; `height_to_diameter` fixes its shape."""

    family: Literal["cylinder"]
    height_to_diameter: PlainNumber


class Torus(Document):
    """A ring of the unit's volume; `tube_to_ring` is tube diameter over ring diameter (centre line)."""

    family: Literal["torus"]
    tube_to_ring: PlainNumber


class Dispense(Document):
    """A volume dispensed into a capsule body that stands in the tray; `capsule_capacity` is the body's."""

    family: Literal["dispense"]
    capsule_size: Name
    capsule_capacity: Annotated[Microlitre, Positive]


Geometry = Annotated[Cylinder | Torus | Dispense, Field(discriminator="family")]


class ProcessParameters(Document):
    """Process parameters, each a set point inside its proven acceptable range.

    `nozzle_temperature` is that of the syringe where there is one. `flow_rate` is the volume rate while a unit is
    printed; `retraction` is a volume (µL of ink), moved at `retraction_rate`. Layer height and bead width of a
    dispensed unit are not used by the tool path.
    """

    nozzle_temperature: Parameter[Celsius]
    plate_temperature: Parameter[Celsius]
    flow_rate: Parameter[MicrolitrePerSecond]
    travel_speed: Parameter[MillimetrePerSecond]
    layer_height: Parameter[Millimetre]
    bead_width: Parameter[Millimetre]
    retraction: Parameter[Microlitre]
    retraction_rate: Parameter[MicrolitrePerSecond]
    travel_lift: Parameter[Millimetre]
    prime_volume: Parameter[Microlitre]


class AlarmLimits(Document):
    """Alarm limits of a run and the time a condition must last before it is one.

    `pressure_low_while_extruding` holds only after `pressure_low_delay` of extrusion without a pause: an ink column
    takes seconds to build its pressure. Temperature bands are half-widths about the set point. `print_time_deviation` is the
    half-width about the time that the proof calculates for a unit: one that took longer or shorter is rejected.
    """

    pressure_high: Annotated[Kilopascal, Positive]
    pressure_high_delay: Annotated[Second, NotNegative]
    pressure_low_while_extruding: Annotated[Kilopascal, NotNegative]
    pressure_low_delay: Annotated[Second, Positive]
    pressure_stale_after: Annotated[Second, Positive]
    nozzle_temperature_band: Annotated[Celsius, Positive]
    plate_temperature_band: Annotated[Celsius, Positive]
    temperature_delay: Annotated[Second, NotNegative]
    temperature_stale_after: Annotated[Second, Positive]
    heat_timeout: Annotated[Second, Positive]
    print_time_deviation: Annotated[Percent, Positive] | None = None

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.pressure_low_while_extruding >= self.pressure_high:
            raise ValueError("pressure_low_while_extruding must be below pressure_high")
        return self


class ToleranceBand(Document):
    """Tolerance about the target mass for targets of `from_mass` and more, up to the next band."""

    from_mass: Annotated[Milligram, NotNegative]
    tolerance: Annotated[Percent, Positive]


class Weighing(Document):
    """How a unit is weighed: on the whole plate, before and after it was printed.

    The balance is read after `settle` at rest; readings must lie within `stillness` of each other over
    `stillness_readings`, and a drift above `drift_limit` over `drift_window` is no weighing. `timeout` ends the attempt.

    `external_balance` permits that units which the plate balance cannot judge are taken off the plate and weighed on the
    external balance of the cell's equipment register; `external_timeout` is the longest wait for that weight. Both are part of
    the digest only where they are set.
    """

    stage: WeighingStage
    settle: Annotated[Second, Positive]
    timeout: Annotated[Second, Positive]
    stillness: Annotated[Milligram, Positive]
    stillness_readings: Count
    drift_limit: Annotated[MilligramPerSecond, Positive]
    drift_window: Annotated[Second, Positive]
    external_balance: Literal["permitted"] | None = None
    external_timeout: Annotated[Second, Positive] | None = None

    @model_validator(mode="after")
    def _weighed_elsewhere(self) -> Self:
        if (self.external_balance is None) != (self.external_timeout is None):
            raise ValueError("external_balance and external_timeout belong together: state both or neither")
        if self.external_balance is not None and self.stage != "dry":
            raise ValueError(
                f"external_balance is for units that are weighed dry, not for stage {self.stage!r}: "
                "what dries between printing and weighing elsewhere would not be known"
            )
        if self.external_timeout is not None and self.external_timeout > LONGEST_EXTERNAL_WAIT:
            raise ValueError(f"external_timeout may be {LONGEST_EXTERNAL_WAIT} at most")
        return self

    @model_serializer(mode="wrap")
    def _without_what_is_not_set(self, handler: SerializerFunctionWrapHandler) -> dict[str, object]:
        tree: dict[str, object] = handler(self)
        return {name: value for name, value in tree.items() if value is not None or not name.startswith("external_")}


LONGEST_EXTERNAL_WAIT = Second(1800)
"""A unit that is not weighed within half an hour is rejected: the ink in the nozzle has been hot and still for as long."""


class DoseCorrection(Document):
    """How the dose is corrected from unit to unit, and within which limits that was validated.

    Standard deviations, relative: `prior` of the flow gain from one set-up to the next, `repeatability` of single units
    about the gain, `drift` of the gain from one unit to the next. A flow factor further than `largest` from 1 ends the run.
    Mass per commanded volume further from the certificate's density than its uncertainty and `ink_limit` is an ink
    identity hold.
    """

    method: Literal["kalman"]
    prior: Annotated[Percent, Positive]
    repeatability: Annotated[Percent, Positive]
    drift: Annotated[Percent, NotNegative]
    largest: Annotated[Percent, Positive]
    ink_limit: Annotated[Percent, Positive]

    @model_validator(mode="after")
    def _bounded(self) -> Self:
        if self.largest > LARGEST_CORRECTION or self.ink_limit > LARGEST_CORRECTION:
            raise ValueError(f"largest and ink_limit may be {LARGEST_CORRECTION} at most")
        if max(self.prior, self.repeatability, self.drift) > LARGEST_CORRECTION:
            raise ValueError(f"prior, repeatability and drift may be {LARGEST_CORRECTION} at most")
        return self


class StartUpCalibration(Document):
    """Purge units that are printed and weighed after priming, so that the first unit is corrected already.

    `units` of them, each of `volume`, never product. The last one must lie within `tolerance` of what its volume weighs by
    the ink certificate; a flow factor further than `largest` from 1 ends the run before the first unit.
    """

    units: Count
    volume: Annotated[Microlitre, Positive]
    largest: Annotated[Percent, Positive]
    tolerance: Annotated[Percent, Positive]

    @model_validator(mode="after")
    def _few(self) -> Self:
        if self.units > MOST_PURGE_UNITS:
            raise ValueError(f"units may be {MOST_PURGE_UNITS} at most, found {self.units}")
        return self


MOST_PURGE_UNITS = 2


LARGEST_CORRECTION = Percent(10)
"""No recipe may correct further: beyond it the process is not the one that was validated."""


class Control(Document):
    """Control strategy in words, whether the dose is corrected from unit to unit, and whether the accepted units of a run
    that did not finish may be released."""

    strategy: tuple[Name, ...]
    dose_correction: Literal["off"] | DoseCorrection
    partial_release: StrictBool
    start_up_calibration: StartUpCalibration | None = None

    @model_validator(mode="after")
    def _calibrated_to_correct(self) -> Self:
        start, rule = self.start_up_calibration, self.dose_correction
        if start is not None and not isinstance(rule, DoseCorrection):
            raise ValueError("start_up_calibration needs dose_correction: there is nothing to calibrate without it")
        if start is not None and isinstance(rule, DoseCorrection) and start.largest > rule.largest:
            raise ValueError("start_up_calibration.largest may not exceed dose_correction.largest")
        return self


class Handling(Document):
    """Handling class of the active: who may touch what, and how the cell is cleaned."""

    hazard: Literal["standard", "cytotoxic"]
    dedicated_cell: StrictBool
    containment: Name
    cleaning: Name


class LabelTexts(Document):
    """Texts for the label of a released pack."""

    product: Name
    directions: Name
    storage: Name
    warnings: tuple[Name, ...]


class Recipe(Document):
    """A master recipe: what is printed, from which ink, on which machine, within which ranges.

    `machine_digest` is that of the machine profile it was validated on, so that the recipe's signatures cover the profile.
    """

    format: Literal["dosewright-recipe/1"]
    id: Identifier
    version: Count
    title: Name
    status_text: Literal["demonstration, not for clinical use"]
    process: Process
    dosage_form: Literal["tablet", "capsule"]
    route: Name
    machine: Identifier
    machine_digest: Hex256
    active: Active
    dose: DoseRule
    ink: InkSpecification
    geometry: Geometry
    parameters: ProcessParameters
    alarms: AlarmLimits
    unit_mass_tolerance: tuple[ToleranceBand, ...]
    weighing: Weighing
    concentration_rsd_validation: Annotated[Percent, Positive] | None = None
    control: Control
    handling: Handling
    label: LabelTexts
    sources: dict[str, str]

    @field_validator("unit_mass_tolerance")
    @classmethod
    def _bands_from_zero(cls, bands: tuple[ToleranceBand, ...]) -> tuple[ToleranceBand, ...]:
        starts = [band.from_mass.value for band in bands]
        if not starts or starts[0] != 0 or starts != sorted(set(starts)):
            raise ValueError("the first band starts at 0 mg and each later one at a higher mass")
        return bands

    @model_validator(mode="after")
    def _sourced(self) -> Self:
        if (self.process == "dispense") != isinstance(self.geometry, Dispense):
            raise ValueError("process dispense goes with geometry family dispense, and with no other")
        if self.weighing.external_balance is not None and self.control.start_up_calibration is not None:
            raise ValueError("external_balance does not go with start_up_calibration: purge units are weighed on the plate")
        check_sources(self, self.sources, exempt=frozenset({"version"}))
        return self

    @property
    def reference(self) -> str:
        """`id@version`, as records name a recipe."""
        return f"{self.id}@{self.version}"

    def tolerance(self, target: Milligram) -> Percent:
        """Return the tolerance on the mass of a unit with this target mass."""
        found = self.unit_mass_tolerance[0]
        for band in self.unit_mass_tolerance:
            if target >= band.from_mass:
                found = band
        return found.tolerance

    def mass_limits(self, target: Milligram) -> tuple[Milligram, Milligram]:
        """Return the lowest and the highest accepted mass of a unit with this target mass, unrounded."""
        half = target * self.tolerance(target).fraction
        return target - half, target + half


def parse_recipe(content: bytes, name: str = "the recipe file") -> Recipe:
    """Read a recipe from TOML bytes; raises RecipeRefused naming every field that is wrong."""
    try:
        return Recipe.model_validate(read_toml(content, name))
    except ValidationError as error:
        raise RecipeRefused(f"{name} is not a valid recipe: {explain(error)}.", remedy="Correct the fields named.") from error
