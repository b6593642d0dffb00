"""The equipment register of one cell: what stands in it, until when each device is qualified, who is trained on it.

A controlled, versioned document that quality assurance signs; the cell reads it anew before every run. A figure of a limit
is the site's own. Source: EU GMP chapter 3.41 (measuring equipment calibrated and checked at defined intervals), annex 15
(qualification), chapter 2.10 (training); USP <1251> for the performance checks of a balance.

Pure: values in, values out. Dates are ISO dates in the cell's own time zone; the last day is included.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer

from audit.quantities import Milligram
from printer.daily_check import CheckPlan, CheckWeight
from printer.errors import CellConfiguration
from recipes.figures import Count, Document, Identifier, IsoDate, Name, Positive

MEANING_REGISTER = "equipment register approved"
REGISTER_ROLE = "quality_assurance"
NOT_REQUIRED = "not required"


class PrinterEntry(Document):
    asset: Identifier
    qualification: Name
    qualified_until: IsoDate


class BalanceEntry(Document):
    """The balance, by the serial number that it tells itself."""

    asset: Identifier
    model: Name
    serial: Name
    certificate: Name
    calibrated_until: IsoDate


class ExternalBalanceEntry(BalanceEntry):
    """A balance beside the cell, for units that the plate balance cannot judge.

    `expanded_uncertainty` (k = 2) is of a net weighing of one unit; `removal` is the site's procedure by which one unit is
    taken off the plate in mid-run without opening the guard: a guard that opens stops the run here as everywhere.
    """

    readability: Annotated[Milligram, Positive]
    expanded_uncertainty: Annotated[Milligram, Positive]
    removal: Name


class SensorEntry(Document):
    asset: Identifier
    certificate: Name
    calibrated_until: IsoDate


class WeightEntry(Document):
    """The check weight: conventional mass and expanded uncertainty (k = 2) of its certificate."""

    identification: Name
    mass: Annotated[Milligram, Positive]
    uncertainty: Annotated[Milligram, Positive]
    certificate: Name
    valid_until: IsoDate


class CheckRule(Document):
    """What the daily check of the balance is judged by; it is good for the day on which it ended."""

    weight: WeightEntry
    sensitivity_limit: Annotated[Milligram, Positive]
    eccentricity_limit: Annotated[Milligram, Positive]
    zero_limit: Annotated[Milligram, Positive]
    valid_for: Literal["same day"]


class CleaningRule(Document):
    """How the cell is cleaned, and after how many days at the latest; between two products always."""

    procedure: Name
    interval_days: Count


class Training(Document):
    """One person's training: on this cell, and for these recipe versions (`name@version`)."""

    username: Identifier
    cell_until: IsoDate
    recipes: dict[Name, IsoDate]


class EquipmentRegister(Document):
    """One version of the register. `daily_check` may be "not required": a choice that is signed and shown.

    `external_balance` may be absent; it is part of the digest only where it is named. So is `development`: without it the cell is
    locked, and makes nothing but what is effective.
    """

    format: Literal["dosewright-equipment/1"]
    cell: Identifier
    version: Count
    printer: PrinterEntry
    balance: BalanceEntry
    pressure_sensor: SensorEntry
    daily_check: CheckRule | Literal["not required"]
    cleaning: CleaningRule
    training: tuple[Training, ...]
    external_balance: ExternalBalanceEntry | None = None
    development: Literal["permitted"] | None = None

    @model_serializer(mode="wrap")
    def _without_what_is_not_named(self, handler: SerializerFunctionWrapHandler) -> dict[str, object]:
        tree: dict[str, object] = handler(self)
        return {name: value for name, value in tree.items() if value is not None or name not in ("external_balance", "development")}

    @property
    def reference(self) -> str:
        return f"{self.cell}@{self.version}"

    def check_plan(self, today: str) -> CheckPlan:
        """Return the plan of the daily check. Raises CellConfiguration where none is called for or the weight cannot serve."""
        if not isinstance(self.daily_check, CheckRule):
            text = f"The equipment register {self.reference} requires no daily check."
            raise CellConfiguration(text, remedy="To check the balance, name a check weight and limits in a new version of the register.")
        rule, weight = self.daily_check, self.daily_check.weight
        return CheckPlan(
            balance_serial=self.balance.serial,
            weight=CheckWeight(weight.identification, weight.mass, weight.uncertainty, weight.certificate, weight.valid_until),
            sensitivity_limit=rule.sensitivity_limit,
            eccentricity_limit=rule.eccentricity_limit,
            zero_limit=rule.zero_limit,
            today=today,
        )


@dataclass(frozen=True, slots=True)
class RegisterFound:
    """What became of reading the register: the register and its evidence, or why there is none that can be believed."""

    register: EquipmentRegister | None
    evidence: str
    refusal: str


class LastCheck(Document):
    """The latest daily check on record of one balance; `day` in the cell's zone. `status` is "under way" or "closed"."""

    status: Literal["under way", "closed"]
    serial: Name
    day: IsoDate
    passed: bool
    by: Name
    reasons: tuple[str, ...] = ()


class LastCleaning(Document):
    """The latest cleaning on record, and how many days ago it was by the cell's own dates."""

    day: IsoDate
    days_ago: Annotated[int, Field(strict=True)]
    method: Name
    by: Name


class Product(Document):
    """What was printed in a run: recipe version and ink lot."""

    run: Name
    recipe: Name
    ink_lot: Name


class KnownRecipe(Document):
    """What a cell has on record of a recipe version: that it was effective, or that it was withdrawn."""

    id: Name
    version: Count
    recipe_digest: Name
    status: Literal["effective", "retired"]


class Standing(Document):
    """All that the gates read of the cell itself when a job comes, as plain values: a run can be admitted again from its record.

    `register_file` is the text of the signed register (None: there is no such file); `printed` what has been printed
    since the last cleaning; `today` the cell's own date, of which `left_of_day_s` seconds are left (None: not known);
    `recipes` the versions that the cell knows to have been effective or withdrawn.
    """

    today: IsoDate
    register_file: str | None
    last_check: LastCheck | None = None
    last_cleaning: LastCleaning | None = None
    printed: tuple[Product, ...] = ()
    left_of_day_s: Annotated[int, Field(strict=True, ge=0, le=90_000)] | None = None
    recipes: tuple[KnownRecipe, ...] = ()
