"""Body surface area by seven formulas: five from height and weight, one from weight alone, one for adults by sex.

All arithmetic is decimal: Mosteller by an exact square root, the others by decimal logarithm and exponential, each
correctly rounded to 28 digits, so that the same height and weight give the same digits on every machine. The result is
not rounded: a dose is calculated from the full value and both are recorded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from decimal import Decimal

from audit.quantities import EXACT, Centimetre, Kilogram, SquareMetre, Year
from recipes.errors import DoseRefused
from recipes.growth import height_slip, weight_slip
from recipes.model import BsaFormula, Sex


@dataclass(frozen=True, slots=True)
class Body:
    """Whose surface is asked for; what a formula does not need may be missing."""

    height: Centimetre | None
    weight: Kilogram
    sex: Sex | None = None
    age: Year | None = None


Expression = Callable[[Body], Decimal]
ADULT = Year(18)
_STEP_AT = Kilogram(10)
_NEAR_STEP = Kilogram("0.5")
_STEP = (("0.1037", "0.6724"), ("0.1173", "0.6466"))
"""Factor and power of Livingston and Lee below 10 kg and from there."""


@dataclass(frozen=True, slots=True)
class BsaMethod:
    """One formula: its name, its expression in H (cm) and W (kg), where it is from, and where it holds.

    `height` and `weight` are the values accepted here. They are plausibility limits of this product, drawn inside what
    the publication covers; no publication states them as limits. `height` is None where the formula does not ask for it.
    `adults`: it was derived from adults and holds for nobody else; it asks for age and sex.
    """

    name: str
    expression: str
    source: str
    validity: str
    height: tuple[Centimetre, Centimetre] | None
    weight: tuple[Kilogram, Kilogram]
    evaluate: Expression
    adults: bool = False


def _power(base: Decimal, exponent: Decimal) -> Decimal:
    # exp(y·ln x): `ln` and `exp` of Decimal are correctly rounded in any conforming implementation, `**` need not be.
    return EXACT.exp(EXACT.multiply(exponent, EXACT.ln(base)))


def _of_both(expression: Callable[[Decimal, Decimal], Decimal]) -> Expression:
    def evaluate(body: Body) -> Decimal:
        if body.height is None:
            raise DoseRefused(["height is missing; enter it"])
        return expression(body.height.value, body.weight.value)

    return evaluate


def _mosteller(height: Decimal, weight: Decimal) -> Decimal:
    return EXACT.sqrt(EXACT.divide(EXACT.multiply(height, weight), Decimal(3600)))


def _power_law(factor: str, height_power: str, weight_power: str, height: Decimal, weight: Decimal) -> Decimal:
    of_height = _power(height, Decimal(height_power))
    return EXACT.multiply(EXACT.multiply(Decimal(factor), of_height), _power(weight, Decimal(weight_power)))


def _product(factor: str, height_power: str, weight_power: str) -> Expression:
    return _of_both(lambda height, weight: _power_law(factor, height_power, weight_power, height, weight))


def _boyd(height: Decimal, weight: Decimal) -> Decimal:
    grams = EXACT.multiply(weight, Decimal(1000))
    exponent = EXACT.subtract(Decimal("0.7285"), EXACT.multiply(Decimal("0.0188"), EXACT.log10(grams)))
    return EXACT.multiply(EXACT.multiply(Decimal("0.0003207"), _power(height, Decimal("0.3"))), _power(grams, exponent))


def _livingston_lee(body: Body) -> Decimal:
    factor, exponent = _STEP[body.weight >= _STEP_AT]
    return EXACT.multiply(Decimal(factor), _power(body.weight.value, Decimal(exponent)))


def _schlich(body: Body) -> Decimal:
    if body.height is None or body.sex is None:
        raise DoseRefused(["height or sex is missing; enter both"])
    factor, of_height, of_weight = ("0.000975482", "1.08", "0.46") if body.sex == "female" else ("0.000579479", "1.24", "0.38")
    return _power_law(factor, of_height, of_weight, body.height.value, body.weight.value)


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
        _of_both(_mosteller),
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
        _of_both(_boyd),
    ),
    "livingston_lee": BsaMethod(
        "Livingston and Lee",
        "0.1173 · W^0.6466 from 10 kg, 0.1037 · W^0.6724 below",
        "Livingston EH, Lee S, Am J Physiol Endocrinol Metab 2001;281:E586",
        "from weight alone, the obese included; steps up by 6.6 % at 10 kg",
        None,
        _CHILD_TO_ADULT[1],
        _livingston_lee,
    ),
    "schlich": BsaMethod(
        "Schlich",
        "women 0.000975482 · H^1.08 · W^0.46, men 0.000579479 · H^1.24 · W^0.38",
        "Schlich E, Schumm M, Schlich M, Ernährungs Umschau 2010;57:178",
        "adults measured by body scan; a fifth too little for a child of 18 kg",
        *_range((140, 230), ("35", "250")),
        _schlich,
        adults=True,
    ),
}


def asks_for_age_and_sex(formulas: Iterable[BsaFormula | None]) -> bool:
    """Whether one of the formulas of a recipe asks for them."""
    return any(METHODS[formula].adults for formula in formulas if formula is not None)


def implausible(
    formula: BsaFormula, height: Centimetre | None, weight: Kilogram, *, sex: Sex | None = None, age: Year | None = None
) -> tuple[str, ...]:
    """Return why this formula may not be used for this body, each with what to do; empty if it may."""
    method = METHODS[formula]
    reasons = []
    if method.height is not None and height is None:
        reasons.append(f"{method.name} needs the height; measure it and enter it in centimetres")
    elif method.height is not None and height is not None and not method.height[0] <= height <= method.height[1]:
        reasons.append(
            f"height {height} is outside {method.height[0].text} to {method.height[1]}, the range of {method.name} here; "
            f"measure again and enter the height in centimetres{height_slip(height)}"
        )
    if not method.weight[0] <= weight <= method.weight[1]:
        reasons.append(
            f"weight {weight} is outside {method.weight[0].text} to {method.weight[1]}, the range of {method.name} here; "
            f"weigh again and enter the weight in kilograms{weight_slip(weight)}"
        )
    if method.adults and (sex is None or age is None):
        reasons.append(f"{method.name} holds for adults and by sex; enter age and sex")
    elif method.adults and age is not None and age < ADULT:
        reasons.append(f"{method.name} holds for adults, the patient is {age} old; use a recipe with another formula")
    if not reasons and height is not None:
        reasons.extend(_do_not_belong_together(height, weight))
    return tuple(reasons)


def _do_not_belong_together(height: Centimetre, weight: Kilogram) -> list[str]:
    metres = EXACT.divide(height.value, Decimal(100))
    index = EXACT.divide(weight.value, EXACT.multiply(metres, metres)) if metres else Decimal(0)
    if Decimal(7) <= index <= Decimal(80):
        return []
    return [
        f"height {height} and weight {weight} do not belong together (body mass index {index:.1f} kg/m², 7 to 80 is accepted); "
        "check that height and weight are not exchanged and are of the same patient"
    ]


def caution(formula: BsaFormula, weight: Kilogram) -> str | None:
    """Return what a person has to know of this formula near this weight, or None."""
    if formula != "livingston_lee" or abs((weight - _STEP_AT).value) > _NEAR_STEP.value:
        return None
    below, above = (EXACT.multiply(Decimal(factor), _power(Decimal(10), Decimal(power))) for factor, power in _STEP)
    return f"Livingston and Lee steps at 10 kg: {below:.4f} m² just below, {above:.4f} m² from there; a dose near it depends on the scale"


def body_surface_area(
    formula: BsaFormula, height: Centimetre | None, weight: Kilogram, *, sex: Sex | None = None, age: Year | None = None
) -> SquareMetre:
    """Return the body surface area in m², unrounded (28 digits).

    Raises DoseRefused where the formula does not hold for this body. Sources are in `METHODS`.
    """
    reasons = implausible(formula, height, weight, sex=sex, age=age)
    if reasons:
        raise DoseRefused(reasons)
    return SquareMetre(METHODS[formula].evaluate(Body(height, weight, sex, age)))
