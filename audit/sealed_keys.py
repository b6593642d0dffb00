"""A person's signing key, sealed under their password, and what of earlier passwords is kept with it.

A password is never stored, nor a hash that checks it: argon2id of the password opens (AES-256-GCM) the person's
Ed25519 key, and a wrong password opens nothing. Digests of earlier passwords, where the site's policy asks for them,
are sealed under the present password too: without it nobody can try earlier ones.
"""

from __future__ import annotations

import base64
import hmac
import json
import os
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from argon2.low_level import Type, hash_secret_raw
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from audit.canonical import canonical
from audit.checkpoint import SigningKey

_SALT_BYTES = 16
_NONCE_BYTES = 12
_KEY_BYTES = 32


@dataclass(frozen=True, slots=True)
class KdfCost:
    """Cost of argon2id: passes, memory in KiB, lanes. Defaults: RFC 9106 §4, second recommended option."""

    passes: int = 3
    memory_kib: int = 65536
    lanes: int = 4


@dataclass(frozen=True, slots=True)
class EarlierPassword:
    """argon2id of a password that was used before, with its salt and cost."""

    salt: bytes
    digest: bytes
    cost: KdfCost

    @classmethod
    def of(cls, password: str, cost: KdfCost) -> EarlierPassword:
        salt = os.urandom(_SALT_BYTES)
        return cls(salt, _derive(password, salt, cost), cost)

    def is_of(self, password: str) -> bool:
        return hmac.compare_digest(self.digest, _derive(password, self.salt, self.cost))


@dataclass(frozen=True, slots=True)
class Opened:
    """What a password opened: the key, and the passwords before this one, newest first."""

    key: SigningKey
    earlier: tuple[EarlierPassword, ...]


def seal_key(key: SigningKey, password: str, cost: KdfCost, earlier: Sequence[EarlierPassword] = ()) -> bytes:
    """Return the canonical bytes of a credentials row: cost, salt, nonces, the seed and the earlier passwords, both sealed."""
    salt, derived_nonce, earlier_nonce = os.urandom(_SALT_BYTES), os.urandom(_NONCE_BYTES), os.urandom(_NONCE_BYTES)
    cipher = AESGCM(_derive(password, salt, cost))
    sealed = cipher.encrypt(derived_nonce, key.seed, key.name.encode())
    kept = json.dumps([_earlier_record(item) for item in earlier]).encode()
    return _row(cost, salt, derived_nonce, sealed, earlier_nonce, cipher.encrypt(earlier_nonce, kept, _earlier_name(key.name)))


def decoy_row(cost: KdfCost) -> bytes:
    """Return a row that no password opens, so that an unknown name costs the same time as a known one."""
    nonces = os.urandom(_NONCE_BYTES), os.urandom(_NONCE_BYTES)
    return _row(cost, os.urandom(_SALT_BYTES), nonces[0], os.urandom(_KEY_BYTES + 16), nonces[1], os.urandom(18))


def open_key(row: bytes, password: str, key_name: str) -> Opened | None:
    """Return what the password opens, or None where it does not open the row. One derivation in either case."""
    fields: dict[str, str | int] = json.loads(row)
    cost = KdfCost(int(fields["passes"]), int(fields["memory_kib"]), int(fields["lanes"]))
    cipher = AESGCM(_derive(password, _bytes(fields["salt"]), cost))
    try:
        seed = cipher.decrypt(_bytes(fields["nonce"]), _bytes(fields["sealed"]), key_name.encode())
        kept = b"[]"
        if "earlier" in fields:
            kept = cipher.decrypt(_bytes(fields["earlier_nonce"]), _bytes(fields["earlier"]), _earlier_name(key_name))
    except InvalidTag:
        return None
    return Opened(SigningKey.from_seed(key_name, seed), tuple(_earlier(item) for item in json.loads(kept)))


def _row(cost: KdfCost, salt: bytes, nonce: bytes, sealed: bytes, earlier_nonce: bytes, earlier: bytes) -> bytes:
    return canonical(
        {
            "kdf": "argon2id",
            "passes": cost.passes,
            "memory_kib": cost.memory_kib,
            "lanes": cost.lanes,
            "salt": _text(salt),
            "nonce": _text(nonce),
            "sealed": _text(sealed),
            "earlier_nonce": _text(earlier_nonce),
            "earlier": _text(earlier),
        }
    )


def _earlier_name(key_name: str) -> bytes:
    return f"earlier passwords of {key_name}".encode()


def _earlier_record(item: EarlierPassword) -> dict[str, str | int]:
    cost = item.cost
    return {
        "salt": _text(item.salt),
        "digest": _text(item.digest),
        "passes": cost.passes,
        "memory_kib": cost.memory_kib,
        "lanes": cost.lanes,
    }


def _earlier(fields: dict[str, str | int]) -> EarlierPassword:
    cost = KdfCost(int(fields["passes"]), int(fields["memory_kib"]), int(fields["lanes"]))
    return EarlierPassword(_bytes(fields["salt"]), _bytes(fields["digest"]), cost)


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _bytes(text: str | int) -> bytes:
    return base64.b64decode(str(text))


def _derive(password: str, salt: bytes, cost: KdfCost) -> bytes:
    """Return the 32-byte key of a password (NFKC, UTF-8). Source: RFC 9106 (argon2id)."""
    secret = unicodedata.normalize("NFKC", password).encode("utf-8", "surrogatepass")
    return hash_secret_raw(secret, salt, cost.passes, cost.memory_kib, cost.lanes, _KEY_BYTES, Type.ID)
