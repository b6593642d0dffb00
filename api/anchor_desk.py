"""Truth leaves the building: the checkpoints of this workstation and of its cells go to the witnesses and the authority configured.

Nothing waits for it: a run is closed, a batch released and printed whether the network is there or not. What is anchored outside, what
came since, and why it could not be, is shown, and tried again.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import httpx

from api.anchor_clients import AuthorityClient, TrailCopy, WitnessClient
from api.cells import CellDirectory
from api.errors import SettingsInvalid
from api.people import DEVICE
from api.release_desk import fetch_trail
from api.settings import Settings
from audit.anchor_schedule import AnchorSchedule
from audit.anchors import (
    AUTHORITY,
    WITNESS,
    anchor_state,
    anchor_states,
    checkpoint_of,
    cosigned_entry,
    describe,
    entries_since,
    refused_entry,
    timestamped_entry,
)
from audit.canonical import JsonObject
from audit.chain import leaf_hash
from audit.clock import Clock
from audit.cosignature import CosignerKey
from audit.errors import AnchorAway, AnchorError, DosewrightError, NoteInvalid, RecordError
from audit.release.document_key import Stamp
from audit.store import TrailStore
from audit.timestamps import read_certificates

_LONGEST_SLEEP_S = 60.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of asking one of them about one trail. `problem` is empty where the proof is in the trail; `again` where to try again."""

    origin: str
    by: str
    size: int = 0
    problem: str = ""
    again: bool = False


@dataclass(frozen=True, slots=True)
class Outside:
    """Those who are asked: any number of witnesses, at most one authority."""

    witnesses: tuple[WitnessClient, ...] = ()
    authority: AuthorityClient | None = None

    @property
    def stamp(self) -> Stamp | None:
        """What gives a seal its time, where there is an authority."""
        return None if self.authority is None else self.authority.token

    @property
    def names(self) -> tuple[str, ...]:
        authority = () if self.authority is None else (self.authority.name,)
        return (*(client.key.name for client in self.witnesses), *authority)


def outside_of(settings: Settings, http: httpx.Client) -> Outside:
    """Read from the settings who is asked. Raises SettingsInvalid for a key or certificates that cannot be read."""
    try:
        witnesses = tuple(WitnessClient(entry.url, CosignerKey.parse(entry.key), http) for entry in settings.witness)
    except NoteInvalid as error:
        raise SettingsInvalid(f"witness: {error.message}", remedy="Copy the key of type 4 that the control site gave.") from None
    stamping = settings.timestamp_authority
    if stamping is None:
        return Outside(witnesses)
    path = settings.path(stamping.certificates)
    try:
        trusted = read_certificates(path.read_bytes(), str(path))
    except (OSError, NoteInvalid) as error:
        words = "It is not there to be read." if isinstance(error, OSError) else error.message
        raise SettingsInvalid(f"timestamp_authority: {path}: {words}", remedy="Name a PEM file with its certificates.") from None
    return Outside(witnesses, AuthorityClient(stamping.url, stamping.name or httpx.URL(stamping.url).host, trusted, http))


