"""Step 5 of a package check: the entries of a trail, all of them or those selected, each in its form and place.

Also what every step shares: the files under check, and what was found so far.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass, field

from audit.canonical import JsonObject, JsonValue, canonical, parse_canonical
from audit.chain import GENESIS, entry_digest, leaf_hash
from audit.checkpoint import VerifierKey, parse_checkpoint, split_note, verify_note
from audit.errors import EntryInvalid, NoteInvalid, VerificationError
from audit.events import LONGEST_ENTRY, EntryBody
from audit.multiproof import roots
from audit.release.object_states import ObjectStates
from audit.release.package import KEYS, checkpoint_name, proof_name, trail_name
from audit.release.selection import BY_FIELD, UNFOLLOWED, Scope
from audit.release.stretches import Lines, Members
from audit.release.trail_view import SelectedView, TrailView, as_list, as_object, count_of, text_of
from audit.report import Finding

_MEMBERS = frozenset(EntryBody.__required_keys__)
# A package is from a stranger: what is parsed is bounded, so that no file can take the memory or the day of whoever checks it.
_LARGEST_JSON = 1 << 24
_SHORTEST_LINE = 200
_MOST_WRONG = 100


@dataclass(slots=True)
class Checked:
    """The files under check, what was found so far, and what was looked at."""

    files: Members
    findings: list[Finding] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    scope: Scope = Scope.WHOLE
    views: list[TrailView] = field(default_factory=list)
    sealed: JsonObject | None = None
    """`new` of the workstation's entry that names the sealed document, and where it stands (`place`)."""

    def find(self, place: str, problem: str) -> None:
        self.findings.append(Finding(place, problem))

    def say(self, what: str) -> None:
        self.said.append(what)

    def json_file(self, name: str) -> JsonObject:
        """Return the object in a JSON file that must be in canonical form; a finding and an empty object otherwise."""
        held = self.files.stretches.get(name)
        if held is None:
            self.find(name, "is missing")
            return {}
        if len(held) > _LARGEST_JSON:
            self.find(name, f"is larger than {_LARGEST_JSON} bytes")
            return {}
        data = held[:]
        try:
            found = json.loads(data)
            if canonical(found) != data:
                self.find(name, "is not in canonical form (RFC 8785)")
        except (ValueError, RecursionError, EntryInvalid) as error:
            self.find(name, f"is not canonical JSON: {error}")
            return {}
        if not isinstance(found, dict):
            self.find(name, "is not an object")
            return {}
        return found

    def note(self, name: str, keys: Sequence[VerifierKey]) -> str | None:
        """Return the text of a signed note, or None with a finding."""
        data = self.files.get(name)
        if data is None:
            self.find(name, "is missing")
            return None
        try:
            note = data.decode("utf-8")
            text, _ = verify_note(note, keys)
        except (UnicodeDecodeError, NoteInvalid) as error:
            self.find(name, f"is not a note signed by a key of {KEYS}: {error}")
            return None
        # Base64 has spare bits: only the one form that encoding gives is accepted.
        lines = [f"\N{EM DASH} {signer} {base64.b64encode(value).decode()}\n" for signer, value in split_note(note)[1]]
        if f"{text}\n{''.join(lines)}" != note:
            self.find(name, "is not written in the one form of a signed note")
        return text


def read_trail(state: Checked, origin: str) -> TrailView | None:
    """Step 5: check a trail, or the entries selected of it, and return the view of it; None where that cannot be had."""
    lines = _lines(state, trail_name(origin))
    if lines is None:
        return None
    view = _whole(state, origin, lines) if state.scope is Scope.WHOLE else _selected(state, origin, lines)
    if view is not None and view.origin != origin:
        state.find(f"{trail_name(origin)} line 1 (entry 0)", f"states the origin {view.origin}")
    return view


def _lines(state: Checked, name: str) -> Lines | None:
    data = state.files.stretches.get(name)
    if data is None:
        state.find(name, "is missing")
        return None
    if data[len(data) - 1 :] != b"\n":
        state.find(name, "does not end with a line feed after its last entry")
    if sum(block.count(b"\n") for block in data.blocks()) > len(data) // _SHORTEST_LINE + _MOST_WRONG:  # it may be all line feeds
        state.find(name, "has lines that are too short to be entries")
        return None
    return Lines(data)


def _whole(state: Checked, origin: str, lines: Lines) -> TrailView | None:
    """Each line is the canonical bytes of entry number `line`, linked to the one before; nothing after the last line feed."""
    with ObjectStates() as states:
        return TrailView(lines) if _sound(state, trail_name(origin), lines, states) else None


