"""Second factors of people: one-time passwords (RFC 6238), recovery codes, passkeys; enrolled, used, lost, revoked.

A secret is sealed (AES-256-GCM) under the site's key for second factors and attached to the entry of its enrolment,
which holds its SHA-256; of a passkey only the public key is held. What has been used (a time step, a recovery code, a
signature counter) is an entry, so that it is not taken again, on any copy of the record. Clauses: draft Annex 11 (2025)
11.6; 21 CFR 11.300(c).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock

import pyotp
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from audit.canonical import JsonObject, canonical, sha256_hex
from audit.errors import AccessDenied, RecordError, VerificationError
from audit.events import Actor, EntryDraft, EventKind, Subject
from audit.identity import FactorVerdict, Identity, Person

TOTP, PASSKEY = "totp", "passkey"
STEP_S = 30
WINDOW = 1
"""How many steps before and after now a code may be of: clocks of telephones drift."""
_RECOVERY_CODES = 10
_RECOVERY_BYTES = 10
_NONCE_BYTES = 12
_KEY_BYTES = 32
_ATTACHED = "second-factor.sealed"


@dataclass(frozen=True, slots=True)
class Factor:
    """One second factor of a person. `state` is what the trail holds of it."""

    id: str
    kind: str
    label: str
    enrolled: str
    active: bool
    state: JsonObject

    def as_record(self) -> JsonObject:
        """Return what its owner and an administrator may see."""
        record: JsonObject = {"id": self.id, "kind": self.kind, "label": self.label, "enrolled": self.enrolled, "active": self.active}
        if self.kind == TOTP:
            used = self.state.get("recovery_used")
            record["recovery_codes_left"] = _RECOVERY_CODES - (len(used) if isinstance(used, list) else 0)
        return record


@dataclass(frozen=True, slots=True)
class Enrolment:
    """What a person takes with them of a new one-time password, shown this once: secret, address for the telephone, recovery codes."""

    secret: str
    address: str
    recovery_codes: tuple[str, ...]


def load_factor_key(path: Path, *, create: bool) -> bytes:
    """Read the key that seals second factors; make it, readable by its owner alone, where asked to. Raises RecordError."""
    if create and not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as file:
            file.write(secrets.token_hex(_KEY_BYTES) + "\n")
            file.flush()
            os.fsync(file.fileno())
    try:
        key = bytes.fromhex(path.read_text(encoding="ascii"))
    except (OSError, ValueError) as error:
        raise RecordError(f"The key file of second factors {path} cannot be read.", remedy="Restore it from its safe place.") from error
    if len(key) != _KEY_BYTES:
        raise RecordError(f"The key of second factors has {len(key)} bytes instead of {_KEY_BYTES}.", remedy="Restore the key file.")
    return key


def code_at(secret: str, step: int, *, digits: int = 6) -> str:
    """Return the one-time password of a time step (RFC 6238, HMAC-SHA-1, RFC 4226 truncation)."""
    return pyotp.TOTP(secret, digits=digits, interval=STEP_S).generate_otp(step)


def step_of(secret: str, code: str, now_s: int, *, digits: int = 6) -> int | None:
    """Return the time step whose password this is, within the window around now; None where it is of none."""
    steps = range(now_s // STEP_S - WINDOW, now_s // STEP_S + WINDOW + 1)
    text = code.strip().replace(" ", "")
    matching = [step for step in steps if step >= 0 and hmac.compare_digest(code_at(secret, step, digits=digits).encode(), text.encode())]
    return matching[-1] if matching else None


class SecondFactors:
    """Second factors of a site's people.

    Lifetime: that of the store. Concurrency: any thread; enrolments under way are kept in memory, under a lock.
    """

    def __init__(self, identity: Identity, key_path: Path, *, issuer: str) -> None:
        self._identity = identity
        self._store = identity.store
        self._key_path = key_path
        self._issuer = issuer
        self._pending: dict[str, Enrolment] = {}
        self._lock = Lock()

    def of(self, username: str) -> tuple[Factor, ...]:
        """Return a person's second factors, those that were revoked included."""
        return tuple(factor for owner, factor in self.all() if owner == username)

    def all(self) -> Iterator[tuple[str, Factor]]:
        """Give (username, factor) of everybody."""
        for id_, state in self._store.objects("factor"):
            label, enrolled = str(state.get("label")), str(state.get("enrolled"))
            yield id_.partition("/")[0], Factor(id_, str(state.get("kind")), label, enrolled, state.get("active") is True, state)

    def key(self) -> bytes:
        """Return the site's key for second factors; it is made where nothing was ever sealed with it. Raises RecordError."""
        return load_factor_key(self._key_path, create=not any(factor.kind == TOTP for _, factor in self.all()))

    def begin_totp(self, username: str) -> Enrolment:
        """Make a secret and recovery codes; they count once a code of theirs was shown. Nothing is recorded yet."""
        secret = pyotp.random_base32()
        address = pyotp.TOTP(secret, interval=STEP_S).provisioning_uri(name=username, issuer_name=self._issuer)
        enrolment = Enrolment(secret, address, tuple(_recovery_code() for _ in range(_RECOVERY_CODES)))
        with self._lock:
            self._pending[username] = enrolment
        return enrolment

    def confirm_totp(self, person: Person, code: str) -> Factor:
        """Enrol the secret that was begun, proved by a code of it; it takes the place of an earlier one. Raises AccessDenied."""
        with self._lock:
            enrolment = self._pending.get(person.username)
            step = None if enrolment is None else step_of(enrolment.secret, code, self._now_s())
            if enrolment is None or step is None:
                raise AccessDenied("This is not the code of the new secret.", remedy="Scan it, and type the code that is shown now.")
            sealed = self._seal(person.username, enrolment)
            earlier = [factor for factor in self.of(person.username) if factor.kind == TOTP]
            subject = Subject("factor", f"{person.username}/{TOTP}-{len(earlier) + 1}")
            new: JsonObject = {
                "kind": TOTP,
                "label": "one-time password",
                "enrolled": self._identity.clock.utc().at,
                "active": True,
                "sealed_sha256": sha256_hex(sealed),
                "step": step,
                "recovery_used": [],
            }
            by, device = person.as_themselves, self._identity.device
            replaced = [self._revocation(factor, by, "replaced by a new one") for factor in earlier if factor.active]
            draft = EntryDraft(EventKind.PERSON_FACTOR_ENROLLED, subject, new, by, device, attachments={_ATTACHED: sealed})
            self._store.append(*replaced, draft)
            del self._pending[person.username]
        return next(factor for factor in self.of(person.username) if factor.id == subject.id)

    def add_passkey(self, person: Person, *, label: str, credential_id: str, public_key: str, sign_count: int) -> Factor:
        """Enrol a passkey whose registration was verified; id and key as base64url. Raises AccessDenied where it is known."""
        with self._lock:
            if any(factor.state.get("credential_id") == credential_id for _, factor in self.all()):
                raise AccessDenied("This passkey is enrolled already, or was revoked.", remedy="Use another authenticator.")
            number = 1 + sum(1 for factor in self.of(person.username) if factor.kind == PASSKEY)
            subject = Subject("factor", f"{person.username}/{PASSKEY}-{number}")
            new: JsonObject = {
                "kind": PASSKEY,
                "label": label.strip()[:80] or "passkey",
                "enrolled": self._identity.clock.utc().at,
                "active": True,
                "credential_id": credential_id,
                "public_key": public_key,
                "sign_count": sign_count,
            }
            draft = EntryDraft(EventKind.PERSON_FACTOR_ENROLLED, subject, new, person.as_themselves, self._identity.device)
            self._store.append(draft)
        return next(factor for factor in self.of(person.username) if factor.id == subject.id)

    def revoke(self, factor_id: str, by: Actor, reason: str) -> Factor:
        """Let a second factor open nothing any more: by its owner or an administrator; who it is was checked. Raises AccessDenied."""
        if not reason.strip():
            raise AccessDenied("A reason is needed.", remedy="Say why.")
        owner = factor_id.partition("/")[0]
        with self._lock:
            found = next((factor for factor in self.of(owner) if factor.id == factor_id and factor.active), None)
            if found is None:
                raise AccessDenied(f"There is no second factor {factor_id} in use.", remedy="Look at the list of the person's factors.")
            self._store.append(self._revocation(found, by, reason))
        return next(factor for factor in self.of(owner) if factor.id == factor_id)

    def judge_code(self, person: Person, code: str) -> FactorVerdict:
        """Judge a one-time password or a recovery code. Writes nothing; the caller appends the drafts with what they allow."""
        factor = next((factor for factor in self.of(person.username) if factor.kind == TOTP and factor.active), None)
        if factor is None:
            return FactorVerdict(False, "second factor: no one-time password is enrolled")
        held = self._open(person.username, factor)
        step = step_of(str(held["secret"]), code, self._now_s())
        if step is not None:
            last = factor.state.get("step")
            if isinstance(last, int) and step <= last:
                return FactorVerdict(False, "second factor: the code was used before")
            return FactorVerdict(True, drafts=(self._use(factor, person, {"step": step}, "one-time password"),))
        used = factor.state.get("recovery_used")
        spent = [item for item in used if isinstance(item, int)] if isinstance(used, list) else []
        number = _recovery_number(held, code)
        if number is None:
            return FactorVerdict(False, "second factor: wrong code")
        if number in spent:
            return FactorVerdict(False, "second factor: the recovery code was used before")
        return FactorVerdict(True, drafts=(self._use(factor, person, {"recovery_used": [*spent, number]}, "recovery code"),))

    def judge_count(self, person: Person, factor: Factor, count: int) -> FactorVerdict:
        """Judge the signature counter of a passkey whose signature is right (WebAuthn Level 3, 7.2 step 22).

        A counter that did not grow, where either is above zero, means that there may be a copy of the authenticator.
        """
        before = factor.state.get("sign_count")
        known = before if isinstance(before, int) else 0
        if (count or known) and count <= known:
            what = f"passkey {factor.id}: its counter went from {known} to {count}; there may be a copy of it"
            reason = "second factor: the counter of the passkey went back"
            return FactorVerdict(False, reason, suspected=what)
        return FactorVerdict(True, drafts=(self._use(factor, person, {"sign_count": count}, "passkey"),))

    def _use(self, factor: Factor, person: Person, new: JsonObject, how: str) -> EntryDraft:
        by = person.as_themselves
        return EntryDraft(EventKind.PERSON_FACTOR_USED, Subject("factor", factor.id), new, by, self._identity.device, reason=how)

    def _revocation(self, factor: Factor, by: Actor, reason: str) -> EntryDraft:
        subject, device = Subject("factor", factor.id), self._identity.device
        return EntryDraft(EventKind.PERSON_FACTOR_REVOKED, subject, {"active": False}, by, device, reason=reason)

    def _now_s(self) -> int:
        return int(datetime.fromisoformat(self._identity.clock.utc().at).replace(tzinfo=UTC).timestamp())

    def _seal(self, username: str, enrolment: Enrolment) -> bytes:
        cipher, nonce, salt = AESGCM(self.key()), os.urandom(_NONCE_BYTES), os.urandom(16)
        hashes = [_recovery_hash(salt, code) for code in enrolment.recovery_codes]
        plain = canonical({"secret": enrolment.secret, "salt": salt.hex(), "recovery": list(hashes)})
        return nonce + cipher.encrypt(nonce, plain, username.encode())

    def _open(self, username: str, factor: Factor) -> dict[str, object]:
        """Return the secret and the digests of recovery codes. Raises RecordError, VerificationError."""
        sealed = self._store.blob(str(factor.state.get("sealed_sha256")))
        if sha256_hex(sealed) != factor.state.get("sealed_sha256"):
            raise VerificationError(f"The sealed secret of {factor.id} is not the one the trail commits to.", remedy="Restore the backup.")
        cipher = AESGCM(self.key())
        try:
            plain = cipher.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], username.encode())
        except InvalidTag as error:
            raise VerificationError(f"The sealed secret of {factor.id} does not open.", remedy="Restore the key file.") from error
        held: dict[str, object] = json.loads(plain)
        return held


def _recovery_code() -> str:
    """Return 80 random bits in groups that can be typed."""
    text = base64.b32encode(secrets.token_bytes(_RECOVERY_BYTES)).decode().lower()
    return "-".join(text[at : at + 4] for at in range(0, len(text), 4))


def _recovery_hash(salt: bytes, code: str) -> str:
    """Return the digest of a code of 80 random bits, which needs no slow derivation."""
    return hashlib.sha256(salt + code.strip().lower().replace("-", "").replace(" ", "").encode()).hexdigest()


def _recovery_number(held: dict[str, object], code: str) -> int | None:
    digest, known = _recovery_hash(bytes.fromhex(str(held["salt"])), code), held["recovery"]
    matching = [at for at, item in enumerate(known) if hmac.compare_digest(str(item), digest)] if isinstance(known, list) else []
    return matching[0] if matching else None
