"""Checkpoints leave the building: to a witness and an authority, through failures, for the workstation's trail and a cell's."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import pytest

from api.anchor_clients import AuthorityClient, TrailCopy, WitnessClient
from api.anchor_desk import AnchorDesk, AnchorWorker, Outside, outside_of
from api.cells import CellDirectory
from api.errors import SettingsInvalid
from api.settings import AuthorityEntry, CellEntry, Settings, WitnessEntry
from audit.anchor_schedule import DAILY_US, FIRST_RETRY_US, LONGEST_RETRY_US
from audit.anchors import anchor_state, entries_since
from audit.chain import leaf_hash
from audit.checkpoint import SigningKey
from audit.clock import SystemClock, UtcReading
from audit.cosignature import CosignerKey, cosign, cosignatures
from audit.errors import AnchorAway, AnchorRefused, TrailDisputed
from audit.events import SYSTEM, EntryDraft, EventKind, Subject
from audit.store import TrailStore
from audit.timestamps import read_certificates, verify_token
from audit.witness_store import WitnessStore
from tests.anchors import outside as surroundings
from tests.anchors.authority import Authority, make_authority
from tests.anchors.trails import LOG, WITNESS, hashes, note
from tests.audit.conftest import KEY, judged, new_store

HOST = "witness.example"
WITNESS_KEY = CosignerKey.of(WITNESS.verifier)
CELL_KEY = SigningKey.from_seed("cell-1.example", bytes(range(3, 35)))


@dataclass
class VirtualClock:
    """Process time that the test moves."""

    at: int = 0
    rate: Decimal = Decimal(1)

    def now(self) -> int:
        return self.at

    def utc(self) -> UtcReading:
        return SystemClock().utc()


@dataclass
class Place:
    """A workstation's trail, a witness that knows it, and the ways between them."""

    store: TrailStore
    witness: WitnessStore
    outside: surroundings.Outside
    http: httpx.Client
    settings: Settings
    cells: CellDirectory

    def desk(self, *, authority: AuthorityClient | None = None) -> AnchorDesk:
        return AnchorDesk(self.store, self.cells, Outside((WitnessClient(f"https://{HOST}", WITNESS_KEY, self.http),), authority))


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with new_store(tmp_path / "ws.db") as store, surroundings.witness_store(tmp_path / "w.db", KEY) as witness:
        store.append(judged(1), judged(2))
        outside = surroundings.Outside()
        outside.add_witness(HOST, witness, WITNESS)
        settings = Settings(folder=tmp_path, site="test")
        with outside.client() as http:
            yield Place(store, witness, outside, http, settings, CellDirectory(settings))


def copy_of(size: int, fork_at: int | None = None) -> TrailCopy:
    return TrailCopy(note(size, fork_at), lambda: iter(hashes(size)))


def test_a_checkpoint_comes_back_cosigned_and_lies_in_the_trail_as_a_note_that_anybody_can_check(place: Place) -> None:
    (outcome,) = place.desk().anchor()
    assert (outcome.size, outcome.problem) == (3, "")
    entry = list(place.store.entries())[-1]
    assert entry.kind == EventKind.TRAIL_CHECKPOINT_COSIGNED
    kept = place.store.blob(entry.attachments[0]["sha256"]).decode()
    assert [item.name for item in cosignatures(kept, [WITNESS_KEY])] == [WITNESS.name]
    assert entry.new["size"] == 3 and entry.new["at"] == "2027-01-15T08:00:00.000000Z"
    assert entries_since(place.store, 3) == 0
    assert place.desk().status()["lines"] == [
        "site.example/ws: entries 0 to 2 anchored at 2027-01-15T08:00:00.000000Z by the witness control.example/w1",
        "site.example/ws: last anchored outside 2027-01-15T08:00:00.000000Z; 0 entries since",
    ]


def test_nothing_is_submitted_where_nothing_but_anchors_was_added(place: Place) -> None:
    desk = place.desk()
    desk.anchor()
    assert desk.anchor() == []
    assert place.outside.asked == [HOST]
    assert len(desk.anchor(all_of_it=True)) == 1
    place.store.append(judged(3))
    assert [outcome.size for outcome in desk.anchor()] == [place.store.size - 1]


def test_a_witness_that_knows_more_than_was_thought_is_asked_once_more_from_there(place: Place) -> None:
    """The trail's own note of the last cosigned size was lost: the answer 409 says the right one."""
    first, second = place.desk(), place.desk()
    place.store.checkpoint()
    client = WitnessClient(f"https://{HOST}", WITNESS_KEY, place.http)
    size = place.store.size
    lines = list(place.store.lines())
    client.cosign(TrailCopy(place.store.checkpoint(), lambda: map(leaf_hash, lines)), 0)
    place.store.append(judged(3))
    place.outside.asked.clear()
    assert [outcome.size for outcome in first.anchor()] == [size + 1]
    assert place.outside.asked == [HOST, HOST]
    assert second.anchor() == []


