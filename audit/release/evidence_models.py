"""What process models say of a batch, judged again from their entries: in use, within their domain, within the limits of the recipe; pure.

A model of medium impact is a second witness: where it and the balance disagree, or where it cannot speak, the batch waits until a person
has assigned a cause. A model of high impact decides: its failing result is final, as any other failing result is, and where it cannot speak
there is no release until it can. The first result inside the domain stands; only a measurement outside it may be made again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal

from audit.canonical import JsonObject
from audit.errors import ModelRefused
from audit.events import EventKind
from audit.quantities import EXACT, plain_text, round_to
from audit.release.evidence import BatchEntries
from audit.release.model_evaluation import check_vectors
from audit.release.model_predictions import SUBJECT, differing, misread, prediction_id
from audit.release.process_models import MASS, STRENGTH, ModelDefinition, read_definition
from audit.release.release_rules import ModelRule, read_rules
from audit.release.trail_view import TrailEntry, as_list, as_object, count_of, fold, number_of, text_of

_HUNDRED = Decimal(100)
_SHOWN = 2


@dataclass
class Judged:
    """What was found: results that fail, what is missing, exceptions that a person may resolve (key to finding), and what is well."""

    failing: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    exceptions: dict[str, str] = field(default_factory=dict)
    well: list[str] = field(default_factory=list)


def model_key(reference: str) -> str:
    return f"model/{reference}"


def judge_models(entries: BatchEntries) -> Judged | None:
    """Return what the models say that the recipe's control strategy names; None where it names none. Nothing is taken on trust."""
    rules = read_rules(entries.fact("release_rules"))
    if not rules.models:
        return None
    judged = Judged()
    for rule in rules.models:
        _judge(entries, rule, judged)
    return judged


def model_exceptions(entries: BatchEntries) -> dict[str, str]:
    judged = judge_models(entries)
    return {} if judged is None else judged.exceptions


def model_rows(entries: BatchEntries) -> list[JsonObject]:
    """Return, for the batch record, every prediction entry of the batch: model, digest, and each unit's outcome without its inputs."""
    rows: list[JsonObject] = []
    for id_, found in entries.workstation.under(SUBJECT, entries.batch_id).items():
        for entry in found:
            units = [as_object(unit) for unit in as_list(entry.new.get("units"))]
            shown = [{name: value for name, value in unit.items() if name != "inputs"} for unit in units]
            head = {name: entry.new.get(name) for name in ("model", "model_digest", "impact", "quantity", "unit_of_prediction")}
            rows.append({"prediction": id_, "at": entry.at, **head, "units": list(shown)})
    return rows


def _judge(entries: BatchEntries, rule: ModelRule, judged: Judged) -> None:
    name = rule.model
    history = entries.workstation.of("model", name)
    model = _definition(name, history, judged)
    if model is None:
        return
    if not model.digest == rule.digest == text_of(fold(history).get("digest")):
        judged.failing.append(f"{name}: it is not the content that the recipe names")
        return
    if model.plan.impact == "low" or model.plan.output.quantity not in (MASS, STRENGTH):
        judged.failing.append(f"{name}: a model of {model.plan.impact} impact for {model.plan.output.quantity} cannot serve release")
        return
    if problems := (*_standing(history), *check_vectors(model)):
        judged.missing.append(f"{name}: {'; '.join(problems)}")
        return
    found = _results(entries, model, rule, history, judged)
    if found is None:
        return
    failing, held, good = found
    if model.plan.impact == "high":
        judged.failing += [f"{name}: {text}" for text in failing]
        judged.missing += [f"{name}: {text}" for text in held]
    elif failing or held:
        judged.exceptions[model_key(name)] = f"{name}: {'; '.join([*failing, *held])}"
    if not failing and not held:
        judged.well.append(f"{name}: {good} units within its domain and limits")


def _definition(name: str, history: list[TrailEntry], judged: Judged) -> ModelDefinition | None:
    if not history:
        judged.missing.append(f"{name}: the workstation knows no such model")
        return None
    try:
        model = read_definition(fold(history).get("definition"), name)
    except ModelRefused as error:
        judged.failing.append(error.message)
        return None
    if model.reference != name:
        judged.failing.append(f"{name}: its entry holds the definition of {model.reference}")
        return None
    return model


def _standing(history: list[TrailEntry]) -> list[str]:
    """Return why a model may not speak now: suspended, or withdrawn. One that was superseded since spoke while it was effective."""
    state = fold(history)
    problems = []
    if state.get("suspended") is not None:
        problems.append(f"it is suspended ({text_of(state.get('suspended')) or 'no reason stated'})")
    if state.get("status") not in ("effective", "superseded"):
        problems.append(f"it is {text_of(state.get('status')) or 'nothing'}, not effective")
    return problems


