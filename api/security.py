"""Who may ask what: sessions, permissions by role, and what each route declares.

Deny by default, twice: the frontier (`api.frontier`) refuses every path outside a short public list without a session,
and the application does not start when a route of the interface names no permission. A session is a random token, held here as
its SHA-256 only, in an http-only SameSite=strict cookie or as a bearer token. Requests that change something and carry
a cookie must name this host as their origin; so must every websocket.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from fastapi import Request
from starlette.requests import HTTPConnection

from api.errors import NotLoggedIn, PasswordChangeNeeded, SessionLocked
from api.open_sessions import KeptSession, OpenSessions
from audit.access_policy import AccessPolicy
from audit.clock import MICROSECONDS, Clock
from audit.errors import RoleMissing
from audit.events import EventKind
from audit.identity import Person, Role
from printer.standing import local_day

COOKIE = "dosewright_session"
API = "/api/v1"
STOP_PATH = re.compile(rf"{API}/cells/[^/]+/stop\Z")
"""Where STOP is asked for. It is refused for no fault of its body, and never answered from memory."""
_ANYONE = frozenset(Role)
_GMP = _ANYONE - {Role.ADMINISTRATOR}
MINUTE = 60 * MICROSECONDS


class Permission(StrEnum):
    """What a route asks for."""

    SEE = "see"
    ENTER_ORDER = "enter an order"
    CONFIRM_ORDER = "confirm an order"
    CREATE_BATCH = "create a batch"
    CANCEL_BATCH = "cancel a batch"
    RUN = "run a batch"
    CARE = "check or clean a cell"
    RECEIVE_INK = "receive, prepare or weigh ink"
    STOP = "stop a cell"
    ACKNOWLEDGE = "acknowledge an alarm"
    SHELVE = "shelve an alarm"
    CONFIRM_REMOVAL = "confirm a removal"
    CONFIRM_WEIGHT = "weigh a unit as the second person"
    REVIEW = "review a batch"
    RESOLVE = "resolve an exception"
    TAKE_BACK = "take a cartridge back"
    DISPOSE = "sign a disposition"
    EXPORT = "export a package"
    SEARCH_TRAIL = "search the trail"
    MANAGE_PEOPLE = "manage people"
    LOOK_AFTER_STORES = "look after stores and backups"
    HOLD = "hold the documents of a batch"
    ERASE = "erase a patient's identity"
    SEE_ACCESS = "see the access review and what needs attention"
    REVIEW_ACCESS = "sign the access review"
    CHANGE_RECIPES = "take a step of a recipe's life cycle"
    AUTHOR_RECIPES = "write a recipe"
    APPROVE_RECIPES = "approve a recipe or make it effective"
    DEVELOP = "open a recipe for development runs"
    CHANGE_EQUIPMENT = "sign an equipment register"
    MAINTAIN = "record maintenance of equipment"
    TRAIN = "sign a training record"
    CHANGE_MODELS = "take a step of a process model's life cycle"
    AUTHOR_MODELS = "write or test a process model"
    APPROVE_MODELS = "approve a process model, make it effective or reinstate it"
    SUSPEND_MODELS = "suspend a process model"
    MEASURE = "record spectra or a reference check, or have models predict"
    PACK = "pack, label and account for labels"
    REPRINT = "approve a further copy of a label"
    DISPENSE = "dispense a pack or take one back"
    DESTROY_PACK = "destroy a pack"
    RECORD_PATIENT = "record who a patient is"
    OPEN_PATIENT = "read who a patient is"
    SEARCH_RECALL = "search for a recall"
    RECALL = "open, follow or close a recall"


GRANTS: Mapping[Permission, frozenset[Role]] = {
    Permission.SEE: _ANYONE,
    # a process engineer's are for development runs alone; `api.production` holds them to that
    Permission.ENTER_ORDER: frozenset({Role.PHARMACIST, Role.OPERATOR, Role.PROCESS_ENGINEER}),
    Permission.CONFIRM_ORDER: frozenset({Role.PHARMACIST, Role.OPERATOR}),
    Permission.CREATE_BATCH: frozenset({Role.OPERATOR, Role.PHARMACIST, Role.PROCESS_ENGINEER}),
    # a pharmacist's for every batch; anybody else's for what they opened themselves, as `api.cancel_desk` has it
    Permission.CANCEL_BATCH: frozenset({Role.OPERATOR, Role.PHARMACIST, Role.PROCESS_ENGINEER}),
    Permission.RUN: frozenset({Role.OPERATOR, Role.PROCESS_ENGINEER}),
    Permission.CARE: frozenset({Role.OPERATOR, Role.PHARMACIST}),
    Permission.RECEIVE_INK: frozenset({Role.OPERATOR, Role.PHARMACIST, Role.QUALITY_ASSURANCE}),
    Permission.STOP: _ANYONE,
    Permission.ACKNOWLEDGE: frozenset({Role.OPERATOR, Role.PHARMACIST, Role.PROCESS_ENGINEER}),
    Permission.SHELVE: frozenset({Role.OPERATOR, Role.PHARMACIST, Role.PROCESS_ENGINEER}),
    Permission.CONFIRM_REMOVAL: frozenset({Role.OPERATOR, Role.PHARMACIST, Role.QUALITY_ASSURANCE, Role.QUALIFIED_PERSON}),
    Permission.CONFIRM_WEIGHT: frozenset({Role.OPERATOR, Role.PHARMACIST, Role.QUALITY_ASSURANCE, Role.QUALIFIED_PERSON}),
    Permission.REVIEW: _GMP,
    Permission.RESOLVE: frozenset({Role.PHARMACIST, Role.QUALITY_ASSURANCE, Role.QUALIFIED_PERSON}),
    Permission.TAKE_BACK: frozenset({Role.OPERATOR, Role.PHARMACIST}),
    Permission.DISPOSE: frozenset({Role.QUALIFIED_PERSON, Role.PHARMACIST, Role.QUALITY_ASSURANCE}),
    Permission.EXPORT: frozenset({Role.PHARMACIST, Role.QUALIFIED_PERSON, Role.QUALITY_ASSURANCE}),
    Permission.SEARCH_TRAIL: _ANYONE,
    Permission.MANAGE_PEOPLE: frozenset({Role.ADMINISTRATOR}),
    Permission.LOOK_AFTER_STORES: frozenset({Role.ADMINISTRATOR}),
    Permission.HOLD: frozenset({Role.QUALITY_ASSURANCE, Role.QUALIFIED_PERSON}),
    Permission.ERASE: frozenset({Role.PHARMACIST, Role.QUALITY_ASSURANCE, Role.QUALIFIED_PERSON}),
    Permission.SEE_ACCESS: frozenset({Role.ADMINISTRATOR, Role.QUALITY_ASSURANCE}),
    # not an administrator's: nobody reviews their own work
    Permission.REVIEW_ACCESS: frozenset({Role.QUALITY_ASSURANCE}),
    # which step is whose is for the life cycle to say, which puts a refusal on record
    Permission.CHANGE_RECIPES: _GMP,
    Permission.AUTHOR_RECIPES: frozenset({Role.PROCESS_ENGINEER, Role.PHARMACIST}),
    Permission.APPROVE_RECIPES: frozenset({Role.QUALITY_ASSURANCE, Role.QUALIFIED_PERSON}),
    Permission.DEVELOP: frozenset({Role.PROCESS_ENGINEER}),
    Permission.CHANGE_EQUIPMENT: frozenset({Role.QUALITY_ASSURANCE}),
    Permission.MAINTAIN: frozenset({Role.OPERATOR, Role.PHARMACIST, Role.PROCESS_ENGINEER, Role.QUALITY_ASSURANCE}),
    # who trains others, and who stands for the training system; nobody signs their own
    Permission.TRAIN: frozenset({Role.PHARMACIST, Role.PROCESS_ENGINEER, Role.QUALITY_ASSURANCE}),
    Permission.CHANGE_MODELS: _GMP,
    Permission.AUTHOR_MODELS: frozenset({Role.PROCESS_ENGINEER, Role.PHARMACIST}),
    Permission.APPROVE_MODELS: frozenset({Role.QUALITY_ASSURANCE, Role.QUALIFIED_PERSON}),
    Permission.SUSPEND_MODELS: _GMP,
    Permission.MEASURE: _GMP,
    Permission.PACK: frozenset({Role.OPERATOR, Role.PHARMACIST}),
    Permission.REPRINT: frozenset({Role.OPERATOR, Role.PHARMACIST, Role.QUALITY_ASSURANCE}),
    Permission.DISPENSE: frozenset({Role.PHARMACIST}),
    Permission.DESTROY_PACK: frozenset({Role.PHARMACIST, Role.QUALITY_ASSURANCE}),
    Permission.RECORD_PATIENT: frozenset({Role.PHARMACIST}),
    Permission.OPEN_PATIENT: frozenset({Role.PHARMACIST, Role.QUALIFIED_PERSON}),
    Permission.SEARCH_RECALL: frozenset({Role.PHARMACIST, Role.QUALIFIED_PERSON, Role.QUALITY_ASSURANCE}),
    Permission.RECALL: frozenset({Role.PHARMACIST, Role.QUALIFIED_PERSON}),
}


_STANDING = frozenset({Permission.SEE, Permission.STOP})
"""What stays open to a session that is locked, or whose password has to be changed: to look, and to stop."""


Lent = tuple[tuple[Role, str], ...]


@dataclass(frozen=True, slots=True)
class Session:
    """One log-in as it is at a moment. `expires` is process time in microseconds.

    `roles` include those `lent`, each until the end of its day at the site (ISO, included).
    `remote`: it came from outside the controlled perimeter. `locked`: nobody has done anything for too long.
    `must_change`: why the password has to be changed first, or empty. `at_page`: the act comes from a page that this
    process serves, over its own websocket. `key` tells sessions of one person apart.
    """

    username: str
    name: str
    roles: frozenset[Role]
    expires: int
    remote: bool = False
    locked: bool = False
    must_change: str = ""
    at_page: bool = False
    key: str = ""
    lent: Lent = ()

    def may(self, permission: Permission) -> bool:
        """Whether this person has a permission now: a role for it, in a session that is neither locked nor waits for a new password."""
        try:
            self.role_for(permission)
        except (RoleMissing, SessionLocked, PasswordChangeNeeded):
            return False
        return True

    @property
    def permissions(self) -> frozenset[Permission]:
        """What the roles of this person grant."""
        return frozenset(permission for permission, roles in GRANTS.items() if self.roles & roles)

    def role_for(self, permission: Permission) -> Role:
        """Return the role under which this person acts. Raises RoleMissing, SessionLocked, PasswordChangeNeeded."""
        granted = self.roles & GRANTS[permission]
        if not granted:
            raise RoleMissing(
                f"{self.username} may not {permission.value}.",
                remedy=f"It takes one of the roles: {', '.join(sorted(role.value for role in GRANTS[permission]))}.",
            )
        if permission not in _STANDING:
            self.require_open()
        return min(granted, key=lambda role: list(Role).index(role))

    def require_open(self) -> None:
        """Refuse what only a person does whose own password opened this session. Raises SessionLocked, PasswordChangeNeeded."""
        if self.locked:
            raise SessionLocked(
                "This session is locked: nobody used it for too long, or the workstation was started again.",
                remedy=f"Give the password of {self.username} again. STOP works.",
            )
        if self.must_change:
            raise PasswordChangeNeeded(
                f"The password of {self.username} has to be changed: {self.must_change}.", remedy="Change it under Account."
            )


@dataclass(slots=True)
class _Open:
    """What is kept of an open session."""

    session: Session
    seen: int
    signed: int | None = None


@dataclass(frozen=True, slots=True)
class End:
    """A session that ended or was locked by time, to be recorded."""

    username: str
    kind: EventKind
    reason: str


class Sessions:
    """Open sessions by the SHA-256 of their token.

    Two spans end them, both of the site's policy: from log-in (the session ends), and from the last thing a person did
    (it is locked: it shows what it showed, STOP works, and the password opens it again). A page that asks for news does
    nothing in that sense; `touch` is for what a person does. Lifetime: that of the process; with a file to keep them in, the
    process after this one brings them back, locked. Concurrency: any thread.
    """

    def __init__(
        self, clock: Clock, minutes: int, policy: Callable[[], AccessPolicy] = AccessPolicy, kept: OpenSessions | None = None
    ) -> None:
        self._clock = clock
        self._minutes = minutes
        self._policy = policy
        self._kept = kept
        self._open: dict[str, _Open] = {}
        self._ends: list[End] = []
        self._lock = threading.Lock()

    def open(self, username: str, name: str, roles: Iterable[Role], *, remote: bool = False, must_change: str = "", lent: Lent = ()) -> str:
        """Open a session and return its token, which is shown this once."""
        token, now = secrets.token_urlsafe(32), self._clock.now()
        key = _fingerprint(token)
        expires = now + min(self._minutes, self._policy().session_minutes) * MINUTE
        session = Session(username, name, frozenset(roles), expires, remote, must_change=must_change, key=key, lent=lent)
        with self._lock:
            # whose token nobody shows any more would never be found to have ended
            over = [found.session for found in self._open.values() if found.session.expires <= now]
            for ended in over:
                self._end_by_time(ended)
            self._open[key] = _Open(session, now)
        self._keep(session)
        return token

    def bring_back(self, is_active: Callable[[str], bool]) -> None:
        """Open again, locked, what the process before this one had open. An account that is no longer active stays out.

        None lasts longer than it would have; a clock that was set back lengthens none beyond a whole session.
        """
        if self._kept is None:
            return
        utc, now = datetime.now(UTC), self._clock.now()
        for kept in self._kept.read():
            left = min(int((kept.until - utc).total_seconds()) * MICROSECONDS, self._minutes * MINUTE)
            if left <= 0 or not is_active(kept.username):
                self._ends.append(End(kept.username, EventKind.PERSON_SESSION_CLOSED, "it was over when the workstation was started again"))
                self._kept.forget([kept.key])
                continue
            session = Session(kept.username, kept.name, kept.roles, now + left, kept.remote, True, kept.must_change, key=kept.key)
            self._open[kept.key] = _Open(session, now)
            self._ends.append(End(kept.username, EventKind.PERSON_SESSION_LOCKED, "the workstation was started again"))

    def _keep(self, session: Session) -> None:
        if self._kept is None:
            return
        until = datetime.now(UTC) + timedelta(microseconds=session.expires - self._clock.now())
        own = session.roles - {role for role, _ in session.lent}  # the password, which opens it again, brings what is lent then
        who = session.username, session.name, own, session.remote, session.must_change
        self._kept.keep(KeptSession(session.key, *who, until))

    def _forget(self, *keys: str) -> None:
        if self._kept is not None and keys:
            self._kept.forget(keys)

    def find(self, token: str) -> Session | None:
        """Return the session as it is now: locked where nobody did anything for too long, without roles that were lent until a day before.

        None where there is none any more.
        """
        with self._lock:
            found = self._open.get(_fingerprint(token))
            if found is None:
                return None
            now, session = self._clock.now(), found.session
            if session.expires <= now:
                self._end_by_time(session)
                return None
            idle = self._policy().inactivity_minutes
            if session.lent:
                found.session = session = _without_ended(session, local_day(self._clock.utc()))
            if not session.locked and found.seen + idle * MINUTE <= now:
                found.session = replace(session, locked=True)
                self._ends.append(End(session.username, EventKind.PERSON_SESSION_LOCKED, f"nothing was done for {idle} minutes"))
            return found.session

    def _end_by_time(self, session: Session) -> None:
        del self._open[session.key]
        self._ends.append(End(session.username, EventKind.PERSON_SESSION_CLOSED, "its time was over"))
        self._forget(session.key)

    def touch(self, token: str) -> None:
        """Note that the person did something; a locked session stays locked."""
        with self._lock:
            found = self._open.get(_fingerprint(token))
            if found is not None and not found.session.locked:
                found.seen = self._clock.now()

    def resume(self, token: str, person: Person) -> None:
        """Open a locked session again, for a person who has just given the password; roles are those held now."""
        with self._lock:
            found = self._open.get(_fingerprint(token))
            if found is not None:
                roles, seen = frozenset(person.roles), self._clock.now()
                found.session = replace(found.session, locked=False, roles=roles, lent=person.lent, must_change=person.must_change)
                found.seen, found.signed = seen, None

    def note_signature(self, session: Session) -> None:
        """Note that the person of this session has signed, for the next signature in sequence."""
        with self._lock:
            if (found := self._open.get(session.key)) is not None:
                found.signed = self._clock.now()

    def in_sequence(self, session: Session) -> bool:
        """True where the policy lets the next signature of this session follow with the password alone."""
        with self._lock:
            found = self._open.get(session.key)
            span = self._policy().sequence_minutes * MINUTE
            return found is not None and found.signed is not None and self._clock.now() - found.signed < span

    def ends(self) -> tuple[End, ...]:
        """Return what time ended or locked and is not recorded yet."""
        with self._lock:
            return tuple(self._ends)

    def recorded(self, end: End) -> None:
        """Take one of `ends` off the list: it is on record."""
        with self._lock:
            if end in self._ends:
                self._ends.remove(end)

    def close(self, token: str) -> None:
        with self._lock:
            self._open.pop(_fingerprint(token), None)
        self._forget(_fingerprint(token))

    def close_person(self, username: str, *, but: str = "") -> None:
        """End all sessions of one person, except the one with this key."""
        with self._lock:
            closed = [key for key, found in self._open.items() if found.session.username == username and key != but]
            for key in closed:
                del self._open[key]
        self._forget(*closed)


def _without_ended(session: Session, today: str) -> Session:
    """Return a session without the roles that were lent until a day before today."""
    ended = {role for role, until in session.lent if until < today}
    if not ended:
        return session
    return replace(session, roles=session.roles - ended, lent=tuple(item for item in session.lent if item[0] not in ended))


def _fingerprint(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def token_of(connection: HTTPConnection) -> tuple[str, bool]:
    """Return the token a request carries and whether it came in a cookie."""
    scheme, _, value = connection.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and value:
        return value.strip(), False
    return connection.cookies.get(COOKIE, ""), True


def session_of(connection: HTTPConnection) -> Session:
    """Return the session the frontier found for this request, or raise NotLoggedIn."""
    session: object = connection.scope.get("dosewright_session")
    if not isinstance(session, Session):
        raise NotLoggedIn("There is no open session.", remedy="Log in first.")
    return session


@dataclass(frozen=True, slots=True)
class Guard:
    """A route's declaration: the permission it asks for and the kinds of entry it may write (none for a reading route)."""

    permission: Permission
    kinds: tuple[EventKind, ...] = ()

    async def __call__(self, request: Request) -> Session:
        """Return the session. It is looked at in memory alone, so no thread is taken, and none has to be free."""
        session = session_of(request)
        session.role_for(self.permission)
        return session


def guard(permission: Permission, *kinds: EventKind) -> Guard:
    return Guard(permission, kinds)
