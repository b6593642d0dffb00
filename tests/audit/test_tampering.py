"""Random changes to a store: every one is found, and where it is, is named. The tail that nothing anchors is stated as such."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable

import pytest

from audit.checkpoint import SigningKey
from audit.places import Place
from audit.report import Finding, Report, VerificationStatus
from audit.store import TrailStore
from audit.verify import verify_store
from tests.audit.conftest import KEY, judged, place_of
from tests.audit.engines import Engine
from tests.audit.mutations import KINDS, mutate, remake_tail


def kinds_of(engine: Engine) -> list[str]:
    return [kind for kind in KINDS if engine.name == "sqlite" or kind != "bit of the file"]


def missed(
    engine: Engine, store: Place, count: int, seed: int, check: Callable[..., Report] = verify_store
) -> tuple[list[str], Counter[str]]:
    """Return the mutations that a check with the store's key does not find, or whose place it does not name; and how many of each kind
    were made.
    """
    generator, forger = random.Random(seed), SigningKey.from_seed(KEY.name, bytes(32))
    kinds = kinds_of(engine)
    found: list[str] = []
    drawn: Counter[str] = Counter()
    while drawn.total() < count:
        kind = kinds[drawn.total() % len(kinds)]
        changed, place = mutate(kind, engine, store, forger, generator)
        if place is None:
            continue  # a bit that no reader of the file is told
        report = check(changed, [KEY.verifier])
        if report.status is not VerificationStatus.FAILED or not any(place in finding.place for finding in report.findings):
            found.append(f"{drawn.total()} {kind} at {place}: {[str(finding) for finding in report.findings]}")
        drawn[kind] += 1
    return found, drawn


@pytest.mark.parametrize("each", [14, pytest.param(380, marks=pytest.mark.deep)])
def test_every_change_to_a_store_is_found_and_named(engine: Engine, full_template: Place, each: int) -> None:
    kinds = kinds_of(engine)
    # a copy of a schema costs some twenty times that of a file
    some = each if engine.name == "sqlite" else max(3, each // 5)
    found, drawn = missed(engine, full_template, some * len(kinds), seed=each)
    assert found == []
    assert drawn == dict.fromkeys(kinds, some)


@pytest.mark.parametrize("finding", [None, Finding("elsewhere", "something else is wrong")])
def test_a_change_that_is_not_found_or_not_named_would_be_counted(engine: Engine, full_template: Place, finding: Finding | None) -> None:
    """What the tests above say would be worth nothing if a check that finds nothing, or names another place, passed them.

    "bit of the file" names no place: of such a change it is enough that it is found.
    """
    report = Report((finding,) if finding else (), True)
    found, drawn = missed(engine, full_template, len(kinds_of(engine)), seed=1, check=lambda *_: report)
    assert len(found) == drawn.total() - (1 if finding and engine.name == "sqlite" else 0)


@pytest.mark.parametrize("count", [25, pytest.param(400, marks=pytest.mark.deep)])
def test_a_tail_remade_at_random_is_stated_as_not_anchored(engine: Engine, store: TrailStore, count: int) -> None:
    """A key that is not the store's changes entries after the last checkpoint and links them anew: the check says what nothing signs."""
    generator = random.Random(count)
    store.append(*(judged(n) for n in range(5)))
    store.checkpoint()
    store.append(*(judged(n) for n in range(5, 12)))
    store._abandon()  # as a process that is killed: no last checkpoint
    for _ in range(count if engine.name == "sqlite" else 5):
        copy = engine.copy(place_of(store), "changed")
        first = generator.randrange(1, 13)
        remake_tail(engine, copy, first, generator)
        report = verify_store(copy, [KEY.verifier])
        assert any(line.startswith("not anchored: entries 6 to 12 ") for line in report.checked)
        anchored = [finding for finding in report.findings if finding.place.startswith("checkpoints row size=6")]
        assert len(anchored) == (1 if first < 6 else 0), (first, report.findings)
        assert (report.status is VerificationStatus.FAILED) == (first < 6)


def test_a_tail_remade_after_the_last_checkpoint_is_stated_as_not_anchored(engine: Engine, store: TrailStore) -> None:
    """Nothing signs these entries yet: the check cannot find the change, and says which entries that is true of."""
    store.append(judged(1))
    store.checkpoint()
    store.append(judged(2), judged(3))
    with engine.raw(place_of(store)) as connection:
        for trigger in ("entries_no_delete", "entries_no_update"):
            connection.execute(f"DROP TRIGGER {trigger}" + ("" if engine.name == "sqlite" else " ON entries"))
    report = verify_store(place_of(store), [KEY.verifier])
    assert any(line.startswith("not anchored: entries 2 to 3 ") for line in report.checked)
    assert {finding.place for finding in report.findings} == {"schema trigger entries_no_delete", "schema trigger entries_no_update"}
