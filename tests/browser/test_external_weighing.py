"""A unit is weighed on an external balance by two people, on the page and at the command line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from test_external_package import ROOT, overlay

pytestmark = [pytest.mark.browser, pytest.mark.stack]


def test_two_people_weigh_blind_on_the_page_and_at_the_command_line(tmp_path: Path, chromium: str) -> None:
    here = Path(__file__).parent
    paths = os.pathsep.join(map(str, (overlay(tmp_path / "overlay"), ROOT, here.parent / "stack")))
    done = subprocess.run(
        [sys.executable, str(here / "external_page.py"), str(tmp_path), chromium],
        cwd=tmp_path / "overlay",  # a child looks for its modules where it stands, first of all
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads((tmp_path / "found.json").read_text())
    assert (told["told"], told["still on the first screen"]) == (False, False), "the first value reached the second person"
    assert told["shown"].startswith(f"{told['values'][0]} mg")
    (first, said_first), (second, said_second) = told["command"]
    assert (first, second) == (0, 0), said_first + said_second
    assert told["values"][1] not in said_first
    assert said_second.splitlines()[-1] == f"Unit 2: {told['values'][1]} mg, accepted"
