"""Body surface area from height and weight, by the five formulas in clinical use.

All arithmetic is decimal: Mosteller by an exact square root, the others by decimal logarithm and exponential, each
correctly rounded to 28 digits, so that the same height and weight give the same digits on every machine. The result is
not rounded: a dose is calculated from the full value and both are recorded.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal

from audit.quantities import EXACT, Centimetre, Kilogram, SquareMetre
from recipes.errors import DoseRefused
from recipes.model import BsaFormula

Expression = Callable[[Decimal, Decimal], Decimal]


@dataclass(frozen=True, slots=True)
class BsaMethod:
    """One formula: its name, its expression in H (cm) and W (kg), where it is from, and where it holds.

    `height` and `weight` are the values accepted here. They are plausibility limits of this product, drawn inside what
    the publication covers; no publication states them as limits.
    """

    name: str
    expression: str
    source: str
    validity: str
    height: tuple[Centimetre, Centimetre]
    weight: tuple[Kilogram, Kilogram]
    evaluate: Expression


def _power(base: Decimal, exponent: Decimal) -> Decimal:
    # exp(y·ln x): `ln` and `exp` of Decimal are correctly rounded in any conforming implementation, `**` need not be.
    return EXACT.exp(EXACT.multiply(exponent, EXACT.ln(base)))


def _mosteller(height: Decimal, weight: Decimal) -> Decimal:
    return EXACT.sqrt(EXACT.divide(EXACT.multiply(height, weight), Decimal(3600)))


def _product(factor: str, height_power: str, weight_power: str) -> Expression:
    def evaluate(height: Decimal, weight: Decimal) -> Decimal:
        of_height = _power(height, Decimal(height_power))
        return EXACT.multiply(EXACT.multiply(Decimal(factor), of_height), _power(weight, Decimal(weight_power)))

    return evaluate


def _boyd(height: Decimal, weight: Decimal) -> Decimal:
    grams = EXACT.multiply(weight, Decimal(1000))
    exponent = EXACT.subtract(Decimal("0.7285"), EXACT.multiply(Decimal("0.0188"), EXACT.log10(grams)))
    return EXACT.multiply(EXACT.multiply(Decimal("0.0003207"), _power(height, Decimal("0.3"))), _power(grams, exponent))


def _range(height: tuple[int, int], weight: tuple[str, str]) -> tuple[tuple[Centimetre, Centimetre], tuple[Kilogram, Kilogram]]:
    return (Centimetre(height[0]), Centimetre(height[1])), (Kilogram(weight[0]), Kilogram(weight[1]))


_CHILD_TO_ADULT = _range((40, 230), ("1.5", "250"))
_FROM_TEN_KILOGRAMS = _range((70, 230), ("6", "250"))

METHODS: dict[BsaFormula, BsaMethod] = {
    "mosteller": BsaMethod(
        "Mosteller",
        "sqrt(H · W / 3600)",
        "Mosteller RD, N Engl J Med 1987;317:1098",
        "children and adults; simplifies Gehan and George",
        *_CHILD_TO_ADULT,
        _mosteller,
    ),
    "du_bois": BsaMethod(
        "Du Bois and Du Bois",
        "0.007184 · H^0.725 · W^0.425",
        "Du Bois D, Du Bois EF, Arch Intern Med 1916;17:863",
        "nine subjects; not for infants",
        *_FROM_TEN_KILOGRAMS,
        _product("0.007184", "0.725", "0.425"),
    ),
    "haycock": BsaMethod(
        "Haycock",
        "0.024265 · H^0.3964 · W^0.5378",
        "Haycock GB et al., J Pediatr 1978;93:62",
        "validated in infants, children and adults",
        *_CHILD_TO_ADULT,
        _product("0.024265", "0.3964", "0.5378"),
    ),
    "gehan_george": BsaMethod(
        "Gehan and George",
        "0.0235 · H^0.42246 · W^0.51456",
        "Gehan EA, George SL, Cancer Chemother Rep 1970;54:225",
        "401 measured subjects, children and adults",
        *_CHILD_TO_ADULT,
        _product("0.0235", "0.42246", "0.51456"),
    ),
    "boyd": BsaMethod(
        "Boyd",
        "0.0003207 · H^0.3 · g^(0.7285 − 0.0188 · log10 g), g = 1000 · W",
        "Boyd E, The Growth of the Surface Area of the Human Body, 1935",
        "infants to adults",
        *_CHILD_TO_ADULT,
        _boyd,
    ),
}


def implausible(formula: BsaFormula, height: Centimetre, weight: Kilogram) -> tuple[str, ...]:
    """Return why this formula may not be used for this height and weight, each with what to do; empty if it may."""
    method = METHODS[formula]
    reasons = []
    if not method.height[0] <= height <= method.height[1]:
        reasons.append(
            f"height {height} is outside {method.height[0].text} to {method.height[1]}, the range of {method.name} here; "
            "measure again and enter the height in centimetres"
        )
    if not method.weight[0] <= weight <= method.weight[1]:
        reasons.append(
            f"weight {weight} is outside {method.weight[0].text} to {method.weight[1]}, the range of {method.name} here; "
            "weigh again and enter the weight in kilograms"
        )
    if not reasons:
        metres = EXACT.divide(height.value, Decimal(100))
        index = EXACT.divide(weight.value, EXACT.multiply(metres, metres))
        if not Decimal(7) <= index <= Decimal(80):
            reasons.append(
                f"height {height} and weight {weight} do not belong together (body mass index {index:.1f} kg/m², 7 to 80 is accepted); "
                "check that height and weight are not exchanged and are of the same patient"
            )
    return tuple(reasons)


def body_surface_area(formula: BsaFormula, height: Centimetre, weight: Kilogram) -> SquareMetre:
    """Return the body surface area in m², unrounded (28 digits).

    Raises DoseRefused where the formula does not hold for this height and weight. Sources are in `METHODS`.
    """
    reasons = implausible(formula, height, weight)
    if reasons:
        raise DoseRefused(reasons)
    return SquareMetre(METHODS[formula].evaluate(height.value, weight.value))
