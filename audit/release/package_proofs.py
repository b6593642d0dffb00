"""The proofs from outside that go into a package: of each trail the latest checkpoint that each witness cosigned, and the latest token."""

from __future__ import annotations

from collections.abc import Mapping

from audit.anchors import ANCHOR, COSIGNED, STAMPED, TOKEN, checkpoint_of
from audit.cosignature import add_lines
from audit.events import Entry, EventKind
from audit.reader import TrailReader


def travelling(reader: TrailReader, sizes: Mapping[str, int]) -> dict[str, bytes]:
    """Return files `anchors/<origin>/<size>.note` and `….tsr` for trails exported up to `sizes`, from the workstation's trail.

    A token is over the very bytes of the note beside it; so it is left out where witnesses cosigned that size as well. Raises RecordError.
    """
    files: dict[str, bytes] = {}
    for id_, _ in reader.objects(ANCHOR):
        for entry in _latest(reader, id_, EventKind.TRAIL_CHECKPOINT_COSIGNED):
            note = _attached(reader, entry, COSIGNED).decode()
            if (name := _name(note, sizes, "note")) is not None:
                lines = [f"{line}\n" for line in note.rpartition("\n\n")[2].splitlines()]
                files[name] = add_lines(files[name].decode(), lines).encode() if name in files else note.encode()
    for id_, _ in reader.objects(ANCHOR):
        for entry in _latest(reader, id_, EventKind.TRAIL_CHECKPOINT_TIMESTAMPED):
            stamped = _attached(reader, entry, STAMPED)
            name, token = _name(stamped.decode(), sizes, "note"), _name(stamped.decode(), sizes, "tsr")
            if name is not None and token is not None and name not in files:
                files |= {name: stamped, token: _attached(reader, entry, TOKEN)}
    return files


def _latest(reader: TrailReader, id_: str, kind: EventKind) -> list[Entry]:
    return reader.search(kind=kind.value, subject_type=ANCHOR, subject_id=id_, limit=1, newest_first=True)


def _attached(reader: TrailReader, entry: Entry, name: str) -> bytes:
    return reader.blob(next(item["sha256"] for item in entry.attachments if item["name"] == name))


def _name(note: str, sizes: Mapping[str, int], kind: str) -> str | None:
    """Return the name of a proof's file; None for a trail, or a size, that is not exported."""
    stated = checkpoint_of(note)
    return f"anchors/{stated.origin}/{stated.size}.{kind}" if 0 < stated.size <= sizes.get(stated.origin, 0) else None
