"""Ink lots, cartridges, prescriptions and orders: what a batch is made for, and from what."""

from __future__ import annotations

from typing import Annotated, Literal, Protocol, Self

from pydantic import Field, field_validator, model_validator

from audit.quantities import (
    Centimetre,
    GramPerMillilitre,
    Kilogram,
    Microlitre,
    Milligram,
    MilligramPerGram,
    MilligramPerKilogram,
    MilligramPerSquareMetre,
    Percent,
)
from recipes.figures import Count, Document, Hex256, Identifier, IsoDate, Name, NotNegative, Positive


class VersionedRecipe(Protocol):
    """What an order binds of a recipe."""

    @property
    def id(self) -> str: ...
    @property
    def version(self) -> int: ...
    @property
    def digest(self) -> str: ...


class InkLot(Document):
    """An ink lot as its certificate of analysis states it; uncertainties are expanded (k = 2)."""

    lot: Identifier
    ink: Identifier
    moiety: Name
    basis: Name
    assay: Annotated[MilligramPerGram, Positive]
    assay_uncertainty: Annotated[MilligramPerGram, Positive]
    density: Annotated[GramPerMillilitre, Positive]
    density_uncertainty: Annotated[GramPerMillilitre, Positive]
    concentration_rsd: Annotated[Percent, NotNegative] | None = None
    certificate: Name
    expires: IsoDate


class Cartridge(Document):
    """A filled cartridge of one ink lot. `used` is what earlier runs took from it."""

    serial: Identifier
    ink_lot: Identifier
    filled: Annotated[Microlitre, Positive]
    used: Annotated[Microlitre, NotNegative] = Microlitre(0)
    opened: IsoDate
    in_use_until: IsoDate

    @model_validator(mode="after")
    def _not_overdrawn(self) -> Self:
        if self.used > self.filled:
            raise ValueError(f"used {self.used} exceeds filled {self.filled}")
        return self

    @property
    def remaining(self) -> Microlitre:
        return self.filled - self.used


class Intake(Document):
    """One time of the day at which a unit is taken; `parts` is its share of a daily amount (2:1:1 for example)."""

    time: Name
    parts: Annotated[int, Field(strict=True, ge=1, le=24)] = 1


Prescribed = MilligramPerSquareMetre | MilligramPerKilogram | Milligram


class Prescription(Document):
    """A prescription as written: the patient by pseudonym, what is prescribed per day or per dose, and for how long."""

    patient: Identifier
    moiety: Name
    basis: Name
    height: Centimetre | None = None
    weight: Kilogram | None = None
    prescribed: Prescribed
    per: Literal["day", "dose"]
    schedule: Annotated[tuple[Intake, ...], Field(min_length=1, max_length=12)]
    days: Annotated[int, Field(strict=True, ge=1, le=366)]

    @field_validator("height", "weight", "prescribed")
    @classmethod
    def _above_zero(cls, value: Centimetre | Kilogram | Prescribed | None) -> Centimetre | Kilogram | Prescribed | None:
        if value is not None and value.value <= 0:
            raise ValueError(f"must be above zero, found {value}")
        return value

    @property
    def units(self) -> int:
        """Number of units the whole course needs: one at each time of each day."""
        return len(self.schedule) * self.days


class DoseOrder(Document):
    """An order: this prescription, from this recipe version, ink lot and cartridge, each bound by its digest.

    Two people sign `sha256`; their signatures are kept beside the order, not in it.
    """

    id: Identifier
    recipe: Identifier
    recipe_version: Count
    recipe_digest: Hex256
    ink_lot: Identifier
    ink_lot_digest: Hex256
    cartridge: Identifier
    cartridge_digest: Hex256
    prescription: Prescription

    @classmethod
    def create(cls, order_id: str, *, recipe: VersionedRecipe, ink: InkLot, cartridge: Cartridge, prescription: Prescription) -> DoseOrder:
        """Write an order that binds the recipe, the certificate and the cartridge as they are now."""
        return cls(
            id=order_id,
            recipe=recipe.id,
            recipe_version=recipe.version,
            recipe_digest=recipe.digest,
            ink_lot=ink.lot,
            ink_lot_digest=ink.digest,
            cartridge=cartridge.serial,
            cartridge_digest=cartridge.digest,
            prescription=prescription,
        )

    @property
    def sha256(self) -> str:
        """SHA-256 hex of the canonical bytes of the order; what the two signatures are over."""
        return self.digest
