"""Looking through a trail: what is asked of an entry, and pages of those that meet it.

A page is continued from the number of an entry (a cursor), so that what is written meanwhile neither moves nor doubles what was shown.
Pure but for the trail that it is given.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Protocol

from audit.canonical import JsonValue
from audit.events import Entry, EventKind
from audit.reader import TrailReader

PRESETS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "access": (
            "person.session.",
            EventKind.PERSON_ACCOUNT_LOCKED.value,
            EventKind.PERSON_ACCOUNT_UNLOCKED.value,
        ),
        "refusals": (
            EventKind.PERSON_SESSION_REFUSED.value,
            EventKind.RECIPE_REQUEST_REFUSED.value,
            EventKind.RUN_REQUEST_REFUSED.value,
            EventKind.RUN_GATES_REFUSED.value,
        ),
        "signatures": (EventKind.PERSON_SIGNATURE_GIVEN.value,),
        "people": ("person.",),
        "alarms": ("alarm.",),
        "recipes": ("recipe.",),
        "clock": (EventKind.CELL_CLOCK_STEPPED.value, EventKind.SITE_CLOCK_STEPPED.value),
    }
)
"""Names of often asked questions → kinds, or beginnings of kinds (these end with a full stop)."""

LOOK_AT_MOST = 50_000
"""Entries that one page looks at: a rare word in a long trail takes several pages, each in bounded time."""
_WINDOW = 500


@dataclass(frozen=True, slots=True)
class TrailFilter:
    """What an entry must meet: all of it. Empty fields ask nothing; words are compared without regard to case.

    `kinds`: kinds, or beginnings that end with a full stop, any of them. `person`: a user name, as who acted or was acted on, or a part of
    the name of who acted. `since` ≤ at < `until`: RFC 3339 in UTC. `reason`: in the reason. `text`: in anything that the entry says.
    """

    kinds: tuple[str, ...] = ()
    person: str = ""
    role: str = ""
    device: str = ""
    object_type: str = ""
    object_id: str = ""
    since: str = ""
    until: str = ""
    reason: str = ""
    text: str = ""

    def as_record(self) -> dict[str, JsonValue]:
        """Return the fields that ask something."""
        found: dict[str, JsonValue] = {name: getattr(self, name) for name in self.__dataclass_fields__ if name != "kinds"}
        asked: dict[str, JsonValue] = {"kinds": list(self.kinds)} if self.kinds else {}
        return {**asked, **{name: value for name, value in found.items() if value}}

    def meets(self, entry: Entry) -> bool:
        """Say whether an entry meets every condition."""
        return (
            (not self.kinds or any(kind_matches(entry.kind, kind) for kind in self.kinds))
            and self.object_type in ("", entry.subject.type)
            and self.object_id in ("", entry.subject.id)
            and (not self.since or entry.at >= self.since)
            and (not self.until or entry.at < self.until)
            and self.device in ("", entry.device)
            and (not self.role or self.role in entry.actor.role.split("/"))
            and (not self.person or _is_about_person(entry, self.person))
            and _holds(self.reason, entry.reason or "")
            and (not self.text or any(_holds(self.text, said) for said in said_by(entry)))
        )


@dataclass(frozen=True, slots=True)
class TrailPage:
    """Entries that meet a filter, in the order asked for; `cursor` continues, None where the trail has no more to look at.

    `looked_at`: entries that were held against the filter for this page.
    """

    entries: tuple[Entry, ...]
    cursor: int | None
    looked_at: int


class TrailSource(Protocol):
    """A trail that can be looked through in either direction."""

    @property
    def origin(self) -> str: ...

    @property
    def size(self) -> int: ...

    def window(self, wanted: TrailFilter, cursor: int | None, limit: int, newest_first: bool) -> tuple[Sequence[Entry], int | None]:
        """Return at most `limit` entries that may meet the filter, beyond `cursor`, in order; and where to go on, None at the end."""
        ...


class StoredTrail:
    """A trail store, by its search index."""

    def __init__(self, reader: TrailReader) -> None:
        self._reader = reader

    @property
    def origin(self) -> str:
        return self._reader.origin

    @property
    def size(self) -> int:
        return self._reader.size

    def window(self, wanted: TrailFilter, cursor: int | None, limit: int, newest_first: bool) -> tuple[Sequence[Entry], int | None]:
        """As `TrailSource.window`. Raises RecordError."""
        found = self._reader.search(
            kind=wanted.kinds[0] if len(wanted.kinds) == 1 else None,
            subject_type=wanted.object_type or None,
            subject_id=wanted.object_id or None,
            since=wanted.since or None,
            until=wanted.until or None,
            after_seq=None if newest_first else cursor,
            before_seq=cursor if newest_first else None,
            limit=limit,
            newest_first=newest_first,
        )
        return found, found[-1].seq if len(found) == limit else None


class FetchedTrail:
    """A trail that another process hands over line by line: `fetch(start, count)` gives canonical lines from entry `start` on."""

    def __init__(self, origin: str, size: int, fetch: Callable[[int, int], Sequence[str]]) -> None:
        self.origin = origin
        self.size = size
        self._fetch = fetch

    def window(self, wanted: TrailFilter, cursor: int | None, limit: int, newest_first: bool) -> tuple[Sequence[Entry], int | None]:
        """As `TrailSource.window`. Raises what `fetch` raises."""
        if newest_first:
            end = self.size if cursor is None else min(cursor, self.size)
            start = max(0, end - limit)
        else:
            start = 0 if cursor is None else cursor + 1
            end = min(self.size, start + limit)
        lines = self._fetch(start, end - start)[: end - start] if end > start else ()
        entries = [Entry(line.encode()) for line in lines]
        if newest_first:
            return entries[::-1], start if start > 0 and entries else None
        return entries, entries[-1].seq if entries and end < self.size else None


def find_page(
    trail: TrailSource,
    wanted: TrailFilter,
    *,
    cursor: int | None = None,
    limit: int = 50,
    newest_first: bool = True,
    look_at_most: int = LOOK_AT_MOST,
) -> TrailPage:
    """Return the next page of entries that meet the filter: before `cursor` where newest come first, else after it."""
    found: list[Entry] = []
    looked_at = 0
    while looked_at < look_at_most:
        entries, following = trail.window(wanted, cursor, _WINDOW, newest_first)
        for entry in entries:
            looked_at += 1
            if wanted.meets(entry):
                found.append(entry)
                if len(found) == limit:
                    more = following is not None or entry is not entries[-1]
                    return TrailPage(tuple(found), entry.seq if more else None, looked_at)
        cursor = following
        if cursor is None:
            break
    return TrailPage(tuple(found), cursor, looked_at)


def find_all(trail: TrailSource, wanted: TrailFilter, *, newest_first: bool = False) -> Iterator[Entry]:
    """Give every entry that meets the filter, in order."""
    cursor: int | None = None
    while True:
        page = find_page(trail, wanted, cursor=cursor, limit=_WINDOW, newest_first=newest_first)
        yield from page.entries
        if page.cursor is None:
            return
        cursor = page.cursor


def kind_matches(kind: str, wanted: str) -> bool:
    """Say whether a kind is the one wanted, or begins with it where that ends with a full stop."""
    return kind.startswith(wanted) if wanted.endswith(".") else kind == wanted


def said_by(entry: Entry) -> Iterator[str]:
    """Give every text in which a person may look for words: who, where, what, why, and each name and value that changed."""
    actor, subject = entry.actor, entry.subject
    yield from (actor.username, actor.name, actor.role, entry.device, entry.kind, subject.type, subject.id, entry.reason or "", entry.at)
    for tree in (entry.old, entry.new):
        for path, value in leaves(tree):
            yield path
            yield value if isinstance(value, str) else str(value)
    for item in entry.attachments:
        yield from (item["name"], item["sha256"])


def leaves(value: JsonValue, path: str = "") -> Iterator[tuple[str, JsonValue]]:
    """Give each single value of a tree with its path, for example `order.lines[0].mass`; an empty list or object is a value."""
    if isinstance(value, Mapping) and value:
        for name, item in value.items():
            yield from leaves(item, f"{path}.{name}" if path else name)
    elif isinstance(value, Sequence) and not isinstance(value, str) and value:
        for number, item in enumerate(value):
            yield from leaves(item, f"{path}[{number}]")
    else:
        yield path, value


def _holds(words: str, text: str) -> bool:
    return not words or words.casefold() in text.casefold()


def _is_about_person(entry: Entry, person: str) -> bool:
    actor = entry.actor
    if person in (actor.username, entry.subject.id if entry.subject.type == "person" else None):
        return True
    return _holds(person, actor.name)
