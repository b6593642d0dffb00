"""The page of recipes: all versions; of one its life, what changed from the former, the steps from here, and the signature."""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from urllib.parse import quote

from nicegui import ui

from api.access import Credentials
from api.life_steps import may, steps_here
from api.security import Session
from api.workstation import forms
from api.workstation.cards import page_head, steps_html
from api.workstation.pieces import INERT
from api.workstation.refusal import refusal_html
from api.workstation.visitor import Visitor
from api.workstation.words import marked, said, told, told_html
from audit.canonical import JsonObject, JsonValue
from audit.errors import DosewrightError
from recipes.lifecycle import Step

_DEVELOPMENT = marked("open for development")
_MEANS = {
    Step.SUBMIT.value: marked("You sign as the author. From then on this number means this content and no other."),
    Step.APPROVE.value: marked("You approve what another person wrote."),
    Step.RETURN.value: marked("It goes back to its author. Changed content then needs a new number."),
    Step.MAKE_EFFECTIVE.value: marked("It is printed for patients from now on, in place of the version before it."),
    Step.RETIRE.value: marked("It is printed no more, for good."),
    _DEVELOPMENT: marked("It may be printed in development mode. Nothing of that is for patients."),
}
_NEEDS_REASON = frozenset({Step.RETURN.value, Step.MAKE_EFFECTIVE.value, Step.RETIRE.value})
_BATCHES = marked("Confirmatory batches, for example B00007 B00008 B00009")
_EVENTS = {
    "recipe.version.drafted": marked("written down"),
    "recipe.version.submitted": marked("handed in, signed by its author"),
    "recipe.version.returned": marked("returned"),
    "recipe.version.approved": marked("approved"),
    "recipe.version.effective": marked("made effective"),
    "recipe.version.superseded": marked("superseded"),
    "recipe.version.retired": marked("withdrawn"),
    "recipe.development.opened": marked("opened for development"),
    "recipe.bundle.exported": marked("exported"),
    "recipe.bundle.imported": marked("taken in from another site"),
}


def _objects(value: JsonValue) -> list[JsonObject]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, (list, tuple)) else []


def _text(value: JsonValue) -> str:
    return escape(value) if isinstance(value, str) else ""


def list_html(states: list[JsonObject], chosen: str) -> str:
    """All versions, each a link: its state as a word, and until when it holds."""
    rows = []
    for state in states:
        reference = f"{state.get('id')}@{state.get('version')}"
        day = f'<span class="dw-keep">{_text(state.get("review_by"))}</span>'
        until = f" {said('until {day}', day=day)}" if state.get("status") == "effective" else ""
        current = ' aria-current="page"' if reference == chosen else ""
        rows.append(
            f'<tr><td><a href="/recipes?version={quote(reference)}"{current}>{escape(reference)}</a></td>'
            f"<td>{told_html(str(state.get('status')))}{until}</td></tr>"
        )
    head = f"<tr><th>{said('Version')}</th><th>{said('State')}</th></tr>"
    return f'<table class="dw-table"><thead>{head}</thead><tbody>{"".join(rows)}</tbody></table>'


def difference_html(view: JsonObject) -> str:
    """Old and new value of each changed field, side by side, with units."""
    compared = view.get("compared_with")
    if not isinstance(compared, str):
        return f'<p class="dw-quiet">{said("There is no earlier version to compare it with.")}</p>'
    nothing = f"<i>{said('nothing')}</i>"
    rows = "".join(
        f"<tr><td><code>{_text(change.get('path'))}</code></td><td>{_text(change.get('old')) or nothing}</td>"
        f"<td><b>{_text(change.get('new')) or nothing}</b></td></tr>"
        for change in _objects(view.get("difference"))
    )
    head = f"<tr><th>{said('Field')}</th><th>{escape(compared)}</th><th>{_text(view.get('reference'))}</th></tr>"
    return f'<table class="dw-table dw-difference"><thead>{head}</thead><tbody>{rows}</tbody></table>'


def _event(kind: str) -> str:
    return told_html(_EVENTS.get(kind, kind))


def life_html(view: JsonObject) -> str:
    rows = "".join(
        f"<li>{_text(entry.get('at'))[:16].replace('T', ' ')} UTC: {_event(str(entry.get('kind')))}, "
        f'{_text(entry.get("name"))} <span class="dw-quiet">{_text(entry.get("reason"))}</span></li>'
        for entry in _objects(view.get("life"))
    )
    return f'<ul class="dw-list">{rows}</ul>'


