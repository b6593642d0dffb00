"""The daily check and the cleaning over real processes: done, refused, killed in the middle, and what the gates make of it."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import JsonValue
from stack import OPERATOR, Stack, today

from api.bench_hand import BenchHand, find_hand
from api.demo_desk import Desk
from api.processes import free_port, start_workstation, wait_for_port
from api.site import CELL
from audit.checkpoint import VerifierKey
from audit.reader import TrailReader
from audit.verify import verify_store
from printer.errors import CellError, CellRefused
from recipes.library import load_demonstration

pytestmark = pytest.mark.stack
SECOND = {"username": "second", "name": "Demonstration second pharmacist", "role": "pharmacist"}
STRANGER = {"username": "quality", "name": "Demonstration quality assurance", "role": "quality_assurance"}


@pytest.fixture(scope="module")
def untouched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """For what is refused, and so leaves the cell as it is."""
    running = Stack.start(tmp_path_factory.mktemp("untouched") / "site", daily_check=True)
    try:
        yield running
    finally:
        running.close()


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    running = Stack.start(tmp_path / "site", daily_check=True)
    try:
        yield running
    finally:
        running.close()


def hand(stack: Stack) -> BenchHand:
    found = find_hand(stack.folder)
    assert found is not None
    return found


def waiting(stack: Stack, seconds: float = 30.0) -> dict[str, JsonValue]:
    """The check once it waits for a person, or has ended."""
    status = stack.until(lambda status: bool(_awaited(status["check"])), seconds)
    check = status["check"]
    assert isinstance(check, dict)
    return check


def _awaited(check: object) -> bool:
    return isinstance(check, dict) and ((bool(check["instruction"]) and check["step"] != "ended") or not check["under_way"])


def carry_out(stack: Stack, mass: str = "50000.0", steps: int = 7) -> dict[str, JsonValue]:
    stack.ask().begin_check(OPERATOR)
    for _ in range(steps):
        check = waiting(stack)
        hand(stack).place(str(check["position"] or "empty"), mass)
        stack.ask().confirm_check(OPERATOR, str(check["step"]))
    return waiting(stack)


def refused(stack: Stack) -> list[str]:
    """Ask for a run, and return the gates that ended it."""
    stack.ask().create_run(stack.job())
    status = stack.until(lambda status: status["state"] in ("READY", "AWAITING_REVIEW"))
    gates = status["gates"]
    assert isinstance(gates, list)
    return [f"{gate['gate']}: {gate['reason']}" for gate in gates if not gate["met"]]  # type: ignore[index, call-overload]


def checks(stack: Stack) -> list[dict[str, JsonValue]]:
    with TrailReader(stack.folder / "cell-1.db") as reader:
        return [dict(entry.new) for entry in reader.search(kind="equipment.check.completed")]  # type: ignore[arg-type]


def test_no_print_before_a_check_has_passed_today(stack: Stack) -> None:
    assert refused(stack) == [
        "daily balance check: no check of the balance B000000001 is on record; do the daily check on the page of the cell"
    ]
    failed = carry_out(stack, mass="50000.9")
    assert failed["passed"] is False
    (reason,) = refused(stack)
    assert "was not passed: sensitivity: deviation" in reason
    assert carry_out(stack)["passed"] is True
    assert refused(stack) == []
    assert [check["passed"] for check in checks(stack)] == [False, True]
    stack.ask().start("B-1-R3", OPERATOR)
    stack.until(lambda status: status["state"] == "AWAITING_REVIEW")
    keys = [VerifierKey.parse(line) for line in (stack.folder / "site.vkey").read_text().splitlines()]
    assert verify_store(stack.folder / "cell-1.db", keys).findings == ()


def test_one_thing_at_a_time_and_one_person_per_check(stack: Stack) -> None:
    stack.ask().begin_check(OPERATOR)
    for act in (
        lambda: stack.ask().begin_check(SECOND),
        lambda: stack.ask().begin_check(OPERATOR),
        lambda: stack.ask().create_run(stack.job()),
        lambda: stack.ask().record_cleaning(OPERATOR, "wiped"),
    ):
        with pytest.raises(CellRefused, match="a daily check of the balance is under way, begun by Demonstration operator"):
            act()
    step = str(waiting(stack)["step"])
    with pytest.raises(CellRefused, match="was begun by Demonstration operator"):
        stack.ask().confirm_check(SECOND, step)
    stack.ask().abandon_check(SECOND, "wrong day")
    waiting(stack)
    (record,) = checks(stack)
    assert record["passed"] is False and record["reasons"] == ["abandoned: wrong day (Demonstration second pharmacist)"]
    stack.ask().begin_check(SECOND)
    stack.ask().abandon_check(SECOND, "again")
    waiting(stack)
    assert len(checks(stack)) == 2


def test_neither_check_nor_cleaning_while_a_run_is_open(stack: Stack) -> None:
    assert carry_out(stack)["passed"] is True
    assert refused(stack) == []
    for act in (lambda: stack.ask().begin_check(OPERATOR), lambda: stack.ask().record_cleaning(OPERATOR, "wiped")):
        with pytest.raises(CellRefused, match="run B-1-R1 is READY"):
            act()
    with pytest.raises(CellRefused, match="no training on cell-1 is on record"):
        stack.ask().start("B-1-R1", {**STRANGER, "username": "qp", "role": "operator"})


def test_a_killed_cell_closes_the_check_as_abandoned(stack: Stack) -> None:
    stack.ask().begin_check(OPERATOR)
    check = waiting(stack)
    stack.ask().confirm_check(OPERATOR, str(check["step"]))
    stack.kill_cell()
    stack.start_cell()
    (record,) = checks(stack)
    assert record["passed"] is False and record["reasons"] == ["abandoned: the cell process ended during the check"]
    gates = stack.ask().readiness()["gates"]
    assert isinstance(gates, list)
    (unmet,) = [gate for gate in gates if not gate["met"]]  # type: ignore[index, call-overload]
    assert "was not passed: abandoned: the cell process ended" in str(unmet["reason"])  # type: ignore[index, call-overload]


def test_a_bench_that_goes_away_in_the_middle_leaves_a_check_not_passed(stack: Stack) -> None:
    stack.ask().begin_check(OPERATOR)
    waiting(stack)
    os.kill(next(child.pid for child in stack.children._children if child.name == "bench"), signal.SIGKILL)
    status = stack.until(lambda status: not status["check"]["under_way"])  # type: ignore[index, call-overload]
    assert status["check"]["passed"] is False  # type: ignore[index, call-overload]
    stack.until(lambda status: len(checks(stack)) == 1)
    assert "the balance was lost" in str(checks(stack)[0]["reasons"])
    stack.until(lambda status: "balance" in status["ports"])  # type: ignore[operator]
    with pytest.raises(CellRefused, match="balance port"):
        stack.ask().begin_check(OPERATOR)


def test_only_people_who_are_trained_care_for_a_cell_and_a_changed_register_is_none(stack: Stack) -> None:
    for act in (lambda: stack.ask().begin_check(STRANGER), lambda: stack.ask().record_cleaning(STRANGER, "wiped")):
        with pytest.raises(CellRefused, match="no training is on record"):
            act()
    register = stack.folder / "cell-1" / "equipment.json"
    register.write_text(register.read_text().replace("demonstration-B-1", "demonstration-B-2"))
    with pytest.raises(CellRefused, match="changed after it was signed"):
        stack.ask().begin_check(OPERATOR)
    assert any("changed after it was signed" in reason for reason in refused(stack))
    assert len(checks(stack)) == 0


@pytest.mark.parametrize("body", [{}, {"actor": None}, {"actor": OPERATOR, "step": 7}, {"actor": OPERATOR, "step": "x" * 41}, {"step": []}])
def test_what_does_not_fit_is_refused_at_the_cell_too(untouched: Stack, body: dict[str, JsonValue]) -> None:
    for question in ("check.begin", "check.confirm", "check.abandon", "cleaning"):
        if question == "check.begin" and set(body) == {"actor"} and body["actor"]:
            continue
        with pytest.raises(CellError):
            untouched.ask()._ask(question, body)
    assert untouched.ask().status()["check"] is None


def test_a_batch_that_a_gate_refused_is_printed_and_released_without_a_new_order(stack: Stack) -> None:
    port = free_port()
    wait_for_port(port, start_workstation(stack.children, stack.folder, port, page=False), 60.0)
    names, passwords = ("pharmacist", "second", "operator", "qp"), stack.passwords or {}
    desks = {name: Desk.log_in(f"http://127.0.0.1:{port}", name, passwords[name]) for name in names}
    first, second, operator, qp = (desks[name] for name in names)
    prescription, ink, cartridge = load_demonstration("minoxidil", today())
    order: dict[str, JsonValue] = {
        "recipe": "minoxidil", "ink_lot": ink.lot, "cartridge": cartridge.serial, "patient": "demonstration-004", "moiety": "minoxidil",
        "basis": "base", "prescribed": prescription.prescribed.text, "unit": "mg", "per": "dose", "schedule": "evening 1", "days": "3",
    }  # fmt: skip
    number = first.post("/orders", {"order": order, "signature": first.signature})["order"]
    again = {name: order[name] for name in ("patient", "moiety", "prescribed", "unit", "per", "schedule", "days")}
    second.post(f"/orders/{number}/confirm", {"entry": again, "signature": second.signature})
    batch = operator.post("/batches", {"order": str(number), "cell": CELL})["batch"]
    operator.post(f"/batches/{batch}/run")
    stack.until(lambda status: status["state"] == "AWAITING_REVIEW")
    assert carry_out(stack)["passed"] is True
    operator.post(f"/batches/{batch}/run")
    stack.until(lambda status: status["state"] == "READY")
    operator.post(f"/batches/{batch}/start")
    stack.until(lambda status: status["state"] == "AWAITING_REVIEW")
    qp.post(f"/batches/{batch}/close")
    proposal = qp.get(f"/batches/{batch}/review")["proposal"]
    assert isinstance(proposal, dict) and proposal["disposition"] == "released", proposal
    qp.post(f"/batches/{batch}/disposition", {"disposition": "released", "comment": "", "signature": qp.signature})
    for desk in desks.values():
        desk.close()
