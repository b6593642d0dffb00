"""Which entries of a trail are proved from outside, by whom and since when; offline, from what lies in the trail.

The proofs are in the workstation's trail, also those over its cells' trails. A proof counts only with a key or certificate that came from
outside; one for which none was given is named, and shows nothing. Works on a store and on a package alike: the caller says where the
attachments are, and which root and which key a trail has at a size. Sources: C2SP tlog-cosignature, RFC 3161.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from cryptography import x509

from audit.anchors import AUTHORITY, COSIGNED, STAMPED, TOKEN, WITNESS, posix_text
from audit.canonical import JsonObject
from audit.checkpoint import Checkpoint, VerifierKey, parse_checkpoint, verify_note
from audit.cosignature import CosignerKey, cosignatures
from audit.errors import DosewrightError, NoteInvalid
from audit.events import EventKind
from audit.report import Finding
from audit.timestamps import verify_token


@dataclass(frozen=True, slots=True)
class Trusted:
    """What came from outside: keys of witnesses, certificates of time-stamping authorities, and notes that a witness still has."""

    witnesses: Sequence[CosignerKey] = ()
    certificates: Sequence[x509.Certificate] = ()
    notes: Sequence[str] = ()


NOTHING_OUTSIDE = Trusted()


@dataclass(frozen=True, slots=True)
class ProofEntry:
    """An entry that holds a proof: its place for a person, kind, `new`, and the SHA-256 of its attachments by name."""

    place: str
    kind: str
    new: JsonObject
    attached: dict[str, str]


@dataclass(frozen=True, slots=True)
class Trails:
    """What is known of the trails that the proofs are about.

    `sizes` has the number of entries of each trail that is at hand; `root(origin, size)` is the root over the first entries, None where
    that trail or size is not at hand; `keys(origin, size)` are the keys whose checkpoint of this size is good, None where the trail is not
    known at all; `blob(sha256)` is an attachment, None where absent.
    """

    sizes: Mapping[str, int]
    root: Callable[[str, int], bytes | None]
    keys: Callable[[str, int], Sequence[VerifierKey] | None]
    blob: Callable[[str], bytes | None]


@dataclass(frozen=True, slots=True)
class Proof:
    """Entries 0 to size − 1 of a trail were there by `at` (RFC 3339, the other side's clock), as `by` shows."""

    origin: str
    size: int
    at: str
    by: str
    what: str


@dataclass(slots=True)
class AnchorCheck:
    """What the proofs show. `proofs` are verified; `unknown` are names for which no key or certificate was given."""

    proofs: list[Proof] = field(default_factory=list)
    unknown: dict[tuple[str, str], int] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)

    def size(self, origin: str) -> int:
        """Return how many entries of a trail are proved from outside."""
        return max((proof.size for proof in self.proofs if proof.origin == origin), default=0)

    def lines(self, sizes: Mapping[str, int]) -> list[str]:
        """Say for a person what is anchored outside, by whom, up to which entry, since when, and what is not."""
        said: list[str] = []
        for origin, total in sizes.items():
            best: dict[str, Proof] = {}
            for proof in self.proofs:
                if proof.origin == origin and proof.size >= (best[proof.by].size if proof.by in best else 0):
                    best[proof.by] = proof
            said += [f"anchored outside: {origin}, entries 0 to {p.size - 1}, by {p.at} ({p.what} {p.by})" for p in best.values()]
            proved = self.size(origin)
            if not proved:
                said.append(
                    f"NOT anchored outside: {origin}, nothing of it: no proof by a witness or authority that was named from outside"
                )
            elif total > proved:
                said.append(f"NOT anchored outside: {origin}, entries {proved} to {total - 1} came after the last proof")
        for (what, by), count in self.unknown.items():
            said.append(f"{count} proofs by the {what} {by} show nothing: no key or certificate of it was given from outside")
        return said


