"""Random changes to a store: every one is found, and where it is, is named. The tail that nothing anchors is stated as such."""

from __future__ import annotations

import random
import sqlite3
from pathlib import Path

import pytest

from audit.checkpoint import SigningKey
from audit.report import VerificationStatus
from audit.verify import verify_store
from tests.audit.conftest import KEY, judged, new_store
from tests.audit.mutations import KINDS, mutate


def missed(store: Path, folder: Path, count: int, seed: int) -> list[str]:
    """Return the mutations that a check with the store's key does not find, or whose place it does not name."""
    generator, forger = random.Random(seed), SigningKey.from_seed(KEY.name, bytes(32))
    found: list[str] = []
    done = 0
    while done < count:
        kind = KINDS[done % len(KINDS)]
        place = mutate(kind, store, folder / "changed.db", forger, generator)
        if place is None:
            continue  # a bit that no reader of the file is told
        report = verify_store(folder / "changed.db", [KEY.verifier])
        if report.status is not VerificationStatus.FAILED or not any(place in finding.place for finding in report.findings):
            found.append(f"{done} {kind} at {place}: {[str(finding) for finding in report.findings]}")
        done += 1
    return found


@pytest.mark.parametrize("count", [165, pytest.param(4400, marks=pytest.mark.deep)])
def test_every_change_to_a_store_is_found_and_named(full_path: Path, tmp_path: Path, count: int) -> None:
    assert missed(full_path, tmp_path, count, seed=count) == []


def test_a_tail_remade_after_the_last_checkpoint_is_stated_as_not_anchored(tmp_path: Path) -> None:
    """Nothing signs these entries yet: the check cannot find the change, and says which entries that is true of."""
    store = new_store(tmp_path / "t.db")
    store.append(judged(1))
    store.checkpoint()
    store.append(judged(2), judged(3))
    connection = sqlite3.connect(tmp_path / "t.db")
    for trigger in ("entries_no_delete", "entries_no_update"):
        connection.execute(f"DROP TRIGGER {trigger}")
    connection.close()
    report = verify_store(tmp_path / "t.db", [KEY.verifier])
    assert any(line.startswith("not anchored: entries 2 to 3 ") for line in report.checked)
    assert {finding.place for finding in report.findings} == {"schema trigger entries_no_delete", "schema trigger entries_no_update"}
    store.close()
