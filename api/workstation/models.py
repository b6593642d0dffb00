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
from api.workstation.cards import card, page_head, steps_html
from api.workstation.pieces import INERT
from api.workstation.refusal import refusal_html
from api.workstation.visitor import Visitor
from api.workstation.words import marked, said, told, told_html
from audit.canonical import JsonObject, JsonValue
from audit.errors import DosewrightError
from audit.release.trail_view import as_list, as_object
from recipes.lifecycle import Step

_SUSPEND, _REINSTATE = "suspend", marked("reinstate")
_EVENTS = {
    "model.version.drafted": marked("written down"),
    "model.test.completed": marked("tested on independent data"),
    "model.version.submitted": marked("handed in, signed by its author"),
    "model.version.returned": marked("returned"),
    "model.version.approved": marked("approved"),
    "model.version.effective": marked("made effective"),
    "model.version.superseded": marked("superseded"),
    "model.version.retired": marked("withdrawn"),
    "model.version.suspended": marked("suspended"),
    "model.version.reinstated": marked("reinstated"),
    "model.reference.checked": marked("checked against the reference method"),
    "model.prediction.recorded": marked("used for a prediction"),
    "model.request.refused": marked("a step was refused"),
}
_MEANS = {
    Step.SUBMIT.value: marked("You sign as the author: this content, with the test that stands here."),
    Step.APPROVE.value: marked("You approve what another person wrote and tested."),
    Step.RETURN.value: marked("It goes back to its author."),
    Step.MAKE_EFFECTIVE.value: marked("Its predictions serve release from now on, in place of the version before it."),
    Step.RETIRE.value: marked("It is used no more, for good."),
    _REINSTATE: marked("The cause of the suspension is assigned; its charts begin anew."),
}
_NEEDS_REASON = frozenset({Step.RETURN.value, Step.MAKE_EFFECTIVE.value, Step.RETIRE.value, _REINSTATE})


def _text(value: JsonValue) -> str:
    return escape(value) if isinstance(value, str) else "" if value is None else escape(str(value))


def _told(value: JsonValue) -> str:
    return told_html(value) if isinstance(value, str) else _text(value)


def _span(item: JsonObject) -> str:
    return said("{low} to {high}", low=_text(item.get("low")), high=_text(item.get("high")))


def list_html(states: list[JsonObject], chosen: str) -> str:
    """All versions, each a link: state as a word, impact."""
    rows = []
    for state in states:
        reference = str(state.get("model"))
        current = ' aria-current="page"' if reference == chosen else ""
        word = f"{_told(state.get('status'))}{', ' + said('suspended') if state.get('suspended') else ''}"
        link = f'<a href="/models?version={quote(reference)}"{current}>{escape(reference)}</a>'
        rows.append(f"<tr><td>{link}</td><td>{word}</td><td>{_told(state.get('impact'))}</td></tr>")
    if not rows:
        return f'<p class="dw-quiet">{said("No process model was submitted yet.")}</p>'
    head = f"<tr><th>{said('Version')}</th><th>{said('State')}</th><th>{said('Impact')}</th></tr>"
    return f'<table class="dw-table"><thead>{head}</thead><tbody>{"".join(rows)}</tbody></table>'


def plan_html(view: JsonObject) -> str:
    """What the model is for, what comes in with its ranges, what comes out."""
    plan = as_object(as_object(view.get("definition")).get("plan"))
    output, covered = as_object(plan.get("output")), as_object(plan.get("covered"))
    rows = [
        (said("Intended use"), _text(plan.get("intended_use"))),
        (said("Decision"), _text(plan.get("decision"))),
        (said("Impact"), f"{_told(plan.get('impact'))}: {_text(plan.get('justification'))}"),
        (said("Description"), _text(plan.get("description"))),
        (said("Predicts"), f"{_text(output.get('name'))}, {_text(output.get('unit'))}"),
        (said("Covers"), escape(", ".join(str(item) for item in (*as_list(covered.get("materials")), *as_list(covered.get("equipment")))))),
        (said("Outside its domain"), said("hold: there is no number")),
    ]
    facts = "".join(f"<tr><th>{name}</th><td>{value}</td></tr>" for name, value in rows)
    inputs = "".join(
        f"<tr><td>{_text(item.get('name'))}</td><td>{_span(item)} {_text(item.get('unit'))}</td><td>{_text(item.get('meaning'))}</td></tr>"
        for item in map(as_object, as_list(plan.get("inputs")))
    )
    head = f"<tr><th>{said('Input')}</th><th>{said('Valid from to')}</th><th>{said('Meaning')}</th></tr>"
    return f'<table class="dw-table">{facts}</table><table class="dw-table"><thead>{head}</thead><tbody>{inputs}</tbody></table>'


