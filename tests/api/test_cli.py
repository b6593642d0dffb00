"""The command: one clear message for each bad input, its status, and what it leaves."""

from __future__ import annotations

import stat
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from api import cli
from api.demo import MARKER, prepare_folder
from api.errors import FolderNotOurs
from audit.errors import StoreReadOnly
from audit.events import EventKind
from audit.version import SOFTWARE


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    status = cli.run(list(arguments))
    out, err = capsys.readouterr()
    return status, out, err


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "version") == (0, f"{SOFTWARE}\n", "")


def test_plan_shows_the_worked_prescription_and_writes_the_program(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    out = tmp_path / "program.gcode"
    status, text, error = run(capsys, "plan", "--out", str(out))
    assert (status, error) == (0, "")
    for figure in ("0.741620 m²", "18.5405 mg", "18.5 mg", "−0.22 %", "467.17 mg", "389.31 µL", "Demonstration, not for patients"):
        assert figure in text
    assert out.read_bytes().count(b";END UNIT") == 14


def test_plan_makes_a_program_of_each_dose_and_shows_the_whole_proof(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    out = tmp_path / "program.gcode"
    status, text, error = run(capsys, "plan", "--units", "1", "--dose", "20", "--dose", "25", "--proof", "--out", str(out))
    assert (status, error) == (0, "")
    assert not out.exists()
    assert [(tmp_path / f"program-{n}.gcode").read_bytes().count(b";END UNIT") for n in (1, 2)] == [1, 1]
    assert text.count("The proof holds.") == 2
    for figure in ("15 mg", "18.5 mg", "prime volume", "33.3", "389.310"):
        assert figure in text


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--height", "0"], "RE-031", "height in cm: 0"),
        (["--dose", "200"], "RE-032", "5 mg to 40 mg"),
        (["--ink-expires", "2020-01-01"], "RE-035", "expired on 2020-01-01"),
        (["--cartridge-ml", "2"], "RE-035", "fuller cartridge"),
        (["--recipe", "nothing"], "RE-011", "Choose one of"),
        (["--recipe", "sildenafil"], "RE-03", "sildenafil"),
        (["--basis", "monohydrate"], "RE-032", "monohydrate"),
        (["--height", "abc"], "RE-031", "not a number"),
        (["--dose", "1,250"], "RE-031", "comma"),
        (["--units", "0"], "AP-014", "units"),
        (["--units", "x"], "AP-014", "units"),
        (["--ink-assay", "1,250"], "AP-014", "comma"),
        (["--ink-assay", "60"], "RE-03", "outside"),
        (["--ink-expires", "soon"], "AP-014", "date"),
        (["--cartridge-ml", "-1"], "AP-014", "cartridge"),
        (["--case", "nothing"], "RE-011", "Choose one of"),
        (["--case", "hydrocortisone", "--units", "10"], "AP-014", "multiple of the 3"),
    ],
)
def test_bad_input_is_one_message_and_no_file(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, arguments: list[str], code: str, words: str
) -> None:
    out = tmp_path / "program.gcode"
    status, text, error = run(capsys, "plan", "--out", str(out), *arguments)
    assert status == 2 and text == "" and not out.exists()
    assert error.startswith(f"error {code}") and words in error and error.count("\n") == 1 and "Traceback" not in error


@pytest.mark.parametrize("arguments", [["--height", "0"], ["--dose", "200"], ["--rate", "1,000"], ["--rate", "0"], ["--case", "nothing"]])
def test_demo_refuses_before_it_makes_anything(capsys: pytest.CaptureFixture[str], tmp_path: Path, arguments: list[str]) -> None:
    folder = tmp_path / "demo"
    status, _, error = run(capsys, "demo", "--dir", str(folder), *arguments)
    assert status == 2 and error.startswith("error ") and not folder.exists()


