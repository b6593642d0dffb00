"""Certificates of one installation, made on the spot: for the talk between workstation and cells, and for the seal on documents.

One certification authority per site for the talk, a client certificate for the workstation, a server certificate per cell; a second
authority for the seal, so that whoever trusts a site's documents trusts nothing else of it. All keys are P-256; key files are readable
by their account alone. An authority's own key is thrown away when all are made: whoever later owns the folder cannot admit a
further peer with it, nor another seal.
"""

from __future__ import annotations

import ipaddress
import os
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_LIFETIME = timedelta(days=825)
_SEAL_LIFETIME = timedelta(days=1095)
_DOCUMENT_SIGNING = x509.ObjectIdentifier("1.3.6.1.5.5.7.3.36")
"""id-kp-documentSigning, RFC 9336. Viewers that judge by NSS know it not yet, and ask for e-mail protection: the certificate has both."""


@dataclass(frozen=True, slots=True)
class PeerFiles:
    """Where the certificate and the key of one peer lie."""

    certificate: Path
    key: Path


@dataclass(frozen=True, slots=True)
class SealFiles:
    """Where the certificate and the key of the site's seal on documents lie, and the authority that issued it."""

    certificate: Path
    key: Path
    authority: Path


@dataclass(frozen=True, slots=True)
class _Authority:
    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey


def write_private(path: Path, data: bytes) -> None:
    """Write a file that only its account can read (0600); an existing file is refused."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as handle:
        handle.write(data)


def make_certificates(folder: Path, *, site: str, workstation: str, cells: tuple[str, ...]) -> tuple[Path, dict[str, PeerFiles]]:
    """Make the authority and one certificate per peer; return the authority's certificate file and the peers' files."""
    folder.mkdir(parents=True, exist_ok=True)
    authority = _authority(f"Dosewright installation {site}")
    ca_file = folder / "ca.pem"
    ca_file.write_bytes(authority.certificate.public_bytes(serialization.Encoding.PEM))
    files = {workstation: _peer(folder, authority, workstation, ExtendedKeyUsageOID.CLIENT_AUTH)}
    for cell in cells:
        files[cell] = _peer(folder, authority, cell, ExtendedKeyUsageOID.SERVER_AUTH)
    return ca_file, files


def make_seal(files: SealFiles, *, site: str, now: datetime | None = None) -> None:
    """Make the certificate and the key that seal a site's documents, with an authority of their own, at these places.

    They are valid from `now` (the machine's clock where it is not given) for three years.
    """
    for path in (files.certificate, files.authority):
        path.parent.mkdir(parents=True, exist_ok=True)
    authority = _authority(f"Dosewright documents of {site}", _SEAL_LIFETIME, now)
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = (
        _builder(f"Dosewright seal of {site}", authority.certificate.subject, key.public_key(), _SEAL_LIFETIME, now)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(authority=False, seal=True), critical=True)
        .add_extension(x509.ExtendedKeyUsage([_DOCUMENT_SIGNING, ExtendedKeyUsageOID.EMAIL_PROTECTION]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key()), critical=False)
        .sign(authority.key, hashes.SHA256())
    )
    write_private(files.key, _private_bytes(key))  # first: a key that is there already is refused before anything is overwritten
    files.authority.write_bytes(authority.certificate.public_bytes(serialization.Encoding.PEM))
    files.certificate.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))


def _private_bytes(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _builder(
    subject: str, issuer: x509.Name, public_key: ec.EllipticCurvePublicKey, lifetime: timedelta = _LIFETIME, now: datetime | None = None
) -> x509.CertificateBuilder:
    start = (now or datetime.now(UTC)) - timedelta(minutes=5)
    return (
        x509.CertificateBuilder()
        .subject_name(_name(subject))
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + lifetime)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
    )


def _key_usage(*, authority: bool, seal: bool = False) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not authority,
        content_commitment=seal,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=authority,
        crl_sign=authority,
        encipher_only=False,
        decipher_only=False,
    )


def _authority(name: str, lifetime: timedelta = _LIFETIME, now: datetime | None = None) -> _Authority:
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = (
        _builder(name, _name(name), key.public_key(), lifetime, now)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(authority=True), critical=True)
        .sign(key, hashes.SHA256())
    )
    return _Authority(certificate, key)


def _peer(folder: Path, authority: _Authority, name: str, usage: x509.ObjectIdentifier) -> PeerFiles:
    key = ec.generate_private_key(ec.SECP256R1())
    names = x509.SubjectAlternativeName([x509.DNSName(name), x509.DNSName("localhost"), x509.IPAddress(ipaddress.IPv4Address("127.0.0.1"))])
    certificate = (
        _builder(name, authority.certificate.subject, key.public_key())
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(authority=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key()), critical=False)
        .add_extension(names, critical=False)
        .sign(authority.key, hashes.SHA256())
    )
    files = PeerFiles(folder / f"{name}.pem", folder / f"{name}.key")
    files.certificate.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    write_private(files.key, _private_bytes(key))
    return files
