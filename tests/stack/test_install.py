"""The wheel: everything that the job needs travels in it, and it runs from another folder than the source."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from audit.version import SOFTWARE

pytestmark = pytest.mark.stack

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("audit", "recipes", "firmware_bridge", "printer", "api", "hil_tests")


def pip(*arguments: str, cwd: Path) -> None:
    answer = subprocess.run(
        [sys.executable, "-m", "pip", "--disable-pip-version-check", *arguments], cwd=cwd, capture_output=True, text=True, check=False
    )
    assert answer.returncode == 0, answer.stderr[-2000:]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built with the hatchling that is installed, else with one that pip fetches for the build."""
    folder = tmp_path_factory.mktemp("wheel")
    here = importlib.util.find_spec("hatchling") is not None
    pip("wheel", str(ROOT), "--no-deps", "--quiet", "--wheel-dir", str(folder), *(["--no-build-isolation"] if here else []), cwd=folder)
    (found,) = folder.glob("dosewright-*.whl")
    return found


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("installed")
    pip("install", "--no-deps", "--quiet", "--target", str(target), str(wheel), cwd=target)
    return target


def of_the_source() -> set[str]:
    """Every file of the six packages but caches."""
    return {
        path.relative_to(ROOT).as_posix()
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".pyc" and not path.name.startswith(".")
    }


def test_every_file_of_the_packages_is_in_the_wheel(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        entry_points = next(archive.read(name).decode() for name in names if name.endswith("entry_points.txt"))
        metadata = next(archive.read(name).decode() for name in names if name.endswith("METADATA"))
    assert of_the_source() <= names
    assert {name.partition("/")[0] for name in names if ".dist-info/" not in name} == set(PACKAGES), "no tests, no documents of the house"
    for pattern in (".toml", ".css", ".typ", "templates/README.txt", "migrations/env.py", "hil_tests/serve.py"):
        assert any(name.endswith(pattern) for name in names), pattern
    assert "dosewright = api.cli:main" in entry_points
    assert "License-Expression: Apache-2.0" in metadata and "Requires-Python: >=3.11" in metadata


def run(installed: Path, cwd: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    return subprocess.run([sys.executable, *arguments], cwd=cwd, env=environment, capture_output=True, text=True, check=False, timeout=120)


def test_runs_from_another_folder(installed: Path, tmp_path: Path) -> None:
    where = run(installed, tmp_path, "-c", "import api, hil_tests, audit; print(api.__file__, hil_tests.__file__, audit.__file__)")
    assert all(path.startswith(str(installed)) for path in where.stdout.split()), where.stdout
    assert run(installed, tmp_path, "-m", "api.cli", "version").stdout == f"{SOFTWARE}\n"
    for case in ("cyclophosphamide", "minoxidil"):
        answer = run(installed, tmp_path, "-m", "api.cli", "plan", "--case", case, "--out", f"{case}.gcode")
        assert (answer.returncode, answer.stderr) == (0, "")
        assert (tmp_path / f"{case}.gcode").read_bytes().count(b";END UNIT") == 14


@pytest.mark.deep
def test_the_whole_job_from_the_wheel(installed: Path, tmp_path: Path) -> None:
    answer = run(installed, tmp_path, "-m", "api.cli", "demo", "--case", "minoxidil", "--units", "3", "--rate", "400")
    assert answer.returncode == 0, answer.stderr
    assert (tmp_path / "demo" / "review-package.zip").is_file()
