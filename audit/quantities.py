"""Quantities: exact decimals that carry their unit in the type.

Every dose, mass, volume, limit and reading is one of these classes from the wire to the record. Two values mix only
when they are of one unit; a change of unit is a named method with its factor written out. Text forms are plain
decimals (never an exponent, no grouping, decimal point), so that they can be hashed.

Arithmetic runs in `EXACT`, a context of 28 significant digits that traps instead of returning NaN or infinity.
"""

from __future__ import annotations

import re
from decimal import (
    ROUND_HALF_EVEN,
    ROUND_HALF_UP,
    Context,
    Decimal,
    DivisionByZero,
    InvalidOperation,
    Overflow,
)
from typing import ClassVar, Self

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

EXACT = Context(prec=28, rounding=ROUND_HALF_EVEN, traps=[InvalidOperation, DivisionByZero, Overflow])

_PLAIN_NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]+)?\Z")
_GROUPED = re.compile(r"[+-]?[0-9]{1,3}(,[0-9]{3})+(\.[0-9]+)?\Z")
_GROUP_OR_DECIMAL = re.compile(r"[+-]?[1-9][0-9]{0,2},[0-9]{3}\Z")
_POINT_GROUP = re.compile(r"[+-]?[1-9][0-9]{0,2}\.[0-9]{2}0\Z")
_DECIMAL_COMMA = re.compile(r"[+-]?[0-9]+,[0-9]+\Z")
_MAX_DIGITS = EXACT.prec
_MAX_LENGTH = 64


class QuantityError(ValueError):
    """A text or a number that is not the quantity it should be."""


def decimal_from_text(text: str, what: str = "number") -> Decimal:
    """Read a plain decimal number: digits with at most one decimal point.

    Refuses grouping, exponents, NaN, a decimal comma and blanks inside, each with the reason. `1,250` is refused
    rather than read as 1250 or 1.25: which of the two was meant cannot be known.
    """
    stripped = text.strip()
    if _GROUPED.match(stripped) or "," in stripped:
        raise QuantityError(
            f"{what}: {text!r} has a comma, which may mean thousands or a decimal; write it with a decimal point, for example 1.25"
        )
    if not _PLAIN_NUMBER.match(stripped):
        raise QuantityError(f"{what}: {text!r} is not a number; write plain digits, for example 18.5")
    if len(stripped) > _MAX_LENGTH or len(stripped.lstrip("+-0.").replace(".", "")) > _MAX_DIGITS:
        raise QuantityError(f"{what}: {text[:40]!r} has too many digits; {_MAX_DIGITS} are allowed")
    return Decimal(stripped)


def typed_decimal(text: str, what: str = "number") -> Decimal:
    """Read a number as a person types it: with a decimal point or a decimal comma, and nothing that groups digits.

    `1,250` may be 1250 or 1.25 and is refused, as are both marks in one number, a mark twice, and any space or apostrophe inside. A
    comma that cannot group (`12,5`, `0,125`, `1250,5`) is the decimal mark. `1.250` is refused too: a point groups where the comma is the
    decimal mark, and nobody who means 1.25 writes a zero at its end (ISMP). What is written into a record has a point: `decimal_from_text`.
    """
    stripped = text.strip()
    if _GROUP_OR_DECIMAL.match(stripped):
        digits = stripped.replace(",", "")
        raise QuantityError(
            f"{what}: {text!r} may mean {digits} or {stripped.replace(',', '.').rstrip('0').rstrip('.')}; write it with a decimal point, "
            "or without the comma"
        )
    if _POINT_GROUP.match(stripped):
        raise QuantityError(
            f"{what}: {text!r} may mean {stripped.replace('.', '')} or {stripped.rstrip('0').rstrip('.')}; write it without the zero "
            "at its end, or without the point"
        )
    if _DECIMAL_COMMA.match(stripped):
        return decimal_from_text(stripped.replace(",", "."), what)
    if stripped[:1] in (".", ",") and stripped[1:].isascii() and stripped[1:].isdigit():
        raise QuantityError(f"{what}: {text!r} has no digit before its decimal mark; write 0{stripped.replace(',', '.')}")
    marks = sum(stripped.count(mark) for mark in ".,")
    grouped = marks > 1 or any(character.isspace() or character in "'’_\u00b7" for character in stripped)
    if grouped and any(character.isdigit() for character in stripped):
        raise QuantityError(f"{what}: {text!r} has its digits in groups; write it without, with one decimal point or comma at most: 1234.5")
    return decimal_from_text(stripped, what)


