"""`dosewright replay` on packages of runs over real ports: the same decisions elsewhere, and a clear answer to whatever was changed."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import demo_runs
import pytest
import stranger_verifier as stranger
from site_services import Site
from stack import Stack
from test_tampering import files_of, redigest, write

from api import cli
from audit.canonical import canonical, sha256_hex
from audit.chain import entry_digest, root
from audit.checkpoint import SigningKey, format_checkpoint
from audit.release.package import ADMISSION

pytestmark = pytest.mark.stack
TRAIL, CHECKPOINT = "trails/cell-1.demonstration.jsonl", "checkpoints/cell-1.demonstration"
ROOT = Path(__file__).parents[2]
Files = dict[str, bytes]
Replay = Callable[..., tuple[int, str]]


@pytest.fixture
def replay(capsys: pytest.CaptureFixture[str]) -> Replay:
    def ask(path: Path, *options: str) -> tuple[int, str]:
        status = cli.run(["replay", str(path), *options])
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        assert status == 2 or err == ""
        assert status != 2 or (out == "" and err.count("\n") == 1), "one message"
        return status, out + err

    return ask


def only(text: str) -> dict[str, Any]:
    (found,) = json.loads(text).values()
    return dict(found)


# -- identical -------------------------------------------------------------------------------------------------------


def unplugged() -> Path:
    return demo_runs.demonstration("--case", "minoxidil", "--units", "3", "--fault", "unplug:2", status=3)


@pytest.mark.parametrize(
    ("run", "ended", "segments"),
    [(demo_runs.released, "FINISHED", 5), (demo_runs.stopped, "FAULTED", 4), pytest.param(unplugged, "FAULTED", 4, marks=pytest.mark.deep)],
    ids=["released", "clogged", "unplugged"],
)
def test_a_run_is_decided_again_from_its_package_alone(run: Callable[[], Path], ended: str, segments: int, replay: Replay) -> None:
    package = run() / demo_runs.PACKAGE
    status, text = replay(package)
    assert status == 0 and "✓ B00001-R1: identical" in text
    status, text = replay(package, "--json", "--run", "B00001-R1")
    found = only(text)
    assert (status, found["outcome"], found["journal_segments"], found["units"]) == (0, "identical", segments, 3)
    assert found["recorded_by"] == found["replayed_by"] != ""
    entries = [json.loads(line) for line in files_of(package)[TRAIL].splitlines()]
    own = [e for e in entries if e["subject"]["id"].startswith("B00001-R1") and e["kind"] != "unit.removal.confirmed"]
    closing = next(number for number, entry in enumerate(own) if entry["kind"] == "run.record.closed")
    assert found["entries"] == closing + 1 and own[closing]["new"]["ended"] == ended
    assert found["later"] == [entry["kind"] for entry in own[closing + 1 :]] and found["unsealed"] == []
    assert found["recorded_sha256"] == found["replayed_sha256"]


def test_a_released_batch_whose_purge_unit_was_taken_off_the_plate(replay: Replay) -> None:
    package = demo_runs.demonstration("--case", "sildenafil", "--units", "3") / demo_runs.PACKAGE
    kinds = [json.loads(line)["kind"] for line in files_of(package)[TRAIL].splitlines()]
    assert "calibration.removal.confirmed" in kinds
    status, text = replay(package)
    assert status == 0 and "✓ B00001-R1: identical" in text, text


@pytest.mark.parametrize(
    "environment",
    [
        {"TZ": "Pacific/Auckland", "LC_ALL": "C", "PYTHONHASHSEED": "1", "LANG": "C"},
        {"TZ": "America/St_Johns", "LC_ALL": "tr_TR.UTF-8", "PYTHONHASHSEED": "4294967295", "PYTHONUTF8": "0"},
    ],
)
def test_elsewhere_with_nothing_but_the_package(environment: dict[str, str], tmp_path: Path, replay: Replay) -> None:
    """Another folder, time zone, locale and order of sets: no site, no store, no bench."""
    _, text = replay(demo_runs.released() / demo_runs.PACKAGE, "--json")
    elsewhere = tmp_path / "désk" / "taken away"
    elsewhere.mkdir(parents=True)
    shutil.copyfile(demo_runs.released() / demo_runs.PACKAGE, elsewhere / "package.zip")
    answer = subprocess.run(
        [sys.executable, "-m", "api.cli", "replay", "package.zip", "--json"],
        cwd=elsewhere,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "HOME": str(tmp_path), **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (answer.returncode, answer.stderr) == (0, "")
    assert json.loads(answer.stdout) == json.loads(text)


def test_a_run_whose_dose_was_corrected(tmp_path: Path, replay: Replay) -> None:
    site = Site(Stack.start(tmp_path / "site", "sildenafil"))
    try:
        batch = site.batch()
        site.print(batch)
        site.stack.until(lambda status: status["state"] == "AWAITING_REVIEW")
        site.workstation.release.close_run(site.session("qp"), batch)
        site.dispose(batch, "rejected")  # three units are too few for their scatter; what was corrected is of no matter here
        package = tmp_path / "package.zip"
        package.write_bytes(site.workstation.release.export(site.session("qp"), batch))
    finally:
        site.close()
    kinds = [json.loads(line)["kind"] for line in files_of(package)[TRAIL].splitlines()]
    assert kinds.count("dose.correction.decided") == 3
    status, text = replay(package, "--json")
    assert (status, only(text)["outcome"]) == (0, "identical"), text
    stranger.verify(package.read_bytes())


# -- changed ---------------------------------------------------------------------------------------------------------


def forged(change: Callable[[Files, list[dict[str, Any]]], None]) -> Files:
    """A package whose cell trail was rewritten by somebody with the keys of cell and workstation: every link and digest fits."""
    folder = demo_runs.released()
    with tempfile.TemporaryDirectory() as place:
        files = files_of(demo_runs.whole(folder, Path(place) / "whole.zip"))
    entries = [json.loads(line) for line in files[TRAIL].splitlines()]
    change(files, entries)
    lines: list[bytes] = []
    states: dict[tuple[str, str], dict[str, Any]] = {}
    for entry in entries:
        for item in entry["attachments"]:
            if item["name"] in files:
                item["sha256"] = sha256_hex(files[item["name"]])
        state = states.setdefault((entry["subject"]["type"], entry["subject"]["id"]), {})
        entry["old"] = {name: state.get(name) for name in entry["new"]}
        state.update(entry["new"])
        entry["prev"] = entry_digest(lines[-1]) if lines else "0" * 64
        lines.append(canonical(entry))
    files[TRAIL] = b"".join(line + b"\n" for line in lines)
    key = SigningKey.load(folder / "cell-1" / "cell.key")
    files[CHECKPOINT] = key.sign_note(format_checkpoint(key.name, len(lines), root(lines))).encode()
    return redigest(files, SigningKey.load(folder / "keys" / "workstation.key"))


def flipped(data: bytes, old: bytes, new: bytes) -> bytes:
    assert old in data
    return data.replace(old, new, 1)


def test_nothing_forged_is_still_identical(tmp_path: Path, replay: Replay) -> None:
    assert replay(write(tmp_path / "p.zip", forged(lambda files, entries: None)))[0] == 0


def test_every_kind_of_damage_has_one_message(tmp_path: Path, replay: Replay) -> None:
    package = demo_runs.released() / demo_runs.PACKAGE
    data = bytearray(package.read_bytes())
    data[data.index(b'"port":"balance"')] ^= 1
    (tmp_path / "flipped.zip").write_bytes(data)
    status, text = replay(tmp_path / "flipped.zip")
    assert status == 2 and "not a sound review package" in text
    (tmp_path / "other.zip").write_bytes(b"PK")
    assert replay(tmp_path / "other.zip")[0] == 2
    assert replay(demo_runs.released() / "cell-1.db")[0] == 2
    assert replay(tmp_path)[0] == 2 and replay(tmp_path / "none.zip")[0] == 2
    status, text = replay(package, "--run", "B00001-R7")
    assert status == 2 and "Its runs are: B00001-R1" in text


@pytest.mark.parametrize("name", ["journal/unit-002.jsonl", "journal/run.jsonl", ADMISSION])
def test_a_file_that_the_trail_does_not_name(name: str, tmp_path: Path, replay: Replay) -> None:
    """With manifest and note made to fit by the workstation's key: the cell's trail still tells."""
    key = SigningKey.load(demo_runs.released() / "keys" / "workstation.key")
    for change in (lambda data: flipped(data, b"1", b"2"), None):
        files = files_of(demo_runs.released() / demo_runs.PACKAGE)
        if change is None:
            del files[name]
        else:
            files[name] = change(files[name])
        status, text = replay(write(tmp_path / "p.zip", redigest(files, key)))
        assert status == 2 and name in text and "of the cell's trail names" in text


def test_a_package_of_before_has_no_admission(tmp_path: Path, replay: Replay) -> None:
    def older(files: Files, entries: list[dict[str, Any]]) -> None:
        del files[ADMISSION]
        for entry in entries:
            entry["attachments"] = [item for item in entry["attachments"] if item["name"] != ADMISSION]

    status, text = replay(write(tmp_path / "p.zip", forged(older)))
    assert status == 2 and "was recorded without admission.json" in text and "dosewright verify" in text


def test_a_mass_that_was_written_anew(tmp_path: Path, replay: Replay) -> None:
    def heavier(files: Files, entries: list[dict[str, Any]]) -> None:
        judged = next(entry for entry in entries if entry["kind"] == "unit.weight.judged" and entry["subject"]["id"].endswith("/002"))
        judged["new"]["mass_mg"] = "99.99"

    path = write(tmp_path / "p.zip", forged(heavier))
    status, text = replay(path)
    assert status == 1 and "✕ B00001-R1: differs" in text
    assert "unit/B00001-R1/002, unit.weight.judged" in text and 'new.mass_mg: recorded "99.99", replayed "' in text
    status, text = replay(path, "--json")
    found = only(text)
    assert status == 1 and found["outcome"] == "differs" and found["recorded_sha256"] != found["replayed_sha256"]
    assert [field["field"] for field in found["difference"]["fields"]] == ["new.mass_mg"]


def test_an_entry_left_out_and_an_entry_added(tmp_path: Path, replay: Replay) -> None:
    def without(files: Files, entries: list[dict[str, Any]]) -> None:
        at = next(number for number, entry in enumerate(entries) if entry["kind"] == "unit.print.intended")
        del entries[at]
        for number, entry in enumerate(entries):
            entry["seq"] = number

    assert replay(write(tmp_path / "p.zip", forged(without)))[0] == 1

    def more(files: Files, entries: list[dict[str, Any]]) -> None:
        last = next(entry for entry in reversed(entries) if entry["subject"]["id"].startswith("B00001-R1"))
        entries.append({**last, "seq": len(entries), "kind": "run.state.changed", "new": {"state": "PRINTING"}, "attachments": []})

    status, text = replay(write(tmp_path / "q.zip", forged(more)))
    assert status == 1 and "replayed nothing" in text


def test_other_inputs_give_other_decisions(tmp_path: Path, replay: Replay) -> None:
    def lighter(files: Files, entries: list[dict[str, Any]]) -> None:
        """Every stable weight after the first unit a little less, in the balance's own words."""
        name = "journal/unit-002.jsonl"
        lines = [json.loads(line) for line in files[name].splitlines()]
        at = [n for n, line in enumerate(lines) if line["port"] == "balance" and bytes.fromhex(line["bytes"]).startswith(b"S S")]
        for n in at[-2:]:
            weight = bytes.fromhex(lines[n]["bytes"]).decode()
            number = next(word for word in weight.split() if "." in word)
            lines[n]["bytes"] = weight.replace(number, str(round(float(number) - 0.005, 4)).ljust(len(number), "0")).encode().hex()
        assert at
        files[name] = b"".join(json.dumps(line, separators=(",", ":"), sort_keys=True).encode() + b"\n" for line in lines)

    status, text = replay(write(tmp_path / "p.zip", forged(lighter)))
    assert status == 1 and "differs" in text


