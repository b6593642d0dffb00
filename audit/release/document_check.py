"""Check a sealed document offline: the seal, what it covers, and the signatures of people in the record that it carries.

Nothing in the file is believed: the certificate of the seal comes with it, so who sealed is shown only against an authority that comes
from outside, or against the trail of a review package, where the certificate is named. No network, no revocation lists.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from asn1crypto import cms
from asn1crypto import x509 as asn1_x509
from asn1crypto.core import VOID
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.serialization import Encoding
from pyhanko.pdf_utils.reader import PdfFileReader
from pyhanko.sign.general import check_ess_certid
from pyhanko.sign.validation.generic_cms import extract_certs_for_validation, get_signing_cert_attr, validate_sig_integrity
from pyhanko.sign.validation.pdf_embedded import EmbeddedPdfSignature

from audit.canonical import sha256_hex
from audit.release.document_attachment import LARGEST_DOCUMENT
from audit.release.document_key import common_name
from audit.release.document_signature import FIELD

_SUBFILTER = "/ETSI.CAdES.detached"
_END = b"%%EOF"


@dataclass(slots=True)
class Seal:
    """What was found of the seal of one document. `findings` empty: the seal is sound, whoever's it is."""

    findings: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    present: bool = False
    unsealed_bytes: int = 0
    """How many bytes at the beginning are the document as it was typeset."""
    certificate: x509.Certificate | None = None
    stated_at: datetime | None = None
    established: bool = False
    """Whether an authority from outside issued the certificate."""

    @property
    def certificate_sha256(self) -> str | None:
        """SHA-256 of the DER form, as other programs print it, in 64 lower-case hex digits."""
        return None if self.certificate is None else sha256_hex(self.certificate.public_bytes(Encoding.DER))


def check_seal(pdf: bytes, authorities: Sequence[x509.Certificate] = ()) -> Seal:
    """Check the seal of a document, of at most 64 MiB. `authorities` come from outside the file. Raises nothing for any bytes."""
    seal = Seal()
    if len(pdf) > LARGEST_DOCUMENT:
        seal.findings.append(f"is larger than {LARGEST_DOCUMENT} bytes")
        return seal
    try:
        _check(seal, pdf, authorities)
    except Exception as error:  # a stranger's bytes: the parsers of PDF, CMS and X.509 raise whatever they please, and it is told
        seal.findings.append(f"cannot be read as a sealed PDF: {type(error).__name__}: {str(error)[:200]}")
    return seal


def _check(seal: Seal, pdf: bytes, authorities: Sequence[x509.Certificate]) -> None:
    reader = PdfFileReader(io.BytesIO(pdf), strict=True)
    found = list(reader.embedded_signatures)
    if not found:
        if reader.xrefs.total_revisions > 1:
            seal.findings.append("was changed by an incremental update after typesetting, and no seal is left in it")
        return
    seal.present = True
    first = found[0]
    if len(found) > 1:
        seal.findings.append(f"holds {len(found)} signatures; a site seals a document once")
    if first.fq_name != FIELD or first.sig_object.get("/SubFilter") != _SUBFILTER:
        seal.findings.append("its signature is not in the form of a site's seal (PAdES)")
    _coverage(seal, pdf, first)
    _signature(seal, first)
    _form(seal, pdf, first)
    if seal.certificate is not None:
        _issuer(seal, seal.certificate, first, authorities)


def _coverage(seal: Seal, pdf: bytes, found: EmbeddedPdfSignature) -> None:
    """The seal covers all bytes but those that hold itself; what was appended later is named."""
    ranges = [int(number) for number in found.byte_range]
    if len(ranges) != 4 or ranges[0] != 0 or not 0 < ranges[1] < ranges[2] <= ranges[2] + ranges[3] <= len(pdf):
        seal.findings.append("its seal does not cover the file from the first byte on")
        return
    seal.unsealed_bytes = _after(pdf, pdf.rfind(_END, 0, ranges[1]))
    end, last = ranges[2] + ranges[3], found.reader.xrefs.total_revisions - 1
    if end < len(pdf) or last > found.signed_revision:
        later = last - found.signed_revision
        what = f"by {later} further incremental update{'' if later == 1 else 's'}" if later > 0 else "by appended bytes"
        seal.findings.append(
            f"was modified after it was sealed, {what} ({len(pdf) - end} bytes); its first {end} bytes are the document as it was sealed"
        )
    if found.signed_revision != 1:
        seal.findings.append("its seal is not the first change after typesetting")


def _after(pdf: bytes, start: int) -> int:
    """Return where the document before the update ends: after its end mark and the line feed of it."""
    end = start + len(_END)
    return end + 1 if pdf[end : end + 1] == b"\n" else end


def _signature(seal: Seal, found: EmbeddedPdfSignature) -> None:
    """Digest and signature, by the certificate that the signed attributes name."""
    certificate = found.signer_cert
    intact, valid = validate_sig_integrity(found.signer_info, certificate, "data", found.compute_digest())
    named = get_signing_cert_attr(found.signer_info["signed_attrs"])
    if not intact:
        seal.findings.append("is not the document that was sealed: its digest is another")
    if not valid or named is None or not check_ess_certid(certificate, named["certs"][0]):
        seal.findings.append("its seal is not a valid signature by the certificate that comes with it")
    if found.md_algorithm != "sha256":
        seal.findings.append(f"its seal uses {found.md_algorithm}, not SHA-256")
    seal.certificate = x509.load_der_x509_certificate(certificate.dump())
    seal.stated_at = found.self_reported_timestamp


