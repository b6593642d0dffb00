"""The cell as its own process over real ports: a run, a cable pulled, a kill, a restart, and whoever knocks at its door."""

from __future__ import annotations

import hashlib
import json
import socket
import sqlite3
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import JsonValue
from stack import OPERATOR, Stack

from audit.checkpoint import VerifierKey
from audit.reader import TrailReader
from audit.verify import verify_store
from printer.admission import ADMISSION, admit, read_admission, read_job, read_trusted_people
from printer.errors import CellRefused, CellUnreachable, RunMissing
from printer.frames import REPLY_LIMIT, Request, client_context, receive_frame, send_frame
from printer.replay import recorded_digest, replay
from recipes.library import load_machine, load_recipe

pytestmark = pytest.mark.stack


@pytest.fixture
def stack(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Stack]:
    options = getattr(request, "param", {})
    running = Stack.start(tmp_path / "site", **options)
    try:
        yield running
    finally:
        running.close()


def ended(status: dict[str, object]) -> bool:
    return status["state"] == "AWAITING_REVIEW"


def printing(n: int) -> object:
    def condition(status: dict[str, object]) -> bool:
        units = status["units"]
        assert isinstance(units, list)
        return len(units) >= n and units[n - 1]["state"] == "printing"

    return condition


def assert_store_verifies(folder: Path) -> None:
    keys = [VerifierKey.parse(line) for line in (folder / "site.vkey").read_text().splitlines()]
    report = verify_store(folder / "cell-1.db", keys)
    assert report.findings == ()
    assert report.signer_established


def assert_replay_agrees(stack: Stack, run: str, job: dict[str, JsonValue]) -> None:
    """What the run machine decided over real ports follows from its sealed journal alone."""
    machine = load_machine(load_recipe(stack.case).machine)
    trusted = read_trusted_people(stack.folder / "cell-1" / "trusted" / "people.json")
    reader = TrailReader(stack.folder / "cell-1.db")
    entries = list(reader.entries())
    created = next(entry for entry in entries if entry.kind == "run.record.created")
    admission = next(reader.blob(item["sha256"]) for item in created.attachments if item["name"] == ADMISSION)
    plan = admit(
        read_job(job),
        run=run,
        device="cell-1",
        machine=machine,
        trusted_people=trusted,
        today=created.at[:10],
        standing=read_admission(admission).standing,
        demonstration=True,
        rate=str(created.new["rate"]),
    ).plan
    journals = ("journal/preparation.jsonl", "journal/purge-", "journal/unit-", "journal/run.jsonl")
    segments = [reader.blob(item["sha256"]) for entry in entries for item in entry.attachments if item["name"].startswith(journals)]
    reader.close()
    assert len(segments) == 5 + len(plan.purges)
    assert replay(plan, segments).sha256 == recorded_digest(entries, run)


def test_a_batch_over_real_ports(stack: Stack) -> None:
    job = stack.job(days=3)
    run = stack.begin(job)
    status = stack.until(ended)
    assert status["ended"] == "FINISHED"
    assert [unit["verdict"] for unit in status["units"]] == ["accepted"] * 3  # type: ignore[union-attr, index, call-overload]
    kinds = [json.loads(line)["kind"] for line in stack.ask().trail(0)]
    assert kinds.count("unit.print.intended") == kinds.count("unit.weight.judged") == 3
    assert kinds[-1] == "run.record.closed"
    with pytest.raises(CellRefused, match="already printed"):
        stack.ask().create_run(stack.job(days=3))
    with pytest.raises(CellRefused, match="never sends again"):
        stack.ask().start(run, OPERATOR)
    stack.children.close()
    assert_store_verifies(stack.folder)
    assert_replay_agrees(stack, run, job)
    # The wire log is what the record says it is.
    reader = TrailReader(stack.folder / "cell-1.db")
    state = reader.state("run", run)
    reader.close()
    assert state is not None
    assert hashlib.sha256((stack.folder / "cell-1" / f"wire-{run}.log").read_bytes()).hexdigest() == state["wire_log_sha256"]


