"""Random changes to a store: every one is found, and where it is, is named. The tail that nothing anchors is stated as such."""

from __future__ import annotations

import random

import pytest

from audit.checkpoint import SigningKey
from audit.places import Place
from audit.report import VerificationStatus
from audit.store import TrailStore
from audit.verify import verify_store
from tests.audit.conftest import KEY, judged, place_of
from tests.audit.engines import Engine
from tests.audit.mutations import KINDS, mutate


def missed(engine: Engine, store: Place, count: int, seed: int) -> list[str]:
    """Return the mutations that a check with the store's key does not find, or whose place it does not name."""
    generator, forger = random.Random(seed), SigningKey.from_seed(KEY.name, bytes(32))
    kinds = [kind for kind in KINDS if engine.name == "sqlite" or kind != "bit of the file"]
    found: list[str] = []
    done = 0
    while done < count:
        kind = kinds[done % len(kinds)]
        changed, place = mutate(kind, engine, store, forger, generator)
        if place is None:
            continue  # a bit that no reader of the file is told
        report = verify_store(changed, [KEY.verifier])
        if report.status is not VerificationStatus.FAILED or not any(place in finding.place for finding in report.findings):
            found.append(f"{done} {kind} at {place}: {[str(finding) for finding in report.findings]}")
        done += 1
    return found


@pytest.mark.parametrize("count", [165, pytest.param(4400, marks=pytest.mark.deep)])
def test_every_change_to_a_store_is_found_and_named(engine: Engine, full_template: Place, count: int) -> None:
    # a copy of a schema costs some twenty times that of a file
    some = count if engine.name == "sqlite" else count // 5
    assert missed(engine, full_template, some, seed=count) == []


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
