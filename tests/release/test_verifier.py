"""`verify.py` of the package, run as a stranger runs it: one file, keys from outside."""

from __future__ import annotations

import ast
import io
import random
import subprocess
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from audit.release.package import read_package
from audit.release.package_check import verify_package
from tests.release.mutations import KINDS, Forger, mutate
from tests.release.test_package import EDITS, repack

VERIFIER = Path(__file__).parents[2] / "audit" / "release" / "templates" / "verify.py"


@pytest.fixture
def batch(write_batch: Any, scenario: Any) -> Any:
    return write_batch(scenario())


@pytest.fixture
def package(batch: Any, tmp_path: Path) -> Path:
    return batch.export(tmp_path / "review-package.zip")  # type: ignore[no-any-return]


@pytest.fixture
def vkey(batch: Any, tmp_path: Path) -> Path:
    path = tmp_path / "site.vkey"
    path.write_text(f"{batch.workstation.key}\n{batch.cell.key}\n")
    return path


CODE = compile(VERIFIER.read_text("utf-8"), str(VERIFIER), "exec")


def run(package: Path, *keys: Path) -> tuple[int, str]:
    """Run the verifier's own code, each time anew; return its exit status and what it printed."""
    module: dict[str, Any] = {"__name__": "verifier"}
    exec(CODE, module)
    arguments = ["verify.py", str(package), *(part for key in keys for part in ("--key", str(key)))]
    said = io.StringIO()
    with patch.object(sys, "argv", arguments), redirect_stdout(said):
        code: int = module["main"]()
    return code, said.getvalue()


def test_as_a_stranger_runs_it(package: Path, vkey: Path, tmp_path: Path) -> None:
    """In another process, isolated from every other module here, with the copy that came in the package."""
    copy = tmp_path / "verify.py"
    copy.write_bytes(read_package(package).files["verify.py"])
    command = [sys.executable, "-I", str(copy), str(package), "--key", str(vkey)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("VERIFIED\n")
    cut = tmp_path / "cut.zip"
    cut.write_bytes(package.read_bytes()[:-1])
    done = subprocess.run([*command[:3], str(cut)], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (1, "")
    assert "FINDING  container" in done.stdout


def test_it_needs_the_standard_library_and_cryptography_only() -> None:
    tree = ast.parse(VERIFIER.read_text("utf-8"))
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {name.partition(".")[0] for name in names} - sys.stdlib_module_names == {"cryptography"}


def test_a_package_carries_it_and_it_verifies_the_package(package: Path, vkey: Path) -> None:
    assert read_package(package).files["verify.py"] == VERIFIER.read_bytes()
    assert run(package, vkey)[0] == 0
    code, said = run(package)
    assert code == 3 and "SIGNER NOT ESTABLISHED" in said


def test_a_package_made_before_it_travelled_verifies_as_well(package: Path, batch: Any, vkey: Path, tmp_path: Path) -> None:
    files = dict(read_package(package).files)
    del files["verify.py"]
    older = repack(tmp_path / "older.zip", files, batch.key)
    assert run(older, vkey)[0] == 0
    assert verify_package(older, [batch.workstation.key, batch.cell.key]).exit_status == 0


def test_a_forgery_signed_anew_fails_against_the_key_from_outside_only(vkey: Path, write_batch: Any, scenario: Any, tmp_path: Path) -> None:
    """Every key is another's, every signature fits: only a key from outside can tell."""
    forged = write_batch(scenario(seed=b"forger")).export(tmp_path / "forged.zip")
    assert run(forged)[0] == 3
    code, said = run(forged, vkey)
    assert code == 1 and "not a trusted key" in said


def test_it_finds_what_an_insider_with_the_manifest_key_changes(package: Path, vkey: Path, batch: Any, tmp_path: Path) -> None:
    """All but what the record says that only a rebuilding of it can tell, as its own text says."""
    original = dict(read_package(package).files)
    for name in set(EDITS) - {"a statistic", "an alarm left out"}:
        files = dict(original)
        EDITS[name][0](files)
        code, said = run(repack(tmp_path / "p.zip", files, batch.key), vkey)
        assert code == 1 and "FINDING" in said, name


@pytest.mark.parametrize("count", [40, pytest.param(400, marks=pytest.mark.deep)])
def test_it_finds_every_mutation_that_the_product_finds(count: int, package: Path, vkey: Path, batch: Any, tmp_path: Path) -> None:
    generator = random.Random(5)
    for number in range(count):
        kind = KINDS[number % len(KINDS)]
        place = mutate(kind, package, tmp_path / "m.zip", Forger(batch), generator)
        code, said = run(tmp_path / "m.zip", vkey)
        assert code == 1, f"{kind} at {place}: {said}"
