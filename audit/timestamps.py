"""RFC 3161 time-stamp tokens: that somebody else's clock had seen a checkpoint, or the seal of a document, by then.

A token says that a SHA-256 was shown to the authority by its time, and is believed where the authority's certificate leads
to a root that came from outside. Certificates have to be valid at the token's time, not today: an old token stays good when they
expire. What is not looked at is revocation. Nothing here speaks to a network. Sources: RFC 3161, RFC 5816.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from asn1crypto import algos, tsp
from cryptography import x509
from rfc3161_client import TimeStampResponse, VerifierBuilder, decode_timestamp_response
from rfc3161_client.errors import VerificationError as TokenRejected

from audit.clock import utc_text
from audit.errors import AnchorRefused, NoteInvalid

QUERY_TYPE, REPLY_TYPE = "application/timestamp-query", "application/timestamp-reply"
LARGEST_REPLY = 1 << 17
_SHA256_OID = "2.16.840.1.101.3.4.2.1"
_OTHER = "Nothing of it was kept. Ask the authority, or name the certificates that belong to it."


@dataclass(frozen=True, slots=True)
class Token:
    """A verified token: RFC 3339 UTC time, and the subject of the certificate that signed it."""

    at: str
    authority: str


@dataclass(frozen=True, slots=True)
class Query:
    """A request for a token over what has one SHA-256: the bytes to send, and the nonce that the answer must carry."""

    data: bytes
    nonce: int
    digest: bytes

    def verified(self, reply: bytes, trusted: Sequence[x509.Certificate]) -> Token:
        """Check the answer to this request. Raises AnchorRefused as `verify_token` does."""
        return _verified(reply, self.digest, trusted, self.nonce)


def query(note: str) -> Query:
    """Return a request over the SHA-256 of a note."""
    return query_over(hashlib.sha256(note.encode()).digest())


def query_over(digest: bytes) -> Query:
    """Return a request over a SHA-256, with a random nonce, that asks for the certificates. Source: RFC 3161 §2.4.1."""
    nonce = secrets.randbits(64)
    imprint = tsp.MessageImprint({"hash_algorithm": algos.DigestAlgorithm({"algorithm": "sha256"}), "hashed_message": digest})
    request = tsp.TimeStampReq({"version": "v1", "message_imprint": imprint, "nonce": nonce, "cert_req": True})
    return Query(request.dump(), nonce, digest)


def token_in(reply: bytes) -> bytes:
    """Return the TimeStampToken (DER) of an answer that was verified."""
    token: bytes = tsp.TimeStampResp.load(reply)["time_stamp_token"].dump()
    return token


def read_certificates(pem: bytes, what: str) -> tuple[x509.Certificate, ...]:
    """Read the certificates of a PEM file. Raises NoteInvalid where it holds none."""
    try:
        found = x509.load_pem_x509_certificates(pem)
    except ValueError as error:
        raise NoteInvalid(f"{what} holds no certificate in PEM form.", remedy="Name the root certificates of the authority.") from error
    return tuple(found)


def verify_token(reply: bytes, note: bytes, trusted: Sequence[x509.Certificate]) -> Token:
    """Check an answer (TimeStampResp, DER) over a note against trusted certificates; return time and authority.

    Self-signed certificates among `trusted` are roots, the others intermediates. Raises
    AnchorRefused naming what does not fit. Source: RFC 3161 §2.4.2 and §2.2.
    """
    return _verified(reply, hashlib.sha256(note).digest(), trusted, None)


def _verified(reply: bytes, digest: bytes, trusted: Sequence[x509.Certificate], nonce: int | None) -> Token:
    response = _decode(reply)
    _check_imprint(response, digest)
    if nonce is not None and response.tst_info.nonce != nonce:
        raise AnchorRefused("The token answers another request: its nonce is not the one that was sent.", remedy=_OTHER)
    roots = [certificate for certificate in trusted if certificate.issuer == certificate.subject]
    if not roots:
        raise AnchorRefused("There is no root certificate to check the token against.", remedy="Name the authority's root certificate.")
    between = [certificate for certificate in trusted if certificate.issuer != certificate.subject]
    try:
        VerifierBuilder(roots=roots, intermediates=between, nonce=nonce).build().verify(response, digest)
    except (TokenRejected, ValueError) as error:
        raise AnchorRefused(f"The token is not to be believed: {error}.", remedy=_OTHER) from error
    return Token(utc_text(_time(response)), _signer(response))


def _decode(reply: bytes) -> TimeStampResponse:
    if len(reply) > LARGEST_REPLY:
        raise AnchorRefused(f"The answer is larger than {LARGEST_REPLY} bytes.", remedy=_OTHER)
    try:
        response = decode_timestamp_response(reply)
        if response.status not in (0, 1):
            words = "; ".join(response.status_string)
            raise AnchorRefused(f"The authority refuses (status {response.status}){': ' if words else ''}{words}.", remedy=_OTHER)
        response.tst_info  # noqa: B018 a granted answer without a token cannot be read
    except (ValueError, TypeError) as error:
        raise AnchorRefused(f"The answer is no time-stamp answer: {error}.", remedy=_OTHER) from error
    return response


def _check_imprint(response: TimeStampResponse, digest: bytes) -> None:
    imprint = response.tst_info.message_imprint
    if imprint.hash_algorithm.dotted_string != _SHA256_OID or imprint.message != digest:
        raise AnchorRefused("The token is over something else than what was shown.", remedy=_OTHER)


def _time(response: TimeStampResponse) -> datetime:
    at = response.tst_info.gen_time
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at


def _signer(response: TimeStampResponse) -> str:
    """Return the subject of the certificate that the signature names; the caller has had it verified."""
    signers = list(response.signed_data.signer_infos)
    for certificate in _certificates(response.signed_data.certificates):
        if any((certificate.issuer, certificate.serial_number) == (signer.issuer, signer.serial_number) for signer in signers):
            return certificate.subject.rfc4514_string()
    return "an authority whose certificate is not in the token"


def _certificates(encoded: Iterable[bytes]) -> list[x509.Certificate]:
    return [x509.load_der_x509_certificate(data) for data in encoded]
