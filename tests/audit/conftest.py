"""Stores to test with, on both engines: a new one, and a small one that has rows in every table."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from audit.checkpoint import SigningKey
from audit.clock import SystemClock
from audit.events import SYSTEM, Actor, EntryDraft, EventKind, Subject
from audit.identity import Identity, Role
from audit.patients import PatientVault
from audit.places import Place
from audit.sealed_keys import KdfCost
from audit.store import TrailStore
from tests.audit.engines import Engine, PostgresEngine, SqliteEngine
from tests.audit.postgres_server import running_server

ORIGIN = "site.example/ws"
KEY = SigningKey.from_seed(ORIGIN, bytes(range(32)))
CLOCK = SystemClock(zone="Europe/Paris", sync="synchronised")
CHEAP = KdfCost(passes=1, memory_kib=8, lanes=1)
PASSWORD = "twelve letters or more"
ADMIN = Actor("admin", "Admin Account", "administrator")
OPERATOR = Actor("operator", "Operator Account", "operator")


def new_store(place: Place, *, demonstration: bool = True) -> TrailStore:
    return TrailStore.create(place, origin=ORIGIN, key=KEY, clock=CLOCK, software="dosewright test", demonstration=demonstration)


def open_store(place: Place) -> TrailStore:
    return TrailStore.open(place, key=KEY, clock=CLOCK, software="dosewright test")


def place_of(store: TrailStore) -> str:
    return str(store.database)


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


def write_full(place: Place) -> None:
    """Make a store with rows in every table, and close it."""
    with new_store(place) as opened:
        identity = Identity(opened, CLOCK, cost=CHEAP)
        identity.create_person("admin", "Admin Account", [Role.ADMINISTRATOR], PASSWORD, SYSTEM)
        identity.create_person("operator", "Operator Account", [Role.OPERATOR], PASSWORD, ADMIN)
        vault = PatientVault(bytes(32))
        for n in range(3):
            vault.record(opened, f"P{n}", {"name": "Test Patient"}, actor=OPERATOR, device="ws")
            opened.append(judged(n))
        opened.checkpoint()
        opened.append(judged(1, "467.3"))


@pytest.fixture(scope="session")
def templates() -> dict[tuple[str, str], Place]:
    """Stores that are made once and copied for each test."""
    return {}


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """The URL of a database of a server that runs as long as the tests of this process."""
    with running_server() as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def engine(request: pytest.FixtureRequest, tmp_path: Path, templates: dict[tuple[str, str], Place]) -> Iterator[Engine]:
    """Each engine in turn."""
    if request.param == "sqlite":
        yield SqliteEngine(tmp_path, templates)
        return
    made = PostgresEngine(request.getfixturevalue("postgres_url"), templates)
    yield made
    made.close()


ON_SQLITE = pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
ON_POSTGRESQL = pytest.mark.parametrize("engine", ["postgresql"], indirect=True)


@pytest.fixture
def store(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TrailStore]:
    """A new store, open for writing."""
    template = engine.template("new", lambda place: new_store(place).close(), tmp_path_factory.getbasetemp())
    with open_store(engine.copy(template, "trail")) as opened:
        yield opened


@pytest.fixture
def full_template(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Place:
    return engine.template("full", write_full, tmp_path_factory.getbasetemp())


@pytest.fixture
def full(engine: Engine, full_template: Place) -> Place:
    """A closed store with rows in every table."""
    return engine.copy(full_template, "full")


@pytest.fixture
def full_path(tmp_path: Path, templates: dict[tuple[str, str], Place], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A closed store in a file, with rows in every table: for what only files have."""
    engine = SqliteEngine(tmp_path, templates)
    template = engine.template("full", write_full, tmp_path_factory.getbasetemp())
    return Path(engine.copy(template, "full"))
