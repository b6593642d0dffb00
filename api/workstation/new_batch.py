"""The page of a new batch: seven numbered steps from a prescription to the start, by two people, in as many browsers as they like.

The page holds nothing but what is being typed. Everything else is asked of the trail and of the cell, twice a second; the address names
the order or the batch, so that it can be loaded again, or opened by the other person.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from html import escape
from urllib.parse import quote

from nicegui import run, ui

from api.allocation import Offer
from api.cell_feed import CellView
from api.security import GRANTS, Permission
from api.status import CellStatus
from api.workstation import fields
from api.workstation.batch_progress import ORDER, Progress, Step, progress
from api.workstation.cards import page_head
from api.workstation.confirm_steps import CartridgeStep, IdentityForm, SecondStep
from api.workstation.entry_steps import Entry, arithmetic_html, taken_html
from api.workstation.look import NEW_STYLE
from api.workstation.pieces import INERT, Changing, Parts
from api.workstation.refusal import refusal_html
from api.workstation.run_steps import GatesStep, Press, PreviewStep, StartStep
from api.workstation.scans import Scans
from api.workstation.visitor import Visitor
from api.workstation.waiting import waiting, waiting_html
from api.workstation.words import marked, said, told
from audit.canonical import JsonObject, JsonValue
from audit.errors import DosewrightError
from audit.quantities import plain_text
from recipes.model import DoseOrder
from recipes.order import Intake, Prescribed

HERE = "/new"
_REFRESH_S = 0.5
_READY_EVERY = 3
"""Gates are asked of the cell at every third look."""
_NEEDS: Mapping[Step, Permission] = {
    Step.PRESCRIPTION: Permission.ENTER_ORDER,
    Step.DOSE: Permission.ENTER_ORDER,
    Step.SECOND: Permission.CONFIRM_ORDER,
    Step.CARTRIDGE: Permission.CREATE_BATCH,
    Step.GATES: Permission.RUN,
    Step.PREVIEW: Permission.SEE,
    Step.START: Permission.RUN,
}
_LATER = {
    Step.DOSE: marked("The dose with its arithmetic, to be signed as it is shown."),
    Step.SECOND: marked("Another person enters the prescription again, blind."),
    Step.CARTRIDGE: marked("The code on the cartridge is scanned and compared with the order."),
    Step.GATES: marked("Every gate before a print, each with how to satisfy it."),
    Step.PREVIEW: marked("Unit and plate as they will be printed."),
    Step.START: marked("Nothing moves before it."),
}


class NewBatchPage:
    """Builds the page and keeps it right as long as a browser looks at it. Lifetime: that of the page."""

    def __init__(self, visitor: Visitor, query: Mapping[str, str]) -> None:
        self._visitor = visitor
        self._batch = query.get("batch") or None
        self._order = query.get("order") or None
        self._missing = ""
        self._find()
        self._entry = Entry(visitor, self._entered, self._redraw)
        self._gates: GatesStep | None = None
        self._cartridge: CartridgeStep | None = None
        self._start: StartStep | None = None
        self._views: dict[str, CellView] = {}
        self._looks = 0
        self._stands: tuple[tuple[str, int], bool] = (("", 0), False)
        self._listed: tuple[int, str] = (-1, "")
        self._open: tuple[Step, ...] = ()
        self._here = False
        page_head(visitor, HERE)
        ui.add_head_html(f"<style>{NEW_STYLE}</style>")
        ui.add_body_html(_SCRIPT)
        with ui.element("div").classes("dw-body dw-new"):
            with ui.element("div").classes("dw-col dw-rail").props(INERT):
                with ui.element("nav").classes("dw-card").props(f'aria-label="{said("Steps")}"'):
                    self._rail = Changing()
                with ui.element("section").classes("dw-card"):
                    ui.html(f"<h2>{escape(said('Waiting'))}</h2>", sanitize=False)
                    self._waiting = Changing()
                    ui.html(f'<a class="dw-plain dw-go" href="{HERE}">{escape(said("New prescription"))}</a>', sanitize=False)
            with ui.element("div").classes("dw-col").props(INERT):
                self._notice = Changing()
                self._steps = Parts("dw-steps")
        self._scans = Scans(visitor, self._take_scan)

    async def build(self) -> None:
        """Show the page as things are now, and begin to ask again and again."""
        await self.refresh()
        ui.timer(_REFRESH_S, self.refresh)

    def _find(self) -> None:
        """Find order and batch by what the address names. What it names and is not there is said, never guessed."""
        store = self._visitor.workstation.store
        if self._batch is not None:
            state = store.state("batch", self._batch)
            if state is None:
                self._missing, self._batch = said("There is no batch {name}.", name=self._batch[:40]), None
            else:
                self._order = str(state.get("order"))
        if self._order is not None and store.state("order", self._order) is None:
            self._missing, self._order = said("There is no order {name}.", name=self._order[:40]), None

    def _find_batch(self) -> None:
        """Find the batch of an order that has one by now; one that was cancelled is left, and its order goes on without it."""
        underway = self._visitor.workstation.production.underway.look()
        if self._batch is not None and (known := underway.batches.get(self._batch)) is not None and known.is_cancelled:
            self._missing, self._batch = said("Batch {batch} is cancelled.", batch=self._batch), None
        if self._batch is None and self._order is not None:
            self._batch = next((batch.batch for batch in underway.of(self._order) if not batch.is_cancelled), None)

    @property
    def _address(self) -> str:
        if self._batch is not None:
            return f"{HERE}?batch={quote(self._batch, safe='')}"
        return HERE if self._order is None else f"{HERE}?order={quote(self._order, safe='')}"

    async def refresh(self) -> None:
        """Ask the trail and the cells, and show what has changed."""
        await self._visitor.look(self._look)

    async def _look(self) -> None:
        workstation = self._visitor.workstation
        self._views = await run.io_bound(workstation.feeds.views) or {}
        await run.io_bound(workstation.production.underway.look)  # what it has to read is read off the event loop
        await self._draw()

    def _redraw(self) -> None:
        """Show what has changed on the page itself; nothing is asked."""
        self._show(self._progress(), here=True)

    async def _done(self) -> None:
        """Something was done here: look at once, and go on to the step that it has opened."""
        self._here = True
        await self.refresh()

    async def _draw(self) -> None:
        before = self._address
        self._find_batch()
        found = self._progress()
        self._show(found, here=self._here)
        self._here = False
        if self._address != before:
            self._to_address()
        self._looks += 1
        if self._gates is not None and Step.GATES in found.open and self._order is not None and self._looks % _READY_EVERY == 1:
            offers: tuple[Offer, ...] = ()
            if self._batch is None:
                offers = await run.io_bound(self._visitor.workstation.allocation.offers, self._order, self._views) or ()
            await self._gates.update(self._status(), offers, refused=found.refused, checking=found.checking)

    def _progress(self) -> Progress:
        store = self._visitor.workstation.store
        order = None if self._order is None else store.state("order", self._order)
        batch = None if self._batch is None else store.state("batch", self._batch)
        return progress(order, batch, self._status(), self._batch or "", shown=bool(self._entry.digest), scanned=self._scanned())

    def _scanned(self) -> bool:
        """Whether the scan of each cartridge of the order stands; worked out anew when something was put on record."""
        if self._order is None:
            return False
        key = (self._order, self._visitor.workstation.store.size)
        if self._stands[0] != key:
            scans = self._visitor.workstation.scans
            wanted = scans.wanted(self._order)
            self._stands = (key, scans.mounted(self._order, len(wanted)) == wanted)
        return self._stands[1]

    def _status(self) -> CellStatus | None:
        state = None if self._batch is None else self._visitor.workstation.store.state("batch", self._batch)
        view = None if state is None else self._views.get(str(state.get("cell")))
        return None if view is None else view.status

    def _to_address(self) -> None:
        self._visitor.run_script(f"history.replaceState(history.state, '', '{self._address}')")

    async def _entered(self, order: str) -> None:
        self._order = order
        self._to_address()
        await self._done()

    def _show(self, found: Progress, *, here: bool) -> None:
        """Show how far the batch is. `here`: it is so because of something that was done on this page."""
        self._rail.show(_rail_html(found, self._order, self._batch))
        self._show_waiting()
        self._notice.show("" if not self._missing else f'<p class="dw-problem" role="alert">▲ {escape(self._missing)}</p>')
        self._steps.show(self._parts(found))
        if found.open != self._open:
            opened = [step for step in found.open if step not in self._open]
            self._open = found.open
            self._looks = 0
            if opened:
                self._visitor.run_script(f"dwToStep({ORDER.index(opened[0]) + 1}, {'true' if here else 'false'})")

    def _show_waiting(self) -> None:
        key = (self._visitor.workstation.store.size, self._address)
        if key != self._listed:
            self._listed = key
            items = waiting(self._visitor.workstation.production, self._visitor.session().username)
            self._waiting.show(waiting_html(items, said("Nothing waits."), self._address))

    def _parts(self, found: Progress) -> Iterator[tuple[Hashable, Callable[[], object]]]:
        order = None if self._order is None else self._visitor.workstation.store.state("order", self._order)
        for step in ORDER:
            state = found.state(step)
            if state == "open":
                key: Hashable = (step, "open", self._order, *self._key(step))
                yield key, functools.partial(self._opened, step)
            else:
                html = self._unknown_html() if state == "unknown" else self._summary(step, order, done=state == "done")
                sealed = step is Step.PRESCRIPTION and state == "done" and self._may_seal(order)
                yield (step, state, html, sealed), functools.partial(self._closed, step, state, html, sealed=sealed)
        press = None if self._start is None else self._start.press
        if found.started:
            yield ("running", self._batch, press), functools.partial(self._running, press)
        if found.unknown:
            yield ("silent", self._batch, press), functools.partial(self._silent, press)

    def _key(self, step: Step) -> tuple[Hashable, ...]:
        """What an open step's controls act on, besides the order: it is built anew where that changes, and stays where it does not."""
        if step is Step.DOSE:
            return (self._entry.digest,)
        if step in (Step.PREVIEW, Step.START):
            return (self._batch,)
        return (self._batch is not None,) if step is Step.GATES else ()

    def _opened(self, step: Step) -> None:
        with ui.element("section").classes("dw-step dw-open").props(f'id="step-{ORDER.index(step) + 1}" data-step="{step}"'):
            ui.html(_heading(step, "open"), sanitize=False)
            reason = self._not_mine(step)
            if reason:
                ui.html(f"<p>{escape(reason)}</p>", sanitize=False)
                if step is Step.GATES:
                    self._gates = None
                return
            self._build(step)

    def _build(self, step: Step) -> None:
        visitor, order, batch = self._visitor, self._order or "", self._batch
        cell = self._cell_of(batch)
        match step:
            case Step.PRESCRIPTION:
                self._entry.build()
            case Step.DOSE:
                self._entry.build_dose()
            case Step.SECOND:
                SecondStep(visitor, order, self._done).build()
            case Step.CARTRIDGE:
                self._cartridge = CartridgeStep(visitor, order, self._done)
                self._cartridge.build()
            case Step.GATES:
                self._gates = GatesStep(visitor, order, batch, cell, self._done)
                self._gates.build()
                self._looks = 0
            case Step.PREVIEW:
                PreviewStep(visitor, batch or "").build()
            case Step.START:
                self._start = StartStep(visitor, batch or "", cell or "", self._done)
                self._start.build()

    def _not_mine(self, step: Step) -> str:
        """Say why an open step is not this person's; empty where it is."""
        session = self._visitor.session()
        order = {} if self._order is None else self._visitor.workstation.production.order(self._order)
        if step is Step.SECOND and _of(order.get("entered"), "signer") == session.username:
            return said("You entered it: another person confirms it, at this address or on their own screen. This page goes on by itself.")
        allowed = GRANTS[_NEEDS[step]]
        if session.roles & allowed:
            return ""
        names = " / ".join(sorted(told(role.value.replace("_", " ")) for role in allowed))
        return said("This step is not yours. It waits for: {roles}.", roles=names)

    def _cell_of(self, batch: str | None) -> str | None:
        state = None if batch is None else self._visitor.workstation.store.state("batch", batch)
        return None if state is None else str(state.get("cell"))

    def _closed(self, step: Step, state: str, html: str, *, sealed: bool) -> None:
        with ui.element("section").classes(f"dw-step dw-{state}").props(f'id="step-{ORDER.index(step) + 1}" data-step="{step}"'):
            ui.html(_heading(step, state) + html, sanitize=False)
            if sealed:
                IdentityForm(self._visitor, self._pseudonym(), self._entry.identity, self._done).build()

    def _pseudonym(self) -> str:
        state = self._visitor.workstation.production.order(self._order or "")
        return DoseOrder.model_validate(state["order"]).prescription.patient

    def _may_seal(self, order: JsonObject | None) -> bool:
        """A pharmacist may seal who the patient is, where nobody has: whoever entered it at once, anybody once it is confirmed."""
        session = self._visitor.session()
        if order is None or not session.roles & GRANTS[Permission.RECORD_PATIENT]:
            return False
        mine = _of(order.get("entered"), "signer") == session.username or order.get("status") == "confirmed"
        return mine and self._visitor.workstation.patients.commitment(self._pseudonym()) is None

    def _unknown_html(self) -> str:
        return f"<p>{escape(said('Not known: look at {cell}.', cell=self._cell_of(self._batch) or ''))}</p>"

    def _summary(self, step: Step, order: JsonObject | None, *, done: bool) -> str:
        """What a step that is not open says of itself. Figures of an order stay hidden until a second person has confirmed them."""
        if not done or order is None:
            return f'<p class="dw-quiet">{escape(told(_LATER.get(step, "")))}</p>'
        confirmed = order.get("status") == "confirmed"
        if step is Step.PRESCRIPTION:
            by = said("Entered and signed by {name}.", name=_of(order.get("entered"), "name"))
            return f"<p>{escape(by)}</p>" + (self._prescription_html(order) if confirmed else "")
        if step is Step.DOSE:
            return self._dose_html() if confirmed else f"<p>{escape(said('Hidden until the second person has confirmed it.'))}</p>"
        if step is Step.SECOND:
            return f"<p>{escape(said('Confirmed and signed by {name}.', name=_of(order.get('confirmed'), 'name')))}</p>"
        if step is Step.CARTRIDGE:
            mounted = order.get("mounted")
            serials = ", ".join(str(serial) for serial in mounted) if isinstance(mounted, list) else ""
            words = (
                said("Scanned: {serials}.", serials=serials)
                if serials
                else said("No scan is on record: the run was not asked for on this page.")
            )
            return f"<p>{escape(words)}</p>"
        if step is Step.GATES:
            status = self._status()
            gates = status.gates if status is not None and status.batch == self._batch else ()
            return f"<p>{escape(said('All gates are met ({count}).', count=len(gates)) if gates else said('The gates were passed.'))}</p>"
        return ""

    @staticmethod
    def _prescription_html(order: JsonObject) -> str:
        written = DoseOrder.model_validate(order["order"]).prescription
        facts = [
            (said("Patient"), written.patient),
            (said("Prescribed"), f"{written.moiety} {_amount(written.prescribed)} / {told(written.per)}"),
            (said("Times"), _times(written.schedule)),
            (said("Days"), str(written.days)),
        ]
        return '<dl class="dw-facts">' + "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in facts) + "</dl>"

    def _dose_html(self) -> str:
        try:
            dose = self._visitor.workstation.production.dose_of(self._order or "")
        except DosewrightError as error:
            return f'<p class="dw-problem">▲ {refusal_html(error)}</p>'
        summary = escape(said("The arithmetic"))
        return taken_html(dose.as_record()) + f"<details><summary>{summary}</summary>{arithmetic_html(list(dose.arithmetic))}</details>"

    def _running(self, press: Press | None) -> None:
        """Say that the batch is on its cell, and what came of a press of Start on this page."""
        cell = self._cell_of(self._batch) or ""
        with ui.element("section").classes("dw-step dw-open dw-runs"):
            words = said("Batch {batch} is on {cell}.", batch=self._batch or "", cell=cell)
            if press is Press.TOO_LATE:
                words += " " + said("Another person has started it: a press of Start on this page did nothing.")
            elif press is Press.UNANSWERED:
                words += " " + said("Whether it was the press of Start on this page that started it is not known.")
            ui.html(f'<p role="status"><b>✓ {escape(words)}</b></p>', sanitize=False)
            fields.button(said("Go to {cell}", cell=cell)).on_click(functools.partial(self._visitor.go_to, cell))

    def _silent(self, press: Press | None) -> None:
        """Say that the cell does not answer: nothing is known of the batch that was asked for there."""
        cell = self._cell_of(self._batch) or ""
        with ui.element("section").classes("dw-step dw-open dw-runs"):
            words = said(
                "{cell} does not answer: how far batch {batch} is is not known. Look at the cell.", batch=self._batch or "", cell=cell
            )
            if press is Press.UNANSWERED:
                words += " " + said("It is not known whether it took the press of Start.")
            ui.html(f'<p role="alert"><b>? {escape(words)}</b></p>', sanitize=False)
            fields.button(said("Go to {cell}", cell=cell)).on_click(functools.partial(self._visitor.go_to, cell))

    async def _take_scan(self, text: str, field: str) -> None:
        """Take a scan, wherever the focus is: the step that is open says where it belongs."""
        if Step.CARTRIDGE in self._open and self._cartridge is not None and not self._not_mine(Step.CARTRIDGE):
            await self._cartridge.scanned(text, field)
        elif Step.PRESCRIPTION in self._open and not self._not_mine(Step.PRESCRIPTION):
            await self._entry.read(text)
        else:
            with self._visitor.page():
                ui.notify(said("Nothing waits for a scan at this step."), type="warning", position="bottom")


