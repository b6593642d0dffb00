"""A prepared run is started, and a paused one resumed, only as the cell stands at that moment; a withdrawal counts whenever it comes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import external_case
import pytest
from simulated_cell import (
    KEYS,
    OPERATOR,
    REGISTER,
    STANDING,
    TODAY,
    TRUSTED,
    SimulatedCell,
    admitted,
    demonstration_job,
    signature,
    signed_register,
)

import printer.door
from audit.canonical import JsonObject
from audit.checkpoint import SigningKey
from audit.clock import SystemClock, UtcReading
from audit.events import EntryDraft, EventKind, Subject
from audit.store import TrailStore
from hil_tests.cases import bench_for
from hil_tests.virtual_bench import VirtualBench
from printer.admission import Admitted, Job
from printer.door import Door
from printer.equipment import EquipmentRegister, KnownRecipe, Standing
from printer.errors import CellRefused, RunMissing
from printer.going_gates import going_reasons
from printer.known_recipes import known_recipes
from printer.messages import Command, Operation
from printer.plan import RunPlan
from printer.run import Phase, RunMachine
from recipes.effectivity import MEANING_EFFECTIVE, MEANING_WITHDRAWN, SignedStatement, SignedWithdrawal, Withdrawal
from recipes.library import load_machine
from recipes.model import parse_recipe
from recipes.store import RecipeBundle

CASE = "minoxidil"
JOB = demonstration_job(CASE)
BUNDLE = JOB.recipe_bundle
assert isinstance(BUNDLE, RecipeBundle) and BUNDLE.effective is not None
RECIPE = parse_recipe(BUNDLE.recipe_toml.encode())
RUN = "B-1-R1"
TOMORROW = "2026-11-21"
ACTOR = {"username": "operator", "name": "Demo Operator", "role": "operator"}


class Room:
    """The door of a cell over a trail of its own, the day that its clock shows, and the run in virtual time behind it."""

    def __init__(self, folder: Path) -> None:
        self.day = TODAY
        self.clock = self
        self.recorder = self
        self.store = TrailStore.create(
            folder / "cell.db", origin="x/cell", key=SigningKey.generate("x/cell"), clock=SystemClock(), software="t", demonstration=True
        )
        self.run: SimulatedCell | None = None
        self._register = folder / "equipment.json"
        self.sign(REGISTER)
        trusted = folder / "people.json"
        trusted.write_text(json.dumps({key: {"roles": sorted(roles)} for key, roles in TRUSTED.items()}))
        self._care_of_today()
        machine = load_machine(RECIPE.machine)
        self.door: Any = Door(self, "cell-1", machine, trusted, self._register, demonstration=True, rate="1")  # type: ignore[arg-type]
        self.handlers = self.door.handlers()

    def _care_of_today(self) -> None:
        check: JsonObject = {"status": "closed", "passed": True, "day": TODAY, "by": "Demo Operator", "reasons": []}
        cleaning: JsonObject = {"cleaned": True, "method": "procedure CL-1", "day": TODAY}
        balance = Subject("balance", REGISTER.balance.serial)
        self.append(
            EntryDraft(EventKind.EQUIPMENT_CHECK_COMPLETED, balance, check, OPERATOR, "cell-1"),
            EntryDraft(EventKind.CELL_CLEANING_COMPLETED, Subject("cell", "cell-1"), cleaning, OPERATOR, "cell-1"),
        )

    def sign(self, register: EquipmentRegister) -> None:
        self._register.write_text(signed_register(register))

    # What the door asks of a cell

    def utc(self) -> UtcReading:
        return UtcReading(f"{self.day}T20:00:00.000000Z", "UTC", "")

    def append(self, *drafts: EntryDraft) -> None:
        self.store.append(*drafts)

    def create(self, plan: RunPlan, command: Command, compiler: object) -> JsonObject:
        assert self.door._recipes.turn.locked(), "no notice about a recipe comes between the judgement and the run"
        self.run = SimulatedCell(RunMachine(plan), VirtualBench(bench_for(CASE)))
        self.run.give(command)
        self.append(*(draft for draft in self.run.entries if draft.kind is EventKind.RUN_RECORD_CREATED))
        return {"state": "CREATED"}

    def command(self, run: str, command: Command) -> JsonObject:
        if self.run is None or run != RUN:
            raise RunMissing("not live", remedy="")
        assert self.door._recipes.turn.locked() == (command.operation in (Operation.START, Operation.RESUME)), "a stop waits for no notice"
        if reasons := self.run.machine.refusal(command):
            raise CellRefused(reasons)
        self.run.give(command)
        return {}

    def refusals(self, commands: Callable[[RunMachine], dict[str, Command]]) -> JsonObject:
        assert self.run is not None
        machine = self.run.machine
        return {"run": RUN, "reasons": {name: [*machine.refusal(asked)] for name, asked in commands(machine).items()}}

    def check_refusals(self, who: object) -> JsonObject:
        return {}

    # What the workstation and people do

    def ask(self, job: Job = JOB) -> None:
        self.handlers["create_run"]({"job": job.model_dump(mode="json")})

    def ready(self) -> SimulatedCell:
        self.ask()
        assert self.run is not None
        self.run.until(lambda machine: machine.phase is Phase.START)
        return self.run

    def paused(self) -> SimulatedCell:
        run = self.ready()
        self.give("start")
        run.until(lambda machine: machine.phase is Phase.UNIT)
        self.give("pause")
        run.until(lambda machine: machine.phase is Phase.PAUSED)
        return run

    def give(self, operation: str) -> None:
        self.handlers["command"]({"operation": operation, "run": RUN, "actor": ACTOR})

    def withdraw(self) -> None:
        withdrawal = Withdrawal(recipe=RECIPE.reference, recipe_digest=RECIPE.digest, reason="wrong density")
        signed = SignedWithdrawal(withdrawal=withdrawal, signature=signature("quality", MEANING_WITHDRAWN, withdrawal.digest))
        self.handlers["recipe.withdrawn"]({"withdrawal": signed.model_dump(mode="json"), "actor": ACTOR})

    def refused(self, operation: str) -> str:
        """What the door answers; what it says of it beforehand is the same."""
        allowed = self.handlers["allowed"]({"actor": ACTOR})["run_actions"][operation]
        with pytest.raises(CellRefused) as refusal:
            self.give(operation)
        assert [*refusal.value.reasons] == allowed
        return "; ".join(allowed)


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Room]:
    found = Room(tmp_path)
    yield found
    found.store.close()


def in_the_middle(monkeypatch: pytest.MonkeyPatch, what: Callable[[], None]) -> None:
    """Let something happen while the cell compiles."""
    admit = printer.door.admit

    def slowly(*args: Any, **kwargs: Any) -> Admitted:
        found = admit(*args, **kwargs)
        what()
        return found

    monkeypatch.setattr(printer.door, "admit", slowly)


def test_a_withdrawal_that_comes_while_a_job_is_compiled_stands(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    in_the_middle(monkeypatch, room.withdraw)
    with pytest.raises(CellRefused, match="was withdrawn"):
        room.ask()
    assert room.run is None
    assert [(item.id, item.status) for item in known_recipes(room.store)] == [(RECIPE.id, "retired")]


def test_a_newer_version_that_comes_while_a_job_is_compiled_counts(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    newer = BUNDLE.recipe_toml.replace("version = 1", "version = 2", 1)
    recipe = parse_recipe(newer.encode())
    assert BUNDLE.effective is not None
    statement = BUNDLE.effective.statement.model_copy(update={"recipe": recipe.reference, "recipe_digest": recipe.digest})
    author, approver = BUNDLE.signatures
    signatures = signature("engineer", author.meaning, recipe.digest), signature("quality", approver.meaning, recipe.digest)
    effective = SignedStatement(statement=statement, signature=signature("quality", MEANING_EFFECTIVE, statement.digest))
    bundle = RecipeBundle(recipe_toml=newer, signatures=signatures, effective=effective)
    told = {"bundle": bundle.model_dump(mode="json"), "actor": ACTOR}
    in_the_middle(monkeypatch, lambda: room.handlers["recipe.effective"](told))
    with pytest.raises(CellRefused, match=f"knows {recipe.reference} to be effective"):
        room.ask()
    assert room.run is None


def test_as_the_cell_stood_at_preflight_it_is_started_and_resumed(room: Room) -> None:
    run = room.paused()
    assert room.handlers["allowed"]({"actor": ACTOR})["run_actions"]["resume"] == []
    room.give("resume")
    assert run.machine.phase is not Phase.PAUSED


def test_a_withdrawn_recipe_is_neither_started_nor_resumed(room: Room) -> None:
    run = room.ready()
    room.withdraw()
    assert room.refused("start") == f"recipe {RECIPE.reference} was withdrawn"
    assert run.machine.phase is Phase.START
    room.give("stop.kill")
    assert run.machine.over


def test_a_paused_run_of_a_withdrawn_recipe_stays_paused(room: Room) -> None:
    run = room.paused()
    room.withdraw()
    assert room.refused("resume") == f"recipe {RECIPE.reference} was withdrawn"
    assert run.machine.phase is Phase.PAUSED


def test_a_run_that_is_ready_over_midnight_needs_the_gates_of_its_day(room: Room) -> None:
    run = room.ready()
    room.day = TOMORROW
    assert room.refused("start").startswith("daily balance check: last passed on 2026-11-20, today is 2026-11-21")
    assert run.machine.phase is Phase.START


def test_a_run_that_prints_says_that_it_is_no_run_to_start(room: Room) -> None:
    room.paused()
    room.day = TOMORROW
    assert "PAUSED" in room.refused("start")


def test_a_run_that_is_paused_over_midnight_goes_on_by_the_check_it_began_with(room: Room) -> None:
    run = room.paused()
    room.day = TOMORROW
    room.give("resume")
    assert run.machine.phase is not Phase.PAUSED


def test_a_run_is_started_by_the_register_that_its_record_names(room: Room) -> None:
    room.ready()
    room.sign(REGISTER.model_copy(update={"version": REGISTER.version + 1}))
    assert room.refused("start") == (
        f"equipment register: the run was prepared by cell-1@{REGISTER.version}, the cell's register is cell-1@{REGISTER.version + 1} now"
    )


def test_a_run_is_resumed_by_another_register_that_names_the_same_balance(room: Room) -> None:
    run = room.paused()
    other = REGISTER.balance.model_copy(update={"serial": "B000000002"})
    room.sign(REGISTER.model_copy(update={"version": REGISTER.version + 1, "balance": other}))
    assert room.refused("resume").startswith("equipment register: the run was prepared by")
    room.sign(REGISTER.model_copy(update={"version": REGISTER.version + 2}))
    room.give("resume")
    assert run.machine.phase is not Phase.PAUSED


def test_without_a_person_what_does_not_depend_on_one_is_said(room: Room) -> None:
    room.ready()
    room.withdraw()
    acts = room.handlers["allowed"]({})["run_actions"]
    assert acts["start"] == [f"recipe {RECIPE.reference} was withdrawn"]
    assert acts["resume"] and "withdrawn" not in str(acts["resume"]), "a run in no state for it says that alone"


def on_its_last_day(device: str) -> Standing:
    last = "qualified_until" if device == "printer" else "calibrated_until"
    entry = getattr(REGISTER, device).model_copy(update={last: TODAY})
    return STANDING.model_copy(update={"register_file": signed_register(REGISTER.model_copy(update={device: entry}))})


def a_day_later(standing: Standing) -> Standing:
    assert standing.last_check is not None
    return standing.model_copy(update={"today": TOMORROW, "last_check": standing.last_check.model_copy(update={"day": TOMORROW})})


@pytest.mark.parametrize("device", ["printer", "balance", "pressure_sensor"])
@pytest.mark.parametrize("operation", [Operation.START, Operation.RESUME])
def test_a_device_whose_time_is_over_is_not_set_going(device: str, operation: Operation) -> None:
    standing = on_its_last_day(device)
    found = admitted(JOB, standing)
    assert going_reasons(found, operation, standing, TRUSTED) == ()
    (reason,) = going_reasons(found, operation, a_day_later(standing), TRUSTED)
    assert f"ended on {TODAY}, today is {TOMORROW}" in reason


@pytest.mark.parametrize("operation", [Operation.START, Operation.RESUME])
def test_the_external_balance_that_judges_the_units_is_in_date_and_the_same(operation: Operation) -> None:
    entry = external_case.ENTRY.model_copy(update={"calibrated_until": TODAY})
    standing = external_case.standing_with(entry)
    found = external_case.admitted(standing)
    (reason,) = going_reasons(found, operation, a_day_later(standing), TRUSTED)
    assert reason.startswith("external balance calibrated: ")
    other = external_case.standing_with(entry.model_copy(update={"serial": "EXT-0043"}))
    assert going_reasons(found, operation, other, TRUSTED)[0].startswith("equipment register: the run was prepared by")


@pytest.mark.parametrize("operation", [Operation.START, Operation.RESUME])
def test_a_recipe_past_its_review_or_signed_by_nobody_known_is_not_set_going(operation: Operation) -> None:
    found = admitted(JOB)
    nobody = {key: roles for key, roles in TRUSTED.items() if key != KEYS["quality"].verifier_key}
    assert "is not a signer this place trusts" in going_reasons(found, operation, STANDING, nobody)[0]
    assert BUNDLE.effective is not None
    after = STANDING.model_copy(update={"today": "2028-01-01"})
    assert "its approval has expired" in going_reasons(found, operation, after, TRUSTED)[0]
    known = KnownRecipe(id=RECIPE.id, version=RECIPE.version + 1, recipe_digest="0" * 64, status="effective")
    stale = STANDING.model_copy(update={"recipes": (known,)})
    assert "is stale" in going_reasons(found, operation, stale, TRUSTED)[0]


def test_ink_and_cleaning_are_judged_at_the_start() -> None:
    found = admitted(JOB)
    late = STANDING.model_copy(update={"today": JOB.cartridge.in_use_until, "left_of_day_s": 60})
    reasons = going_reasons(found, Operation.START, late, TRUSTED)
    assert any(reason.startswith("ink lot and cartridge: ") for reason in reasons)
    dirty = STANDING.model_copy(update={"last_cleaning": None})
    assert going_reasons(found, Operation.START, dirty, TRUSTED)[0].startswith("cleaning: ")
    assert going_reasons(found, Operation.RESUME, dirty, TRUSTED) == ()
