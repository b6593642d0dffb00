"""With `--json`, a program gets one JSON document on standard output, or one JSON object on standard error, from every command."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from shape_cases import hexagon, stl_bytes
from typer.core import TyperCommand, TyperGroup

from api import cli
from api.cli_errors import problem
from api.demo_desk import Refused
from api.errors import SettingsInvalid
from api.lazy_group import load_all
from audit.canonical import canonical
from audit.errors import ReleaseBlocked
from audit.quantities import QuantityError
from audit.version import SOFTWARE
from firmware_bridge import transport
from firmware_bridge.port_discovery import PortIdentity

WITHOUT = {
    "serve": "runs until it is ended, and prints for the person before it",
    "site serve": "runs until it is ended",
    "witness serve": "runs until it is ended",
    "weigh": "a person at a balance answers unseen; what came of it is the exit status and the unit's own record",
}


def walk(group: TyperGroup, before: str = "") -> Iterator[tuple[str, TyperCommand]]:
    for name, command in load_all(group).items():
        if isinstance(command, TyperGroup):
            yield from walk(command, f"{before}{name} ")
        else:
            yield f"{before}{name}", command


def commands() -> dict[str, TyperCommand]:
    group = typer.main.get_command(cli.app)
    assert isinstance(group, TyperGroup)
    return dict(walk(group))


def has_json(command: TyperCommand) -> bool:
    return any("--json" in parameter.opts for parameter in command.params)


def test_every_command_has_json_or_says_why_not() -> None:
    found = commands()
    assert len(found) > 60
    assert {name for name, command in found.items() if not has_json(command)} == set(WITHOUT)
    assert all(reason for reason in WITHOUT.values())


def test_json_is_one_option_that_says_the_same_everywhere() -> None:
    said = {p.help for command in commands().values() for p in command.params if "--json" in p.opts}  # type: ignore[attr-defined]
    assert len(said) == 2, said


@pytest.fixture
def folder(laid_out: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a site at rest, an STL file, and two ports of the machine."""
    shutil.copytree(laid_out.folder, tmp_path / "site")
    (tmp_path / "hexagon.stl").write_bytes(stl_bytes(hexagon()))
    monkeypatch.chdir(tmp_path)
    ports = [PortIdentity("/dev/ttyACM0", "Original Prusa i3", "2c99:0002", "CZPX0000", "Prusa Research", "1-1.2")]
    monkeypatch.setattr(transport, "list_ports", lambda: ports)
    return tmp_path


CHEAP: list[tuple[str, int, set[str]]] = [
    ("version", 0, {"software"}),
    ("plan --units 1", 0, {"demonstration", "programs"}),
    ("solid hexagon.stl", 0, {"sha256", "length_mm", "width_mm", "height_mm", "reach_mm", "volume_uL", "facets"}),
    ("devices", 0, {"ports"}),
    ("alarms site/cell-1.db", 0, {"alarms", "floods", "stale"}),
    ("trail site/workstation.db --limit 2", 0, {"entries"}),
    ("trail site/workstation.db --history --object cell/cell-1", 0, {"signatures"}),
    ("trends site/workstation.db site/cell-1.db", 0, {"series", "left_out"}),
    ("retention site/workstation.db --on 2031-03-01", 0, {"on", "batches"}),
    ("archive empty --trusted-key site/site.vkey", 2, {"code"}),
    ("verify site/workstation.db", 3, {"site/workstation.db"}),
    ("key show site", 0, {"verifier_key", "replacements"}),
    ("key show site --cell cell-1", 2, {"code"}),
    ("create-store new.db --key site/keys/workstation.key", 0, {"store", "origin", "verifier_key"}),
    (
        "backup site/workstation.db --key site/keys/workstation.key --to copy.backup",
        0,
        {"file", "origin", "size", "root", "sha256", "keys"},
    ),
    ("backup-check --live site/workstation.db", 1, {"due", "overdue", "text"}),
    ("witness create w --name control.example/w1", 0, {"key"}),
    ("site create clinic --site clinic --zone Europe/Berlin", 0, {"folder", "verifier_keys", "administrator", "set_up_token"}),
    ("site trust site --cell cell-1", 0, {"cell", "people"}),
    ("doctor --site site", 0, {"software", "at", "site", "outcome", "counts", "checks"}),
]


@pytest.mark.parametrize(("line", "status", "keys"), CHEAP, ids=[line for line, _, _ in CHEAP])
def test_standard_output_is_one_json_document(
    folder: Path, capsys: pytest.CaptureFixture[str], line: str, status: int, keys: set[str]
) -> None:
    (folder / "empty").mkdir()
    assert cli.run([*line.split(), "--json"]) == status
    said = capsys.readouterr()
    answer = json.loads(said.err if status == 2 else said.out)
    assert keys <= set(answer), set(answer)
    assert said.out == "" if status == 2 else "Traceback" not in said.err


def documented() -> dict[str, set[str]]:
    """The keys that docs/command-line.md names first for each command."""
    text = (Path(__file__).resolve().parent.parent.parent / "docs/command-line.md").read_text("utf-8")
    rows = re.findall(r"^\| `([a-z -]+)`[^|]* \| `([a-zA-Z0-9_ …]+)`", text.split("## For programs")[1].split("\n## ")[0], re.MULTILINE)
    return {name: set(keys.split()) - {"…"} for name, keys in rows}


