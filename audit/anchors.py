"""Checkpoints out: what is asked of a witness, what its answer means, and how it becomes an entry of the trail.

The cosigned note, or the note with its token, is attached to an entry of the workstation's trail; so the proof travels wherever the
trail does. The object `anchor/<origin> <by>` has the latest of each: up to which size, when. Nothing here speaks to a network.
Sources: C2SP tlog-witness, C2SP tlog-cosignature, RFC 3161.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from audit.canonical import JsonObject
from audit.checkpoint import Checkpoint, parse_checkpoint, split_note
from audit.clock import utc_text
from audit.cosignature import Cosignature, CosignerKey, add_lines, cosignatures
from audit.errors import AnchorAway, AnchorRefused, NoteInvalid, TrailDisputed
from audit.events import SYSTEM, EntryDraft, EventKind, Subject
from audit.reader import TrailReader
from audit.timestamps import Token
from audit.witness import BAD_REQUEST, CONFLICT, FORBIDDEN, NOT_FOUND, OK, UNPROCESSABLE, read_size

COSIGNED, STAMPED, TOKEN = "cosigned.note", "stamped.note", "token.tsr"
ANCHOR = "anchor"
WITNESS, AUTHORITY = "witness", "time-stamping authority"
KINDS = (EventKind.TRAIL_CHECKPOINT_COSIGNED, EventKind.TRAIL_CHECKPOINT_TIMESTAMPED)
"""The entries that hold proofs from outside."""
_TOO_MANY, _SERVER = 429, 500
_LONGEST_REASON = 200


@dataclass(frozen=True, slots=True)
class Cosigned:
    """The note with the witness's line, and the cosignature in it."""

    note: str
    cosignature: Cosignature


@dataclass(frozen=True, slots=True)
class OtherSize:
    """The witness's latest cosigned size is another than was thought."""

    size: int


@dataclass(frozen=True, slots=True)
class AnchorState:
    """The latest proof of one witness or authority for one trail. `at` is RFC 3339 UTC: the other side's clock."""

    origin: str
    by: str
    what: str
    size: int
    at: str
    refusal: str


def checkpoint_of(note: str) -> Checkpoint:
    """Return what a note states, unverified. Raises NoteInvalid."""
    return parse_checkpoint(split_note(note)[0])


def read_answer(status: int, body: bytes, note: str, key: CosignerKey) -> Cosigned | OtherSize:
    """Read a witness's answer to a note; the cosignature is verified before it counts.

    Raises AnchorAway (try again later), AnchorRefused (403, 404, 400, or an answer that cannot be believed), TrailDisputed (422).
    """
    text = body.decode("utf-8", "replace")
    words = " ".join(text.split())[:_LONGEST_REASON]
    if status == OK:
        return _cosigned(text, note, key)
    if status == CONFLICT:
        try:
            return OtherSize(read_size(text.removesuffix("\n")))
        except NoteInvalid as error:
            raise AnchorRefused(f"The witness {key.name} answers 409 without its size: {error.message}", remedy=_ASK) from error
    origin = checkpoint_of(note).origin
    if status == NOT_FOUND:
        raise AnchorRefused(
            f"The witness {key.name} does not know the trail {origin} ({words}).",
            remedy="Give the control site the trail's verifier key, to be added with `dosewright witness add-log`.",
        )
    if status == FORBIDDEN:
        raise AnchorRefused(
            f"The witness {key.name} does not trust the key that signed the checkpoint of {origin} ({words}).",
            remedy="If the key was rotated, give the control site the new verifier key; if not, find out which key it has.",
        )
    if status == UNPROCESSABLE:
        raise _disputed(key, origin, f"the checkpoint does not extend the one it cosigned before ({words})")
    if status in (_TOO_MANY,) or status >= _SERVER:
        raise AnchorAway(f"The witness {key.name} answers {status} ({words}).", remedy="It is tried again by itself.")
    what = "a bad request" if status == BAD_REQUEST else f"the status {status}"
    raise AnchorRefused(f"The witness {key.name} answers with {what} ({words}).", remedy=_ASK)


_ASK = "Ask the control site; the address in the configuration must be that of a C2SP witness."


def _cosigned(text: str, note: str, key: CosignerKey) -> Cosigned:
    try:
        found = cosignatures(note + text, [key])
    except NoteInvalid as error:
        raise AnchorRefused(f"The answer of the witness {key.name} cannot be believed: {error.message}", remedy=_ASK) from error
    if not found:
        raise AnchorRefused(f"The answer of the witness {key.name} holds no cosignature of the key {key.text}.", remedy=_ASK)
    latest = max(found, key=lambda item: item.at)
    return Cosigned(add_lines(note, [latest.line]), latest)


