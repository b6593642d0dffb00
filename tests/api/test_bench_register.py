"""The register of a demonstration cell: made from the accounts there are, believed once quality assurance has signed it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from api import bench_register, cli
from api import site as sites
from api.access import Credentials
from api.bench_register import BenchRegisters
from api.errors import WrongState
from api.security import Session
from api.site import create_site
from api.wiring import Workstation, build_workstation
from audit.clock import SystemClock, UtcReading
from audit.errors import RoleMissing
from audit.events import SYSTEM, Actor
from audit.identity import Identity, Role
from printer.admission import read_trusted_people
from printer.register_file import judge_register, read_register_file
from recipes.library import recipe_ids
from tests.audit.conftest import CHEAP

PASSWORDS = {name: f"{name[::-1]} walked to the harbour" for name in ("administrator", "operator", "quality")}


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[Workstation]:
    create_site(tmp_path / "site", empty=True)
    workstation = build_workstation(tmp_path / "site")
    yield workstation
    workstation.close()


def with_people(workstation: Workstation) -> Identity:
    identity = Identity(workstation.store, workstation.clock)
    by = SYSTEM
    for username, password in PASSWORDS.items():
        role = Role.QUALITY_ASSURANCE if username == "quality" else Role(username)
        identity.create_person(username, f"Test {username}", [role], password, by)
        by = Actor("administrator", "Test administrator", Role.ADMINISTRATOR.value)
    return identity


def session(workstation: Workstation, username: str) -> Session:
    token, _ = workstation.people.log_in(username, PASSWORDS[username])
    found = workstation.sessions.find(token)
    assert found is not None
    return replace(found, at_page=True)


def register(workstation: Workstation) -> Any:
    folder = workstation.settings.folder / "cell-1"
    trusted = read_trusted_people(folder / "trusted" / "people.json")
    return judge_register(read_register_file(folder / "equipment.json"), cell="cell-1", trusted=trusted)


def test_an_empty_demonstration_has_nobody_and_only_drafts_that_nobody_signed(empty: Workstation) -> None:
    assert empty.people.people() == []
    states = empty.recipes.versions.states()
    assert {str(state["id"]) for state in states} == set(recipe_ids())
    assert {(state["status"], state["author"], state["approver"]) for state in states} == {("draft", None, None)}
    assert empty.shelf.inks() == []
    assert register(empty).register is None
    assert [(item.is_ready, item.register) for item in empty.bench_registers.standings()] == [(False, "")]


def test_what_quality_assurance_signs_is_believed_by_the_cell_and_names_who_is_there(empty: Workstation) -> None:
    identity = with_people(empty)
    assert empty.bench_registers.standings()[0].unknown == ("operator", "quality")
    empty.bench_registers.sign(session(empty, "quality"), "cell-1", Credentials(password=PASSWORDS["quality"]))
    found = register(empty)
    assert (found.register.version, [item.username for item in found.register.training]) == (1, ["operator"])
    assert empty.bench_registers.standings()[0].is_ready
    # somebody new is not believed before it is signed anew, and then by a register with a number of its own
    by = Actor("administrator", "Test administrator", Role.ADMINISTRATOR.value)
    identity.create_person("helper", "Test helper", [Role.OPERATOR], "the harbour is far from here", by)
    assert empty.bench_registers.standings()[0].unknown == ("helper",)
    empty.bench_registers.sign(session(empty, "quality"), "cell-1", Credentials(password=PASSWORDS["quality"]))
    assert register(empty).register.version == 2
    trusted = json.loads((empty.settings.folder / "cell-1" / "trusted" / "people.json").read_text())
    assert {person["username"] for person in trusted.values()} == {"operator", "quality", "helper"}


def test_a_lent_role_is_no_role_at_the_cell(empty: Workstation) -> None:
    """The cell's list has no days in it: what is lent until a day never gets into it, by whichever way it is written."""
    identity, folder = with_people(empty), empty.settings.folder
    by = Actor("administrator", "Test administrator", Role.ADMINISTRATOR.value)
    identity.lend_role("operator", "quality_assurance", identity.today().isoformat(), by, "deputy today")
    identity.lend_role("quality", "operator", identity.today().isoformat(), by, "deputy today")
    path, held = folder / "cell-1" / "trusted" / "people.json", {"operator": ["operator"], "quality": ["quality_assurance"]}

    def listed() -> dict[str, list[str]]:
        return {item["username"]: item["roles"] for item in json.loads(path.read_text()).values()}

    empty.bench_registers.sign(session(empty, "quality"), "cell-1", Credentials(password=PASSWORDS["quality"]))
    assert listed() == held and [item.username for item in register(empty).register.training] == ["operator"]
    assert empty.bench_registers.standings()[0].is_ready
    path.write_text("{}")
    empty.close()
    assert cli.run(["site", "trust", str(folder), "--cell", "cell-1"]) == 0
    assert listed() == held


