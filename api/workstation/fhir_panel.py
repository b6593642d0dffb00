"""A prescription that comes as a scan, as pasted text or as a file: what was read, what is missing, and what was not taken over.

Nothing goes into the form by itself: a person looks at each figure and confirms it, with the prescription in hand.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from datetime import date
from html import escape

from nicegui import events, run, ui

from api.errors import InputInvalid
from api.interop.fhir_request import LARGEST, FhirPrescription, read_request
from api.interop.fhir_rest import not_taken_over
from api.interop.scan_code import ScanCode, read_scan
from api.production import OrderRequest
from api.routes_interop import printed_here
from api.workstation import fields
from api.workstation.pieces import Changing
from api.workstation.refusal import refusal_text
from api.workstation.visitor import Visitor
from api.workstation.words import marked, said, told, told_html
from audit.errors import DosewrightError
from printer.standing import local_day

NAMES = {
    "moiety": marked("Active moiety"),
    "basis": marked("Basis of the amount"),
    "prescribed": marked("Prescribed amount"),
    "unit": marked("Unit"),
    "per": marked("Per"),
    "schedule": marked("Times of day"),
    "days": marked("Days"),
    "height_cm": marked("Height, cm"),
    "weight_kg": marked("Weight, kg"),
    "measured": marked("Measured on"),
    "sex": marked("Sex"),
    "age_years": marked("Age, years"),
    "prescriber": marked("Prescriber"),
    "number": marked("Prescription number"),
}
_NEEDED = ("moiety", "prescribed", "unit", "per", "schedule", "days")
_TELLING = ("number", "prescribed", "schedule", "days")
"""Fields by which an order is known to come from a request."""


class TakenOver:
    """What one request says, and what of it a person has confirmed. Lifetime: until another is read or refused."""

    def __init__(self, found: FhirPrescription | None = None) -> None:
        self._stated: Mapping[str, str] = {} if found is None else dict(found.fields)
        self._identity = {} if found is None else dict(found.identity)
        self.confirmed: dict[str, str] = {}

    def identity_of(self, order: OrderRequest) -> dict[str, str]:
        """Return who the patient of an order is, where the order came from this request: nothing where it did not."""
        telling = {name: self._stated[name] for name in _TELLING if name in self._stated}
        came = bool(telling) and all(self.confirmed.get(name) == getattr(order, name) == value for name, value in telling.items())
        return dict(self._identity) if came else {}

    def outdated(self, holds: Callable[[str, str], bool]) -> list[str]:
        """Return the fields that were confirmed and do not hold any more what was confirmed."""
        return [name for name, value in self.confirmed.items() if not holds(name, value)]


class FhirPanel:
    """One field for a scan or a paste, one place for a file, and the list of what was read. Lifetime: that of the entry."""

    def __init__(
        self,
        visitor: Visitor,
        take: Callable[[str, str], None],
        holds: Callable[[str, str], bool],
        cartridge: Callable[[str], bool],
    ) -> None:
        """`take(name, value)` puts a confirmed value into the form, or takes it out again where it is empty; `holds(name, value)` says
        whether it is still there; `cartridge(serial)` chooses a cartridge, and says whether it is known."""
        self._visitor = visitor
        self._take = take
        self._holds = holds
        self._cartridge = cartridge
        self._taken = TakenOver()
        self._boxes: dict[str, ui.checkbox] = {}
        with ui.element("div").classes("dw-read"):
            with ui.element("form").classes("dw-scanline").on("submit.prevent", self._typed):
                self._field = fields.text_field(said("Scan or paste a prescription"), scan="prescription").classes("dw-wide")
                self._field.props(f'maxlength={LARGEST} hint="{said("FHIR in JSON, or the code on a cartridge")}"')
                fields.button(said("Read it"), main=False, act=True)
            upload = ui.upload(on_upload=self._uploaded, auto_upload=True, max_file_size=LARGEST, label=said("FHIR file (JSON)"))
            upload.props('accept=".json,application/json,application/fhir+json" flat bordered').classes("dw-upload")
            upload.on("rejected", lambda: self._refused(said("The file is larger than 1 MiB, or no JSON: choose one prescription.")))
        self._of_code = Changing()
        self._shown = ui.element("div").classes("w-full")

    def identity_of(self, order: OrderRequest) -> dict[str, str]:
        """Return who the patient of an order is, as the request said it that the order came from."""
        return self._taken.identity_of(order)

    def compare(self) -> None:
        """Take the tick from what the form does not hold any more, because it was typed anew or another recipe was chosen."""
        for name in self._taken.outdated(self._holds):
            del self._taken.confirmed[name]
            self._boxes[name].value = False

    def _take_back(self) -> None:
        """Take out of the form what the last request gave, and forget whose it was: what comes may be another patient's."""
        confirmed, self._taken, self._boxes = self._taken.confirmed, TakenOver(), {}
        for name in confirmed:
            self._take(name, "")

    async def _typed(self) -> None:
        text, self._field.value = str(self._field.value or ""), ""
        await self.read(text)

    async def _uploaded(self, event: events.UploadEventArguments) -> None:
        await self._fhir(await event.file.read())
        if isinstance(event.sender, ui.upload):
            event.sender.reset()

    async def read(self, text: str) -> None:
        """Read a scan or a pasted text: a prescription in FHIR, or a code, which carries none."""
        try:
            code = read_scan(text)
        except InputInvalid as error:
            self._refused(refusal_text(error) if isinstance(error, DosewrightError) else str(error))
            return
        if code.fhir:
            await self._fhir(code.text.encode("utf-8"))
        else:
            self._code(code)

    def _code(self, code: ScanCode) -> None:
        chosen = bool(code.name) and self._cartridge(code.name)
        answer = said("Cartridge {serial} is chosen.", serial=code.name) if chosen else said("This is not a cartridge that is known here.")
        why = said(
            "No prescription is in this code: GS1 codes name a product, lot, expiry and serial number. Tokens of national prescription "
            "services are references to a server, and are not read here. Enter the prescription below."
        )
        self._of_code.show(f'<p class="dw-note" role="status"><b>{escape(answer)}</b> {escape(why)}</p>')

    async def _fhir(self, data: bytes) -> None:
        workstation = self._visitor.workstation
        today = date.fromisoformat(local_day(workstation.clock.utc()))
        try:
            self._visitor.session()
            found = await run.io_bound(lambda: read_request(data, printed_here(workstation.shelf), today=today))
            rest = await run.io_bound(not_taken_over, data)
        except (DosewrightError, RecursionError) as error:
            self._refused(refusal_text(error) if isinstance(error, DosewrightError) else str(error))
            return
        if found is not None:
            self._list(found, rest or ())

    def _refused(self, text: str) -> None:
        self._take_back()
        self._of_code.show("")
        self._shown.clear()
        with self._shown:
            ui.html(f'<p class="dw-problem" role="alert">▲ {escape(text)}</p>', sanitize=False).classes("w-full")

    def _list(self, found: FhirPrescription, rest: tuple[str, ...]) -> None:
        self._take_back()
        self._of_code.show("")
        self._shown.clear()
        self._taken = TakenOver(found)
        missing = [told(NAMES[name]) for name in _NEEDED if name not in found.fields]
        with self._shown:
            with ui.element("fieldset").classes("dw-fhir"):
                ui.html(f"<legend>{escape(said('Compare each with the prescription and confirm it'))}</legend>", sanitize=False)
                for name, value in found.fields.items():
                    label = f"{told(NAMES.get(name, name))}: {value}"
                    box = ui.checkbox(label, on_change=functools.partial(self._confirmed, name, value))
                    self._boxes[name] = box.props("size=lg").classes("dw-check")
            self._said(said("Missing: enter it below"), missing)
            self._said(said("Look at this"), [*found.findings, *self._of_identity(found)])
            self._said(said("Stands in the request and was not taken over"), list(rest))
        self._visitor.run_script("document.querySelector('.dw-fhir [role=checkbox]')?.focus()")

    @staticmethod
    def _of_identity(found: FhirPrescription) -> list[str]:
        if not found.identity:
            return []
        return [said("The request names the patient: give a pseudonym here; the name is sealed once the entry is signed.")]

    def _confirmed(self, name: str, value: str, event: events.ValueChangeEventArguments[bool | None]) -> None:
        if event.value:
            self._take(name, value)
            self._taken.confirmed[name] = value
            self.compare()
        elif self._taken.confirmed.pop(name, None) is not None:
            self._take(name, "")

    @staticmethod
    def _said(title: str, lines: list[str]) -> None:
        if lines:
            rows = "".join(f"<li>{told_html(line)}</li>" for line in lines)
            ui.html(f'<div class="dw-said"><h3>{escape(title)}</h3><ul>{rows}</ul></div>', sanitize=False).classes("w-full")
