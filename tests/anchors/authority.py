"""A time-stamping authority of openssl: its own root, an issuing certificate, and `openssl ts` to answer."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_CONFIGURATION = """
[tsa]
default_tsa = one
[one]
serial = {folder}/serial
crypto_device = builtin
default_policy = 1.2.3.4.1
digests = sha256
signer_digest = sha256
ess_cert_id_alg = sha256
accuracy = secs:1
ordering = no
tsa_name = yes
"""
_DAY = timedelta(days=1)


@dataclass(frozen=True)
class Authority:
    """Files of one authority. `root` is what a site has to trust."""

    folder: Path
    root: x509.Certificate

    def reply(self, query: bytes) -> bytes:
        """Return openssl's answer to a query (TimeStampReq, DER)."""
        (self.folder / "query.tsq").write_bytes(query)
        files = ("-queryfile", "query.tsq", "-signer", "tsa.pem", "-inkey", "tsa.key", "-out", "reply.tsr")
        subprocess.run(["openssl", "ts", "-reply", "-config", "tsa.cnf", *files], cwd=self.folder, check=True, capture_output=True)
        return (self.folder / "reply.tsr").read_bytes()

    @property
    def pem(self) -> bytes:
        return self.root.public_bytes(serialization.Encoding.PEM)


def _certificate(
    name: str, key: ec.EllipticCurvePrivateKey, issuer: str, signer: ec.EllipticCurvePrivateKey, days: tuple[int, int], stamping: bool
) -> x509.Certificate:
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + days[0] * _DAY)
        .not_valid_after(now + days[1] * _DAY)
        .add_extension(x509.BasicConstraints(ca=not stamping, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
    )
    if stamping:
        usage = x509.KeyUsage(True, False, False, False, False, False, False, False, False)
        builder = builder.add_extension(usage, critical=True)
        builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.TIME_STAMPING]), critical=True)
    else:
        usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
        builder = builder.add_extension(usage, critical=True)
    return builder.sign(signer, hashes.SHA256())


def make_authority(folder: Path, name: str = "Test Time Authority", days: tuple[int, int] = (-1, 1)) -> Authority:
    """Make an authority whose stamping certificate is valid from day `days[0]` to `days[1]`, counted from now."""
    folder.mkdir()
    root_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    root = _certificate(f"{name} Root", root_key, f"{name} Root", root_key, (-30, 30), False)
    stamping = _certificate(name, key, f"{name} Root", root_key, days, True)
    (folder / "root.pem").write_bytes(root.public_bytes(serialization.Encoding.PEM))
    (folder / "tsa.pem").write_bytes(stamping.public_bytes(serialization.Encoding.PEM))
    (folder / "tsa.key").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    (folder / "serial").write_text("01\n")
    (folder / "tsa.cnf").write_text(_CONFIGURATION.format(folder=folder))
    return Authority(folder, root)