def _selected(state: Checked, origin: str, lines: Lines) -> SelectedView | None:
    """Each line is an entry, in ascending order, with the history of its object; the proof leads from all to the checkpoint's root."""
    chosen = _chosen(state, trail_name(origin), lines)
    try:
        size = parse_checkpoint(split_note(state.files.get(checkpoint_name(origin), b"").decode())[0]).size
    except (UnicodeDecodeError, NoteInvalid):
        return None  # step 6 names it
    proof, name = state.json_file(proof_name(origin)), proof_name(origin)
    if proof.keys() != {"hashes", "objects", "sizes"}:
        state.find(name, "does not have exactly the members hashes, objects and sizes")
    if chosen is None:
        return None
    try:
        hashes = [_hash(text) for text in as_list(proof.get("hashes"))]
        sizes = [count_of(value) or 0 for value in as_list(proof.get("sizes"))]
        leaves = {seq: leaf_hash(line) for seq, line in chosen.items()}
        return SelectedView(chosen, size, roots(size, leaves, sizes, hashes))
    except (VerificationError, ValueError) as error:
        state.find(name, f"does not prove the entries: {error}")
        return None


def _hash(value: JsonValue) -> bytes:
    text = text_of(value) or ""
    data = base64.b64decode(text, validate=True)
    if base64.b64encode(data).decode() != text:
        raise ValueError("a hash is not the base64 of its bytes")
    return data


def _chosen(state: Checked, name: str, lines: Lines) -> dict[int, bytes] | None:
    """Return the lines by number, checked; None where there is none of entry 0 or one cannot be read."""
    states, sound = dict[tuple[str, str], JsonObject](), True
    chosen: dict[int, bytes] = {}
    last, digest = -1, GENESIS
    for number, line in enumerate(lines, 1):
        body = _body(line)
        seq = body["seq"] if isinstance(body, dict) else None
        place = f"{name} line {number} (entry {seq if type(seq) is int else '?'})"
        if isinstance(body, str) or type(seq) is not int or not 0 <= seq < 1 << 53:
            state.find(place, body if isinstance(body, str) else "its number is none")
            sound = False
            continue
        if seq <= last:
            state.find(place, f"its number does not follow {last}")
            sound = False
        elif seq == last + 1 and body["prev"] != digest:
            state.find(place, "its `prev` is not the digest of the entry before")
        subject = as_object(body["subject"])
        if problem := _history_problem(str(subject["type"]), str(subject["id"]), body, states):
            state.find(place, problem)
        chosen[seq] = line
        last, digest = seq, entry_digest(line)
    if 0 not in chosen:
        state.find(name, "does not hold entry 0")
    return chosen if sound and 0 in chosen else None


def _history_problem(type_: str, id_: str, body: JsonObject, states: dict[tuple[str, str], JsonObject]) -> str | None:
    """Hold `old` against the entries of the object so far; of people and the store by the fields that are followed, of a balance not."""
    new, old = as_object(body["new"]), as_object(body["old"])
    known = states.setdefault((type_, id_), {})
    followed = [name for name in new if name in BY_FIELD.get(type_, new)]
    before = {name: known.get(name) for name in followed}
    known.update({name: new[name] for name in followed})
    if old.keys() != new.keys():
        return "its `old` does not have the fields of its `new`"
    if type_ in UNFOLLOWED or canonical({name: old[name] for name in followed}) == canonical(before):
        return None
    return f"its `old` is not what the entries before lead to: the history of {type_}/{id_} has a hole, or another order"


def _sound(state: Checked, name: str, lines: Lines, states: ObjectStates) -> bool:
    """Check each line; say whether there are any, and whether all can be read as entries."""
    previous, sound, wrong = GENESIS, True, 0
    for seq, line in enumerate(lines):
        problem = _entry_problem(seq, line, previous, states)
        if problem:
            state.find(f"{name} line {seq + 1} (entry {seq})", problem)
            sound, wrong = sound and problem.startswith("its "), wrong + 1
        if wrong > _MOST_WRONG:
            state.find(name, f"is not read beyond line {seq + 1}")
            return False
        previous = entry_digest(line)
    return sound and len(lines) > 0


def _entry_problem(seq: int, line: bytes, previous: str, states: ObjectStates) -> str | None:
    """Return what is wrong with an entry. Problems that begin with `its` leave the entry readable."""
    body = _body(line)
    if isinstance(body, str):
        return body
    subject, new = as_object(body["subject"]), as_object(body["new"])
    known = states.of(str(subject["type"]), str(subject["id"]))
    before = {name: known.get(name) for name in new}
    known.update(new)
    if body["seq"] != seq:
        return f"its number is {body['seq']}"
    if body["prev"] != previous:
        return "its `prev` is not the digest of the entry before"
    return None if body["old"] == before else "its `old` is not what the entries before lead to"


def _body(line: bytes) -> JsonObject | str:
    """Return the entry in a line, or what is wrong with its form."""
    if len(line) > LONGEST_ENTRY:
        return f"is longer than {LONGEST_ENTRY} bytes"
    try:
        body = parse_canonical(line)
    except EntryInvalid as error:
        return error.message
    if not isinstance(body, dict) or body.keys() != _MEMBERS:
        return "does not have exactly the members of an entry"
    subject = as_object(body["subject"])
    if subject.keys() != {"type", "id"} or not isinstance(body["new"], dict) or not isinstance(body["at"], str):
        return "has a member of the wrong type"
    return body
