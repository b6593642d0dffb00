"""Process models in use: spectra recorded, predictions made of a batch, reference checks, and the suspension that monitoring leads to."""

from __future__ import annotations

import threading
from collections.abc import Callable
from decimal import Decimal

from pydantic import BaseModel, ConfigDict, Field

from api.access import actor_of
from api.allowed import Acts, Against, against, refuse
from api.cells import CellDirectory
from api.errors import InputInvalid, NotFound, WrongState
from api.model_register import ModelRegister, ModelVersion, mean_t2
from api.people import DEVICE
from api.release_desk import ReleaseDesk
from api.security import Permission, Session
from audit.canonical import JsonObject, JsonValue
from audit.errors import DosewrightError, ModelRefused
from audit.events import Actor, EntryDraft, EventKind, Subject
from audit.quantities import EXACT, QuantityError, decimal_from_text, plain_text
from audit.release.evidence import BatchEntries
from audit.release.model_evaluation import Held, check_vectors, evaluate
from audit.release.model_monitoring import drift, residual_signals
from audit.release.model_predictions import SPECTRUM, SUBJECT, inputs_for, predicted, prediction_id
from audit.release.release_rules import read_rules
from audit.release.trail_view import text_of
from audit.store import TrailStore

_MOST_PLACES = 4096


class UnitSpectrum(BaseModel):
    """A spectrum of one unit (`<run>/<n>`) as the probe gave it: its identity, its scan number, decimal text at each place of its axis."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    unit: str = Field(min_length=1, max_length=100)
    probe_model: str = Field(min_length=1, max_length=100)
    probe_serial: str = Field(min_length=1, max_length=100)
    scan: int = Field(ge=0, le=10**12)
    saturated: bool
    values: list[str] = Field(min_length=2, max_length=_MOST_PLACES)


class ReferenceCheck(BaseModel):
    """One sample measured by the model's inputs and by its reference method (value in the unit of the model's output)."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    sample: str = Field(min_length=1, max_length=200)
    inputs: dict[str, str | list[str]] = Field(max_length=64)
    reference: str = Field(min_length=1, max_length=40)
    method: str = Field(min_length=1, max_length=200)
    report: str = Field(min_length=1, max_length=200)


