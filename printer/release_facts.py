"""What a run states for the release of its units: use-by, uncertainty of the dose, and the law under which it is printed."""

from __future__ import annotations

from collections.abc import Sequence

from audit.canonical import JsonObject, JsonValue
from audit.release.legal_routes import release_rule
from printer.external_weighing import ExternalBalance
from recipes.inks import use_by
from recipes.machine import MachineProfile
from recipes.model import Recipe
from recipes.order import Cartridge, InkLot
from recipes.program import PrintProgram
from recipes.uncertainty import uncertainties


def release_facts(
    recipe: Recipe,
    program: PrintProgram,
    sources: Sequence[tuple[InkLot, Cartridge]],
    machine: MachineProfile,
    today: str,
    external: ExternalBalance | None,
) -> JsonObject:
    """Return the facts, all from the signed recipe, order, inks, profile and register.

    `external`: the balance that the units are judged on, None where it is the one under the plate. Raises ValueError where the
    route does not allow the ink.
    """
    inks = [ink for ink, _ in sources]
    theoretical = [ink.lot for ink in inks if ink.preparation is not None]
    weighing = None if external is None else external.expanded_uncertainty
    found: list[JsonValue] = [item.as_record() for item in uncertainties(program.dose, inks, machine, weighing)]
    facts: JsonObject = {"uncertainty": found}
    if (end := use_by(recipe, sources, today)) is not None:
        facts["use_by"] = {"day": end.day, "because": end.because}
    if theoretical:
        facts["theoretical_strength"] = list(theoretical)
    if recipe.legal_route is not None:
        rule = release_rule(recipe.legal_route, recipe.authorised, theoretical=bool(theoretical))
        facts["legal_route"] = {
            "route": recipe.legal_route,
            "title": rule.title,
            "roles": sorted(rule.roles),
            "statement": rule.statement,
            "label": rule.label,
            "retention_years": rule.retention_years,
        }
    if recipe.label.excipients:
        facts["excipients"] = list(recipe.label.excipients)
    return facts
