"""The day as each person sees it: at every stage the right person is called to the right act, and nobody else."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.cell_feed import CellView
from api.review_watch import ReviewWatch
from api.security import Session
from api.status import CellStatus, GateStatus
from api.today import PERMISSIONS, Act, Judged, Line, OpenBatch, OpenOrder, PacksLeft, Stage, age_s, queue
from api.today_needs import Ending, Known, Matter, ends_soon, needs
from api.workstation import today_parts
from audit.events import EventKind
from audit.identity import Role

_SPEC = importlib.util.spec_from_file_location("released_for_today", Path(__file__).with_name("released.py"))
assert _SPEC is not None and _SPEC.loader is not None
RELEASED = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(RELEASED)
PRODUCTION = RELEASED.PRODUCTION

NOW = "2026-11-29T12:00:00.000000Z"
EARLIER = "2026-11-29T09:00:00.000000Z"
EVERYBODY = ("pharmacist", "second", "operator", "engineer", "quality", "qp", "administrator")


def person(username: str, *roles: Role, **more: Any) -> Session:
    return Session(username, username.title(), frozenset(roles), 0, **more)


OPERATOR = person("operator", Role.OPERATOR)
PHARMACIST = person("pharmacist", Role.PHARMACIST)


@pytest.fixture(autouse=True)
def _logged_in(request: pytest.FixtureRequest) -> None:
    """Everybody is logged in, without the time that a password takes."""
    if "bench" in request.fixturenames:
        log_everybody_in(request.getfixturevalue("bench"))


def log_everybody_in(bench: Any) -> None:
    people = {person.username: person for person in bench.workstation.people._identity.people()}
    for username in EVERYBODY:
        bench._tokens[username] = bench.workstation.sessions.open(username, people[username].name, people[username].roles)


def called(bench: Any) -> dict[str, list[tuple[str, str, str]]]:
    """Stage, act and subject of every line, with the people who are called to it."""
    found: dict[str, list[tuple[str, str, str]]] = {}
    for username in EVERYBODY:
        answer = bench.ask(username, "GET", "/today")
        assert answer.status_code == 200, answer.text
        lines = answer.json()["queue"]
        found[username] = [(line["stage"], line["next"]["act"], line["subject"]) for line in lines if line["next"]["allowed"]]
    return found


SHOWN = {
    Act.CONFIRM: "confirm",
    Act.OPEN_BATCH: "batches",
    Act.REQUEST_RUN: "run",
    Act.START: "start",
    Act.CLOSE_RUN: "close",
    Act.PACK: "packs",
}
"""By which key the order or batch itself lists an act."""


def agrees_with_the_resource(bench: Any, act: Act, subject: str, called_to: set[str]) -> None:
    """Whom the day calls is exactly who is listed as allowed where the act is taken."""
    if act not in SHOWN:
        return
    kind = "orders" if subject.startswith("O") else "batches"
    listed = {
        username
        for username in EVERYBODY
        if bench.ask(username, "GET", f"/{kind}/{subject}").json()["allowed_actions"][SHOWN[act]]["allowed"]
    }
    assert listed == called_to, act


def who(bench: Any, stage: Stage, act: Act, subject: str) -> set[str]:
    found = called(bench)
    agrees_with_the_resource(bench, act, subject, {username for username, lines in found.items() if lines})
    everything = {line for lines in found.values() for line in lines}
    assert everything <= {(stage.value, act.value, subject)}, everything
    return {username for username, lines in found.items() if lines}


def test_a_whole_day_calls_the_right_person_at_every_stage(bench: Any) -> None:
    assert not any(called(bench).values())
    order = PRODUCTION.enter(bench).json()["order"]
    assert who(bench, Stage.SECOND_PERSON, Act.CONFIRM, order) == {"second", "operator"}
    line = bench.ask("pharmacist", "GET", "/today").json()["queue"][0]
    assert line["next"] == {"act": "confirm", "who": ["operator", "pharmacist"], "allowed": False, "reasons": ["you entered it"]}
    assert PRODUCTION.confirm(bench, order).status_code == 200
    assert who(bench, Stage.CONFIRMED, Act.OPEN_BATCH, order) == {"pharmacist", "second", "operator"}
    batch = bench.ask("operator", "POST", "/batches", {"order": order, "cell": "cell-1"}).json()["batch"]
    assert who(bench, Stage.PREPARED, Act.REQUEST_RUN, batch) == {"operator"}
    assert bench.ask("operator", "POST", f"/batches/{batch}/run").status_code == 200
    running = {**bench.cell.status_now, "run": RELEASED.RUN, "batch": batch}
    units = [RELEASED.unit(n) | {"target_mass_mg": "467.17"} for n in (1, 2, 3)]
    bench.cell.status_now = {**running, "state": "READY", "units": units, "allowed_actions": OPEN}
    fresh(bench)
    assert who(bench, Stage.PREPARED, Act.START, batch) == {"operator"}
    bench.cell.status_now = {**running, "state": "PRINTING", "units": units, "time_left_s": 90}
    fresh(bench)
    assert who(bench, Stage.PRINTING, Act.WAIT, batch) == set()
    line = bench.ask("operator", "GET", "/today").json()["queue"][0]
    assert (line["count"], line["of"], line["left_s"], line["next"]["act"]) == (3, 3, 90, "wait")
    bench.cell.status_now = {**running, "state": "AWAITING_REVIEW", "units": units}
    fresh(bench)
    assert who(bench, Stage.ENDED, Act.CLOSE_RUN, batch) == set(EVERYBODY) - {"administrator"}
    for unit in units:
        bench.cell.record(EventKind.UNIT_PRINT_INTENDED, "unit", unit["unit"], {"n": unit["n"], "strength_mg": unit["strength_mg"]})
    bench.cell.record(EventKind.RUN_RECORD_CLOSED, "run", RELEASED.RUN, {"state": "AWAITING_REVIEW", "ended": "FINISHED"})
    assert bench.ask("qp", "POST", f"/batches/{batch}/close").status_code == 200
    on_plate = [units[0] | {"verdict": "rejected", "removed": False}, *units[1:]]
    bench.cell.status_now = {**running, "state": "AWAITING_REVIEW", "units": on_plate}
    fresh(bench)
    assert who(bench, Stage.REVIEW, Act.REMOVE, batch) == {"pharmacist", "second", "quality", "qp"}
    bench.cell.status_now = {**running, "state": "AWAITING_REVIEW", "units": units}
    fresh(bench)
    # quality assurance may reject only; who entered the order may not release it
    assert who(bench, Stage.REVIEW, Act.SIGN, batch) == {"second", "qp"}
    RELEASED.sign_record(bench, batch, tuple(units), use_by="2099-12-31")
    assert who(bench, Stage.PACKING, Act.PACK, batch) == {"pharmacist", "second", "operator"}
    assert bench.ask("operator", "POST", f"/batches/{batch}/packs", {}).status_code == 201
    assert who(bench, Stage.LABELLING, Act.LABEL, batch) == {"pharmacist", "second", "operator"}


OPEN = {
    name: {"allowed": name == "start", "reasons": [] if name == "start" else ["it has not begun"]} for name in ("start", "pause", "resume")
}


def fresh(bench: Any) -> None:
    """The shared view of a cell is kept for a fifth of a second; the next look asks again."""
    for name in bench.workstation.feeds.names:
        bench.workstation.feeds.of(name)._asked = 0.0


def test_a_cell_that_goes_away_is_unknown_and_never_as_it_last_was(bench: Any) -> None:
    from printer.errors import CellUnreachable

    order = PRODUCTION.enter(bench).json()["order"]
    PRODUCTION.confirm(bench, order)
    batch = bench.ask("operator", "POST", "/batches", {"order": order, "cell": "cell-1"}).json()["batch"]
    bench.ask("operator", "POST", f"/batches/{batch}/run")
    bench.cell.status_now = {**bench.cell.status_now, "run": RELEASED.RUN, "batch": batch, "state": "PRINTING"}
    bench.cell.gates_now = [{"gate": "daily balance check", "met": True, "evidence": "passed"}]
    fresh(bench)
    seen = bench.ask("operator", "GET", "/today").json()["cells"][0]
    assert (seen["state"], seen["ready"]) == ("PRINTING", True)

    def gone(*_: object) -> Any:
        raise CellUnreachable("The cell does not answer.", remedy="Look at it.")

    bench.cell.status = gone
    fresh(bench)
    answer = bench.ask("operator", "GET", "/today").json()
    cell = answer["cells"][0]
    assert (cell["state"], cell["ready"], cell["gates"]) == ("UNKNOWN", None, None)
    assert "does not answer" in cell["problem"]
    assert [need["matter"] for need in answer["needs"] if need["urgent"]] == [Matter.SILENT.value]
    assert answer["queue"][0]["next"]["act"] == Act.LOOK.value


def test_the_day_needs_a_log_in(bench: Any) -> None:
    assert bench.client.get("/api/v1/today").status_code == 401


def test_log_in_leads_to_the_day(bench: Any) -> None:
    form = {"username": "operator", "password": bench.site.passwords["operator"]}
    answer = bench.client.post("/api/v1/session", data=form, headers={"Origin": "http://localhost:8080"}, follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (303, "/today")


# --- the queue, as values ---

BATCH = OpenBatch("B00001", "cell-1", "awaiting review", EARLIER, run="B00001-R1", operators=("operator",))


def lines(session: Session, batch: OpenBatch, status: CellStatus | None = None) -> tuple[Line, ...]:
    return queue(session, (), (batch,), {} if status is None else {"cell-1": status}, NOW)


def test_exceptions_come_before_the_signature_and_are_not_the_operators(canned: dict[str, Any]) -> None:
    batch = replace(BATCH, judged=Judged(2, operators=("pharmacist",), entered_by=("second",)))
    (own,) = lines(PHARMACIST, batch)
    assert (own.stage, own.act, own.count, own.reasons) == (Stage.EXCEPTIONS, Act.RESOLVE, 2, ("you ran it",))
    (quality,) = lines(person("quality", Role.QUALITY_ASSURANCE), batch)
    assert quality.yours


def test_a_certified_route_is_for_the_qualified_person_alone() -> None:
    batch = replace(BATCH, judged=Judged(0, roles=("qualified_person",)))
    (qp,) = lines(person("qp", Role.QUALIFIED_PERSON), batch)
    (pharmacist,) = lines(PHARMACIST, batch)
    assert qp.yours and qp.who == ("qualified_person",)
    assert not pharmacist.yours and "may not sign a batch as released" in pharmacist.reasons[0]


def test_a_batch_that_was_not_read_yet_calls_nobody_to_sign() -> None:
    (line,) = lines(person("qp", Role.QUALIFIED_PERSON), BATCH)
    assert (line.act, line.yours) == (Act.LOOK, False)


def test_a_development_order_is_the_engineers_and_others_are_not() -> None:
    engineer = person("engineer", Role.PROCESS_ENGINEER)
    for development in (True, False):
        order = OpenOrder("O00001", True, "pharmacist", EARLIER, development=development)
        (line,) = queue(engineer, (order,), (), {}, NOW)
        assert line.yours is development


def test_a_run_that_another_run_followed_may_still_be_closed(canned: dict[str, Any]) -> None:
    running = replace(BATCH, status="running")
    other = CellStatus.model_validate({**canned, "batch": "B00002", "run": "B00002-R1"})
    assert [line.act for line in lines(OPERATOR, running, other)] == [Act.CLOSE_RUN]
    silent = CellStatus(cell="cell-1", state="UNKNOWN")
    assert [line.act for line in lines(OPERATOR, running, silent)] == [Act.LOOK]


def test_a_run_that_its_gates_refused_is_asked_for_again(canned: dict[str, Any]) -> None:
    refused = {**canned, "state": "AWAITING_REVIEW", "gates": [{"gate": "cleaning", "met": False, "reason": "clean it"}]}
    (line,) = lines(OPERATOR, replace(BATCH, status="running"), CellStatus.model_validate(refused))
    assert (line.stage, line.act, line.yours) == (Stage.PREPARED, Act.REQUEST_RUN, True)


def test_the_second_weighing_is_another_persons(canned: dict[str, Any]) -> None:
    weighing = {"unit": "B00001-R1/002", "n": 2, "entry": 2, "attempt": 1, "first_by": "pharmacist", "time_left_s": 300}
    status = CellStatus.model_validate({**canned, "external_weighing": weighing})
    (own,), (other,) = (lines(who, replace(BATCH, status="running"), status) for who in (PHARMACIST, OPERATOR))
    assert own.act is Act.WEIGH_AGAIN and own.reasons == ("you weighed it first",)
    assert other.yours and (other.count, other.left_s) == (2, 300)


@pytest.mark.parametrize(
    ("packs", "acts"),
    [
        (PacksLeft(3, 0, 0), [Act.PACK]),
        (PacksLeft(2, 1, 1), [Act.PACK, Act.LABEL, Act.DISPENSE]),
        (PacksLeft(0, 0, 2), [Act.CLOSE_PACKING, Act.DISPENSE]),
        (PacksLeft(0, 0, 1, closed=True), [Act.DISPENSE]),
    ],
)
def test_what_is_left_of_a_released_batch(packs: PacksLeft, acts: list[Act]) -> None:
    found = lines(PHARMACIST, replace(BATCH, status="released", packs=packs))
    assert [line.act for line in found] == acts and all(line.yours for line in found)


def test_what_is_done_with_is_not_asked_whether_a_recall_holds_it(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A site has few open batches and many that are done with: the day is read again after every entry."""
    desk, asked = bench.workstation.today, list[str]()
    monkeypatch.setattr(desk._holds, "of_batch", lambda name: asked.append(name) or "recall R00001")
    packed = {"status": "released", "packing": "closed", "cell": "cell-1"}
    assert desk._open_batch("B1", {"status": "rejected"}, []) is None
    assert desk._open_batch("B2", packed, [{"state": "dispensed"}]) is None
    assert asked == []
    assert desk._open_batch("B3", packed, [{"state": "labelled"}]) is None, "it is followed on the recall's own page"
    assert desk._open_batch("B4", {"status": "created", "cell": "cell-1"}, []).held == "recall R00001"
    assert asked == ["B3", "B4"]


