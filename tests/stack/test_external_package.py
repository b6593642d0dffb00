"""A batch whose units were weighed on an external balance, through every process of a site, as far as its package."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from recipes.machine import parse_machine

pytestmark = pytest.mark.stack

ROOT = Path(__file__).resolve().parents[2]
PERMITTED = 'drift_window = "4 s"\nexternal_balance = "permitted"\nexternal_timeout = "1800 s"\n'


def overlay(folder: Path) -> Path:
    """Copy the recipes; hydrocortisone permits an external balance, and its machine's is ten times as uncertain."""
    shutil.copytree(ROOT / "recipes", folder / "recipes", ignore=shutil.ignore_patterns("__pycache__"))
    machine = folder / "recipes" / "library" / "machines" / "fdm-0.4.toml"
    recipe = folder / "recipes" / "library" / "hydrocortisone.toml"
    before = parse_machine(machine.read_bytes()).digest
    machine.write_text(machine.read_text().replace('expanded_uncertainty = "0.35 mg"', 'expanded_uncertainty = "3.5 mg"'))
    after = parse_machine(machine.read_bytes()).digest
    assert before != after and before in recipe.read_text()
    recipe.write_text(recipe.read_text().replace(before, after).replace('drift_window = "4 s"\n', PERMITTED))
    return folder


def test_a_batch_weighed_elsewhere_is_released_verified_and_replayed(tmp_path: Path) -> None:
    paths = os.pathsep.join(map(str, (overlay(tmp_path / "overlay"), ROOT)))
    script = Path(__file__).with_name("external_run.py")
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path)],
        cwd=tmp_path / "overlay",  # a child looks for its modules where it stands, first of all
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "found.json").read_text())
    assert (found["verify"], found["stranger"], found["replay"]) == (0, True, 0), done.stdout
    record = json.loads(zipfile.ZipFile(tmp_path / "review-package.zip").read("record.json"))
    assert record["disposition"] == "released"
    assert {unit["weighed_on"] for unit in record["units"]} == {"external"}
    assert len(found["refused"]) == 2 * len(record["units"])
    people = [(a["first"]["username"], a["second"]["username"]) for u in record["units"] for a in u["external_weighing"]["attempts"]]
    assert people == [("operator", "second")] * len(record["units"])