class AnchorDesk:
    """Anchors trails, and says what is anchored.

    Lifetime: that of the workstation. Concurrency: one anchoring at a time, under a lock of its own; the trail's lock is held only
    while an entry is written, never while the network is waited for.
    """

    def __init__(self, store: TrailStore, cells: CellDirectory, outside: Outside) -> None:
        self._store = store
        self._cells = cells
        self._outside = outside
        self._turn = threading.Lock()

    @property
    def configured(self) -> bool:
        return bool(self._outside.names)

    def anchor(self, *, all_of_it: bool = False) -> list[Outcome]:
        """Submit what has grown since its last proof, of every trail; return what came of it.

        `all_of_it` submits even where nothing but anchors was added. Raises RecordError where this workstation's trail fails.
        """
        if not self.configured:
            return []
        with self._turn:
            found = list(self._anchor_own(all_of_it))
            for name in self._cells.names:
                found += self._anchor_cell(name, all_of_it)
        return found

    def status(self) -> JsonObject:
        """Return what is anchored outside, for a person and for a program."""
        states, store = anchor_states(self._store), self._store
        origins = [store.origin, *sorted({state.origin for state in states} - {store.origin})]
        lines: list[str] = []
        for origin in origins:
            mine = [state for state in states if state.origin == origin and state.size]
            size = store.size if origin == store.origin else max((state.size for state in mine), default=0)
            since = entries_since(store, max((state.size for state in mine), default=0)) if origin == store.origin else 0
            lines += describe(origin, size, since, states)
        who: list[JsonObject] = [
            {"origin": s.origin, "by": s.by, "what": s.what, "size": s.size, "at": s.at, "refusal": s.refusal} for s in states
        ]
        return {"configured": self.configured, "lines": lines, "anchors": who}

    def _anchor_own(self, all_of_it: bool) -> Iterator[Outcome]:
        store = self._store
        sizes = [state.size if (state := anchor_state(store, store.origin, name)) else 0 for name in self._outside.names]
        if not all_of_it and all(size and not entries_since(store, size) for size in sizes):
            return
        note = store.checkpoint()
        size = checkpoint_of(note).size
        yield from self._submit(TrailCopy(note, lambda: map(leaf_hash, store.lines(0, size))))

    def _anchor_cell(self, name: str, all_of_it: bool) -> list[Outcome]:
        enrolled = self._store.state("cell", name) or {}
        origin, key = str(enrolled.get("origin", "")), str(enrolled.get("verifier_key", ""))
        try:
            trail = fetch_trail(self._cells.client(name), origin, key)
        except DosewrightError as error:  # a cell that is off is no reason to keep the others in
            return [Outcome(origin, name, problem=str(error), again=True)]
        states = [anchor_state(self._store, origin, by) for by in self._outside.names]
        if not all_of_it and all(state is not None and state.size == trail.checkpoint.size and not state.refusal for state in states):
            return []
        return list(self._submit(TrailCopy(trail.note, lambda: map(leaf_hash, trail.lines))))

    def _submit(self, trail: TrailCopy) -> Iterator[Outcome]:
        for client in self._outside.witnesses:
            yield self._try(trail, client.key.name, WITNESS, partial(self._witness, trail, client))
        if (authority := self._outside.authority) is not None:
            yield self._try(trail, authority.name, AUTHORITY, partial(self._stamp, trail, authority))

    def _witness(self, trail: TrailCopy, client: WitnessClient) -> int:
        state = anchor_state(self._store, trail.origin, client.key.name)
        known = 0 if state is None else state.size
        cosigned, knew = client.cosign(trail, known)
        reason = f"the witness knew only {knew} of the {known} entries that it had cosigned" if knew < known else None
        self._store.append(cosigned_entry(cosigned, client.key, DEVICE, reason))
        return checkpoint_of(cosigned.note).size

    def _stamp(self, trail: TrailCopy, authority: AuthorityClient) -> int:
        reply, token = authority.stamp(trail.note)
        self._store.append(timestamped_entry(trail.note, reply, token, authority.name, DEVICE))
        return checkpoint_of(trail.note).size

    def _try(self, trail: TrailCopy, by: str, what: str, act: Callable[[], int]) -> Outcome:
        try:
            return Outcome(trail.origin, by, act())
        except AnchorAway as error:
            return Outcome(trail.origin, by, problem=str(error), again=True)
        except AnchorError as error:
            state = anchor_state(self._store, trail.origin, by)
            if state is None or state.refusal != error.message:  # the same refusal again is no news
                self._store.append(refused_entry(trail.origin, by, what, error.message, DEVICE))
            return Outcome(trail.origin, by, problem=str(error))


class AnchorWorker:
    """The thread that anchors when it is due: after a run or a disposition, daily, and again after a failure.

    Lifetime: from `start` to `close`, which waits for the attempt that is on, a few seconds at most. Concurrency: `wanted` may be
    called from any thread and returns at once.
    """

    def __init__(self, desk: AnchorDesk, clock: Clock, told: Callable[[Sequence[Outcome]], None] = lambda _: None) -> None:
        self._desk = desk
        self._clock = clock
        self._told = told
        self._wake = threading.Condition()
        self._schedule = AnchorSchedule(due_us=clock.now())
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="anchors", daemon=True)

    def start(self) -> None:
        if self._desk.configured:
            self._thread.start()

    def wanted(self) -> None:
        """Say that something happened that should leave the building."""
        with self._wake:
            self._schedule.wanted(self._clock.now())
            self._wake.notify()

    def close(self) -> None:
        with self._wake:
            self._closing = True
            self._wake.notify()
        if self._thread.is_alive():
            self._thread.join(timeout=5)

    def step(self) -> list[Outcome] | None:
        """Anchor if it is due; return what came of it, None where it is not due yet. The thread does nothing else."""
        with self._wake:
            if not self._schedule.is_due(self._clock.now()):
                return None
        try:
            outcomes = self._desk.anchor()
            away = any(outcome.again for outcome in outcomes)
        except RecordError as error:
            outcomes, away = [Outcome("", DEVICE, problem=str(error), again=True)], True
        with self._wake:
            (self._schedule.failed if away else self._schedule.succeeded)(self._clock.now())
        self._told(outcomes)
        return outcomes

    def _run(self) -> None:
        while True:
            with self._wake:
                if self._closing:
                    return
                left = (self._schedule.due_us - self._clock.now()) / 1_000_000
                if left > 0:
                    self._wake.wait(min(left, _LONGEST_SLEEP_S))
                    continue
            self.step()


def http_client() -> httpx.Client:
    """Return the client for everybody outside; certificates of servers are checked against the system's."""
    return httpx.Client(headers={"User-Agent": "dosewright"})
