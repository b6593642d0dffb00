"""The site's seal on a document: a PAdES signature as one incremental update of the PDF.

The update begins where the typeset bytes end, so these stay as they were: same record, same bytes, sealed or not. It adds a field
without appearance on the first page, and touches neither metadata nor any content, so that PDF/A-3 stays PDF/A-3.
The seal is the site's, by a certificate for sealing documents. What a person signed (Ed25519) is in record.json, under the seal.

Source: ETSI EN 319 142-1 (PAdES B-B, and B-T where a time-stamping authority answers), RFC 3161, RFC 9336, ISO 19005-3 6.3.3.
"""

from __future__ import annotations

import asyncio
import io
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime

from asn1crypto import algos, cms
from asn1crypto import x509 as asn1_x509
from cryptography import x509
from pyhanko.pdf_utils.extensions import DeveloperExtension
from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter
from pyhanko.pdf_utils.misc import PdfError
from pyhanko.pdf_utils.writer import BasePdfFileWriter
from pyhanko.sign.fields import SigFieldSpec, SigSeedSubFilter
from pyhanko.sign.general import SigningError
from pyhanko.sign.signers import PdfSignatureMetadata, PdfSigner, Signer
from pyhanko.sign.signers.pdf_signer import PdfSigningSession
from pyhanko.sign.timestamps import TimeStamper
from pyhanko_certvalidator.registry import SimpleCertificateStore

from audit.errors import DosewrightError, SealFailed
from audit.release.document_key import DocumentKey, Stamp, common_name

FIELD = "SiteSeal"
REASON = "Seal of the site over this document. The signatures of persons (Ed25519) are in the attached record.json."
_FIELD_TITLE = "Seal of the site over this document"
_RESERVED = 8192
_RESERVED_WITH_TOKEN = 32768
"""Hexadecimal digits kept free for the signature; a token of a public authority with its certificates takes some 6 kB."""

_ETSI = "/ESIC"


@dataclass(frozen=True, slots=True)
class Sealed:
    """A sealed document: its bytes, `PAdES B-B` or `PAdES B-T`, and why it has no time stamp though one was asked for."""

    data: bytes
    level: str
    no_stamp: str | None


def seal_document(pdf: bytes, key: DocumentKey, at: datetime, place: str, stamp: Stamp | None = None) -> Sealed:
    """Seal a document that is not sealed yet; its bytes are the beginning of what is returned.

    `at` (aware) is the time that the seal states, `place` where it was made. A time-stamping authority that does not answer is named
    in `no_stamp` and blocks nothing. Raises SealFailed: certificate not valid at `at`, key refused, bytes that are no plain PDF.
    """
    _fit(key, at)
    if stamp is None:
        return Sealed(_sealed(pdf, key, at, place, None), "PAdES B-B", None)
    try:
        return Sealed(_sealed(pdf, key, at, place, _Stamper(stamp)), "PAdES B-T", None)
    except _NoToken as error:
        return Sealed(_sealed(pdf, key, at, place, None), "PAdES B-B", str(error))


def _fit(key: DocumentKey, at: datetime) -> None:
    own = x509.load_der_x509_certificate(key.certificate)
    if not own.not_valid_before_utc <= at <= own.not_valid_after_utc:
        raise SealFailed(
            f"The sealing certificate is valid from {own.not_valid_before_utc:%Y-%m-%d} to {own.not_valid_after_utc:%Y-%m-%d}, "
            f"not on {at:%Y-%m-%d}.",
            remedy="Check the clock, or make a new sealing certificate (docs/trust.md).",
        )


class _NoToken(Exception):
    """The time-stamping authority gave no token."""


class _Stamper(TimeStamper):
    """Gets the token where it is told to; pyHanko does no network of its own."""

    def __init__(self, stamp: Stamp) -> None:
        TimeStamper.__init__(self, include_nonce=False)
        self._stamp = stamp

    async def async_timestamp(self, message_digest: bytes, md_algorithm: str) -> cms.ContentInfo:
        try:
            token = cms.ContentInfo.load(self._stamp(message_digest), strict=True)
            stated = token["content"]["encap_content_info"]["content"].parsed["message_imprint"]
            if stated["hash_algorithm"]["algorithm"].native != md_algorithm or stated["hashed_message"].native != message_digest:
                raise _NoToken("The time stamp that came back is for something else.")
        except DosewrightError as error:
            raise _NoToken(error.message) from error
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise _NoToken(f"What came back is no time stamp: {error}") from error
        return token


class _Update(IncrementalPdfFileWriter):
    """An update that adds the seal and nothing else.

    pyHanko would also set another producer and date, write the XMP metadata anew in another form, and raise the version to 2.0 for
    P-256. PDF/A-3 is PDF 1.7, where ECDSA is a matter of the signature's own format (ETSI EN 319 142-1), and its metadata are checked
    to the letter.
    """

    output_version = (1, 7)

    def _update_meta(self) -> None:
        return

    def ensure_output_version(self, version: tuple[int, int]) -> None:
        return

    def register_extension(self, ext: DeveloperExtension) -> None:
        if ext.prefix_name == _ETSI:  # the one of PAdES in PDF 1.7
            super().register_extension(ext)


class _SiteSigner(Signer):
    """pyHanko's view of a key of ours."""

    def __init__(self, key: DocumentKey) -> None:
        registry = SimpleCertificateStore()
        registry.register_multiple([asn1_x509.Certificate.load(data) for data in key.authorities])
        super().__init__(
            signing_cert=asn1_x509.Certificate.load(key.certificate),
            cert_registry=registry,
            signature_mechanism=algos.SignedDigestAlgorithm({"algorithm": "sha256_ecdsa"}),
        )
        self._document_key = key

    async def async_sign_raw(self, data: bytes, digest_algorithm: str, dry_run: bool = False) -> bytes:
        return self._document_key.sign(data)


class _TimedSigner(PdfSigner):
    """pyHanko's signer with the time that it is given, not the machine's."""

    at: datetime

    def init_signing_session(self, pdf_out: BasePdfFileWriter, existing_fields_only: bool = False) -> PdfSigningSession:
        session = super().init_signing_session(pdf_out, existing_fields_only)
        session.system_time = self.at
        return session


def _sealed(pdf: bytes, key: DocumentKey, at: datetime, place: str, stamper: _Stamper | None) -> bytes:
    meta = PdfSignatureMetadata(
        field_name=FIELD,
        md_algorithm="sha256",
        subfilter=SigSeedSubFilter.PADES,
        name=common_name(x509.load_der_x509_certificate(key.certificate)),
        reason=REASON,
        location=place,
    )
    signer = _TimedSigner(meta, _SiteSigner(key), timestamper=stamper, new_field_spec=SigFieldSpec(FIELD, readable_field_name=_FIELD_TITLE))
    signer.at = at
    reserved = _RESERVED if stamper is None else _RESERVED_WITH_TOKEN
    try:
        work = signer.async_sign_pdf(_Update(io.BytesIO(pdf)), bytes_reserved=reserved)
        # A thread of its own: the caller may be in an event loop, where another cannot run.
        with ThreadPoolExecutor(1) as thread:
            sealed = bytes(thread.submit(asyncio.run, work).result().getvalue())
    except (PdfError, SigningError, ValueError, KeyError) as error:
        raise SealFailed(f"The document could not be sealed: {error}.", remedy="Report it with record.json.") from error
    if not sealed.startswith(pdf):
        raise SealFailed("Sealing changed the document itself.", remedy="Report it with record.json.")
    return sealed
