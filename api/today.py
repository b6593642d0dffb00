"""The queue of the day: each order and batch that is not done with, its next act, and whether this person may take it.

Pure: what is on record and what the cells say in, lines out. A line names its act by a word of `Act`; whole sentences are the page's.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from api.access import actor_of
from api.order_recipe import keep_to_development
from api.security import GRANTS, Permission, Session
from api.status import CellStatus
from audit.canonical import JsonObject, JsonValue
from audit.errors import DosewrightError
from audit.release.conformity import Disposition, releaser_refusals


class Stage(StrEnum):
    """Where an order or a batch stands, in the order in which it goes through them; not known, where a run is on a cell that is silent."""

    SECOND_PERSON = "awaiting second person"
    CONFIRMED = "confirmed"
    PREPARED = "prepared"
    PRINTING = "printing"
    ENDED = "run ended"
    REVIEW = "awaiting review"
    EXCEPTIONS = "exceptions open"
    PACKING = "to be packed"
    LABELLING = "to be labelled"
    DISPENSING = "to be dispensed"
    UNKNOWN = "not known"


class Act(StrEnum):
    """What is done next."""

    CONFIRM = "confirm"
    OPEN_BATCH = "open batch"
    REQUEST_RUN = "request run"
    START = "start"
    WAIT = "wait"
    RESUME = "resume"
    WEIGH = "weigh"
    WEIGH_AGAIN = "weigh again"
    LOOK = "look at the cell"
    CLOSE_RUN = "close run"
    REMOVE = "confirm removal"
    RESOLVE = "resolve exceptions"
    SIGN = "sign disposition"
    PACK = "pack"
    LABEL = "label"
    CLOSE_PACKING = "close packing"
    DISPENSE = "dispense"


PERMISSIONS: Mapping[Act, Permission] = {
    Act.CONFIRM: Permission.CONFIRM_ORDER,
    Act.OPEN_BATCH: Permission.CREATE_BATCH,
    Act.REQUEST_RUN: Permission.RUN,
    Act.START: Permission.RUN,
    Act.RESUME: Permission.RUN,
    Act.WEIGH: Permission.RUN,
    Act.WEIGH_AGAIN: Permission.CONFIRM_WEIGHT,
    Act.CLOSE_RUN: Permission.REVIEW,
    Act.REMOVE: Permission.CONFIRM_REMOVAL,
    Act.RESOLVE: Permission.RESOLVE,
    Act.SIGN: Permission.DISPOSE,
    Act.PACK: Permission.PACK,
    Act.LABEL: Permission.PACK,
    Act.CLOSE_PACKING: Permission.PACK,
    Act.DISPENSE: Permission.DISPENSE,
}
"""What each act asks for. Nobody is called to wait or to look: these two are for whoever is near."""

_FOR_PATIENTS_OR_DEVELOPMENT = frozenset({Permission.CREATE_BATCH, Permission.RUN})
"""What a process engineer may do for development runs alone, as `api.production` has it."""

_NOT_MOVING = frozenset({"CREATED", "PREFLIGHT", "READY"})


@dataclass(frozen=True, slots=True)
class OpenOrder:
    """An order that no batch was opened for. `since`: RFC 3339, of its last signature."""

    order: str
    confirmed: bool
    entered_by: str
    since: str
    development: bool = False


@dataclass(frozen=True, slots=True)
class Judged:
    """What both trails say of a batch that awaits its review, as it was read last; None in `OpenBatch` until it was read.

    `roles`: those that the legal route of its recipe names for a release, none where it names none.
    """

    exceptions: int
    operators: tuple[str, ...] = ()
    entered_by: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PacksLeft:
    """What is left to do with a released batch: units in no pack, packs without a matched label, packs in hand, and closing."""

    unpacked: int = 0
    to_label: int = 0
    to_dispense: int = 0
    closed: bool = False


@dataclass(frozen=True, slots=True)
class OpenBatch:
    """A batch that is not done with. `since`: RFC 3339, of the last entry about it; `held`: which recall stops it, or empty."""

    batch: str
    cell: str
    status: str
    since: str
    run: str = ""
    operators: tuple[str, ...] = ()
    development: bool = False
    judged: Judged | None = None
    packs: PacksLeft = field(default_factory=PacksLeft)
    held: str = ""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the queue.

    `who`: the roles that may take the act; `reasons`: why this person may not, empty where they may. `count`: how many units, packs or
    exceptions it is about, and `of` of how many. `left_s`: seconds until a run is over, where the cell knows it. `here`: the cell shows the
    batch still.
    """

    stage: Stage
    act: Act
    subject: str
    cell: str
    since: str
    age_s: int
    who: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()
    count: int = 0
    of: int = 0
    left_s: int | None = None
    held: str = ""
    here: bool = False

    @property
    def yours(self) -> bool:
        """Whether this person is called: the act is somebody's, and nothing stands against their taking it."""
        return bool(self.who) and not self.reasons and not self.held

    def as_record(self) -> JsonObject:
        reasons: list[JsonValue] = [*self.reasons, *([self.held] if self.held else [])]
        who: list[JsonValue] = [*self.who]
        return {
            "stage": self.stage.value, "subject": self.subject, "cell": self.cell or None, "since": self.since, "age_s": self.age_s,
            "next": {"act": self.act.value, "who": who, "allowed": self.yours, "reasons": reasons},
            "count": self.count, "of": self.of, "left_s": self.left_s,
        }  # fmt: skip


