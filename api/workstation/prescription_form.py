"""The form of a prescription: substance and form first, then the patient, then the amount. What it asks for follows from the recipe."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from nicegui import ui

from api.production import OrderRequest
from api.security import Session
from api.shelf import Shelf
from api.workstation import fields
from api.workstation.words import marked, said, told
from audit.canonical import JsonObject
from audit.identity import Role
from recipes.bsa import asks_for_age_and_sex
from recipes.model import Recipe

UNITS = {"mg/m2": "mg/m²", "mg/kg": "mg/kg", "mg": "mg"}
_PER = (marked("day"), marked("dose"))
_SEXES = (marked("female"), marked("male"))
_NUMBER = marked("12.5 or 12,5")


def per() -> dict[str, str]:
    """What an amount is prescribed for, by its word of the record."""
    return {name: told(name) for name in _PER}


def sexes() -> dict[str, str]:
    """The sexes that a formula knows, by their words of the record."""
    return {name: told(name) for name in _SEXES}


def asks_age(recipe: Recipe) -> bool:
    """Whether a recipe asks for the patient's age and sex."""
    asked = any("age" in part.dose.body.asks for part in recipe.parts if part.dose.body is not None)
    return asked or bool(recipe.swallowability) or asks_for_age_and_sex(part.dose.bsa_formula for part in recipe.parts)


def _title(text: str) -> None:
    ui.html(f"<h3>{text}</h3>", sanitize=False).classes("w-full")