def test_a_recalled_batch_calls_nobody() -> None:
    (line,) = lines(OPERATOR, replace(BATCH, status="created", held="batch B00001 is recalled by RC-1"))
    assert not line.yours and "recalled by RC-1" in str(line.as_record()["next"])


def test_a_locked_session_is_called_to_nothing() -> None:
    order = OpenOrder("O00001", False, "second", EARLIER)
    (line,) = queue(replace(OPERATOR, locked=True), (order,), (), {}, NOW)
    assert not line.yours and "locked" in line.reasons[0]


STATUSES = ("created", "running", "awaiting review", "released")
ROLES = st.frozensets(st.sampled_from(list(Role)), min_size=1)


@given(
    roles=ROLES, status=st.sampled_from(STATUSES), exceptions=st.none() | st.integers(0, 3), ran=st.booleans(), entered=st.booleans(),
    unpacked=st.integers(0, 2), development=st.booleans(),
    state=st.sampled_from(["UNKNOWN", "READY", "PRINTING", "PAUSED", "AWAITING_REVIEW"]),
)  # fmt: skip
def test_nobody_is_called_to_what_their_role_or_their_own_part_forbids(
    roles: frozenset[Role], status: str, exceptions: int | None, ran: bool, entered: bool, unpacked: int, development: bool, state: str
) -> None:
    me = person("me", *roles)
    judged = None if exceptions is None else Judged(exceptions, ("me",) if ran else (), ("me",) if entered else ())
    batch = replace(BATCH, status=status, judged=judged, packs=PacksLeft(unpacked), development=development)
    cell = CellStatus(cell="cell-1", state=state, run="B00001-R1", batch="B00001")
    for line in lines(me, batch, cell):
        if not line.yours:
            continue
        assert me.may(PERMISSIONS[line.act])
        assert not (ran and line.act in (Act.RESOLVE, Act.SIGN, Act.REMOVE))
        assert not (entered and line.act is Act.SIGN)
        assert line.reasons == () and set(line.who) & {role.value for role in roles}


