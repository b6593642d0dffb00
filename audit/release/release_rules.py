"""What a recipe's control strategy demands of release beyond what is demanded of every batch, read from the trail; pure.

The cell states the rules in the entry that creates a run (`release_rules`), from the signed recipe. Rules that cannot be read are never
taken for no rules: `problem` says what is wrong, and what rests on them is missing.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from audit.canonical import JsonObject, JsonValue
from audit.release.small_batch import Prior
from audit.release.trail_view import as_list, as_object, count_of, number_of, text_of

_MEMBERS = frozenset(
    {"largest_reject_rate_percent", "ink_reconciliation_percent", "small_batch_prior", "second_small_batch_prior", "process_models"}
)


@dataclass(frozen=True, slots=True)
class ModelRule:
    """A process model that release rests on: `id@version`, digest; `tolerance` about what is expected in %, where the model needs one."""

    model: str
    digest: str
    tolerance: Decimal | None


@dataclass(frozen=True, slots=True)
class ReleaseRules:
    """Limits in %: of units rejected or scrapped, of ink that is not accounted for; priors of the first and the second active; models."""

    largest_reject_rate: Decimal | None = None
    ink_reconciliation: Decimal | None = None
    prior: Prior | None = None
    second_prior: Prior | None = None
    models: tuple[ModelRule, ...] = ()
    problem: str = ""


def read_rules(value: JsonValue) -> ReleaseRules:
    """Return the rules that an entry states; none of them where it states nothing."""
    if value is None:
        return ReleaseRules()
    stated = as_object(value)
    if not isinstance(value, dict) or not stated.keys() <= _MEMBERS:
        return ReleaseRules(problem="the recipe's rules of release are not in a form that this version knows")
    try:
        return ReleaseRules(
            largest_reject_rate=_percent(stated, "largest_reject_rate_percent"),
            ink_reconciliation=_percent(stated, "ink_reconciliation_percent"),
            prior=_prior(stated.get("small_batch_prior")),
            second_prior=_prior(stated.get("second_small_batch_prior")),
            models=_models(stated.get("process_models")),
        )
    except ValueError as error:
        return ReleaseRules(problem=f"the recipe's rules of release cannot be read: {error}")


def _percent(stated: JsonObject, name: str) -> Decimal | None:
    if stated.get(name) is None:
        return None
    found = number_of(stated[name])
    if found is None or not 0 <= found <= 100:
        raise ValueError(f"{name} is not a percentage")
    return found


def _prior(value: JsonValue) -> Prior | None:
    if value is None:
        return None
    stated = as_object(value)
    figures = [number_of(stated.get(name)) for name in ("mean_percent", "sd_percent", "weight")]
    degrees, history = count_of(stated.get("degrees")), text_of(stated.get("history"))
    centre, sd, weight = figures
    if centre is None or sd is None or weight is None or degrees is None or history is None:
        raise ValueError("a prior lacks mean, standard deviation, weight, degrees of freedom or history")
    return Prior(centre, sd, degrees, weight, history)


def _models(value: JsonValue) -> tuple[ModelRule, ...]:
    if value is None:
        return ()
    found = []
    for item in as_list(value):
        stated = as_object(item)
        model, sha256 = text_of(stated.get("model")), text_of(stated.get("digest"))
        if model is None or sha256 is None or not stated.keys() <= {"model", "digest", "tolerance_percent"}:
            raise ValueError("a process model is not named by id, version and digest")
        found.append(ModelRule(model, sha256, _percent(stated, "tolerance_percent")))
    if not found:
        raise ValueError("process_models names none")
    return tuple(found)
