"""The readable archive: what is put in verifies, what cannot be read any more is found, and the next check has a date."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import pytest

from audit.errors import RecordError
from audit.release.archive_check import GUIDE, archive_overdue, archive_package, check_archive, record_check
from audit.release.package import read_package
from tests.release.conftest import person
from tests.release.test_package import repack

TODAY = date(2026, 11, 29)


def test_an_archived_package_is_read_again_and_the_check_is_on_record(write_batch: Any, scenario: Any, tmp_path: Path) -> None:
    batch = write_batch(scenario())
    package, folder, keys = batch.export(tmp_path / "p.zip"), tmp_path / "archive", [batch.workstation.key, batch.cell.key]
    folder.mkdir()
    place = archive_package(package, folder)
    assert place.name == "B-1.zip" and "record.pdf is the record" in (folder / GUIDE).read_text()
    with pytest.raises(RecordError, match="archived already"):
        archive_package(package, folder)
    (found,) = check_archive(folder, keys)
    assert (found.batch, found.problem) == ("B-1", "")
    assert next(iter(check_archive(folder, []))).problem == "nothing shows who signed it"
    record_check(batch.workstation, found, TODAY, person("quinn"), "ws")
    assert archive_overdue(batch.workstation, TODAY) == [] and archive_overdue(batch.workstation, date(2027, 12, 1)) == ["B-1"]
    data = bytearray(place.read_bytes())
    data[len(data) // 2] ^= 1
    place.write_bytes(data)
    (damaged,) = check_archive(folder, keys)
    assert damaged.problem and damaged.sha256 != found.sha256
    record_check(batch.workstation, damaged, date(2027, 12, 1), person("quinn"), "ws")
    assert archive_overdue(batch.workstation, date(2027, 12, 1)) == ["B-1"], "a check that failed does not move the date"
    place.write_bytes(b"rubbish")
    assert next(iter(check_archive(folder, keys))).problem


def test_what_does_not_verify_is_not_archived(write_batch: Any, scenario: Any, tmp_path: Path) -> None:
    package = write_batch(scenario()).export(tmp_path / "p.zip")
    package.write_bytes(package.read_bytes()[:-1])
    with pytest.raises(RecordError, match="is not archived"):
        archive_package(package, tmp_path)
    for folder in (tmp_path / "none", tmp_path / "empty"):
        with pytest.raises(RecordError, match="holds no archived package"):
            list(check_archive(folder, []))


@pytest.mark.parametrize("record", [b"not json", b"[]"])
def test_a_package_whose_record_is_none_is_named_and_the_others_are_checked(
    write_batch: Any, scenario: Any, tmp_path: Path, record: bytes
) -> None:
    batch, folder = write_batch(scenario()), tmp_path / "archive"
    folder.mkdir()
    package = batch.export(tmp_path / "p.zip")
    repack(folder / "B-0.zip", {**read_package(package).files, "record.json": record}, batch.key)
    archive_package(package, folder)
    bad, good = check_archive(folder, [batch.workstation.key, batch.cell.key])
    assert (bad.batch, bad.problem) == ("B-0", "it cannot be read: record.json is no JSON object") and bad.sha256
    assert (good.batch, good.problem) == ("B-1", "")
