"""The daily check as the cell carries it out, against the virtual balance in virtual time: done, failed, lost, left, disturbed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import pytest
from simulated_cell import REGISTER, TODAY

from audit.canonical import canonical
from audit.events import Actor, EntryDraft
from hil_tests.cases import bench_for
from hil_tests.virtual_bench import VirtualBench
from printer.check_desk import CheckDesk
from printer.check_session import LEFT_ALONE_US, CheckSession
from printer.errors import CellRefused
from printer.instruments import balance_driver
from printer.messages import EmergencySend, Port, PortBytes, PortLost, Record, Recorded, RecordFailed, RunEffect, RunInput, Send, Tick

OPERATOR = Actor("operator", "Demo Operator", "operator")
OTHER = Actor("second", "Second Person", "pharmacist")
STEP_US = 100_000
STEPS = ("empty before", "centre", "front left", "back left", "back right", "front right", "empty after")


def a_session(driver: str = "mt-sics", who: Actor = OPERATOR) -> CheckSession:
    return CheckSession(
        REGISTER.check_plan(TODAY), balance_driver(driver, 30_000_000), who, device="cell-1", register="cell-1@1", day=TODAY
    )


@dataclass
class Room:
    """A cell's desk, a bench with its balance, and a person who moves the weight."""

    bench: VirtualBench
    desk: CheckDesk = field(default_factory=CheckDesk)
    entries: list[EntryDraft] = field(default_factory=list)
    refuse: Callable[[EntryDraft], bool] = lambda draft: False
    now: int = 0

    def do(self, effects: list[RunEffect]) -> None:
        for effect in effects:
            match effect:
                case Send(Port.BALANCE, data):
                    self.bench.receive("balance", data)
                case Record(token, (draft,)):
                    if self.refuse(draft):
                        self.give(RecordFailed(token, "the disk is full"))
                    else:
                        self.entries.append(draft)
                        self.give(Recorded(token))
                case Send() | EmergencySend() | Record():
                    raise AssertionError(f"a check does not ask for {effect}")
                case _:
                    raise AssertionError

    def give(self, event: RunInput) -> None:
        if self.desk.is_open:
            self.do(self.desk.handle(event, self.now, lambda: TODAY))

    def step(self, count: int = 1) -> None:
        for _ in range(count):
            self.now += STEP_US
            data = self.bench.step(self.now)["balance"]
            if data:
                self.give(PortBytes(Port.BALANCE, data))
            self.give(Tick())

    def until_asked(self, step: str) -> None:
        for _ in range(1000):
            view = self.desk.view()
            if view["instruction"] and view["step"] == step:
                return
            assert view["under_way"], view
            self.step()
        raise AssertionError(f"not at {step}: {self.desk.view()}")

    def place_and_confirm(self, mass: float = 50_000.0, place: Callable[[str], str] = lambda position: position) -> None:
        position = self.desk.view()["position"]
        self.bench.cell.place("empty" if position is None else place(str(position)), mass)
        self.do(self.desk.confirm(OPERATOR, str(self.desk.view()["step"]), self.now))

    def carry_out(self, mass: float = 50_000.0) -> EntryDraft:
        for step in STEPS:
            self.until_asked(step)
            self.place_and_confirm(mass)
        self.step(200)
        return self.entries[-1]


def room(case: str = "minoxidil") -> Room:
    found = Room(VirtualBench(bench_for(case)))
    found.do(found.desk.open(a_session()))
    return found


def test_a_person_checks_a_good_balance_and_all_of_it_is_on_record() -> None:
    found = room()
    assert [str(draft.kind) for draft in found.entries] == ["equipment.check.begun"] and found.entries[0].actor == OPERATOR
    record = found.carry_out()
    new = record.new
    assert str(record.kind) == "equipment.check.completed" and record.subject.id == "B000000001" and record.actor == OPERATOR
    assert new["passed"] is True and new["status"] == "closed" and new["day"] == TODAY and new["reasons"] == []
    readings = new["readings"]
    assert isinstance(readings, list) and [reading["step"] for reading in readings] == list(STEPS)
    assert all(bytes.fromhex(reading["raw"]).startswith(b"S S ") for reading in readings)
    spread = new["deviations"]["eccentricity_mg"]  # type: ignore[call-overload, index]
    assert float(spread["front left"]) <= -0.1 < 0.1 <= float(spread["back right"]), "the pan's own tilt is seen"
    assert canonical(new) and not found.desk.is_open
    assert found.desk.view()["passed"] is True


@pytest.mark.parametrize(("mass", "why"), [(50_000.7, "sensitivity"), (49_999.3, "sensitivity"), (50_300.0, "sensitivity")])
def test_a_balance_that_shows_too_much_or_too_little_fails(mass: float, why: str) -> None:
    record = room().carry_out(mass)
    assert record.new["passed"] is False and any(str(reason).startswith(why) for reason in record.new["reasons"])  # type: ignore[union-attr]


