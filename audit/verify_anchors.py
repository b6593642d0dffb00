"""The proofs from outside that lie in a store: what `audit.anchor_check` needs to know of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from audit.anchor_check import AnchorCheck, ProofEntry, Trails, Trusted, check_anchors
from audit.anchors import KINDS
from audit.chain import MerkleTree, leaf_hash
from audit.checkpoint import VerifierKey
from audit.errors import NoteInvalid
from audit.events import EventKind
from audit.key_rotation import KeyHistory
from audit.trail_walk import Kept, TrailWalk

_CELLS = (EventKind.CELL_RECORD_ENROLLED, EventKind.CELL_KEY_ACCEPTED)


def store_anchors(
    walk: TrailWalk,
    history: KeyHistory,
    outside: Trusted,
    *,
    blob: Callable[[str], bytes | None],
    lines: Callable[[int], Iterable[bytes]],
) -> AnchorCheck:
    """Check the proofs in a store that was walked. `lines(size)` gives its first entries, for a root that no checkpoint has."""
    origin, roots = str(walk.birth.get("origin")), walk.roots()
    cells = _cell_keys(walk.kept)

    def root(of: str, size: int) -> bytes | None:
        if of != origin or size > walk.size:
            return None
        return roots[size] if size in roots else _root(lines(size))

    def keys(of: str, size: int) -> Sequence[VerifierKey] | None:
        if of != origin:
            return cells.get(of)
        key = history.at(size)
        return [key] if key else []

    entries = [ProofEntry(f"entries row seq={kept.seq}", kept.kind, kept.new, kept.attached) for kept in walk.kept if kept.kind in KINDS]
    return check_anchors(entries, Trails({origin: walk.size}, root, keys, blob), outside)


def _root(lines: Iterable[bytes]) -> bytes:
    tree = MerkleTree()
    for line in lines:
        tree.append_hash(leaf_hash(line))
    return tree.root()


def _cell_keys(kept: Iterable[Kept]) -> dict[str, list[VerifierKey]]:
    """Return by origin every key under which a cell was known."""
    origins: dict[str, str] = {}
    found: dict[str, list[VerifierKey]] = {}
    for entry in kept:
        if entry.kind not in _CELLS:
            continue
        try:
            key = VerifierKey.parse(str(entry.new.get("verifier_key")))
        except NoteInvalid:
            continue  # no proof can be by it
        origin = entry.new.get("origin", origins.get(key.name))
        if isinstance(origin, str):
            origins[key.name] = origin
            found.setdefault(origin, []).append(key)
    return found
