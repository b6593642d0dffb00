"""The page of process models: all versions; of one what it is for, what its test showed, its monitoring, the steps and the signature."""

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
from api.workstation.visitor import Visitor
from audit.canonical import JsonObject, JsonValue
from audit.errors import DosewrightError
from audit.release.trail_view import as_list, as_object
from recipes.lifecycle import Step

_SUSPEND, _REINSTATE = "suspend", "reinstate"
_MEANS = {
    Step.SUBMIT.value: "You sign as the author: this content, with the test that stands here.",
    Step.APPROVE.value: "You approve what another person wrote and tested.",
    Step.RETURN.value: "It goes back to its author.",
    Step.MAKE_EFFECTIVE.value: "Its predictions serve release from now on, in place of the version before it.",
    Step.RETIRE.value: "It is used no more, for good.",
    _REINSTATE: "The cause of the suspension is assigned; its charts begin anew.",
}
_NEEDS_REASON = frozenset({Step.RETURN.value, Step.MAKE_EFFECTIVE.value, Step.RETIRE.value, _REINSTATE})


def _text(value: JsonValue) -> str:
    return escape(value) if isinstance(value, str) else "" if value is None else escape(str(value))


def list_html(states: list[JsonObject], chosen: str) -> str:
    """All versions, each a link: state as a word, impact."""
    rows = []
    for state in states:
        reference = str(state.get("model"))
        current = ' aria-current="page"' if reference == chosen else ""
        word = f"{_text(state.get('status'))}{', suspended' if state.get('suspended') else ''}"
        link = f'<a href="/models?version={quote(reference)}"{current}>{escape(reference)}</a>'
        rows.append(f"<tr><td>{link}</td><td>{word}</td><td>{_text(state.get('impact'))}</td></tr>")
    if not rows:
        return '<p class="dw-quiet">No process model was submitted yet.</p>'
    head = "<tr><th>Version</th><th>State</th><th>Impact</th></tr>"
    return f'<table class="dw-table"><thead>{head}</thead><tbody>{"".join(rows)}</tbody></table>'


def plan_html(view: JsonObject) -> str:
    """What the model is for, what comes in with its ranges, what comes out."""
    plan = as_object(as_object(view.get("definition")).get("plan"))
    output, covered = as_object(plan.get("output")), as_object(plan.get("covered"))
    rows = [
        ("Intended use", _text(plan.get("intended_use"))),
        ("Decision", _text(plan.get("decision"))),
        ("Impact", f"{_text(plan.get('impact'))}: {_text(plan.get('justification'))}"),
        ("Description", _text(plan.get("description"))),
        ("Predicts", f"{_text(output.get('name'))}, {_text(output.get('unit'))}"),
        ("Covers", escape(", ".join(str(item) for item in (*as_list(covered.get("materials")), *as_list(covered.get("equipment")))))),
        ("Outside its domain", "hold: there is no number"),
    ]
    told = "".join(f"<tr><th>{name}</th><td>{value}</td></tr>" for name, value in rows)
    inputs = "".join(
        f"<tr><td>{_text(item.get('name'))}</td><td>{_text(item.get('low'))} to {_text(item.get('high'))} {_text(item.get('unit'))}</td>"
        f"<td>{_text(item.get('meaning'))}</td></tr>"
        for item in map(as_object, as_list(plan.get("inputs")))
    )
    head = "<tr><th>Input</th><th>Valid from to</th><th>Meaning</th></tr>"
    return f'<table class="dw-table">{told}</table><table class="dw-table"><thead>{head}</thead><tbody>{inputs}</tbody></table>'


def test_html(view: JsonObject) -> str:
    """The limits that were set before, and what the test on independent data showed."""
    plan, shown = as_object(as_object(view.get("definition")).get("plan")), as_object(view.get("test"))
    if not shown:
        return '<p class="dw-quiet">Not tested yet.</p>'
    rows = "".join(
        f"<tr><td>{_text(item.get('metric'))}</td><td>{_text(item.get('limit'))}</td>"
        f"<td><b>{_text(shown.get(str(item.get('metric'))))}</b></td></tr>"
        for item in map(as_object, as_list(plan.get("criteria")))
    )
    word = "✓ passed" if view.get("test_passed") is True else "✕ failed"
    problems = "".join(f"<li>{_text(problem)}</li>" for problem in as_list(view.get("test_problems")))
    head = "<tr><th>Metric</th><th>Limit, set before</th><th>Found</th></tr>"
    told = f"<p><b>{word}</b> on {_text(view.get('test_dataset'))}: {_text(shown.get('n'))} predicted, {_text(shown.get('held'))} held.</p>"
    return f'{told}<table class="dw-table"><thead>{head}</thead><tbody>{rows}</tbody></table><ul class="dw-list">{problems}</ul>'


def monitoring_html(found: JsonObject) -> str:
    signals = [*as_list(found.get("residual_signals")), *as_list(found.get("drift_signals"))]
    told = "".join(f"<li>▲ {_text(signal)}</li>" for signal in signals) or "<li>No signal.</li>"
    residuals = ", ".join(str(value) for value in as_list(found.get("residuals"))) or "none yet"
    suspended = f'<p class="dw-problem">▲ Suspended: {_text(found.get("suspended"))}</p>' if found.get("suspended") else ""
    since = f"{_text(found.get('batches_since_check'))} of {_text(found.get('check_every_batches'))}"
    return (
        f"{suspended}<p>Residuals of reference checks: {escape(residuals)}. Batches since the last check: {since}. "
        f"EWMA of T² {_text(found.get('t2_ewma'))[:8]}, limit of one unit {_text(found.get('t2_limit'))[:8]}.</p>"
        f'<ul class="dw-list">{told}</ul>'
    )


