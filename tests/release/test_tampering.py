"""Random changes to a review package: every one is found, and where it is, is named."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from audit.release.package_check import verify_package
from tests.release.mutations import KINDS, Forger, mutate


def missed(package: Path, batch: Any, folder: Path, count: int, seed: int) -> list[str]:
    """Return the mutations that a check with the site's keys does not find, or whose place it does not name."""
    generator, forger = random.Random(seed), Forger(batch)
    trusted = [batch.workstation.key, batch.cell.key]
    found: list[str] = []
    for number in range(count):
        kind = KINDS[number % len(KINDS)]
        place = mutate(kind, package, folder / "changed.zip", forger, generator)
        report = verify_package(folder / "changed.zip", trusted)
        said = "\n".join(map(str, report.findings))
        if report.exit_status != 1 or place not in said:
            found.append(f"{number} {kind} at {place}: {said or report.status}")
    return found


@pytest.mark.parametrize("count", [150, pytest.param(6000, marks=pytest.mark.deep)])
def test_every_change_to_a_package_is_found_and_named(write_batch: Any, scenario: Any, tmp_path: Path, count: int) -> None:
    batch = write_batch(scenario())
    package = batch.export(tmp_path / "review-package.zip")
    assert missed(package, batch, tmp_path, count, seed=count) == []
