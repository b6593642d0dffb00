"""What belongs to one ink of a unit: its active, dose, specification, shape, process parameters, alarm limits, tolerances and correction.

A recipe states it once; one with a second ink states it a second time, and nothing of it is shared.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, SerializerFunctionWrapHandler, field_validator, model_serializer, model_validator

from audit.quantities import (
    EXACT,
    Celsius,
    Day,
    GramPerMillilitre,
    Hour,
    Kilopascal,
    Microlitre,
    MicrolitrePerSecond,
    Milligram,
    MilligramPerGram,
    Millimetre,
    MillimetrePerSecond,
    Percent,
    Second,
    SquareMetre,
)
from recipes.figures import Count, Document, Identifier, Name, NotNegative, Parameter, PlainNumber, Positive
from recipes.patient_rules import BodyRule
from recipes.shape_families import Caplet, Film, Grid, StlSolid

DoseBasis = Literal["mg/m2", "mg/kg", "mg"]
BsaFormula = Literal["mosteller", "du_bois", "haycock", "gehan_george", "boyd", "livingston_lee", "schlich"]


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
    """What may be prescribed and how it is rounded. Masses are of the stated active, per unit unless named daily.

    Caps come before rounding, and the arithmetic says so: `bsa_cap` is the largest body surface that a dose is calculated from,
    `amount_cap` the largest amount per day or per dose, as `per` says; it holds for the rounded amount too. `body`: what else must be on
    a prescription. `amount_cap` and `body` are part of the digest only where they are set.
    """

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
    amount_cap: Annotated[Milligram, Positive] | None = None
    body: BodyRule | None = None

    @model_serializer(mode="wrap")
    def _without_what_is_not_set(self, handler: SerializerFunctionWrapHandler) -> dict[str, object]:
        tree: dict[str, object] = handler(self)
        return {name: value for name, value in tree.items() if value is not None or name not in ("amount_cap", "body")}

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.minimum > self.maximum:
            raise ValueError(f"minimum {self.minimum} is above maximum {self.maximum}")
        for name, bound in (("minimum", self.minimum), ("maximum", self.maximum)):
            if EXACT.remainder(bound.value, self.grid.value) != 0:
                raise ValueError(f"{name} {bound} is not a multiple of the grid {self.grid}")
        if (self.basis == "mg/m2") != (self.bsa_formula is not None):
            raise ValueError("bsa_formula belongs to a recipe with basis mg/m2, and to no other")
        if self.bsa_cap is not None and self.bsa_formula is None:
            raise ValueError("bsa_cap belongs to a recipe with a bsa_formula, and to no other")
        return self


class InkSpecification(Document):
    """What an ink lot's certificate must say to serve this recipe; strength in mg of the stated active per g of ink.

    `on_site`: whether an ink prepared on site may serve it, whose strength is theoretical: nobody has assayed it; refused where it is
    not set. `longest_in_use`: how long a cartridge may be used once it is opened. `rheology` and `storage` in words. What is not set is
    not part of the digest.
    """

    ink: Identifier
    strength: Parameter[MilligramPerGram]
    density: Parameter[GramPerMillilitre]
    largest_assay_uncertainty: Annotated[Percent, Positive]
    largest_density_uncertainty: Annotated[Percent, Positive]
    longest_at_temperature: Annotated[Hour, Positive]
    longest_in_use: Annotated[Day, Positive] | None = None
    rheology: Name | None = None
    storage: Name | None = None
    on_site: Literal["permitted"] | None = None

    @model_serializer(mode="wrap")
    def _without_what_is_not_set(self, handler: SerializerFunctionWrapHandler) -> dict[str, object]:
        tree: dict[str, object] = handler(self)
        return {name: value for name, value in tree.items() if value is not None}


class Cylinder(Document):
    """A cylinder of the unit's volume; `height_to_diameter` fixes its shape."""

    family: Literal["cylinder"]
    height_to_diameter: PlainNumber


class Torus(Document):
    """A ring of the unit's volume; `tube_to_ring` is tube diameter over ring diameter (centre line)."""

    family: Literal["torus"]
    tube_to_ring: PlainNumber


class Dispense(Document):
    """A volume dispensed into a capsule body that stands in the tray; `capsule_capacity` is the body's.

    `capsule_length`: that of the closed capsule, which is swallowed; part of the digest only where it is set.
    """

    family: Literal["dispense"]
    capsule_size: Name
    capsule_capacity: Annotated[Microlitre, Positive]
    capsule_length: Annotated[Millimetre, Positive] | None = None

    @model_serializer(mode="wrap")
    def _without_what_is_not_set(self, handler: SerializerFunctionWrapHandler) -> dict[str, object]:
        tree: dict[str, object] = handler(self)
        return {name: value for name, value in tree.items() if value is not None or name != "capsule_length"}


Geometry = Annotated[Cylinder | Torus | Dispense | Caplet | Film | Grid | StlSolid, Field(discriminator="family")]


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


LARGEST_CORRECTION = Percent(10)
"""No recipe may correct further: beyond it the process is not the one that was validated."""


class SecondInk(Document):
    """The second ink of a unit: printed by the machine's second head, upon the part of the first ink.

    All that the recipe states of its first ink is stated here of the second. What is dosed with both is weighed after each, and each
    part is judged by its own tolerance.
    """

    active: Active
    dose: DoseRule
    ink: InkSpecification
    geometry: Cylinder
    parameters: ProcessParameters
    alarms: AlarmLimits
    unit_mass_tolerance: tuple[ToleranceBand, ...]
    concentration_rsd_validation: Annotated[Percent, Positive] | None = None
    dose_correction: Literal["off"] | DoseCorrection

    @field_validator("unit_mass_tolerance")
    @classmethod
    def _bands_from_zero(cls, bands: tuple[ToleranceBand, ...]) -> tuple[ToleranceBand, ...]:
        return checked_bands(bands)


def checked_bands(bands: tuple[ToleranceBand, ...]) -> tuple[ToleranceBand, ...]:
    """Return the tolerance bands. Raises ValueError unless they begin at 0 mg and rise."""
    starts = [band.from_mass.value for band in bands]
    if not starts or starts[0] != 0 or starts != sorted(set(starts)):
        raise ValueError("the first band starts at 0 mg and each later one at a higher mass")
    return bands