def keys_on_the_page(line: str) -> set[str]:
    return next((keys for name, keys in documented().items() if line == name or line.startswith(f"{name} ")), set())


ON_THE_PAGE = [
    line for line, status, _ in CHEAP if status != 2 and keys_on_the_page(line) and "--history" not in line and line[:8] != "backup-c"
]


@pytest.mark.parametrize("line", ON_THE_PAGE)
def test_the_page_names_the_keys_that_a_command_gives(folder: Path, capsys: pytest.CaptureFixture[str], line: str) -> None:
    cli.run([*line.split(), "--json"])
    assert keys_on_the_page(line) <= set(json.loads(capsys.readouterr().out))


def test_most_of_the_page_is_held_against_the_commands() -> None:
    assert len(ON_THE_PAGE) >= 10


def test_a_backup_is_put_back_and_a_witness_works_with_json_alone(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def answer(line: str, status: int = 0) -> Any:
        assert cli.run([*line.split(), "--json"]) == status, capsys.readouterr().err
        return json.loads(capsys.readouterr().out)

    key = "--key site/keys/workstation.key"
    made = answer(f"backup site/workstation.db {key} --to copy.backup")
    tried = answer("backup-check copy.backup --live site/workstation.db")
    assert (tried["problem"], tried["recorded_as"], tried["outcome"]["backup_size"]) == ("", None, made["size"])
    back = answer(f"restore copy.backup --to back.db --by somebody {key} --seen site/workstation.db")
    assert (back["origin"], back["size"], back["lost"]) == (made["origin"], made["size"], 0)
    created = answer("witness create w --name control.example/w1")
    assert answer("witness key w") == created
    assert len(answer("witness add-log w site/site.vkey")["witnessing"]) == 2
    status = answer("witness status w")
    assert [log["size"] for log in status["logs"]] == [0, 0] and status["evidence"] == []


def test_the_version_is_that_of_the_records(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["version", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"software": SOFTWARE}


def refusal(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    assert cli.run(list(arguments)) == 2
    said = capsys.readouterr()
    assert said.out == ""
    return json.loads(said.err)


@pytest.mark.parametrize(
    ("line", "code", "words"),
    [
        ("alarms none.db --json", "AU-003", "none.db"),
        ("plan --height 0 --json", "RE-031", "height in cm: 0"),
        ("plan --dose 1,250 --json", "RE-031", "comma"),
        ("plan --no-such-option --json", "AP-014", "no-such-option"),
        ("trail --json", "AP-014", "STORE"),
        ("nothing --json", "AP-014", "nothing"),
        ("verify none.zip --json", "AP-014", "none.zip"),
        ("trends none.db --low x --json", "AP-014", "CELLS"),
        ("trends none.db none.db --low x --json", "AP-014", "--low"),
        ("recall search --by nothing --json", "AP-014", "nothing"),
        ("recipe list --url http://127.0.0.1:1 --json", "AP-032", "127.0.0.1:1"),
        ("devices /dev/ttyACM0 --json", "AP-014", "--ask"),
        ("witness create /dev/null/w --name w.example/1 --json", "AP-014", "cannot be made"),
    ],
)
def test_an_error_is_one_object_with_code_detail_and_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], line: str, code: str, words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DOSEWRIGHT_PASSWORD", "x")
    found = refusal(capsys, *line.split())
    assert found["code"] == code and words.lower() in found["detail"].lower(), found
    assert set(found) - {"reasons"} == {"code", "detail", "remedy"}


def test_a_person_gets_the_line_as_before(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["alarms", str(tmp_path / "none.db")]) == 2
    assert capsys.readouterr().err.startswith("error AU-003: There is no store at ")


def test_after_two_dashes_json_is_an_argument(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["solid", "--", "--json"]) == 2
    assert capsys.readouterr().err.startswith("error AP-014: --json cannot be read")


def test_a_program_is_asked_no_question(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(transport, "_open_serial", lambda *args: pytest.fail("a port was opened"))
    assert "--yes" in refusal(capsys, "devices", "--ask", "--json")["detail"]


def test_a_password_that_is_not_given_is_an_object_too(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def nobody(*_: object, **__: object) -> str:
        raise EOFError

    monkeypatch.delenv("DOSEWRIGHT_PASSWORD", raising=False)
    monkeypatch.setattr("api.cli_options.Prompt.ask", nobody)
    assert cli.run(["recipe", "list", "--json"]) == 1
    said = capsys.readouterr()
    assert said.out == "" and "was not answered" in json.loads(said.err)["detail"]


def test_reasons_and_the_code_of_a_workstation_are_kept() -> None:
    assert problem(ReleaseBlocked(["a", "b"], remedy="c"))["reasons"] == ["a", "b"]
    assert problem(Refused("no", remedy="", code="AP-012", reasons=()))["code"] == "AP-012"
    assert problem(SettingsInvalid("x: wrong", remedy="y", reasons=("x: wrong",)))["reasons"] == ["x: wrong"]
    assert problem(QuantityError("height: x is not a number")) == {"code": "AP-014", "detail": "height: x is not a number", "remedy": ""}


def test_the_answers_hold_no_floats_of_doses(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Quantities are decimal text, so a program reads what was decided with; canonical JSON refuses floats."""
    assert cli.run(["plan", "--units", "1", "--json"]) == 0
    canonical(json.loads(capsys.readouterr().out))
