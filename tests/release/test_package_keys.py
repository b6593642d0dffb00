"""Packages of trails whose keys were replaced, as the product checks them and as the single-file verifier does."""

from __future__ import annotations

import base64
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import audit.release.templates
from audit.checkpoint import SigningKey, format_checkpoint
from audit.events import SYSTEM, Actor, EntryDraft, EventKind, Subject
from audit.release.package_check import verify_package
from audit.release.selection import Scope
from audit.release.trail_view import TrailView
from audit.report import VerificationStatus
from audit.store import TrailStore

VERIFIER = Path(next(iter(audit.release.templates.__path__))) / "verify.py"
ADMIN = Actor("adam", "Adam Demonstration", "administrator")
NEW_WS = SigningKey.from_seed("ws.example", bytes(range(7, 39)))
NEW_CELL = SigningKey.from_seed("cell-1.example", bytes(range(8, 40)))


@pytest.fixture
def keys(write_batch: Any, scenario: Any) -> tuple[Any, SigningKey, SigningKey]:
    """A released batch with the first key of the workstation and of the cell."""
    batch = write_batch(scenario())
    return batch, batch.key, SigningKey.from_seed("cell-1.example", scenario().seed.ljust(32, b"c"))


def rotate(batch: Any, *, accept: bool = True) -> None:
    """Replace both keys, and have the workstation know the cell by its new one."""
    for store, key in ((batch.workstation, NEW_WS), (batch.cell, NEW_CELL)):
        store.rotate_key(key, actor=ADMIN, device="ws", reason="yearly")
    batch.key = NEW_WS
    if accept:
        new = {"verifier_key": NEW_CELL.verifier_key}
        batch.workstation.append(EntryDraft(EventKind.CELL_KEY_ACCEPTED, Subject("cell", "cell-1"), new, ADMIN, "ws"))


def alone(package: Path, trusted: list[SigningKey], tmp_path: Path) -> tuple[int, str]:
    """Run the single-file verifier; return status and output."""
    key_file = tmp_path / "site.vkey"
    key_file.write_text("".join(f"{key.verifier_key}\n" for key in trusted))
    command = [sys.executable, str(VERIFIER), str(package), *(["--key", str(key_file)] if trusted else [])]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("scope", list(Scope))
def test_old_and_new_keys_establish_a_package_after_both_rotations(
    keys: tuple[Any, SigningKey, SigningKey], tmp_path: Path, scope: Scope
) -> None:
    """With anchors from before the rotations, which the keys of that time signed, and from after them."""
    batch, old_ws, old_cell = keys
    anchors = {f"anchors/{store.origin}/{store.size}.note": store.checkpoint().encode() for store in (batch.workstation, batch.cell)}
    rotate(batch)
    anchors |= {f"anchors/{store.origin}/{store.size}.note": store.checkpoint().encode() for store in (batch.workstation, batch.cell)}
    batch.workstation.append(EntryDraft(EventKind.PERSON_SESSION_OPENED, Subject("person", "olga"), {"failures": 0}, SYSTEM, "ws"))
    assert len(anchors) == 4
    package = batch.export(tmp_path / "p.zip", scope, anchors)
    for trusted in ([old_ws, old_cell], [NEW_WS, NEW_CELL], [old_ws, NEW_CELL]):
        report = verify_package(package, [key.verifier for key in trusted])
        assert report.status is VerificationStatus.VERIFIED, report.findings
        assert alone(package, trusted, tmp_path)[0] == 0
    assert verify_package(package, [NEW_WS.verifier]).status is VerificationStatus.FAILED
    status, said = alone(package, [NEW_WS], tmp_path)
    assert status == 1 and "not a trusted key" in said
    assert alone(package, [], tmp_path)[0] == 3


@pytest.mark.parametrize("scope", list(Scope))
def test_an_anchor_that_the_key_of_its_size_did_not_sign_is_found(
    keys: tuple[Any, SigningKey, SigningKey], tmp_path: Path, scope: Scope
) -> None:
    """The old key is good for no size after the rotation, the new one for none before it."""
    batch, old_ws, old_cell = keys
    before = batch.workstation.size
    rotate(batch)
    after = before + 1
    for key, size in ((NEW_WS, before), (old_ws, after)):
        root = base64.b64decode(TrailView(list(batch.workstation.lines(0, size))).root())
        note = key.sign_note(format_checkpoint("ws.example", size, root)).encode()
        package = batch.export(tmp_path / "p.zip", scope, {f"anchors/ws.example/{size}.note": note})
        report = verify_package(package, [old_ws.verifier, old_cell.verifier])
        assert any("is not a checkpoint that its trail signed" in finding.problem for finding in report.findings)
        status, said = alone(package, [old_ws, old_cell], tmp_path)
        assert status == 1 and f"anchors/ws.example/{size}.note: is not signed by the key that must have signed it" in said


