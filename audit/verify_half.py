"""The walk over the entries of a store, and the second half of a long one in a process of its own.

Run as a module (`python -m audit.verify_half STORE BEGIN END REACH BATCH`) it walks that half and writes what it found as JSON.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Self

import orjson

from audit.database import Connection, Database
from audit.places import database_at
from audit.search_index import BLOCK
from audit.trail_walk import BATCH, Batch, Kept, TrailWalk

if TYPE_CHECKING:
    import subprocess

_WORTH_A_PROCESS = 50_000
_SHARE = 0.48
"""Of the entries for the first half, at which both processes take the same time: this one also checks the file and the projections."""
_ENTRIES = "SELECT seq, canonical FROM entries WHERE seq >= ? AND seq < ? ORDER BY seq"
_INDEX = "SELECT block, term FROM entry_index WHERE block >= ? AND (block < ? OR block >= ?)"
_LEAST, _MOST = -(1 << 63), (1 << 63) - 1


def walk_entries(
    connection: Connection,
    anchors: Sequence[int],
    begin: int = 0,
    end: int | None = None,
    *,
    reach: int | None = None,
    at_once: int | None = None,
) -> TrailWalk:
    """Walk the entries begin ≤ seq < end, with the terms that the search index has of them; it reaches to the last anchor, or to `reach`.

    A walk that does not begin the trail leaves the last blocks of the index, which still grow, to the one that it is joined to.
    Raises the driver's errors.
    """
    reach = reach if reach is not None else anchors[-1] if anchors else 0
    if begin:
        first, limits = begin, (begin // BLOCK, reach // BLOCK, _MOST)
    else:
        first, limits = _LEAST, (_LEAST, _MOST if end is None else end // BLOCK, reach // BLOCK)
    index: dict[int, set[str]] = {}
    for block, term in connection.execute(_INDEX, limits):
        # A damaged file may give anything; what is no block is no entry's.
        index.setdefault(block if isinstance(block, int) else -1, set()).add(str(term))
    walk = TrailWalk(begin, reach, index)
    rows = connection.execute(_ENTRIES, (first, _MOST if end is None else end))
    while batch := rows.fetchmany(at_once or BATCH):
        walk.take(batch, anchors)
    return walk


class OtherHalf:
    """The second half of a walk, in a process of its own. Lifetime: from `start` to `close`, which ends it if it still runs."""

    def __init__(self, process: subprocess.Popen[bytes], begins: int) -> None:
        self._process = process
        self.begins = begins

    @classmethod
    def start(cls, database: Database, connection: Connection, reach: int) -> Self | None:
        """Begin the walk; None where the trail is too short to be worth it. `reach`: how many entries the search index stands for.

        How long it is, its last number says: to count the entries would read them all before either half begins. Where numbers are left
        out, the halves do not fit together.
        """
        ((last,),) = connection.execute("SELECT max(seq) FROM entries").fetchall()
        count = 0 if last is None else last + 1
        if count < _WORTH_A_PROCESS:
            return None
        import subprocess  # only for who starts a half: the half itself is the sooner at work

        begins = int(count * _SHARE) // BATCH * BATCH
        numbers = map(str, (begins, count, reach, BATCH))
        command = [sys.executable, "-m", "audit.verify_half", str(database), *numbers]
        try:
            return cls(subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL), begins)
        except OSError:
            return None

    def result(self) -> TrailWalk | None:
        """Wait for the walk and return it; None where it ended in an error or found anything: one walk over all then says what."""
        data, _ = self._process.communicate()
        return _from_json(data, self.begins) if self._process.returncode == 0 else None

    def close(self) -> None:
        if self._process.returncode is None:
            self._process.kill()
            self._process.communicate()


def _to_json(walk: TrailWalk) -> bytes:
    def texts(peaks: Sequence[bytes]) -> list[str]:
        return [peak.hex() for peak in peaks]

    return orjson.dumps(
        {
            "first_prev": walk.first_prev,
            "last": walk.last,
            "size": walk.size,
            "expected": walk.expected,
            "indexed": walk.indexed,
            "terms": [[block, sorted(terms)] for block, terms in walk.terms.items()],
            "unread": sorted(walk.unread),
            "demonstration": walk.demonstration,
            "batches": [[b.count, texts(b.peaks), [[size, texts(peaks)] for size, peaks in b.wanted]] for b in walk.batches],
            "objects": [[*key, walk.versions[key], walk.last_seqs[key], walk.digests[key], state] for key, state in walk.states.items()],
            "needed": [[*key, needed] for key, needed in walk.needed.items()],
            "blobs": walk.blobs,
            "kept": [[kept.seq, kept.kind, kept.prev, kept.new, kept.attached] for kept in walk.kept],
        }
    )


def _from_json(data: bytes, begins: int) -> TrailWalk | None:
    if not data:
        return None
    said = orjson.loads(data)
    walk = TrailWalk(begins)
    walk.first_prev, walk.last, walk.size = said["first_prev"], said["last"], said["size"]
    walk.expected, walk.indexed, walk.demonstration = said["expected"], said["indexed"], said["demonstration"]

    walk.terms = {block: {*terms} for block, terms in said["terms"]}
    walk.unread = {*said["unread"]}

    def peaks(texts: Sequence[str]) -> tuple[bytes, ...]:
        return tuple(map(bytes.fromhex, texts))

    walk.batches = [
        Batch(count, peaks(top), tuple((size, peaks(found)) for size, found in wanted)) for count, top, wanted in said["batches"]
    ]
    for type_, id_, version, last_seq, digest, state in said["objects"]:
        key = (type_, id_)
        walk.versions[key], walk.last_seqs[key], walk.digests[key], walk.states[key] = version, last_seq, digest, state
    walk.needed = {(type_, id_): needed for type_, id_, needed in said["needed"]}
    walk.kept = [Kept(*fields) for fields in said["kept"]]
    walk.blobs = {sha256: (count, seq) for sha256, (count, seq) in said["blobs"].items()}
    return walk


def main(place: str, begin: str, end: str, reach: str, at_once: str) -> int:
    """Walk the entries begin ≤ seq < end and write the walk; 1 where it found anything."""
    connection = database_at(place).connect_checker()
    try:
        anchors = [row[0] for row in connection.execute("SELECT size FROM checkpoints ORDER BY size")]
        walk = walk_entries(connection, anchors, int(begin), int(end), reach=int(reach), at_once=int(at_once))
    finally:
        connection.close()
    if walk.findings or walk.index:
        return 1
    sys.stdout.buffer.write(_to_json(walk))
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