@given(st.datetimes(), st.datetimes())
def test_an_age_is_never_below_zero(one: Any, other: Any) -> None:
    age = age_s(f"{one.isoformat()}+00:00", f"{other.isoformat()}+00:00")
    assert age == max(0, int((other - one).total_seconds()))


def test_what_is_yours_comes_first_then_by_stage_and_age() -> None:
    batches = [replace(BATCH, batch=f"B{n}", status=status, packs=PacksLeft(1)) for n, status in enumerate(STATUSES)]
    orders = [OpenOrder("O1", False, "second", EARLIER), OpenOrder("O2", False, "pharmacist", NOW)]
    found = queue(PHARMACIST, orders, batches, {}, NOW)
    mine = [line.yours for line in found]
    assert mine == sorted(mine, reverse=True) and found[0].subject == "O1"
    assert {line.subject for line in found if line.yours} == {"O1", "B3"}


# --- what needs a person ---


def known(**more: Any) -> Known:
    return Known(**{"cells": {}, "gates": {}, "register_ends": {}, **more})


def matters(session: Session, found: Known, today: str = "2026-11-29") -> list[Matter]:
    return [need.matter for need in needs(session, found, today)]


IDLE = {"cell-1": CellStatus(cell="cell-1")}
GATES = (
    GateStatus(gate="daily balance check", met=False, reason="do it"),
    GateStatus(gate="balance calibrated", met=False, reason="ended"),
    GateStatus(gate="cleaning", met=True, evidence="cleaned"),
)