def plain_text(value: Decimal) -> str:
    """Return the decimal as digits without an exponent, keeping its number of decimals."""
    return format(value, "f")


def round_to(value: Decimal, places: int, rounding: str = ROUND_HALF_UP) -> Decimal:
    """Round to a number of decimals, half away from zero unless told (the pharmacopoeial convention)."""
    return value.quantize(Decimal(1).scaleb(-places), rounding=rounding, context=EXACT)


def round_to_grid(value: Decimal, grid: Decimal) -> Decimal:
    """Round to the nearest multiple of `grid`, a tie going away from zero."""
    steps = EXACT.divide(value, grid).quantize(Decimal(1), rounding=ROUND_HALF_UP, context=EXACT)
    return EXACT.multiply(steps, grid)


class Quantity:
    """A decimal value of one unit. Immutable, hashable, ordered within its own class only."""

    __slots__ = ("value",)
    unit: ClassVar[str] = ""
    value: Decimal

    def __init__(self, value: Decimal | int | str) -> None:
        if isinstance(value, bool) or not isinstance(value, (Decimal, int, str)):
            raise QuantityError(f"{type(self).__name__} takes a Decimal, an int or plain decimal text, not {type(value).__name__}")
        number = decimal_from_text(value, type(self).__name__) if isinstance(value, str) else Decimal(value)
        if not number.is_finite():
            raise QuantityError(f"{type(self).__name__} must be finite, not {number}")
        object.__setattr__(self, "value", number)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{type(self).__name__} is immutable")

    def __reduce__(self) -> tuple[type[Self], tuple[Decimal]]:
        return type(self), (self.value,)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `18.5 mg`: the number, one space, exactly this class's unit. Raises QuantityError."""
        number, _, unit = text.strip().partition(" ")
        if unit.strip() != cls.unit:
            found = unit.strip() or "no unit"
            raise QuantityError(f"{text!r}: expected a value in {cls.unit}, found {found}; write it as '{number} {cls.unit}'")
        return cls(decimal_from_text(number, f"value in {cls.unit}"))

    @property
    def text(self) -> str:
        """The number alone, as plain decimal text."""
        return plain_text(self.value)

    def __str__(self) -> str:
        return f"{self.text} {self.unit}"

    def __repr__(self) -> str:
        return f"{type(self).__name__}('{self.text}')"

    def __hash__(self) -> int:
        return hash((type(self).__name__, self.value))

    def __eq__(self, other: object) -> bool:
        return self.value == other.value if type(other) is type(self) else NotImplemented

    def __lt__(self, other: Self) -> bool:
        return self.value < self._same(other).value

    def __le__(self, other: Self) -> bool:
        return self.value <= self._same(other).value

    def __gt__(self, other: Self) -> bool:
        return self.value > self._same(other).value

    def __ge__(self, other: Self) -> bool:
        return self.value >= self._same(other).value

    def __add__(self, other: Self) -> Self:
        return type(self)(EXACT.add(self.value, self._same(other).value))

    def __sub__(self, other: Self) -> Self:
        return type(self)(EXACT.subtract(self.value, self._same(other).value))

    def __neg__(self) -> Self:
        return type(self)(-self.value)

    def __abs__(self) -> Self:
        return type(self)(abs(self.value))

    def __mul__(self, factor: Decimal | int) -> Self:
        return type(self)(EXACT.multiply(self.value, Decimal(factor)))

    __rmul__ = __mul__

    def __truediv__(self, divisor: Decimal | int) -> Self:
        return type(self)(EXACT.divide(self.value, Decimal(divisor)))

    def ratio(self, other: Self) -> Decimal:
        """Return self / other as a bare number."""
        return EXACT.divide(self.value, self._same(other).value)

    def rounded(self, places: int) -> Self:
        """Round half away from zero to a number of decimals; for showing and for records, not for intermediates."""
        return type(self)(round_to(self.value, places))

    def _same(self, other: Self) -> Self:
        if type(other) is not type(self):
            raise QuantityError(f"cannot mix {type(self).__name__} with {type(other).__name__}")
        return other

    @classmethod
    def __get_pydantic_core_schema__(cls, source: type, handler: GetCoreSchemaHandler) -> CoreSchema:
        def validate(value: object) -> Quantity:
            if isinstance(value, cls):
                return value
            if isinstance(value, str):
                return cls.parse(value)
            raise QuantityError(f"expected text such as '1.5 {cls.unit}', found {type(value).__name__}")

        return core_schema.no_info_plain_validator_function(
            validate, serialization=core_schema.plain_serializer_function_ser_schema(str, return_schema=core_schema.str_schema())
        )