class ModelUse:
    """What is done with models that are effective.

    Lifetime: that of the workstation. Concurrency: predictions of a batch under the turn of its cell; one lock for checks, so that a
    signal is judged on all of them.
    """

    def __init__(self, store: TrailStore, cells: CellDirectory, release: ReleaseDesk, register: ModelRegister) -> None:
        self._store = store
        self._cells = cells
        self._release = release
        self._register = register
        self._lock = threading.RLock()

    def record_spectra(self, session: Session, batch_id: str, spectra: list[UnitSpectrum]) -> JsonObject:
        """Record spectra of units of a batch, all of them or none. Raises InputInvalid, NotFound for a unit that is not of the batch."""
        actor = actor_of(session, Permission.MEASURE)
        with self._release.turn(batch_id):
            refuse(self._against_adding(session, batch_id))
            entries = self._release.entries(batch_id)
            known = {id_ for id_, _ in entries.units}
            drafts = []
            for spectrum in spectra:
                if spectrum.unit not in known:
                    raise NotFound(f"Batch {batch_id} has no unit {spectrum.unit}.", remedy="Look at the numbers on the plate map.")
                new: JsonObject = {"batch": batch_id, **spectrum.model_dump(exclude={"values"}), "values": [*_numbers(spectrum.values)]}
                subject = Subject(SPECTRUM, spectrum.unit)
                drafts.append(EntryDraft(EventKind.UNIT_SPECTRUM_RECORDED, subject, new, actor, DEVICE, unit={"values": "AU"}))
            self._store.append(*drafts)
        return {"batch": batch_id, "spectra": len(drafts)}

    def predict(self, session: Session, batch_id: str) -> JsonObject:
        """Have every model that the batch's recipe names predict its units, from what was sealed and measured. May be done again.

        A model that is not in use, or of which nothing was measured, is said and left out; the batch stays held by it. Raises WrongState
        before a run was closed, CellUnreachable, CellTrailInvalid.
        """
        actor = actor_of(session, Permission.MEASURE)
        with self._release.turn(batch_id):
            refuse(self._against_predicting(session, batch_id))
            entries = self._release.entries(batch_id)
            made: JsonObject = {}
            for rule in read_rules(entries.fact("release_rules")).models:
                made[rule.model] = self._predict(entries, rule.model, actor)
        return {"batch": batch_id, "models": made}

    def when_closed(self, session: Session, batch_id: str) -> JsonObject:
        """Predict a batch whose run has just been closed; what stands in the way is said, and may be made good by `predict`."""
        entries = self._release.entries(batch_id)
        if not read_rules(entries.fact("release_rules")).models:
            return {}
        try:
            return {"models": self.predict(session, batch_id)["models"]}
        except DosewrightError as error:
            return {"models": f"not predicted: {error.message}"}

    def allowed(self, session: Session, batch_id: str) -> Acts:
        """Return what stands against this person adding spectra to a batch, and having it predicted."""
        return {"spectra": self._against_adding(session, batch_id), "predictions": self._against_predicting(session, batch_id)}

    def _against_adding(self, session: Session, batch_id: str) -> Against:
        return against(lambda: session.role_for(Permission.MEASURE), lambda: self._unsigned(batch_id))

    def _against_predicting(self, session: Session, batch_id: str) -> Against:
        return self._against_adding(session, batch_id) + against(lambda: self._closed(batch_id))

    def _unsigned(self, batch_id: str) -> None:
        batch = self._release.batch(batch_id)
        if not isinstance(batch.get("run"), str):
            raise WrongState(f"Batch {batch_id} has no run yet.", remedy="There is nothing to measure before a run.")
        if "disposition" in batch:
            raise WrongState(f"Batch {batch_id} has been signed.", remedy="Nothing is added to the evidence of a signed batch.")

    def _closed(self, batch_id: str) -> None:
        if "cell_root" not in self._release.batch(batch_id):
            raise WrongState(f"The run of batch {batch_id} is not closed.", remedy="Close it first; it is then predicted.")

    def against_checking(self, session: Session, reference: str) -> Against:
        """Return what stands against this person recording a reference check."""
        return against(lambda: session.role_for(Permission.MEASURE), lambda: _in_use(self._register.get(reference)))

    def check(self, session: Session, reference: str, check: ReferenceCheck) -> JsonObject:
        """Record a reference check and judge the residuals so far; a signal suspends the model in the same entry's company.

        Raises InputInvalid, WrongState for a model that is not in use, ModelRefused for inputs outside its domain.
        """
        actor = actor_of(session, Permission.MEASURE)
        with self._lock:
            version = self._register.get(reference)
            refuse(self.against_checking(session, reference))
            model = version.definition
            value = _number(check.reference, "the reference value")
            outcome = evaluate(model, check.inputs)
            if isinstance(outcome, Held):
                raise ModelRefused(
                    f"The sample is outside the domain of {reference}: {'; '.join(outcome.reasons)}.",
                    remedy="Check it with a sample inside.",
                )
            residual = EXACT.subtract(outcome.value, value)
            new: JsonObject = {
                "checked_sample": check.sample,
                "checked_by_method": check.method,
                "checked_report": check.report,
                "checked_inputs": {name: check.inputs[name] for name in sorted(check.inputs)},
                "checked_prediction": plain_text(outcome.value),
                "checked_reference": plain_text(value),
                "residual": plain_text(residual),
            }
            unit = dict.fromkeys(("checked_prediction", "checked_reference", "residual"), model.plan.output.unit)
            signals = residual_signals(model, [*self._register.residuals(reference), residual])
            subject = Subject("model", reference)
            drafts = [EntryDraft(EventKind.MODEL_REFERENCE_CHECKED, subject, new, actor, DEVICE, unit=unit)]
            drafts += _suspension(version, signals, actor)
            self._store.append(*drafts)
        return {"model": reference, "residual": new["residual"], "prediction": new["checked_prediction"], "signals": list(signals)}

    def monitoring(self, reference: str) -> JsonObject:
        """Return how a model fares: residuals, batches since the last check, EWMA of T² and what each signals. Raises NotFound."""
        version = self._register.get(reference)
        residuals = self._register.residuals(reference)
        since, means = self._register.predicted_batches(reference)
        level, drifting = drift(version.definition, list(means.values()))
        return {
            "model": reference,
            "suspended": version.suspended,
            "residuals": [plain_text(value) for value in residuals],
            "residual_signals": list(residual_signals(version.definition, residuals)),
            "batches_since_check": len(since),
            "check_every_batches": version.definition.plan.monitoring.check_every_batches,
            "mean_t2": {batch: plain_text(value) for batch, value in means.items()},
            "t2_ewma": plain_text(level),
            "t2_limit": plain_text(version.definition.computation.t2_limit),
            "drift_signals": list(drifting),
        }

    def _predict(self, entries: BatchEntries, reference: str, actor: Actor) -> JsonValue:
        version = self._register.find(reference)
        if version is None:
            return "not here: the workstation knows no such model"
        if version.status != "effective" or version.suspended is not None:
            return f"not in use: {version.status}{'' if version.suspended is None else f', suspended ({version.suspended})'}"
        model = version.definition
        if problems := check_vectors(model):
            return "; ".join(problems)
        asked = inputs_for(model, entries, self._trace(entries))
        if not asked:
            return "nothing was measured of the batch that it could be asked about"
        since, means = self._register.predicted_batches(reference)
        material = text_of(entries.ink.get("ink")) or ""
        rows = predicted(model, asked, material)
        new: JsonObject = {
            "batch": entries.batch_id,
            "model": reference,
            "model_digest": model.digest,
            "impact": model.plan.impact,
            "quantity": model.plan.output.quantity,
            "unit_of_prediction": model.plan.output.unit,
            "material": material,
            "batches_since_check": sum(batch != entries.batch_id for batch in since),
            "units": list(rows),
        }
        subject = Subject(SUBJECT, prediction_id(entries.batch_id, reference))
        average = mean_t2(new)
        means |= {} if average is None else {entries.batch_id: average}
        _, signals = drift(model, list(means.values()))
        drafts = [EntryDraft(EventKind.MODEL_PREDICTION_RECORDED, subject, new, actor, DEVICE), *_suspension(version, signals, actor)]
        self._store.append(*drafts)
        held = sum(row.get("outcome") == "held" for row in rows)
        return {"units": len(asked), "held": held, "signals": list(signals)}

    def _trace(self, entries: BatchEntries) -> Callable[[str], bytes]:
        return self._cells.client(text_of(entries.batch.get("cell")) or "").blob


def _suspension(version: ModelVersion, signals: tuple[str, ...], actor: Actor) -> list[EntryDraft]:
    """Return the entry that suspends a model for what monitoring signals; none where nothing is signalled, or it is suspended already."""
    if not signals or version.suspended is not None:
        return []
    reason = "; ".join(signals)
    subject, new = Subject("model", version.reference), {"suspended": reason[:500]}
    return [EntryDraft(EventKind.MODEL_VERSION_SUSPENDED, subject, new, actor, DEVICE, reason=reason)]


def _in_use(version: ModelVersion) -> None:
    if version.status != "effective":
        raise WrongState(f"{version.reference} is {version.status}.", remedy="Check a model that is in use.")


def _numbers(texts: list[str]) -> list[str]:
    return [plain_text(_number(text, "a value of the spectrum")) for text in texts]


def _number(text: str, what: str) -> Decimal:
    try:
        return decimal_from_text(text, what)
    except QuantityError as error:
        raise InputInvalid(f"{error}.", remedy="Write plain decimals, as the instrument gives them.") from error