def test_demo_deletes_no_folder_of_somebody_else(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    kept = tmp_path / "thesis.txt"
    kept.write_text("years of work")
    status, _, error = run(capsys, "demo", "--dir", str(tmp_path))
    assert status == 2 and "AP-031" in error and kept.read_text() == "years of work"
    with pytest.raises(FolderNotOurs):
        prepare_folder(kept)


def test_demo_makes_its_own_folder_fresh(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    prepare_folder(folder)
    (folder / "old.txt").write_text("from before")
    prepare_folder(folder)
    assert [path.name for path in folder.iterdir()] == [MARKER]


def test_demo_in_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(StoreReadOnly, match="cannot be written"):
        prepare_folder(Path("/proc/nowhere/demo"))


def test_verify_a_store(capsys: pytest.CaptureFixture[str], bench: Any) -> None:
    store, keys = str(bench.workstation.settings.folder / "workstation.db"), str(bench.workstation.settings.folder / "site.vkey")
    bench.workstation.store.checkpoint()
    status, text, _ = run(capsys, "verify", store, "--trusted-key", keys)
    assert status == 0 and "verified" in text
    status, text, _ = run(capsys, "verify", store)
    assert status == 3 and "signer not established" in text
    status, text, _ = run(capsys, "verify", store, "--json")
    assert status == 3 and '"signer_established": false' in text


def test_verify_names_what_is_not_there(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    status, _, error = run(capsys, "verify", str(tmp_path / "none.zip"))
    assert status == 2 and "AP-014" in error
    bad = tmp_path / "bad.zip"
    bad.write_bytes(b"not a zip")
    status, text, _ = run(capsys, "verify", str(bad))
    assert status == 1 and "failed" in text
    status, _, error = run(capsys, "verify", str(bad), "--trusted-key", str(bad))
    assert status == 2 and error.startswith("error ")


def test_wrong_option_is_a_usage_message(capsys: pytest.CaptureFixture[str]) -> None:
    status, _, error = run(capsys, "plan", "--no-such-option")
    assert status == 2 and "no-such-option" in error and "Traceback" not in error


def test_site_keeps_its_secrets_to_itself(laid_out: Any) -> None:
    secret = [*laid_out.folder.rglob("*.key")]
    assert len(secret) >= 5
    for path in secret:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
    stores = b"".join(path.read_bytes() for path in laid_out.folder.glob("*.db*"))
    assert not any(password.encode() in stores for password in laid_out.passwords.values())


def test_alarm_figures_come_from_a_store_alone(bench: Any, capsys: pytest.CaptureFixture[str]) -> None:
    raised = {"name": "pressure high", "priority": "critical", "state": "unacknowledged", "respond_within_s": 60}
    bench.cell.record(EventKind.ALARM_CONDITION_RAISED, "alarm", "B-1-R1/A01", raised)
    bench.cell.record(EventKind.ALARM_CONDITION_ACKNOWLEDGED, "alarm", "B-1-R1/A01", {"state": "acknowledged"})
    status, text, error = run(capsys, "alarms", str(bench.cell.store.path))
    assert (status, error) == (0, "")
    assert "1 alarms, at most 1 in 10 minutes, 0 floods" in text and "pressure high" in text and "acknowledged: 1" in text
    assert "0 alarms" in run(capsys, "alarms", str(bench.cell.store.path), "--run", "B-1-R9")[1]


def test_alarm_figures_of_a_store_that_is_not_there(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    status, _, error = run(capsys, "alarms", str(tmp_path / "none.db"))
    assert status == 2 and "none.db" in error


class OtherProgram(BaseHTTPRequestHandler):
    """What else may listen at an address: it answers, but not as a workstation."""

    def do_POST(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"<html>a printer's own page</html>")

    def log_message(self, *_: object) -> None:
        return


@pytest.mark.parametrize("command", [["weigh"], ["check", "readiness"], ["check", "cleaning", "CL-1"]])
@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "nonsense", "another program"])
def test_where_no_workstation_answers_the_address_is_named(
    command: list[str], url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DOSEWRIGHT_PASSWORD", "x")
    with HTTPServer(("127.0.0.1", 0), OtherProgram) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            address = f"http://127.0.0.1:{server.server_port}" if url == "another program" else url
            assert cli.run([*command, "--url", address]) == 2
        finally:
            server.shutdown()
            thread.join()
    said = capsys.readouterr()
    assert f"AP-032: No workstation answers at {address}" in said.err + said.out
    assert "Traceback" not in said.err + said.out