def test_a_gate_calls_who_can_meet_it() -> None:
    found = known(cells=IDLE, gates={"cell-1": GATES})
    assert matters(OPERATOR, found) == [Matter.CARE]
    assert matters(person("quality", Role.QUALITY_ASSURANCE), found) == [Matter.REGISTER]
    assert matters(person("engineer", Role.PROCESS_ENGINEER), found) == []


def test_without_a_register_only_that_is_asked_for() -> None:
    gates = (GateStatus(gate="equipment register", met=False, reason="none"), *GATES)
    assert matters(person("quality", Role.QUALITY_ASSURANCE), known(cells=IDLE, gates={"cell-1": gates})) == [Matter.REGISTER]
    assert matters(OPERATOR, known(cells=IDLE, gates={"cell-1": gates})) == []


def test_open_alarms_call_who_may_acknowledge(canned: dict[str, Any]) -> None:
    cells = {"cell-1": CellStatus.model_validate(canned)}
    assert matters(OPERATOR, known(cells=cells)) == [Matter.ALARM]
    assert matters(person("qp", Role.QUALIFIED_PERSON), known(cells=cells)) == []


@pytest.mark.parametrize(("until", "soon"), [("2026-11-28", False), ("2026-11-29", True), ("2026-12-13", True), ("2026-12-14", False)])
def test_what_ends_is_said_from_two_weeks_before_to_its_last_day(until: str, soon: bool) -> None:
    assert ends_soon(until, "2026-11-29") is soon
    assert (Matter.PASSWORD_ENDS in matters(OPERATOR, known(password_until=until))) is soon
    over = Matter.TRAINING if until < "2026-11-29" else Matter.TRAINING_ENDS
    assert matters(OPERATOR, known(training=[Ending("cell-1", until)])) == ([over] if soon or until < "2026-11-29" else [])


