"""Recipes and their life cycle; ink lots and cartridges, to be read."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Depends, Response
from pydantic import BaseModel, ConfigDict, Field

from api.access import Credentials
from api.dependencies import Answer, Answers, Services
from api.paging import PAGED, Page, by
from api.security import Permission, Session, guard
from audit.events import EventKind
from recipes.bundle_file import LARGEST_BUNDLE_FILE
from recipes.store import LARGEST_FILE, LARGEST_SOLID

router = APIRouter(prefix="/api/v1", tags=["recipes"])
_REFUSED = EventKind.RECIPE_REQUEST_REFUSED
_See = Annotated[Session, Depends(guard(Permission.SEE))]
_Draft = Annotated[Session, Depends(guard(Permission.CHANGE_RECIPES, EventKind.RECIPE_VERSION_DRAFTED, _REFUSED))]
_Submit = Annotated[Session, Depends(guard(Permission.CHANGE_RECIPES, EventKind.RECIPE_VERSION_SUBMITTED, _REFUSED))]
_Return = Annotated[Session, Depends(guard(Permission.CHANGE_RECIPES, EventKind.RECIPE_VERSION_RETURNED, _REFUSED))]
_Approve = Annotated[Session, Depends(guard(Permission.CHANGE_RECIPES, EventKind.RECIPE_VERSION_APPROVED, _REFUSED))]
_Effective = Annotated[
    Session,
    Depends(
        guard(Permission.CHANGE_RECIPES, EventKind.RECIPE_VERSION_EFFECTIVE, EventKind.RECIPE_VERSION_SUPERSEDED, _REFUSED),
    ),
]
_Retire = Annotated[Session, Depends(guard(Permission.CHANGE_RECIPES, EventKind.RECIPE_VERSION_RETIRED, _REFUSED))]
_Develop = Annotated[Session, Depends(guard(Permission.CHANGE_RECIPES, EventKind.RECIPE_DEVELOPMENT_OPENED, _REFUSED))]
_Export = Annotated[Session, Depends(guard(Permission.CHANGE_RECIPES, EventKind.RECIPE_BUNDLE_EXPORTED, _REFUSED))]
_Import = Annotated[Session, Depends(guard(Permission.CHANGE_RECIPES, EventKind.RECIPE_BUNDLE_IMPORTED, _REFUSED))]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class NewVersion(_Body):
    """A recipe file as text, why this version is written, and in base64 the STL file that it binds."""

    recipe_toml: str = Field(max_length=LARGEST_FILE)
    solid: str | None = Field(default=None, max_length=LARGEST_SOLID)
    reason: str = Field(min_length=1, max_length=500)


class Signed(_Body):
    signature: Credentials


class SignedWithReason(_Body):
    reason: str = Field(min_length=1, max_length=500)
    signature: Credentials


class MakeEffective(_Body):
    """`review_by` ISO date, a year from now where it is empty; `batches` the confirmatory batches that it rests on."""

    reason: str = Field(min_length=1, max_length=500)
    review_by: str = Field(default="", max_length=10)
    batches: tuple[str, ...] = Field(default=(), max_length=20)
    signature: Credentials


class BundleText(_Body):
    """A bundle file as it was exported, as text."""

    bundle: str = Field(max_length=LARGEST_BUNDLE_FILE)


@router.get("/recipes", responses=PAGED)
def recipes(services: Services, session: _See, page: Page) -> Answers:
    """List recipe versions with digest and status."""
    return page.page(services.recipes.versions.states(), by("id", "version"))


@router.get("/recipes/{recipe}")
def recipe(services: Services, session: _See, recipe: str) -> Answer:
    """Return the effective version of a recipe with its signatures."""
    return services.shelf.bundle(recipe)


@router.post("/recipe-versions", status_code=HTTPStatus.CREATED)
def draft(services: Services, session: _Draft, body: NewVersion) -> Answer:
    """Write down a version as a draft; the answer is its difference from the former one."""
    return services.recipes.draft(session, body.recipe_toml, body.reason, body.solid)


@router.get("/recipe-versions/{version}")
def version(services: Services, session: _See, version: str) -> Answer:
    """Return one version (`id@version`): content, signatures, life so far, and the steps from here with what stands against each."""
    return services.recipes.view(session, version)


@router.get("/recipe-versions/{version}/difference")
def difference(services: Services, session: _See, version: str, other: str | None = None) -> Answer:
    """Return field by field what differs from another version, or from the one that it follows."""
    return services.recipes.difference(version, other)


@router.post("/recipe-versions/{version}/submit")
def submit(services: Services, session: _Submit, version: str, body: Signed) -> Answer:
    """Sign as the author and hand in for review."""
    return services.recipes.submit(session, version, body.signature)


@router.post("/recipe-versions/{version}/return")
def give_back(services: Services, session: _Return, version: str, body: SignedWithReason) -> Answer:
    return services.recipes.give_back(session, version, body.signature, body.reason)


@router.post("/recipe-versions/{version}/approve")
def approve(services: Services, session: _Approve, version: str, body: Signed) -> Answer:
    """Approve, as another person than the author."""
    return services.recipes.approve(session, version, body.signature)


@router.post("/recipe-versions/{version}/effective")
def effective(services: Services, session: _Effective, version: str, body: MakeEffective) -> Answer:
    """Make effective in place of the former version, and tell the cells."""
    return services.recipes.make_effective(
        session, version, body.signature, reason=body.reason, review_by=body.review_by, batches=body.batches
    )


@router.post("/recipe-versions/{version}/retire")
def retire(services: Services, session: _Retire, version: str, body: SignedWithReason) -> Answer:
    """Withdraw for good, and tell the cells."""
    return services.recipes.retire(session, version, body.signature, body.reason)


@router.post("/recipe-versions/{version}/development")
def develop(services: Services, session: _Develop, version: str, body: Signed) -> Answer:
    """Open for development runs, as a process engineer; nothing of them is for patients."""
    return services.recipes.open_for_development(session, version, body.signature)


@router.post("/recipe-versions/{version}/export")
def export(services: Services, session: _Export, version: str) -> Response:
    """Return the signed bundle as a file."""
    data = services.recipes.export(session, version)
    headers = {"Content-Disposition": f'attachment; filename="{version}.recipe.json"'}
    return Response(data, media_type="application/json", headers=headers)


@router.post("/recipe-bundles", status_code=HTTPStatus.CREATED)
def take_in(services: Services, session: _Import, body: BundleText) -> Answer:
    """Take in a signed bundle of another site, as approved."""
    return services.recipes.take_in(session, body.bundle.encode("utf-8"))


@router.get("/inks", responses=PAGED)
def inks(services: Services, session: _See, page: Page) -> Answers:
    return page.page(services.shelf.inks(), by("lot"))


@router.get("/cartridges", responses=PAGED)
def cartridges(services: Services, session: _See, page: Page) -> Answers:
    return page.page(services.shelf.cartridges(), by("serial"))
