"""Gathers what the page of the day shows one person: the queue, the cells and their readiness, alarms, what needs them."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from api.access_desk import AccessDesk
from api.cell_feed import CellView
from api.ink_desk import InkDesk
from api.model_desk import ModelDesk
from api.pack_desk import PackDesk
from api.people import People
from api.readiness_feed import Readiness
from api.recall_holds import RecallHolds
from api.recipe_desk import RecipeDesk
from api.review_watch import ReviewWatch
from api.security import Session
from api.status import AlarmStatus, CellStatus, GateStatus
from api.today import Judged, Line, OpenBatch, OpenOrder, PacksLeft, queue
from api.today_needs import Ending, Known, Matter, Need, Waiting, needs
from api.training_desk import TrainingDesk
from audit.canonical import JsonObject, JsonValue
from audit.errors import DosewrightError
from audit.release.packs import Pack
from audit.release.trail_view import as_list, as_object, text_of
from audit.store import TrailStore
from printer.equipment import CheckRule, EquipmentRegister
from printer.standing import local_day
from recipes.errors import TransitionRefused
from recipes.lifecycle import RecipeState, RecipeVersion, Step, advance, steps_of

_LIVE = frozenset({"created", "running", "awaiting review"})
_RELEASED = frozenset({"released", "partly released"})
_HANDED_IN = frozenset({RecipeState.IN_REVIEW, RecipeState.APPROVED})
"""Versions that wait for somebody; a draft is its author's affair."""
_ONWARD = frozenset({Step.APPROVE, Step.MAKE_EFFECTIVE})