def conflict(answer: OtherSize, stated: Checkpoint, key: CosignerKey, *, tried: int) -> int:
    """Return the size from which to try once more. Raises TrailDisputed where the witness has seen what this trail cannot show."""
    if answer.size > stated.size:
        what = f"it has cosigned {answer.size} entries, the trail here has {stated.size}: its end was cut off, or an older copy is in use"
        raise _disputed(key, stated.origin, what)
    if answer.size == tried:
        raise _disputed(key, stated.origin, f"it has cosigned another root for size {tried}")
    return answer.size


def _disputed(key: CosignerKey, origin: str, what: str) -> TrailDisputed:
    return TrailDisputed(
        f"The witness {key.name} disputes the trail {origin}: {what}.",
        remedy="Keep the store and its backups as evidence, get the note from the control site, and run `dosewright verify` with it.",
    )


def posix_text(at: int) -> str:
    """Return a POSIX second as RFC 3339 in UTC; beyond the year 9999, the number."""
    try:
        return utc_text(datetime.fromtimestamp(at, UTC))
    except (OverflowError, ValueError, OSError):
        return f"POSIX second {at}"


def cosigned_entry(found: Cosigned, key: CosignerKey, device: str, reason: str | None = None) -> EntryDraft:
    """Return the entry of a cosignature, with the cosigned note."""
    new = {**_stated(found.note, WITNESS, key.name), "key": key.text, "at": posix_text(found.cosignature.at)}
    attached = {COSIGNED: found.note.encode()}
    return _draft(EventKind.TRAIL_CHECKPOINT_COSIGNED, found.note, key.name, new, device, reason, attached)


def timestamped_entry(note: str, reply: bytes, token: Token, name: str, device: str) -> EntryDraft:
    """Return the entry of a token, with the note that it is over and the authority's answer. `name` is how the site calls the authority."""
    new = {**_stated(note, AUTHORITY, name), "key": token.authority, "at": token.at}
    attached = {STAMPED: note.encode(), TOKEN: reply}
    return _draft(EventKind.TRAIL_CHECKPOINT_TIMESTAMPED, note, name, new, device, None, attached)


def refused_entry(origin: str, by: str, what: str, problem: str, device: str) -> EntryDraft:
    """Return the entry of a refusal; what was anchored before stays as it is."""
    new: JsonObject = {"origin": origin, "by": by, "what": what, "refusal": problem}
    return EntryDraft(EventKind.TRAIL_ANCHOR_REFUSED, anchor_subject(origin, by), new, SYSTEM, device)


def anchor_subject(origin: str, by: str) -> Subject:
    return Subject(ANCHOR, f"{origin} {by}")


def _stated(note: str, what: str, by: str) -> JsonObject:
    stated = checkpoint_of(note)
    root = base64.b64encode(stated.root).decode()
    return {"origin": stated.origin, "by": by, "what": what, "size": stated.size, "root": root, "refusal": ""}


def _draft(kind: EventKind, note: str, by: str, new: JsonObject, device: str, reason: str | None, attached: dict[str, bytes]) -> EntryDraft:
    return EntryDraft(kind, anchor_subject(checkpoint_of(note).origin, by), new, SYSTEM, device, reason=reason, attachments=attached)


def anchor_states(reader: TrailReader) -> list[AnchorState]:
    """Return the latest proof, or refusal, of each witness and authority for each trail."""
    return [_state(state) for _, state in reader.objects(ANCHOR)]


def anchor_state(reader: TrailReader, origin: str, by: str) -> AnchorState | None:
    """Return the latest proof of one of them for one trail, or None."""
    state = reader.state(ANCHOR, anchor_subject(origin, by).id)
    return None if state is None else _state(state)


def _state(state: JsonObject) -> AnchorState:
    def text(name: str) -> str:
        value = state.get(name)
        return value if isinstance(value, str) else ""

    size = state.get("size")
    return AnchorState(text("origin"), text("by"), text("what"), size if type(size) is int else 0, text("at"), text("refusal"))


def entries_since(reader: TrailReader, size: int) -> int:
    """Return how many entries from `size` on are about anything but anchors: what a new proof would add."""
    about = reader.search(subject_type=ANCHOR, after_seq=size - 1, limit=_MOST_COUNTED)
    return max(0, reader.size - size - len(about))


_MOST_COUNTED = 100_000


def describe(origin: str, size: int, since: int, states: Sequence[AnchorState]) -> Iterator[str]:
    """Give lines for a person: what of a trail of `size` entries is anchored outside; `since` counts those that are not yet."""
    mine = [state for state in states if state.origin == origin]
    anchored = [state for state in mine if state.size]
    if not anchored:
        yield f"{origin}: nothing is anchored outside; it has {size} entries"
    for state in anchored:
        yield f"{origin}: entries 0 to {state.size - 1} anchored at {state.at} by the {state.what} {state.by}"
    if anchored:
        latest = max(anchored, key=lambda state: state.size)
        yield f"{origin}: last anchored outside {latest.at}; {since} entries since"
    for state in mine:
        if state.refusal:
            yield f"{origin}: the {state.what} {state.by} refused: {state.refusal}"
