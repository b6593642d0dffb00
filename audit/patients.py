"""Patients: identifying data, sealed outside the trail; the trail knows a pseudonym and a commitment.

The data are sealed with AES-256-GCM under a key file. The row (nonce ‖ ciphertext) has its SHA-256 in the trail; a
random salt inside and the nonce keep the digest from being guessed from the data. Erasure is in `audit.retention`: a recall
must find every patient until retention ends.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from audit.canonical import JsonObject, canonical, sha256_hex
from audit.errors import RecordError, VerificationError
from audit.events import ERASED_FIELD, PATIENTS_TABLE, Actor, Entry, EntryDraft, EventKind, SealedRow, Subject
from audit.reader import TrailReader
from audit.store import TrailStore

_KEY_BYTES = 32
_NONCE_BYTES = 12
_SALT_BYTES = 16


class PatientVault:
    """Seals and opens identifying data under one key. Concurrency: any thread."""

    def __init__(self, key: bytes) -> None:
        if len(key) != _KEY_BYTES:
            raise RecordError(f"The patients' key has {len(key)} bytes instead of {_KEY_BYTES}.", remedy="Restore the key file.")
        self._cipher = AESGCM(key)

    @classmethod
    def create(cls, path: Path) -> PatientVault:
        """Make a key in a new file that only its owner can read. Raises RecordError."""
        key = os.urandom(_KEY_BYTES)
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w", encoding="ascii") as file:
                file.write(key.hex() + "\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise RecordError(f"The patients' key file {path} cannot be made: {error.strerror}.", remedy="Give a new file name.") from error
        return cls(key)

    @classmethod
    def load(cls, path: Path) -> PatientVault:
        """Read the key file: the key in hexadecimal, or its 32 bytes. Raises RecordError."""
        try:
            content = path.read_bytes()
            return cls(content if len(content) == _KEY_BYTES else bytes.fromhex(content.decode("ascii")))
        except (OSError, ValueError) as error:
            raise RecordError(f"The patients' key file {path} cannot be read.", remedy="Restore it from its safe place.") from error

    def record(self, store: TrailStore, pseudonym: str, identity: Mapping[str, str], *, actor: Actor, device: str) -> Entry:
        """Seal identifying data under a pseudonym; the entry holds the commitment only. Raises RecordError."""
        nonce = os.urandom(_NONCE_BYTES)
        plain = canonical({"identity": dict(identity), "salt": os.urandom(_SALT_BYTES).hex()})
        sealed = nonce + self._cipher.encrypt(nonce, plain, pseudonym.encode())
        row = SealedRow(PATIENTS_TABLE, sealed)
        new: JsonObject = {"identity_sha256": sha256_hex(sealed)}
        if ERASED_FIELD in (store.state("patient", pseudonym) or {}):
            new[ERASED_FIELD] = False
        draft = EntryDraft(EventKind.PATIENT_IDENTITY_RECORDED, Subject("patient", pseudonym), new, actor, device, sealed=(row,))
        return store.append(draft)[0]

    def read(self, store: TrailReader, pseudonym: str) -> dict[str, str]:
        """Return the identifying data of a pseudonym. Raises RecordError (none held), VerificationError (changed, other key)."""
        if (store.state("patient", pseudonym) or {}).get(ERASED_FIELD) is True:
            raise RecordError(f"The identifying data of {pseudonym} were erased.", remedy="The trail says when, by whom and why.")
        sealed = store.sealed(PATIENTS_TABLE, pseudonym)
        if (store.state("patient", pseudonym) or {}).get("identity_sha256") != sha256_hex(sealed):
            raise VerificationError(
                f"The identifying data of {pseudonym} are not those the trail commits to.", remedy="Restore the backup."
            )
        try:
            plain = self._cipher.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], pseudonym.encode())
        except InvalidTag as error:
            raise VerificationError(
                f"The identifying data of {pseudonym} do not open.", remedy="Give the key they were sealed with."
            ) from error
        identity: dict[str, str] = json.loads(plain)["identity"]
        return identity

    def note_opened(self, store: TrailStore, pseudonyms: Sequence[str], *, actor: Actor, device: str, reason: str) -> None:
        """Put on record, before anybody reads them, that the identifying data of these pseudonyms are opened. Raises RecordError."""
        store.append(
            *(
                EntryDraft(
                    EventKind.PATIENT_IDENTITY_OPENED, Subject("patient", name), {"opened_by": actor.username}, actor, device, reason=reason
                )
                for name in pseudonyms
            )
        )