def test_a_journal_that_is_none(tmp_path: Path, replay: Replay) -> None:
    def nonsense(files: Files, entries: list[dict[str, Any]]) -> None:
        files["journal/unit-001.jsonl"] = b'{"at_us":1,"bytes":"zz","port":"clock"}\n'

    status, text = replay(write(tmp_path / "p.zip", forged(nonsense)))
    assert status == 2 and "cannot be read as inputs of a run" in text


def changed_admission(change: Callable[[dict[str, Any]], None]) -> Files:
    def act(files: Files, entries: list[dict[str, Any]]) -> None:
        admission = json.loads(files[ADMISSION])
        change(admission)
        files[ADMISSION] = canonical(admission)

    return forged(act)


def test_an_admission_with_another_dose_is_not_admitted(tmp_path: Path, replay: Replay) -> None:
    """Who holds every key of the site still lacks those of the two people who signed the order."""

    def dose(admission: dict[str, Any]) -> None:
        admission["job"]["order"]["prescription"]["days"] += 1

    status, text = replay(write(tmp_path / "p.zip", changed_admission(dose)))
    assert status == 1 and "refused anew" in text and "is not admitted now" in text


def test_an_admission_with_another_clearance_differs(tmp_path: Path, replay: Replay) -> None:
    def clearance(admission: dict[str, Any]) -> None:
        admission["job"]["line_clearance"]["done_by"] = "somebody else"

    status, text = replay(write(tmp_path / "p.zip", changed_admission(clearance)))
    assert status == 1 and "run.gates.passed" in text
    assert re.search(r"new\.gates\[[0-9]+\]\.evidence", text) and "confirmed by somebody else" in text


def test_an_admission_of_another_form(tmp_path: Path, replay: Replay) -> None:
    def form(admission: dict[str, Any]) -> None:
        admission["format"] = "dosewright-admission/2"

    status, text = replay(write(tmp_path / "p.zip", changed_admission(form)))
    assert status == 2 and "admission.json of run B00001-R1 cannot be read" in text and "format" in text
