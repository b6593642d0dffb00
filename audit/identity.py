"""People: accounts, roles, passwords, lock-out, and each person's own signing key.

A password is never stored, nor a hash that checks it: argon2id of the password opens (AES-256-GCM) the person's
Ed25519 key, and a wrong password opens nothing. The sealed key is a row of `credentials` whose SHA-256 the trail
holds. Whoever has the store but not the password cannot sign as the person, an administrator included.
Every attempt is an entry. Clauses: 21 CFR 11.10(d), 11.100(a), 11.200(a), 11.300; draft Annex 11 (2025) 11.1 to 11.9.
"""

from __future__ import annotations

import base64
import json
import os
import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from threading import Lock

from argon2.low_level import Type, hash_secret_raw
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from audit.canonical import JsonObject, JsonValue, canonical, sha256_hex
from audit.checkpoint import SigningKey
from audit.clock import Clock
from audit.errors import AccessDenied, LoginFailed, RoleMissing
from audit.events import CREDENTIALS_TABLE, SYSTEM, Actor, EntryDraft, EventKind, SealedRow, Subject
from audit.store import TrailStore

_USERNAME = re.compile(r"[a-z][a-z0-9._-]{1,31}\Z")
_RESERVED = frozenset({"system"})
_SALT_BYTES = 16
_NONCE_BYTES = 12
_KEY_BYTES = 32


class Role(StrEnum):
    """What a person may do. An administrator looks after accounts and signs no GMP record."""

    OPERATOR = "operator"
    PHARMACIST = "pharmacist"
    PROCESS_ENGINEER = "process_engineer"
    QUALITY_ASSURANCE = "quality_assurance"
    QUALIFIED_PERSON = "qualified_person"
    ADMINISTRATOR = "administrator"


@dataclass(frozen=True, slots=True)
class KdfCost:
    """Cost of argon2id: passes, memory in KiB, lanes. Defaults: RFC 9106 §4, second recommended option."""

    passes: int = 3
    memory_kib: int = 65536
    lanes: int = 4


@dataclass(frozen=True, slots=True)
class PasswordPolicy:
    """Site policy for passwords and lock-out."""

    minimum_length: int = 12
    maximum_length: int = 256
    attempts: int = 5


@dataclass(frozen=True, slots=True)
class Person:
    """An account as the trail has it. `password_issued`: an administrator knows the password, so it must be changed before signing."""

    username: str
    name: str
    roles: tuple[Role, ...]
    verifier_key: str
    locked: bool
    active: bool
    failures: int
    password_issued: bool

    def has(self, role: Role) -> bool:
        return role in self.roles

    def actor(self, role: Role | str) -> Actor:
        """Return the person acting in a role they hold. Raises RoleMissing."""
        if role not in self.roles:
            raise RoleMissing(f"{self.username} does not hold the role {role}.", remedy="Ask a person who holds it.")
        return Actor(self.username, self.name, str(role))


