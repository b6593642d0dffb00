"""Master recipes: what is printed, from which ink, on which machine, within which ranges.

Every quantity carries its unit in the text of the file (`"1.20 g/mL"`); a bare number is a count or a ratio. Files are
TOML; a key that the model does not know is an error, and so is a figure without a source (`[sources]`, where the word
`illustrative` marks a figure that nobody has measured).

Machine profiles are in `recipes.machine`, ink lots, prescriptions and orders in `recipes.order`; all are named here.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import (
    SerializerFunctionWrapHandler,
    StrictBool,
    ValidationError,
    field_validator,
    model_serializer,
    model_validator,
)

from audit.quantities import Microlitre, Milligram, MilligramPerSecond, Percent, Second
from audit.release.legal_routes import Authorisation, LegalRoute, release_rule
from recipes.errors import RecipeRefused
from recipes.figures import (
    DEMONSTRATION_STATUS,
    Count,
    Document,
    Hex256,
    Identifier,
    Name,
    Parameter,
    Positive,
    Process,
    check_sources,
    explain,
    read_toml,
)
from recipes.ink_parts import (
    LARGEST_CORRECTION,
    Active,
    AlarmLimits,
    BsaFormula,
    Cylinder,
    Dispense,
    DoseBasis,
    DoseCorrection,
    DoseRule,
    Geometry,
    InkSpecification,
    ProcessParameters,
    SecondInk,
    ToleranceBand,
    Torus,
    checked_bands,
)
from recipes.machine import (
    BalanceProfile,
    Envelope,
    MachineProfile,
    Plate,
    Position,
    SecondHead,
    parse_machine,
)
from recipes.machine_devices import FirmwareRequirement, PressureSensor
from recipes.order import Cartridge, DoseOrder, InkLot, Intake, Prescribed, Prescription, Sex
from recipes.patient_rules import Pack
from recipes.release_rules import ReleaseRules, SmallBatchPrior
from recipes.shape_families import Caplet, Film, Grid, StlSolid
from recipes.swallowability import SwallowBand, checked_swallowing

__all__ = [
    "DEMONSTRATION_STATUS",
    "LARGEST_CORRECTION",
    "Active",
    "AlarmLimits",
    "BalanceProfile",
    "BsaFormula",
    "Caplet",
    "Cartridge",
    "Control",
    "Cylinder",
    "Dispense",
    "DoseBasis",
    "DoseCorrection",
    "DoseOrder",
    "DoseRule",
    "Envelope",
    "Film",
    "FirmwareRequirement",
    "Geometry",
    "Grid",
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
    "ReleaseRules",
    "SecondHead",
    "SecondInk",
    "Sex",
    "SmallBatchPrior",
    "StlSolid",
    "ToleranceBand",
    "Torus",
    "Weighing",
    "WeighingStage",
    "parse_machine",
    "parse_recipe",
]

WeighingStage = Literal["wet", "dry", "filled capsule"]


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


class Control(Document):
    """Control strategy in words, whether the dose is corrected from unit to unit, and whether the accepted units of a run
    that did not finish may be released. `release` holds what release demands beyond that, and is part of the digest where it is set."""

    strategy: tuple[Name, ...]
    dose_correction: Literal["off"] | DoseCorrection
    partial_release: StrictBool
    start_up_calibration: StartUpCalibration | None = None
    release: ReleaseRules | None = None

    @model_serializer(mode="wrap")
    def _without_rules_that_are_not_set(self, handler: SerializerFunctionWrapHandler) -> dict[str, object]:
        tree: dict[str, object] = handler(self)
        return {name: value for name, value in tree.items() if value is not None or name != "release"}

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
    """Texts for the label of a released pack. `excipients` are those that a label has to name; part of the digest where there are any."""

    product: Name
    directions: Name
    storage: Name
    warnings: tuple[Name, ...]
    excipients: tuple[Name, ...] = ()

    @model_serializer(mode="wrap")
    def _without_what_is_not_set(self, handler: SerializerFunctionWrapHandler) -> dict[str, object]:
        tree: dict[str, object] = handler(self)
        return {name: value for name, value in tree.items() if value or name != "excipients"}


_SET_OR_NOT = frozenset({"second_ink", "legal_route", "authorised", "pack", "swallowability", "indication", "training"})


class Recipe(Document):
    """A master recipe: what is printed, from which ink, on which machine, within which ranges.

    `machine_digest` is that of the machine profile it was validated on, so that the recipe's signatures cover the profile.
    `second_ink`: each unit has a second part, of another ink, printed upon the first by the machine's second head.

    `legal_route` says under which law it is printed, `authorised` which words of release this place may use, `pack` how long a unit
    lasts in it, `swallowability` how large a unit of any family may be at which age, `indication` what it is for and `training` what its
    operators have learnt, in words. They and `second_ink` are part of the digest only where they are set.
    """

    format: Literal["dosewright-recipe/1"]
    id: Identifier
    version: Count
    title: Name
    status_text: Literal["demonstration, not for clinical use", "for use as validated"]
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
    second_ink: SecondInk | None = None
    legal_route: LegalRoute | None = None
    authorised: tuple[Authorisation, ...] = ()
    pack: Pack | None = None
    indication: Name | None = None
    training: Name | None = None
    swallowability: tuple[SwallowBand, ...] = ()
    sources: dict[str, str]

    @field_validator("unit_mass_tolerance")
    @classmethod
    def _bands_from_zero(cls, bands: tuple[ToleranceBand, ...]) -> tuple[ToleranceBand, ...]:
        return checked_bands(bands)

    @field_validator("swallowability")
    @classmethod
    def _rising_ages(cls, bands: tuple[SwallowBand, ...]) -> tuple[SwallowBand, ...]:
        return checked_swallowing(bands)

    @model_serializer(mode="wrap")
    def _without_what_is_not_set(self, handler: SerializerFunctionWrapHandler) -> dict[str, object]:
        tree: dict[str, object] = handler(self)
        return {name: value for name, value in tree.items() if value or name not in _SET_OR_NOT}

    @model_validator(mode="after")
    def _lawful(self) -> Self:
        if self.legal_route is not None:
            release_rule(self.legal_route, self.authorised)
        elif self.authorised:
            raise ValueError("authorised goes with legal_route: state the route")
        if self.swallowability and isinstance(self.geometry, Dispense) and self.geometry.capsule_length is None:
            raise ValueError("swallowability of a capsule goes by its closed length: state geometry.capsule_length")
        return self

    @model_validator(mode="after")
    def _sourced(self) -> Self:
        if (self.process == "dispense") != isinstance(self.geometry, Dispense):
            raise ValueError("process dispense goes with geometry family dispense, and with no other")
        if self.weighing.external_balance is not None and self.control.start_up_calibration is not None:
            raise ValueError("external_balance does not go with start_up_calibration: purge units are weighed on the plate")
        if self.second_ink is not None and (reasons := _two_ink_reasons(self, self.second_ink)):
            raise ValueError("; ".join(reasons))
        check_sources(self, self.sources, exempt=frozenset({"version"}))
        return self

    @property
    def parts(self) -> tuple[Recipe, ...]:
        """The recipe of each part of a unit, as if it were a unit of its own; one part where there is one ink.

        Identity and digest are those of the whole recipe: a part has no version of its own.
        """
        second = self.second_ink
        if second is None:
            return (self,)
        control = self.control.model_copy(update={"dose_correction": second.dose_correction})
        of_second = {name: getattr(second, name) for name in type(second).model_fields if name != "dose_correction"}
        return (
            self.model_copy(update={"second_ink": None}),
            self.model_copy(update={"second_ink": None, **of_second, "control": control}),
        )

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


def _two_ink_reasons(recipe: Recipe, second: SecondInk) -> list[str]:
    """Return what of a recipe does not go with a second ink."""
    reasons = []
    if not isinstance(recipe.geometry, Cylinder):
        reasons.append("second_ink goes with geometry family cylinder: the second part stands on the flat top of the first")
    if recipe.control.start_up_calibration is not None:
        reasons.append("second_ink does not go with start_up_calibration")
    if recipe.weighing.external_balance is not None:
        reasons.append("second_ink does not go with external_balance: each part is weighed on the plate, before the next is printed")
    if recipe.control.release is not None and recipe.control.release.process_models is not None:
        reasons.append("second_ink does not go with process_models: a model speaks of a unit of one ink")
    if second.ink.ink == recipe.ink.ink or second.active.moiety == recipe.active.moiety:
        reasons.append("second_ink must be another ink with another active")
    if second.parameters.plate_temperature != recipe.parameters.plate_temperature:
        reasons.append("both inks are printed on one plate: second_ink.parameters.plate_temperature must be that of the first")
    return reasons


def parse_recipe(content: bytes, name: str = "the recipe file") -> Recipe:
    """Read a recipe from TOML bytes; raises RecipeRefused naming every field that is wrong."""
    try:
        return Recipe.model_validate(read_toml(content, name))
    except ValidationError as error:
        raise RecipeRefused(f"{name} is not a valid recipe: {explain(error)}.", remedy="Correct the fields named.") from error
