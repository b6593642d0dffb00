"""The witness: what it cosigns, what it refuses, and what it still knows after any kind of failure.

The write faults are those under which the Sunlight log is tested: *not persisted*, and *persisted, but reported as failed*.
"""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from audit.chain import EMPTY_ROOT
from audit.checkpoint import SigningKey, format_checkpoint
from audit.cosignature import CosignerKey, cosignatures
from audit.errors import NoteInvalid, RecordError, StoreExists, StoreMissing
from audit.witness import AddCheckpoint, Refused, Seen, format_request, judge, parse_request
from audit.witness_store import WitnessStore
from tests.anchors.trails import LOG, ORIGIN, WITNESS, leaves, note, request
from tests.audit.test_write_faults import FaultyConnection

ROOT = Path(__file__).parents[2]
# The example of C2SP tlog-witness.
SPECIFIED = """old 20852014
PlRNCrwHpqhGrupue0L7gxbjbMiKA9temvuZZDDpkaw=
jrJZDmY8Y7SyJE0MWLpLozkIVMSMZcD5kvuKxPC3swk=
5+pKlUdi2LeF/BcMHBn+Ku6yhPGNCswZZD1X/6QgPd8=
/6WVhPs2CwSsb5rYBH5cjHV/wSmA79abXAwhXw3Kj/0=

example.com/behind-the-sofa
20852163
CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=

— example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=
— example.com/behind-the-sofa opLqBQsREYCgu6xQkYQwJr9fo45a62DN9EdmHXnZdXNqlcVGlCum2Wks+49/V6267UEjw6QUXTS5Rovnzv++qbSzm9Q=
"""


@pytest.fixture
def witness(tmp_path: Path) -> Iterator[WitnessStore]:
    with WitnessStore.create(tmp_path / "witness.db") as store:
        store.trust(LOG.verifier, 1)
        yield store


def latest(store: WitnessStore) -> int:
    return store.logs()[0].seen.size


def refusal(outcome: str | Refused) -> int:
    assert isinstance(outcome, Refused), outcome
    return outcome.status


def test_the_example_of_the_specification_is_read_and_written_byte_for_byte() -> None:
    found = parse_request(SPECIFIED.encode())
    assert (found.old, len(found.proof), found.checkpoint.size) == (20852014, 4, 20852163)
    assert format_request(found) == SPECIFIED.encode()


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text.replace("old 20852014", "old 020852014"),
        lambda text: text.replace("old 20852014", "old -1"),
        lambda text: text.replace("old 20852014", "old 9223372036854775808"),
        lambda text: text.replace("old ", "new "),
        lambda text: text.replace("pkaw=", "pka="),
        lambda text: text.replace("PlRNCrwHpqhGrupue0L7gxbjbMiKA9temvuZZDDpkaw=", "PlRN"),
        lambda text: text.replace("\n\nexample", "\nexample"),
        lambda text: text.replace("jrJZ", "jrJZDmY8Y7SyJE0MWLpLozkIVMSMZcD5kvuKxPC3swk=\n" * 62 + "jrJZ", 1),
        lambda text: text.replace("20852163\n", "20852163x\n"),
    ],
)
def test_a_request_of_another_form_is_named(damage: Callable[[str], str]) -> None:
    changed = damage(SPECIFIED)
    assert changed != SPECIFIED
    with pytest.raises(NoteInvalid):
        judge(parse_request(changed.encode()), [LOG.verifier], Seen())