@pytest.mark.deep
@pytest.mark.parametrize("stack", [{"case": "sildenafil", "plant": f"e_area_mm2 = {165.13 * 1.04}"}], indirect=True)
def test_a_flow_error_is_corrected_over_real_ports(stack: Stack) -> None:
    """The drive of this bench pushes 4 % more than it is told: a purge unit finds it, and each unit is compiled and proved anew."""
    job = stack.job(days=1)
    run = stack.begin(job)
    status = stack.until(ended)
    assert status["ended"] == "FINISHED"
    assert [unit["verdict"] for unit in status["units"]] == ["accepted"] * 3  # type: ignore[union-attr, index, call-overload]
    assert [purge["verdict"] for purge in status["purge_units"]] == ["calibration"]  # type: ignore[union-attr, index, call-overload]
    stack.children.close()
    assert_store_verifies(stack.folder)
    assert_replay_agrees(stack, run, job)
    reader = TrailReader(stack.folder / "cell-1.db")
    entries = list(reader.entries())
    decided = [entry for entry in entries if entry.kind == "dose.correction.decided"]
    assert [entry.new["unit_n"] for entry in decided] == [1, 2, 3]
    closed = next(entry for entry in entries if entry.kind == "run.record.closed")
    sent = next(reader.blob(item["sha256"]) for item in closed.attachments if item["name"] == "program.gcode")
    for entry in decided:
        n = int(str(entry.new["unit_n"]))
        assert 0.94 < float(str(entry.new["flow_factor"])) < 0.98
        blobs = {item["name"]: reader.blob(item["sha256"]) for item in entry.attachments}
        gcode = blobs[f"corrected/unit-{n:03d}.gcode"]
        intent = next(e for e in entries if e.kind == "unit.print.intended" and e.new["n"] == n)
        assert hashlib.sha256(gcode).hexdigest() == entry.new["gcode_sha256"] == intent.new["gcode_sha256"]
        assert entry.seq < intent.seq
        assert json.loads(blobs[f"corrected/unit-{n:03d}-proof.json"])["n"] == n
        # Past the travels at its beginning, a unit's lines are its own: they are on the wire as they were proved.
        own = [line for line in gcode.splitlines() if b" E" in line][5]
        assert own in sent
    reader.close()


def test_a_second_batch_on_the_same_cell(stack: Stack) -> None:
    stack.begin(stack.job(days=1))
    stack.until(ended)
    stack.begin(stack.job(days=2, order="O-2", batch="B-2"))
    status = stack.until(lambda status: status["run"] == "B-2-R1" and ended(status))
    assert status["ended"] == "FINISHED"
    assert [unit["verdict"] for unit in status["units"]] == ["accepted"] * 2  # type: ignore[union-attr, index, call-overload]
    stack.children.close()
    assert_store_verifies(stack.folder)


@pytest.mark.parametrize("stack", [{"fault": "unplug:2"}], indirect=True)
def test_a_pulled_cable_ends_the_run_and_scraps_the_unit(stack: Stack) -> None:
    stack.begin()
    status = stack.until(ended)
    assert status["ended"] == "FAULTED"
    assert [unit["verdict"] for unit in status["units"]] == ["accepted", "scrapped", None]  # type: ignore[union-attr, index, call-overload]
    assert status["link"] == {"state": "unknown", "age_ms": status["link"]["age_ms"], "quality": "unknown"}  # type: ignore[index, call-overload]
    assert set(status["resting"]) == {"pressure", "balance"}  # type: ignore[arg-type]
    stack.children.close()
    assert_store_verifies(stack.folder)


def test_killed_in_mid_unit_and_started_again(stack: Stack) -> None:
    run = stack.begin()
    stack.until(printing(2))  # type: ignore[arg-type]
    stack.kill_cell()
    with pytest.raises(CellUnreachable):
        stack.ask().status()
    stack.start_cell()
    status = stack.ask().status()
    assert (status["state"], status["ended"], status["run"]) == ("AWAITING_REVIEW", "INTERRUPTED", run)
    verdicts = [(unit["n"], unit["verdict"]) for unit in status["units"]]  # type: ignore[union-attr, index, call-overload]
    assert verdicts == [(1, "accepted"), (2, "scrapped")]
    with pytest.raises(RunMissing):
        stack.ask().start(run, OPERATOR)
    stack.children.close()
    assert_store_verifies(stack.folder)
    truth = json.loads((stack.folder / "truth.json").read_text())
    patches = truth["patches"] if isinstance(truth, dict) else truth
    assert len(patches) <= 2, "nothing was printed after the restart"


def test_stop_from_a_second_connection(stack: Stack) -> None:
    run = stack.begin()
    stack.until(printing(1))  # type: ignore[arg-type]
    stack.ask().stop(run, "kill", OPERATOR, "test")
    status = stack.until(ended)
    assert status["ended"] == "ABORTED"
    assert status["units"][0]["verdict"] == "scrapped"  # type: ignore[index, call-overload]
    assert [alarm["name"] for alarm in status["alarms"]] == ["stopped by a person"]  # type: ignore[union-attr, index, call-overload]


