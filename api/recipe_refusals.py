"""What was asked of recipes and process models and refused, as entries."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from api.people import DEVICE
from api.security import Session
from audit.canonical import JsonObject
from audit.errors import DosewrightError
from audit.events import Actor, EntryDraft, EventKind, Subject
from audit.store import TrailStore

_LONGEST_TEXT = 2000


@contextmanager
def on_record(
    store: TrailStore,
    session: Session,
    reference: str,
    step: str,
    *,
    kind: EventKind = EventKind.RECIPE_REQUEST_REFUSED,
    about: str = "recipe_request",
) -> Iterator[None]:
    """Leave an entry where what follows is refused: by whom, of what, why not."""
    try:
        yield
    except DosewrightError as error:
        new: JsonObject = {"step": str(step)[:200], "refused_code": error.code, "refused": error.message[:_LONGEST_TEXT]}
        actor = Actor(session.username, session.name, "/".join(sorted(role.value for role in session.roles)))
        named = "".join(character if character.isprintable() else "�" for character in reference[:100])  # whatever was asked for
        subject = Subject(about, named or "nothing")
        store.append(EntryDraft(kind, subject, new, actor, DEVICE))
        raise
