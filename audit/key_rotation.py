"""Which key signs a trail, and since when: the rotations in it, what each of them proves, and what it does not.

A rotation is an entry about the store that names the old and the new verifier key and holds a *statement*: a note that both keys signed.
Checkpoints of the entries before it are the old key's, all later ones the new key's. Where the old key is lost, the statement has the
new key's signature alone; such a rotation is *not continuous*: nothing in the trail shows that the site made it, so the new key has to
come from outside. Source of the note's form: C2SP signed-note v1.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from audit.canonical import JsonObject, JsonValue
from audit.checkpoint import Signer, VerifierKey, sign_note, signature_line, verify_note
from audit.errors import EntryInvalid, NoteInvalid
from audit.events import Actor, EntryDraft, EventKind, Subject
from audit.reader import TrailReader

FORMAT = "dosewright-key-rotation/1"
_ALL = 1_000_000


@dataclass(frozen=True, slots=True)
class Rotation:
    """A rotation as its entry has it: number and `prev` of the entry, and its `new`."""

    seq: int
    prev: str
    new: JsonObject


@dataclass(frozen=True, slots=True)
class Reign:
    """A key, the smallest size whose checkpoint it signs, and whether its predecessor vouches for it (the first has none)."""

    key: VerifierKey
    since: int
    continuous: bool


@dataclass(slots=True)
class KeyHistory:
    """The keys of a trail in their order; `problems` are (entry number, what is wrong)."""

    reigns: list[Reign] = field(default_factory=list)
    problems: list[tuple[int, str]] = field(default_factory=list)

    @property
    def present(self) -> VerifierKey | None:
        """The key that signs now; None where the first entry states none."""
        return self.reigns[-1].key if self.reigns else None

    def at(self, size: int) -> VerifierKey | None:
        """Return the key that signs a checkpoint of this size."""
        return next((reign.key for reign in reversed(self.reigns) if reign.since <= size), None)

    def vouched(self, trusted: Iterable[VerifierKey]) -> list[VerifierKey]:
        """Return the keys of this trail that the trusted ones establish: themselves, and those that follow them without a gap.

        A trusted key also vouches for what was before it: its checkpoint counts every entry.
        """
        believed, found, known = False, list[VerifierKey](), set(trusted)
        for reign in self.reigns:
            believed = reign.key in known or (believed and reign.continuous)
            if believed:
                found.append(reign.key)
        return found

    def believed(self, trusted: Iterable[VerifierKey]) -> list[VerifierKey]:
        """Return every key of this trail where the trusted ones establish the present one, which signs the entries of all before it
        too; else those that they vouch for."""
        found = self.vouched(trusted)
        return [reign.key for reign in self.reigns] if self.present in found else found

    def established(self, trusted: Iterable[VerifierKey]) -> bool:
        """Say whether the trusted keys establish the key that signs now."""
        return self.present is not None and self.present in self.vouched(trusted)

    def misplaced(self, note: str, size: int) -> str:
        """Say of a note that the key of its size did not sign whether another key of this trail did; empty where none did."""
        for number, reign in enumerate(self.reigns):
            try:
                verify_note(note, [reign.key])
            except NoteInvalid:
                continue
            after = self.reigns[number + 1].since - 1 if number + 1 < len(self.reigns) else reign.since - 1
            which = "that was replaced by" if size > after else "that came with"
            return f"is signed by the key {reign.key.text}, {which} entry {after}"
        return ""


def statement_text(origin: str, seq: int, prev: str, old: str, new: str) -> str:
    """Return what both keys sign: format, origin, number of the entry, digest of the entry before it, old and new verifier key."""
    return f"{FORMAT}\n{origin}\n{seq}\n{prev}\n{old}\n{new}\n"


def rotation_entry(
    origin: str, seq: int, prev: str, *, old: VerifierKey, outgoing: Signer | None, incoming: Signer, actor: Actor, device: str, reason: str
) -> EntryDraft:
    """Return the entry of a rotation. Without the outgoing key it is marked as not continuous.

    Raises EntryInvalid: no reason, another name than the trail's, or the same key again.
    """
    new = incoming.verifier
    if not reason.strip():
        raise EntryInvalid("A key is not replaced without a reason.", remedy="Say why.")
    if new.name != old.name or new == old:
        raise EntryInvalid(
            f"The new key {new.text} does not carry the name {old.name}, or is the present one.", remedy="Make a new key with that name."
        )
    text = statement_text(origin, seq, prev, old.text, new.text)
    if outgoing is None:
        statement = sign_note(incoming, text)
    else:
        statement = sign_note(outgoing, text) + signature_line(incoming.name, new.key_id + incoming.sign(text.encode()))
    fields: JsonObject = {"verifier_key": new.text, "continuous": outgoing is not None, "statement": statement}
    return EntryDraft(EventKind.TRAIL_KEY_ROTATED, Subject("store", origin), fields, actor, device, reason=reason)


def key_history(origin: str, first: JsonValue, rotations: Sequence[Rotation], stated: JsonValue = None) -> KeyHistory:
    """Read the history from the key of entry 0 and the rotations in order.

    `stated` is the verifier key that the store's object has in the end, where it is known: one that no rotation put there is a problem.
    """
    history = KeyHistory()
    try:
        history.reigns.append(Reign(VerifierKey.parse(first if isinstance(first, str) else ""), 0, False))
    except NoteInvalid as error:
        history.problems.append((0, f"states no usable verifier key: {error.message}"))
        return history
    for rotation in rotations:
        _take(history, origin, rotation)
    present = history.reigns[-1].key.text
    if stated is not None and stated != present:
        history.problems.append(
            (0, f"the trail's verifier key was changed to {stated} without a rotation; the last one named is {present}")
        )
    return history


def stored_history(reader: TrailReader) -> KeyHistory:
    """Return the keys of a stored trail. Raises RecordError where it cannot be read."""
    first = next(reader.entries(0, 1), None)
    found = reader.search(kind=EventKind.TRAIL_KEY_ROTATED.value, limit=_ALL)
    rotations = [Rotation(entry.seq, str(entry.body.get("prev")), entry.new) for entry in found]
    return key_history(reader.origin, None if first is None else first.new.get("verifier_key"), rotations, reader.verifier_key)


def _take(history: KeyHistory, origin: str, rotation: Rotation) -> None:
    """Add a rotation to the history, with what is wrong with it."""
    old, seq = history.reigns[-1].key, rotation.seq
    try:
        new = VerifierKey.parse(str(rotation.new.get("verifier_key")))
    except NoteInvalid as error:
        history.problems.append((seq, f"rotates to no usable verifier key: {error.message}"))
        return
    continuous = rotation.new.get("continuous") is True
    problem = _statement_problem(origin, rotation, old, new, continuous)
    if problem:
        history.problems.append((seq, problem))
    history.reigns.append(Reign(new, seq + 1, continuous and not problem))


def _statement_problem(origin: str, rotation: Rotation, old: VerifierKey, new: VerifierKey, continuous: bool) -> str:
    if new.name != old.name:
        return f"rotates to a key of another name than {old.name}"
    note = rotation.new.get("statement")
    wanted = statement_text(origin, rotation.seq, rotation.prev, old.text, new.text)
    for key, whose in ((old, "old"), (new, "new"))[0 if continuous else 1 :]:
        try:
            text, _ = verify_note(note if isinstance(note, str) else "", [key])
        except NoteInvalid as error:
            return f"is a forged rotation: its statement is not signed by the {whose} key ({error.message})"
        if text != wanted:
            return "has a statement that is not of this entry, this trail and these two keys"
    return ""
