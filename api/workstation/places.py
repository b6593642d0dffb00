"""The pages of the workstation: where each is, what it is called, and who may see it."""

from __future__ import annotations

from dataclasses import dataclass

from api.security import Permission


@dataclass(frozen=True, slots=True)
class Place:
    """One page: its path, its name in the list of pages, its title, and the permission without which it is not shown."""

    path: str
    name: str
    title: str
    permission: Permission = Permission.SEE


CELL = Place("/", "Cell", "Cell")
"""The page of a cell, which is in no list: the cells themselves lead to it."""

TODAY = Place("/today", "Today", "Today")
"""Where log-in leads."""

PLACES = (
    TODAY,
    Place("/new", "New batch", "New batch"),
    Place("/inks", "Inks", "Inks and cartridges"),
    Place("/recipes", "Recipes", "Recipes"),
    Place("/equipment", "Equipment", "Equipment"),
    Place("/models", "Models", "Process models"),
    Place("/trends", "Trends", "Trends"),
    Place("/trail", "Trail", "Trail", Permission.SEARCH_TRAIL),
    Place("/recall", "Recall", "Recall"),
    Place("/people", "People", "People and training"),
    Place("/account", "Account", "My account"),
)


def place_of(path: str) -> Place:
    """Return the page at a path. Raises KeyError for one that is not a page beside the cell's."""
    return {place.path: place for place in PLACES}[path]
