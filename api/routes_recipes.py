"""Recipes, ink lots and cartridges, to be read."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends

from api.dependencies import Answer, Answers, Services
from api.security import Permission, Session, guard

router = APIRouter(prefix="/api/v1", tags=["recipes"])
_See = Annotated[Session, Depends(guard(Permission.SEE))]


@router.get("/recipes")
def recipes(services: Services, session: _See) -> Answers:
    """List recipe versions with digest and status."""
    return services.shelf.recipes()


@router.get("/recipes/{recipe}")
def recipe(services: Services, session: _See, recipe: str) -> Answer:
    """Return the effective version of a recipe with both of its signatures."""
    return services.shelf.bundle(recipe)


@router.get("/inks")
def inks(services: Services, session: _See) -> Answers:
    return services.shelf.inks()


@router.get("/cartridges")
def cartridges(services: Services, session: _See) -> Answers:
    return services.shelf.cartridges()