@pytest.mark.parametrize("stack", [{"fault": "balance_silent:1"}], indirect=True)
def test_a_warning_is_shelved_and_comes_back_at_the_end_of_the_run(stack: Stack) -> None:
    run, cell = stack.begin(), stack.ask()
    warning = f"{run}/A01"
    status = stack.until(lambda status: bool(status["alarms"]))
    assert [(alarm["name"], alarm["shelvable"]) for alarm in status["alarms"]] == [("balance settles slowly", True)]  # type: ignore[union-attr, index, call-overload]
    with pytest.raises(CellRefused, match="a shelf needs a reason"):
        cell.alarm("shelve", warning, OPERATOR, " ", 10)
    with pytest.raises(CellRefused, match="not shelved"):
        cell.alarm("unshelve", warning, OPERATOR, "")
    with pytest.raises(CellRefused, match="not a command about an alarm"):
        cell.alarm("stop.kill", warning, OPERATOR, "")
    with pytest.raises(RunMissing):
        cell.alarm("acknowledge", f"{run}/A99", OPERATOR, "seen")
    cell.alarm("shelve", warning, OPERATOR, "draught, door is being closed", 480)
    shown = stack.until(lambda status: status["alarms"][0]["state"] == "shelved")["alarms"][0]  # type: ignore[index, call-overload]
    assert (shown["shelved_by"], shown["shelf_reason"], shown["shelvable"]) == (  # type: ignore[index, call-overload]
        OPERATOR["username"], "draught, door is being closed", False,
    )  # fmt: skip
    status = stack.until(ended)
    assert [(alarm["state"], alarm["first_out"]) for alarm in status["alarms"]] == [  # type: ignore[union-attr, index, call-overload]
        ("unacknowledged", False), ("unacknowledged", True),
    ]  # fmt: skip
    for refused in (warning, f"{run}/A02"):
        with pytest.raises(CellRefused):
            cell.alarm("shelve", refused, OPERATOR, "in the way", 10)
    stack.kill_cell()
    stack.start_cell()
    stack.ask().alarm("acknowledge", f"{run}/A02", OPERATOR, "seen after the restart")
    assert stack.ask().status()["alarms"][1]["state"] == "acknowledged"  # type: ignore[index, call-overload]
    with pytest.raises(CellRefused, match="the shelf ends with its run"):
        stack.ask().alarm("shelve", warning, OPERATOR, "in the way", 10)
    found = stack.ask().alarm_figures(run)
    assert (found["alarms"], found["floods"], found["acknowledged"]) == (3, 0, 1), "raised, raised, and announced anew"
    stack.children.close()
    assert_store_verifies(stack.folder)


def test_the_door_takes_no_stranger_and_no_frame_twice(stack: Stack) -> None:
    address = json.loads((stack.folder / "cell-1" / "address.json").read_text())
    bare = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    bare.check_hostname = False
    bare.verify_mode = ssl.CERT_NONE
    with (
        socket.create_connection((address["host"], address["port"]), timeout=10) as raw,
        pytest.raises((ssl.SSLError, ConnectionError)),
        bare.wrap_socket(raw) as stranger,
    ):
        if stranger.recv(1) == b"":
            raise ConnectionError("closed without a word")
    tls = stack.folder / "tls"
    context = client_context(tls / "ca.pem", tls / "workstation.pem", tls / "workstation.key")
    with (
        socket.create_connection((address["host"], address["port"]), timeout=10) as raw,
        context.wrap_socket(raw, server_hostname="cell-1") as connection,
    ):
        greeting = json.loads(receive_frame(connection, REPLY_LIMIT) or b"{}")
        request = Request(nonce=greeting["nonce"], counter=1, op="describe", body={})
        send_frame(connection, request)
        assert json.loads(receive_frame(connection, REPLY_LIMIT) or b"{}")["result"]["cell"] == "cell-1"
        send_frame(connection, request)
        assert connection.recv(1) == b"", "a frame sent again ends the connection"


def test_a_missing_port_is_named_and_nothing_is_printed(stack: Stack) -> None:
    stack.kill_cell()
    configuration = stack.folder / "cell-1" / "cell.toml"
    text = configuration.read_text()
    configuration.write_text("\n".join('balance = "/dev/no-balance"' if line.startswith("balance") else line for line in text.splitlines()))
    stack.start_cell()
    with pytest.raises(CellRefused, match="There is no port /dev/no-balance"):
        stack.ask().create_run(stack.job(days=3))
    with sqlite3.connect(f"file:{stack.folder / 'cell-1.db'}?mode=ro", uri=True) as database:
        assert database.execute("SELECT count(*) FROM objects WHERE type = 'run'").fetchone() == (0,)
