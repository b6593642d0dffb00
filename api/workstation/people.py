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
from api.workstation.visitor import Visitor
from audit.access_policy import PRESETS, policy_of
from audit.canonical import JsonObject, JsonValue
from audit.errors import DosewrightError
from audit.identity import Role

_ROLES = {role.value: role.value.replace("_", " ") for role in Role}


class PeoplePage:
    """Builds the page of one visit. Lifetime: that of the page; after an act it is loaded anew."""

    def __init__(self, visitor: Visitor, chosen: str) -> None:
        self._visitor = visitor
        self._people = visitor.workstation.people
        self._access = visitor.workstation.access
        session = visitor.session()
        manages, sees = _may(session, Permission.MANAGE_PEOPLE), _may(session, Permission.SEE_ACCESS)
        report = self._access.report() if sees else {}
        accounts = _objects(report.get("accounts")) if sees else self._people.people()
        page_head(visitor, "/people")
        with ui.element("div").classes("dw-body"):
            with ui.element("div").classes("dw-col").props(INERT):
                if sees:
                    self._attention(session)
                with card("Accounts"):
                    text(accounts_html(accounts, chosen))
                offer_bench_registers(visitor, session)
                if chosen and manages:
                    self._one(next((item for item in accounts if item.get("username") == chosen), None), chosen)
            with ui.element("div").classes("dw-col").props(INERT):
                if manages:
                    with card("New account"):
                        self._new()
                if sees:
                    with card("Access review"):
                        self._review(session, report)
                with card("Policy for access"):
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
            text(f"<p>Password of <b>{escape(account)}</b>, shown this once. It has to be changed at the first log-in.</p>")
            text(f"<p class='dw-secret'>{escape(issued)}</p>")
            ui.button("It is handed over", on_click=lambda: ui.navigate.to("/people")).props("unelevated no-caps")

    def _attention(self, session: Session) -> None:
        notices = self._access.attention(session)
        with card("Needs attention"):
            if not notices:
                text('<p class="dw-quiet">✓ Nothing.</p>')
            for notice in notices:
                text(f'<p class="dw-problem" role="alert">▲ {escape(str(notice["text"]))}</p>')
                if isinstance(id_ := notice["id"], str):
                    self._judge(id_)

    def _judge(self, notice: str) -> None:
        with forms.form(self._doer(lambda session: self._access.judge(session, notice, str(outcome.value or "")))):
            outcome = forms.text_field("What it was found to be")
            forms.submit("Record it")

    def _one(self, item: JsonObject | None, chosen: str) -> None:
        if item is None:
            text(f'<p class="dw-problem" role="alert">▲ There is no account {escape(chosen)}.</p>')
            return
        with card(f"Account {chosen}"):
            if item.get("active") is not True:
                text('<p class="dw-quiet">Closed for good; its name stays taken.</p>')
                return
            reason = forms.text_field("Reason for what follows", wide=True)

            def why() -> str:
                return str(reason.value or "")

            people = self._people
            with ui.row().classes("w-full gap-3 items-center"):
                acts: list[tuple[str, Callable[[Session], object]]] = [
                    ("Issue a new password", lambda session: people.reset_password(session, chosen, why())),
                    ("Close for good", lambda session: people.deactivate(session, chosen, why())),
                ]
                if item.get("locked"):
                    acts.insert(0, ("Unlock", lambda session: people.unlock(session, chosen, why())))
                for label, act in acts:
                    ui.button(label, on_click=self._doer(act, chosen)).props("outline no-caps color=primary")
            held = [str(role) for role in _texts(item.get("roles")) if role not in _lent(item)]
            with ui.row().classes("w-full gap-3 items-center"):
                roles = ui.select(_ROLES, multiple=True, value=held, label="Roles").props("outlined dense").style("min-width:14rem")
                change = lambda session: people.change_roles(session, chosen, [Role(role) for role in roles.value], why())  # noqa: E731
                ui.button("Change roles", on_click=self._doer(change, chosen)).props("outline no-caps color=primary")
            with ui.row().classes("w-full gap-3 items-center"):
                lent = ui.select(_ROLES, label="Deputises as").props("outlined dense").style("min-width:11rem")
                until = forms.text_field("until, for example 2027-06-30")
                lend = lambda session: people.lend_role(session, chosen, Role(lent.value), str(until.value or ""), why())  # noqa: E731
                ui.button("Lend the role", on_click=self._doer(lend, chosen)).props("outline no-caps color=primary")
            for factor in self._access.factors_of(chosen):
                if factor["active"]:
                    self._factor(chosen, factor, why)

    def _factor(self, chosen: str, factor: JsonObject, why: Callable[[], str]) -> None:
        id_, desk = str(factor["id"]), self._visitor.workstation.factors
        revoke = self._doer(lambda session: desk.revoke(session, chosen, id_, why()), chosen)
        ui.button(f"Revoke: {factor['label']} ({id_})", on_click=revoke).props("outline no-caps color=primary")

    def _new(self) -> None:
        async def create() -> None:
            name = str(username.value or "").strip()
            chosen = [Role(role) for role in roles.value or ()]
            act = self._doer(
                lambda session: self._people.create(session, username=name, full_name=str(full.value or ""), roles=chosen), name
            )
            await act()

        with forms.form(create):
            username, full = forms.text_field("User name"), forms.text_field("Full name")
            roles = ui.select(_ROLES, multiple=True, value=[], label="Roles").props("outlined dense").style("min-width:12rem")
            forms.submit("Make the account")

    def _review(self, session: Session, report: JsonObject) -> None:
        last = report.get("last_review")
        signed = f"Last signed {escape(str(last)[:10])}" if last else "Never signed"
        text(f"<p>{signed}; due on <b>{escape(str(report.get('due')))}</b>.</p>")
        if not _may(session, Permission.REVIEW_ACCESS):
            text('<p class="dw-quiet">Quality assurance signs it: nobody reviews their own work.</p>')
            return
        text('<p class="dw-quiet">You sign that you reviewed all accounts, roles and second factors as the list shows them.</p>')

        async def sign() -> None:
            shown = str(report.get("shown_sha256"))
            credentials = Credentials(password=str(password.value or ""), code=forms.text_of(code), digest=shown)
            password.value = ""
            if await self._visitor.act(lambda session: self._access.sign_review(session, credentials)):
                ui.navigate.to("/people")

        with forms.form(sign):
            forms.named_account(session.username)
            password, code = forms.password_field(), forms.code_field(self._visitor)
            forms.submit("Sign the review")

    def _policy(self, manages: bool) -> None:
        policy = self._people.policy
        rows = [f"<tr><td>{name.replace('_', ' ')}</td><td>{escape(_shown(value))}</td></tr>" for name, value in policy.as_record().items()]
        text(f"<details><summary>In force</summary>{table(('Rule', 'Value'), rows, '')}</details>")
        if not manages:
            return

        def change(session: Session) -> object:
            try:
                chosen = policy_of(json.loads(str(field.value or "")))
            except (ValueError, ValidationError) as error:
                raise InputInvalid(f"The policy cannot be read: {error}", remedy="Correct what is named.") from error
            return self._people.change_policy(session, chosen, str(reason.value or ""))

        with ui.expansion("Change it").classes("w-full"):
            start = {name: name for name in PRESETS}
            preset = ui.select(start, label="Begin with the reading of").props("outlined dense").style("min-width:16rem")
            field = ui.textarea(value=json.dumps(policy.as_record(), indent=1)).props("outlined dense").classes("w-full")
            preset.on_value_change(lambda event: field.set_value(json.dumps(PRESETS[event.value].as_record(), indent=1)))
            reason = forms.text_field("Reason", wide=True)
            ui.button("Put it in force", on_click=self._doer(change)).props("unelevated no-caps color=secondary")