class Identity:
    """The people of a workstation.

    Lifetime: that of the store. Concurrency: any thread; the slow key derivation runs outside the lock.
    """

    def __init__(
        self,
        store: TrailStore,
        clock: Clock,
        *,
        policy: PasswordPolicy | None = None,
        cost: KdfCost | None = None,
        device: str = "workstation",
    ) -> None:
        self._store = store
        self._clock = clock
        self._policy = policy or PasswordPolicy()
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

    def person(self, username: str) -> Person | None:
        """Return the person, or None."""
        state = self._store.state("person", username)
        return None if state is None else _person(username, state)

    def people(self) -> Iterator[Person]:
        """Give every person, by username; accounts are never deleted."""
        return (_person(username, state) for username, state in self._store.objects("person"))

    def create_person(
        self, username: str, full_name: str, roles: Sequence[Role | str], password: str, by: Actor, *, issued: bool = False
    ) -> Person:
        """Make an account with a key of its own.

        `by` is an administrator; SYSTEM only while there is none yet. `issued` marks a password that someone else knows.
        Raises RoleMissing, AccessDenied (username taken or not fit, password too weak, no role).
        """
        granted = tuple(sorted({_role(role) for role in roles}))
        if not _USERNAME.match(username) or username in _RESERVED:
            raise AccessDenied(
                f"The username {username!r} is not fit.",
                remedy="Use 2 to 32 of a-z, 0-9, '.', '_' and '-', beginning with a letter; not 'system'.",
            )
        if not full_name.strip() or not granted:
            raise AccessDenied("A person needs a full name and at least one role.", remedy="Give both.")
        self._check_password(username, password)
        key = SigningKey.generate(f"{self._store.origin}/{username}")
        sealed = self._seal(key, password)
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

    def authenticate(self, username: str, password: str) -> Person:
        """Log a person in. Raises LoginFailed, one message for every cause; the attempt is an entry either way."""
        person, _ = self.reauthenticate(username, password, purpose=EventKind.PERSON_SESSION_OPENED, new={})
        return person

    def close_session(self, username: str, reason: str = "log-out") -> None:
        """Record the end of a session."""
        person = self._known(username)
        actor = Actor(person.username, person.name, "/".join(person.roles))
        self._store.append(EntryDraft(EventKind.PERSON_SESSION_CLOSED, Subject("person", username), {}, actor, self._device, reason=reason))

    def unlock(self, username: str, by: Actor, reason: str) -> Person:
        """Open a locked account again. Raises RoleMissing unless `by` is an administrator."""
        return self._set(EventKind.PERSON_ACCOUNT_UNLOCKED, username, {"locked": False, "failures": 0}, by, reason)

    def deactivate(self, username: str, by: Actor, reason: str) -> Person:
        """Close an account for good; its name stays taken. Raises RoleMissing unless `by` is an administrator."""
        return self._set(EventKind.PERSON_ACCOUNT_DEACTIVATED, username, {"active": False}, by, reason)

    def change_password(self, username: str, password: str, new_password: str) -> Person:
        """Seal the person's same key under a new password of their own. Raises LoginFailed, AccessDenied."""
        person, key = self.reauthenticate(username, password, purpose=EventKind.PERSON_SESSION_OPENED, new={}, reason="change of password")
        if password == new_password:
            raise AccessDenied("The new password is the old one.", remedy="Choose another.")
        self._check_password(username, new_password)
        sealed = self._seal(key, new_password)
        actor = Actor(person.username, person.name, "/".join(person.roles))
        self._store.append(self._credential_draft(username, key, sealed, actor, issued=False))
        return self._known(username)

    def reset_password(self, username: str, new_password: str, by: Actor, reason: str) -> Person:
        """Issue a new password and a new key: the old key cannot be opened without the old password.

        The person must change the password before signing. Raises RoleMissing unless `by` is an administrator; AccessDenied.
        """
        self._check_password(username, new_password)
        key = SigningKey.generate(f"{self._store.origin}/{username}")
        sealed = self._seal(key, new_password)
        with self._lock:
            self._require_administrator(by)
            if self.person(username) is None:
                raise AccessDenied(f"There is no person {username}.", remedy="Check the username.")
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
    ) -> tuple[Person, SigningKey]:
        """Check username and password in full, record it as `purpose`, and return the person with the opened key.

        Unknown name, wrong password, locked and closed account give one message after one key derivation. `permit` may
        refuse what the person asks for, by raising, once it is known who asks and before anything is recorded.
        Raises LoginFailed; RecordError where the attempt cannot be recorded (then nothing is granted).
        """
        person = self.person(username) if _USERNAME.match(username) else None
        sealed = self._store.sealed(CREDENTIALS_TABLE, username) if person is not None else self._decoy()
        key = _open(sealed, password, f"{self._store.origin}/{username}")
        with self._lock:
            # Read again: a parallel attempt may have locked the account, or the password been set, during the derivation.
            now = self.person(username) if person is not None else None
            if key is None or now is None or now.locked or not now.active or now.verifier_key != key.verifier_key:
                self._record_refusal(username, now)
                raise LoginFailed(
                    "The username or the password is wrong, or the account is locked.",
                    remedy=f"Try again; after {self._policy.attempts} failures only an administrator can unlock the account.",
                )
            if permit is not None:
                permit(now)
            actor = Actor(now.username, now.name, role or "/".join(now.roles))
            fields: JsonObject = {**new, "failures": 0}
            self._store.append(EntryDraft(purpose, Subject("person", username), fields, actor, self._device, reason=reason))
        return self._known(username), key

    def _record_refusal(self, username: str, person: Person | None) -> None:
        """Count a failed attempt. An unknown name is not written down: people type passwords into that field."""
        if person is None:
            counted = self._store.state("access", "unknown-account") or {}
            before = counted.get("failures")
            failures: JsonObject = {"failures": before + 1 if isinstance(before, int) else 1}
            subject = Subject("access", "unknown-account")
            self._store.append(EntryDraft(EventKind.PERSON_SESSION_REFUSED, subject, failures, SYSTEM, self._device))
            return
        subject = Subject("person", username)
        drafts = [EntryDraft(EventKind.PERSON_SESSION_REFUSED, subject, {"failures": person.failures + 1}, SYSTEM, self._device)]
        if person.failures + 1 >= self._policy.attempts and not person.locked:
            reason = f"{person.failures + 1} failed attempts"
            drafts.append(EntryDraft(EventKind.PERSON_ACCOUNT_LOCKED, subject, {"locked": True}, SYSTEM, self._device, reason=reason))
        self._store.append(*drafts)

    def _set(self, kind: EventKind, username: str, new: JsonObject, by: Actor, reason: str) -> Person:
        if not reason.strip():
            raise AccessDenied("A reason is needed.", remedy="Say why.")
        with self._lock:
            self._require_administrator(by)
            if self.person(username) is None:
                raise AccessDenied(f"There is no person {username}.", remedy="Check the username.")
            self._store.append(EntryDraft(kind, Subject("person", username), new, by, self._device, reason=reason))
        return self._known(username)

    def _require_administrator(self, by: Actor) -> None:
        administrators = {
            person.username for person in self.people() if person.has(Role.ADMINISTRATOR) and person.active and not person.locked
        }
        if by.username in administrators or (by == SYSTEM and not any(person.has(Role.ADMINISTRATOR) for person in self.people())):
            return
        raise RoleMissing(f"{by.username} is not an administrator.", remedy="Ask an administrator.")

    def _known(self, username: str) -> Person:
        person = self.person(username)
        if person is None:
            raise AccessDenied(f"There is no person {username}.", remedy="Check the username.")
        return person

    def _check_password(self, username: str, password: str) -> None:
        policy = self._policy
        if not policy.minimum_length <= len(password) <= policy.maximum_length or username in password.lower():
            raise AccessDenied(
                f"The password must have {policy.minimum_length} to {policy.maximum_length} characters and not contain the username.",
                remedy="Choose a longer sentence.",
            )

    def _credential_draft(
        self, username: str, key: SigningKey, sealed: bytes, by: Actor, *, issued: bool, reason: str | None = None
    ) -> EntryDraft:
        new: JsonObject = {"verifier_key": key.verifier_key, "credential_sha256": sha256_hex(sealed), "password_issued": issued}
        row = SealedRow(CREDENTIALS_TABLE, sealed)
        return EntryDraft(EventKind.PERSON_CREDENTIAL_SET, Subject("person", username), new, by, self._device, reason=reason, sealed=(row,))

    def _seal(self, key: SigningKey, password: str) -> bytes:
        """Return the canonical bytes of a credentials row: cost, salt, nonce and the seed sealed under the password."""
        salt, nonce = os.urandom(_SALT_BYTES), os.urandom(_NONCE_BYTES)
        return self._row(salt, nonce, AESGCM(_derive(password, salt, self._cost)).encrypt(nonce, key.seed, key.name.encode()))

    def _decoy(self) -> bytes:
        """Return a row that no password opens, so that an unknown name costs the same time as a known one."""
        return self._row(os.urandom(_SALT_BYTES), os.urandom(_NONCE_BYTES), os.urandom(_KEY_BYTES + 16))

    def _row(self, salt: bytes, nonce: bytes, cipher: bytes) -> bytes:
        cost = self._cost
        return canonical(
            {
                "kdf": "argon2id",
                "passes": cost.passes,
                "memory_kib": cost.memory_kib,
                "lanes": cost.lanes,
                "salt": _text(salt),
                "nonce": _text(nonce),
                "sealed": _text(cipher),
            }
        )


