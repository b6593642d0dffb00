"""The cell's door before an external weight: who may enter it, who signed what, and what a start of the cell makes of it."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import external_case as case
import pytest
from simulated_cell import KEYS, ROLES, TRUSTED

from audit.checkpoint import SigningKey
from audit.clock import SystemClock
from audit.signatures import sign_with_key, weight_digest
from audit.store import TrailStore
from printer.door import Door
from printer.errors import CellRefused
from printer.messages import Command
from printer.recovery import plan_recovery
from printer.register_file import judge_register

UNIT = "B-1-R1/001"


class HandOnCell:
    """Answers the door as a cell does, from a run in virtual time."""

    def __init__(self, hand: case.Hand) -> None:
        self.hand = hand
        self.store = SimpleNamespace(state=lambda type_, key: {"recipe": "hydrocortisone@1"})

    def command(self, run: str, command: Command) -> dict[str, object]:
        if reasons := self.hand.cell.machine.refusal(command):
            raise CellRefused(reasons)
        self.hand.cell.give(command)
        return {}


@pytest.fixture
def hand() -> case.Hand:
    hand = case.simulated()
    hand.to_weighing()
    return hand


@pytest.fixture
def door(hand: case.Hand, tmp_path: Path) -> Any:
    trusted = tmp_path / "people.json"
    trusted.write_text(json.dumps({key: {"roles": sorted(roles)} for key, roles in TRUSTED.items()}))
    found: Any = Door(
        HandOnCell(hand),  # type: ignore[arg-type]
        "cell-1",
        case.coarse_machine(),
        trusted,
        tmp_path / "equipment.json",
        demonstration=True,
        rate="1",
    )
    standing = case.standing_with()
    register = judge_register(standing.register_file, cell="cell-1", trusted=TRUSTED)
    found._care = SimpleNamespace(register=lambda: register, standing=lambda: standing, handlers=dict)
    return found


def actor(username: str) -> dict[str, str]:
    return {"username": username, "name": f"Demo {username}", "role": ROLES.get(username, "operator")}


def body(entry: int, value: str, username: str, **changes: Any) -> dict[str, Any]:
    found: dict[str, Any] = {"unit": UNIT, "entry": entry, "attempt": 1, "value_mg": value, "balance_serial": case.SERIAL}
    return found | {"actor": actor(username), "signature": None} | changes


def signed(person: str, value: str, *, unit: str = UNIT, attempt: int = 1, serial: str = case.SERIAL, **changes: Any) -> dict[str, Any]:
    given = {"signer": person, "name": f"Demo {person}", "role": ROLES.get(person, "operator"), **changes}
    signature = sign_with_key(
        given.pop("key", None) or KEYS[person],
        meaning="weight entered",
        digest=weight_digest(unit, attempt, serial, value),
        at="2026-11-20T08:00:00.000000Z",
        zone="UTC",
        scripted=True,
        **given,
    )
    return signature.as_record()


def refusal(door: Any, asked: dict[str, Any]) -> str:
    with pytest.raises(CellRefused) as refused:
        door.handlers()["enter_weight"](asked)
    return "; ".join(refused.value.reasons)


def test_an_operator_and_a_second_person_who_signed_have_the_unit_judged(door: Any, hand: case.Hand) -> None:
    value = hand.weigh()
    door.handlers()["enter_weight"](body(1, value, "operator"))
    # Whoever is logged in at the workstation, the second person is who signed.
    door.handlers()["enter_weight"](body(2, value, "operator", signature=signed("pharmacist", value)))
    assert hand.cell.verdicts() == {1: "accepted"}
    assert [entry.actor.username for entry in hand.cell.kinds("unit.weight.entered")] == ["operator", "pharmacist"]


@pytest.mark.parametrize("person", ["pharmacist", "quality", "stranger"])
def test_the_first_entry_is_a_trained_operators(door: Any, hand: case.Hand, person: str) -> None:
    assert "may not run this cell" in refusal(door, body(1, hand.weigh(), person))


STRANGER = SigningKey.generate("people/stranger")
IMPOSTOR = SigningKey.generate("people/pharmacist")


@pytest.mark.parametrize(
    ("signature", "words"),
    [
        (lambda v: signed("operator", v), "a second person"),
        (lambda v: signed("stranger", v, key=STRANGER), "not trusted"),
        (lambda v: signed("pharmacist", v, key=IMPOSTOR), "not trusted"),
        (lambda v: signed("pharmacist", v, role="qualified_person"), "not trusted"),
        (lambda v: signed("engineer", v), "not trusted"),
        (lambda v: signed("pharmacist", "49.00"), "given for something else"),
        (lambda v: signed("pharmacist", v, unit="B-1-R1/002"), "given for something else"),
        (lambda v: signed("pharmacist", v, attempt=2), "given for something else"),
        (lambda v: signed("pharmacist", v, serial="EXT-0043"), "given for something else"),
        (lambda v: signed("pharmacist", v) | {"name": "Somebody Else"}, "does not match its fields"),
        (lambda v: signed("pharmacist", v) | {"signer": "quality"}, "does not match its fields"),
    ],
)
def test_a_second_entry_that_nobody_of_the_cell_signed_is_refused(door: Any, hand: case.Hand, signature: Any, words: str) -> None:
    value = hand.weigh()
    door.handlers()["enter_weight"](body(1, value, "operator"))
    assert words in refusal(door, body(2, value, "pharmacist", signature=signature(value)))
    assert hand.weighing and hand.cell.verdicts() == {}


def test_a_weight_is_no_plain_command(door: Any) -> None:
    with pytest.raises(CellRefused):
        door.handlers()["command"]({"operation": "enter weight", "run": "B-1-R1", "actor": actor("operator")})


@pytest.mark.parametrize("entered", [0, 1])
def test_a_cell_that_is_started_again_scraps_the_unit_that_waited(hand: case.Hand, tmp_path: Path, entered: int) -> None:
    if entered:
        assert hand.enter(hand.weigh()) == ()
    key = SigningKey.generate("cell-1.example")
    store = TrailStore.create(
        tmp_path / "cell.db", origin="cell-1.example", key=key, clock=SystemClock(), software="test", demonstration=True
    )
    store.append(*hand.cell.entries)
    recovery = plan_recovery(store, "cell-1")
    store.append(*recovery.drafts)
    unit, run = store.state("unit", UNIT), store.state("run", "B-1-R1")
    assert recovery.interrupted and unit is not None and run is not None
    assert (unit["verdict"], unit["mass_mg"], run["ended"]) == ("scrapped", None, "INTERRUPTED")
    assert plan_recovery(store, "cell-1").drafts == ()
    store.close()
