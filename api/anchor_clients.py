"""The ways out: how a witness and a time-stamping authority are asked over HTTP.

What is asked and what an answer means is in `audit.anchors` and `audit.timestamps`; here is the network, which may be away.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import httpx
from cryptography import x509

from audit.anchors import Cosigned, OtherSize, checkpoint_of, conflict, read_answer
from audit.chain import consistency_proof_of
from audit.cosignature import CosignerKey
from audit.errors import AnchorAway, AnchorRefused
from audit.timestamps import LARGEST_REPLY, QUERY_TYPE, Query, Token, query, query_over, token_in
from audit.witness import AddCheckpoint, format_request

TIMEOUT_S = 20.0
"""A public witness may wait for its own disk and clock."""
SEAL_TIMEOUT_S = 5.0
"""A seal goes without a time stamp rather than keep the person waiting who signed."""
_LARGEST_ANSWER = 1 << 16
_LATER = "Printing and release go on; it is tried again by itself."


@dataclass(frozen=True, slots=True)
class TrailCopy:
    """A trail as it is to be anchored: its signed checkpoint, and its leaf hashes in order, as often as they are asked for."""

    note: str
    leaves: Callable[[], Iterator[bytes]]

    @property
    def origin(self) -> str:
        return checkpoint_of(self.note).origin


def _post(
    http: httpx.Client, url: str, body: bytes, headers: dict[str, str], largest: int, who: str, timeout_s: float = TIMEOUT_S
) -> tuple[int, bytes]:
    """Send a body and return status and answer, no more than `largest` bytes of it. Raises AnchorAway, AnchorRefused."""
    try:
        with http.stream("POST", url, content=body, headers=headers, timeout=timeout_s, follow_redirects=False) as answer:
            data = bytearray()
            for block in answer.iter_bytes():
                data += block
                if len(data) > largest:
                    raise AnchorRefused(f"{who} answers with more than {largest} bytes.", remedy="Check its address.")
            return answer.status_code, bytes(data)
    except RuntimeError as error:  # the client was closed under it: the process ends
        if not http.is_closed:
            raise
        raise AnchorAway(f"{who} was not asked: this process ends.", remedy=_LATER) from error
    except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
        words = str(error) or type(error).__name__
        raise AnchorAway(f"{who} cannot be reached at {url} ({words}).", remedy=_LATER) from error


@dataclass(frozen=True, slots=True)
class WitnessClient:
    """One witness: its submission prefix and the key by which its cosignatures are known."""

    url: str
    key: CosignerKey
    http: httpx.Client

    def cosign(self, trail: TrailCopy, known: int) -> tuple[Cosigned, int]:
        """Have a checkpoint cosigned; `known` is the size last cosigned as far as is known here.

        Returns the note with the cosignature, and the size the witness really knew. Where it names another size, it is asked once more
        from there. Raises AnchorAway, AnchorRefused, TrailDisputed.
        """
        stated = checkpoint_of(trail.note)
        old = min(known, stated.size)
        answer = self._ask(trail, old, stated.size)
        if isinstance(answer, OtherSize):
            old = conflict(answer, stated, self.key, tried=old)
            answer = self._ask(trail, old, stated.size)
        if isinstance(answer, OtherSize):
            conflict(answer, stated, self.key, tried=old)
            raise AnchorAway(f"The witness {self.key.name} was given another checkpoint meanwhile.", remedy=_LATER)
        return answer, old

    def _ask(self, trail: TrailCopy, old: int, size: int) -> Cosigned | OtherSize:
        proof = consistency_proof_of(trail.leaves(), old, size) if old else []
        body = format_request(AddCheckpoint(old, tuple(proof), trail.note))
        url = f"{self.url.rstrip('/')}/add-checkpoint"
        status, data = _post(self.http, url, body, {}, _LARGEST_ANSWER, f"The witness {self.key.name}")
        return read_answer(status, data, trail.note, self.key)


@dataclass(frozen=True, slots=True)
class AuthorityClient:
    """One time-stamping authority: its address, the certificates it is believed by, and how the site calls it."""

    url: str
    name: str
    trusted: Sequence[x509.Certificate]
    http: httpx.Client

    def stamp(self, note: str) -> tuple[bytes, Token]:
        """Get a token over a note, verified; return the answer's bytes and what it says. Raises AnchorAway, AnchorRefused."""
        return self._ask(query(note), TIMEOUT_S)

    def token(self, digest: bytes) -> bytes:
        """Get a token over a SHA-256, verified, as its DER: for a seal, which a person waits for. Raises AnchorAway, AnchorRefused."""
        return token_in(self._ask(query_over(digest), SEAL_TIMEOUT_S)[0])

    def _ask(self, asked: Query, timeout_s: float) -> tuple[bytes, Token]:
        who = f"The time-stamping authority {self.name}"
        status, reply = _post(self.http, self.url, asked.data, {"Content-Type": QUERY_TYPE}, LARGEST_REPLY, who, timeout_s)
        if status >= 500 or status == 429:
            raise AnchorAway(f"{who} answers {status}.", remedy=_LATER)
        if status != 200:
            raise AnchorRefused(f"{who} answers {status}.", remedy="Check its address, and whether it wants an account.")
        return reply, asked.verified(reply, self.trusted)