def _role(role: Role | str) -> Role:
    try:
        return Role(role)
    except ValueError as error:
        raise AccessDenied(f"There is no role {role!r}.", remedy=f"Use one of: {', '.join(Role)}.") from error


def _person(username: str, state: JsonObject) -> Person:
    roles, failures = state.get("roles"), state.get("failures")
    return Person(
        username=username,
        name=str(state.get("name")),
        roles=tuple(Role(str(role)) for role in roles) if isinstance(roles, list) else (),
        verifier_key=str(state.get("verifier_key")),
        locked=state.get("locked") is not False,
        active=state.get("active") is True,
        failures=failures if isinstance(failures, int) else 0,
        password_issued=state.get("password_issued") is not False,
    )


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _derive(password: str, salt: bytes, cost: KdfCost) -> bytes:
    """Return the 32-byte key of a password (NFKC, UTF-8). Source: RFC 9106 (argon2id)."""
    secret = unicodedata.normalize("NFKC", password).encode("utf-8", "surrogatepass")
    return hash_secret_raw(secret, salt, cost.passes, cost.memory_kib, cost.lanes, _KEY_BYTES, Type.ID)


def _open(sealed: bytes, password: str, key_name: str) -> SigningKey | None:
    """Return the key, or None where the password does not open the row."""
    row: dict[str, str | int] = json.loads(sealed)
    cost = KdfCost(int(row["passes"]), int(row["memory_kib"]), int(row["lanes"]))
    derived = _derive(password, base64.b64decode(str(row["salt"])), cost)
    try:
        seed = AESGCM(derived).decrypt(base64.b64decode(str(row["nonce"])), base64.b64decode(str(row["sealed"])), key_name.encode())
    except InvalidTag:
        return None
    return SigningKey.from_seed(key_name, seed)