def queue(
    session: Session, orders: Iterable[OpenOrder], batches: Iterable[OpenBatch], cells: Mapping[str, CellStatus], now: str
) -> tuple[Line, ...]:
    """Return all lines, first what this person may do, then by stage, the oldest first. `now`: RFC 3339."""
    lines = [*(_order_line(session, order, now) for order in orders)]
    for batch in batches:
        lines += _Batch(session, batch, cells.get(batch.cell), now).lines()
    stages = list(Stage)
    return tuple(sorted(lines, key=lambda line: (not line.yours, stages.index(line.stage), line.since, line.subject)))


def age_s(since: str, now: str) -> int:
    """Return the seconds from one instant to another, none below zero: a clock may have been set back."""
    return max(0, int((datetime.fromisoformat(now) - datetime.fromisoformat(since)).total_seconds()))


def roles_of(act: Act, among: Collection[str] = ()) -> tuple[str, ...]:
    """Return the roles that may take an act, `among` these where any are named."""
    if act not in PERMISSIONS:
        return ()
    return tuple(sorted(role.value for role in GRANTS[PERMISSIONS[act]] if not among or role.value in among))


def _order_line(session: Session, order: OpenOrder, now: str) -> Line:
    act = Act.OPEN_BATCH if order.confirmed else Act.CONFIRM
    own = () if order.confirmed or order.entered_by != session.username else ("you entered it",)
    reasons = (*_role_reasons(session, act, development=order.development), *own)
    stage = Stage.CONFIRMED if order.confirmed else Stage.SECOND_PERSON
    return Line(stage, act, order.order, "", order.since, age_s(order.since, now), roles_of(act), reasons)


