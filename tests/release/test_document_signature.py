"""The site's seal: the typeset bytes stay, programs from outside accept it, every change is found, and nothing about it blocks."""

from __future__ import annotations

import hashlib
import io
import re
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pkcs11
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pkcs11.util.ec import encode_ecdsa_signature
from pyhanko.pdf_utils import generic
from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter

from api.anchor_clients import AuthorityClient
from api.anchor_desk import Outside
from api.certificates import make_seal
from audit.canonical import canonical
from audit.errors import SealFailed, StoreReadOnly
from audit.release.document import render_record
from audit.release.document_check import check_seal
from audit.release.document_key import FileKey
from audit.release.document_report import verify_document
from audit.release.document_signature import REASON, seal_document
from audit.report import VerificationStatus
from tests.anchors.authority import make_authority
from tests.release.seals import PLACE, made_key, program, said, seal_files, sealed

LATER = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <time.h>
#include <sys/time.h>
#define DAYS (400L * 86400)
int clock_gettime(clockid_t id, struct timespec *t) {
  static int (*real)(clockid_t, struct timespec *);
  if (!real) real = dlsym(RTLD_NEXT, "clock_gettime");
  int r = real(id, t);
  if (id == CLOCK_REALTIME) t->tv_sec += DAYS;
  return r;
}
time_t time(time_t *out) { struct timespec t; clock_gettime(CLOCK_REALTIME, &t); if (out) *out = t.tv_sec; return t.tv_sec; }
"""
AGAIN = """
import datetime, json, pathlib, sys
from audit.release.document import render_record
data = pathlib.Path(sys.argv[1]).read_bytes()
pathlib.Path(sys.argv[2]).write_bytes(render_record(json.loads(data), data))
print(datetime.date.today())
"""


@pytest.fixture
def pdf(write_batch: Any, scenario: Any) -> bytes:
    record = write_batch(scenario()).record()
    return render_record(record, canonical(record))


@pytest.fixture
def site(tmp_path: Path) -> tuple[FileKey, x509.Certificate]:
    return made_key(tmp_path / "tls")


def test_the_same_record_gives_the_same_bytes_in_another_process_on_another_day(write_batch: Any, scenario: Any, tmp_path: Path) -> None:
    record = write_batch(scenario()).record()
    (tmp_path / "record.json").write_bytes(canonical(record))
    (tmp_path / "later.c").write_text(LATER)
    said(program("gcc"), "-shared", "-fPIC", "-o", tmp_path / "later.so", tmp_path / "later.c", "-ldl")
    environment = {"LD_PRELOAD": str(tmp_path / "later.so"), "TZ": "Asia/Tokyo", "LANG": "tr_TR.UTF-8", "PYTHONHASHSEED": "7", "HOME": "/"}
    script = [sys.executable, "-c", AGAIN, str(tmp_path / "record.json"), str(tmp_path / "again.pdf")]
    done = subprocess.run(script, env=environment, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=True)
    assert datetime.fromisoformat(done.stdout.strip()).date() > datetime.now(UTC).date() + timedelta(days=398)  # it was another day there
    assert (tmp_path / "again.pdf").read_bytes() == render_record(record, canonical(record))


def test_the_seal_is_an_update_behind_the_typeset_bytes_and_changes_nothing_before(pdf: bytes, site: tuple[FileKey, Any]) -> None:
    first, second = sealed(pdf, site[0]).data, sealed(pdf, site[0]).data
    assert first.startswith(pdf) and second.startswith(pdf) and first != second
    update = first[len(pdf) :]
    written = {int(number): text for number, text in re.findall(rb"(?m)^(\d+) 0 obj\n(.*?)endobj", update, re.DOTALL)}
    known = {int(number) for number in re.findall(rb"(?m)^(\d+) 0 obj", pdf)}
    changed = [written[number] for number in written.keys() & known]
    assert sorted(found for text in changed for found in re.findall(rb"/Type /(Page|Catalog)\n", text)) == [b"Catalog", b"Page"]
    assert len(changed) == 2
    assert b"/XML" not in update and b"/Producer" not in update and b"/Version" not in update and b"%%EOF" in update


def test_it_says_that_it_is_the_sites_and_where_the_persons_signatures_are(pdf: bytes, site: tuple[FileKey, Any]) -> None:
    at = datetime.now(UTC).replace(microsecond=0)
    document = seal_document(pdf, site[0], at, PLACE)
    signature = IncrementalPdfFileWriter(io.BytesIO(document.data)).prev.embedded_signatures[0].sig_object
    assert signature["/Name"] == "Dosewright seal of example" and signature["/Reason"] == REASON and signature["/Location"] == PLACE
    assert "Ed25519" in REASON and "record.json" in REASON
    assert check_seal(document.data).stated_at == at


def test_a_sealed_document_verifies_against_its_authority_alone(pdf: bytes, site: tuple[FileKey, Any], tmp_path: Path) -> None:
    path = tmp_path / "record.pdf"
    path.write_bytes(sealed(pdf, site[0]).data)
    report = verify_document(path, [site[1]])
    assert report.status is VerificationStatus.VERIFIED, report.findings
    assert any("valid, covers the whole file" in line for line in report.checked)
    assert any("partly released" in line for line in report.checked)
    assert verify_document(path).status is VerificationStatus.SIGNER_NOT_ESTABLISHED
    _, stranger = made_key(tmp_path / "other")
    assert "was not issued by an authority given from outside" in str(verify_document(path, [stranger]).findings[0])
    path.write_bytes(pdf)
    assert "carries no seal" in str(verify_document(path, [site[1]]).findings[0])


def test_programs_from_outside_accept_the_seal(pdf: bytes, site: tuple[FileKey, Any], tmp_path: Path) -> None:
    path = tmp_path / "record.pdf"
    path.write_bytes(sealed(pdf, site[0]).data)
    assert "No syntax or stream encoding errors" in said(program("qpdf"), "--check", path)
    told = said(program("pdfsig"), path)
    assert "Signature is Valid" in told and "Total document signed" in told and "ETSI.CAdES.detached" in told


def test_poppler_trusts_the_seal_with_the_authority_in_its_store(pdf: bytes, site: tuple[FileKey, Any], tmp_path: Path) -> None:
    certutil, pdfsig, store, path = program("certutil"), program("pdfsig"), tmp_path / "nss", tmp_path / "record.pdf"
    path.write_bytes(sealed(pdf, site[0]).data)
    store.mkdir()
    said(certutil, "-N", "-d", f"sql:{store}", "--empty-password")
    assert "Certificate is Trusted" not in said(pdfsig, "-nssdir", f"sql:{store}", path)
    said(certutil, "-A", "-n", "authority", "-t", "C,C,C", "-i", tmp_path / "tls" / "seal-ca.pem", "-d", f"sql:{store}")
    assert "Certificate is Trusted" in said(pdfsig, "-nssdir", f"sql:{store}", path)


def _parts(document: bytes) -> tuple[bytes, bytes]:
    """Return what the seal covers, and its CMS message."""
    first, after, length = map(int, re.findall(rb"/ByteRange \[\s*0 (\d+) (\d+) (\d+)", document)[-1])
    return document[:first] + document[after : after + length], bytes.fromhex(document[first + 1 : after - 1].decode())


def test_openssl_verifies_message_and_chain(pdf: bytes, site: tuple[FileKey, Any], tmp_path: Path) -> None:
    content, message = _parts(sealed(pdf, site[0]).data)
    (tmp_path / "content").write_bytes(content)
    (tmp_path / "message").write_bytes(message)
    arguments = ["cms", "-verify", "-inform", "DER", "-binary", "-in", tmp_path / "message", "-content", tmp_path / "content"]
    chain = ["-CAfile", tmp_path / "tls" / "seal-ca.pem", "-cades", "-out", tmp_path / "out"]
    said(program("openssl"), *arguments, *chain)
    (tmp_path / "content").write_bytes(content[:-1] + b"?")
    assert subprocess.run(["openssl", *map(str, arguments), *map(str, chain)], capture_output=True, check=False).returncode != 0


@pytest.fixture
def document(pdf: bytes, site: tuple[FileKey, x509.Certificate]) -> tuple[bytes, x509.Certificate]:
    return sealed(pdf, site[0]).data, site[1]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(where=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7), in_seal=st.booleans())
def test_a_changed_byte_is_found(document: tuple[bytes, Any], where: float, bit: int, in_seal: bool) -> None:
    data, authority = document
    start = data.rindex(b"/Contents <") if in_seal else 0
    end = data.index(b">", start) + 1 if in_seal else len(data)
    place = start + int(where * (end - start))
    changed = bytearray(data)
    changed[place] ^= 1 << bit
    seal = check_seal(bytes(changed), [authority])
    assert seal.findings or not seal.present, f"byte {place}"


def test_what_was_appended_after_sealing_is_named(document: tuple[bytes, Any], site: tuple[FileKey, Any]) -> None:
    data, authority = document
    update = IncrementalPdfFileWriter(io.BytesIO(data))
    update.root["/PageMode"] = generic.NameObject("/UseAttachments")
    update.update_root()
    out = io.BytesIO()
    update.write(out)
    (problem,) = check_seal(out.getvalue(), [authority]).findings
    assert problem.startswith("was modified after it was sealed, by 1 further incremental update") and f"first {len(data)} bytes" in problem
    assert "by appended bytes (1 bytes)" in check_seal(data + b" ", [authority]).findings[0]


def test_a_seal_taken_off_is_named_and_a_second_one_refused(document: tuple[bytes, Any], site: tuple[FileKey, Any]) -> None:
    update = IncrementalPdfFileWriter(io.BytesIO(document[0]))
    del update.root["/AcroForm"]
    update.update_root()
    out = io.BytesIO()
    update.write(out)
    assert "no seal is left in it" in check_seal(out.getvalue()).findings[0]
    with pytest.raises(SealFailed, match="could not be sealed"):
        seal_document(document[0], site[0], datetime.now(UTC), PLACE)


@pytest.mark.parametrize("data", [b"", b"%PDF-1.7", b"%PDF-1.7\n%%EOF", b"\x00" * 5000, b"%PDF-1.7\nstartxref\n0\n%%EOF"])
def test_bytes_that_are_no_pdf_are_a_finding(data: bytes) -> None:
    assert "cannot be read as a sealed PDF" in check_seal(data).findings[0]


# --- time stamps (RFC 3161), from openssl as the authority --------------------------------------------------------------------------


@pytest.fixture
def stamp(tmp_path: Path) -> Callable[[bytes], bytes]:
    openssl, folder = program("openssl"), tmp_path / "tsa"
    folder.mkdir()
    (folder / "tsa.cnf").write_text(
        "[req]\ndistinguished_name=dn\nx509_extensions=v3\nprompt=no\n[dn]\nCN=Example time-stamping authority\n"
        "[v3]\nextendedKeyUsage=critical,timeStamping\nkeyUsage=critical,digitalSignature\n"
        f"[tsa]\ndefault_tsa=t\n[t]\nserial={folder}/serial\ncrypto_device=builtin\nsigner_cert={folder}/tsa.pem\nsigner_key={folder}/tsa.key\n"
        "signer_digest=sha256\ndefault_policy=1.2.3.4.1\ndigests=sha256\naccuracy=secs:1\n"
    )
    (folder / "serial").write_text("01\n")
    new = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30", "-config", folder / "tsa.cnf"]
    said(openssl, *new, "-keyout", folder / "tsa.key", "-out", folder / "tsa.pem")

    def token(digest: bytes) -> bytes:
        query, reply, out = folder / "q", folder / "r", folder / "t"
        said(openssl, "ts", "-query", "-digest", digest.hex(), "-sha256", "-cert", "-out", query)
        said(openssl, "ts", "-reply", "-config", folder / "tsa.cnf", "-queryfile", query, "-out", reply)
        said(openssl, "ts", "-reply", "-config", folder / "tsa.cnf", "-in", reply, "-token_out", "-out", out)
        return out.read_bytes()

    return token


def test_with_a_time_stamping_authority_the_seal_is_b_t(
    pdf: bytes, site: tuple[FileKey, Any], stamp: Callable[[bytes], bytes], tmp_path: Path
) -> None:
    asked: list[bytes] = []
    document = seal_document(pdf, site[0], datetime.now(UTC), PLACE, lambda digest: asked.append(digest) or stamp(digest))  # type: ignore[func-returns-value]
    assert document.level == "PAdES B-T" and document.no_stamp is None and len(asked) == 1 and document.data.startswith(pdf)
    seal = check_seal(document.data, [site[1]])
    assert not seal.findings and any("Example time-stamping authority" in line for line in seal.said)
    (tmp_path / "t.pdf").write_bytes(document.data)
    assert "Signature is Valid" in said(program("pdfsig"), tmp_path / "t.pdf")


def test_an_authority_that_fails_blocks_nothing(pdf: bytes, site: tuple[FileKey, Any], stamp: Callable[[bytes], bytes]) -> None:
    def away(digest: bytes) -> bytes:
        raise StoreReadOnly("The authority does not answer.", remedy="Wait.")

    for authority, reason in (
        (away, "does not answer"),
        (lambda digest: b"no token", "no time stamp"),
        (lambda digest: stamp(bytes(32)), "for something else"),
    ):
        document = seal_document(pdf, site[0], datetime.now(UTC), PLACE, authority)
        assert document.level == "PAdES B-B" and reason in (document.no_stamp or "")
        assert not check_seal(document.data, [site[1]]).findings


def test_the_authority_of_a_site_gives_its_seals_their_time(pdf: bytes, site: tuple[FileKey, Any], tmp_path: Path) -> None:
    """As the workstation is wired: over HTTP, and the token checked against the certificates that the settings name."""
    program("openssl")
    answering = [authority := make_authority(tmp_path / "one")]
    with httpx.Client(transport=httpx.MockTransport(lambda asked: httpx.Response(200, content=answering[0].reply(asked.read())))) as http:
        stamp = Outside((), AuthorityClient("https://tsa.example/tsr", "tsa.example", [authority.root], http)).stamp
        assert stamp is not None and Outside().stamp is None
        document = seal_document(pdf, site[0], datetime.now(UTC), PLACE, stamp)
        assert (document.level, document.no_stamp) == ("PAdES B-T", None)
        assert any("Test Time Authority" in line for line in check_seal(document.data, [site[1]]).said)
        answering[0] = make_authority(tmp_path / "other")
        document = seal_document(pdf, site[0], datetime.now(UTC), PLACE, stamp)
        assert document.level == "PAdES B-B" and "not to be believed" in (document.no_stamp or "")


# --- keys -------------------------------------------------------------------------------------------------------------------------


def test_the_certificate_is_for_sealing_alone(site: tuple[FileKey, x509.Certificate]) -> None:
    own = x509.load_der_x509_certificate(site[0].certificate)
    usage = own.extensions.get_extension_for_class(x509.KeyUsage).value
    assert usage.digital_signature and usage.content_commitment and not usage.key_cert_sign and not usage.key_encipherment
    named = [item.dotted_string for item in own.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value]
    assert "1.3.6.1.5.5.7.3.36" in named  # RFC 9336
    own.verify_directly_issued_by(site[1])
    assert own.not_valid_after_utc <= site[1].not_valid_after_utc


def test_a_key_that_others_can_read_or_that_is_anothers_is_refused(site: Any, tmp_path: Path) -> None:
    files = seal_files(tmp_path / "tls")
    assert files.key.stat().st_mode & 0o777 == 0o600
    files.key.chmod(0o640)
    with pytest.raises(SealFailed, match="can be read by others"):
        FileKey.load(files.certificate, files.key, files.authority)
    other = seal_files(tmp_path / "other")
    make_seal(other, site="other")
    with pytest.raises(SealFailed, match="is not that of"):
        FileKey.load(files.certificate, other.key, files.authority)
    with pytest.raises(SealFailed, match="cannot be read"):
        FileKey.load(tmp_path / "none.pem", other.key, files.authority)


def test_a_certificate_out_of_its_time_seals_nothing(pdf: bytes, site: tuple[FileKey, Any]) -> None:
    for at in (datetime.now(UTC) + timedelta(days=1100), datetime.now(UTC) - timedelta(days=1)):
        with pytest.raises(SealFailed, match="valid from"):
            seal_document(pdf, site[0], at, PLACE)


class HardwareKey:
    """A key in a PKCS#11 token behind the same narrow interface: it gives out signatures only."""

    def __init__(self, key: Any, certificate: bytes, authorities: tuple[bytes, ...]) -> None:
        self._key, self.certificate, self.authorities = key, certificate, authorities

    def sign(self, data: bytes) -> bytes:
        return encode_ecdsa_signature(self._key.sign(hashlib.sha256(data).digest(), mechanism=pkcs11.Mechanism.ECDSA))