class Milligram(Quantity):
    """Mass in mg: doses, fill masses, weighings."""

    __slots__ = ()
    unit = "mg"


class Microlitre(Quantity):
    """Volume in µL, written `uL` (ASCII) in text; 1 µL = 1 mm³."""

    __slots__ = ()
    unit = "uL"


class Millimetre(Quantity):
    __slots__ = ()
    unit = "mm"


class SquareMillimetre(Quantity):
    """Area, also the volume in mm³ that one mm of E moves."""

    __slots__ = ()
    unit = "mm2"


class MillimetrePerSecond(Quantity):
    __slots__ = ()
    unit = "mm/s"


class MicrolitrePerSecond(Quantity):
    __slots__ = ()
    unit = "uL/s"


class StepsPerMillimetre(Quantity):
    __slots__ = ()
    unit = "steps/mm"


class Kilopascal(Quantity):
    __slots__ = ()
    unit = "kPa"


class Celsius(Quantity):
    __slots__ = ()
    unit = "degC"


class Percent(Quantity):
    __slots__ = ()
    unit = "%"

    @property
    def fraction(self) -> Decimal:
        return EXACT.divide(self.value, Decimal(100))


class Second(Quantity):
    __slots__ = ()
    unit = "s"

    @property
    def microseconds(self) -> int:
        return int(EXACT.multiply(self.value, Decimal(1_000_000)).to_integral_value())


class Hour(Quantity):
    __slots__ = ()
    unit = "h"


class Day(Quantity):
    __slots__ = ()
    unit = "d"


class Year(Quantity):
    """An age."""

    __slots__ = ()
    unit = "years"


class Centimetre(Quantity):
    __slots__ = ()
    unit = "cm"


class Kilogram(Quantity):
    __slots__ = ()
    unit = "kg"


class SquareMetre(Quantity):
    __slots__ = ()
    unit = "m2"


class MilligramPerSquareMetre(Quantity):
    __slots__ = ()
    unit = "mg/m2"


class MilligramPerKilogram(Quantity):
    __slots__ = ()
    unit = "mg/kg"


class MilligramPerGram(Quantity):
    """Strength of an ink: mg of the stated active moiety in 1 g of ink."""

    __slots__ = ()
    unit = "mg/g"


class GramPerMillilitre(Quantity):
    """Density; numerically mg/µL."""

    __slots__ = ()
    unit = "g/mL"


class MilligramPerSecond(Quantity):
    """Drift or drying slope of a weighing."""

    __slots__ = ()
    unit = "mg/s"


def fill_mass(dose: Milligram, strength: MilligramPerGram) -> Milligram:
    """Return the mass of ink that holds the dose: dose / strength · 1000 (mg/g → mg/mg)."""
    return Milligram(EXACT.divide(EXACT.multiply(dose.value, Decimal(1000)), strength.value))


def volume_of(mass: Milligram, density: GramPerMillilitre) -> Microlitre:
    """Return mass / density; 1 g/mL is 1 mg/µL."""
    return Microlitre(EXACT.divide(mass.value, density.value))


def mass_of(volume: Microlitre, density: GramPerMillilitre) -> Milligram:
    """Return volume · density; 1 g/mL is 1 mg/µL."""
    return Milligram(EXACT.multiply(volume.value, density.value))
