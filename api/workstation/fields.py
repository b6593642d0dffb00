"""Fields for gloves: large, each with its unit in it, and with what is wrong said beside the one that is wrong."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from nicegui import ui

from api.workstation.visitor import Visitor
from api.workstation.words import said

Field = ui.input | ui.select


def text_field(label: str, value: str = "", *, unit: str = "", hint: str = "", scan: str = "", numbers: bool = False) -> ui.input:
    """Return a field for text; `unit` stands at its end, `scan` names it as the place where a scan may land."""
    field = ui.input(label, value=value).props("outlined autocomplete=off").classes("dw-big")
    if unit:
        field.props(f'suffix="{unit}"')
    if hint:
        field.props(f'hint="{hint}"')
    if scan:
        field.props(f'data-scan="{scan}"')
    if numbers:
        field.props("inputmode=decimal")
    field.on_value_change(lambda: _right(field))
    return field


def choice(options: Mapping[str, str] | Sequence[str], label: str, value: str | None = None) -> ui.select:
    """Return a field in which one of several is chosen."""
    given = dict(options) if isinstance(options, Mapping) else list(options)
    field = ui.select(given, label=label, value=value).props("outlined options-dense=false").classes("dw-big")
    field.on_value_change(lambda: _right(field))
    return field


def secret() -> ui.input:
    """Return the field for one's own password at a signature."""
    field = ui.input(said("Your password"), password=True).props("outlined autocomplete=current-password").classes("dw-big")
    field.on_value_change(lambda: _right(field) if field.value else None)  # it is emptied when it was used: what was wrong stays
    return field


def code(visitor: Visitor) -> ui.input | None:
    """Return the field for the second factor where the visitor is outside the perimeter."""
    if not visitor.session().remote:
        return None
    return ui.input(said("One-time or recovery code")).props("outlined autocomplete=one-time-code").classes("dw-big")


def button(label: str, *, main: bool = True, act: bool = False) -> ui.button:
    """Return a button that a gloved finger finds; `act`: it carries out the form that it stands in."""
    made = ui.button(label).classes("dw-press")
    made.props("unelevated no-caps color=secondary" if main else "outline no-caps color=primary")
    made.props("type=submit" if act else "type=button")
    return made


def wrong(field: Field, text: str) -> None:
    """Say at a field what is wrong with it; the browser tells it at once to whoever cannot see it."""
    field.error = text


def _right(field: Field) -> None:
    """Take back what was wrong, where something was: whatever is sent to a field may undo what is typed into it meanwhile."""
    if field.error:
        field.error = None


def to_first_problem(found: Iterable[Field]) -> None:
    """Put the focus into the first of these fields that is wrong."""
    first = next((field for field in found if field.error and not field.is_deleted), None)
    if first is not None:
        first.run_method("focus")
