"""The end of a batch on the page: what is proposed and why, units to take off, the signature, the package."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, Hashable
from html import escape

from nicegui import ui

from api.access import Credentials
from api.release_desk import shown_sha256
from api.security import GRANTS, Permission, Session
from api.status import CellStatus
from api.workstation import exceptions, forms
from api.workstation.pieces import Parts
from api.workstation.visitor import Visitor
from api.workstation.words import marked, said, told, told_html
from audit.canonical import JsonObject, JsonValue

_OPEN = "awaiting review"
_MARKS = {marked("met"): "✓", marked("not met"): "✕", marked("missing"): "○", marked("not required"): "–"}
_UNDECIDED = marked("held")


def _objects(value: JsonValue) -> list[JsonObject]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _texts(value: JsonValue) -> list[str]:
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []


def review_html(record: JsonObject) -> str:
    """The proposal or the signed disposition first, then its reasons, exceptions before what is met."""
    proposal = record.get("proposal")
    proposal = proposal if isinstance(proposal, dict) else {}
    signed = record.get("disposition") != "held"
    word = str(record.get("disposition") if signed else proposal.get("disposition", "held"))
    heading = said("Signed") if signed else said("Proposed")
    reasons = "".join(f"<li>✕ {told_html(reason)}</li>" for reason in _texts(proposal.get("reasons")))
    evidence = sorted(_objects(record.get("evidence")), key=lambda item: item.get("state") in ("met", "not required"))
    rows = "".join(
        f"<li>{_MARKS.get(str(item.get('state')), '○')} {told_html(str(item.get('item')))}: {told_html(str(item.get('state')))}"
        f' <span class="dw-quiet">({told_html(str(item.get("detail")))})</span></li>'
        for item in evidence
    )
    summary = said("Evidence, {n} items", n=len(evidence))
    return (
        f'<p class="dw-verdict-big">{heading}: {told_html(word)}</p><ul class="dw-list">{reasons}</ul>'
        f'<details><summary class="dw-quiet">{summary}</summary><ul class="dw-list">{rows}</ul></details>'
    )


class ClosingPanel:
    """Shown when a run is over. Lifetime: that of the page."""

    def __init__(self, visitor: Visitor) -> None:
        self._visitor = visitor
        self._facts: tuple[JsonValue, ...] = ()
        self._status = CellStatus(cell=visitor.cell)
        self._record: JsonObject | None = None
        self._causes: exceptions.Offers = []
        self._fetched = 0
        with ui.element("section").classes("dw-card dw-stack") as self._card:
            ui.html(f"<h2>{said('Review and disposition')}</h2>", sanitize=False)
            self._parts = Parts()
        self._card.set_visibility(False)

    def update(self, status: CellStatus) -> None:
        """Show what is open at the end of the run; a review is of the moment: it goes when a removal, an alarm or the batch has changed.

        A cause that a person is stating stays as long as its exception may be open: it is about one finding, and not about the review.
        """
        if status.state == "UNKNOWN":
            self._parts.hold()
            return
        over = status.ended and status.batch is not None
        self._card.set_visibility(over)
        if not over or status.batch != self._status.batch:
            self._facts, self._record, self._causes = (), None, []
        self._status = status
        if not over:
            self._parts.show([])
            return
        if (facts := self._facts_now()) != self._facts:
            self._facts, self._record = facts, None  # a review fetched before is out of date
        self._parts.show(self._offers(status, str(facts[0])))

    def _offers(self, status: CellStatus, batch_status: str) -> list[tuple[Hashable, Callable[[], object]]]:
        batch, record = status.batch or "", self._record
        offered: list[tuple[Hashable, Callable[[], object]]] = [
            (("unit", batch, unit.n), functools.partial(self._removal, batch, unit.n)) for unit in status.units if unit.needs_removal
        ]
        offered += [
            (("purge", batch, purge.n), functools.partial(self._removal, batch, purge.n, purge=True))
            for purge in status.purge_units
            if purge.needs_removal
        ]
        if batch_status == "running":
            return [*offered, (("close", batch), functools.partial(_close_button, self._closer(batch)))]
        offered.append((("review", batch), functools.partial(_review_button, self._reviewer(batch))))
        if record is not None:
            offered.append((("record", batch, self._fetched), functools.partial(_show_review, review_html(record))))
        elif self._causes:
            offered.append((("changed", batch), _say_changed))
        if batch_status == _OPEN:
            offered += self._causes
            if record is not None:
                offered.append((("sign", batch, self._fetched), functools.partial(self._signing, record, batch)))
        if batch_status != _OPEN and self._visitor.session().roles & GRANTS[Permission.EXPORT]:
            offered.append((("package", batch), functools.partial(_package_forms, batch)))
        return offered

    def _facts_now(self) -> tuple[JsonValue, ...]:
        """Return what a review depends on: the state of the batch now, removals and alarms as last seen."""
        status = self._status
        state = self._visitor.workstation.store.state("batch", status.batch or "") or {}
        removed, alarms = (unit.removed for unit in status.units), (alarm.state for alarm in status.alarms)
        return state.get("status"), status.batch, *removed, *(purge.removed for purge in status.purge_units), *alarms

    def _closer(self, batch: str) -> Callable[[], object]:
        release = self._visitor.workstation.release

        async def close() -> None:
            await self._visitor.act(lambda session: release.close_run(session, batch), said("The run is closed."))

        return close

    def _reviewer(self, batch: str) -> Callable[[], Awaitable[object]]:
        release, desk = self._visitor.workstation.release, self._visitor.workstation.exceptions

        def fetch(session: Session) -> None:
            facts, found = self._facts_now(), desk.exceptions(batch)
            record = release.review(batch)
            if self._status.batch != batch:
                return  # the cell has gone on to another meanwhile
            self._causes = exceptions.offers(self._visitor, batch, found, record, review)
            self._facts, self._record = facts, record
            self._fetched += 1

        async def review() -> None:
            await self._visitor.act(fetch)

        return review

    def _removal(self, batch: str, number: int, *, purge: bool = False) -> None:
        release = self._visitor.workstation.release
        what = said("Purge unit {n}", n=number) if purge else said("Unit {n}", n=number)
        who = said("A person who did not run the batch confirms it.")
        ui.html(f"<p><b>{said('{what}: take it off the plate.', what=what)}</b> {who}</p>", sanitize=False)

        async def confirm() -> None:
            credentials = Credentials(
                username=str(username.value or "") or None, password=str(password.value or ""), code=forms.text_of(code)
            )
            password.value = ""
            done = said("{what}: removal confirmed.", what=what)
            await self._visitor.act(lambda session: release.confirm_removal(session, batch, number, credentials, purge=purge), done)

        with forms.form(confirm):
            username, password = forms.account_field(), forms.password_field(said("Password"))
            code = forms.code_field(self._visitor)
            forms.submit(said("{what} is off the plate", what=what))

    def _signing(self, record: JsonObject, batch: str) -> None:
        proposal = record.get("proposal")
        choices = _texts(proposal.get("open")) if isinstance(proposal, dict) else []
        if not choices:
            return
        release = self._visitor.workstation.release

        async def sign() -> None:
            if chosen.value is None:
                ui.notify(said("Choose a disposition; none is chosen for you."), type="warning", position="bottom")
                return
            credentials = Credentials(password=str(password.value or ""), code=forms.text_of(code), digest=shown_sha256(record))
            disposition = str(chosen.value)
            password.value = ""
            if await self._visitor.act(
                lambda session: release.dispose(session, batch, disposition, credentials),
                said("Signed: {disposition}.", disposition=told(disposition)),
            ):
                self._record, self._causes = None, []

        with forms.form(sign).classes("mt-3"):
            chosen = (
                ui.select({choice: told(choice) for choice in choices}, label=said("Disposition"))
                .props("outlined dense")
                .style("min-width:15rem")
            )
            forms.named_account(self._visitor.session().username)
            password, code = forms.password_field(), forms.code_field(self._visitor)
            forms.submit(said("Sign"))


def _package_forms(batch: str) -> None:
    """What a batch with a disposition goes out as; plain forms, which need nothing that the page remembers."""
    whole = escape(said("… with both trails whole (other batches and patients' pseudonyms are in it)"))
    ui.html(
        f'<form method="post" action="/api/v1/batches/{escape(batch)}/package" style="margin-top:.8rem">'
        f'<button class="dw-plain">{said("Download the review package")}</button></form>'
        f'<form method="post" action="/api/v1/batches/{escape(batch)}/package?scope=whole" style="margin-top:.4rem">'
        f'<button class="dw-plain">{whole}</button></form>',
        sanitize=False,
    )


def _show_review(html: str) -> None:
    ui.html(html, sanitize=False).classes("w-full")


def _say_changed() -> None:
    ui.html(f'<p role="status">{said("Something has changed since the review was shown. Show it again.")}</p>', sanitize=False)


def _close_button(close: Callable[[], object]) -> None:
    ui.button(said("Close the run and review it"), on_click=close).props("unelevated no-caps color=secondary")


def _review_button(review: Callable[[], object]) -> None:
    ui.button(said("Show the review"), on_click=review).props("outline no-caps color=primary")