def accounts_html(accounts: list[JsonObject], chosen: str) -> str:
    """All accounts, each a link: roles, state in words, last log-in and second factors where they may be seen."""
    rows = []
    for item in accounts:
        username = str(item.get("username"))
        current = ' aria-current="page"' if username == chosen else ""
        lent = _lent(item)
        roles = ", ".join(
            _ROLES.get(role, role) + (f" until {lent[role]}" if role in lent else "") for role in map(str, _texts(item.get("roles")))
        )
        seen = str(item.get("last_log_in") or "never")[:16].replace("T", " ") if "last_log_in" in item else ""
        factors = ", ".join(map(str, _texts(item.get("second_factors"))))
        rows.append(
            f'<tr><td class="dw-keep"><a href="/people?account={quote(username, safe="")}"{current}>{escape(username)}</a>'
            f"<br><span class='dw-quiet'>{escape(str(item.get('name')))}</span></td><td>{escape(roles)}</td>"
            f"<td>{_state(item)}</td><td>{escape(seen)}<br><span class='dw-quiet'>{escape(factors)}</span></td></tr>"
        )
    return table(("Account", "Roles", "State", "Last log-in, second factors"), rows, "There are no accounts.")


def _state(item: JsonObject) -> str:
    if item.get("active") is not True:
        return "– closed"
    marks = [
        "<b>✕ locked</b>" if item.get("locked") else "<span class='dw-keep'>✓ open</span>",
        "not seen for long" if item.get("not_seen_for_long") else "",
        escape(str(item.get("password") or "")) and "password to be changed",
        f"{item['refused_since_review']} refused since the last review" if item.get("refused_since_review") else "",
    ]
    return "<br>".join(mark for mark in marks if mark)


def _shown(value: JsonValue) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)


def _may(session: Session, permission: Permission) -> bool:
    try:
        session.role_for(permission)
    except DosewrightError:
        return False
    return True


def _lent(item: JsonObject) -> JsonObject:
    lent = item.get("lent")
    return lent if isinstance(lent, dict) else {}


def _texts(value: JsonValue) -> list[JsonValue]:
    return value if isinstance(value, list) else []


def _objects(value: JsonValue) -> list[JsonObject]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