def _times(schedule: Sequence[Intake]) -> str:
    """The times of the day as they were entered, each with its part of the day's amount where there are several."""
    if len(schedule) == 1:
        return schedule[0].time
    return "; ".join(f"{intake.time} {intake.parts}" for intake in schedule)


def _amount(prescribed: Prescribed) -> str:
    """An amount as it is shown: without trailing zeros, however it was typed."""
    return f"{plain_text(prescribed.value.normalize())} {type(prescribed).unit.replace('m2', 'm²')}"


def _of(signature: JsonValue, field: str) -> str:
    """Return a field of a signature: `signer` the account, `name` the person."""
    found = signature.get(field) if isinstance(signature, dict) else None
    return found if isinstance(found, str) else ""


_MARKS = {"done": "✓", "open": "▸", "later": "○", "unknown": "?"}
_WORDS = {"done": marked("done"), "open": marked("now"), "later": marked("later"), "unknown": marked("not known")}


def _heading(step: Step, state: str) -> str:
    return (
        f'<h2><span class="dw-no" aria-hidden="true">{"✓" if state == "done" else ORDER.index(step) + 1}</span> {escape(told(step.value))}'
        f'<small class="dw-quiet">{escape(told(_WORDS[state]))}</small></h2>'
    )


def _rail_html(found: Progress, order: str | None, batch: str | None) -> str:
    """The seven steps with how each stands; the open ones lead to where they are on the page."""
    rows = ""
    for number, step in enumerate(ORDER, 1):
        state = found.state(step)
        current = ' aria-current="step"' if found.open and step is found.open[0] else ""
        rows += (
            f'<li class="dw-rail-{state}"{current}><span class="dw-no" aria-hidden="true">{"✓" if state == "done" else number}</span>'
            f"<span>{escape(told(step.value))}<small>{_MARKS[state]} {escape(told(_WORDS[state]))}</small></span></li>"
        )
    names = " · ".join(filter(None, (order, batch)))
    return f'<p class="dw-rail-name"><b>{escape(names or said("New prescription"))}</b></p><ol class="dw-rail-steps">{rows}</ol>'


_SCRIPT = """<script>
(() => {
  const fields = "input:not([type=hidden]):not([readonly][hidden]),textarea,button,[tabindex='0']";
  const first = part => [...part.querySelectorAll(fields)].find(item => item.offsetParent && !item.disabled && !item.closest(".hidden"));
  // the focus goes on to the step that has opened; where somebody else opened it, never away from what a person is at. While the page is
  // not connected yet its fields take no focus: it is tried again, and given up once a person is somewhere.
  window.dwToStep = (number, here, left = 100) => setTimeout(() => {
    const at = document.activeElement, open = document.getElementById(`step-${number}`);
    const nowhere = !at || at === document.body || !at.isConnected;
    if (left === 0 || (!here && !nowhere)) return;
    const field = open ? first(open) : null;
    if (field) field.focus({preventScroll: true});
    if (!field || document.activeElement !== field) return dwToStep(number, here && left > 90, left - 1);
    open.scrollIntoView({block: "start"});
    field.scrollIntoView({block: "nearest"});
  }, 80);
})();
</script>"""
