"""Keys that seal documents: ECDSA on P-256 under a certificate for sealing, in a file or in hardware."""

from __future__ import annotations

import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from audit.errors import SealFailed

Stamp = Callable[[bytes], bytes]
"""From a SHA-256 digest to an RFC 3161 TimeStampToken (DER). Raises a DosewrightError where the authority gives none."""


class DocumentKey(Protocol):
    """The key that seals: in a file, or in hardware.

    `certificate` and `authorities` (issuers, nearest first) are DER. `sign` returns a DER ECDSA signature with SHA-256 over `data`, and
    raises a DosewrightError where the key does not answer.
    """

    @property
    def certificate(self) -> bytes: ...

    @property
    def authorities(self) -> tuple[bytes, ...]: ...

    def sign(self, data: bytes) -> bytes: ...


@dataclass(frozen=True, slots=True)
class FileKey:
    """A sealing key in a file that its account alone can read."""

    certificate: bytes
    authorities: tuple[bytes, ...]
    _key: ec.EllipticCurvePrivateKey

    @classmethod
    def load(cls, certificate: Path, key: Path, authority: Path) -> FileKey:
        """Read PEM files. Raises SealFailed for a file that is missing, open to others, no P-256 key, or not that of the certificate."""
        try:
            if stat.S_IMODE(key.stat().st_mode) & 0o077:
                raise SealFailed(f"The key {key} can be read by others.", remedy="Let its account alone read it (0600).")
            own = x509.load_pem_x509_certificate(certificate.read_bytes())
            issuer = x509.load_pem_x509_certificate(authority.read_bytes())
            private = serialization.load_pem_private_key(key.read_bytes(), None)
        except (OSError, ValueError, TypeError) as error:
            raise SealFailed(
                f"The seal of documents cannot be read: {error}.", remedy="Put back its certificate, key and authority."
            ) from error
        if not isinstance(private, ec.EllipticCurvePrivateKey) or not isinstance(private.curve, ec.SECP256R1):
            raise SealFailed(f"The key {key} is not a P-256 key.", remedy="Make a sealing key anew.")
        if private.public_key() != own.public_key():
            raise SealFailed(f"The key {key} is not that of {certificate}.", remedy="Put back the key that belongs to the certificate.")
        encoding = serialization.Encoding.DER
        return cls(own.public_bytes(encoding), (issuer.public_bytes(encoding),), private)

    def sign(self, data: bytes) -> bytes:
        return self._key.sign(data, ec.ECDSA(hashes.SHA256()))


def common_name(certificate: x509.Certificate) -> str:
    """Return whom a certificate names."""
    names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(names[0].value) if names else certificate.subject.rfc4514_string()
