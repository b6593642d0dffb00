"""Under which law a recipe may be printed, and what follows from it: who releases, with which words, label and retention.

*Certified by a QP* and *real-time release* are words of the law on manufacturing authorisations. They appear only where the
recipe says that this place is authorised for them; everywhere else a batch is released by a pharmacist on the weight of every unit.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

LegalRoute = Literal["magistral", "officinal", "investigational", "uk_point_of_care"]
Authorisation = Literal["certified by a QP", "real-time release"]

PHARMACIST_RELEASE = "pharmacist release, 100 % weighing"
CERTIFIED: Authorisation = "certified by a QP"
REAL_TIME: Authorisation = "real-time release"


@dataclass(frozen=True, slots=True)
class Route:
    """One route: its title, what may be authorised under it, the line on the label, how long records are kept, and the source.

    `retention_years` counts from the release. Where no source states a time it is illustrative, and the site's law decides.
    """

    title: str
    may: frozenset[Authorisation]
    label: str
    retention_years: int
    source: str


ROUTES: dict[LegalRoute, Route] = {
    "magistral": Route(
        "magistral preparation",
        frozenset(),
        "Prepared in the pharmacy for the patient named",
        5,
        "Directive 2001/83/EC article 3(1); retention illustrative",
    ),
    "officinal": Route(
        "officinal preparation",
        frozenset(),
        "Prepared in the pharmacy",
        5,
        "Directive 2001/83/EC article 3(2); retention illustrative",
    ),
    "investigational": Route(
        "investigational medicinal product",
        frozenset((CERTIFIED, REAL_TIME)),
        "For clinical trial use only",
        25,
        "Regulation (EU) No 536/2014 articles 58, 61 to 63, annex VI",
    ),
    "uk_point_of_care": Route(
        "point of care product under a UK licence",
        frozenset((CERTIFIED, REAL_TIME)),
        "Made at the point of care under a manufacturer's licence (POC)",
        5,
        "SI 2025/87, Human Medicines Regulations 2012 regulations 17A, 17B, 170B",
    ),
}


@dataclass(frozen=True, slots=True)
class ReleaseRule:
    """Who signs a release, with which words, and what the label says. `roles` are those that may sign."""

    title: str
    roles: frozenset[str]
    statement: str
    label: str
    retention_years: int


def release_rule(route: LegalRoute, authorised: Collection[Authorisation], *, theoretical: bool = False) -> ReleaseRule:
    """Return what a release under this route is. `theoretical`: an ink was prepared on site and not assayed.

    Raises ValueError where something is claimed that this route does not know.
    """
    found = ROUTES[route]
    if refused := sorted(set(authorised) - found.may):
        raise ValueError(f"{', '.join(refused)} is not for a {found.title}")
    if theoretical and REAL_TIME in authorised:
        raise ValueError("an ink of theoretical strength is not for real-time release: nobody has assayed it")
    certified = CERTIFIED in authorised
    words = [CERTIFIED if certified else PHARMACIST_RELEASE]
    if REAL_TIME in authorised:
        words.append(REAL_TIME)
    if theoretical:
        words.append("theoretical strength: the ink was prepared on site and not assayed")
    roles = frozenset(("qualified_person",)) if certified else frozenset(("pharmacist",))
    return ReleaseRule(found.title, roles, "; ".join(words), found.label, found.retention_years)