def _results(
    entries: BatchEntries, model: ModelDefinition, rule: ModelRule, history: list[TrailEntry], judged: Judged
) -> tuple[list[str], list[str], int] | None:
    """Return what fails, what is held and how many units are well; None where there is nothing to judge, said in `judged`."""
    name = rule.model
    counting = []
    for entry in entries.workstation.of(SUBJECT, prediction_id(entries.batch_id, name)):
        if entry.kind != EventKind.MODEL_PREDICTION_RECORDED:
            continue
        before = [earlier for earlier in history if earlier.seq < entry.seq]
        state = fold(before)
        if state.get("status") == "effective" and state.get("suspended") is None and entry.new.get("model_digest") == model.digest:
            counting.append(entry)
    if not counting:
        judged.missing.append(f"{name}: no prediction was made while it was effective")
        return None
    if wrong := [unit for entry in counting for unit in differing(model, entry)]:
        judged.failing.append(f"{name}: computed again, {', '.join(dict.fromkeys(wrong))} gives another result than was recorded")
        return None
    # Spectra stand in the trail; a trace is a file, and is read again where a package is checked.
    strange = (
        [unit for entry in counting for unit in misread(model, entries, entry, _no_trace)] if model.plan.features == "spectrum/1" else []
    )
    if strange:
        judged.failing.append(f"{name}: the inputs of {', '.join(dict.fromkeys(strange))} are not those of a recorded spectrum")
        return None
    since, allowed = count_of(counting[0].new.get("batches_since_check")), model.plan.monitoring.check_every_batches
    if since is None or since >= allowed:
        judged.missing.append(f"{name}: a reference check is due, {since} batches since the last, {allowed} allowed")
        return None
    if (judge := _judge_of(entries, model, rule)) is None:
        judged.missing.append(f"{name}: the recipe states no tolerance, or the ink has no assay")
        return None
    return _of_units(entries, counting, judge)


def _no_trace(sha256: str) -> bytes:
    raise ModelRefused(f"The trace {sha256[:16]}… is not at hand.", remedy="Check the review package.")


def _of_units(
    entries: BatchEntries, counting: list[TrailEntry], judge: Callable[[JsonObject, JsonObject], str]
) -> tuple[list[str], list[str], int]:
    rows = [as_object(row) for entry in counting for row in as_list(entry.new.get("units"))]
    failing, held, good = list[str](), list[str](), 0
    for id_, unit in entries.units:
        if unit.get("verdict") != "accepted":
            continue
        mine = [row for row in rows if row.get("unit") == id_]
        spoken = next((row for row in mine if row.get("outcome") == "predicted"), None)
        if spoken is None:
            reasons = [text_of(reason) or "" for reason in as_list(mine[-1].get("reasons"))] if mine else ["nothing was measured of it"]
            held.append(f"{id_} held: {', '.join(reasons)}")
        elif problem := judge(unit, spoken):
            failing.append(f"{id_} {problem}")
        else:
            good += 1
    return failing, held, good


def _judge_of(entries: BatchEntries, model: ModelDefinition, rule: ModelRule) -> Callable[[JsonObject, JsonObject], str] | None:
    """Return how a unit is judged by its prediction: empty text where nothing speaks against it."""
    if model.plan.output.quantity == MASS:
        return _against_balance
    assay = number_of(entries.ink.get("assay"))
    if assay is None or rule.tolerance is None:
        return None
    allowed = EXACT.divide(EXACT.multiply(assay, rule.tolerance), _HUNDRED)

    def judge(unit: JsonObject, row: JsonObject) -> str:
        value, width = _figure(row, "prediction"), _figure(row, "half_width")
        if EXACT.add(abs(EXACT.subtract(value, assay)), width) <= allowed:
            return ""
        return f"{_shown(value)} ± {_shown(width)} mg/g is not within {_shown(assay)} ± {_shown(allowed)} mg/g"

    return judge


def _against_balance(unit: JsonObject, row: JsonObject) -> str:
    """A unit's mass by the balance lies within the model's interval widened by the balance's own uncertainty."""
    mass, uncertainty = number_of(unit.get("mass_mg")), number_of(unit.get("expanded_uncertainty_mg"))
    nominal = number_of(as_object(row.get("inputs")).get("nominal_mass"))
    if mass is None or uncertainty is None or nominal is None or nominal <= 0:
        return "has no mass or no plunger travel to compare with"
    scale = EXACT.divide(nominal, _HUNDRED)
    by_model, width = EXACT.multiply(_figure(row, "prediction"), scale), EXACT.multiply(_figure(row, "half_width"), scale)
    if abs(EXACT.subtract(mass, by_model)) <= EXACT.add(width, uncertainty):
        return ""
    return f"balance {_shown(mass)} ± {_shown(uncertainty)} mg, model {_shown(by_model)} ± {_shown(width)} mg"


def _figure(row: JsonObject, name: str) -> Decimal:
    found = number_of(row.get(name))
    return Decimal(0) if found is None else found


def _shown(value: Decimal) -> str:
    return plain_text(round_to(value, _SHOWN))