def _form(seal: Seal, pdf: bytes, found: EmbeddedPdfSignature) -> None:
    """The bytes that the seal cannot cover, its own, are in the one form in which it is written."""
    _, before, after, _ = (int(number) for number in found.byte_range)
    others = [certificate.dump() for certificate in found.other_embedded_certs]
    rebuilt = _rebuilt(found, [found.signer_cert.dump(), *others])
    filled = (after - before - 2) // 2
    if pdf[before:after] != b"<" + rebuilt.ljust(filled, b"\0").hex().upper().encode() + b">":
        seal.findings.append("the bytes of its seal are not in the form in which a seal is written")
    if not all(_issued(certificate, certificate) for certificate in map(x509.load_der_x509_certificate, others)):
        seal.findings.append("its seal comes with a certificate that is no authority's")
    _token(seal, found)


def _rebuilt(found: EmbeddedPdfSignature, certificates: Sequence[bytes]) -> bytes:
    """Return the CMS message as it must be, from what is signed in it: every other byte follows (RFC 5652, RFC 5035)."""
    given = found.signer_info
    sha256 = {"algorithm": "sha256"}
    signer = {
        "version": "v1",
        "sid": {"issuer_and_serial_number": {"issuer": found.signer_cert.issuer, "serial_number": found.signer_cert.serial_number}},
        "digest_algorithm": sha256,
        "signature_algorithm": {"algorithm": "sha256_ecdsa"},
        "signed_attrs": given["signed_attrs"],
        "signature": given["signature"].native,
    }
    if given["unsigned_attrs"] is not VOID:
        signer["unsigned_attrs"] = given["unsigned_attrs"]
    content = {
        "version": "v1",
        "digest_algorithms": [sha256],
        "encap_content_info": {"content_type": "data"},
        "certificates": [cms.CertificateChoices({"certificate": asn1_x509.Certificate.load(data)}) for data in certificates],
        "signer_infos": [signer],
    }
    built: bytes = cms.ContentInfo({"content_type": "signed_data", "content": cms.SignedData(content)}).dump()
    return built


def _token(seal: Seal, found: EmbeddedPdfSignature) -> None:
    """Say the time of the RFC 3161 token over the seal's signature, where there is one; a finding where it does not fit."""
    attributes = found.signer_info["unsigned_attrs"]
    if attributes is VOID:
        return
    if [attribute["type"].native for attribute in attributes] != ["signature_time_stamp_token"] or len(attributes[0]["values"]) != 1:
        seal.findings.append("its seal holds more than a seal and a time stamp")
        return
    token = attributes[0]["values"][0]["content"]
    content = token["encap_content_info"]["content"]
    stated = content.parsed
    imprint = stated["message_imprint"]
    wanted = hashlib.new(imprint["hash_algorithm"]["algorithm"].native, found.signer_info["signature"].native).digest()
    signer = token["signer_infos"][0]
    issuer = extract_certs_for_validation(token).signer_cert
    digest = hashlib.new(signer["digest_algorithm"]["algorithm"].native, bytes(content)).digest()
    intact, valid = validate_sig_integrity(signer, issuer, "tst_info", digest)
    at: datetime = stated["gen_time"].native
    if not (intact and valid) or imprint["hashed_message"].native != wanted:
        seal.findings.append("the time stamp in it is not over this seal, or its signature fails")
    name = common_name(x509.load_der_x509_certificate(issuer.dump()))
    seal.said.append(f"time stamp (RFC 3161): {at:%Y-%m-%d %H:%M:%S} UTC, by {name}; who that is was not checked here")


def _issuer(seal: Seal, own: x509.Certificate, found: EmbeddedPdfSignature, authorities: Sequence[x509.Certificate]) -> None:
    """Say by which certificate, and whether an authority from outside issued it; the time that counts is that of sealing."""
    level = "PAdES B-B" if found.signer_info["unsigned_attrs"] is VOID else "PAdES B-T"
    at = seal.stated_at
    if at is None or not own.not_valid_before_utc <= at <= own.not_valid_after_utc:
        seal.findings.append("its seal states no time, or one at which its certificate was not valid")
    try:
        usage = own.extensions.get_extension_for_class(x509.KeyUsage).value
        fit = usage.digital_signature and usage.content_commitment and not usage.key_cert_sign
    except x509.ExtensionNotFound:
        fit = False
    if not fit:
        seal.findings.append("its certificate is not one for sealing documents (key usage)")
    when = "" if at is None else f", stated time {at:%Y-%m-%d %H:%M:%S} UTC"
    seal.said.append(f"seal: {level} by {common_name(own)!r}, certificate SHA-256 {seal.certificate_sha256}{when}")
    if not seal.findings:
        seal.said.append("seal: valid, covers the whole file")
    issuers = [authority for authority in authorities if _issued(own, authority)]
    if issuers:
        seal.established = True
        seal.said.append(f"seal: its certificate was issued by {common_name(issuers[0])!r}, given from outside")
    elif authorities:
        seal.findings.append(f"its certificate ({common_name(own)!r}) was not issued by an authority given from outside")


def _issued(certificate: x509.Certificate, authority: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(authority)
    except (InvalidSignature, ValueError, TypeError):
        return False
    return True
