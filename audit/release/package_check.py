"""Check a review package offline: no server, no store, and no trust in anything that travels inside it.

The numbers of the steps are those of docs/review-package.md. Every step reports all that it finds; what a broken step
leaves unreadable, later steps report as missing rather than skip in silence. Steps 5 to 9 on trails and record are in
`audit.release.package_entries` and `audit.release.package_trails`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from audit.anchor_check import NOTHING_OUTSIDE, Trusted
from audit.canonical import sha256_hex
from audit.checkpoint import VerifierKey, split_note, verify_note
from audit.errors import DosewrightError, NoteInvalid
from audit.release.archive import read_archive
from audit.release.document_attachment import LARGEST_DOCUMENT, carries
from audit.release.package import DOCUMENT, FORMAT, KEYS, MANIFEST, NOTE, README, RECORD, open_package, scope_of
from audit.release.package_entries import Checked
from audit.release.package_keys import vouched
from audit.release.package_trails import check_trails
from audit.release.stretches import FileSource
from audit.release.trail_view import as_list, as_object, text_of
from audit.report import Report

_MOST_FINDINGS = 200
_BYTE_RANGE = b"/ByteRange"


def verify_package(path: Path, trusted: Sequence[VerifierKey] | None = None, outside: Trusted = NOTHING_OUTSIDE) -> Report:
    """Check a review package; return a report with every finding and its place, whatever the package holds.

    `trusted` are verifier keys from outside the package (C2SP), `outside` those of witnesses that must have cosigned a checkpoint of
    each trail, and certificates of time-stamping authorities. Without the former the report can at best say *internally consistent,
    signer not established*. Raises RecordError only where the file cannot be read.
    """
    with open_package(path) as source:
        return _verify(source, trusted or (), outside)


def _verify(source: FileSource, trusted: Sequence[VerifierKey], outside: Trusted) -> Report:
    archive = read_archive(source)
    state = Checked(archive.files)
    state.findings.extend(archive.findings)  # step 1
    if not {MANIFEST, RECORD} & archive.files.keys():
        state.find("container", f"is not a review package: it holds neither {MANIFEST} nor {RECORD}; get the package again from its site")
        return Report(tuple(dict.fromkeys(state.findings)), False, ("1 container: not a review package",))
    state.say(f"1 container: {len(archive.files)} files, every byte accounted for" if not archive.findings else "1 container: damaged")
    keys = _keys(state)
    format_ = _manifest_note(state, keys)
    _manifest(state, format_)
    record = state.json_file(RECORD)
    origins = check_trails(state, keys, record, outside)
    _document(state)
    established = _trusted(state, trusted, origins)
    findings = tuple(dict.fromkeys(state.findings))[:_MOST_FINDINGS]
    return Report(findings=findings, signer_established=established and not findings, checked=tuple(state.said))


def _keys(state: Checked) -> list[VerifierKey]:
    keys: list[VerifierKey] = []
    for text in as_list(state.json_file(KEYS).get("keys")):
        try:
            keys.append(VerifierKey.parse(text_of(text) or ""))
        except NoteInvalid as error:
            state.find(KEYS, error.message)
    return keys


def _manifest_note(state: Checked, keys: Sequence[VerifierKey]) -> str:
    """Step 2: the note is signed by a key of keys.json, and its text is the format and the manifest's digest. Return the format."""
    text = state.note(NOTE, keys)
    if text is None:
        return FORMAT
    stated = text.split("\n")[0]
    if stated != FORMAT:
        state.find(NOTE, f"is of the format {stated!r}; this verifier reads {FORMAT}, an older package carries its own in verify.py")
    elif text != f"{stated}\n{sha256_hex(state.files.get(MANIFEST, b''))}\n":
        state.find(MANIFEST, "is not the manifest that manifest.note was signed for")
    state.say("2 manifest.note: signature and digest of the manifest")
    return stated


def _manifest(state: Checked, format_: str) -> None:
    """Steps 3 and 4: the manifest is canonical, names every other file, and every file has the digest it names."""
    manifest = state.json_file(MANIFEST)
    members = {"format", "created", "files", "scope"}
    if manifest and (set(manifest) != members or manifest.get("format") != format_):
        state.find(MANIFEST, f"does not have exactly the members {', '.join(sorted(members))} of this format")
    state.scope = scope_of(manifest)
    if manifest.get("scope") != state.scope:
        state.find(MANIFEST, f"states the scope {manifest.get('scope')!r}")
    named = as_object(manifest.get("files"))
    for name in sorted(set(state.files) - set(named) - {MANIFEST, NOTE}):
        state.find(name, "is in the container but not in the manifest")
    for name, sha256 in sorted(named.items()):
        data = state.files.stretches.get(name)
        if name in (MANIFEST, NOTE):
            state.find(MANIFEST, f"names {name}, which it must not")
        elif data is None:
            state.find(name, "is named in the manifest but missing")
        elif data.sha256() != sha256:
            state.find(name, "is not the file that the manifest names (SHA-256 differs)")
    for name in (README, DOCUMENT):
        if name not in named:
            state.find(name, "is not named in the manifest")
    state.say(f"3 manifest.json: canonical; 4 files: {len(named)} digests")


def _document(state: Checked) -> None:
    """Step 10: the record attached to the PDF is record.json, byte for byte; sealed, it is the document that the trail names."""
    held = state.files.stretches.get(DOCUMENT)
    record = state.files.get(RECORD)
    if held is None or record is None:
        return
    data = held[:LARGEST_DOCUMENT]
    if len(held) > LARGEST_DOCUMENT or not carries(data, record):
        state.find(DOCUMENT, "does not carry record.json as its attachment")
    if state.sealed is None and _BYTE_RANGE not in data:
        state.say("10 record.pdf: carries record.json; not sealed, and the trail names no seal")
        return
    state.say("10 record.pdf: carries record.json")
    from audit.release.document_report import check_sealed  # PDF signatures are read only where there is one

    check_sealed(state, data, record)


def _trusted(state: Checked, trusted: Sequence[VerifierKey], notes: Sequence[str]) -> bool:
    """Step 11: with trusted keys, manifest.note and every checkpoint is signed by one of them."""
    if not trusted:
        state.say("11 trusted keys: none given, the signer is not established")
        return False
    established, believed = True, vouched(state.views, trusted)
    for name in (NOTE, *notes):
        try:
            text = state.files[name].decode()
            _, signers = split_note(text)
            verify_note(text, believed)
        except KeyError:
            established = False
        except UnicodeDecodeError:
            established = False
            state.find(name, "is not a signed note")
        except DosewrightError as error:
            established = False
            unknown = "No known key" in error.message
            names = ", ".join(signer for signer, _ in signers) if unknown else ""
            state.find(name, f"is signed by a key that is not the trusted one (it names {names})" if unknown else error.message)
    state.say(f"11 trusted keys: {', '.join(key.name for key in trusted)}")
    return established
