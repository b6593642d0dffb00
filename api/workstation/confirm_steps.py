"""Step 3 of a new batch, the second person, who enters blind; and step 4, the cartridge, which is scanned."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable
from html import escape

from nicegui import ui
from pydantic import ValidationError

from api.access import Credentials
from api.cartridge_scan import CartridgeScan
from api.errors import EntriesDiffer
from api.ordered import substance_shown
from api.patient_desk import PatientIdentity
from api.production import SecondEntry
from api.workstation import fields, forms
from api.workstation.entry_steps import alert
from api.workstation.pieces import Changing
from api.workstation.prescription_form import UNITS, per, sexes
from api.workstation.refusal import refusal_text
from api.workstation.visitor import Visitor
from api.workstation.words import said, told
from audit.errors import DosewrightError
from recipes.errors import PrescriptionRefused

Done = Callable[[], Awaitable[None]]
_FIELD_OF = {"height": "height_cm", "weight": "weight_kg", "age": "age_years", "second": "second_prescribed"}
"""Names of the compared fields where the form calls them otherwise."""
_ALWAYS = ("patient", "prescribed", "unit", "per", "schedule", "days")


class SecondStep:
    """What a second person enters again. Nothing of the first entry reaches the browser. Lifetime: that of its part of the page."""

    def __init__(self, visitor: Visitor, order: str, done: Done) -> None:
        self._visitor = visitor
        self._order = order
        self._done = done

    def build(self) -> None:
        production = self._visitor.workstation.production
        self._asked = production.asked_again(self._order)
        _sentence(said("Take the prescription and enter it again. The first entry is not shown, and no difference says what it was."))
        self._moiety = self._substance()
        self._problem = Changing()
        with ui.element("form").classes("dw-entry-form").on("submit.prevent", self._sign):
            with ui.element("div").classes("dw-fields"):
                self._fields = self._built()
            with ui.element("div").classes("dw-sign"):
                forms.named_account(self._visitor.session().username)
                self._password, self._code = fields.secret(), fields.code(self._visitor)
                fields.button(said("Sign the confirmation"), act=True)

    def _substance(self) -> str:
        """Show what would be confirmed: substance and recipe are not typed again, they are compared by eye. Return the substance."""
        production = self._visitor.workstation.production
        shown = substance_shown(production.order(self._order))
        actives = [(shown["moiety"], shown["basis"]), (shown["second_moiety"], shown["second_basis"])]
        names = " + ".join(said("{moiety} as {basis}", moiety=moiety, basis=basis) for moiety, basis in actives if moiety)
        form = f"{production.recipe_printed(self._order).title} ({shown['recipe']})"
        facts = [(said("Substance"), names), (said("Form and recipe"), form)]
        rows = "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in facts)
        ui.html(f'<dl class="dw-facts">{rows}</dl>', sanitize=False)
        return str(shown["moiety"])

    def _built(self) -> dict[str, fields.Field]:
        asked = self._asked
        built: dict[str, fields.Field] = {"patient": fields.text_field(said("Patient (pseudonym)"))}
        if "number" in asked:
            built["number"] = fields.text_field(said("Prescription number"))
        built["height_cm"] = fields.text_field(said("Height, cm"), numbers=True)
        built["weight_kg"] = fields.text_field(said("Weight, kg"), numbers=True)
        if "sex" in asked:
            built["sex"] = fields.choice(sexes(), said("Sex"))
        if "age_years" in asked:
            built["age_years"] = fields.text_field(said("Age, years"), numbers=True)
        built["prescribed"] = fields.text_field(said("Prescribed amount"), numbers=True)
        built["unit"] = fields.choice(UNITS, said("Unit"))
        built["per"] = fields.choice(per(), said("Per"))
        if "second_prescribed" in asked:
            built["second_prescribed"] = fields.text_field(said("Prescribed amount of the second active"), numbers=True)
        built["schedule"] = fields.text_field(said("Times of day"), hint=said("morning 2; evening 1"))
        built["days"] = fields.text_field(said("Days"), numbers=True)
        return built

    async def _sign(self) -> None:
        typed = {name: str(field.value or "").strip() for name, field in self._fields.items()}
        needed = [name for name in (*_ALWAYS, *sorted(self._asked)) if not typed[name]]
        for name in needed:
            fields.wrong(self._fields[name], said("Enter it."))
        if needed:
            fields.to_first_problem([*self._fields.values(), self._password])
            return
        try:
            entry = SecondEntry.model_validate({**typed, "moiety": self._moiety})
        except ValidationError as error:
            self._mark({str(item["loc"][0]): told(item["msg"]) for item in error.errors(include_url=False) if item["loc"]})
            fields.to_first_problem(self._fields.values())
            return
        credentials = Credentials(password=str(self._password.value or ""), code=forms.text_of(self._code))
        self._password.value = ""
        production = self._visitor.workstation.production
        refused = await self._visitor.attempt(lambda session: production.confirm_order(session, self._order, entry, credentials))
        if refused is None:
            await self._done()
        else:
            self._not_signed(refused)

    def _not_signed(self, error: DosewrightError) -> None:
        if isinstance(error, EntriesDiffer):
            self._mark(
                {_FIELD_OF.get(name, name): said("Differs from the first entry. Compare with the prescription.") for name in error.fields}
            )
        elif isinstance(error, PrescriptionRefused) and error.fields:
            self._mark({name: told(text) for name, text in error.fields.items()})
        else:
            fields.wrong(self._password, said("Not signed."))
        self._problem.show(alert(refusal_text(error)))
        fields.to_first_problem([*self._fields.values(), self._password])

    def _mark(self, problems: dict[str, str]) -> None:
        for name, text in problems.items():
            if name in self._fields:
                fields.wrong(self._fields[name], text[:1].upper() + text[1:])


class IdentityForm:
    """Who the patient is, sealed under the pseudonym of an order, by a pharmacist. Lifetime: that of its part of the page."""

    def __init__(self, visitor: Visitor, pseudonym: str, known: dict[str, str], done: Done) -> None:
        self._visitor = visitor
        self._pseudonym = pseudonym
        self._known = known
        self._done = done

    def build(self) -> None:
        with ui.expansion(said("Seal who the patient is (labels and recalls need it)"), value=bool(self._known)).classes("w-full"):
            self._problem = Changing()
            with ui.element("form").classes("dw-entry-form").on("submit.prevent", self._seal):
                with ui.element("div").classes("dw-fields"):
                    self._fields = {
                        "name": fields.text_field(said("Name"), self._known.get("name", "")),
                        "born": fields.text_field(said("Born on, YYYY-MM-DD"), self._known.get("born", "")),
                        "number": fields.text_field(said("Number of hospital or insurer"), self._known.get("identifier", "")),
                        "contact": fields.text_field(said("How to reach the patient")),
                    }
                fields.button(said("Seal it"), main=False, act=True)

    async def _seal(self) -> None:
        typed = {name: str(field.value or "").strip() for name, field in self._fields.items()}
        try:
            identity = PatientIdentity.model_validate(typed)
        except ValueError:
            for name, field in self._fields.items():
                if not typed[name] or (name == "born" and not _is_day(typed[name])):
                    fields.wrong(field, said("Enter it, as the field says."))
            fields.to_first_problem(self._fields.values())
            return
        desk = self._visitor.workstation.patients
        error = await self._visitor.attempt(lambda session: desk.record(session, self._pseudonym, identity))
        if error is not None:
            self._problem.show(alert(refusal_text(error)))
            return
        await self._done()


def _is_day(text: str) -> bool:
    return len(text) == 10 and text[4] == text[7] == "-" and text.replace("-", "").isdigit()


class CartridgeStep:
    """The cartridge in each head, read from its code. Lifetime: that of its part of the page."""

    def __init__(self, visitor: Visitor, order: str, done: Done) -> None:
        self._visitor = visitor
        self._order = order
        self._done = done
        self._fields: dict[int, ui.input] = {}
        self._told: dict[int, Changing] = {}

    def build(self) -> None:
        scans = self._visitor.workstation.scans
        wanted = scans.wanted(self._order)
        scanned = scans.mounted(self._order, len(wanted))
        _sentence(said("Scan the code on the cartridge, or type its serial number and press Enter. A scan only fills the field."))
        for head, serial in enumerate(wanted, 1):
            with ui.element("form").classes("dw-scan").on("submit.prevent", functools.partial(self._typed, head)):
                label = said("Scan the cartridge in head {number}", number=head) if len(wanted) > 1 else said("Scan the cartridge")
                self._fields[head] = fields.text_field(label, scanned[head - 1], scan=f"head-{head}").classes("dw-wide")
                self._fields[head].props(f'hint="{said("The order names {serial}", serial=serial)}"')
                fields.button(said("Check"), main=False, act=True)
                self._told[head] = Changing()
                if scanned[head - 1]:
                    self._told[head].show(_matched(scanned[head - 1]))

    async def scanned(self, text: str, field: str) -> None:
        """Take a scan: into the field that has the focus, else into the first that waits."""
        named = [head for head in self._fields if field == f"head-{head}"]
        waits = [head for head in self._fields if not self._visitor.workstation.scans.mounted(self._order, len(self._fields))[head - 1]]
        await self._check((named or waits or [1])[0], text)

    async def _typed(self, head: int) -> None:
        await self._check(head, str(self._fields[head].value or ""))

    async def _check(self, head: int, text: str) -> None:
        field = self._fields[head]
        field.value = "".join(character if character.isprintable() else " " for character in text)[:300]
        if not text.strip():
            fields.wrong(field, said("Scan the cartridge, or type its serial number."))
            fields.to_first_problem([field])
            return
        scans = self._visitor.workstation.scans
        scan = CartridgeScan(head=head, scanned=text[:300])
        error = await self._visitor.attempt(lambda session: scans.scan(session, self._order, scan))
        if error is not None:
            fields.wrong(field, said("Not this one."))
            self._told[head].show(alert(refusal_text(error)))
            fields.to_first_problem([field])
            return
        field.error = None
        self._told[head].show(_matched(str(scans.mounted(self._order, len(self._fields))[head - 1])))
        await self._done()


def _matched(serial: str) -> str:
    return f'<p class="dw-good" role="status">✓ {escape(said("{serial} is the cartridge of this order.", serial=serial))}</p>'


def _sentence(text: str) -> None:
    ui.html(f"<p>{escape(text)}</p>", sanitize=False)
