"""The beginning of a batch on the page: prescription, second person, run. Shown while the cell is free."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, Hashable, Iterator, Mapping
from html import escape

from nicegui import run, ui

from api.access import Credentials
from api.allocation import Offer
from api.cell_feed import CellView
from api.production import OrderRequest, SecondEntry
from api.security import Session
from api.shelf import Shelf
from api.status import CellStatus
from api.workstation import forms
from api.workstation.pieces import Parts
from api.workstation.visitor import Visitor
from audit.canonical import JsonObject
from audit.errors import DosewrightError
from audit.identity import Role
from recipes.bsa import asks_for_age_and_sex
from recipes.model import Recipe

_FIELDS = (
    ("patient", "Patient (pseudonym)", ""),
    ("number", "Prescription number", ""),
    ("prescriber", "Prescriber", ""),
    ("height_cm", "Height, cm", ""),
    ("weight_kg", "Weight, kg", ""),
    ("measured", "Measured on, YYYY-MM-DD", ""),
    ("body_confirmed", "If unusual: measured again by", ""),
    ("prescribed", "Prescribed amount", ""),
    ("schedule", "Times of day", "once daily"),
    ("days", "Days", ""),
)


class IntakePanel:
    """Three steps by two people. Lifetime: that of the page."""

    def __init__(self, visitor: Visitor) -> None:
        self._visitor = visitor
        self._free = False
        self._key: object = None
        with ui.element("section").classes("dw-card") as self._card:
            ui.html("<h2>New batch</h2>", sanitize=False)
            self._waiting = Parts()
            self._entry = ui.element("div").classes("w-full")
        self._card.set_visibility(False)

    def update(self, status: CellStatus, cells: Mapping[str, CellView]) -> None:
        """Show the panel while the cell is free; rebuild what waits when it has changed, the entry never while somebody types.

        `cells` are all cells of the site as they were seen last: a confirmed order can be printed on any that is free and fits.
        """
        production, disposed = self._visitor.workstation.production, None
        if status.batch is not None:
            disposed = (self._visitor.workstation.store.state("batch", status.batch) or {}).get("disposition")
        free = status.state != "UNKNOWN" and (status.run is None or (status.ended and disposed is not None))
        orders, batches = (production.orders(), production.batches()) if free else ([], [])
        if free != self._free:
            self._free = free
            self._card.set_visibility(free)
            if free:
                self._offer(opened=not orders)
        waiting = self._waiting_orders(orders, batches)
        offers = {order: self._visitor.workstation.allocation.offers(order, cells) for order in waiting}
        key = (
            tuple((order["order"], order["status"]) for order in orders),
            tuple((item["batch"], item["status"]) for item in batches),
            tuple(offers.items()),
        )
        if key != self._key:
            self._key = key
            self._waiting.show(self._offered(orders, batches, offers))

    def _offer(self, *, opened: bool) -> None:
        self._entry.clear()
        with self._entry, ui.expansion("Enter a prescription", value=opened).classes("w-full"):
            self._first()

    @staticmethod
    def _waiting_orders(orders: list[JsonObject], batches: list[JsonObject]) -> list[str]:
        """Return the confirmed orders that no batch was opened for."""
        used = {item.get("order") for item in batches}
        return [str(order["order"]) for order in orders if order["status"] == "confirmed" and order["order"] not in used]

    def _offered(
        self, orders: list[JsonObject], batches: list[JsonObject], offers: Mapping[str, tuple[Offer, ...]]
    ) -> Iterator[tuple[Hashable, Callable[[], object]]]:
        """Give what waits, each with its own key: what a person types for one order stays while another one comes in."""
        for item in orders:
            order = str(item["order"])
            if item["status"] == "entered" and item["entered_by"] == self._visitor.session().username:
                text = f"<p><b>Order {escape(order)}</b> waits for a second person.</p>"
                yield ("waits", order), functools.partial(ui.html, text, sanitize=False)
            elif item["status"] == "entered":
                yield ("second", order), functools.partial(self._second, order)
            elif order in offers:
                yield from self._begin(order, offers[order])
        for item in batches:
            if item.get("status") == "created" and item.get("cell") == self._visitor.cell:
                batch = str(item["batch"])
                yield ("prepare", batch), functools.partial(self._prepare, batch)

    def _first(self) -> None:
        shelf = self._visitor.workstation.shelf
        recipes = shelf.choices(development=Role.PROCESS_ENGINEER in self._visitor.session().roles)
        inks = [str(item["lot"]) for item in shelf.inks()]
        cartridges = [str(item["serial"]) for item in shelf.cartridges()]
        suitable = self._suitable(shelf, recipes)
        form = forms.form(lambda: enter())
        with form, ui.row().classes("w-full gap-3"):
            recipe = ui.select(recipes, value=suitable, label="Recipe").props("outlined dense").style("min-width:20rem")
            ink = ui.select(inks, value=inks[0] if inks else None, label="Ink lot").props("outlined dense").style("min-width:11rem")
            cartridge = ui.select(cartridges, value=cartridges[0] if cartridges else None, label="Cartridge").props("outlined dense")
        with form, ui.row().classes("w-full gap-3") as second_row:
            second_ink = ui.select(inks, label="Second ink lot").props("outlined dense").style("min-width:11rem")
            second_cartridge = ui.select(cartridges, label="Second cartridge").props("outlined dense")
            second_amount = forms.text_field("Prescribed amount of the second active")
        with form, ui.row().classes("w-full gap-3"):
            inputs = {name: forms.text_field(label, value) for name, label, value in _FIELDS}
            unit = ui.select({"mg/m2": "mg/m²", "mg/kg": "mg/kg", "mg": "mg"}, label="Unit").props("outlined dense")
            per = ui.select(["day", "dose"], label="Per").props("outlined dense")
        with form, ui.row().classes("w-full gap-3") as adult_row:
            sex, age = _sex_field(), forms.text_field("Age, years")

        def as_recipe() -> None:
            chosen = shelf.recipe(str(recipe.value))
            unit.value, per.value = chosen.dose.basis, chosen.dose.per
            second_row.set_visibility(chosen.second_ink is not None)
            adult_row.set_visibility(_asks(chosen))
            fields = [(chosen.ink.ink, ink, cartridge)]
            if chosen.second_ink is not None:
                fields.append((chosen.second_ink.ink.ink, second_ink, second_cartridge))
            for wanted, of_lot, of_cartridge in fields:
                # The first lot of that ink, as a beginning; what fits is judged when the dose is calculated.
                lot = next((str(item["lot"]) for item in shelf.inks() if item.get("ink") == wanted), None)
                if lot is not None:
                    of_lot.value = lot
                    of_cartridge.value = next((str(item["serial"]) for item in shelf.cartridges() if item.get("ink_lot") == lot), None)

        recipe.on_value_change(as_recipe)
        as_recipe()
        with form:
            shown = ui.html("", sanitize=False).classes("w-full")

        def request() -> OrderRequest:
            active = shelf.recipe(str(recipe.value)).active
            typed = {name: str(field.value or "") for name, field in inputs.items()}
            chosen = {"recipe": str(recipe.value), "ink_lot": str(ink.value), "cartridge": str(cartridge.value)}
            if _asks(shelf.recipe(str(recipe.value))):
                chosen |= {"sex": str(sex.value or ""), "age_years": str(age.value or "")}
            second = shelf.recipe(str(recipe.value)).second_ink
            if second is not None:
                chosen |= {
                    "second_ink_lot": str(second_ink.value or ""),
                    "second_cartridge": str(second_cartridge.value or ""),
                    "second_moiety": second.active.moiety,
                    "second_basis": second.active.basis,
                    "second_prescribed": str(second_amount.value or ""),
                    "second_unit": second.dose.basis,
                    "second_per": second.dose.per,
                }
            return OrderRequest(moiety=active.moiety, basis=active.basis, unit=str(unit.value), per=str(per.value), **typed, **chosen)

        seen: dict[str, str] = {}

        async def preview() -> None:
            seen.clear()
            try:
                answer = await run.io_bound(lambda: self._visitor.workstation.production.preview(request()))
            except DosewrightError as error:
                shown.set_content(f'<p class="dw-problem" role="alert">▲ {escape(str(error))}</p>')
                return
            lines = (answer or {}).get("arithmetic")
            seen["digest"] = str((answer or {}).get("shown_sha256"))
            text = "\n".join(str(line) for line in lines) if isinstance(lines, list) else ""
            shown.set_content(f'<pre class="dw-arith">{escape(text)}</pre>')

        async def enter() -> None:
            credentials = Credentials(password=str(password.value or ""), code=forms.text_of(code), digest=seen.get("digest"))
            password.value = ""
            entered = await self._visitor.act(
                lambda session: self._visitor.workstation.production.enter_order(session, request(), credentials),
                "Entered. A second person confirms it.",
            )
            if entered:
                self._offer(opened=False)

        with form, ui.row().classes("w-full gap-3 items-center"):
            ui.button("Show the dose", on_click=preview).props("outline no-caps color=primary")
            forms.named_account(self._visitor.session().username)
            password, code = forms.password_field(), forms.code_field(self._visitor)
            forms.submit("Sign the entry")

    @staticmethod
    def _suitable(shelf: Shelf, recipes: Mapping[str, str]) -> str | None:
        """Choose a recipe that the first ink lot is for, as a beginning; nothing is decided by it."""
        first = next((str(item.get("ink")) for item in shelf.inks()), None)
        found = (name for name in recipes if first in [part.ink.ink for part in shelf.recipe(name).parts])
        return next(found, next(iter(recipes), None))

    def _second(self, order: str) -> None:
        ui.html(f"<p><b>Order {escape(order)}</b>: a second person enters the figures again from the prescription.</p>", sanitize=False)

        async def confirm() -> None:
            credentials = Credentials(password=str(password.value or ""), code=forms.text_of(code))
            password.value = ""
            entry = SecondEntry(
                height_cm=str(height.value or ""),
                weight_kg=str(weight.value or ""),
                sex="" if sex is None else str(sex.value or ""),
                age_years="" if age is None else str(age.value or ""),
                prescribed=str(amount.value or ""),
                second_prescribed="" if second is None else str(second.value or ""),
            )
            await self._visitor.act(
                lambda session: self._visitor.workstation.production.confirm_order(session, order, entry, credentials), "Confirmed."
            )

        with forms.form(confirm):
            height, weight = forms.text_field("Height, cm"), forms.text_field("Weight, kg")
            asked = self._visitor.workstation.production.asks_for_age_and_sex(order)
            sex, age = (_sex_field(), forms.text_field("Age, years")) if asked else (None, None)
            amount = forms.text_field("Prescribed amount")
            two = self._visitor.workstation.production.has_two_actives(order)
            second = forms.text_field("Prescribed amount of the second active") if two else None
            forms.named_account(self._visitor.session().username)
            password, code = forms.password_field(), forms.code_field(self._visitor)
            forms.submit("Sign the confirmation")

    def _begin(self, order: str, offers: tuple[Offer, ...]) -> Iterator[tuple[Hashable, Callable[[], object]]]:
        """Offer each cell that can take the order; of one that cannot, say why."""
        several = len(offers) > 1
        text = f"<p><b>Order {escape(order)}</b> is confirmed.{' Choose its cell.' if several else ''}</p>"
        yield ("confirmed", order, several), functools.partial(ui.html, text, sanitize=False)
        for offer in offers:
            if offer.open:
                label = f"{offer.cell} is clear: prepare the batch on it" if several else "The cell is clear: prepare the batch"
                yield ("begin", order, offer.cell, several), functools.partial(self._begin_button, label, order, offer.cell)
            else:
                text = f'<p class="dw-quiet">✕ {escape(offer.cell)} cannot take it: {escape("; ".join(offer.reasons))}</p>'
                yield ("cannot", order, offer.cell, offer.reasons), functools.partial(ui.html, text, sanitize=False)

    def _begin_button(self, label: str, order: str, cell: str) -> None:
        scanned = forms.scan_fields(self._visitor.workstation.production.heads_to_scan(order))
        ui.button(label, on_click=self._beginner(order, cell, scanned)).props("unelevated no-caps color=secondary")

    def _beginner(self, order: str, cell: str, scanned: Callable[[], tuple[str, ...]]) -> Callable[[], Awaitable[None]]:
        production = self._visitor.workstation.production

        def begin(session: Session) -> object:
            batch: JsonObject = production.create_batch(session, order, cell)
            return production.request_run(session, str(batch["batch"]), scanned())

        async def do() -> None:
            done = await self._visitor.act(begin, f"{cell} has compiled and proved the program.")
            if done and cell != self._visitor.cell:
                self._visitor.go_to(cell)

        return do

    def _prepare(self, batch: str) -> None:
        production = self._visitor.workstation.production
        scanned = forms.scan_fields(production.heads_to_scan(str(production.batch(batch)["order"])))

        async def do() -> None:
            await self._visitor.act(lambda session: production.request_run(session, batch, scanned()))

        ui.button(f"Prepare batch {batch} again", on_click=do).props("outline no-caps color=primary")


def _asks(recipe: Recipe) -> bool:
    asked = any("age" in part.dose.body.asks for part in recipe.parts if part.dose.body is not None)
    return asked or bool(recipe.swallowability) or asks_for_age_and_sex(part.dose.bsa_formula for part in recipe.parts)


def _sex_field() -> ui.select:
    return ui.select(["female", "male"], label="Sex").props("outlined dense").style("min-width:8rem")