def test_a_weight_that_is_not_there_ends_the_check_after_three_tries() -> None:
    found = room()
    found.until_asked("empty before")
    found.place_and_confirm()
    for _ in range(3):
        found.until_asked("centre")
        found.place_and_confirm(mass=0.0)
    found.step(200)
    assert found.entries[-1].new["passed"] is False and "in 3 tries" in str(found.entries[-1].new["reasons"])


def test_nothing_is_asked_of_the_balance_before_the_beginning_is_on_record() -> None:
    found = Room(VirtualBench(bench_for("minoxidil")))
    (first,) = found.desk.open(a_session())
    assert isinstance(first, Record)
    assert found.desk.handle(Tick(), 1, lambda: TODAY) == []
    (second,) = found.desk.handle(Recorded(first.token), 2, lambda: TODAY)
    assert isinstance(second, Send)


@pytest.mark.parametrize("place", ["begun", *STEPS])
@pytest.mark.parametrize("reading", [False, True])
def test_a_balance_lost_at_any_step_is_a_check_not_passed(place: str, reading: bool) -> None:
    found = room()
    if place != "begun":
        for step in STEPS[: STEPS.index(place)]:
            found.until_asked(step)
            found.place_and_confirm()
        found.until_asked(place)
        if reading:
            found.place_and_confirm()
    found.give(PortLost(Port.BALANCE, "unplugged"))
    new = found.entries[-1].new
    assert new["passed"] is False and "abandoned: the balance was lost: unplugged" in new["reasons"]  # type: ignore[operator]
    assert not found.desk.is_open and found.desk.view()["passed"] is False
    found.step(50)
    assert len(found.entries) == 2, "once"


def test_a_silent_balance_ends_the_check_by_itself() -> None:
    found = room()
    found.until_asked("empty before")
    found.bench.balance.silent = True
    found.place_and_confirm()
    found.step(1000)
    assert not found.desk.is_open and found.entries[-1].new["passed"] is False


def test_a_check_that_nobody_goes_on_with_does_not_hold_the_cell_for_ever() -> None:
    found = room()
    found.until_asked("empty before")
    found.now += LEFT_ALONE_US
    found.give(Tick())
    found.now += 10_000_000
    found.give(Tick())
    assert not found.desk.is_open and "nobody went on" in str(found.entries[-1].new["reasons"])


def test_only_the_one_who_began_confirms_and_only_the_step_that_is_open() -> None:
    found = room()
    found.until_asked("empty before")
    with pytest.raises(CellRefused, match="was begun by Demo Operator"):
        found.desk.confirm(OTHER, "empty before", found.now)
    for step in ("centre", "", "ended", "identify"):
        with pytest.raises(CellRefused, match="does not wait"):
            found.desk.confirm(OPERATOR, step, found.now)
    found.place_and_confirm()
    with pytest.raises(CellRefused, match="does not wait"):
        found.desk.confirm(OPERATOR, "empty before", found.now)
    with pytest.raises(CellRefused, match="under way, begun by Demo Operator"):
        found.desk.refuse_if_open()


def test_another_person_may_give_it_up_and_is_named() -> None:
    found = room()
    found.do(found.desk.abandon(OTHER, "fire alarm", TODAY))
    record = found.entries[-1]
    assert record.actor == OTHER and record.new["reasons"] == ["abandoned: fire alarm (Second Person)"] and not found.desk.is_open
    for act in (lambda: found.desk.abandon(OTHER, "again", TODAY), lambda: found.desk.confirm(OPERATOR, "centre", 0)):
        with pytest.raises(CellRefused, match="no daily check is under way"):
            act()
    found.desk.refuse_if_open()


def test_a_check_that_cannot_be_recorded_does_not_count() -> None:
    found = room()
    found.refuse = lambda draft: str(draft.kind) == "equipment.check.completed"
    found.carry_out()
    view = found.desk.view()
    assert view["passed"] is False and "does not count" in str(view["problem"]) and not found.desk.is_open
    begun = Room(VirtualBench(bench_for("minoxidil")), refuse=lambda draft: True)
    begun.do(begun.desk.open(a_session()))
    assert begun.entries == [] and not begun.desk.is_open and begun.desk.view()["passed"] is False


def test_other_bytes_and_inputs_do_not_disturb_it() -> None:
    found = room()
    for noise in (PortBytes(Port.PRESSURE, b"1,2.0\n"), PortBytes(Port.PRINTER, b"ok\n"), PortLost(Port.PRINTER, "gone"), Recorded(99)):
        found.give(noise)
    assert found.carry_out().new["passed"] is True


def test_the_scale_by_the_other_driver() -> None:
    config = bench_for("minoxidil")
    found = Room(VirtualBench(replace(config, balance=replace(config.balance, driver="sartorius-sbi"))))
    found.do(found.desk.open(a_session("sartorius-sbi")))
    assert found.carry_out().new["passed"] is True
