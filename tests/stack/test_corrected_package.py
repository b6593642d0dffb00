"""A batch whose units are corrected, as far as its package: the purge unit, the factors, their proofs and their evidence travel with it."""

from __future__ import annotations

import hashlib
import json
import zipfile
from pathlib import Path

import demo_runs
import pytest
import stranger_verifier as stranger

from audit.checkpoint import VerifierKey
from audit.release import batch_record
from audit.release.conformity import Item
from audit.release.package_check import verify_package

pytestmark = pytest.mark.stack


@pytest.fixture(scope="module")
def package() -> Path:
    return demo_runs.demonstration("--case", "sildenafil", "--units", "3") / demo_runs.PACKAGE


def test_the_package_of_corrected_units_verifies_for_us_and_for_a_stranger(package: Path) -> None:
    keys = (package.parent / demo_runs.KEYS).read_text().split()
    report = verify_package(package, [VerifierKey.parse(key) for key in keys])
    assert report.findings == ()
    assert report.signer_established
    assert stranger.verify(package.read_bytes(), keys)


def test_the_record_shows_every_factor_with_its_bytes_and_the_purge_unit_as_waste(package: Path) -> None:
    archive = zipfile.ZipFile(package)
    record = json.loads(archive.read("record.json"))
    assert record["disposition"] == "released"
    assert [unit["unit"].rpartition("/")[2] for unit in record["units"]] == ["001", "002", "003"]
    (purge,) = record["purge_units"]
    assert (purge["verdict"], purge["removed"], purge["removal_confirmed_by"]) == ("calibration", True, "second")
    assert "content_percent" not in purge
    assert [found["flow_factor"] for found in record["corrections"]] == [unit["flow_factor"] for unit in record["units"]]
    for unit in record["units"]:
        gcode = archive.read(f"corrected/unit-{unit['n']:03d}.gcode")
        assert hashlib.sha256(gcode).hexdigest() == unit["gcode_sha256"]
        assert json.loads(archive.read(f"corrected/unit-{unit['n']:03d}-proof.json"))["n"] == unit["n"]
    assert {"journal/purge-1.jsonl", "traces/purge-1.csv"} <= set(archive.namelist())


def test_nothing_is_released_while_the_purge_unit_lies_on_the_plate(package: Path) -> None:
    """The record built from the trails as they stood before its removal was confirmed."""
    archive = zipfile.ZipFile(package)
    record = json.loads(archive.read("record.json"))
    trails = [archive.read(f"trails/{record['trails'][name]['origin']}.jsonl").splitlines() for name in ("workstation", "cell")]
    workstation, cell = trails
    removal = next(n for n, line in enumerate(cell) if json.loads(line)["kind"] == "calibration.removal.confirmed")
    signed = next(n for n, line in enumerate(workstation) if json.loads(line)["kind"] == "batch.disposition.signed")
    before = batch_record.build(workstation[:signed], cell[:removal], record["batch"])
    (evidence,) = [item for item in before["evidence"] if item["item"] == Item.REMOVAL_CONFIRMED.value]  # type: ignore[union-attr, index, call-overload]
    assert evidence["state"] == "not met"  # type: ignore[index, call-overload]
    assert "P1: its removal is not confirmed" in str(evidence["detail"])  # type: ignore[index, call-overload]
    assert before["proposal"]["open"] == ["rejected"]  # type: ignore[index, call-overload]