ZONES = [("UTC", "2026-11-30"), ("Europe/Berlin", "2026-12-01"), ("America/New_York", "2026-11-30")]


def days_asked(monkeypatch: pytest.MonkeyPatch, module: Any, zone: str, *names: str) -> list[str]:
    """Set the clock to half an hour before midnight UTC, at a site in this zone; return the days of what is made."""
    days: list[str] = []

    def heard(real: Any) -> Any:
        def made(*given: Any, **named: Any) -> Any:
            days.append(named.get("today") or given[1])
            return real(*given, **named)

        return made

    monkeypatch.setattr(SystemClock, "utc", lambda self: UtcReading("2026-11-30T23:30:00.000000Z", zone, "unknown"))
    for name in names:
        monkeypatch.setattr(module, name, heard(getattr(module, name)))
    return days


@pytest.mark.parametrize(("zone", "day"), ZONES)
def test_it_is_of_the_day_at_the_site(empty: Workstation, monkeypatch: pytest.MonkeyPatch, zone: str, day: str) -> None:
    with_people(empty)
    quality = session(empty, "quality")
    days = days_asked(monkeypatch, bench_register, zone, "demonstration_register")
    empty.bench_registers.sign(quality, "cell-1", Credentials(password=PASSWORDS["quality"]))
    assert days == [day]


@pytest.mark.parametrize(("zone", "day"), ZONES)
def test_a_site_is_laid_out_on_the_day_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, zone: str, day: str) -> None:
    days = days_asked(monkeypatch, sites, zone, "demonstration_register", "demonstration_statement")
    create_site(tmp_path / "other", cost=CHEAP)
    assert len(days) == 1 + len(recipe_ids()) and set(days) == {day}


def test_nobody_else_signs_it_and_a_wrong_password_writes_nothing(empty: Workstation) -> None:
    with_people(empty)
    with pytest.raises(RoleMissing):
        empty.bench_registers.sign(session(empty, "operator"), "cell-1", Credentials(password=PASSWORDS["operator"]))
    with pytest.raises(Exception, match="password"):
        empty.bench_registers.sign(session(empty, "quality"), "cell-1", Credentials(password="not the password"))
    assert register(empty).register is None
    assert read_trusted_people(empty.settings.folder / "cell-1" / "trusted" / "people.json") == {}


def test_a_site_for_patients_has_no_such_register(empty: Workstation) -> None:
    identity = with_people(empty)
    clinical = BenchRegisters(replace_demonstration(empty), empty.people, identity)
    assert clinical.standings() == ()
    with pytest.raises(WrongState, match="no demonstration"):
        clinical.sign(session(empty, "quality"), "cell-1", Credentials(password=PASSWORDS["quality"]))
    assert register(empty).register is None


def replace_demonstration(workstation: Workstation) -> Any:
    return workstation.settings.model_copy(update={"demonstration": False})