class RecipesPage:
    """Builds the page of one visit. Lifetime: that of the page; after a step it is loaded anew."""

    def __init__(self, visitor: Visitor, chosen: str) -> None:
        self._visitor = visitor
        self._desk = visitor.workstation.recipes
        session = visitor.session()
        page_head(visitor, "/recipes")
        with ui.element("div").classes("dw-body"):
            with ui.element("div").classes("dw-col").props(INERT):
                self._one(session, chosen)
            with ui.element("div").classes("dw-col").props(INERT), _card(said("Recipes")):
                ui.html(list_html(self._desk.versions.states(), chosen), sanitize=False).classes("w-full")

    def _one(self, session: Session, chosen: str) -> None:
        try:
            view = self._desk.view(session, chosen) if chosen else None
        except DosewrightError as error:
            ui.html(f'<p class="dw-problem" role="alert">▲ {refusal_html(error)}</p>', sanitize=False)
            return
        if view is None:
            with _card(said("One version")):
                ui.html(f'<p class="dw-quiet">{said("Choose a version in the list.")}</p>', sanitize=False)
            return
        with _card(f"{chosen}: {told(str(view.get('status')))}"):
            ui.html(f"<p>{_text(view.get('title'))}</p>{_ground(view)}{life_html(view)}", sanitize=False).classes("w-full")
        with _card(said("What changed")):
            ui.html(difference_html(view), sanitize=False).classes("w-full")
            file = _text(view.get("recipe_toml"))
            ui.html(f"<details><summary>{said('The whole file')}</summary><pre>{file}</pre></details>", sanitize=False).classes("w-full")
        with _card(said("Steps from here")):
            self._steps(session, chosen, view)

    def _steps(self, session: Session, reference: str, view: JsonObject) -> None:
        open_steps = [listed.step.value for listed in steps_here(view) if listed.open]
        if may(view, "development"):
            open_steps.append(_DEVELOPMENT)
        for step in open_steps:
            self._sign_form(session, reference, step, str(view.get("digest")))
        closed = steps_html(view)
        ui.html(closed or ("" if open_steps else f'<p class="dw-quiet">{said("No step leads on from here.")}</p>'), sanitize=False).classes(
            "w-full"
        )
        if view.get("bundle_sha256") is not None:
            action = f"/api/v1/recipe-versions/{quote(reference)}/export"
            button = f'<button class="dw-plain">{said("Download the signed bundle")}</button>'
            ui.html(f'<form method="post" action="{action}">{button}</form>', sanitize=False)

    def _sign_form(self, session: Session, reference: str, step: str, digest: str) -> None:
        """One form for one step: what it means, which content is signed, why, and the password."""
        title = told(step)
        title = f"{title[0].upper()}{title[1:]}"
        content = f'<span class="dw-quiet">{said("Digest")} {escape(digest[:16])}…</span>'
        ui.html(f"<p><b>{escape(title)}.</b> {escape(told(_MEANS[step]))} {content}</p>", sanitize=False)

        async def sign() -> None:
            credentials = Credentials(password=str(password.value or ""), code=forms.text_of(code), digest=digest)
            password.value = ""
            why = str(reason.value or "") if reason is not None else ""
            named = tuple(str(batches.value or "").replace(",", " ").split()) if batches is not None else ()
            act = self._act(reference, step, credentials, why, named)
            if await self._visitor.act(act, said("Signed: {step}.", step=told(step))):
                ui.navigate.to(f"/recipes?version={quote(reference)}")

        with forms.form(sign):
            reason = forms.text_field(said("Reason"), wide=True) if step in _NEEDS_REASON else None
            batches = forms.text_field(told(_BATCHES), wide=True) if step == Step.MAKE_EFFECTIVE.value else None
            forms.named_account(session.username)
            password, code = forms.password_field(), forms.code_field(self._visitor)
            forms.submit(said("Sign: {step}", step=told(step)))

    def _act(
        self, reference: str, step: str, credentials: Credentials, reason: str, batches: tuple[str, ...]
    ) -> Callable[[Session], object]:
        desk = self._desk
        acts: dict[str, Callable[[Session], object]] = {
            Step.SUBMIT.value: lambda session: desk.submit(session, reference, credentials),
            Step.APPROVE.value: lambda session: desk.approve(session, reference, credentials),
            Step.RETURN.value: lambda session: desk.give_back(session, reference, credentials, reason),
            Step.RETIRE.value: lambda session: desk.retire(session, reference, credentials, reason),
            Step.MAKE_EFFECTIVE.value: lambda session: desk.make_effective(session, reference, credentials, reason=reason, batches=batches),
            _DEVELOPMENT: lambda session: desk.open_for_development(session, reference, credentials),
        }
        return acts[step]


def _ground(view: JsonObject) -> str:
    """Say on which ground an effective version stands."""
    if view.get("status") != "effective":
        return ""
    batches = view.get("confirmatory")
    named = ", ".join(str(name) for name in batches) if isinstance(batches, list) else ""
    ground = said("Confirmatory batches: {batches}", batches=named) if named else str(view.get("exemption") or "")
    return f'<p class="dw-quiet">{escape(ground)}</p>'


def _card(title: str) -> ui.element:
    card = ui.element("section").classes("dw-card dw-stack")
    with card:
        ui.html(f"<h2>{escape(title)}</h2>", sanitize=False)
    return card