def test_what_is_urgent_comes_first_and_a_recall_calls_who_follows_it() -> None:
    found = known(access=["The access review was due."], recalls=["RC-1"])
    assert matters(PHARMACIST, found) == [Matter.RECALL, Matter.ACCESS]
    assert matters(OPERATOR, found) == [Matter.ACCESS]


# --- the review that is read in the background ---


class Release:
    """Counts how often a batch is read."""

    def __init__(self) -> None:
        self.read: list[str] = []

    def entries(self, batch: str) -> Any:
        from api.errors import CellNotStarted

        self.read.append(batch)
        raise CellNotStarted("away", remedy="")


def test_a_review_is_read_again_only_after_an_entry_and_a_rest() -> None:
    release, size, now = Release(), [1], [0.0]
    watch = ReviewWatch(release, lambda: size[0], lambda: now[0])  # type: ignore[arg-type]
    assert watch.look(["B1"], wait=True) == {"B1": None}
    now[0] = 60.0
    watch.look(["B1"], wait=True)
    assert release.read == ["B1"]  # nothing was recorded since
    size[0], now[0] = 2, 61.0
    watch.look(["B1"], wait=True)
    assert release.read == ["B1", "B1"]
    size[0], now[0] = 3, 62.0
    watch.look(["B1"], wait=True)
    assert release.read == ["B1", "B1"]  # it rests
    now[0] = 70.0
    watch.close()
    watch.look(["B1"], wait=True)
    assert release.read == ["B1", "B1"]  # closed


