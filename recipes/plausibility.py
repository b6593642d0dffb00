"""Whether a prescription can be believed on the day on which it is to be printed: what is stated, by whom, and how long ago.

Pure: `today` is an ISO date. Each check returns reasons, each with what to do. Arithmetic of dates is civil, in whole days.
"""

from __future__ import annotations

from recipes.bsa import ADULT
from recipes.civil_days import days_between
from recipes.growth import against_age
from recipes.model import Prescription, Recipe
from recipes.patient_rules import BodyRule


def prescription_reasons(recipe: Recipe, prescription: Prescription, today: str) -> tuple[str, ...]:
    """Return why this prescription is not to be printed today under this recipe; empty if nothing speaks against it."""
    rules = [part.dose.body for part in recipe.parts if part.dose.body is not None]
    reasons = list(_body_reasons(prescription))
    for rule in rules:
        reasons.extend(_missing(recipe, rule, prescription))
        reasons.extend(_too_old(recipe, rule, prescription, today))
    if prescription.measured is not None and prescription.measured > today:
        reasons.append(f"height and weight are entered as measured on {prescription.measured}, which is after today, {today}; correct it")
    return tuple(dict.fromkeys(reasons))


def _body_reasons(prescription: Prescription) -> tuple[str, ...]:
    if prescription.age is None or prescription.body_confirmed is not None:
        return ()
    found = against_age(prescription.height, prescription.weight, prescription.age)
    return tuple(f"{reason}; measure again, or enter who measured again and confirmed it" for reason in found)


def _missing(recipe: Recipe, rule: BodyRule, prescription: Prescription) -> list[str]:
    stated = {
        "age": prescription.age is not None,
        "measured": prescription.measured is not None or (prescription.height is None and prescription.weight is None),
        "prescriber": prescription.prescriber is not None,
        "prescription number": prescription.number is not None,
    }
    words = {"age": "the age of the patient", "measured": "the day on which height and weight were measured"}
    return [f"recipe {recipe.reference} asks for {words.get(name, f'the {name}')}; enter it" for name in rule.asks if not stated[name]]


def _too_old(recipe: Recipe, rule: BodyRule, prescription: Prescription, today: str) -> list[str]:
    if prescription.measured is None:
        return []
    adult = prescription.age is not None and prescription.age >= ADULT
    longest = rule.longest_since_adult if adult else rule.longest_since_child
    days = days_between(prescription.measured, today)
    if days <= longest.value:
        return []
    whose = "an adult" if adult else "a child"
    return [
        f"height and weight were measured on {prescription.measured}, {days} days ago; recipe {recipe.reference} allows "
        f"{longest.text} days for {whose}: measure again and have the dose prescribed from that"
    ]
