"""Electronic signatures: who signed what digest, when, in which role, and with what meaning.

Signing is an act of its own: the person re-authenticates in full, their own key signs the canonical bytes of every
other field, and the use of the key is an entry. A signature cannot be moved: it holds the SHA-256 of what was signed.
Clauses: 21 CFR 11.50, 11.70, 11.200(a); EU GMP Annex 11 (2011) 14; draft Annex 11 (2025) 13.2 to 13.8.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from audit.canonical import JsonObject, canonical, sha256_hex
from audit.checkpoint import SigningKey, VerifierKey
from audit.errors import NoteInvalid, SignatureRefused, VerificationError
from audit.events import EventKind, Subject
from audit.identity import Identity, Person, Role, SecondFactor

Line = Annotated[str, StringConstraints(min_length=1, max_length=500)]
Digest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class Signature(BaseModel):
    """A signature as it stands in records. `digest` is the SHA-256 hex of what was signed, `key` the signer's C2SP verifier
    key, `value` base64 Ed25519 over the canonical bytes of all other fields; `scripted` marks a demonstration account's."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    signer: Line
    name: Line
    role: Line
    meaning: Line
    at: Annotated[str, StringConstraints(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$")]
    zone: Line
    digest: Digest
    key: Line
    value: Annotated[str, StringConstraints(min_length=88, max_length=88)]
    scripted: bool = Field(default=False)

    def as_record(self) -> JsonObject:
        """Return the fields as plain JSON, for an entry or a file."""
        record: JsonObject = self.model_dump()
        return record

    @property
    def manifestation(self) -> str:
        """The line that screens and prints show: name, username, role, meaning, date, time and zone."""
        mark = " (scripted demonstration signature)" if self.scripted else ""
        return f"{self.name} ({self.signer}), {self.role}: {self.meaning}, {self.at} [{self.zone}]{mark}"


def _signed_bytes(fields: Mapping[str, object]) -> bytes:
    return canonical({name: value for name, value in fields.items() if name != "value"})


def sign_with_key(
    key: SigningKey, *, signer: str, name: str, role: str, meaning: str, digest: str, at: str, zone: str, scripted: bool = False
) -> Signature:
    """Make a signature with an opened key. The caller answers for the re-authentication; `sign` does it itself.

    Raises SignatureRefused where a field does not fit.
    """
    fields: dict[str, str | bool] = {
        "signer": signer,
        "name": name,
        "role": role,
        "meaning": meaning,
        "at": at,
        "zone": zone,
        "digest": digest,
        "key": key.verifier_key,
        "scripted": scripted,
    }
    value = base64.b64encode(key.sign(_signed_bytes(fields))).decode()
    try:
        return Signature.model_validate({**fields, "value": value})
    except ValidationError as error:
        raise SignatureRefused(f"This cannot be signed: {_first(error)}.", remedy="Correct the field and sign again.") from error


def sign(
    identity: Identity,
    username: str,
    password: str,
    *,
    meaning: str,
    digest: str,
    role: Role | str,
    subject: Subject,
    scripted: bool = False,
    second: SecondFactor | None = None,
) -> Signature:
    """Sign a digest as a person, with username, password and, where asked for, second factor given now.

    The role must be one the person holds; an administrator signs nothing. Raises LoginFailed (the attempt counts
    towards the lock-out), RoleMissing, SignatureRefused (administrator; a password that has to be changed; a field
    that does not fit).
    """
    if role == Role.ADMINISTRATOR:
        raise SignatureRefused("An administrator does not sign GMP records.", remedy="Sign in a production or quality role.")
    if not meaning.strip() or len(digest) != 64:
        raise SignatureRefused("A signature needs a meaning and the SHA-256 of what is signed.", remedy="Give both.")

    def permit(person: Person) -> None:
        if person.must_change:
            raise SignatureRefused(
                f"The password of {username} has to be changed: {person.must_change}.", remedy="Change the password, then sign."
            )
        person.actor(role)
        if person.has(Role.ADMINISTRATOR):
            raise SignatureRefused("An administrator does not sign GMP records.", remedy="Let a person without that role sign.")

    act: JsonObject = {"signed_sha256": digest, "signed_meaning": meaning, "signed_subject": str(subject)}
    signer, key = identity.reauthenticate(
        username, password, purpose=EventKind.PERSON_SIGNATURE_GIVEN, new=act, role=str(role), permit=permit, second=second
    )
    reading = identity.clock.utc()
    return sign_with_key(
        key,
        signer=signer.username,
        name=signer.name,
        role=str(role),
        meaning=meaning,
        digest=digest,
        at=reading.at,
        zone=reading.zone,
        scripted=scripted,
    )


def removal_digest(unit: str) -> str:
    """Return the digest that a second person signs to confirm that a unit (`<run>/<n>`) left the plate."""
    return sha256_hex(canonical({"statement": "unit removed from the plate", "unit": unit}))


def weight_digest(unit: str, attempt: int, serial: str, value: str) -> str:
    """Return the digest that the second person signs over the net mass (mg, as the balance showed it) of a unit weighed elsewhere."""
    return sha256_hex(
        canonical(
            {"statement": "unit weighed on an external balance", "unit": unit, "attempt": attempt, "balance": serial, "value_mg": value}
        )
    )


def verify_signature(signature: Signature | Mapping[str, object], *, digest: str | None = None) -> None:
    """Check that a signature's own key signed exactly these fields and, where given, this digest.

    Whether the key belongs to the person is the caller's question: compare `key` with a list of trusted people.
    Raises VerificationError. Needs no store.
    """
    try:
        model = signature if isinstance(signature, Signature) else Signature.model_validate(signature)
        key = VerifierKey.parse(model.key)
        value = base64.b64decode(model.value, validate=True)
    except ValidationError as error:
        raise VerificationError(f"This is not a signature: {_first(error)}.") from error
    except (NoteInvalid, binascii.Error, ValueError) as error:
        raise VerificationError(f"The signature holds no usable key or value: {error}.") from error
    if base64.b64encode(value).decode() != model.value or not key.verifies(value, _signed_bytes(model.model_dump())):
        raise VerificationError(f"The signature of {model.signer} ({model.meaning}) does not match its fields.")
    if key.name.rpartition("/")[2] != model.signer:
        raise VerificationError(f"The key {key.name} is not a key of {model.signer}.")
    if digest is not None and model.digest != digest:
        raise VerificationError(f"The signature of {model.signer} ({model.meaning}) was given for something else.")


def _first(error: ValidationError) -> str:
    problem = error.errors(include_url=False, include_input=False)[0]
    return f"{'.'.join(str(part) for part in problem['loc']) or 'value'}: {problem['msg']}"
