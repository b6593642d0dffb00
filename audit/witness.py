"""The witness: what it answers to a submitted checkpoint, and what a client makes of the answer. Pure.

A witness keeps, for each log it knows, the largest checkpoint it cosigned. It cosigns another only where a proof shows that the other
extends it, so nobody can show two different histories of one trail, or an older one, and find it cosigned twice.
Sources: C2SP tlog-witness (add-checkpoint), C2SP tlog-checkpoint, RFC 6962 §2.1.2.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass

from audit.chain import EMPTY_ROOT, HASH_BYTES, verify_consistency
from audit.checkpoint import Checkpoint, VerifierKey, from_base64, parse_checkpoint, split_note, verify_note
from audit.errors import NoteInvalid, VerificationError

MOST_PROOF_LINES = 63
LARGEST_REQUEST = 1 << 17
"""Bytes: 63 proof lines, and a note with sixteen signatures of 5 kB."""

OK, BAD_REQUEST, FORBIDDEN, NOT_FOUND, CONFLICT, UNPROCESSABLE = 200, 400, 403, 404, 409, 422
SIZE_TYPE = "text/x.tlog.size"
_LARGEST_SIZE = (1 << 63) - 1


@dataclass(frozen=True, slots=True)
class AddCheckpoint:
    """A request: the size the witness is thought to know, the consistency proof from there, the checkpoint as a note."""

    old: int
    proof: tuple[bytes, ...]
    note: str

    @property
    def checkpoint(self) -> Checkpoint:
        """What the note states, unverified. Raises NoteInvalid."""
        return parse_checkpoint(split_note(self.note)[0])


@dataclass(frozen=True, slots=True)
class Seen:
    """The latest checkpoint that was cosigned for an origin; before the first, the empty tree."""

    size: int = 0
    root: bytes = EMPTY_ROOT
    note: str = ""


@dataclass(frozen=True, slots=True)
class Accepted:
    """The checkpoint extends the one seen before: it is to be kept, and then cosigned over `text`."""

    checkpoint: Checkpoint
    text: str


@dataclass(frozen=True, slots=True)
class Refused:
    """Status and words of a refusal. `evidence`: the log signed what does not fit, and that is to be kept; `latest` goes with a 409."""

    status: int
    reason: str
    evidence: bool = False
    latest: int | None = None


def format_request(request: AddCheckpoint) -> bytes:
    """Return the body of a request. Raises NoteInvalid for more than 63 proof lines."""
    if len(request.proof) > MOST_PROOF_LINES or request.old < 0:
        raise NoteInvalid(f"A request has at most {MOST_PROOF_LINES} proof lines and no negative size.")
    lines = [f"old {request.old}\n", *(f"{base64.b64encode(node).decode()}\n" for node in request.proof), "\n", request.note]
    return "".join(lines).encode()


def parse_request(body: bytes) -> AddCheckpoint:
    """Read the body of a request. Raises NoteInvalid naming the line that is wrong."""
    if len(body) > LARGEST_REQUEST:
        raise NoteInvalid(f"The request is larger than {LARGEST_REQUEST} bytes.")
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise NoteInvalid("The request is not UTF-8.") from error
    head, gap, note = text.partition("\n\n")
    first, *proof = head.split("\n")
    if not gap or not first.startswith("old "):
        raise NoteInvalid("The request does not begin with `old`, a size, proof lines and an empty line.")
    if len(proof) > MOST_PROOF_LINES:
        raise NoteInvalid(f"The request has {len(proof)} proof lines; {MOST_PROOF_LINES} are the most.")
    nodes = tuple(from_base64(line, f"Proof line {number}") for number, line in enumerate(proof, 1))
    if any(len(node) != HASH_BYTES for node in nodes):
        raise NoteInvalid("A proof line is not a hash of 32 bytes.")
    return AddCheckpoint(read_size(first.removeprefix("old ")), nodes, note)


def read_size(text: str) -> int:
    """Read a tree size: decimal, no leading zeroes, below 2^63. Raises NoteInvalid."""
    if not (text.isascii() and text.isdigit()) or (text != "0" and text.startswith("0")) or len(text) > 19 or int(text) > _LARGEST_SIZE:
        raise NoteInvalid(f"{text[:40]!r} is not a tree size in decimal.")
    return int(text)


def judge(request: AddCheckpoint, keys: Sequence[VerifierKey] | None, seen: Seen) -> Accepted | Refused:
    """Decide on a request. `keys` are those trusted for the checkpoint's origin, None where the origin is unknown.

    The checks are those of C2SP tlog-witness in its order. Raises NoteInvalid where the note is no checkpoint (a bad request).
    """
    stated = request.checkpoint
    if keys is None:
        return Refused(NOT_FOUND, f"this witness knows no log {stated.origin}")
    try:
        text, _ = verify_note(request.note, [key for key in keys if key.name == stated.origin])
    except NoteInvalid as error:
        return Refused(FORBIDDEN, error.message)
    if request.old > stated.size:
        return Refused(BAD_REQUEST, f"the old size {request.old} is larger than the checkpoint's {stated.size}")
    forked = stated.size == seen.size and stated.root != seen.root
    if request.old != seen.size:
        return Refused(CONFLICT, f"the latest cosigned size is {seen.size}", evidence=forked, latest=seen.size)
    if forked:
        return Refused(CONFLICT, f"another root was cosigned for size {seen.size}", evidence=True, latest=seen.size)
    problem = _proof_problem(request, seen, stated)
    return Accepted(stated, text) if problem is None else Refused(UNPROCESSABLE, problem, evidence=True)


def _proof_problem(request: AddCheckpoint, seen: Seen, stated: Checkpoint) -> str | None:
    if seen.size == 0:
        return "the proof from size 0 is not empty" if request.proof else None
    try:
        verify_consistency(seen.size, seen.root, stated.size, stated.root, request.proof)
    except VerificationError as error:
        return f"the checkpoint does not extend the one of size {seen.size} that was cosigned: {error.message}"
    return None
