"""Random changes to a review package: every one is found, and where it is, is named."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from audit.release.package_check import verify_package
from audit.report import Report
from tests.release.mutations import KINDS, Forger, mutate


def missed(
    package: Path, batch: Any, folder: Path, count: int, seed: int, check: Callable[..., Report] = verify_package
) -> tuple[list[str], Counter[str]]:
    """Return the mutations that a check with the site's keys does not find, or whose place it does not name; and how many of each kind
    were made.
    """
    generator, forger = random.Random(seed), Forger(batch)
    trusted = [batch.workstation.key, batch.cell.key]
    found: list[str] = []
    drawn: Counter[str] = Counter()
    for number in range(count):
        kind = KINDS[number % len(KINDS)]
        place = mutate(kind, package, folder / "changed.zip", forger, generator)
        report = check(folder / "changed.zip", trusted)
        said = "\n".join(map(str, report.findings))
        if report.exit_status != 1 or place not in said:
            found.append(f"{number} {kind} at {place}: {said or report.status}")
        drawn[kind] += 1
    return found, drawn


@pytest.mark.parametrize("each", [10, pytest.param(380, marks=pytest.mark.deep)])
def test_every_change_to_a_package_is_found_and_named(write_batch: Any, scenario: Any, tmp_path: Path, each: int) -> None:
    batch = write_batch(scenario())
    package = batch.export(tmp_path / "review-package.zip")
    found, drawn = missed(package, batch, tmp_path, each * len(KINDS), seed=each)
    assert found == []
    assert drawn == dict.fromkeys(KINDS, each)


def test_a_change_that_is_not_found_would_be_counted(write_batch: Any, scenario: Any, tmp_path: Path) -> None:
    batch = write_batch(scenario())
    package = batch.export(tmp_path / "review-package.zip")
    found, drawn = missed(package, batch, tmp_path, len(KINDS), seed=1, check=lambda *_: Report((), True))
    assert len(found) == drawn.total() == len(KINDS)