def test_what_extends_is_cosigned_and_what_does_not_is_refused_as_the_specification_says(witness: WitnessStore) -> None:
    line = witness.submit(request(0, 5), WITNESS, 100)
    assert isinstance(line, str)
    assert [item.at for item in cosignatures(note(5) + line, [CosignerKey.of(WITNESS.verifier)])] == [100]
    assert isinstance(witness.submit(request(5, 9), WITNESS, 101), str)
    stranger = SigningKey.from_seed("elsewhere.example/x", bytes(32))
    unknown = AddCheckpoint(0, (), stranger.sign_note(format_checkpoint(stranger.name, 0, EMPTY_ROOT)))
    assert refusal(witness.submit(unknown, WITNESS, 102)) == 404
    assert refusal(witness.submit(request(9, 9, key=SigningKey.from_seed(ORIGIN, bytes(32))), WITNESS, 102)) == 403
    assert refusal(witness.submit(replace(request(9, 12), old=13), WITNESS, 102)) == 400
    for old in (0, 5, 8):
        outcome = witness.submit(request(old, 12), WITNESS, 102)
        assert isinstance(outcome, Refused) and (outcome.status, outcome.latest) == (409, 9)
    assert refusal(witness.submit(replace(request(9, 12), proof=request(8, 12).proof), WITNESS, 102)) == 422
    assert refusal(witness.submit(request(9, 12, fork_at=3), WITNESS, 102)) == 422
    assert refusal(witness.submit(request(9, 9, fork_at=8), WITNESS, 102)) == 409
    assert isinstance(witness.submit(request(9, 9), WITNESS, 103), str), "the same once more: its answer may have been lost"
    assert latest(witness) == 9


def test_the_proof_from_nothing_is_empty_and_an_empty_trail_has_one_root(witness: WitnessStore) -> None:
    assert refusal(witness.submit(replace(request(0, 5), proof=(bytes(32),)), WITNESS, 1)) == 422
    wrong = LOG.sign_note(format_checkpoint(ORIGIN, 0, bytes(32)))
    assert refusal(witness.submit(AddCheckpoint(0, (), wrong), WITNESS, 1)) == 409
    assert isinstance(witness.submit(request(0, 0), WITNESS, 1), str)


def test_what_the_log_signed_and_does_not_fit_is_kept_as_evidence_once(witness: WitnessStore) -> None:
    witness.submit(request(0, 9), WITNESS, 100)
    for _ in range(2):
        witness.submit(request(9, 9, fork_at=4), WITNESS, 101)
        witness.submit(request(9, 12, fork_at=4), WITNESS, 101)
    witness.submit(request(9, 9, key=SigningKey.from_seed(ORIGIN, bytes(32))), WITNESS, 101)
    found = witness.evidence()
    assert sorted(item.note for item in found) == sorted([note(9, 4), note(12, 4)])
    assert {item.against for item in found} == {note(9)}
    with pytest.raises(sqlite3.IntegrityError):
        witness._connection.execute("DELETE FROM evidence")
    with pytest.raises(sqlite3.IntegrityError):
        witness._connection.execute("UPDATE latest SET size = 8")


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12), st.sampled_from([None, 0, 2, 6])), max_size=12))
def test_whatever_is_submitted_two_histories_are_never_both_cosigned(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[int, int, int | None]]
) -> None:
    signed: list[tuple[int, int | None]] = []
    with WitnessStore.create(tmp_path_factory.mktemp("w") / "witness.db") as store:
        store.trust(LOG.verifier, 1)
        for old, size, fork in steps:
            if old > size:
                continue
            if isinstance(store.submit(request(old, size, fork), WITNESS, 1), str):
                signed.append((size, fork))
    sizes = [size for size, _ in signed]
    assert sizes == sorted(sizes), "never a shorter one after a longer one"
    histories = [leaves(size, fork) for size, fork in signed]
    assert all(later[: len(earlier)] == earlier for earlier, later in pairwise(histories))