def test_a_key_in_a_hardware_module_seals_behind_the_same_interface(
    pdf: bytes, site: tuple[FileKey, x509.Certificate], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = next((path for path in map(Path, ("/usr/lib/softhsm/libsofthsm2.so", "/usr/lib64/libsofthsm2.so")) if path.exists()), None)
    if module is None:
        pytest.skip("SoftHSM is not installed")
    (tmp_path / "tokens").mkdir()
    (tmp_path / "softhsm.conf").write_text(f"directories.tokendir = {tmp_path}/tokens\nobjectstore.backend = file\n")
    monkeypatch.setenv("SOFTHSM2_CONF", str(tmp_path / "softhsm.conf"))
    said(program("softhsm2-util"), "--init-token", "--free", "--label", "seal", "--pin", "1234", "--so-pin", "5678")
    key_file = tmp_path / "tls" / "seal.key"
    said("softhsm2-util", "--import", key_file, "--token", "seal", "--label", "seal", "--id", "01", "--pin", "1234")
    library = pkcs11.lib(str(module))
    library.reinitialize()
    with library.get_token(token_label="seal").open(user_pin="1234") as session:
        key = session.get_key(object_class=pkcs11.ObjectClass.PRIVATE_KEY, label="seal")
        hardware = HardwareKey(key, site[0].certificate, site[0].authorities)
        document = seal_document(pdf, hardware, datetime.now(UTC), PLACE)
    assert not check_seal(document.data, [site[1]]).findings
    assert site[1].public_bytes(Encoding.DER) in site[0].authorities