@dataclass(frozen=True, slots=True)
class MountedInk:
    """A cartridge that the last batch of a cell printed or prints from. Dates are ISO, the last day included."""

    serial: str
    lot: str
    in_use_until: str
    expires: str
    state: str
    usable: bool

    def as_record(self) -> JsonObject:
        return {
            "serial": self.serial, "ink_lot": self.lot, "in_use_until": self.in_use_until, "expires": self.expires,
            "state": self.state, "usable": self.usable,
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class CellToday:
    """One cell: its state, the gates that can be judged without a job (None: not known), and the ink in it, of which batch."""

    name: str
    status: CellStatus
    problem: str
    gates: tuple[GateStatus, ...] | None
    gates_problem: str
    ink_of: str = ""
    inks: tuple[MountedInk, ...] = ()

    @property
    def unmet(self) -> tuple[GateStatus, ...]:
        return tuple(gate for gate in self.gates or () if not gate.met)

    @property
    def alarms(self) -> tuple[AlarmStatus, ...]:
        """What waits for a person, or stands."""
        return tuple(alarm for alarm in self.status.alarms if not alarm.is_shelved)

    def as_record(self) -> JsonObject:
        gates: list[JsonValue] = [gate.model_dump() for gate in self.gates or ()]
        return {
            "cell": self.name, "state": self.status.state, "batch": self.status.batch, "problem": self.problem or None,
            "gates": None if self.gates is None else gates, "gates_problem": self.gates_problem or None,
            "ready": None if self.gates is None else not self.unmet, "ink_of_batch": self.ink_of or None,
            "inks": [ink.as_record() for ink in self.inks], "alarms": [alarm.model_dump() for alarm in self.alarms],
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Today:
    """What one person is shown of the day."""

    at: str
    lines: tuple[Line, ...]
    cells: tuple[CellToday, ...]
    needs: tuple[Need, ...]

    def as_record(self) -> JsonObject:
        return {
            "at": self.at,
            "queue": [line.as_record() for line in self.lines],
            "cells": [cell.as_record() for cell in self.cells],
            "needs": [need.as_record() for need in self.needs],
        }


@dataclass(frozen=True, slots=True)
class _OnRecord:
    """What the workstation's trail holds that is not done with, the same for everybody; of the moment when the trail had this size."""

    size: int
    orders: tuple[OpenOrder, ...]
    batches: tuple[OpenBatch, ...]
    inks: Mapping[str, MountedInk]
    cartridges: Mapping[str, tuple[str, tuple[str, ...]]] = field(default_factory=dict)
    """By cell: its last batch, and the serials of that batch's cartridges."""
    recalls: tuple[str, ...] = ()


class TodayDesk:
    """Lifetime: that of the workstation. Concurrency: any thread; what is on record is read once after each entry, for all who look."""

    def __init__(
        self,
        store: TrailStore,
        people: People,
        access: AccessDesk,
        recipes: RecipeDesk,
        models: ModelDesk,
        inks: InkDesk,
        packs: PackDesk,
        holds: RecallHolds,
        reviews: ReviewWatch,
        training: TrainingDesk,
    ) -> None:
        self._store = store
        self._people = people
        self._access = access
        self._recipes = recipes
        self._models = models
        self._inks = inks
        self._packs = packs
        self._holds = holds
        self._reviews = reviews
        self._training = training
        self._lock = threading.Lock()
        self._known: _OnRecord | None = None

    def today(self, session: Session, views: Mapping[str, CellView], readiness: Mapping[str, Readiness], *, wait: bool = False) -> Today:
        """Return the day as this person sees it; `views` and `readiness` are of every cell. `wait`: until reviews are read anew."""
        record, reading = self._on_record(), self._store.clock.utc()
        judged = self._reviews.look([batch.batch for batch in record.batches if batch.status == "awaiting review"], wait=wait)
        batches = [self._with_judged(batch, judged) for batch in record.batches]
        statuses = {name: view.status for name, view in views.items()}
        cells = tuple(self._cell(name, view, readiness.get(name, Readiness()), record) for name, view in views.items())
        registers = {name: found.register for name, found in readiness.items() if found.register is not None}
        known = Known(
            cells=statuses,
            gates={cell.name: cell.gates for cell in cells},
            register_ends={name: _ends(register) for name, register in registers.items()},
            password_until=self._password_until(session),
            access=[str(notice["text"]) for notice in self._access.attention(session)],
            waiting=self._waiting(session),
            recalls=record.recalls,
            training=self._own_training(session, registers.values()),
        )
        return Today(
            reading.at, queue(session, record.orders, batches, statuses, reading.at), cells, needs(session, known, local_day(reading))
        )

    # What is on record

    def _on_record(self) -> _OnRecord:
        size = self._store.size
        with self._lock:
            if self._known is None or self._known.size != size:
                self._known = self._read(size)
            return self._known

    def _read(self, size: int) -> _OnRecord:
        batches, orders = list(self._store.objects("batch")), list(self._store.objects("order"))
        standing = [(name, state) for name, state in batches if state.get("status") != "cancelled"]
        made = {text_of(state.get("order")) for _, state in standing}
        packs: dict[str, list[JsonObject]] = {}
        for _, state in self._store.objects("pack"):
            packs.setdefault(str(state.get("batch")), []).append(state)
        shelf = self._inks.overview()
        expires = {str(lot.get("lot")): str(lot.get("expires")) for lot in shelf["inks"]}
        return _OnRecord(
            size=size,
            orders=tuple(_open_order(name, state) for name, state in orders if name not in made),
            batches=tuple(found for name, state in standing if (found := self._open_batch(name, state, packs.get(name, []))) is not None),
            inks={str(item["serial"]): _mounted(item, expires) for item in shelf["cartridges"]},
            cartridges={
                str(state.get("cell")): (name, tuple(str(state[key]) for key in ("cartridge", "second_cartridge") if state.get(key)))
                for name, state in standing
            },
            recalls=tuple(name for name, state in self._store.objects("recall") if state.get("status") != "closed"),
        )

    def _open_batch(self, name: str, state: JsonObject, packs: Sequence[JsonObject]) -> OpenBatch | None:
        """Return a batch with what is left to do, its `packs` among it; None where nothing is."""
        status, left = str(state.get("status")), PacksLeft(closed=True)
        if status in _RELEASED:
            left = self._packs_left(name, state, packs)
            if left.closed and not left.to_dispense:
                return None
        elif status not in _LIVE:
            return None
        held = self._holds.of_batch(name) or ""
        if held and status in _RELEASED:
            return None  # what a recall has stopped is followed on its own page
        last = self._store.search(subject_type="batch", subject_id=name, newest_first=True, limit=1)
        asked = self._store.search(kind="batch.run.requested", subject_type="batch", subject_id=name, limit=20)
        return OpenBatch(
            batch=name,
            cell=str(state.get("cell")),
            status=status,
            since=last[0].at if last else self._store.clock.utc().at,
            run=text_of(state.get("run")) or "",
            operators=tuple(dict.fromkeys(entry.actor.username for entry in asked)),
            development=state.get("purpose") is not None,
            packs=left,
            held=held,
        )

    def _packs_left(self, name: str, state: JsonObject, packs: Sequence[JsonObject]) -> PacksLeft:
        states = [pack.get("state") for pack in packs]
        closed = state.get("packing") == "closed"
        unpacked = 0
        if not closed:
            try:
                unpacked = len(as_list(self._packs.overview(name).get("unpacked")))
            except DosewrightError:
                unpacked = 0  # its signed record cannot be read: the cell's page says so where it is packed
        return PacksLeft(unpacked, states.count(Pack.PACKED), states.count(Pack.LABELLED), closed)

    # What is of a person, or of now

    @staticmethod
    def _with_judged(batch: OpenBatch, judged: Mapping[str, Judged | None]) -> OpenBatch:
        return batch if batch.batch not in judged else replace(batch, judged=judged[batch.batch])

    @staticmethod
    def _cell(name: str, view: CellView, readiness: Readiness, record: _OnRecord) -> CellToday:
        silent = view.status.state == "UNKNOWN"
        batch, serials = record.cartridges.get(name, ("", ()))
        return CellToday(
            name=name,
            status=view.status,
            problem=view.problem,
            gates=None if silent else readiness.gates,  # a silent cell is shown as unknown, never as it last was
            gates_problem=view.problem if silent else readiness.problem,
            ink_of=batch,
            inks=tuple(record.inks[serial] for serial in serials if serial in record.inks),
        )

    def _own_training(self, session: Session, registers: Iterable[EquipmentRegister]) -> list[Ending]:
        """Return until when the person is trained in each thing; where register and record differ, the earlier day."""
        found: dict[str, str] = {}
        for item in self._training.register(registers):
            if item.person == session.username:
                name = f"{item.matter} {item.subject}"
                found[name] = min(item.until, found.get(name, item.until))
        return [Ending(name, until) for name, until in found.items()]

    def _password_until(self, session: Session) -> str:
        """Return the last day of the person's password, or nothing where the policy ends none."""
        days, since = self._people.policy.maximum_age_days, self._people.password_set(session.username)
        if not days or since is None:
            return ""
        return (datetime.fromisoformat(since).astimezone(UTC) + timedelta(days=days)).date().isoformat()

    def _waiting(self, session: Session) -> list[Waiting]:
        roles = [role.value for role in session.roles]
        found = []
        for state in self._recipes.versions.states():
            reference = f"{state.get('id')}@{state.get('version')}"
            found.append(_waits(Matter.RECIPE, reference, state, session.username, roles))
        for state in self._models.register.states():
            found.append(_waits(Matter.MODEL, str(state.get("model")), state, session.username, roles))
        return [item for item in found if item is not None]


def _open_order(name: str, state: JsonObject) -> OpenOrder:
    entered, confirmed = as_object(state.get("entered")), as_object(state.get("confirmed"))
    return OpenOrder(
        order=name,
        confirmed=state.get("status") == "confirmed",
        entered_by=text_of(entered.get("signer")) or "",
        since=text_of((confirmed or entered).get("at")) or "",
        development=state.get("purpose") is not None,
    )


def _mounted(item: JsonObject, expires: Mapping[str, str]) -> MountedInk:
    lot = str(item.get("ink_lot"))
    return MountedInk(
        str(item.get("serial")),
        lot,
        str(item.get("in_use_until")),
        expires.get(lot, ""),
        str(item.get("state")),
        item.get("usable") is True,
    )


def _waits(matter: Matter, reference: str, state: JsonObject, person: str, roles: Sequence[str]) -> Waiting | None:
    """Return a version with the steps that lead on and are open to a person; to withdraw or return what nobody asked about calls nobody."""
    status = str(state.get("status"))
    if status not in _HANDED_IN:
        return None
    version = RecipeVersion(
        reference, str(state.get("digest")), RecipeState(status), text_of(state.get("author")), text_of(state.get("approver"))
    )
    onward = tuple(step.value for step in steps_of(version.state) if step in _ONWARD and _is_open(version, step, person, roles))
    return Waiting(matter, reference, status, onward) if onward else None


def _is_open(version: RecipeVersion, step: Step, person: str, roles: Sequence[str]) -> bool:
    try:
        advance(version, step, person=person, roles=roles, digest=version.digest)
    except TransitionRefused:
        return False
    return True


def _ends(register: EquipmentRegister) -> tuple[Ending, ...]:
    """Return what of a register ends on a day: devices and the check weight."""
    found = [
        Ending(register.printer.asset, register.printer.qualified_until),
        Ending(register.balance.asset, register.balance.calibrated_until),
        Ending(register.pressure_sensor.asset, register.pressure_sensor.calibrated_until),
    ]
    if register.external_balance is not None:
        found.append(Ending(register.external_balance.asset, register.external_balance.calibrated_until))
    if isinstance(register.daily_check, CheckRule):
        found.append(Ending(register.daily_check.weight.identification, register.daily_check.weight.valid_until))
    return tuple(found)
