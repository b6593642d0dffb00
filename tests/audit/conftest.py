"""Stores to test with: a small one that has rows in every table."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from audit.checkpoint import SigningKey
from audit.clock import SystemClock
from audit.events import SYSTEM, Actor, EntryDraft, EventKind, Subject
from audit.identity import Identity, Role
from audit.patients import PatientVault
from audit.sealed_keys import KdfCost
from audit.store import TrailStore

ORIGIN = "site.example/ws"
KEY = SigningKey.from_seed(ORIGIN, bytes(range(32)))
CLOCK = SystemClock(zone="Europe/Paris", sync="synchronised")
CHEAP = KdfCost(passes=1, memory_kib=8, lanes=1)
PASSWORD = "twelve letters or more"
ADMIN = Actor("admin", "Admin Account", "administrator")
OPERATOR = Actor("operator", "Operator Account", "operator")


def new_store(path: Path, *, demonstration: bool = True) -> TrailStore:
    return TrailStore.create(path, origin=ORIGIN, key=KEY, clock=CLOCK, software="dosewright test", demonstration=demonstration)


def open_store(path: Path) -> TrailStore:
    return TrailStore.open(path, key=KEY, clock=CLOCK, software="dosewright test")


def judged(n: int, mass: str = "467.2") -> EntryDraft:
    return EntryDraft(
        EventKind.UNIT_WEIGHT_JUDGED,
        Subject("unit", f"R1/{n:03d}"),
        {"state": "judged", "mass_mg": mass, "n": n},
        OPERATOR,
        "cell-1",
        unit={"mass_mg": "mg"},
        attachments={"journal/unit.jsonl": f"{n}\n".encode()},
    )


@pytest.fixture
def store(tmp_path: Path) -> Iterator[TrailStore]:
    with new_store(tmp_path / "trail.db") as opened:
        yield opened


@pytest.fixture
def full_path(tmp_path: Path) -> Path:
    """A closed store with rows in every table."""
    path = tmp_path / "full.db"
    with new_store(path) as opened:
        identity = Identity(opened, CLOCK, cost=CHEAP)
        identity.create_person("admin", "Admin Account", [Role.ADMINISTRATOR], PASSWORD, SYSTEM)
        identity.create_person("operator", "Operator Account", [Role.OPERATOR], PASSWORD, ADMIN)
        vault = PatientVault(bytes(32))
        for n in range(3):
            vault.record(opened, f"P{n}", {"name": "Test Patient"}, actor=OPERATOR, device="ws")
            opened.append(judged(n))
        opened.checkpoint()
        opened.append(judged(1, "467.3"))
    return path