class PrescriptionForm:
    """Fields on the page and what they say. Lifetime: that of the entry; `changed` is called whenever one of them changes."""

    def __init__(self, shelf: Shelf, session: Session, changed: Callable[[], None]) -> None:
        self._shelf = shelf
        self._recipes = shelf.choices(development=Role.PROCESS_ENGINEER in session.roles)
        self._by_substance: dict[str, dict[str, str]] = {}
        for name, title in self._recipes.items():
            self._by_substance.setdefault(shelf.recipe(name).active.moiety, {})[name] = title
        self._setting = False
        self._what()
        self._patient()
        self._amount()
        self._source()
        self._by_name: Mapping[str, fields.Field] = {**self._texts, **self._choices}
        self._substance.on_value_change(self._of_substance)
        self._recipe.on_value_change(self._of_recipe)
        self._ink.on_value_change(lambda: self._cartridges_of(self._ink, self._cartridge))
        self._second_ink.on_value_change(lambda: self._cartridges_of(self._second_ink, self._second_cartridge))
        suitable = self._suitable()
        self._substance.value = next((name for name, own in self._by_substance.items() if suitable in own), None)
        if suitable is not None:
            self._recipe.value = suitable
        for field in self._by_name.values():
            field.on_value_change(changed)

    @property
    def empty(self) -> bool:
        """True where nothing can be ordered: no recipe is effective."""
        return not self._recipes

    @property
    def fields(self) -> Iterable[fields.Field]:
        """Its fields, in the order in which they stand."""
        order = ("recipe", *self._texts, "sex", "unit", "per", "ink_lot", "cartridge", "second_ink_lot", "second_cartridge")
        return [self._by_name[name] for name in order]

    def _what(self) -> None:
        _title(said("What is ordered"))
        with ui.element("div").classes("dw-fields"):
            self._substance = fields.choice(list(self._by_substance), said("Substance"))
            self._recipe = fields.choice({}, said("Form and recipe")).style("grid-column:span 2")

    def _patient(self) -> None:
        _title(said("For whom"))
        with ui.element("div").classes("dw-fields"):
            self._texts = {
                "patient": fields.text_field(said("Patient (pseudonym)"), hint=said("a pseudonym, never a name")),
                "number": fields.text_field(said("Prescription number")),
                "prescriber": fields.text_field(said("Prescriber")),
                "height_cm": fields.text_field(said("Height, cm"), numbers=True),
                "weight_kg": fields.text_field(said("Weight, kg"), numbers=True),
                "measured": fields.text_field(said("Measured on, YYYY-MM-DD")),
            }
            self._choices = {"sex": fields.choice(sexes(), said("Sex"))}
            self._texts["age_years"] = fields.text_field(said("Age, years"), numbers=True)
            self._texts["body_confirmed"] = fields.text_field(said("If unusual: measured again by"))

    def _amount(self) -> None:
        _title(said("How much"))
        with ui.element("div").classes("dw-fields"):
            self._texts["prescribed"] = fields.text_field(said("Prescribed amount"), hint=told(_NUMBER), numbers=True)
            self._choices["unit"] = fields.choice(UNITS, said("Unit"))
            self._choices["per"] = fields.choice(per(), said("Per"))
            self._texts["second_prescribed"] = fields.text_field(
                said("Prescribed amount of the second active"), hint=told(_NUMBER), numbers=True
            )
            self._texts["schedule"] = fields.text_field(said("Times of day"), hint=said("morning 2; evening 1"))
            self._texts["days"] = fields.text_field(said("Days"), numbers=True)

    def _source(self) -> None:
        _title(said("From which cartridge"))
        with ui.element("div").classes("dw-fields"):
            self._ink, self._cartridge = fields.choice((), said("Ink lot")), fields.choice((), said("Cartridge"))
            self._second_ink = fields.choice((), said("Second ink lot"))
            self._second_cartridge = fields.choice((), said("Second cartridge"))
        self._choices |= {"ink_lot": self._ink, "cartridge": self._cartridge}
        self._choices |= {"second_ink_lot": self._second_ink, "second_cartridge": self._second_cartridge, "recipe": self._recipe}

    def _of_substance(self) -> None:
        own = self._by_substance.get(str(self._substance.value or ""), {})
        self._recipe.set_options(own, value=next(iter(own), None))

    def _of_recipe(self) -> None:
        if self._recipe.value is None:
            return
        chosen = self._shelf.recipe(str(self._recipe.value))
        self._choices["unit"].value, self._choices["per"].value = chosen.dose.basis, chosen.dose.per
        for field in (self._second_ink, self._second_cartridge, self._texts["second_prescribed"]):
            field.set_visibility(chosen.second_ink is not None)
        for field in (self._choices["sex"], self._texts["age_years"]):
            field.set_visibility(asks_age(chosen))
        self._lots_of(chosen.ink.ink, self._ink)
        self._lots_of("" if chosen.second_ink is None else chosen.second_ink.ink.ink, self._second_ink)

    def _lots_of(self, ink: str, field: ui.select) -> None:
        """Offer the lots of one ink, the first as a beginning; what fits is judged when the dose is calculated."""
        lots = [str(item["lot"]) for item in self._shelf.inks() if ink and item.get("ink") == ink]
        field.set_options(lots, value=lots[0] if lots else None)
        if ink and not lots:
            fields.wrong(field, said("No lot of ink {ink} is here: receive one on the page Inks.", ink=ink))

    def _cartridges_of(self, ink: ui.select, field: ui.select) -> None:
        serials = [str(item["serial"]) for item in self._shelf.cartridges() if item.get("ink_lot") == ink.value]
        field.set_options(serials, value=serials[0] if serials else None)

    def choose_cartridge(self, serial: str) -> bool:
        """Choose a cartridge that was scanned, with its lot and a recipe for its ink; False where it is not on the shelf."""
        cartridge = next((item for item in self._shelf.cartridges() if item.get("serial") == serial), None)
        lot = None if cartridge is None else next((i for i in self._shelf.inks() if i.get("lot") == cartridge.get("ink_lot")), None)
        if cartridge is None or lot is None:
            return False
        ink = str(lot.get("ink"))
        if self._recipe.value is None or ink not in _inks(self._shelf.recipe(str(self._recipe.value))):
            recipe = next((name for name in self._recipes if ink in _inks(self._shelf.recipe(name))), None)
            if recipe is None:
                return False
            self._choose(recipe)
        second = _inks(self._shelf.recipe(str(self._recipe.value))).index(ink) == 1
        of_lot, of_cartridge = (self._second_ink, self._second_cartridge) if second else (self._ink, self._cartridge)
        of_lot.value, of_cartridge.value = str(lot["lot"]), serial
        return True

    def _choose(self, recipe: str) -> None:
        self._substance.value = self._shelf.recipe(recipe).active.moiety
        self._recipe.value = recipe

    def take(self, name: str, value: str) -> None:
        """Put a value that a person has confirmed into its field; empty text takes it out again."""
        if name == "moiety":
            if value in self._by_substance:
                self._substance.value = value
        elif name in self._choices:
            self._choices[name].value = value or None
        elif name in self._texts:
            self._texts[name].value = value

    def holds(self, name: str, value: str) -> bool:
        """Whether a value that was confirmed is what the form says."""
        if name == "moiety":
            return bool(self._substance.value == value)
        if name == "basis":
            return self._recipe.value is not None and self._shelf.recipe(str(self._recipe.value)).active.basis == value
        field = self._by_name.get(name)
        return field is not None and bool(field.value == value)

    def request(self) -> OrderRequest:
        """Return what the form says, as it was typed."""
        recipe = self._shelf.recipe(str(self._recipe.value))
        typed = {name: str(field.value or "") for name, field in (*self._texts.items(), *self._choices.items())}
        if not asks_age(recipe):
            typed |= {"sex": "", "age_years": ""}
        second = recipe.second_ink
        named: JsonObject = {name: "" for name in typed if name.startswith("second_")}
        if second is not None:
            named = {
                "second_moiety": second.active.moiety,
                "second_basis": second.active.basis,
                "second_unit": second.dose.basis,
                "second_per": second.dose.per,
            }
        active = recipe.active
        return OrderRequest.model_validate({**typed, "moiety": active.moiety, "basis": active.basis, **named})

    def mark(self, problems: Mapping[str, str]) -> list[str]:
        """Say at each field what is wrong with it; return what belongs to none."""
        rest = []
        for name, text in problems.items():
            field = self._by_name.get(name)
            if field is None or not field.visible:
                rest.append(text)
            else:
                fields.wrong(field, text[:1].upper() + text[1:])
        return rest

    def missing(self) -> dict[str, str]:
        """Return the fields that every prescription needs and that are empty."""
        needed: Iterable[str] = ("patient", "prescribed", "unit", "per", "schedule", "days", "recipe", "ink_lot", "cartridge")
        return {name: said("Enter it.") for name in needed if not str(self._by_name[name].value or "").strip()}

    def _suitable(self) -> str | None:
        """Choose a recipe that the first ink lot is for, as a beginning; nothing is decided by it."""
        first = next((str(item.get("ink")) for item in self._shelf.inks()), None)
        found = (name for name in self._recipes if first in _inks(self._shelf.recipe(name)))
        return next(found, next(iter(self._recipes), None))


def _inks(recipe: Recipe) -> list[str]:
    return [part.ink.ink for part in recipe.parts]