@pytest.mark.parametrize(
    ("status", "error", "words"),
    [
        (403, AnchorRefused, "does not trust the key"),
        (404, AnchorRefused, "does not know the trail"),
        (422, TrailDisputed, "does not extend"),
        (400, AnchorRefused, "a bad request"),
        (302, AnchorRefused, "the status 302"),
        (503, AnchorAway, "answers 503"),
        (429, AnchorAway, "answers 429"),
    ],
)
def test_each_refusal_is_an_error_of_its_own(place: Place, status: int, error: type[Exception], words: str) -> None:
    place.outside.hosts[HOST] = lambda _: httpx.Response(status, text="because")
    with pytest.raises(error, match=words):
        WitnessClient(f"https://{HOST}", WITNESS_KEY, place.http).cosign(copy_of(3), 0)


def test_answers_that_cannot_be_believed_are_refused(place: Place) -> None:
    client = WitnessClient(f"https://{HOST}", WITNESS_KEY, place.http)
    stranger = SigningKey.from_seed("control.example/w1", bytes(32))
    text = note(3).partition("\n\n")[0] + "\n"
    for answer, words in (
        ("", "no cosignature"),
        (cosign(stranger, text, 1), "no cosignature"),
        (cosign(WITNESS, text.replace("\n3\n", "\n4\n"), 1), "does not match"),
        ("<html>\n", "not a signature line"),
        ("x" * 100_000, "more than"),
    ):
        place.outside.hosts[HOST] = lambda _, answer=answer: httpx.Response(200, text=answer)
        with pytest.raises(AnchorRefused, match=words):
            client.cosign(copy_of(3), 0)
    place.outside.hosts[HOST] = lambda _: httpx.Response(409, text="many\n")
    with pytest.raises(AnchorRefused, match="without its size"):
        client.cosign(copy_of(3), 0)


def test_a_rewritten_or_shortened_trail_is_disputed_by_the_witness_and_the_dispute_is_on_record(place: Place, tmp_path: Path) -> None:
    """The case the witness is for: the owner of disk and key remakes the trail; what was cosigned before stands against it."""
    place.store.append(judged(3), judged(4))
    place.desk().anchor()
    with new_store(tmp_path / "remade.db") as remade:
        remade.append(*(judged(n, "467.9") for n in range(1, 9)))
        desk = AnchorDesk(remade, place.cells, Outside((WitnessClient(f"https://{HOST}", WITNESS_KEY, place.http),)))
        (outcome,) = desk.anchor()
        assert "disputes the trail" in outcome.problem and not outcome.again
        assert list(remade.entries())[-1].kind == EventKind.TRAIL_ANCHOR_REFUSED
        size = remade.size
        desk.anchor(all_of_it=True)
        assert remade.size == size, "the same dispute again is no news"
        assert any("disputes" in line for line in desk.status()["lines"])
    with new_store(tmp_path / "short.db") as short:
        desk = AnchorDesk(short, place.cells, Outside((WitnessClient(f"https://{HOST}", WITNESS_KEY, place.http),)))
        assert "its end was cut off, or an older copy is in use" in desk.anchor()[0].problem
    assert len(place.witness.evidence()) == 2, "the remade trail was signed, twice: these notes are evidence"


def test_a_witness_that_forgot_is_on_record(place: Place, tmp_path: Path) -> None:
    place.desk().anchor()
    place.store.append(judged(3))
    with surroundings.witness_store(tmp_path / "forgot.db", KEY) as forgot:
        place.outside.add_witness(HOST, forgot, WITNESS)
        place.desk().anchor()
    assert list(place.store.entries())[-1].reason == "the witness knew only 0 of the 3 entries that it had cosigned"


def test_the_network_is_away_for_a_day_and_everything_is_anchored_when_it_is_back(place: Place) -> None:
    """Virtual time: after a minute, then less and less often, an hour at most."""
    clock, told = VirtualClock(), list[Any]()
    worker = AnchorWorker(place.desk(), clock, told.append)
    place.outside.away.add(HOST)
    attempts = []
    while clock.at < DAILY_US:
        if worker.step() is not None:
            attempts.append(clock.at)
        clock.at += 60_000_000
    gaps = [later - earlier for earlier, later in pairwise(attempts)]
    assert gaps[0] == FIRST_RETRY_US and max(gaps) == LONGEST_RETRY_US and gaps == sorted(gaps)
    assert len(attempts) < 40
    assert place.store.size == 3, "an attempt that reaches nobody leaves no entry"
    assert "nothing is anchored outside" in place.desk().status()["lines"][0]
    asked = len(place.outside.asked)
    for _ in range(5):
        worker.wanted()
        assert worker.step() is None, "a disposition does not hammer a dead network"
    clock.at += FIRST_RETRY_US
    assert worker.step() is not None and len(place.outside.asked) == asked + 1, "but it is tried within a minute"
    place.outside.away.clear()
    while anchor_state(place.store, KEY.name, WITNESS.name) is None:
        clock.at += 60_000_000
        worker.step()
    begun = clock.at
    place.store.append(judged(5))
    worker.wanted()
    assert [outcome.size for outcome in worker.step() or []] == [5]
    place.store.append(judged(6))
    clock.at = begun + DAILY_US - 1
    assert worker.step() is None
    clock.at = begun + DAILY_US
    assert [outcome.size for outcome in worker.step() or []] == [7], "daily, with nothing asked"
    assert told


