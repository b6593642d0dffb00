"""Predictions of a batch: from what the cell sealed and what a probe measured to the entry that the workstation writes; pure.

A package holds all that it takes to do it again: the definition stands in the workstation's trail, traces and units in the cell's, spectra
in the workstation's. `dosewright verify` does so.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal

from audit.canonical import JsonObject, JsonValue
from audit.events import EventKind
from audit.release.evidence import BatchEntries
from audit.release.model_evaluation import Held, evaluate, outcome_record
from audit.release.process_models import ModelDefinition
from audit.release.trail_view import TrailEntry, as_list, as_object, number_of, text_of
from audit.release.unit_traces import TraceFigures, TraceUnreadable, features, read_trace

SUBJECT, SPECTRUM = "prediction", "spectrum"
_OUTCOME = ("outcome", "prediction", "half_width", "t2", "q", "reasons")


@dataclass(frozen=True, slots=True)
class UnitInputs:
    """What a model is asked about one unit. `source`: SHA-256 of the trace or of the spectrum's entry; `problem`: why it is not asked."""

    unit: str
    source: str
    inputs: JsonObject
    equipment: str
    problem: str = ""


def prediction_id(batch: str, reference: str) -> str:
    return f"{batch}/{reference}"


def inputs_for(model: ModelDefinition, entries: BatchEntries, trace: Callable[[str], bytes]) -> tuple[UnitInputs, ...]:
    """Return what a model is asked about the units of a batch, in their order; `trace` gives a sealed trace by its SHA-256.

    Empty where nothing of the kind was recorded. Raises what `trace` raises.
    """
    match model.plan.features:
        case "unit-trace/1":
            return tuple(_of_traces(model, entries, trace))
        case "spectrum/1":
            return tuple(_of_spectra(model, entries))
        case _:
            return ()


def predicted(model: ModelDefinition, asked: Sequence[UnitInputs], material: str) -> list[JsonObject]:
    """Return the rows of a prediction entry: inputs, their source, outcome with T² and Q."""
    return [
        {
            "unit": item.unit,
            "source_sha256": item.source,
            "equipment": item.equipment,
            "inputs": item.inputs,
            "problem": item.problem,
            **_outcome(model, item.inputs, material, item.equipment, item.problem),
        }
        for item in asked
    ]


def differing(model: ModelDefinition, entry: TrailEntry) -> tuple[str, ...]:
    """Return the units of a prediction entry whose outcome is not what the model gives for the inputs recorded with it."""
    material = text_of(entry.new.get("material")) or ""
    found = []
    for row in map(as_object, as_list(entry.new.get("units"))):
        equipment, problem = text_of(row.get("equipment")) or "", text_of(row.get("problem")) or ""
        again = _outcome(model, as_object(row.get("inputs")), material, equipment, problem)
        if {name: row.get(name) for name in _OUTCOME} != again:
            found.append(text_of(row.get("unit")) or "a unit without a name")
    return tuple(found)


def misread(model: ModelDefinition, entries: BatchEntries, entry: TrailEntry, trace: Callable[[str], bytes]) -> tuple[str, ...]:
    """Return the units of a prediction entry whose inputs are not those that the trace or the spectrum of the unit gives."""
    known = {(item.unit, item.source): item for item in inputs_for(model, entries, trace)}
    found = []
    for row in map(as_object, as_list(entry.new.get("units"))):
        unit = text_of(row.get("unit")) or "a unit without a name"
        item = known.get((unit, text_of(row.get("source_sha256")) or ""))
        if item is None or (item.inputs, item.equipment, item.problem) != (row.get("inputs"), row.get("equipment"), row.get("problem")):
            found.append(unit)
    return tuple(found)


def _outcome(model: ModelDefinition, inputs: JsonObject, material: str, equipment: str, problem: str) -> JsonObject:
    return outcome_record(Held((problem,)) if problem else evaluate(model, inputs, material=material, equipment=equipment))


def _of_traces(model: ModelDefinition, entries: BatchEntries, trace: Callable[[str], bytes]) -> list[UnitInputs]:
    """One run after the other: a unit is compared with its neighbours of the same run."""
    density, equipment = number_of(entries.ink.get("density")), text_of(entries.batch.get("machine")) or ""
    found = []
    for run in entries.runs:
        readable: dict[str, tuple[TraceFigures, Decimal]] = {}
        sources: dict[str, str] = {}
        problems: dict[str, str] = {}
        for id_, unit in entries.units:
            target, sha256 = number_of(unit.get("target_mass_mg")), _trace_of(entries, id_)
            if not id_.startswith(f"{run}/") or unit.get("mass_mg") is None or target is None or sha256 is None:
                continue
            sources[id_] = sha256
            try:
                readable[id_] = read_trace(trace(sha256)), target
            except TraceUnreadable as error:
                problems[id_] = f"the trace of the unit says nothing: {error}"
        given = features(readable, density) if density is not None else {}
        wanted = [item.name for item in model.plan.inputs]
        for id_, source in sources.items():
            inputs = {name: value for name, value in given.get(id_, {}).items() if name in wanted}
            found.append(UnitInputs(id_, source, inputs, equipment, problems.get(id_, "")))
    return found


def _trace_of(entries: BatchEntries, id_: str) -> str | None:
    sealed = [sha256 for entry in entries.cell.of("unit", id_) for name, sha256 in entry.attachments.items() if name.startswith("traces/")]
    return sealed[-1] if sealed else None


def _of_spectra(model: ModelDefinition, entries: BatchEntries) -> list[UnitInputs]:
    (name,) = [item.name for item in model.plan.inputs if item.axis is not None][:1] or [""]
    found = []
    for id_, _ in entries.units:
        for entry in entries.workstation.of(SPECTRUM, id_):
            if entry.kind != EventKind.UNIT_SPECTRUM_RECORDED:
                continue
            values: JsonValue = as_list(entry.new.get("values"))
            equipment = f"{text_of(entry.new.get('probe_model')) or ''} {text_of(entry.new.get('probe_serial')) or ''}".strip()
            problem = "the detector was saturated" if entry.new.get("saturated") is not False else ""
            found.append(UnitInputs(id_, entry.digest, {name: values}, equipment, problem))
    return found
