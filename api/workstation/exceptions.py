"""What holds a batch and a person may judge, on the page: a form for each open exception, and one for the cartridge that comes back."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, Hashable, Sequence

from nicegui import ui

from api.access import Credentials
from api.exception_desk import Cause, ReturnedCartridge
from api.read_form import read_form
from api.security import Session
from api.workstation import forms
from api.workstation.visitor import Visitor
from api.workstation.words import said, told, told_html
from audit.canonical import JsonObject
from audit.release.exceptions import ReasonCode

NOT_WEIGHED_BACK = "it was not weighed back"

Done = Callable[[], Awaitable[object]]
Offers = list[tuple[Hashable, Callable[[], object]]]


class ExceptionForm:
    """One open exception with its finding; the cause is signed over exactly the finding shown. Lifetime: while it is open with it."""

    def __init__(self, visitor: Visitor, batch: str, exception: str, finding: str, done: Done) -> None:
        self._visitor, self._batch, self._exception, self._finding, self._done = visitor, batch, exception, finding, done
        ui.html(exception_html(exception, finding), sanitize=False)
        with forms.form(self.sign):
            self.code = ui.select({code.value: told(code.value) for code in ReasonCode}, label=said("Kind of cause")).props(
                "outlined dense"
            )
            self.code.style("min-width:10rem")
            self.cause = forms.text_field(said("Cause, and why the units are not affected"), wide=True)
            forms.named_account(visitor.session().username)
            self.password = forms.password_field(said("Your password for this cause"))
            self.code_of_now = forms.code_field(visitor)
            forms.submit(said("Sign the cause"))

    async def sign(self) -> None:
        """Sign what was entered; nothing is chosen for the person."""
        credentials = Credentials(password=str(self.password.value or ""), code=forms.text_of(self.code_of_now))
        self.password.value = ""
        if self.code.value is None or not str(self.cause.value or "").strip():
            ui.notify(said("State the kind of cause and the cause."), type="warning", position="bottom")
            return
        fields = {"exception": self._exception, "finding": self._finding, "reason_code": self.code.value, "cause": self.cause.value}

        def resolve(session: Session) -> object:
            # signed over the finding to the letter, blanks at its ends included
            cause = read_form(Cause, fields).model_copy(update={"finding": self._finding})
            return self._visitor.workstation.exceptions.resolve(session, self._batch, cause, credentials)

        if await self._visitor.act(resolve, said("The cause is signed.")):
            await self._done()


class CartridgeForm:
    """The cartridge that comes back from a batch, weighed. Lifetime: as long as the weighing is missing."""

    def __init__(self, visitor: Visitor, batch: str, done: Done) -> None:
        self._visitor, self._batch, self._done = visitor, batch, done
        ui.html(f"<p>{said('<b>Weigh the cartridge back.</b> The recipe asks where its ink went.')}</p>", sanitize=False)
        with forms.form(self.take_back):
            self.serial = forms.text_field(said("Scan the cartridge"))
            self.gross = forms.text_field(said("Gross mass, mg"))
            self.uncertainty = forms.text_field(said("± mass (k = 2), mg"))
            self.balance = forms.text_field(said("Serial number of the balance"))
            self.empty = forms.text_field(said("Empty cartridge, mg (if known)"))
            forms.submit(said("Record the weighing"))

    async def take_back(self) -> None:
        """Record what was entered."""
        fields = (self.serial, self.gross, self.uncertainty, self.balance)
        serial, gross, uncertainty, balance = (str(field.value or "").strip() for field in fields)
        if not all((serial, gross, uncertainty, balance)):
            ui.notify(said("Scan the cartridge; enter gross mass, uncertainty and balance."), type="warning", position="bottom")
            return
        cartridge = ReturnedCartridge(
            serial=serial[:64],
            gross_mg=gross[:20],
            uncertainty_mg=uncertainty[:20],
            balance=balance[:200],
            empty_mg=str(self.empty.value or "").strip()[:20],
        )
        desk = self._visitor.workstation.exceptions
        if await self._visitor.act(lambda session: desk.take_back(session, self._batch, cartridge), said("The weighing is on record.")):
            await self._done()


def exception_html(exception: str, finding: str) -> str:
    """Name an exception and its finding in words."""
    name, who = (
        said("Exception: {exception}.", exception=told_html(exception)),
        said("A person who did not run the batch assigns its cause."),
    )
    return f"<p><b>{name}</b> {told_html(finding)}. {who}</p>"


def offers(visitor: Visitor, batch: str, exceptions: Sequence[JsonObject], record: JsonObject, done: Done) -> Offers:
    """Offer a form for the cartridge where it is missing, and one for each open exception, keyed by what is judged in it."""
    evidence = record.get("evidence")
    items = [item for item in evidence if isinstance(item, dict)] if isinstance(evidence, list) else []
    offered: Offers = []
    if any(NOT_WEIGHED_BACK in str(item.get("detail")) for item in items):
        offered.append((("cartridge", batch), functools.partial(CartridgeForm, visitor, batch, done)))
    for found in exceptions:
        what = batch, str(found["exception"]), str(found["finding"])
        offered.append((("cause", *what), functools.partial(ExceptionForm, visitor, *what, done)))
    return offered
