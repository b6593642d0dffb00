"""Steps 1 and 2 of a new batch: the prescription, and its dose with the arithmetic, which is signed as it was shown."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from html import escape

from nicegui import run, ui
from pydantic import ValidationError

from api.access import Credentials
from api.production import OrderRequest
from api.workstation import fields, forms
from api.workstation.fhir_panel import FhirPanel
from api.workstation.pieces import Changing
from api.workstation.prescription_form import PrescriptionForm
from api.workstation.refusal import refusal_text
from api.workstation.visitor import Visitor
from api.workstation.words import said, said_n, spoken, told, told_html
from audit.canonical import JsonObject
from audit.errors import DosewrightError
from audit.release.trail_view import as_list
from recipes.errors import PrescriptionRefused

_DOSE = re.compile(r"(?<![0-9.])([0-9]+)\.([0-9]*?)0+(?= mg(?![/0-9]))")


def without_trailing_zeros(line: str) -> str:
    """Return a line of arithmetic with its doses in mg as the ISMP writes them: `18.5 mg`, never `18.50 mg`, nor `5.0 mg`."""
    return _DOSE.sub(lambda found: f"{found[1]}.{found[2]}" if found[2] else found[1], line)


def arithmetic_html(lines: object) -> str:
    """The dose, line by line."""
    rows = "".join(f"<li>{_line_html(without_trailing_zeros(str(line)))}</li>" for line in lines) if isinstance(lines, list) else ""
    return f'<ol class="dw-arith dw-lines">{rows}</ol>'


def taken_html(dose: object) -> str:
    """How many units a day were read, each with its time and its strength: what a slip in the times of day would change."""
    parts = [dose, dose.get("second")] if isinstance(dose, dict) else []
    strengths = [[plan for plan in as_list(part.get("strengths")) if isinstance(plan, dict)] for part in parts if isinstance(part, dict)]
    if not strengths:
        return ""
    other = "".join(f" + {plan.get('strength_mg')} mg" for plans in strengths[1:] for plan in plans)
    units = [f"{time}: {plan.get('strength_mg')} mg{other}" for plan in strengths[0] for time in as_list(plan.get("intakes"))]
    words = said_n("{n} unit a day: {units}", "{n} units a day: {units}", len(units), units="; ".join(units))
    return f'<p class="dw-taken"><b>{escape(words)}</b></p>'


def _line_html(line: str) -> str:
    """One line; of a recipe with two actives it begins with the name of the one that it is about, which is the same in every language."""
    active, colon, rest = line.partition(": ")
    if colon and not spoken().in_parts(line)[1] and spoken().in_parts(rest)[1]:
        return f"{escape(active)}: {told_html(rest)}"
    return told_html(line)


def alert(text: str) -> str:
    """A refusal, told at once to whoever cannot see it; nothing where there is none."""
    return f'<p class="dw-problem" role="alert">▲ {escape(text)}</p>' if text else ""


class Entry:
    """A prescription that is being entered. Lifetime: until it is signed; it is not on record before.

    `entered(order)` is called when it is; `shown` when the dose has been calculated, or is not that of the form any more.
    """

    def __init__(self, visitor: Visitor, entered: Callable[[str], Awaitable[None]], shown: Callable[[], None]) -> None:
        self._visitor = visitor
        self._entered = entered
        self._shown = shown
        self._form: PrescriptionForm | None = None
        self._fhir: FhirPanel | None = None
        self._request: OrderRequest | None = None
        self._answer: JsonObject | None = None
        self.identity: dict[str, str] = {}
        """Who the patient is, as the request said it that the signed order came from; on the page alone until a pharmacist seals it."""

    @property
    def digest(self) -> str:
        """The digest of the dose that is shown; empty while none is."""
        return "" if self._answer is None else str(self._answer.get("shown_sha256"))

    async def read(self, text: str) -> None:
        """Take a scan."""
        if self._fhir is not None:
            await self._fhir.read(text)

    def build(self) -> None:
        """Build step 1."""
        self._fhir = FhirPanel(self._visitor, self._take, self._holds, self._cartridge)
        with ui.element("form").classes("dw-entry-form").on("submit.prevent", self._calculate):
            self._form = PrescriptionForm(self._visitor.workstation.shelf, self._visitor.session(), self._changed)
            self._problem = Changing()
            if self._form.empty:
                self._problem.show(alert(said("No recipe is effective here: have one made effective on the page Recipes.")))
            fields.button(said("Show the dose"), act=True)

    def _take(self, name: str, value: str) -> None:
        if self._form is not None:
            self._form.take(name, value)

    def _holds(self, name: str, value: str) -> bool:
        return self._form is not None and self._form.holds(name, value)

    def _cartridge(self, serial: str) -> bool:
        return self._form is not None and self._form.choose_cartridge(serial)

    def _changed(self) -> None:
        if self._fhir is not None:
            self._fhir.compare()
        if self._answer is not None:
            self._answer = self._request = None
            self._shown()

    async def _calculate(self) -> None:
        form = self._form
        if form is None or form.empty:
            return
        if missing := form.missing():
            self._refused(form.mark(missing))
            return
        try:
            self._visitor.session()
            request = form.request()
            answer = await run.io_bound(self._visitor.workstation.production.preview, request)
        except PrescriptionRefused as error:
            self._refused(form.mark({name: told(text) for name, text in error.fields.items()}) if error.fields else [refusal_text(error)])
            return
        except ValidationError as error:
            places = {str(item["loc"][0]): told(item["msg"]) for item in error.errors(include_url=False) if item["loc"]}
            self._refused(form.mark(places))
            return
        except DosewrightError as error:
            self._refused([refusal_text(error)])
            return
        self._problem.show("")
        self._request, self._answer = request, answer
        self._shown()

    def _refused(self, rest: list[str]) -> None:
        self._problem.show(alert(" ".join(rest)))
        if self._form is not None:
            fields.to_first_problem(self._form.fields)

    def build_dose(self) -> None:
        """Build step 2: the arithmetic, and the signature over what is shown."""
        answer = self._answer or {}
        ui.html(arithmetic_html(answer.get("arithmetic")) + taken_html(answer.get("dose")), sanitize=False).classes("w-full")
        problem = Changing()

        async def sign() -> None:
            request, digest = self._request, self.digest
            if request is None:
                return
            credentials = Credentials(password=str(password.value or ""), code=forms.text_of(code), digest=digest)
            password.value = ""
            found: list[JsonObject] = []
            production = self._visitor.workstation.production
            error = await self._visitor.attempt(lambda session: found.append(production.enter_order(session, request, credentials)))
            if error is not None:
                problem.show(alert(refusal_text(error)))
                fields.wrong(password, said("Not signed."))
                fields.to_first_problem([password])
                return
            self.identity = {} if self._fhir is None else self._fhir.identity_of(request)
            await self._entered(str(found[0]["order"]))

        with ui.element("form").classes("dw-sign").on("submit.prevent", sign):
            forms.named_account(self._visitor.session().username)
            password, code = fields.secret(), fields.code(self._visitor)
            fields.button(said("Sign the entry"), act=True)
