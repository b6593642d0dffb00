"""Looking through the trails of a site, and taking a selection out: which is itself an entry, with who, why and the file's digest."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice

from api.access import actor_of
from api.cells import CellDirectory
from api.errors import CellTrailInvalid, InputInvalid, NotFound
from api.people import DEVICE
from api.security import Permission, Session
from audit.canonical import JsonObject, sha256_hex
from audit.checkpoint import parse_checkpoint, split_note
from audit.errors import NoteInvalid
from audit.events import EntryDraft, EventKind, Subject
from audit.object_history import ObjectHistory, object_history
from audit.store import TrailStore
from audit.trail_export import as_csv, as_json
from audit.trail_search import FetchedTrail, StoredTrail, TrailFilter, TrailPage, TrailSource, find_all, find_page

WORKSTATION = "workstation"
MOST_EXPORTED = 50_000
MOST_OF_AN_OBJECT = 20_000
_SHORTEST_REASON = 3


@dataclass(frozen=True, slots=True)
class Export:
    """A selection as a file."""

    name: str
    media_type: str
    data: bytes
    entries: int


class TrailDesk:
    """Reads the workstation's trail from its store, and a cell's as the cell hands it over. Concurrency: safe for several threads."""

    def __init__(self, store: TrailStore, cells: CellDirectory) -> None:
        self._store = store
        self._cells = cells

    @property
    def trails(self) -> tuple[str, ...]:
        """The names of the trails of the site: the workstation's and those of its cells."""
        return (WORKSTATION, *self._cells.names)

    def trail(self, name: str) -> TrailSource:
        """Return a trail by the name of who writes it. Raises NotFound, CellNotStarted, CellUnreachable, CellTrailInvalid."""
        if name == WORKSTATION:
            return StoredTrail(self._store)
        if name not in self._cells.names:
            raise NotFound(f"There is no trail {name!r} at this site.", remedy=f"There are: {', '.join(self.trails)}.")
        cell = self._cells.client(name, watching=True)
        try:
            stated = parse_checkpoint(split_note(cell.checkpoint())[0])
        except NoteInvalid as error:
            raise CellTrailInvalid(
                f"The checkpoint of {name} cannot be read: {error.message}", remedy="Verify the cell's store."
            ) from error
        return FetchedTrail(stated.origin, stated.size, cell.trail)

    def page(self, name: str, wanted: TrailFilter, *, cursor: int | None = None, limit: int = 50, newest_first: bool = True) -> TrailPage:
        """Return a page of a trail. Raises what `trail` raises."""
        return find_page(self.trail(name), wanted, cursor=cursor, limit=limit, newest_first=newest_first)

    def history(self, name: str, subject: Subject) -> ObjectHistory:
        """Return what changed in an object. Raises NotFound where the trail says nothing of it, and what `trail` raises."""
        found = list(islice(find_all(self.trail(name), TrailFilter(object_type=subject.type, object_id=subject.id)), MOST_OF_AN_OBJECT + 1))
        if not found:
            raise NotFound(f"The trail of {name} says nothing of {subject}.", remedy="Look for it by its type alone.")
        if len(found) > MOST_OF_AN_OBJECT:
            raise InputInvalid(f"{subject} has more than {MOST_OF_AN_OBJECT} entries.", remedy="Search by object and time instead.")
        return object_history(subject, found)

    def export(self, session: Session, name: str, wanted: TrailFilter, file_format: str, reason: str) -> Export:
        """Return the selection as a file, oldest first, after the export is on record.

        Raises InputInvalid (no reason, no such format, too many entries), RoleMissing, and what `trail` raises.
        """
        actor = actor_of(session, Permission.EXPORT)
        reason = reason.strip()
        if len(reason) < _SHORTEST_REASON:
            raise InputInvalid("An export needs a reason.", remedy="Say what it is for, for example the number of the inspection.")
        trail = self.trail(name)
        entries = list(islice(find_all(trail, wanted), MOST_EXPORTED + 1))
        if len(entries) > MOST_EXPORTED:
            raise InputInvalid(f"More than {MOST_EXPORTED} entries are meant.", remedy="Narrow the search, by time for example.")
        writers: dict[str, Callable[[], bytes]] = {
            "csv": lambda: as_csv(entries),
            "json": lambda: as_json(trail.origin, trail.size, wanted, entries),
        }
        if file_format not in writers:
            raise InputInvalid(f"There is no export as {file_format[:40]!r}.", remedy=f"There are: {', '.join(writers)}.")
        data = writers[file_format]()
        digest = sha256_hex(data)
        new: JsonObject = {
            "trail": trail.origin, "filter": wanted.as_record(), "format": file_format, "entries": len(entries), "bytes": len(data),
            "sha256": digest,
        }  # fmt: skip
        self._store.append(
            EntryDraft(EventKind.RECORD_SELECTION_EXPORTED, Subject("export", digest[:16]), new, actor, DEVICE, reason=reason)
        )
        kind = {"csv": "text/csv; charset=utf-8", "json": "application/json"}[file_format]
        return Export(f"trail-{name}-{digest[:8]}.{file_format}", kind, data, len(entries))
