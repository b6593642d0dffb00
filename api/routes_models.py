"""Process models over HTTP: the register, its steps, spectra, predictions, reference checks."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict, Field, JsonValue

from api.access import Credentials
from api.allowed import allowed_actions
from api.dependencies import Answer, Answers, Services
from api.model_use import ReferenceCheck, UnitSpectrum
from api.paging import PAGED, Page, by
from api.security import Permission, Session, guard
from audit.events import EventKind
from audit.release.trail_view import as_object

router = APIRouter(prefix="/api/v1", tags=["models"])
_See = Annotated[Session, Depends(guard(Permission.SEE))]
_Change = Annotated[Session, Depends(guard(Permission.CHANGE_MODELS, EventKind.MODEL_VERSION_DRAFTED))]
_Suspend = Annotated[Session, Depends(guard(Permission.SUSPEND_MODELS, EventKind.MODEL_VERSION_SUSPENDED))]
_Spectra = Annotated[Session, Depends(guard(Permission.MEASURE, EventKind.UNIT_SPECTRUM_RECORDED))]
_Predict = Annotated[Session, Depends(guard(Permission.MEASURE, EventKind.MODEL_PREDICTION_RECORDED))]
_Check = Annotated[Session, Depends(guard(Permission.MEASURE, EventKind.MODEL_REFERENCE_CHECKED))]


class Draft(BaseModel):
    """A definition as `dosewright model fit` writes it, and why it is written."""

    model_config = ConfigDict(extra="forbid")
    definition: dict[str, JsonValue]
    reason: str = Field(max_length=500)


class Test(BaseModel):
    """Independent data, as docs/models.md describes them."""

    model_config = ConfigDict(extra="forbid")
    data: dict[str, JsonValue]


class Signed(BaseModel):
    """A step with its signature, and its reason where it needs one."""

    model_config = ConfigDict(extra="forbid")
    signature: Credentials
    reason: str = Field(default="", max_length=500)


class Why(BaseModel):
    model_config = ConfigDict(extra="forbid")
    reason: str = Field(max_length=500)


class Spectra(BaseModel):
    """Spectra of units of one batch."""

    model_config = ConfigDict(extra="forbid")
    spectra: list[UnitSpectrum] = Field(min_length=1, max_length=1000)


@router.get("/models", responses=PAGED)
def models(services: Services, session: _See, page: Page) -> Answers:
    """List every version of every process model with its state."""
    return page.page(services.models.register.states(), by("id", "version"))


@router.get("/models/{reference}")
def model(services: Services, session: _See, reference: str) -> Answer:
    """Return one version whole: definition, test, life so far, steps from here."""
    shown = services.models.view(session, reference)
    checks = allowed_actions({"checks": services.model_use.against_checking(session, reference)})
    return {**shown, "allowed_actions": {**as_object(shown["allowed_actions"]), **checks}}


@router.get("/models/{reference}/monitoring")
def monitoring(services: Services, session: _See, reference: str) -> Answer:
    """Return residuals of reference checks, the drift of the inputs, and what they signal."""
    return services.model_use.monitoring(reference)


@router.post("/models", status_code=HTTPStatus.CREATED)
def draft(services: Services, session: _Change, body: Draft) -> Answer:
    """Write a fitted model down; from then on its number means this content."""
    return services.models.draft(session, body.definition, body.reason)


@router.post("/models/{reference}/test")
def test(services: Services, session: _Change, reference: str, body: Test) -> Answer:
    """Test a draft on independent data, once; what it shares with the training is refused."""
    return services.models.test(session, reference, body.data)


@router.post("/models/{reference}/submit")
def submit(services: Services, session: _Change, reference: str, body: Signed) -> Answer:
    """Hand a tested model in for review, signed by its author."""
    return services.models.submit(session, reference, body.signature)


@router.post("/models/{reference}/approve")
def approve(services: Services, session: _Change, reference: str, body: Signed) -> Answer:
    """Approve what another person wrote."""
    return services.models.approve(session, reference, body.signature)


@router.post("/models/{reference}/return")
def give_back(services: Services, session: _Change, reference: str, body: Signed) -> Answer:
    """Return a model to its author."""
    return services.models.give_back(session, reference, body.signature, body.reason)


@router.post("/models/{reference}/effective")
def effective(services: Services, session: _Change, reference: str, body: Signed) -> Answer:
    """Take a model into use in place of its former version."""
    return services.models.make_effective(session, reference, body.signature, body.reason)


@router.post("/models/{reference}/retire")
def retire(services: Services, session: _Change, reference: str, body: Signed) -> Answer:
    """Withdraw a model for good."""
    return services.models.retire(session, reference, body.signature, body.reason)


@router.post("/models/{reference}/suspend")
def suspend(services: Services, session: _Suspend, reference: str, body: Why) -> Answer:
    """Take a model out of use until it is reviewed; batches that need it are held."""
    return services.models.suspend(session, reference, body.reason)


@router.post("/models/{reference}/reinstate")
def reinstate(services: Services, session: _Change, reference: str, body: Signed) -> Answer:
    """Take a suspended model into use again, the cause being assigned."""
    return services.models.reinstate(session, reference, body.signature, body.reason)


@router.post("/models/{reference}/checks")
def check(services: Services, session: _Check, reference: str, body: ReferenceCheck) -> Answer:
    """Record a reference check; what it signals suspends the model."""
    return services.model_use.check(session, reference, body)


@router.post("/batches/{batch}/spectra")
def spectra(services: Services, session: _Spectra, batch: str, body: Spectra) -> Answer:
    """Record spectra of units of a batch, all of them or none."""
    return services.model_use.record_spectra(session, batch, body.spectra)


@router.post("/batches/{batch}/predictions")
def predict(services: Services, session: _Predict, batch: str) -> Answer:
    """Have the models that the batch's recipe names predict its units."""
    return services.model_use.predict(session, batch)