def test_html(view: JsonObject) -> str:
    """The limits that were set before, and what the test on independent data showed."""
    plan, shown = as_object(as_object(view.get("definition")).get("plan")), as_object(view.get("test"))
    if not shown:
        return f'<p class="dw-quiet">{said("Not tested yet.")}</p>'
    rows = "".join(
        f"<tr><td>{_text(item.get('metric'))}</td><td>{_text(item.get('limit'))}</td>"
        f"<td><b>{_text(shown.get(str(item.get('metric'))))}</b></td></tr>"
        for item in map(as_object, as_list(plan.get("criteria")))
    )
    word = f"✓ {said('passed')}" if view.get("test_passed") is True else f"✕ {said('failed')}"
    problems = "".join(f"<li>{_told(problem)}</li>" for problem in as_list(view.get("test_problems")))
    head = f"<tr><th>{said('Metric')}</th><th>{said('Limit, set before')}</th><th>{said('Found')}</th></tr>"
    n, held = _text(shown.get("n")), _text(shown.get("held"))
    where = said("on {dataset}: {n} predicted, {held} held.", dataset=_text(view.get("test_dataset")), n=n, held=held)
    table = f'<table class="dw-table"><thead>{head}</thead><tbody>{rows}</tbody></table>'
    return f'<p><b>{word}</b> {where}</p>{table}<ul class="dw-list">{problems}</ul>'


def monitoring_html(found: JsonObject) -> str:
    signals = [*as_list(found.get("residual_signals")), *as_list(found.get("drift_signals"))]
    listed = "".join(f"<li>▲ {_told(signal)}</li>" for signal in signals) or f"<li>{said('No signal.')}</li>"
    residuals = ", ".join(str(value) for value in as_list(found.get("residuals"))) or said("none yet")
    suspended = f'<p class="dw-problem">▲ {said("Suspended:")} {_text(found.get("suspended"))}</p>' if found.get("suspended") else ""
    since, every = _text(found.get("batches_since_check")), _text(found.get("check_every_batches"))
    ewma, limit = _text(found.get("t2_ewma"))[:8], _text(found.get("t2_limit"))[:8]
    return (
        f"{suspended}<p>{said('Residuals of reference checks: {residuals}.', residuals=escape(residuals))} "
        f"{said('Batches since the last check: {since} of {every}.', since=since, every=every)} "
        f"{said('EWMA of T² {ewma}, limit of one unit {limit}.', ewma=ewma, limit=limit)}</p>"
        f'<ul class="dw-list">{listed}</ul>'
    )


def _event(kind: str) -> str:
    return told_html(_EVENTS.get(kind, kind))


def life_html(view: JsonObject) -> str:
    rows = "".join(
        f"<li>{_text(entry.get('at'))[:16].replace('T', ' ')} UTC: {_event(str(entry.get('kind')))}, {_text(entry.get('name'))} "
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
            with ui.element("div").classes("dw-col").props(INERT), card(said("Process models")):
                ui.html(list_html(self._desk.register.states(), chosen), sanitize=False).classes("w-full")

    def _one(self, session: Session, chosen: str) -> None:
        try:
            view = self._desk.view(session, chosen) if chosen else None
            watched = self._visitor.workstation.model_use.monitoring(chosen) if chosen else {}
        except DosewrightError as error:
            ui.html(f'<p class="dw-problem" role="alert">▲ {refusal_html(error)}</p>', sanitize=False)
            return
        if view is None:
            with card(said("One version")):
                ui.html(f'<p class="dw-quiet">{said("Choose a version in the list.")}</p>', sanitize=False)
            return
        for title, html in (
            (f"{chosen}: {told(str(view.get('status')))}", f"<p>{_text(view.get('title'))}</p>{plan_html(view)}"),
            (said("Test on independent data"), test_html(view)),
            (said("Monitoring"), monitoring_html(watched)),
            (said("Its life"), life_html(view)),
        ):
            with card(title):
                ui.html(html, sanitize=False).classes("w-full")
        with card(said("Steps from here")):
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
        ui.html(closed or ("" if open_steps else f'<p class="dw-quiet">{said("No step leads on from here.")}</p>'), sanitize=False).classes(
            "w-full"
        )

    def _sign_form(self, session: Session, reference: str, step: str, digest: str) -> None:
        """One form for one step: what it means, which content is signed, why, and the password."""
        content, title = f'<span class="dw-quiet">{said("Digest")} {escape(digest[:16])}…</span>', told(step)
        ui.html(f"<p><b>{escape(title[0].upper() + title[1:])}.</b> {escape(told(_MEANS[step]))} {content}</p>", sanitize=False)

        async def sign() -> None:
            credentials = Credentials(password=str(password.value or ""), code=forms.text_of(code))
            password.value = ""
            why = str(reason.value or "") if reason is not None else ""
            if await self._visitor.act(self._act(reference, step, credentials, why), said("Signed: {step}.", step=told(step))):
                ui.navigate.to(f"/models?version={quote(reference)}")

        with forms.form(sign):
            reason = forms.text_field(said("Reason"), wide=True) if step in _NEEDS_REASON else None
            forms.named_account(session.username)
            password, code = forms.password_field(), forms.code_field(self._visitor)
            forms.submit(said("Sign: {step}", step=told(step)))

    def _suspend_form(self, reference: str) -> None:
        ui.html(f"<p>{said('<b>Suspend.</b> It is out of use until it is reviewed; batches that need it are held.')}</p>", sanitize=False)

        async def suspend() -> None:
            why = str(reason.value or "")
            if await self._visitor.act(lambda session: self._desk.suspend(session, reference, why), said("Suspended.")):
                ui.navigate.to(f"/models?version={quote(reference)}")

        with forms.form(suspend):
            reason = forms.text_field(said("Reason for suspending"), wide=True)
            forms.submit(said("Suspend"))

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
