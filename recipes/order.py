"""Ink lots, cartridges, prescriptions and orders: what a batch is made for, and from what."""

from __future__ import annotations

from typing import Annotated, Literal, Protocol, Self

from pydantic import Field, SerializerFunctionWrapHandler, field_validator, model_serializer, model_validator

from audit.quantities import (
    Centimetre,
    GramPerMillilitre,
    Hour,
    Kilogram,
    Microlitre,
    Milligram,
    MilligramPerGram,
    MilligramPerKilogram,
    MilligramPerSquareMetre,
    Percent,
    Year,
)
from recipes.figures import Count, Document, Hex256, Identifier, IsoDate, Name, NotNegative, Positive
from recipes.preparation import Preparation


def without_unset_second(tree: dict[str, object]) -> dict[str, object]:
    """Leave `second` out of a record where there is none: an order of one ink is what it was before there were two."""
    return {name: value for name, value in tree.items() if value is not None or name != "second"}


class VersionedRecipe(Protocol):
    """What an order binds of a recipe."""

    @property
    def id(self) -> str: ...
    @property
    def version(self) -> int: ...
    @property
    def digest(self) -> str: ...


class InkLot(Document):
    """An ink lot as its certificate of analysis states it; uncertainties are expanded (k = 2).

    An ink prepared on site has a `preparation` in place of a certificate, and `assay` is then its theoretical strength.
    """

    lot: Identifier
    ink: Identifier
    moiety: Name
    basis: Name
    assay: Annotated[MilligramPerGram, Positive]
    assay_uncertainty: Annotated[MilligramPerGram, Positive]
    density: Annotated[GramPerMillilitre, Positive]
    density_uncertainty: Annotated[GramPerMillilitre, Positive]
    concentration_rsd: Annotated[Percent, NotNegative] | None = None
    certificate: Name | None = None
    expires: IsoDate
    preparation: Preparation | None = None

    @model_serializer(mode="wrap")
    def _as_it_came(self, handler: SerializerFunctionWrapHandler) -> dict[str, object]:
        tree: dict[str, object] = handler(self)
        return {name: value for name, value in tree.items() if value is not None or name not in ("certificate", "preparation")}

    @model_validator(mode="after")
    def _of_one_origin(self) -> Self:
        made = self.preparation
        if (made is None) == (self.certificate is None):
            raise ValueError("an ink lot has a certificate of analysis, or a preparation record where it was prepared on site: one of them")
        if made is None:
            return self
        places = -int(self.assay.value.as_tuple().exponent)
        if made.strength.rounded(places) != self.assay:
            raise ValueError(f"the weighings give {made.strength.rounded(places)}, the ink is entered with {self.assay}")
        if made.strength_uncertainty > self.assay_uncertainty:
            raise ValueError(f"assay_uncertainty must be {made.strength_uncertainty.rounded(4)} or more, as the weighings give it")
        return self

    @property
    def strength_text(self) -> str:
        """How its strength is known, as every place that shows it says."""
        return (
            f"assay of ink lot {self.lot}" if self.preparation is None else f"theoretical strength of ink lot {self.lot}, prepared on site"
        )


class Cartridge(Document):
    """A filled cartridge of one ink lot. `used` is what earlier runs can have taken from it at most, `warm` their hours at temperature.

    `warm` is part of the digest only where there are any.
    """

    serial: Identifier
    ink_lot: Identifier
    filled: Annotated[Microlitre, Positive]
    used: Annotated[Microlitre, NotNegative] = Microlitre(0)
    opened: IsoDate
    in_use_until: IsoDate
    warm: Annotated[Hour, NotNegative] | None = None

    @model_serializer(mode="wrap")
    def _without_what_is_not_set(self, handler: SerializerFunctionWrapHandler) -> dict[str, object]:
        tree: dict[str, object] = handler(self)
        return {name: value for name, value in tree.items() if value is not None or name != "warm"}

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


Sex = Literal["female", "male"]
Prescribed = MilligramPerSquareMetre | MilligramPerKilogram | Milligram


class SecondActive(Document):
    """The second active of a prescription for units of two inks: what is prescribed of it, for the same times and days."""

    moiety: Name
    basis: Name
    prescribed: Prescribed
    per: Literal["day", "dose"]


_STATED_OR_NOT = frozenset({"sex", "age", "measured", "prescriber", "number", "body_confirmed"})