def test_the_worker_anchors_by_itself_and_ends_in_order(place: Place) -> None:
    done = threading.Event()
    worker = AnchorWorker(place.desk(), SystemClock(), lambda _: done.set())
    worker.start()
    assert done.wait(20)
    done.clear()
    place.store.append(judged(9))
    worker.wanted()
    assert done.wait(20)
    worker.close()
    state = anchor_state(place.store, KEY.name, WITNESS.name)
    assert state is not None and state.size == 5


class _Cell:
    """A cell's door, as far as anchoring asks it."""

    def __init__(self, store: TrailStore) -> None:
        self._store = store

    def checkpoint(self) -> str:
        return self._store.checkpoint()

    def trail(self, start: int, limit: int = 2000) -> list[str]:
        return [line.decode() for line in self._store.lines(start, start + limit)]

    def close(self) -> None:
        return None


def test_a_cells_trail_is_anchored_through_the_workstation_and_a_silent_cell_keeps_nobody_in(place: Place, tmp_path: Path) -> None:
    address = tmp_path / "address.json"
    address.write_text('{"host": "127.0.0.1", "port": 1}')
    entry = CellEntry(name="cell-1", address_file=address, ca=address, certificate=address, key=address)
    settings = place.settings.model_copy(update={"cells": (entry,)})
    cell = TrailStore.create(tmp_path / "c.db", origin=CELL_KEY.name, key=CELL_KEY, clock=SystemClock(), software="t", demonstration=True)
    place.store.append(
        EntryDraft(
            EventKind.CELL_RECORD_ENROLLED,
            Subject("cell", "cell-1"),
            {"cell": "cell-1", "origin": CELL_KEY.name, "verifier_key": CELL_KEY.verifier_key},
            SYSTEM,
            "ws",
        )
    )
    place.witness.trust(CELL_KEY.verifier, 1)
    connector: Callable[..., Any] = lambda *_: _Cell(cell)  # noqa: E731
    place.cells = CellDirectory(settings, connector)
    with cell:
        own, of_cell = place.desk().anchor()
        assert (own.origin, of_cell.origin, of_cell.size) == (KEY.name, CELL_KEY.name, 1)
        state = anchor_state(place.store, CELL_KEY.name, WITNESS.name)
        assert state is not None and state.size == 1
        assert cell.size == 1, "a cell's trail has one writer: the proof is kept by the workstation"
        address.unlink()
        place.store.append(judged(7))
        own, of_cell = place.desk().anchor()
        assert own.size and of_cell.again and "has no address" in of_cell.problem


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl, the time-stamping authority of this test, is not here")
def test_a_token_is_fetched_verified_and_kept_and_another_ones_is_not(place: Place, tmp_path: Path) -> None:
    authority, other = make_authority(tmp_path / "one"), make_authority(tmp_path / "other")
    answering: list[Authority] = [other]
    place.outside.hosts["tsa.example"] = lambda request: httpx.Response(200, content=answering[0].reply(request.read()))
    client = AuthorityClient("https://tsa.example/tsr", "tsa.example", read_certificates(authority.pem, "root.pem"), place.http)
    _, refused = place.desk(authority=client).anchor()
    assert "not to be believed" in refused.problem and not refused.again
    answering[0] = authority
    _, stamped = place.desk(authority=client).anchor(all_of_it=True)
    assert stamped.problem == "" and stamped.size
    entry = list(place.store.entries())[-1]
    assert entry.kind == EventKind.TRAIL_CHECKPOINT_TIMESTAMPED
    kept = {item["name"]: place.store.blob(item["sha256"]) for item in entry.attachments}
    assert verify_token(kept["token.tsr"], kept["stamped.note"], [authority.root]).at == entry.new["at"]
    place.outside.hosts["tsa.example"] = lambda _: httpx.Response(500)
    assert place.desk(authority=client).anchor(all_of_it=True)[1].again


def test_a_key_or_certificate_that_cannot_be_read_is_a_fault_of_the_configuration(tmp_path: Path) -> None:
    with httpx.Client() as http:
        wrong = Settings(folder=tmp_path, site="test", witness=(WitnessEntry(url="https://w.example", key=LOG.verifier_key),))
        with pytest.raises(SettingsInvalid, match="algorithm 4"):
            outside_of(wrong, http)
        entry = AuthorityEntry(url="https://tsa.example", certificates=Path("none.pem"))
        with pytest.raises(SettingsInvalid, match=r"none\.pem"):
            outside_of(Settings(folder=tmp_path, site="test", timestamp_authority=entry), http)
