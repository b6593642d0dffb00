"""The walk over the entries of a store, and the second half of a long one in a process of its own.

Run as a module (`python -m audit.verify_half STORE BEGIN END BATCH`) it walks that half and writes what it found as JSON.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Self

import orjson

from audit.database import Connection, Database
from audit.places import database_at
from audit.trail_walk import BATCH, Batch, Kept, ObjectState, TrailWalk

if TYPE_CHECKING:
    import subprocess

_WORTH_A_PROCESS = 50_000
_SHARE = 0.44
"""Of the entries for the first half, at which both processes take the same time: this one also checks the file and the projections."""
_QUERY = (
    "SELECT e.seq, e.canonical, e.digest, i.at, i.kind, i.actor, i.subject_type, i.subject_id "
    "FROM entries e LEFT JOIN entry_index i ON i.seq = e.seq WHERE e.seq >= ? AND e.seq < ? ORDER BY e.seq"
)


def walk_entries(
    connection: Connection, anchors: Sequence[int], begin: int = 0, end: int | None = None, at_once: int | None = None
) -> TrailWalk:
    """Walk the entries begin ≤ seq < end, with their rows in the search index, which reaches to the last anchor.

    Raises the driver's errors.
    """
    walk = TrailWalk(begin, anchors[-1] if anchors else 0)
    rows = connection.execute(_QUERY, (begin if begin else -(1 << 63), (1 << 63) - 1 if end is None else end))
    while batch := rows.fetchmany(at_once or BATCH):
        walk.take(batch, anchors)
    return walk


class OtherHalf:
    """The second half of a walk, in a process of its own. Lifetime: from `start` to `close`, which ends it if it still runs."""

    def __init__(self, process: subprocess.Popen[bytes], begins: int) -> None:
        self._process = process
        self.begins = begins

    @classmethod
    def start(cls, database: Database, connection: Connection) -> Self | None:
        """Begin the walk; None where the trail is too short to be worth it.

        How long it is, its last number says: to count the entries would read them all before either half begins. Where numbers are left
        out, the halves do not fit together.
        """
        ((last,),) = connection.execute("SELECT max(seq) FROM entries").fetchall()
        count = 0 if last is None else last + 1
        if count < _WORTH_A_PROCESS:
            return None
        import subprocess  # only for who starts a half: the half itself is the sooner at work

        begins = int(count * _SHARE) // BATCH * BATCH
        command = [sys.executable, "-m", "audit.verify_half", str(database), str(begins), str(count), str(BATCH)]
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
            "demonstration": walk.demonstration,
            "batches": [[b.count, texts(b.peaks), [[size, texts(peaks)] for size, peaks in b.wanted]] for b in walk.batches],
            "objects": [[*key, known.version, known.last_seq, known.state, known.needed] for key, known in walk.objects.items()],
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

    def peaks(texts: Sequence[str]) -> tuple[bytes, ...]:
        return tuple(map(bytes.fromhex, texts))

    walk.batches = [
        Batch(count, peaks(top), tuple((size, peaks(found)) for size, found in wanted)) for count, top, wanted in said["batches"]
    ]
    walk.objects = {
        (type_, id_): ObjectState(version, last_seq, state, needed) for type_, id_, version, last_seq, state, needed in said["objects"]
    }
    walk.kept = [Kept(*fields) for fields in said["kept"]]
    walk.blobs = {sha256: (count, seq) for sha256, (count, seq) in said["blobs"].items()}
    return walk


def main(place: str, begin: str, end: str, at_once: str) -> int:
    """Walk the entries begin ≤ seq < end and write the walk; 1 where it found anything."""
    connection = database_at(place).connect_checker()
    try:
        anchors = [row[0] for row in connection.execute("SELECT size FROM checkpoints ORDER BY size")]
        walk = walk_entries(connection, anchors, int(begin), int(end), int(at_once))
    finally:
        connection.close()
    if walk.findings:
        return 1
    sys.stdout.buffer.write(_to_json(walk))
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
