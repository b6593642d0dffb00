"""Random changes to a store: every one is found, and where it is, is named. The tail that nothing anchors is stated as such."""

from __future__ import annotations

import random
import sqlite3
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from audit.checkpoint import SigningKey
from audit.report import Finding, Report, VerificationStatus
from audit.verify import verify_store
from tests.audit.conftest import KEY, judged, new_store
from tests.audit.mutations import KINDS, mutate, remake_tail


def missed(store: Path, folder: Path, count: int, seed: int, check: Callable[..., Report] = verify_store) -> tuple[list[str], Counter[str]]:
    """Return the mutations that a check with the store's key does not find, or whose place it does not name; and how many of each kind
    were made.
    """
    generator, forger = random.Random(seed), SigningKey.from_seed(KEY.name, bytes(32))
    found: list[str] = []
    drawn: Counter[str] = Counter()
    while drawn.total() < count:
        kind = KINDS[drawn.total() % len(KINDS)]
        place = mutate(kind, store, folder / "changed.db", forger, generator)
        if place is None:
            continue  # a bit that no reader of the file is told
        report = check(folder / "changed.db", [KEY.verifier])
        if report.status is not VerificationStatus.FAILED or not any(place in finding.place for finding in report.findings):
            found.append(f"{drawn.total()} {kind} at {place}: {[str(finding) for finding in report.findings]}")
        drawn[kind] += 1
    return found, drawn


@pytest.mark.parametrize("each", [14, pytest.param(380, marks=pytest.mark.deep)])
def test_every_change_to_a_store_is_found_and_named(full_path: Path, tmp_path: Path, each: int) -> None:
    found, drawn = missed(full_path, tmp_path, each * len(KINDS), seed=each)
    assert found == []
    assert drawn == dict.fromkeys(KINDS, each)


@pytest.mark.parametrize("finding", [None, Finding("elsewhere", "something else is wrong")])
def test_a_change_that_is_not_found_or_not_named_would_be_counted(full_path: Path, tmp_path: Path, finding: Finding | None) -> None:
    """What the tests above say would be worth nothing if a check that finds nothing, or names another place, passed them.

    "bit of the file" names no place: of such a change it is enough that it is found.
    """
    report = Report((finding,) if finding else (), True)
    found, drawn = missed(full_path, tmp_path, len(KINDS), seed=1, check=lambda *_: report)
    assert len(found) == drawn.total() - (1 if finding else 0)


@pytest.mark.parametrize("count", [25, pytest.param(400, marks=pytest.mark.deep)])
def test_a_tail_remade_at_random_is_stated_as_not_anchored(tmp_path: Path, count: int) -> None:
    """A key that is not the store's changes entries after the last checkpoint and links them anew: the check says what nothing signs."""
    generator = random.Random(count)
    store = new_store(tmp_path / "t.db")
    store.append(*(judged(n) for n in range(5)))
    store.checkpoint()
    store.append(*(judged(n) for n in range(5, 12)))
    for _ in range(count):
        copy = tmp_path / "changed.db"
        copy.unlink(missing_ok=True)
        with closing(sqlite3.connect(tmp_path / "t.db")) as connection:
            connection.execute("VACUUM INTO ?", (str(copy),))
        first = generator.randrange(1, 13)
        remake_tail(copy, first, generator)
        report = verify_store(copy, [KEY.verifier])
        assert any(line.startswith("not anchored: entries 6 to 12 ") for line in report.checked)
        anchored = [finding for finding in report.findings if finding.place.startswith("checkpoints row size=6")]
        assert len(anchored) == (1 if first < 6 else 0), (first, report.findings)
        assert (report.status is VerificationStatus.FAILED) == (first < 6)
    store.close()


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