def check_anchors(entries: Iterable[ProofEntry], trails: Trails, trusted: Trusted) -> AnchorCheck:
    """Check every proof in the entries, and every note from outside; return what they show, whatever they hold."""
    found = AnchorCheck()
    for entry in entries:
        try:
            _check(entry, trails, trusted, found)
        except DosewrightError as error:
            found.findings.append(Finding(entry.place, error.message))
    for number, note in enumerate(trusted.notes, 1):
        try:
            _outside(note, trails, trusted, found, f"note {number} from outside")
        except DosewrightError as error:
            found.findings.append(Finding(f"note {number} from outside", error.message))
    return found


def _check(entry: ProofEntry, trails: Trails, trusted: Trusted, found: AnchorCheck) -> None:
    stamped = entry.kind == EventKind.TRAIL_CHECKPOINT_TIMESTAMPED
    note = _attached(entry, STAMPED if stamped else COSIGNED, trails)
    text = note.decode("utf-8", "replace")
    stated = _fits(entry, _checkpoint(text, trails, entry.place, found), trails, found)
    by = str(entry.new.get("by"))
    if stamped:
        _stamped(entry, note, stated, by, trails, trusted, found)
        return
    keys = [key for key in trusted.witnesses if key.name == by]
    proofs = cosignatures(text, keys)
    if not proofs:
        found.unknown[WITNESS, by] = found.unknown.get((WITNESS, by), 0) + 1
    for proof in proofs:
        found.proofs.append(Proof(stated.origin, stated.size, posix_text(proof.at), proof.name, WITNESS))


def _stamped(entry: ProofEntry, note: bytes, stated: Checkpoint, by: str, trails: Trails, trusted: Trusted, found: AnchorCheck) -> None:
    if not trusted.certificates:
        found.unknown[AUTHORITY, by] = found.unknown.get((AUTHORITY, by), 0) + 1
        return
    token = verify_token(_attached(entry, TOKEN, trails), note, trusted.certificates)
    found.proofs.append(Proof(stated.origin, stated.size, token.at, token.authority, AUTHORITY))


def _outside(note: str, trails: Trails, trusted: Trusted, found: AnchorCheck, place: str) -> None:
    """A note that did not come with the trail: its root is what the trail had then, or the trail is another now."""
    stated = _checkpoint(note, trails, place, found)
    _compare(stated, trails, place, found)
    for proof in cosignatures(note, trusted.witnesses):
        found.proofs.append(Proof(stated.origin, stated.size, posix_text(proof.at), proof.name, WITNESS))


def _checkpoint(note: str, trails: Trails, place: str, found: AnchorCheck) -> Checkpoint:
    """Read a note's checkpoint, signed by the key that its trail had at its size. Raises NoteInvalid."""
    stated = parse_checkpoint(note.partition("\n\n")[0] + "\n")
    keys = trails.keys(stated.origin, stated.size)
    if keys is None:
        found.findings.append(Finding(place, f"is about {stated.origin}, a trail that is not known here"))
    else:
        verify_note(note, keys)
    return stated


def _fits(entry: ProofEntry, stated: Checkpoint, trails: Trails, found: AnchorCheck) -> Checkpoint:
    """Hold what the entry says against its note, and the note against the trail."""
    root = base64.b64encode(stated.root).decode()
    if (entry.new.get("origin"), entry.new.get("size"), entry.new.get("root")) != (stated.origin, stated.size, root):
        raise NoteInvalid("states another origin, size or root than the note that is attached")
    _compare(stated, trails, entry.place, found)
    return stated


def _compare(stated: Checkpoint, trails: Trails, place: str, found: AnchorCheck) -> None:
    present = trails.sizes.get(stated.origin)
    if present is not None and stated.size > present:
        what = f"counts {stated.size} entries of {stated.origin}, which has {present} here: its end was cut off, or this is an older copy"
        found.findings.append(Finding(place, what))
        return
    root = trails.root(stated.origin, stated.size)
    if root is not None and root != stated.root:
        found.findings.append(
            Finding(
                place, f"counts {stated.size} entries of {stated.origin} with another root: they are not the entries that were anchored"
            )
        )


def _attached(entry: ProofEntry, name: str, trails: Trails) -> bytes:
    sha256 = entry.attached.get(name)
    data = None if sha256 is None else trails.blob(sha256)
    if data is None:
        raise NoteInvalid(f"holds no {name}")
    return data
