"""The two models as fitted from the data sets here, and the entries of a model and its predictions as a workstation writes them."""

from __future__ import annotations

import functools
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

from api.model_fitting import fit_model
from audit.canonical import JsonObject
from audit.events import SYSTEM, EntryDraft, EventKind, Subject
from audit.release.evidence import BatchEntries
from audit.release.model_predictions import inputs_for, predicted, prediction_id
from audit.release.model_testing import DataSet, read_data_set
from audit.release.process_models import ModelDefinition, ModelPlan, read_plan
from audit.release.trail_view import TrailView
from recipes.figures import read_toml

DATA = Path(__file__).with_name("data")
PROBE = ("BENCH-NIR", "N000000001")


@functools.cache
def data_set(name: str) -> DataSet:
    return read_data_set(json.loads((DATA / f"{name}.json").read_bytes()))


@functools.cache
def plan_of(name: str) -> ModelPlan:
    path = Path(__file__).resolve().parents[2] / "recipes" / "library" / "models" / f"{name}.toml"
    return read_plan(read_toml(path.read_bytes(), path.name))


@functools.cache
def fitted(name: str) -> ModelDefinition:
    return fit_model(plan_of(name), data_set(f"{name}-training"))


def of_sample_batch(model: ModelDefinition, **changes: Any) -> ModelDefinition:
    """The model as it would be for the ink and the machine of the sample batch of `tests/release`."""
    covered = {"materials": ("cyclophosphamide-paste",), "equipment": (" ".join(PROBE), "sse-10ml@1")}
    plan = model.plan.model_copy(update={"covered": model.plan.covered.model_copy(update=covered), **changes})
    return ModelDefinition.model_validate(model.model_copy(update={"plan": plan}).as_record())


def rule(model: ModelDefinition, tolerance: str | None = "7.5", **changes: str) -> JsonObject:
    return {
        "model": model.reference,
        "digest": model.digest,
        **({} if tolerance is None else {"tolerance_percent": tolerance}),
        **changes,
    }


def spectra_near(strength: str, count: int, data: str = "nir-strength-test") -> list[list[str]]:
    """Spectra of units of the bench whose strength comes nearest to one in mg/g; the three nearest, over and over."""
    order = sorted(data_set(data).samples, key=lambda sample: abs(sample.reference - Decimal(strength)))
    return [[str(value) for value in order[at % 3].named_inputs["absorbance"]] for at in range(count)]


@dataclass
class ModelStory:
    """What happens to a model around a batch. `omit` leaves out a step; `spectra`: one for each unit; `after`: entries that come last."""

    model: ModelDefinition
    spectra: Sequence[Sequence[str]] = ()
    omit: str = ""
    since_check: int = 0
    alter: dict[str, Any] = field(default_factory=dict)
    suspended: str | None = None
    suspended_before: bool = False
    saturated: tuple[int, ...] = ()

    def __call__(self, batch: Any) -> None:
        store, name = batch.workstation, self.model.reference

        def say(kind: EventKind, new: JsonObject, subject: Subject | None = None) -> None:
            store.append(EntryDraft(kind, subject or Subject("model", name), new, SYSTEM, "ws"))

        if self.omit == "model":
            return
        definition = self.model.as_record()
        say(
            EventKind.MODEL_VERSION_DRAFTED,
            {"id": self.model.plan.id, "status": "draft", "digest": self.model.digest, "definition": definition},
        )
        if self.omit != "effective":
            say(EventKind.MODEL_VERSION_EFFECTIVE, {"status": "effective", "suspended": None})
        if self.suspended_before:
            say(EventKind.MODEL_VERSION_SUSPENDED, {"suspended": "the probe was dropped"})
        self.measure(batch, self.spectra, self.saturated)
        if self.omit != "prediction":
            self.predict(batch)
        if self.suspended_before:
            say(EventKind.MODEL_VERSION_REINSTATED, {"suspended": None})
        if self.suspended is not None:
            say(EventKind.MODEL_VERSION_SUSPENDED, {"suspended": self.suspended})

    def measure(self, batch: Any, spectra: Sequence[Sequence[str]], saturated: tuple[int, ...] = (), first: int = 1) -> None:
        for n, values in enumerate(spectra, start=first):
            new: JsonObject = {"batch": batch.batch, "probe_model": PROBE[0], "probe_serial": PROBE[1], "scan": n, "values": list(values)}
            new |= {"saturated": n in saturated}
            subject = Subject("spectrum", f"B-1-R1/{n:03d}")
            batch.workstation.append(EntryDraft(EventKind.UNIT_SPECTRUM_RECORDED, subject, new, SYSTEM, "ws"))

    def predict(self, batch: Any) -> None:
        views = [TrailView(lines) for lines in batch.lines()]
        entries = BatchEntries(*views, batch.batch)
        material = str(entries.ink.get("ink"))
        rows = predicted(self.model, inputs_for(self.model, entries, batch.cell.blob), material)
        for row in rows:
            row.update(self.alter)
        new: JsonObject = {
            "batch": batch.batch,
            "model": self.model.reference,
            "model_digest": self.model.digest,
            "material": material,
            "batches_since_check": self.since_check,
            "units": list(rows),
        }
        subject = Subject("prediction", prediction_id(batch.batch, self.model.reference))
        batch.workstation.append(EntryDraft(EventKind.MODEL_PREDICTION_RECORDED, subject, new, SYSTEM, "ws"))
