"""People: what needs attention, accounts, one account, a new one, the access review, the policy."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from html import escape
from urllib.parse import quote

from nicegui import ui
from pydantic import ValidationError

from api.access import Credentials
from api.errors import InputInvalid
from api.security import Permission, Session
from api.workstation import forms
from api.workstation.bench_card import offer_bench_registers
from api.workstation.cards import card, page_head, table, text
from api.workstation.pieces import INERT
from api.workstation.role_words import role_choices, words_of
from api.workstation.training import TrainingCard
from api.workstation.visitor import Visitor
from api.workstation.words import said, told, told_html
from audit.access_policy import PRESETS, policy_of
from audit.canonical import JsonObject, JsonValue
from audit.identity import Role


class PeoplePage:
    """Builds the page of one visit. Lifetime: that of the page; after an act it is loaded anew."""

    def __init__(self, visitor: Visitor, chosen: str) -> None:
        self._visitor = visitor
        self._people = visitor.workstation.people
        self._access = visitor.workstation.access
        session = visitor.session()
        manages, sees = session.may(Permission.MANAGE_PEOPLE), session.may(Permission.SEE_ACCESS)
        report = self._access.report() if sees else {}
        accounts = _objects(report.get("accounts")) if sees else self._people.people()
        page_head(visitor, "/people")
        with ui.element("div").classes("dw-body"):
            with ui.element("div").classes("dw-col").props(INERT):
                if sees:
                    self._attention(session)
                with card(said("Accounts")):
                    text(accounts_html(accounts, chosen))
                TrainingCard(visitor, session)
                offer_bench_registers(visitor, session)
                if chosen and manages:
                    self._one(next((item for item in accounts if item.get("username") == chosen), None), chosen)
            with ui.element("div").classes("dw-col").props(INERT):
                if manages:
                    with card(said("New account")):
                        self._new()
                if sees:
                    with card(said("Access review")):
                        self._review(session, report)
                with card(said("Policy for access")):
                    self._policy(manages)

    def _doer(self, act: Callable[[Session], object], account: str = "") -> Callable[[], Awaitable[None]]:
        async def do() -> None:
            done: list[object] = []
            if not await self._visitor.act(lambda session: done.append(act(session))):
                return
            issued = done[0].get("issued_password") if isinstance(done[0], dict) else None
            if issued is None:
                ui.navigate.to(f"/people?account={quote(account, safe='')}" if account else "/people")
            else:
                self._show_issued(account, str(issued))

        return do

    @staticmethod
    def _show_issued(account: str, issued: str) -> None:
        with ui.dialog(value=True).props("persistent"), ui.card():
            whose = said("Password of <b>{person}</b>, shown this once. It has to be changed at the first log-in.", person=escape(account))
            text(f"<p>{whose}</p>")
            text(f"<p class='dw-secret'>{escape(issued)}</p>")
            ui.button(said("It is handed over"), on_click=lambda: ui.navigate.to("/people")).props("unelevated no-caps")

    def _attention(self, session: Session) -> None:
        notices = self._access.attention(session)
        with card(said("Needs attention")):
            if not notices:
                text(f'<p class="dw-quiet">✓ {said("Nothing.")}</p>')
            for notice in notices:
                text(f'<p class="dw-problem" role="alert">▲ {told_html(str(notice["text"]))}</p>')
                if isinstance(id_ := notice["id"], str):
                    self._judge(id_)

    def _judge(self, notice: str) -> None:
        with forms.form(self._doer(lambda session: self._access.judge(session, notice, str(outcome.value or "")))):
            outcome = forms.text_field(said("What it was found to be"))
            forms.submit(said("Record it"))

    def _one(self, item: JsonObject | None, chosen: str) -> None:
        if item is None:
            text(f'<p class="dw-problem" role="alert">▲ {said("There is no account {account}.", account=escape(chosen))}</p>')
            return
        with card(said("Account {chosen}", chosen=chosen)):
            if item.get("active") is not True:
                text(f'<p class="dw-quiet">{said("Closed for good; its name stays taken.")}</p>')
                return
            reason = forms.text_field(said("Reason for what follows"), wide=True)

            def why() -> str:
                return str(reason.value or "")

            people = self._people
            with ui.row().classes("w-full gap-3 items-center"):
                acts: list[tuple[str, Callable[[Session], object]]] = [
                    (said("Issue a new password"), lambda session: people.reset_password(session, chosen, why())),
                    (said("Close for good"), lambda session: people.deactivate(session, chosen, why())),
                ]
                if item.get("locked"):
                    acts.insert(0, (said("Unlock"), lambda session: people.unlock(session, chosen, why())))
                for label, act in acts:
                    ui.button(label, on_click=self._doer(act, chosen)).props("outline no-caps color=primary")
            held = [str(role) for role in _texts(item.get("roles")) if role not in _lent(item)]
            with ui.row().classes("w-full gap-3 items-center"):
                roles = (
                    ui.select(dict(role_choices()), multiple=True, value=held, label=said("Roles"))
                    .props("outlined dense")
                    .style("min-width:14rem")
                )

                def change(session: Session) -> object:
                    return people.change_roles(session, chosen, [Role(role) for role in roles.value], why())

                ui.button(said("Change roles"), on_click=self._doer(change, chosen)).props("outline no-caps color=primary")
            with ui.row().classes("w-full gap-3 items-center"):
                lent = ui.select(dict(role_choices()), label=said("Deputises as")).props("outlined dense").style("min-width:11rem")
                until = forms.text_field(said("until, for example 2027-06-30"))

                def lend(session: Session) -> object:
                    if lent.value is None:
                        raise InputInvalid("No role is chosen.", remedy="Choose the role that is lent.")
                    return people.lend_role(session, chosen, Role(lent.value), str(until.value or ""), why())

                ui.button(said("Lend the role"), on_click=self._doer(lend, chosen)).props("outline no-caps color=primary")
            for factor in self._access.factors_of(chosen):
                if factor["active"]:
                    self._factor(chosen, factor, why)

    def _factor(self, chosen: str, factor: JsonObject, why: Callable[[], str]) -> None:
        id_, desk = str(factor["id"]), self._visitor.workstation.factors
        revoke = self._doer(lambda session: desk.revoke(session, chosen, id_, why()), chosen)
        ui.button(said("Revoke: {factor} ({id})", factor=told(str(factor["label"])), id=id_), on_click=revoke).props(
            "outline no-caps color=primary"
        )

    def _new(self) -> None:
        async def create() -> None:
            name = str(username.value or "").strip()
            chosen = [Role(role) for role in roles.value or ()]
            act = self._doer(
                lambda session: self._people.create(session, username=name, full_name=str(full.value or ""), roles=chosen), name
            )
            await act()

        with forms.form(create):
            username, full = forms.text_field(said("User name")), forms.text_field(said("Full name"))
            roles = (
                ui.select(dict(role_choices()), multiple=True, value=[], label=said("Roles"))
                .props("outlined dense")
                .style("min-width:12rem")
            )
            forms.submit(said("Make the account"))

    def _review(self, session: Session, report: JsonObject) -> None:
        last = report.get("last_review")
        signed = said("Last signed on {day}", day=escape(str(last)[:10])) if last else said("Never signed")
        text(f"<p>{signed}; {said('due on <b>{day}</b>.', day=escape(str(report.get('due'))))}</p>")
        if not session.may(Permission.REVIEW_ACCESS):
            text(f'<p class="dw-quiet">{said("Quality assurance signs it: nobody reviews their own work.")}</p>')
            return
        meaning = said("You sign that you reviewed all accounts, roles and second factors as the list shows them.")
        text(f'<p class="dw-quiet">{meaning}</p>')

        async def sign() -> None:
            shown = str(report.get("shown_sha256"))
            credentials = Credentials(password=str(password.value or ""), code=forms.text_of(code), digest=shown)
            password.value = ""
            if await self._visitor.act(lambda session: self._access.sign_review(session, credentials)):
                ui.navigate.to("/people")

        with forms.form(sign):
            forms.named_account(session.username)
            password, code = forms.password_field(), forms.code_field(self._visitor)
            forms.submit(said("Sign the review"))

    def _policy(self, manages: bool) -> None:
        policy = self._people.policy
        rows = [f"<tr><td>{words_of(name)}</td><td>{escape(_shown(value))}</td></tr>" for name, value in policy.as_record().items()]
        text(f"<details><summary>{said('In force')}</summary>{table((said('Rule'), said('Value')), rows, '')}</details>")
        if not manages:
            return

        def change(session: Session) -> object:
            try:
                chosen = policy_of(json.loads(str(field.value or "")))
            except (ValueError, ValidationError) as error:
                raise InputInvalid(f"The policy cannot be read: {error}", remedy="Correct what is named.") from error
            return self._people.change_policy(session, chosen, str(reason.value or ""))

        with ui.expansion(said("Change it")).classes("w-full"):
            start = {name: name for name in PRESETS}
            preset = ui.select(start, label=said("Begin with the reading of")).props("outlined dense").style("min-width:16rem")
            field = ui.textarea(value=json.dumps(policy.as_record(), indent=1)).props("outlined dense").classes("w-full")
            preset.on_value_change(lambda event: field.set_value(json.dumps(PRESETS[event.value].as_record(), indent=1)))
            reason = forms.text_field(said("Reason"), wide=True)
            ui.button(said("Put it in force"), on_click=self._doer(change)).props("unelevated no-caps color=secondary")


def accounts_html(accounts: list[JsonObject], chosen: str) -> str:
    """All accounts, each a link: roles, state in words, last log-in and second factors where they may be seen."""
    rows = []
    for item in accounts:
        username = str(item.get("username"))
        current = ' aria-current="page"' if username == chosen else ""
        lent = _lent(item)
        roles = ", ".join(
            words_of(role) + (f" {said('until {day}', day=lent[role])}" if role in lent else "")
            for role in map(str, _texts(item.get("roles")))
        )
        last = str(item.get("last_log_in") or "")[:16].replace("T", " ")
        seen = "" if "last_log_in" not in item else f"{last} UTC" if last else said("never")
        factors = ", ".join(told(str(factor)) for factor in (_texts(item.get("second_factors"))))
        rows.append(
            f'<tr><td class="dw-keep"><a href="/people?account={quote(username, safe="")}"{current}>{escape(username)}</a>'
            f"<br><span class='dw-quiet'>{escape(str(item.get('name')))}</span></td><td>{escape(roles)}</td>"
            f"<td>{_state(item)}</td><td>{escape(seen)}<br><span class='dw-quiet'>{escape(factors)}</span></td></tr>"
        )
    return table((said("Account"), said("Roles"), said("State"), said("Last log-in, second factors")), rows, said("There are no accounts."))


def _state(item: JsonObject) -> str:
    if item.get("active") is not True:
        return f"– {said('closed')}"
    marks = [
        f"<b>✕ {said('locked')}</b>" if item.get("locked") else f"<span class='dw-keep'>✓ {said('open')}</span>",
        said("not seen for long") if item.get("not_seen_for_long") else "",
        said("password to be changed") if item.get("password") else "",
        said("{n} refused since the last review", n=item["refused_since_review"]) if item.get("refused_since_review") else "",
    ]
    return "<br>".join(mark for mark in marks if mark)


def _shown(value: JsonValue) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value)) or said("none")
    return {True: said("yes"), False: said("no")}[value] if isinstance(value, bool) else str(value)


def _lent(item: JsonObject) -> JsonObject:
    lent = item.get("lent")
    return lent if isinstance(lent, dict) else {}


def _texts(value: JsonValue) -> list[JsonValue]:
    return value if isinstance(value, list) else []


def _objects(value: JsonValue) -> list[JsonObject]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
