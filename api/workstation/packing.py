"""After release on the page: packs, their labels, scans, dispensing. One row of controls for each pack, by what is open for it."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, Hashable
from html import escape
from typing import Literal, get_args
from urllib.parse import quote

from nicegui import run, ui

from api.access import Credentials
from api.interop.scan_code import read_scan
from api.label_desk import LabelPrint, Printed
from api.pack_desk import Dispensing, Recipient, Scan
from api.security import GRANTS, Permission, Session
from api.status import CellStatus
from api.workstation import forms
from api.workstation.pieces import Parts
from api.workstation.refusal import refusal_html
from api.workstation.visitor import Visitor
from api.workstation.words import marked, said, said_n, told, told_html
from audit.canonical import JsonObject, JsonValue
from audit.errors import DosewrightError
from audit.release.packs import TRANSITIONS, Act, Pack

_MARKS = {"packed": "○", "labelled": "✓", "dispensed": "→", "returned": "←", "recalled": "▲", "not recovered": "▲", "destroyed": "✕"}

_Form = Literal["pdf", "zpl"]
_Outcome = Literal["spoiled", "returned"]
_OUTCOMES: tuple[tuple[_Outcome, str], ...] = (
    ("spoiled", marked("Spoiled and destroyed")),
    ("returned", marked("Returned unused")),
)


def pack_html(pack: JsonObject) -> str:
    """One pack: what is in it, where it is, its labels."""
    state, units = str(pack.get("state")), pack.get("units")
    strengths = pack.get("strengths")
    named = ", ".join(str(text) for text in strengths) if isinstance(strengths, list) else ""
    count = len(units) if isinstance(units, list) else 0
    where = told(state)
    if state == "dispensed":
        where = said("dispensed to: {recipient}", recipient=told(str(pack["dispensed_to"])))
    shown = "; ".join(
        said("label {n}: {outcome}", n=item.get("copy"), outcome=told(str(item.get("outcome")))) for item in _objects(pack.get("labels"))
    )
    content = said_n("{n} unit, {strengths}", "{n} units, {strengths}", count, strengths=escape(named))
    use_by = said("use by {day}", day=escape(str(pack.get("use_by"))))
    return (
        f"<p><b>{_MARKS.get(state, '○')} {escape(str(pack.get('pack')))}: {escape(where)}</b><br>{content}, {use_by}<br>"
        f'<span class="dw-quiet">{escape(shown or said("no label printed"))}</span></p>'
    )


def count_html(overview: JsonObject) -> str:
    """How many labels are where, and what closing waits for."""
    labels, waits = overview.get("labels"), overview.get("waits_for")
    counts = labels if isinstance(labels, dict) else {}
    line = said(
        "Labels: issued {issued} = applied {applied} + spoiled {spoiled} + returned {returned} + difference {difference}",
        **{name: counts.get(name) for name in ("issued", "applied", "spoiled", "returned", "difference")},
    )
    reasons = "".join(f"<li>○ {told_html(str(reason))}</li>" for reason in waits) if isinstance(waits, list) else ""
    closed = f"<b>✓ {said('Packing is closed.')}</b> " if overview.get("closed") is True and not reasons else ""
    return f'<p class="dw-quiet">{closed}{escape(line)}</p><ul class="dw-list">{reasons}</ul>'


def _objects(value: JsonValue) -> list[JsonObject]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


class PackingPanel:
    """Shown when the batch on the cell, or that which was chosen, has been released. Lifetime: that of the page."""

    def __init__(self, visitor: Visitor) -> None:
        self._visitor = visitor
        self._batch: str | None = None
        self._read_at = -1
        self._scan_fields: dict[str, ui.input] = {}
        with ui.element("section").classes("dw-card dw-stack") as self._card:
            ui.html(f"<h2>{said('Packs and labels')}</h2>", sanitize=False)
            self._parts = Parts()
        self._card.set_visibility(False)

    def update(self, status: CellStatus) -> None:
        """Choose the batch whose run has ended on the cell; what is shown stays while nothing is known."""
        if status.state == "UNKNOWN":
            self._parts.hold()
        else:
            self.choose(status.batch if status.ended else None)

    def choose(self, batch: str | None) -> None:
        """Show the packs of this batch from the next `refresh` on, and of no other."""
        self._parts.release()
        if batch != self._batch:
            self._batch, self._read_at = batch, -1
            self._card.set_visibility(False)
            self._parts.show([])

    async def refresh(self) -> None:
        """Show the packs of a batch that has a disposition under which something may be packed, when something new is on record."""
        batch, size = self._batch, self._visitor.workstation.pack_views.size
        if batch is None or size == self._read_at:
            return
        self._read_at = size
        offered = await run.io_bound(self._read, batch)
        if batch == self._batch and not self._parts.gone:
            self._card.set_visibility(bool(offered))
            self._parts.show(offered or [])

    def _read(self, batch: str) -> list[tuple[Hashable, Callable[[], object]]]:
        try:
            overview = self._visitor.workstation.pack_views.of(batch)
        except DosewrightError as error:
            return [(("problem", str(error)), functools.partial(_show_refusal, error))]
        return [] if overview is None else self._offers(batch, overview)

    def _offers(self, batch: str, overview: JsonObject) -> list[tuple[Hashable, Callable[[], object]]]:
        held, unpacked = overview.get("held"), overview.get("unpacked")
        offered: list[tuple[Hashable, Callable[[], object]]] = []
        if isinstance(held, str):
            offered.append((("held", held), functools.partial(_problem, held)))
        if isinstance(unpacked, list) and unpacked and not held:
            offered.append((("pack", batch, tuple(unpacked)), functools.partial(self._pack_button, batch, len(unpacked))))
        for pack in _objects(overview.get("packs")):
            labels = tuple((item.get("copy"), item.get("outcome")) for item in _objects(pack.get("labels")))
            key = ("row", pack.get("pack"), pack.get("state"), labels, held)
            offered.append((key, functools.partial(self._row, pack, held=held is not None)))
        counts = overview.get("labels")
        of_count = ("count", str(counts), str(overview.get("waits_for")), overview.get("closed"))
        offered.append((of_count, functools.partial(self._count, batch, overview)))
        return offered

    def _pack_button(self, batch: str, count: int) -> None:
        desk = self._visitor.workstation.packs

        async def pack() -> None:
            await self._visitor.act(lambda session: desk.pack(session, batch, ()), said("Packed, strengths kept apart."))

        ui.button(said("Pack {count} released units", count=count), on_click=pack).props("unelevated no-caps color=secondary")

    def _row(self, pack: JsonObject, *, held: bool) -> None:
        name, state = str(pack.get("pack")), Pack(str(pack.get("state")))
        labels = _objects(pack.get("labels"))
        ui.html(pack_html(pack), sanitize=False)
        if not held and (state, Act.PRINT) in TRANSITIONS:
            if labels:
                with ui.expansion(said("Look at its label, print it again")).classes("w-full"):
                    self._printing(name, first=False)
            else:
                self._printing(name, first=True)
        for item in labels:
            if item.get("outcome") == "issued" and (state is not Pack.PACKED or len(labels) > 1 or held):
                self._accounting(name, int(str(item.get("copy"))))
        if not held and state is Pack.PACKED and labels:
            self._scanning(name, said("Scan the label on the pack"), self._applier(name))
        if not held and state is Pack.LABELLED:
            self._dispensing(name)
        packs = self._visitor.workstation.packs
        if (state, Act.RETURN) in TRANSITIONS:
            self._moving(name, said("Take it back"), packs.take_back, said("{pack} is taken back.", pack=name))
        if (state, Act.DESTROY) in TRANSITIONS and self._visitor.session().roles & GRANTS[Permission.DESTROY_PACK]:
            with ui.expansion(said("Destroy it")).classes("w-full"):
                self._moving(name, said("It is destroyed"), packs.destroy, said("{pack} is destroyed.", pack=name))

    def _printing(self, pack: str, *, first: bool) -> None:
        desk = self._visitor.workstation.labels

        async def print_label(form: _Form) -> None:
            approval = None
            if not first:
                approval = Credentials(
                    username=str(username.value or "").strip() or None, password=str(password.value or ""), code=forms.text_of(code)
                )
                password.value = ""
            wanted = LabelPrint(form=form, reason="" if first else str(reason.value or "")[:500], approval=approval)
            found: list[Printed] = []
            if await self._visitor.act(
                lambda session: found.append(desk.print_label(session, pack, wanted)), said("The label is printed.")
            ):
                self._visitor.download(found[0].data, found[0].name)

        source = f"/api/v1/packs/{quote(pack, safe='')}/label"
        ui.html(f'<img class="dw-label" alt="{escape(said("Preview of the label of {pack}", pack=pack))}" src="{source}">', sanitize=False)
        with forms.form(functools.partial(print_label, "pdf")):
            if not first:
                reason = forms.text_field(said("Why is it printed again?"), wide=True)
                username, password = forms.account_field(said("Second person")), forms.password_field(said("Their password"))
                code = forms.code_field(self._visitor)
            forms.submit(said("Print (PDF)"))
            ui.button(said("Print (ZPL, 203 dpi)"), on_click=functools.partial(print_label, "zpl")).props(
                "unelevated no-caps color=secondary type=button"
            )

    def _accounting(self, pack: str, copy: int) -> None:
        desk = self._visitor.workstation.packs

        async def account(outcome: _Outcome) -> None:
            why = str(reason.value or "").strip()
            if not why:
                ui.notify(said("State what became of the label."), type="warning", position="bottom")
                return
            await self._visitor.act(
                lambda session: desk.account(session, pack, copy, outcome, why[:500]), said("Label {copy} is accounted for.", copy=copy)
            )

        with ui.element("div").classes("dw-form"):
            reason = forms.text_field(said("Label {copy} is on no pack: why?", copy=copy), wide=True)
            for outcome, text in _OUTCOMES:
                ui.button(told(text), on_click=functools.partial(account, outcome)).props("outline no-caps color=primary")

    def _scanning(self, pack: str, label: str, done: Callable[[str], Awaitable[None]]) -> None:
        async def scan() -> None:
            text = str(field.value or "")
            field.value = ""
            if text.strip():
                await done(text[:300])

        with forms.form(scan):
            field = forms.text_field(label).props(f'data-scan="{escape(pack)}"')
            self._scan_fields[pack] = field
            forms.submit(said("Check the scan"))

    @property
    def waits_for_scan(self) -> bool:
        return any(not field.is_deleted for field in self._scan_fields.values())

    def scanned(self, text: str, pack: str) -> None:
        """Put a scan into the field that has the focus, else of the pack that it names, else the first; checking is a person's press."""
        shown = {name: field for name, field in self._scan_fields.items() if not field.is_deleted}
        self._scan_fields = shown
        place = shown.get(pack) or shown.get(_pack_of(text)) or next(iter(shown.values()), None)
        if place is None:
            ui.notify(said("Nothing waits for a scan."), type="warning", position="bottom")
        else:
            place.value = text[:300]

    def _applier(self, pack: str) -> Callable[[str], Awaitable[None]]:
        desk = self._visitor.workstation.packs

        async def apply(text: str) -> None:
            await self._visitor.act(
                lambda session: desk.scan_label(session, pack, Scan(scanned=text)), said("It is the label of this pack.")
            )

        return apply

    def _dispensing(self, pack: str) -> None:
        desk = self._visitor.workstation.packs

        async def dispense(text: str) -> None:
            if to.value not in get_args(Recipient):
                ui.notify(said("Choose to whom; nobody is chosen for you."), type="warning", position="bottom")
                return
            given = Dispensing(scanned=text, to=to.value)
            await self._visitor.act(
                lambda session: desk.dispense(session, pack, given), said("Dispensed to: {recipient}.", recipient=told(to.value))
            )

        with ui.element("div").classes("dw-form"):
            to = (
                ui.select({who: told(who) for who in get_args(Recipient)}, label=said("Dispense to"))
                .props("outlined dense")
                .style("min-width:9rem")
            )
            self._scanning(pack, said("Scan the pack"), dispense)

    def _moving(self, pack: str, text: str, move: Callable[[Session, str, str], object], done: str) -> None:
        async def act() -> None:
            why = str(reason.value or "").strip()
            if not why:
                ui.notify(said("State the reason."), type="warning", position="bottom")
                return
            await self._visitor.act(lambda session: move(session, pack, why[:500]), done)

        with forms.form(act):
            reason = forms.text_field(said("Reason"))
            forms.submit(text)

    def _count(self, batch: str, overview: JsonObject) -> None:
        desk = self._visitor.workstation.packs
        ui.html(count_html(overview), sanitize=False)
        if overview.get("closed") is True or overview.get("waits_for"):
            return

        async def close() -> None:
            await self._visitor.act(lambda session: desk.close_packing(session, batch), said("Packing is closed."))

        ui.button(said("Close packing"), on_click=close).props("unelevated no-caps color=secondary")


def _pack_of(scanned: str) -> str:
    try:
        return read_scan(scanned).name
    except DosewrightError:
        return ""  # a scan that cannot be read names no pack; it is shown, and checking it says what is wrong


def _problem(text: str) -> None:
    ui.html(f'<p class="dw-problem" role="alert">▲ {told_html(text)}</p>', sanitize=False)


def _show_refusal(error: DosewrightError) -> None:
    ui.html(f'<p class="dw-problem" role="alert">▲ {refusal_html(error)}</p>', sanitize=False)
