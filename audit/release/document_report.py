"""What a check of a sealed document says: in a review package beside its trails, or of a PDF by itself."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from cryptography import x509

from audit.canonical import JsonObject, canonical, sha256_hex
from audit.errors import DosewrightError, EntryInvalid, RecordError
from audit.release.batch_record import disposition_meaning, record_sha256
from audit.release.document import layout, render_record
from audit.release.document_attachment import LARGEST_DOCUMENT, carried_record
from audit.release.document_check import Seal, check_seal
from audit.release.package import DOCUMENT, PICTURES, RECORD
from audit.release.package_entries import Checked
from audit.release.trail_view import as_list, as_object, count_of, text_of
from audit.report import Finding, Report
from audit.signatures import verify_signature


def check_sealed(state: Checked, pdf: bytes, record: bytes) -> None:
    """Step 10 for a sealed document: the seal is sound, and document, seal and certificate are those that the trail names."""
    seal = check_seal(pdf)
    named = state.sealed
    for problem in seal.findings:
        state.find(DOCUMENT, problem)
    for line in seal.said:
        state.say(f"10 record.pdf: {line}")
    if named is None:
        state.find(DOCUMENT, "is sealed, though no entry of the workstation's trail names a seal")
        return
    place = text_of(named.get("place")) or ""
    if sha256_hex(pdf) != named.get("document_sha256"):
        state.find(DOCUMENT, f"is not the document that {place} names (SHA-256 differs)")
    if not seal.present:
        state.find(DOCUMENT, f"carries no seal, though {place} names one")
    elif seal.certificate_sha256 != named.get("seal_certificate_sha256"):
        state.find(DOCUMENT, f"is sealed by another certificate than {place} names")
    else:
        state.say(f"10 record.pdf: sealed by the certificate that {place} names")
    size = count_of(named.get("document_unsealed_bytes"))
    typeset = pdf[:size] if size is not None and 0 < size <= len(pdf) else b""
    if sha256_hex(typeset) != named.get("document_unsealed_sha256") or size != seal.unsealed_bytes:
        state.find(DOCUMENT, f"does not begin with the document that {place} says was sealed")
    _again(state, typeset, record, text_of(named.get("document_layout")))


def _again(state: Checked, typeset: bytes, record: bytes, by: str | None) -> None:
    """Typeset the record again, where the same layout is at hand: what is on paper is then what the record gives."""
    if by != layout():
        state.say(f"10 record.pdf: not typeset again: it was by {by}, here is {layout()}")
        return
    pictures = {name: state.files.get(name, b"") for name in state.files if name.startswith(PICTURES)}
    try:
        found = as_object(json.loads(record))
        same = render_record(found, record, pictures) == typeset
    except (DosewrightError, ValueError, TypeError, AttributeError, KeyError) as error:
        state.find(DOCUMENT, f"cannot be typeset again from {RECORD}: {error}")
        return
    if same:
        state.say("10 record.pdf: typeset again from record.json, the same bytes")
    else:
        state.find(DOCUMENT, f"shows something else than {RECORD}: typeset again, the bytes differ")


def verify_document(path: Path, authorities: Sequence[x509.Certificate] = ()) -> Report:
    """Check a PDF by itself: its seal, and the record that it carries with its signatures of people.

    Without `authorities` from outside nothing shows whose seal it is. Raises RecordError where the file cannot be read.
    """
    try:
        with path.open("rb") as stream:
            pdf = stream.read(LARGEST_DOCUMENT + 1)
    except OSError as error:
        raise RecordError(f"{path} cannot be read: {error.strerror}.", remedy="Check the path.") from error
    seal = check_seal(pdf, authorities)
    findings = [Finding(path.name, problem) for problem in seal.findings]
    if not (seal.present or findings):
        findings.append(Finding(path.name, "carries no seal: nothing shows that it is the record of a site, or that it is unchanged"))
    said = list(seal.said)
    findings += [Finding(f"{path.name}, {RECORD}", problem) for problem in _record(pdf, said)]
    return Report(tuple(findings), _established(seal) and not findings, tuple(said))


def _established(seal: Seal) -> bool:
    return seal.present and seal.established


def _record(pdf: bytes, said: list[str]) -> list[str]:
    """Return what is wrong with the record inside; say what it is and who signed it."""
    data = carried_record(pdf)
    if data is None:
        return ["is not attached, or not as the one attachment"]
    try:
        record = json.loads(data)
        if not isinstance(record, dict) or canonical(record) != data:
            return ["is not an object in canonical form (RFC 8785)"]
        return _signatures(record, said)
    except (ValueError, RecursionError, EntryInvalid) as error:
        return [f"is not canonical JSON: {error}"]


def _signatures(record: JsonObject, said: list[str]) -> list[str]:
    """Each signature of a person verifies by the key beside it; the disposition's is over this record. Whose key it is, a package shows."""
    problems: list[str] = []
    signatures = [as_object(signature) for signature in as_list(record.get("signatures"))]
    for signature in signatures:
        try:
            verify_signature(signature)
        except DosewrightError as error:
            problems.append(error.message)
    disposition = text_of(record.get("disposition"))
    releaser = text_of(record.get("releaser"))
    said.append(f"record: batch {text_of(record.get('batch'))}, {disposition}, SHA-256 {record_sha256(record)}")
    if releaser is not None:
        last = signatures[-1] if signatures else {}
        if (last.get("digest"), last.get("signer"), last.get("meaning")) != (record_sha256(record), releaser, disposition_meaning(record)):
            problems.append("its disposition is not signed by the person it names, over this record")
    said.append(f"signatures of people: {len(signatures)}, each by the key beside it; that the keys are theirs, a review package shows")
    return problems
