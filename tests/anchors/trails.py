"""A trail of leaves to be witnessed, with its key, without a store."""

from __future__ import annotations

from audit.chain import consistency_proof, leaf_hash, root
from audit.checkpoint import SigningKey, format_checkpoint
from audit.witness import AddCheckpoint, format_request

ORIGIN = "site.example/ws"
LOG = SigningKey.from_seed(ORIGIN, bytes(range(32)))
WITNESS = SigningKey.from_seed("control.example/w1", bytes(range(1, 33)))


def leaves(size: int, fork_at: int | None = None) -> list[bytes]:
    """The first `size` leaves; from `fork_at` on, those of another history."""
    return [f"{'other ' if fork_at is not None and n >= fork_at else ''}entry {n}".encode() for n in range(size)]


def note(size: int, fork_at: int | None = None, key: SigningKey = LOG, origin: str = ORIGIN) -> str:
    return key.sign_note(format_checkpoint(origin, size, root(leaves(size, fork_at))))


def proof(old: int, size: int, fork_at: int | None = None) -> tuple[bytes, ...]:
    return tuple(consistency_proof(leaves(size, fork_at), old)) if old else ()


def request(old: int, size: int, fork_at: int | None = None, key: SigningKey = LOG) -> AddCheckpoint:
    return AddCheckpoint(old, proof(old, size, fork_at), note(size, fork_at, key))


def body(old: int, size: int, fork_at: int | None = None, key: SigningKey = LOG) -> bytes:
    return format_request(request(old, size, fork_at, key))


def hashes(size: int) -> list[bytes]:
    return [leaf_hash(data) for data in leaves(size)]
