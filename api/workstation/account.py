"""My account: password, one-time password with its QR code, recovery codes, passkeys."""

from __future__ import annotations

import json
from html import escape

from nicegui import run, ui
from pydantic import JsonValue

from api.access import GivenFactor
from api.errors import InputInvalid
from api.security import Session
from api.workstation import forms
from api.workstation.cards import card, page_head, table, text
from api.workstation.language_choice import choice_html
from api.workstation.pieces import INERT
from api.workstation.refusal import refusal_text
from api.workstation.visitor import Visitor
from api.workstation.words import said, told, told_html
from audit.canonical import JsonObject
from audit.errors import DosewrightError

_CREATE = """
const options = PublicKeyCredential.parseCreationOptionsFromJSON({options});
try {{ return {{answer: (await navigator.credentials.create({{publicKey: options}})).toJSON()}}; }}
catch (error) {{ return {{refused: error.message}}; }}
"""
_PASSKEY_S = 90.0


class AccountPage:
    """Builds the page of one visit. Lifetime: that of the page; after a change it is loaded anew."""

    def __init__(self, visitor: Visitor) -> None:
        self._visitor = visitor
        self._desk = visitor.workstation.factors
        session = visitor.session()
        page_head(visitor, "/account")
        with ui.element("div").classes("dw-body"):
            with ui.element("div").classes("dw-col").props(INERT):
                with card(said("Language of the pages")):
                    only = said("For this browser. Records and documents stay in English.")
                    text(f'<p class="dw-quiet">{only}</p>{choice_html("/account")}')
                with card(said("Second factors")):
                    self._factors(session)
                with card(said("One-time password")) as self._totp:
                    self._begin_totp(session)
            with ui.element("div").classes("dw-col").props(INERT):
                with card(said("Password")):
                    self._password(session)
                if self._desk.offers_passkeys:
                    with card(said("Passkey")):
                        self._passkey(session)

    def _password(self, session: Session) -> None:
        policy = self._visitor.workstation.people.policy
        if session.must_change:
            text(f'<p class="dw-problem" role="alert">▲ {said("Change it first:")} {told_html(session.must_change)}.</p>')
        length = said("{low} to {high} characters; best is a sentence.", low=policy.minimum_length, high=policy.maximum_length)
        classes = said("Of lower case, upper case, digit and other it needs {n}.", n=policy.classes) if policy.classes else ""
        text(f'<p class="dw-quiet">{length} {classes}</p>')

        async def change() -> None:
            typed = [str(field.value or "") for field in (old, new, again)]
            given = GivenFactor(code=forms.text_of(code))
            for field in (old, new, again):
                field.value = ""

            def act(session: Session) -> None:
                if typed[1] != typed[2]:
                    raise InputInvalid("The two new passwords differ.", remedy="Type the same one twice.")
                self._visitor.change_password(session, typed[0], typed[1], given)

            if await self._visitor.act(act):
                ui.navigate.to("/account")

        with forms.form(change):
            forms.named_account(session.username)
            old = forms.password_field(said("Present password"))
            new, again = (
                ui.input(label, password=True).props("outlined dense autocomplete=new-password")
                for label in (said("New"), said("New, again"))
            )
            code = forms.code_field(self._visitor)
            forms.submit(said("Change the password"))

    def _factors(self, session: Session) -> None:
        mine = self._desk.mine(session)
        text(
            table(
                (said("What"), said("Since"), said("State")),
                [_row(item) for item in mine],
                said("None. Log-in and signing from outside the site need one."),
            )
        )
        if session.remote:
            text(f'<p class="dw-quiet">{said("Second factors are enrolled and changed at the site only.")}</p>')
            return
        active = {str(item["id"]): f"{told(str(item['label']))} ({item['id']})" for item in mine if item["active"]}
        if not active:
            return

        async def revoke() -> None:
            factor, given, why = str(chosen.value or ""), str(password.value or ""), str(reason.value or "")
            password.value = ""
            if await self._visitor.act(lambda session: self._desk.revoke_own(session, factor, given, why)):
                ui.navigate.to("/account")

        with forms.form(revoke):
            chosen = (
                ui.select(active, label=said("Second factor"), value=next(iter(active))).props("outlined dense").style("min-width:14rem")
            )
            reason = forms.text_field(said("Reason"))
            forms.named_account(session.username)
            password = forms.password_field()
            forms.submit(said("Revoke it"))

    def _begin_totp(self, session: Session) -> None:
        text(f"<p>{said('For a telephone or another authenticator. A new one takes the place of an earlier one.')}</p>")

        async def begin() -> None:
            given = str(password.value or "")
            password.value = ""
            made: list[JsonObject] = []
            if await self._visitor.act(lambda session: made.append(self._desk.begin_totp(session, given))):
                self._show_totp(made[0])

        with forms.form(begin):
            forms.named_account(session.username)
            password = forms.password_field()
            forms.submit(said("Begin"))

    def _show_totp(self, made: JsonObject) -> None:
        self._totp.clear()
        codes = made["recovery_codes"]
        listed = "".join(f"<li>{escape(str(code))}</li>" for code in codes) if isinstance(codes, list) else ""
        with self._totp:
            text(
                f"<h2>{said('One-time password')}</h2>"
                f"<p>1. {said('Scan this, or type')} <span class='dw-secret'>{escape(str(made['secret']))}</span></p>"
                f"{made['qr_svg']}<p>2. {said('Write down the recovery codes; each opens once. They are not shown again.')}</p>"
                f"<ul class='dw-codes'>{listed}</ul><p>3. {said('Type the code that is shown now.')}</p>"
            )

            async def confirm() -> None:
                typed = str(code.value or "")
                if await self._visitor.act(lambda session: self._desk.confirm_totp(session, typed)):
                    ui.navigate.to("/account")

            with forms.form(confirm):
                code = ui.input(said("Code")).props("outlined dense autocomplete=one-time-code inputmode=numeric")
                forms.submit(said("Enrol it"))

    def _passkey(self, session: Session) -> None:
        what = said("A security key, or this computer's own. It answers to this site's address alone.")
        text(f"<p>{escape(what)}</p>")

        async def add() -> None:
            given, label = str(password.value or ""), str(name.value or "")
            password.value = ""
            try:
                options = await run.io_bound(self._desk.begin_passkey, self._visitor.session(), given)
            except DosewrightError as error:
                ui.notify(refusal_text(error), type="negative", position="bottom", multi_line=True)
                return
            script = _CREATE.format(options=json.dumps(options))
            made: dict[str, JsonValue] = await ui.run_javascript(f"return await (async () => {{{script}}})()", timeout=_PASSKEY_S)
            answer = made.get("answer")
            if not isinstance(answer, dict):
                ui.notify(said("The passkey was not made: {why}", why=made.get("refused")), type="negative", position="bottom")
                return
            if await self._visitor.act(lambda session: self._desk.confirm_passkey(session, label, answer)):
                ui.navigate.to("/account")

        with forms.form(add):
            name = forms.text_field(said("Name, for example key on the ring"))
            forms.named_account(session.username)
            password = forms.password_field()
            forms.submit(said("Add a passkey"))


def _row(item: JsonObject) -> str:
    left = ""
    if "recovery_codes_left" in item and item["active"]:
        left = f", {said('{n} recovery codes left', n=item['recovery_codes_left'])}"
    state = f"✓ {said('in use')}" if item["active"] else f"✕ {said('revoked')}"
    since = escape(str(item["enrolled"])[:16].replace("T", " "))
    return f"<tr><td><b>{told_html(str(item['label']))}</b></td><td>{since} UTC</td><td>{state}{left}</td></tr>"
