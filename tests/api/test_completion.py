"""The shell's own way of asking: the program is run as bash, zsh and fish run it, and answers quickly, locally and without a message."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.core import TyperGroup

from api import cli
from api.cli_commands import Commands
from api.lazy_group import Listed, load_all

ROOT = Path(__file__).resolve().parent.parent.parent
HEAVY = ("sqlalchemy", "numpy", "trimesh", "shapely", "fastapi", "nicegui", "cryptography", "httpx", "webauthn", "alembic")


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The script as an installation has it: the name of the program is that of the file."""
    script = tmp_path_factory.mktemp("bin") / "dosewright"
    script.write_text(f"#!{sys.executable}\nimport sys\nfrom api.cli import main\nsys.exit(main())\n", "utf-8")
    script.chmod(0o755)
    return script


@pytest.fixture
def site(laid_out: Any, tmp_path: Path) -> Path:
    """A folder with a site in it, as `site`."""
    shutil.copytree(laid_out.folder, tmp_path / "site")
    return tmp_path


def ask(program: Path, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    known = {name: value for name, value in os.environ.items() if "DOSEWRIGHT" not in name}
    return subprocess.run(
        [sys.executable, str(program)], cwd=folder, env={**known, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def offered(program: Path, folder: Path, line: str) -> list[str]:
    """What is offered for the last word of a line; a line that ends with a blank asks for the next word."""
    words = line.split(" ")
    answer = ask(program, folder, COMP_WORDS="\n".join(words), COMP_CWORD=str(len(words) - 1), _DOSEWRIGHT_COMPLETE="complete_bash")
    assert (answer.returncode, answer.stderr) == (0, ""), answer.stderr
    return answer.stdout.split()


def test_bash_is_offered_commands(program: Path, tmp_path: Path) -> None:
    assert offered(program, tmp_path, "dosewright d") == ["demo", "devices", "doctor"]


def test_zsh_is_offered_commands_with_their_help(program: Path, tmp_path: Path) -> None:
    answer = ask(program, tmp_path, _TYPER_COMPLETE_ARGS="dosewright do", _DOSEWRIGHT_COMPLETE="complete_zsh")
    assert answer.returncode == 0 and answer.stdout.startswith('_arguments \'*: :(("doctor":"Check software')


def test_fish_is_offered_commands_with_their_help(program: Path, tmp_path: Path) -> None:
    how = {"_TYPER_COMPLETE_FISH_ACTION": "get-args", "_DOSEWRIGHT_COMPLETE": "complete_fish"}
    answer = ask(program, tmp_path, _TYPER_COMPLETE_ARGS="dosewright do", **how)
    assert answer.returncode == 0 and answer.stdout.startswith("doctor\tCheck software")


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("dosewright recipe ap", ["approve"]),
        ("dosewright trail --pre", ["--preset"]),
        ("dosewright plan --case h", ["hydrocortisone"]),
        ("dosewright recipe show mino", ["minoxidil@1"]),
        ("dosewright check balance --cell ", ["cell-1"]),
        ("dosewright cartridge show ", ["CYC-DEMO-01-A"]),
        ("dosewright recall search --by ink", ["ink_lot="]),
        ("dosewright verify site/w", ["site/workstation.db"]),
        ("dosewright key show site --cell ", ["cell-1"]),
        ("dosewright package ", []),
    ],
)
def test_values_of_the_library_and_of_a_site_here_are_offered(program: Path, site: Path, line: str, wanted: list[str]) -> None:
    before = sorted(path.name for path in (site / "site").iterdir())
    assert offered(program, site, line) == wanted
    assert sorted(path.name for path in (site / "site").iterdir()) == before


def spoil_store(site: Path) -> None:
    (site / "workstation.db").write_bytes(b"SQLite format 3\x00" + bytes(200))


def spoil_settings(site: Path) -> None:
    (site / "workstation.toml").write_text("[[", "utf-8")


def remove_store(site: Path) -> None:
    (site / "workstation.db").unlink()


@pytest.mark.parametrize(
    ("spoil", "line"),
    [
        (spoil_store, "dosewright cartridge show "),
        (spoil_settings, "dosewright check balance --cell "),
        (remove_store, "dosewright cartridge show "),
    ],
)
def test_a_broken_site_offers_nothing_and_says_nothing(program: Path, site: Path, spoil: Any, line: str) -> None:
    assert offered(program, site, line) != []
    spoil(site / "site")
    assert offered(program, site, line) == []


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"COMP_WORDS": "dosewright 'open", "COMP_CWORD": "1"},
        {"COMP_WORDS": "dosewright", "COMP_CWORD": "x"},
        {"COMP_WORDS": "", "COMP_CWORD": "9"},
    ],
)
def test_a_shell_that_asks_wrongly_is_not_answered_with_a_trace(program: Path, tmp_path: Path, environment: dict[str, str]) -> None:
    answer = ask(program, tmp_path, _DOSEWRIGHT_COMPLETE="complete_bash", **environment)
    assert answer.returncode == 0 and "Traceback" not in answer.stdout + answer.stderr


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
def test_bash_itself_completes_with_the_script_that_the_program_prints(program: Path, site: Path) -> None:
    script = """
        source <(dosewright --show-completion bash)
        complete -p dosewright | grep -o _dosewright_completion
        COMP_WORDS=(dosewright recipe show hydro); COMP_CWORD=3
        _dosewright_completion dosewright
        printf '%s\\n' "${COMPREPLY[@]}"
    """
    path = f"{program.parent}{os.pathsep}{os.environ['PATH']}"
    answer = subprocess.run(
        ["bash", "--norc", "-c", script], cwd=site, env={"PATH": path, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
        timeout=60, check=False,
    )  # fmt: skip
    assert answer.stdout.split() == ["_dosewright_completion", "hydrocortisone@1"], answer.stderr


@pytest.mark.parametrize("arguments", [["--help"], ["version"], ["recall", "--help"], ["plan", "--help"]])
def test_help_loads_nothing_that_is_slow(tmp_path: Path, arguments: list[str]) -> None:
    code = f"import sys\nfrom api.cli import run\nrun({arguments!r})\nprint(sorted({set(HEAVY)!r} & set(sys.modules)), file=sys.stderr)"
    answer = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
        timeout=60, check=True,
    )  # fmt: skip
    allowed = ["httpx"] if arguments[0] == "recall" else []
    assert set(eval(answer.stderr.splitlines()[-1])) <= set(allowed)


@pytest.mark.parametrize("listed", Commands.table, ids=lambda listed: listed.name)
def test_the_line_beside_a_command_is_its_own(listed: Listed) -> None:
    command = listed.load()
    assert command.name == listed.name
    first = (command.help or "").split("\n\n")[0].replace("\n", " ")
    assert listed.help == first


def test_every_command_is_listed_once_and_in_the_order_of_the_table() -> None:
    group = typer.main.get_command(cli.app)
    assert isinstance(group, TyperGroup)
    assert list(load_all(group)) == [*(listed.name for listed in Commands.table), "version"]


def test_a_command_that_is_written_wrongly_is_told_what_may_be_meant(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["docter"]) == 2
    assert "Did you mean 'doctor'" in capsys.readouterr().err
