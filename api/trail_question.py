"""What people write into the fields of a search of the trail, read as a filter, with an error that names the field."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta

from api.errors import InputInvalid
from audit.events import EventKind
from audit.trail_search import PRESETS, TrailFilter, kind_matches

LONGEST = 200
FIELDS = ("person", "role", "device", "object", "since", "until", "reason", "text")


def read_filter(fields: Mapping[str, str | None], kinds: Sequence[str] = (), preset: str = "") -> TrailFilter:
    """Return the filter that these fields ask for.

    `object` is a type, or `type/id`. `since` and `until` are days (`until` with all of its day) or times in UTC, RFC 3339. Raises
    InputInvalid, which names the field.
    """
    unknown = sorted(fields.keys() - set(FIELDS))
    if unknown:
        raise InputInvalid(f"A search has no field {unknown[0]!r}.", remedy=f"It has: {', '.join(FIELDS)}.")
    given = {name: (value or "").strip() for name, value in fields.items()}
    for name, value in given.items():
        if len(value) > LONGEST or not value.isprintable():
            raise InputInvalid(f"The field {name} takes up to {LONGEST} printable characters.", remedy="Shorten it.")
    type_, _, id_ = given.get("object", "").partition("/")
    since, until = _time(given.get("since", ""), "since"), _time(given.get("until", ""), "until", end=True)
    if since and until and since >= until:
        raise InputInvalid("since is not before until.", remedy="Exchange the two.")
    return TrailFilter(
        kinds=(*_kinds(kinds), *_preset(preset)),
        person=given.get("person", ""),
        role=given.get("role", ""),
        device=given.get("device", ""),
        object_type=type_,
        object_id=id_,
        since=since,
        until=until,
        reason=given.get("reason", ""),
        text=given.get("text", ""),
    )


def _preset(name: str) -> tuple[str, ...]:
    if not name:
        return ()
    if name not in PRESETS:
        raise InputInvalid(f"There is no preset {name[:LONGEST]!r}.", remedy=f"There are: {', '.join(sorted(PRESETS))}.")
    return PRESETS[name]


def _kinds(wanted: Sequence[str]) -> tuple[str, ...]:
    for kind in wanted:
        if not any(kind_matches(known.value, kind) for known in EventKind):
            raise InputInvalid(
                f"There is no kind of entry {kind[:LONGEST]!r}.",
                remedy="Give a kind, or the beginning of one up to a full stop, for example alarm. (docs/reference lists all).",
            )
    return tuple(wanted)


def _time(text: str, field: str, *, end: bool = False) -> str:
    """Return RFC 3339 text in UTC as entries have it; the day after a day where it is an `end`."""
    if not text:
        return ""
    try:
        if len(text) == len("2026-11-20"):
            day = date.fromisoformat(text) + timedelta(days=1 if end else 0)
            return f"{day.isoformat()}T00:00:00.000000Z"
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is None:
            raise ValueError("no zone")
        return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    except (ValueError, OverflowError):
        raise InputInvalid(
            f"{field}: {text!r} is neither a day nor a time.", remedy="Write 2026-11-20, or 2026-11-20T14:30:00Z with its zone."
        ) from None