# --- as HTML ---


def test_what_is_typed_cannot_become_markup() -> None:
    gate = GateStatus(gate="<b>x", met=False, reason="<script>")
    bad = CellStatus(cell="<i>", state="IDLE", batch="<img>")
    from api.today_desk import CellToday

    html = today_parts.cell_html(CellToday("<i>", bad, "<script>1</script>", (gate,), ""))
    for text in ("<script", "<img", "<i>", "<b>x"):
        assert text not in html
    line = Line(Stage.REVIEW, Act.SIGN, "<script>", "<i>c", EARLIER, 5, ("pharmacist",), ("you <b>",))
    assert (
        "<script" not in today_parts.line_html(line)
        and "<i>c" not in today_parts.line_html(line)
        and "<b>)" not in today_parts.line_html(line)
    )


def test_every_act_and_matter_has_words_and_a_way(canned: dict[str, Any]) -> None:
    from api.today_needs import Need

    for act in Act:
        for stage in Stage:
            html = today_parts.line_html(Line(stage, act, "B1", "cell-1", EARLIER, 5, ("pharmacist",), (), 2, 3, 90))
            assert "{" not in html and stage.value.split()[0].lower() in html.lower()
    for matter in Matter:
        need = Need(matter, "cell-1", "what", "2026-12-01", ("approve",), 1)
        assert "{" not in today_parts.need_html(need) and today_parts.need_way(need).startswith("/")


def test_readiness_is_said_with_a_sign_and_a_word(canned: dict[str, Any]) -> None:
    from api.today_desk import CellToday

    status = CellStatus.model_validate(canned)
    view = CellView(status)
    ready = today_parts.cell_html(CellToday("cell-1", view.status, "", GATES[2:], ""))
    assert "✓ Nothing of the cell would stop a start." in ready
    stopped = today_parts.cell_html(CellToday("cell-1", view.status, "", GATES, ""))
    assert "✕ 2 gates would stop a start" in stopped and "do it" in stopped
    unknown = today_parts.cell_html(CellToday("cell-1", view.status, "", None, "away"))
    assert "○ Readiness is not known." in unknown