class Prescription(Document):
    """A prescription as written: the patient by pseudonym, what is prescribed per day or per dose, and for how long.

    `sex` and `age` are stated where the recipe's formula of body surface asks for them. `second`: what is prescribed of a second
    active in the same units. `measured` is the day of height and weight, `prescriber` and `number` are those of the prescription,
    `body_confirmed` names who measured an unusual patient again. What is not stated is not part of the digest.
    """

    patient: Identifier
    moiety: Name
    basis: Name
    height: Centimetre | None = None
    weight: Kilogram | None = None
    sex: Sex | None = None
    age: Year | None = None
    prescribed: Prescribed
    per: Literal["day", "dose"]
    schedule: Annotated[tuple[Intake, ...], Field(min_length=1, max_length=12)]
    days: Annotated[int, Field(strict=True, ge=1, le=366)]
    second: SecondActive | None = None
    measured: IsoDate | None = None
    prescriber: Name | None = None
    number: Identifier | None = None
    body_confirmed: Name | None = None

    @model_serializer(mode="wrap")
    def _without_what_is_not_stated(self, handler: SerializerFunctionWrapHandler) -> dict[str, object]:
        tree = without_unset_second(handler(self))
        return {name: value for name, value in tree.items() if value is not None or name not in _STATED_OR_NOT}

    @field_validator("second")
    @classmethod
    def _second_above_zero(cls, second: SecondActive | None) -> SecondActive | None:
        if second is not None and second.prescribed.value <= 0:
            raise ValueError(f"must be above zero, found {second.prescribed}")
        return second

    @field_validator("height", "weight", "age", "prescribed")
    @classmethod
    def _above_zero(cls, value: Centimetre | Kilogram | Year | Prescribed | None) -> Centimetre | Kilogram | Year | Prescribed | None:
        if value is not None and value.value <= 0:
            raise ValueError(f"must be above zero, found {value}")
        return value

    @property
    def units(self) -> int:
        """Number of units the whole course needs: one at each time of each day."""
        return len(self.schedule) * self.days

    @property
    def parts(self) -> tuple[Prescription, ...]:
        """The prescription of each active, as if it were the only one."""
        second = self.second
        if second is None:
            return (self,)
        own = {"moiety": second.moiety, "basis": second.basis, "prescribed": second.prescribed, "per": second.per}
        return self.model_copy(update={"second": None}), self.model_copy(update={"second": None, **own})


class SecondSource(Document):
    """The second ink lot and cartridge of an order, each bound by its digest."""

    ink_lot: Identifier
    ink_lot_digest: Hex256
    cartridge: Identifier
    cartridge_digest: Hex256


class DoseOrder(Document):
    """An order: this prescription, from this recipe version, ink lot and cartridge, each bound by its digest.

    Two people sign `sha256`; their signatures are kept beside the order, not in it. `second`: what the second ink of a unit is
    printed from; part of the digest only where there is one.
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
    second: SecondSource | None = None

    @model_serializer(mode="wrap")
    def _without_a_second(self, handler: SerializerFunctionWrapHandler) -> dict[str, object]:
        return without_unset_second(handler(self))

    @model_validator(mode="after")
    def _two_sources(self) -> Self:
        second = self.second
        if second is not None and (second.ink_lot == self.ink_lot or second.cartridge == self.cartridge):
            raise ValueError("the second ink must come from another lot and another cartridge")
        return self

    @classmethod
    def create(
        cls,
        order_id: str,
        *,
        recipe: VersionedRecipe,
        ink: InkLot,
        cartridge: Cartridge,
        prescription: Prescription,
        second: tuple[InkLot, Cartridge] | None = None,
    ) -> DoseOrder:
        """Write an order that binds the recipe, the certificates and the cartridges as they are now."""
        other = None
        if second is not None:
            lot, from_cartridge = second
            other = SecondSource(
                ink_lot=lot.lot,
                ink_lot_digest=lot.digest,
                cartridge=from_cartridge.serial,
                cartridge_digest=from_cartridge.digest,
            )
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
            second=other,
        )

    @property
    def cartridges(self) -> tuple[str, ...]:
        """The serials of the cartridges, in the order of the heads that they belong into."""
        return (self.cartridge,) if self.second is None else (self.cartridge, self.second.cartridge)

    @property
    def sha256(self) -> str:
        """SHA-256 hex of the canonical bytes of the order; what the two signatures are over."""
        return self.digest