def test_of_two_requests_at_once_one_is_refused(witness: WitnessStore) -> None:
    """N and N+K from the same old size: the race that the specification describes must not roll the larger one back."""
    witness.submit(request(0, 4), WITNESS, 1)
    for round_ in range(8):
        base = 4 + 8 * round_
        start, outcomes = threading.Barrier(2), list[str | Refused]()

        def ask(size: int, base: int = base, start: threading.Barrier = start, outcomes: list[str | Refused] = outcomes) -> None:
            start.wait()
            outcomes.append(witness.submit(request(base, size), WITNESS, 1))

        threads = [threading.Thread(target=ask, args=(base + extra,)) for extra in (3, 8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        refused = [item for item in outcomes if isinstance(item, Refused)]
        assert len(outcomes) == 2 and len(refused) == 1 and refused[0].status == 409
        if latest(witness) != base + 8:
            witness.submit(request(latest(witness), base + 8), WITNESS, 1)


def test_two_processes_on_one_memory_do_not_roll_back_each_other(tmp_path: Path) -> None:
    path = tmp_path / "witness.db"
    with WitnessStore.create(path) as one, WitnessStore.open(path) as other:
        one.trust(LOG.verifier, 1)
        assert isinstance(one.submit(request(0, 4), WITNESS, 1), str)
        assert isinstance(other.submit(request(4, 9), WITNESS, 1), str)
        assert refusal(one.submit(request(4, 6), WITNESS, 1)) == 409
        assert latest(one) == 9


@pytest.mark.parametrize("persisted", [False, True])
def test_whichever_statement_fails_nothing_is_cosigned_that_is_not_kept(
    witness: WitnessStore, monkeypatch: pytest.MonkeyPatch, persisted: bool
) -> None:
    witness.submit(request(0, 3), WITNESS, 1)
    size, failed = 3, set[str]()
    for n in range(1, 12):
        with monkeypatch.context() as patch:
            faulty = FaultyConnection(witness._connection, sqlite3.OperationalError, n, persisted)
            patch.setattr(witness, "_connection", faulty)
            try:
                outcome = witness.submit(request(size, size + 1), WITNESS, 2)
            except RecordError:
                assert latest_after(witness, faulty) in ({size, size + 1} if persisted and faulty.failed == "COMMIT" else {size})
            else:
                assert isinstance(outcome, str) and latest_after(witness, faulty) == size + 1
        failed.add(faulty.failed.split(" ")[0])
        size = latest(witness)
    assert {"BEGIN", "SELECT", "UPDATE", "COMMIT"} <= failed
    assert isinstance(witness.submit(request(size, size + 2), WITNESS, 3), str)


def latest_after(store: WitnessStore, faulty: FaultyConnection) -> int:
    return int(faulty.connection.execute("SELECT size FROM latest").fetchone()[0])


_KILLED = """
import os, sys
from pathlib import Path
from audit import witness_store
from audit.witness_store import WitnessStore
from tests.anchors.trails import WITNESS, request

def die(*_):
    os._exit(9)

witness_store.cosign = die
with WitnessStore.open(Path(sys.argv[1])) as store:
    store.submit(request(3, 7), WITNESS, 5)
"""


def test_killed_between_keeping_and_replying_the_client_gets_its_cosignature_by_asking_again(witness: WitnessStore) -> None:
    witness.submit(request(0, 3), WITNESS, 1)
    process = subprocess.run([sys.executable, "-c", _KILLED, str(witness.path)], cwd=ROOT, check=False, env={"PYTHONPATH": str(ROOT)})
    assert process.returncode == 9
    assert latest(witness) == 7, "it was on the disk before the reply"
    outcome = witness.submit(request(3, 7), WITNESS, 6)
    assert isinstance(outcome, Refused) and (outcome.status, outcome.latest) == (409, 7)
    assert isinstance(witness.submit(request(7, 7), WITNESS, 6), str)


def test_a_rotated_key_is_taken_and_the_old_one_let_go(witness: WitnessStore) -> None:
    new = SigningKey.from_seed(ORIGIN, bytes(range(5, 37)))
    witness.submit(request(0, 4), WITNESS, 1)
    assert refusal(witness.submit(request(4, 6, key=new), WITNESS, 1)) == 403
    witness.trust(new.verifier, 2)
    assert isinstance(witness.submit(request(4, 5, key=new), WITNESS, 2), str)
    assert isinstance(witness.submit(request(5, 6), WITNESS, 2), str), "both are believed meanwhile"
    witness.trust(new.verifier, 3, alone=True)
    assert refusal(witness.submit(request(6, 7), WITNESS, 3)) == 403
    assert isinstance(witness.submit(request(6, 7, key=new), WITNESS, 3), str)


def test_a_memory_is_never_made_on_the_way(tmp_path: Path) -> None:
    with pytest.raises(StoreMissing):
        WitnessStore.open(tmp_path / "witness.db")
    WitnessStore.create(tmp_path / "witness.db").close()
    with pytest.raises(StoreExists):
        WitnessStore.create(tmp_path / "witness.db")
    other = tmp_path / "other.db"
    sqlite3.connect(other).executescript("CREATE TABLE a (b)").connection.close()
    with pytest.raises(RecordError, match="not the memory of a witness"):
        WitnessStore.open(other)
