"""What is known of keys and certificates on the disk. No key is used to sign, and no PIN is tried."""

from __future__ import annotations

import os
import ssl
import stat
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization

from api.doctor.gather_machine import seconds_of
from api.doctor.keys import CertificateFacts, KeyFacts, SignerFacts, TokenFacts
from audit.checkpoint import SigningKey
from audit.errors import DosewrightError
from audit.key_file import incoming_path
from audit.signer import TokenEntry, read_pin


def key_file(what: str, path: Path, load: Callable[[Path], object] | None = None, *, absent_is_fine: str = "") -> KeyFacts:
    """Look at a key file, and load it as the product would."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return KeyFacts(what, str(path), exists=False, absent_is_fine=absent_is_fine)
    except OSError as error:
        return KeyFacts(what, str(path), exists=True, account=os.geteuid(), problem=f"{path} cannot be looked at: {error.strerror}")
    problem, remedy = "", ""
    if load is not None:
        try:
            load(path)
        except DosewrightError as error:
            problem, remedy = error.message, error.remedy
    return KeyFacts(
        what, str(path), True, stat.S_IMODE(found.st_mode), found.st_uid, os.geteuid(), problem=problem, remedy=remedy
    )  # fmt: skip


def signer(name: str, path: Path, trail_key: str) -> SignerFacts:
    """Compare the key file with the key that the trail names."""
    try:
        present = SigningKey.load(path).verifier_key
    except DosewrightError:  # the finding on the file says why
        present = ""
    return SignerFacts(name, present, trail_key, waiting=incoming_path(path).exists())


def token(name: str, entry: TokenEntry, folder: Path) -> TokenFacts:
    """Find the token without logging in: a few wrong PINs lock it."""
    module = folder / entry.module
    if not module.is_file():
        return TokenFacts(
            name, entry.token, f"there is no PKCS#11 module at {module}", "Install the token's software, or correct `module`."
        )
    try:
        read_pin(None if entry.pin_file is None else folder / entry.pin_file)
    except DosewrightError as error:
        return TokenFacts(name, entry.token, error.message, error.remedy)
    try:
        import pkcs11
        from pkcs11.exceptions import PKCS11Error
    except ImportError as error:
        return TokenFacts(name, entry.token, f"PKCS#11 support is not installed ({error})", "Install dosewright[hsm].")
    try:
        pkcs11.lib(str(module)).get_token(token_label=entry.token)
    except (PKCS11Error, RuntimeError, OSError) as error:
        return TokenFacts(name, entry.token, f"the token {entry.token} cannot be reached: {error or type(error).__name__}")
    return TokenFacts(name, entry.token)


def certificate(
    what: str, path: Path, *, key: Path | None = None, issuer: Path | None = None, wanted_names: tuple[str, ...] = ()
) -> CertificateFacts:
    """Read a certificate, and compare it with its key and with who issued it."""
    try:
        found = x509.load_pem_x509_certificate(path.read_bytes())
        fits = None if key is None else _key_fits(found, key)
        issued = None if issuer is None else _issued_by(found, x509.load_pem_x509_certificate(issuer.read_bytes()))
        names = _names(found)
    except OSError as error:
        return CertificateFacts(what, str(path), problem=f"{error.filename or path} cannot be read: {error.strerror}")
    except (ValueError, TypeError) as error:
        return CertificateFacts(what, str(path), problem=f"{path}, its key or its authority cannot be read: {error}")
    until: datetime = found.not_valid_after_utc
    return CertificateFacts(
        what=what,
        path=str(path),
        not_before_s=seconds_of(found.not_valid_before_utc),
        not_after_s=seconds_of(until),
        until=until.date().isoformat(),
        key_fits=fits,
        issuer_fits=issued,
        names=names,
        wanted_names=wanted_names,
    )


def _key_fits(certificate: x509.Certificate, key: Path) -> bool:
    private = serialization.load_pem_private_key(key.read_bytes(), None)
    form = (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return private.public_key().public_bytes(*form) == certificate.public_key().public_bytes(*form)


def _issued_by(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (InvalidSignature, ValueError, TypeError):
        return False
    return True


def _names(certificate: x509.Certificate) -> tuple[str, ...]:
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    addresses = tuple(str(address) for address in found.get_values_for_type(x509.IPAddress))
    return (*found.get_values_for_type(x509.DNSName), *addresses)


def same_certificate(shown: bytes, path: Path) -> bool:
    """Say whether what a server shows (DER) is the first certificate of a PEM file. Raises OSError, ValueError."""
    return ssl.PEM_cert_to_DER_cert(_first(path.read_text(encoding="ascii"))) == shown


def _first(text: str) -> str:
    end = "-----END CERTIFICATE-----"
    return text[: text.index(end) + len(end)]