@dataclass(frozen=True, slots=True)
class _Batch:
    """One batch before one person: makes its lines. `status` is that of its cell, whatever is on it."""

    session: Session
    batch: OpenBatch
    status: CellStatus | None
    now: str

    @property
    def here(self) -> CellStatus | None:
        """The cell, where it shows this batch."""
        return self.status if self.status is not None and self.status.batch == self.batch.batch else None

    def lines(self) -> Iterator[Line]:
        match self.batch.status:
            case "created":
                yield self._line(Stage.PREPARED, Act.REQUEST_RUN)
            case "running":
                yield self._of_run()
            case "awaiting review":
                yield from self._of_review()
            case _:
                yield from self._of_packs(self.batch.packs)

    def _line(
        self, stage: Stage, act: Act, *own: str, among: Collection[str] = (), count: int = 0, of: int = 0, left_s: int | None = None
    ) -> Line:
        batch = self.batch
        return Line(
            stage=stage,
            act=act,
            subject=batch.batch,
            cell=batch.cell,
            since=batch.since,
            age_s=age_s(batch.since, self.now),
            who=roles_of(act, among),
            reasons=(*_role_reasons(self.session, act, development=batch.development), *own),
            count=count,
            of=of,
            left_s=left_s,
            held=batch.held,
            here=self.here is not None,
        )

    def _of_run(self) -> Line:
        status = self.here
        if self.status is None or self.status.state == "UNKNOWN":
            return self._line(Stage.UNKNOWN, Act.LOOK)
        if status is None or status.run != self.batch.run:
            return self._line(Stage.ENDED, Act.CLOSE_RUN)  # the cell has left this run behind; its record waits to be tied
        if status.ended:
            # a gate that refused is made good, and the cell is asked again; nothing was printed that could be reviewed
            return self._line(Stage.PREPARED, Act.REQUEST_RUN) if status.unmet else self._line(Stage.ENDED, Act.CLOSE_RUN)
        judged, planned = status.judged, len(status.units)
        if (weighing := status.external_weighing) is not None:
            again = weighing.entry > 1
            own = ("you weighed it first",) if again and weighing.first_by == self.session.username else ()
            act = Act.WEIGH_AGAIN if again else Act.WEIGH
            return self._line(Stage.PRINTING, act, *own, count=weighing.n, of=planned, left_s=weighing.time_left_s)
        if status.state in _NOT_MOVING:
            return self._line(Stage.PREPARED, Act.START, *([] if status.may("start").allowed else status.may("start").reasons))
        if status.state == "PAUSED":
            return self._line(Stage.PRINTING, Act.RESUME, *status.may("resume").reasons, count=judged, of=planned)
        return self._line(Stage.PRINTING, Act.WAIT, count=judged, of=planned, left_s=status.time_left_s)

    def _of_review(self) -> Iterator[Line]:
        """What comes first stands alone: nothing is signed before the last unit is off the plate and the last exception is resolved."""
        judged, me = self.batch.judged, self.session.username
        operators = self.batch.operators if judged is None else judged.operators
        if self.here is not None:
            on_plate = sum(unit.needs_removal for unit in self.here.units) + sum(purge.needs_removal for purge in self.here.purge_units)
            if on_plate:
                yield self._line(Stage.REVIEW, Act.REMOVE, *(("you ran it",) if me in operators else ()), count=on_plate)
                return
        if judged is None:
            yield self._line(Stage.REVIEW, Act.LOOK)
        elif judged.exceptions:
            yield self._line(Stage.EXCEPTIONS, Act.RESOLVE, *(("you ran it",) if me in operators else ()), count=judged.exceptions)
        else:
            yield self._line(Stage.REVIEW, Act.SIGN, *self._against_release(judged), among=judged.roles)

    def _against_release(self, judged: Judged) -> tuple[str, ...]:
        if not self.session.may(Permission.DISPOSE):
            return ()  # that is said already
        me, role = self.session.username, self.session.role_for(Permission.DISPOSE).value
        return releaser_refusals(
            Disposition.RELEASED, me, role, operators=judged.operators, entered_by=judged.entered_by, roles=judged.roles
        )

    def _of_packs(self, packs: PacksLeft) -> Iterator[Line]:
        if packs.unpacked:
            yield self._line(Stage.PACKING, Act.PACK, count=packs.unpacked)
        if packs.to_label:
            yield self._line(Stage.LABELLING, Act.LABEL, count=packs.to_label)
        if packs.to_dispense:
            yield self._line(Stage.DISPENSING, Act.DISPENSE, count=packs.to_dispense)
        if not (packs.closed or packs.unpacked or packs.to_label):
            yield self._line(Stage.PACKING, Act.CLOSE_PACKING)


def _role_reasons(session: Session, act: Act, *, development: bool) -> tuple[str, ...]:
    """Return what the role, a locked session or a password that is over has against an act."""
    permission = PERMISSIONS.get(act)
    if permission is None:
        return ()
    try:
        actor = actor_of(session, permission)
        if permission in _FOR_PATIENTS_OR_DEVELOPMENT:
            keep_to_development(actor, development)
    except DosewrightError as error:
        return (error.message,)
    return ()
