"""Names that every site has, and where a bench is, for who needs no more of a site than these."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

WORKSTATION = "workstation"
CELL = "cell-1"
"""The cell of a site that has one, and the one that pages and demonstrations begin with."""
MOST_CELLS = 16
VERIFIER_KEYS = "site.vkey"


@dataclass(frozen=True, slots=True)
class Bench:
    """What a cell needs to know of its demonstration bench: ports, time port and token."""

    ports: Mapping[str, str]
    time: str
    token: str
