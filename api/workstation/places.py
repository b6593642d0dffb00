"""The pages of the workstation: where each is, what it is called, and who may see it."""

from __future__ import annotations

import re
from dataclasses import dataclass

from api.security import Permission
from api.workstation.words import marked


@dataclass(frozen=True, slots=True)
class Place:
    """One page: its path, its name in the list of pages, its title, and the permission without which it is not shown.

    `stays`: it shows how the runs stand, and does so in a locked session too; any other may show what is for one person's eyes.
    """

    path: str
    name: str
    title: str
    permission: Permission = Permission.SEE
    stays: bool = False


CELL = Place("/", marked("Cell"), marked("Cell"), stays=True)
"""The page of a cell, which is in no list: the cells themselves lead to it."""

TODAY = Place("/today", marked("Today"), marked("Today"), stays=True)
"""Where log-in leads."""

PLACES = (
    TODAY,
    Place("/new", marked("New batch"), marked("New batch")),
    Place("/batches", marked("Batches"), marked("Batches")),
    Place("/inks", marked("Inks"), marked("Inks and cartridges")),
    Place("/recipes", marked("Recipes"), marked("Recipes")),
    Place("/equipment", marked("Equipment"), marked("Equipment")),
    Place("/models", marked("Models"), marked("Process models")),
    Place("/trends", marked("Trends"), marked("Trends")),
    Place("/trail", marked("Trail"), marked("Trail"), Permission.SEARCH_TRAIL),
    Place("/recall", marked("Recall"), marked("Recall")),
    Place("/people", marked("People"), marked("People and training")),
    Place("/account", marked("Account"), marked("My account")),
)


def place_of(path: str) -> Place:
    """Return the page at a path. Raises KeyError for one that is not a page beside the cell's."""
    return {place.path: place for place in PLACES}[path]


_QUERY = re.compile(r"[A-Za-z0-9._~%=&+-]{0,400}")
LONGEST_WAY = 440


def way_back(address: str) -> str:
    """Return an address of this workstation's own pages, its query with it where it is short and plain; else "/".

    An address of anywhere else never passes: the path is that of a page, and nothing that a query may hold leads out of it.
    """
    path, _, query = address.partition("?")
    if path not in {place.path for place in (CELL, *PLACES)}:
        return CELL.path
    return f"{path}?{query}" if query and _QUERY.fullmatch(query) else path