def life_html(view: JsonObject) -> str:
    rows = "".join(
        f"<li>{_text(entry.get('at'))[:16].replace('T', ' ')} UTC: <code>{_text(entry.get('kind'))}</code>, {_text(entry.get('name'))} "
        f'<span class="dw-quiet">{_text(entry.get("reason"))}</span></li>'
        for entry in map(as_object, as_list(view.get("life")))
    )
    return f'<ul class="dw-list">{rows}</ul>'


class ModelsPage:
    """Builds the page of one visit. Lifetime: that of the page; after a step it is loaded anew."""

    def __init__(self, visitor: Visitor, chosen: str) -> None:
        self._visitor = visitor
        self._desk = visitor.workstation.models
        session = visitor.session()
        page_head(visitor, "/models")
        with ui.element("div").classes("dw-body"):
            with ui.element("div").classes("dw-col").props(INERT):
                self._one(session, chosen)
            with ui.element("div").classes("dw-col").props(INERT), _card("Process models"):
                ui.html(list_html(self._desk.register.states(), chosen), sanitize=False).classes("w-full")

    def _one(self, session: Session, chosen: str) -> None:
        try:
            view = self._desk.view(session, chosen) if chosen else None
            watched = self._visitor.workstation.model_use.monitoring(chosen) if chosen else {}
        except DosewrightError as error:
            ui.html(f'<p class="dw-problem" role="alert">▲ {escape(str(error))}</p>', sanitize=False)
            return
        if view is None:
            with _card("One version"):
                ui.html('<p class="dw-quiet">Choose a version in the list.</p>', sanitize=False)
            return
        for title, html in (
            (f"{chosen}: {view.get('status')}", f"<p>{_text(view.get('title'))}</p>{plan_html(view)}"),
            ("Test on independent data", test_html(view)),
            ("Monitoring", monitoring_html(watched)),
            ("Its life", life_html(view)),
        ):
            with _card(title):
                ui.html(html, sanitize=False).classes("w-full")
        with _card("Steps from here"):
            self._steps(session, chosen, view)

    def _steps(self, session: Session, reference: str, view: JsonObject) -> None:
        open_steps = [listed.step.value for listed in steps_here(view) if listed.open]
        if may(view, "reinstate"):
            open_steps.append(_REINSTATE)
        for step in open_steps:
            self._sign_form(session, reference, step, str(view.get("digest")))
        if may(view, "suspend"):
            self._suspend_form(reference)
        closed = steps_html(view)
        ui.html(closed or ("" if open_steps else '<p class="dw-quiet">No step leads on from here.</p>'), sanitize=False).classes("w-full")

    def _sign_form(self, session: Session, reference: str, step: str, digest: str) -> None:
        """One form for one step: what it means, which content is signed, why, and the password."""
        content = f'<span class="dw-quiet">Digest {escape(digest[:16])}…</span>'
        ui.html(f"<p><b>{escape(step[0].upper() + step[1:])}.</b> {escape(_MEANS[step])} {content}</p>", sanitize=False)

        async def sign() -> None:
            credentials = Credentials(password=str(password.value or ""))
            password.value = ""
            why = str(reason.value or "") if reason is not None else ""
            if await self._visitor.act(self._act(reference, step, credentials, why), f"Signed: {step}."):
                ui.navigate.to(f"/models?version={quote(reference)}")

        with forms.form(sign):
            reason = forms.text_field("Reason", wide=True) if step in _NEEDS_REASON else None
            forms.named_account(session.username)
            password = forms.password_field()
            forms.submit(f"Sign: {step}")

    def _suspend_form(self, reference: str) -> None:
        ui.html("<p><b>Suspend.</b> It is out of use until it is reviewed; batches that need it are held.</p>", sanitize=False)

        async def suspend() -> None:
            why = str(reason.value or "")
            if await self._visitor.act(lambda session: self._desk.suspend(session, reference, why), "Suspended."):
                ui.navigate.to(f"/models?version={quote(reference)}")

        with forms.form(suspend):
            reason = forms.text_field("Reason for suspending", wide=True)
            forms.submit("Suspend")

    def _act(self, reference: str, step: str, credentials: Credentials, reason: str) -> Callable[[Session], object]:
        desk = self._desk
        acts: dict[str, Callable[[Session], object]] = {
            Step.SUBMIT.value: lambda session: desk.submit(session, reference, credentials),
            Step.APPROVE.value: lambda session: desk.approve(session, reference, credentials),
            Step.RETURN.value: lambda session: desk.give_back(session, reference, credentials, reason),
            Step.RETIRE.value: lambda session: desk.retire(session, reference, credentials, reason),
            Step.MAKE_EFFECTIVE.value: lambda session: desk.make_effective(session, reference, credentials, reason),
            _REINSTATE: lambda session: desk.reinstate(session, reference, credentials, reason),
        }
        return acts[step]


def _card(title: str) -> ui.element:
    card = ui.element("section").classes("dw-card dw-stack")
    with card:
        ui.html(f"<h2>{escape(title)}</h2>", sanitize=False)
    return card