def test_a_cell_that_signs_with_a_key_of_its_own_is_found_in_a_selective_package_too(
    keys: tuple[Any, SigningKey, SigningKey], tmp_path: Path
) -> None:
    """Without the old key a rotation is not continuous, and the key that the workstation enrolled vouches for none after it."""
    batch, old_ws, _ = keys
    thief, clock = SigningKey.from_seed("cell-1.example", b"t" * 32), batch.cell.clock
    batch.cell.close()
    batch.cell = TrailStore.replace_lost_key(
        batch.cell.path, key=thief, clock=clock, software="t", actor=ADMIN, device="ws", reason="the key's disk was destroyed"
    )
    package = batch.export(tmp_path / "p.zip", Scope.SELECTIVE)
    batch.cell.close()
    trusted = [old_ws, thief]
    report = verify_package(package, [key.verifier for key in trusted])
    assert any("enrols the cell" in finding.problem for finding in report.findings)
    status, said = alone(package, trusted, tmp_path)
    assert status == 1 and "does not enrol the cell" in said


def test_a_cells_key_that_the_workstation_did_not_accept_is_found(keys: tuple[Any, SigningKey, SigningKey], tmp_path: Path) -> None:
    batch, old_ws, old_cell = keys
    rotate(batch, accept=False)
    package = batch.export(tmp_path / "p.zip")
    report = verify_package(package, [old_ws.verifier, old_cell.verifier])
    assert any("enrols the cell" in finding.problem for finding in report.findings)
    status, said = alone(package, [old_ws, old_cell], tmp_path)
    assert status == 1 and "does not enrol the cell" in said


def test_a_rotation_without_the_old_key_needs_the_new_one_from_outside(keys: tuple[Any, SigningKey, SigningKey], tmp_path: Path) -> None:
    batch, old_ws, old_cell = keys
    path, clock = batch.workstation.path, batch.workstation.clock
    batch.workstation.close()
    batch.workstation = TrailStore.replace_lost_key(
        path, key=NEW_WS, clock=clock, software="t", actor=ADMIN, device="ws", reason="the key's disk was destroyed"
    )
    batch.key = NEW_WS
    package = batch.export(tmp_path / "p.zip")
    batch.workstation.close()
    assert verify_package(package, [old_ws.verifier, old_cell.verifier]).status is VerificationStatus.FAILED
    assert verify_package(package, [NEW_WS.verifier, old_cell.verifier]).status is VerificationStatus.VERIFIED
    assert alone(package, [old_ws, old_cell], tmp_path)[0] == 1
    assert alone(package, [NEW_WS, old_cell], tmp_path)[0] == 0


def test_a_forged_rotation_is_found_and_named(keys: tuple[Any, SigningKey, SigningKey], tmp_path: Path) -> None:
    """By somebody with the disk and a key of their own, without the old key."""
    batch, old_ws, old_cell = keys
    thief, store = SigningKey.from_seed("ws.example", b"t" * 32), batch.workstation
    text = f"dosewright-key-rotation/1\nws.example\n{store.size}\n{store.head.digest}\n{old_ws.verifier_key}\n{thief.verifier_key}\n"
    fields = {"verifier_key": thief.verifier_key, "continuous": True, "statement": thief.sign_note(text)}
    store.append(EntryDraft(EventKind.TRAIL_KEY_ROTATED, Subject("store", "ws.example"), fields, SYSTEM, "ws", reason="x"))
    store._key = batch.key = thief
    package = batch.export(tmp_path / "p.zip")
    report = verify_package(package, [old_ws.verifier, old_cell.verifier])
    assert any("forged rotation" in finding.problem and "not signed by the old key" in finding.problem for finding in report.findings)
    status, said = alone(package, [old_ws, old_cell], tmp_path)
    assert status == 1 and "that the old and the new key did not sign" in said and "not a trusted key" in said
