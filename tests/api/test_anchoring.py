"""The workstation with a witness: routes, the facts of its process, the replacement of keys, and the commands for all of it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from api.anchor_clients import TrailCopy, WitnessClient
from api.app import create_app
from api.cli import run
from api.process_facts import SiteClock
from api.settings import load_settings
from api.site import Site
from api.wiring import build_workstation
from audit.checkpoint import SigningKey
from audit.clock import SystemClock
from audit.cosignature import CosignerKey
from audit.errors import AnchorAway, RecordError
from audit.events import SYSTEM, EventKind
from audit.key_file import incoming_path, prepare, settle
from audit.report import VerificationStatus
from audit.store import TrailStore
from audit.verify import verify_store
from printer.clock_watch import ClockWatch
from tests.anchors import outside as surroundings
from tests.anchors.trails import LOG, WITNESS, hashes, note
from tests.api.conftest import Bench, TestClient, fake_cell

ROOT = Path(__file__).parents[2]
HOST = "witness.example"


@pytest.fixture
def folder(laid_out: Site, tmp_path: Path) -> Path:
    """A copy of a demonstration site, nothing running."""
    found = tmp_path / "site"
    shutil.copytree(laid_out.folder, found)
    return found


def configure(folder: Path, text: str) -> None:
    with (folder / "workstation.toml").open("a", encoding="utf-8") as file:
        file.write(text)


def witness_entry() -> str:
    return f'\n[[witness]]\nurl = "https://{HOST}"\nkey = "{CosignerKey.of(WITNESS.verifier).text}"\n'


def entries(folder: Path, kind: EventKind) -> list[Any]:
    store = folder / "workstation.db"
    key = SigningKey.load(folder / "keys" / "workstation.key")
    with TrailStore.open(store, key=key, clock=SystemClock(), software="t") as opened:
        return opened.search(kind=kind, limit=1000)


# --- the workstation's own facts --------------------------------------------------------------------------------------------------------


def test_each_start_says_which_keys_of_the_configuration_changed_and_no_secret_is_in_it(folder: Path) -> None:
    build_workstation(folder).close()
    configure(folder, witness_entry().replace("https://", "https://dosewright:hidden-password@"))
    settings = folder / "workstation.toml"
    settings.write_text(f"session_minutes = 60\n{settings.read_text()}")
    build_workstation(folder, http=surroundings.Outside().client()).close()
    build_workstation(folder, http=surroundings.Outside().client()).close()
    first, second, third = entries(folder, EventKind.SITE_PROCESS_STARTED)
    assert len(entries(folder, EventKind.SITE_PROCESS_STOPPED)) == 3
    assert first.new["changed"] == [] and first.new["configuration"]["signer"]
    assert {item["key"]: (item["old"], item["new"]) for item in second.new["changed"]} == {
        "session_minutes": (480, 60),
        "witness.0.key": ("absent", CosignerKey.of(WITNESS.verifier).text),
        "witness.0.url": ("absent", f"https://…@{HOST}"),
    }
    assert third.new["changed"] == [] and third.new["configuration_sha256"] == second.new["configuration_sha256"]
    assert first.new["configuration_sha256"] != second.new["configuration_sha256"]
    assert b"hidden-password" not in (folder / "workstation.db").read_bytes()


def test_a_changed_list_of_trusted_signers_is_a_changed_configuration(folder: Path) -> None:
    build_workstation(folder).close()
    (folder / "trusted").mkdir(exist_ok=True)
    (folder / "trusted" / "signers.json").write_text("{}")
    build_workstation(folder).close()
    changed = entries(folder, EventKind.SITE_PROCESS_STARTED)[1].new["changed"]
    assert [item["key"] for item in changed] == ["trusted_signers.sha256"] and changed[0]["old"] == "absent"


def test_a_clock_that_is_set_is_an_entry_also_when_the_disk_fails_at_first(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = {"steady": 0, "utc": 1_000_000_000}
    key = SigningKey.load(folder / "keys" / "workstation.key")
    with TrailStore.open(folder / "workstation.db", key=key, clock=SystemClock(), software="t") as store:
        clock = SiteClock(store, ClockWatch(lambda: now["steady"], lambda: now["utc"]))
        for step in (0, 60_000_000, 0, -3_000_000):
            now["steady"] += 2_000_000
            now["utc"] += 2_000_000 + step
            if step > 0:
                with monkeypatch.context() as patch:
                    patch.setattr(store, "append", _refuse(RecordError("full")))
                    clock.look()
            else:
                clock.look()
        assert [entry.new["step_ms"] for entry in store.search(kind=EventKind.SITE_CLOCK_STEPPED)] == [60_000, -3_000]


def _refuse(error: Exception) -> Callable[..., object]:
    def refuse(*_: object) -> object:
        raise error

    return refuse


# --- anchoring --------------------------------------------------------------------------------------------------------------------------


def test_a_started_workstation_anchors_both_trails_and_says_so_over_http_and_a_dead_network_is_no_error(
    laid_out: Site, folder: Path, tmp_path: Path
) -> None:
    configure(folder, witness_entry())
    keys = [SigningKey.load(folder / "keys" / "workstation.key"), SigningKey.load(folder / "cell-1" / "cell.key")]
    outside = surroundings.Outside(away={HOST})
    cell = fake_cell.FakeCell(folder)
    with surroundings.witness_store(tmp_path / "w.db", *keys) as witness:
        outside.add_witness(HOST, witness, WITNESS)
        workstation = build_workstation(folder, connector=cell.connect, http=outside.client())
        with TestClient(create_app(workstation, page=False), base_url="http://localhost:8080", client=("127.0.0.1", 50000)) as client:
            bench = Bench(laid_out, cell, workstation, client, {})
            outside.wait_until_asked(HOST)
            answer = bench.ask("qp", "GET", "/anchors").json()
            assert answer["configured"] and "nothing is anchored outside" in answer["lines"][0]
            refused = bench.ask("administrator", "POST", "/anchors")
            assert refused.status_code == 403, "an administrator has no part in the record"
            away = bench.ask("qp", "POST", "/anchors").json()
            assert {item["again"] for item in away["outcomes"]} == {True}
            outside.away.clear()
            done = bench.ask("qp", "POST", "/anchors").json()
            assert [(item["origin"], item["problem"]) for item in done["outcomes"]] == [(key.name, "") for key in keys]
            assert any("last anchored outside" in line for line in done["lines"])
        workstation.close()
        cell.store.close()
        assert {log.origin for log in witness.logs() if log.seen.size} == {key.name for key in keys}
    assert run(["verify", str(folder / "workstation.db"), "--trusted-key", str(folder / "site.vkey")]) == 0


# --- keys -------------------------------------------------------------------------------------------------------------------------------


def rotate(laid_out: Site, folder: Path, monkeypatch: pytest.MonkeyPatch, *more: str) -> int:
    monkeypatch.setenv("DOSEWRIGHT_PASSWORD", laid_out.passwords["administrator"])
    status = run(["key", "rotate", str(folder), "--reason", "yearly", *more])
    monkeypatch.delenv("DOSEWRIGHT_PASSWORD")
    return status


def test_the_workstations_key_is_replaced_by_an_administrator_and_the_site_goes_on(
    laid_out: Site, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = SigningKey.load(folder / "keys" / "workstation.key")
    assert rotate(laid_out, folder, monkeypatch) == 0
    new = SigningKey.load(folder / "keys" / "workstation.key")
    assert new.verifier != before.verifier and capsys.readouterr().out.strip() == new.verifier_key
    retired = folder / "keys" / f"workstation.key.retired-{before.verifier.key_id.hex()}"
    assert SigningKey.load(retired).verifier == before.verifier and retired.stat().st_mode & 0o077 == 0
    assert (folder / "site.vkey").read_text().splitlines()[-1] == new.verifier_key
    build_workstation(folder).close()
    assert verify_store(folder / "workstation.db", [before.verifier]).status is VerificationStatus.VERIFIED
    assert run(["key", "show", str(folder)]) == 0
    shown = capsys.readouterr().out
    assert new.verifier_key in shown and "the old and the new key signed it; yearly" in shown
    (rotated,) = entries(folder, EventKind.TRAIL_KEY_ROTATED)
    assert rotated.actor.username == "administrator"


def test_who_is_no_administrator_replaces_no_key(laid_out: Site, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key = (folder / "keys" / "workstation.key").read_text()
    monkeypatch.setenv("DOSEWRIGHT_PASSWORD", laid_out.passwords["quality"])
    assert run(["key", "rotate", str(folder), "--reason", "yearly", "--user", "quality"]) == 2
    monkeypatch.setenv("DOSEWRIGHT_PASSWORD", "wrong")
    assert run(["key", "rotate", str(folder), "--reason", "yearly"]) == 2
    monkeypatch.delenv("DOSEWRIGHT_PASSWORD")
    assert (folder / "keys" / "workstation.key").read_text() == key and entries(folder, EventKind.TRAIL_KEY_ROTATED) == []


@pytest.mark.parametrize("written", [False, True])
def test_killed_while_the_key_is_replaced_the_site_starts_with_the_key_that_its_trail_names(folder: Path, written: bool) -> None:
    """Between the new key file and the trail, or between the trail and the names of the files."""
    store, key_file = folder / "workstation.db", folder / "keys" / "workstation.key"
    old = SigningKey.load(key_file)
    new = prepare(key_file, old.name)
    if written:
        with TrailStore.open(store, key=old, clock=SystemClock(), software="t") as opened:
            opened.rotate_key(new, actor=SYSTEM, device="ws", reason="yearly")
    workstation = build_workstation(folder)
    assert workstation.store.key == (new if written else old).verifier
    workstation.close()
    assert incoming_path(key_file).exists() is not written
    assert settle(store, key_file) is False
    assert prepare(key_file, old.name).verifier != (new if written else old).verifier, "an unused new key is used by the next attempt"


def test_the_end_of_an_interrupted_replacement_leaves_one_json_document(
    laid_out: Site, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    store, key_file = folder / "workstation.db", folder / "keys" / "workstation.key"
    old = SigningKey.load(key_file)
    with TrailStore.open(store, key=old, clock=SystemClock(), software="t") as opened:
        opened.rotate_key(prepare(key_file, old.name), actor=SYSTEM, device="ws", reason="yearly")
    assert rotate(laid_out, folder, monkeypatch, "--json") == 0
    said = capsys.readouterr()
    assert json.loads(said.out)["verifier_key"] == SigningKey.load(key_file).verifier_key
    assert "interrupted attempt took its place" in said.err


def test_a_list_of_keys_that_cannot_be_written_says_that_the_key_was_replaced(
    laid_out: Site, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "site.vkey").unlink()
    (folder / "site.vkey").mkdir()
    assert rotate(laid_out, folder, monkeypatch) == 2
    new = SigningKey.load(folder / "keys" / "workstation.key").verifier_key
    said = capsys.readouterr().err
    assert "was replaced, but" in said and f"Add this line to it: {new}" in said and said.count("\n") == 1


def test_a_lost_key_is_replaced_and_shown_as_not_continuous(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    old = SigningKey.load(folder / "keys" / "workstation.key").verifier
    (folder / "keys" / "workstation.key").unlink()
    monkeypatch.setenv("DOSEWRIGHT_PASSWORD", "none is asked for")
    assert run(["key", "rotate", str(folder), "--reason", "the disk with the key is gone", "--lost"]) == 0
    monkeypatch.delenv("DOSEWRIGHT_PASSWORD")
    new = SigningKey.load(folder / "keys" / "workstation.key").verifier
    assert verify_store(folder / "workstation.db", [old]).status is VerificationStatus.FAILED
    assert verify_store(folder / "workstation.db", [new]).status is VerificationStatus.VERIFIED
    capsys.readouterr()
    run(["key", "show", str(folder)])
    assert "NOT continuous" in capsys.readouterr().out


def test_a_cells_new_key_is_believed_when_quality_assurance_signs_for_it(bench: Any) -> None:
    cell = bench.cell
    before = cell.store.verifier_key
    new = SigningKey.from_seed(cell.store.origin, bytes(range(60, 92)))
    cell.store.rotate_key(new, actor=SYSTEM, device="cell-1", reason="yearly")
    shown = bench.ask("qp", "GET", "/cells/cell-1/key").json()
    assert (shown["believed"], shown["present"], shown["continuous"]) == (before, new.verifier_key, True)
    body = {"reason": "yearly", "signature": bench.signature("quality")}
    assert bench.ask("operator", "POST", "/cells/cell-1/key", {**body, "signature": bench.signature("operator")}).status_code == 403
    other = SigningKey.from_seed(new.name, bytes(32)).verifier_key
    assert bench.ask("quality", "POST", "/cells/cell-1/key", {**body, "key": other}).status_code == 409
    accepted = bench.ask("quality", "POST", "/cells/cell-1/key", {**body, "key": new.verifier_key})
    assert accepted.status_code == 200 and accepted.json()["believed"] == new.verifier_key
    assert bench.ask("quality", "POST", "/cells/cell-1/key", body).status_code == 409, "nothing is left to accept"
    entry = bench.workstation.store.search(kind=EventKind.CELL_KEY_ACCEPTED)[0]
    assert entry.old["verifier_key"] == before and entry.new["key_accepted"]["signer"] == "quality"


def test_a_cells_key_that_was_not_replaced_by_the_old_one_needs_to_be_given_by_hand(bench: Any) -> None:
    cell = bench.cell
    new = SigningKey.from_seed(cell.store.origin, bytes(range(60, 92)))
    path, clock = cell.store.path, cell.store.clock
    cell.store.close()
    cell.store = TrailStore.replace_lost_key(
        path, key=new, clock=clock, software="t", actor=SYSTEM, device="cell-1", reason="the cell's disk was replaced"
    )
    assert bench.ask("qp", "GET", "/cells/cell-1/key").json()["continuous"] is False
    body = {"reason": "new disk", "signature": bench.signature("quality")}
    refused = bench.ask("quality", "POST", "/cells/cell-1/key", body)
    assert refused.status_code == 409 and "did not sign its replacement" in refused.text
    assert bench.ask("quality", "POST", "/cells/cell-1/key", {**body, "key": new.verifier_key}).status_code == 200


# --- the witness as a process of its own ------------------------------------------------------------------------------------------------


def test_a_witness_is_made_told_of_a_trail_served_killed_and_started_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, logs = tmp_path / "witness", tmp_path / "site.vkey"
    logs.write_text(f"{LOG.verifier_key}\n")
    assert run(["witness", "create", str(folder), "--name", "control.example/w1"]) == 0
    key = CosignerKey.parse(capsys.readouterr().out)
    assert (folder / "witness.key").stat().st_mode & 0o077 == 0
    assert run(["witness", "create", str(folder), "--name", "control.example/w1"]) == 2, "a witness is never made anew"
    assert run(["witness", "add-log", str(folder), str(logs)]) == 0
    assert run(["witness", "key", str(folder)]) == 0
    assert key.text in capsys.readouterr().out
    with httpx.Client() as http:
        client = WitnessClient("", key, http)
        process, client = _serve(folder, client)
        client.cosign(TrailCopy(note(5), lambda: iter(hashes(5))), 0)
        process.send_signal(signal.SIGKILL)
        process.wait()
        with pytest.raises(AnchorAway):
            client.cosign(TrailCopy(note(6), lambda: iter(hashes(6))), 5)
        process, client = _serve(folder, client)
        assert run(["witness", "serve", str(folder), "--port", client.url.rpartition(":")[2]]) == 2
        assert "The witness cannot listen at 127.0.0.1 port" in capsys.readouterr().err
        cosigned, knew = client.cosign(TrailCopy(note(9), lambda: iter(hashes(9))), 0)
        assert knew == 5 and cosigned.cosignature.name == "control.example/w1"
        too_long = http.post(f"{client.url}/add-checkpoint", content=b"x" * 200_000)
        assert too_long.status_code == 413
        assert http.get(f"{client.url}/add-checkpoint").status_code == 405
        process.terminate()
        process.wait(10)
    assert run(["witness", "status", str(folder)]) == 0
    assert f"{LOG.name}: 9 entries" in capsys.readouterr().out
    assert run(["witness", "note", str(folder), LOG.name]) == 0
    assert capsys.readouterr().out == note(9)
    assert run(["witness", "note", str(folder), "elsewhere"]) == 2


def _serve(folder: Path, client: WitnessClient) -> tuple[subprocess.Popen[bytes], WitnessClient]:
    """Start the witness's process on any port and wait for it to say where it listens; from then on callers are heard."""
    command = [sys.executable, "-m", "api.cli", "witness", "serve", str(folder), "--port", "0"]
    process = subprocess.Popen(command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE)
    assert process.stdout is not None
    with process.stdout:
        said = process.stdout.readline().decode()
    try:
        place, url = said.strip().rsplit(" ", 1)
        assert place == "witness at"
        assert client.http.get(f"{url}/health", timeout=60).text == f"{client.key.name}\n"
    except BaseException:
        process.kill()
        process.wait()
        raise
    return process, WitnessClient(url, client.key, client.http)


def test_verify_takes_keys_of_witnesses_roots_and_notes_and_names_a_file_that_holds_none(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store, keys = str(folder / "workstation.db"), str(folder / "site.vkey")
    kept = tmp_path / "kept.note"
    with TrailStore.open(
        folder / "workstation.db", key=SigningKey.load(folder / "keys" / "workstation.key"), clock=SystemClock(), software="t"
    ) as opened:
        kept.write_text(opened.checkpoint())
    witness = tmp_path / "w.vkey"
    witness.write_text(CosignerKey.of(WITNESS.verifier).text)
    assert run(["verify", store, "--trusted-key", keys, "--witness-key", str(witness), "--note", str(kept), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)[store]
    assert any(line.startswith("NOT anchored outside") for line in report["checked"])
    assert run(["verify", store, "--witness-key", keys]) == 2
    assert run(["verify", store, "--time-root", keys]) == 2
    assert run(["verify", store, "--note", str(tmp_path / "none")]) == 2
    assert load_settings(folder).witness == ()
