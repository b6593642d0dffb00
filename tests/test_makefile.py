"""The Makefile and the README call the command with options that it has."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import typer
from typer.core import TyperGroup

from api.cli import app
from api.lazy_group import load_all

ROOT = Path(__file__).resolve().parent.parent
CALL = re.compile(r"(?:bin/|BIN\)/|^|`|\s)dosewright (demo|plan|serve|verify|devices|version|doctor)\b([^`\n]*)", re.MULTILINE)
FILES = ["Makefile", "README.md", *sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))]


@pytest.mark.parametrize("name", FILES)
def test_every_option_named_is_one_of_the_command(name: str) -> None:
    group = typer.main.get_command(app)
    assert isinstance(group, TyperGroup)
    commands = load_all(group)
    for command, rest in CALL.findall((ROOT / name).read_text("utf-8")):
        known = {option for parameter in commands[command].params for option in parameter.opts}
        named = set(re.findall(r"(?<=\s)--[a-z-]+", rest.split("#")[0]))
        assert named <= known, f"{name}: dosewright {command} has no {sorted(named - known)}"


def test_the_makefile_is_looked_at() -> None:
    assert {command for command, _ in CALL.findall((ROOT / "Makefile").read_text("utf-8"))} == {"demo", "serve"}
