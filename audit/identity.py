"""People: accounts, roles, passwords, lock-out, and each person's own signing key.

The key is sealed under the person's password (`audit.sealed_keys`); the sealed row is in `credentials`, and the trail
holds its SHA-256. Whoever has the store but not the password cannot sign as the person, an administrator included.
Every attempt is an entry. Clauses: 21 CFR 11.10(d), 11.100(a), 11.200(a), 11.300; draft Annex 11 (2025) 11.1 to 11.11.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from threading import Lock
from zoneinfo import ZoneInfo

from audit.access_policy import AccessPolicy, below_floor, password_reasons, policy_of
from audit.canonical import JsonObject, JsonValue, sha256_hex
from audit.checkpoint import SigningKey
from audit.clock import Clock
from audit.errors import AccessDenied, LoginFailed, RoleMissing
from audit.events import CREDENTIALS_TABLE, SYSTEM, Actor, EntryDraft, EventKind, SealedRow, Subject
from audit.roles import Role as Role
from audit.roles import granted_together, role_of
from audit.sealed_keys import EarlierPassword, KdfCost, decoy_row, open_key, seal_key
from audit.store import TrailStore

_USERNAME = re.compile(r"[a-z][a-z0-9._-]{1,31}\Z")
_RESERVED = frozenset({"system"})
POLICY = Subject("policy", "access")
_UNKNOWN = Subject("access", "unknown-account")


@dataclass(frozen=True, slots=True)
class Person:
    """An account as the trail has it at a moment.

    `roles` include those lent for the time being; `lent` says until which day (ISO, included), of those that are not the person's own;
    `own_roles` are those held for good. `password_issued`: an administrator knows the password. `must_change`: why the password
    must be changed before anything else, or empty.
    """

    username: str
    name: str
    roles: tuple[Role, ...]
    verifier_key: str
    locked: bool
    active: bool
    failures: int
    password_issued: bool
    lent: tuple[tuple[Role, str], ...] = ()
    must_change: str = ""
    last_log_in: str | None = None
    refusals: int = 0
    password_set: str | None = None
    own_roles: tuple[Role, ...] = ()

    def has(self, role: Role) -> bool:
        return role in self.roles

    def actor(self, role: Role | str) -> Actor:
        """Return the person acting in a role they hold. Raises RoleMissing."""
        if role not in self.roles:
            raise RoleMissing(f"{self.username} does not hold the role {role}.", remedy="Ask a person who holds it.")
        return Actor(self.username, self.name, str(role))

    @property
    def as_themselves(self) -> Actor:
        """The person acting for their own account, in all roles."""
        return Actor(self.username, self.name, "/".join(self.roles))


@dataclass(frozen=True, slots=True)
class FactorVerdict:
    """What came of a second factor: accepted with what is then written, or refused with a reason and, maybe, a suspected misuse."""

    accepted: bool
    reason: str = ""
    drafts: tuple[EntryDraft, ...] = ()
    suspected: str = ""


SecondFactor = Callable[[Person], FactorVerdict]
"""Judges a second factor for a person whose password was right. It writes nothing itself."""


class Identity:
    """The people of a workstation.

    Lifetime: that of the store. Concurrency: any thread; the slow key derivation runs outside the lock.
    """

    def __init__(
        self,
        store: TrailStore,
        clock: Clock,
        *,
        policy: AccessPolicy | None = None,
        cost: KdfCost | None = None,
        device: str = "workstation",
    ) -> None:
        self._store = store
        self._clock = clock
        held = store.state(POLICY.type, POLICY.id)
        self._policy = policy_of(held) if held is not None else policy or AccessPolicy()
        self._cost = cost or KdfCost()
        self._device = device
        self._lock = Lock()

    @property
    def store(self) -> TrailStore:
        return self._store

    @property
    def clock(self) -> Clock:
        return self._clock

    @property
    def device(self) -> str:
        return self._device

    @property
    def policy(self) -> AccessPolicy:
        """The site's policy as it is now."""
        return self._policy

    def today(self) -> date:
        """Return the day at the site."""
        reading = self._clock.utc()
        return datetime.fromisoformat(reading.at).replace(tzinfo=UTC).astimezone(ZoneInfo(reading.zone)).date()

    def change_policy(self, policy: AccessPolicy, by: Actor, reason: str) -> AccessPolicy:
        """Put another policy in force. Raises RoleMissing unless `by` is an administrator; AccessDenied below the floor."""
        if weak := below_floor(policy):
            raise AccessDenied(f"This policy is below the floor: {'; '.join(weak)}.", remedy="Choose nothing weaker.")
        _need_reason(reason)
        with self._lock:
            self._require_administrator(by)
            self._store.append(EntryDraft(EventKind.ACCESS_POLICY_CHANGED, POLICY, policy.as_record(), by, self._device, reason=reason))
            self._policy = policy
        return policy

    def person(self, username: str) -> Person | None:
        """Return the person, or None."""
        state = self._store.state("person", username)
        return None if state is None else self._person(username, state)

    def people(self) -> Iterator[Person]:
        """Give every person, by username; accounts are never deleted."""
        return (self._person(username, state) for username, state in self._store.objects("person"))

    def create_person(
        self, username: str, full_name: str, roles: Sequence[Role | str], password: str, by: Actor, *, issued: bool = False
    ) -> Person:
        """Make an account with a key of its own.

        `by` is an administrator; SYSTEM only while there is none yet. `issued` marks a password that someone else knows.
        Raises RoleMissing, AccessDenied (username taken or not fit, password too weak, no role, administrator with a GMP role).
        """
        granted = granted_together(roles)
        if not _USERNAME.match(username) or username in _RESERVED:
            raise AccessDenied(
                f"The username {username!r} is not fit.",
                remedy="Use 2 to 32 of a-z, 0-9, '.', '_' and '-', beginning with a letter; not 'system'.",
            )
        if not full_name.strip():
            raise AccessDenied("A person needs a full name.", remedy="Give it.")
        self._check_password(username, full_name, password)
        key = SigningKey.generate(f"{self._store.origin}/{username}")
        sealed = seal_key(key, password, self._cost)
        with self._lock:
            self._require_administrator(by)
            if self._store.state("person", username) is not None:
                raise AccessDenied(f"The username {username} is taken; usernames are never used again.", remedy="Choose another.")
            new: dict[str, JsonValue] = {
                "name": full_name.strip(),
                "roles": [role.value for role in granted],
                "active": True,
                "locked": False,
                "failures": 0,
            }
            self._store.append(
                EntryDraft(EventKind.PERSON_ACCOUNT_CREATED, Subject("person", username), new, by, self._device),
                self._credential_draft(username, key, sealed, by, issued=issued),
            )
        return self._known(username)

    def change_roles(self, username: str, roles: Sequence[Role | str], by: Actor, reason: str) -> Person:
        """Give an account these roles and no others; roles that were lent end. Raises RoleMissing, AccessDenied."""
        granted = granted_together(roles)
        return self._set(
            EventKind.PERSON_ROLES_CHANGED, username, {"roles": [role.value for role in granted], "lent": None}, by, reason, own=False
        )

    def lend_role(self, username: str, role: Role | str, until: str, by: Actor, reason: str) -> Person:
        """Let a person deputise in a role until a day (ISO, included; at most a year ahead). Raises RoleMissing, AccessDenied."""
        lent = role_of(role)
        try:
            last = date.fromisoformat(until)
        except ValueError:
            raise AccessDenied(f"{until!r} is no date.", remedy="Write it as 2027-06-30.") from None
        if not self.today() <= last <= self.today() + timedelta(days=366):
            raise AccessDenied(f"Nobody deputises until {until}.", remedy="Name a day from today to a year from now.")
        person = self._known(username)
        granted_together((*person.roles, lent))
        others = {held.value: day for held, day in person.lent if held is not lent}
        return self._set(EventKind.PERSON_ROLES_CHANGED, username, {"lent": {**others, lent.value: until}}, by, reason, own=False)

    def authenticate(self, username: str, password: str, *, second: SecondFactor | None = None, remote: bool = False) -> Person:
        """Log a person in. Raises LoginFailed, one message for every cause; the attempt is an entry either way."""
        new: JsonObject = {"last_log_in": self._clock.utc().at, "remote": remote}
        person, _ = self.reauthenticate(username, password, purpose=EventKind.PERSON_SESSION_OPENED, new=new, second=second)
        return person

    def close_session(self, username: str, reason: str = "log-out", kind: EventKind = EventKind.PERSON_SESSION_CLOSED) -> None:
        """Record the end of a session, or that it was locked."""
        actor = self._known(username).as_themselves
        self._store.append(EntryDraft(kind, Subject("person", username), {}, actor, self._device, reason=reason))

    def unlock(self, username: str, by: Actor, reason: str) -> Person:
        """Open a locked account again. Raises RoleMissing unless `by` is an administrator."""
        return self._set(EventKind.PERSON_ACCOUNT_UNLOCKED, username, {"locked": False, "failures": 0}, by, reason)

    def unlock_last_administrator(self, username: str, reason: str) -> Person:
        """Unlock an administrator where no administrator can: by whoever runs the machine, as SYSTEM. Raises AccessDenied."""
        _need_reason(reason)
        with self._lock:
            person = self._known(username)
            if not person.has(Role.ADMINISTRATOR) or self._administrators():
                raise AccessDenied(f"{username} is not unlocked here.", remedy="Let an administrator who is not locked do it.")
            new: JsonObject = {"locked": False, "failures": 0}
            subject = Subject("person", username)
            self._store.append(
                EntryDraft(
                    EventKind.PERSON_ACCOUNT_UNLOCKED, subject, new, SYSTEM, self._device, reason=f"at the machine itself: {reason}"
                ),
                self._misuse("the last administrator was unlocked at the machine itself", username),
            )
        return self._known(username)

    def deactivate(self, username: str, by: Actor, reason: str) -> Person:
        """Close an account for good; its name stays taken. Raises RoleMissing unless `by` is an administrator."""
        return self._set(EventKind.PERSON_ACCOUNT_DEACTIVATED, username, {"active": False}, by, reason)

    def change_password(self, username: str, password: str, new_password: str, *, second: SecondFactor | None = None) -> Person:
        """Seal the person's same key under a new password of their own. Raises LoginFailed, AccessDenied."""
        person, key = self.reauthenticate(
            username, password, purpose=EventKind.PERSON_SESSION_OPENED, new={}, reason="change of password", second=second
        )
        if password == new_password:
            raise AccessDenied("The new password is the old one.", remedy="Choose another.")
        self._check_password(username, person.name, new_password)
        before = self._store.sealed(CREDENTIALS_TABLE, username)
        opened = open_key(before, password, key.name)
        earlier = () if opened is None else opened.earlier[: self._policy.history]
        if any(item.is_of(new_password) for item in earlier):
            raise AccessDenied(
                f"The new password is one of the last {self._policy.history}.", remedy="Choose one that you have not used before."
            )
        kept = (EarlierPassword.of(password, self._cost), *earlier)[: self._policy.history]
        sealed = seal_key(key, new_password, self._cost, kept)
        with self._lock:
            # A password that an administrator issued meanwhile stands: whoever knew the old one does not put it aside.
            if opened is None or not self._opens_now(username, before):
                raise AccessDenied(
                    f"The password of {username} was set anew, or the account closed, while it was being changed.",
                    remedy="Log in with the password that was set last, and change that one.",
                )
            self._store.append(self._credential_draft(username, key, sealed, person.as_themselves, issued=False))
        return self._known(username)

    def reset_password(self, username: str, new_password: str, by: Actor, reason: str) -> Person:
        """Issue a new password and a new key: the old key cannot be opened without the old password.

        The person must change the password before signing. Raises RoleMissing unless `by` is an administrator; AccessDenied.
        """
        _need_reason(reason)
        self._check_password(username, self._known(username).name, new_password)
        key = SigningKey.generate(f"{self._store.origin}/{username}")
        sealed = seal_key(key, new_password, self._cost)
        with self._lock:
            self._require_administrator(by)
            self._store.append(self._credential_draft(username, key, sealed, by, issued=True, reason=reason))
        return self._known(username)

    def reauthenticate(
        self,
        username: str,
        password: str,
        *,
        purpose: EventKind,
        new: JsonObject,
        reason: str | None = None,
        role: str | None = None,
        permit: Callable[[Person], None] | None = None,
        second: SecondFactor | None = None,
    ) -> tuple[Person, SigningKey]:
        """Check username and password in full, record it as `purpose`, and return the person with the opened key.

        Unknown name, wrong password, refused second factor, locked and closed account give one message after one key
        derivation. `permit` may refuse what the person asks for, by raising, once it is known who asks and before
        anything is recorded. Raises LoginFailed; RecordError where the attempt cannot be recorded (then nothing is granted).
        """
        person = self.person(username) if _USERNAME.match(username) else None
        sealed = self._store.sealed(CREDENTIALS_TABLE, username) if person is not None else decoy_row(self._cost)
        opened = open_key(sealed, password, f"{self._store.origin}/{username}")
        with self._lock:
            # Read again: a parallel attempt may have locked the account, or the password been set, during the derivation.
            now = self.person(username) if person is not None else None
            if opened is None or now is None or now.locked or not self._opens_now(username, sealed):
                self._record_refusal(username, now)
                raise self._refused()
            verdict = second(now) if second is not None else FactorVerdict(True)
            if not verdict.accepted:
                self._record_refusal(username, now, reason=verdict.reason, suspected=verdict.suspected)
                raise self._refused()
            if permit is not None:
                permit(now)
            actor = Actor(now.username, now.name, role or "/".join(now.roles))
            fields: JsonObject = {**new, "failures": 0}
            draft = EntryDraft(purpose, Subject("person", username), fields, actor, self._device, reason=reason)
            self._store.append(draft, *verdict.drafts)
        return self._known(username), opened.key

    def _opens_now(self, username: str, sealed: bytes) -> bool:
        """Say whether a credentials row is the account's as the trail has it at this moment, and the account open."""
        state = self._store.state("person", username) or {}
        return state.get("active") is True and state.get("credential_sha256") == sha256_hex(sealed)

    def _refused(self) -> LoginFailed:
        return LoginFailed(
            "The username or the password is wrong, the second factor is missing or wrong, or the account is locked.",
            remedy=f"Try again; after {self._policy.attempts} failures only an administrator can unlock the account.",
        )

    def _record_refusal(self, username: str, person: Person | None, *, reason: str | None = None, suspected: str = "") -> None:
        """Count a failed attempt. An unknown name is not written down: people type passwords into that field."""
        if person is None:
            counted = self._store.state(_UNKNOWN.type, _UNKNOWN.id) or {}
            failures = _whole(counted.get("failures")) + 1
            drafts = [EntryDraft(EventKind.PERSON_SESSION_REFUSED, _UNKNOWN, {"failures": failures}, SYSTEM, self._device)]
            if failures % self._policy.attempts == 0:
                drafts.append(self._misuse(f"{failures} failed attempts on names that are no account", None))
            self._store.append(*drafts)
            return
        subject = Subject("person", username)
        counts: JsonObject = {"failures": person.failures + 1, "refusals": person.refusals + 1}
        drafts = [EntryDraft(EventKind.PERSON_SESSION_REFUSED, subject, counts, SYSTEM, self._device, reason=reason)]
        if suspected:
            drafts.append(self._misuse(suspected, username))
        if person.failures + 1 >= self._policy.attempts and not person.locked:
            cause = f"{person.failures + 1} failed attempts"
            drafts.append(self._misuse(f"{cause}; the account was locked", username, number=len(drafts)))
            drafts.append(EntryDraft(EventKind.PERSON_ACCOUNT_LOCKED, subject, {"locked": True}, SYSTEM, self._device, reason=cause))
        self._store.append(*drafts)

    def _misuse(self, what: str, username: str | None, *, number: int = 0) -> EntryDraft:
        """Return the entry of a suspected misuse, which stands until a person has judged it (21 CFR 11.300(d)).

        It is named after the size of the trail before it is appended, and its `number` in what is appended: both under the lock.
        """
        new: JsonObject = {"what": what, "account": username, "at": self._clock.utc().at, "judged": False}
        subject = Subject("misuse", str(self._store.size + number))
        return EntryDraft(EventKind.ACCESS_MISUSE_SUSPECTED, subject, new, SYSTEM, self._device)

    def _set(self, kind: EventKind, username: str, new: JsonObject, by: Actor, reason: str, *, own: bool = True) -> Person:
        _need_reason(reason)
        with self._lock:
            self._require_administrator(by)
            keeps = "administrator" in _texts(new["roles"]) if "roles" in new else new.get("active", True) is True
            self.refuse_change(username, by.username, own=own, keeps_administrator=keeps)
            self._store.append(EntryDraft(kind, Subject("person", username), new, by, self._device, reason=reason))
        return self._known(username)

    def refuse_change(self, username: str, by: str, *, own: bool = True, keeps_administrator: bool = True) -> None:
        """Raise AccessDenied where an account may not be changed by this administrator.

        `own`: one may change one's own in this way; `keeps_administrator`: it is an administrator's after it, if it was before.
        """
        person = self._known(username)
        if not own and by == username:
            raise AccessDenied("Nobody changes their own roles.", remedy="Ask another administrator.")
        if not person.active:
            raise AccessDenied(f"The account {username} was closed for good.", remedy="Make another account.")
        if person.has(Role.ADMINISTRATOR) and not keeps_administrator and self._administrators() == {username}:
            raise AccessDenied(f"{username} is the last administrator.", remedy="Make another administrator first.")

    def _administrators(self) -> set[str]:
        return {person.username for person in self.people() if person.has(Role.ADMINISTRATOR) and person.active and not person.locked}

    def _require_administrator(self, by: Actor) -> None:
        if by.username in self._administrators() or (by == SYSTEM and not any(person.has(Role.ADMINISTRATOR) for person in self.people())):
            return
        raise RoleMissing(f"{by.username} is not an administrator.", remedy="Ask an administrator.")

    def _known(self, username: str) -> Person:
        person = self.person(username)
        if person is None:
            raise AccessDenied(f"There is no person {username}.", remedy="Check the username.")
        return person

    def _check_password(self, username: str, name: str, password: str) -> None:
        reasons = password_reasons(self._policy, password, username=username, name=name, site=self._store.origin)
        if reasons:
            raise AccessDenied(f"The password does not fit: {'; '.join(reasons)}.", remedy="Choose a longer sentence of your own.")

    def _credential_draft(
        self, username: str, key: SigningKey, sealed: bytes, by: Actor, *, issued: bool, reason: str | None = None
    ) -> EntryDraft:
        new: JsonObject = {
            "verifier_key": key.verifier_key,
            "credential_sha256": sha256_hex(sealed),
            "password_issued": issued,
            "password_set": self._clock.utc().at,
        }
        row = SealedRow(CREDENTIALS_TABLE, sealed)
        return EntryDraft(EventKind.PERSON_CREDENTIAL_SET, Subject("person", username), new, by, self._device, reason=reason, sealed=(row,))

    def _person(self, username: str, state: JsonObject) -> Person:
        lent, today = state.get("lent"), self.today().isoformat()
        lending = tuple((Role(role), str(until)) for role, until in sorted(lent.items())) if isinstance(lent, dict) else ()
        own = {Role(role) for role in _texts(state.get("roles"))}
        lending = tuple((role, until) for role, until in lending if until >= today and role not in own)
        issued, last, since = state.get("password_issued") is not False, state.get("last_log_in"), state.get("password_set")
        return Person(
            username=username,
            name=str(state.get("name")),
            roles=tuple(sorted(own | {role for role, _ in lending})),
            verifier_key=str(state.get("verifier_key")),
            locked=state.get("locked") is not False,
            active=state.get("active") is True,
            failures=_whole(state.get("failures")),
            password_issued=issued,
            lent=lending,
            must_change="it was issued by someone else" if issued else self._age(since),
            last_log_in=last if isinstance(last, str) else None,
            refusals=_whole(state.get("refusals")),
            password_set=since if isinstance(since, str) else None,
            own_roles=tuple(sorted(own)),
        )

    def _age(self, set_at: JsonValue) -> str:
        """Return why a password is too old, or nothing."""
        days = self._policy.maximum_age_days
        if not days:
            return ""
        if isinstance(set_at, str) and datetime.fromisoformat(self._clock.utc().at) - datetime.fromisoformat(set_at) < timedelta(days=days):
            return ""
        return f"it is older than the {days} days of the site's policy"


def _need_reason(reason: str) -> None:
    if not reason.strip():
        raise AccessDenied("A reason is needed.", remedy="Say why.")


def _texts(value: JsonValue) -> list[str]:
    return [str(item) for item in value] if isinstance(value, list) else []


def _whole(value: JsonValue) -> int:
    return value if isinstance(value, int) else 0
