"""`dosewright verify`: check packages, stores and sealed documents offline."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated

import typer
from cryptography import x509
from rich.console import Console

from api import completions
from api.cli_options import AsJson, print_json
from api.errors import InputInvalid
from audit.anchor_check import NOTHING_OUTSIDE, Trusted
from audit.checkpoint import VerifierKey
from audit.cosignature import CosignerKey
from audit.errors import NoteInvalid
from audit.places import is_url
from audit.report import Report, VerificationStatus
from audit.timestamps import read_certificates

_LARGEST_KEY_FILE = 1 << 16
_WHICH_KEYS = "Name a file with verifier keys, one a line, for example site.vkey."
_WHICH_AUTHORITY = "Name the site's authority of documents as a PEM file, for example seal-ca.pem."
_SQLITE = b"SQLite format 3\x00"
_PDF = b"%PDF-"
# where several files are checked, the worst outcome is the status: failed, then signer not established
_WORST = (VerificationStatus.FAILED, VerificationStatus.SIGNER_NOT_ESTABLISHED, VerificationStatus.VERIFIED)


def read_keys(paths: Iterable[Path]) -> tuple[VerifierKey, ...]:
    """Read verifier keys, one per line. Raises InputInvalid for a file that cannot be read and for a line that is no key."""
    return tuple(key for path in paths for key in _keys_of(path))


def _keys_of(path: Path) -> list[VerifierKey]:
    try:
        if not path.is_file() or path.stat().st_size > _LARGEST_KEY_FILE:
            raise InputInvalid(f"The key file {path} is missing, or not a file of verifier keys.", remedy=_WHICH_KEYS)
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        raise InputInvalid(f"The key file {path} cannot be read.", remedy=_WHICH_KEYS) from None
    found: list[VerifierKey] = []
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                found.append(VerifierKey.parse(line.strip()))
            except NoteInvalid as error:
                raise InputInvalid(f"The key file {path}, line {number}: {error.message}", remedy=_WHICH_KEYS) from None
    if not found:
        raise InputInvalid(f"The key file {path} holds no key.", remedy=_WHICH_KEYS)
    return found


def read_outside(witness_keys: Iterable[Path], time_roots: Iterable[Path], notes: Iterable[Path]) -> Trusted:
    """Read what shows from outside that a trail was there by a time. Raises InputInvalid for a file that does not hold it."""
    keys: list[CosignerKey] = []
    for path in witness_keys:
        for number, line in enumerate(_text(path).splitlines(), 1):
            try:
                keys += [CosignerKey.parse(line)] if line.strip() else []
            except NoteInvalid as error:
                raise InputInvalid(f"The key file {path}, line {number}: {error.message}", remedy="Name keys of witnesses.") from None
    try:
        certificates = [found for path in time_roots for found in read_certificates(_text(path).encode(), str(path))]
    except NoteInvalid as error:
        raise InputInvalid(error.message, remedy=error.remedy) from None
    return Trusted(tuple(keys), tuple(certificates), tuple(_text(path) for path in notes))


def _text(path: Path) -> str:
    try:
        if path.is_file() and path.stat().st_size <= _LARGEST_KEY_FILE:
            return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputInvalid(f"{path} cannot be read ({error}).", remedy="Name a text file.") from None
    raise InputInvalid(f"{path} is missing, no file, or larger than {_LARGEST_KEY_FILE} bytes.", remedy="Name a text file.")


def read_authorities(paths: Iterable[Path]) -> tuple[x509.Certificate, ...]:
    """Read certificates of authorities, PEM. Raises InputInvalid for a file that is none."""
    found: list[x509.Certificate] = []
    for path in paths:
        try:
            if not path.is_file() or path.stat().st_size > _LARGEST_KEY_FILE:
                raise InputInvalid(f"The file {path} is missing, or not one of certificates.", remedy=_WHICH_AUTHORITY)
            found += x509.load_pem_x509_certificates(path.read_bytes())
        except (OSError, ValueError):
            raise InputInvalid(f"The file {path} holds no certificate that can be read.", remedy=_WHICH_AUTHORITY) from None
    return tuple(found)


def check(
    place: str, trusted: Sequence[VerifierKey], outside: Trusted = NOTHING_OUTSIDE, authorities: Sequence[x509.Certificate] = ()
) -> Report:
    """Check a store at a URL, or one file: a store or a PDF by its first bytes, otherwise a package.

    Raises InputInvalid where there is no file.
    """
    if is_url(place):
        return _check_store(place, trusted, outside)
    path = Path(place)
    if path.exists() and not path.is_file():  # a pipe or a device may never end
        raise InputInvalid(f"{path} is {'a folder' if path.is_dir() else 'not a file'}.", remedy="Name a review package or a store.")
    try:
        with path.open("rb") as stream:
            start = stream.read(len(_SQLITE))
    except OSError as error:
        raise InputInvalid(f"{path} cannot be read: {error.strerror}.", remedy="Name a review package or a store.") from None
    if start == _SQLITE or path.suffix == ".db":
        return _check_store(path, trusted, outside)
    if start.startswith(_PDF):
        from audit.release.document_report import verify_document

        return verify_document(path, authorities)
    from audit.release.package_check import verify_package

    return verify_package(path, trusted or None, outside)


def _check_store(place: Path | str, trusted: Sequence[VerifierKey], outside: Trusted) -> Report:
    from audit.verify import verify_store

    return verify_store(place, trusted, workers=min(2, os.cpu_count() or 1), outside=outside)


def verify(
    places: Annotated[
        list[str],
        typer.Argument(
            help="Review packages (.zip), sealed records (.pdf) and stores (.db, or a postgresql:// address).",
            autocompletion=completions.verifiable,
        ),
    ],
    trusted_key: Annotated[
        list[Path] | None,
        typer.Option(
            "--trusted-key",
            help="File with verifier keys from outside the package; shows origin.",
            autocompletion=completions.verifier_keys,
        ),
    ] = None,
    witness_key: Annotated[
        list[Path] | None, typer.Option("--witness-key", help="File with keys of witnesses, from outside; shows what they cosigned.")
    ] = None,
    time_root: Annotated[
        list[Path] | None, typer.Option("--time-root", help="PEM file with certificates of time-stamping authorities, from outside.")
    ] = None,
    note: Annotated[
        list[Path] | None, typer.Option("--note", help="A checkpoint kept elsewhere (`dosewright witness note`); a store must contain it.")
    ] = None,
    seal_authority: Annotated[
        list[Path] | None,
        typer.Option("--seal-authority", help="Certificate (PEM) of a site's authority of documents, from outside the file; for a PDF."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Check packages, stores and sealed records offline.

    Exit status: 0 verified; 1 a finding; 3 internally consistent, but nothing from outside says who signed; 2 an error.
    """
    trusted = read_keys(trusted_key or [])
    outside = read_outside(witness_key or [], time_root or [], note or [])
    authorities = read_authorities(seal_authority or [])
    reports = {place: check(place, trusted, outside, authorities) for place in places}
    if as_json:
        print_json({name: _record(report) for name, report in reports.items()})
    else:
        console = Console(highlight=False, soft_wrap=True)
        for name, report in reports.items():
            show(console, name, report)
    worst = min(reports.values(), key=lambda report: _WORST.index(report.status))
    raise typer.Exit(worst.exit_status)


def _record(report: Report) -> dict[str, object]:
    findings = [{"place": finding.place, "problem": finding.problem} for finding in report.findings]
    return {
        "status": report.status.value,
        "signer_established": report.signer_established,
        "findings": findings,
        "checked": list(report.checked),
    }


def show(console: Console, name: str, report: Report) -> None:
    """Print one report: the outcome first, then the findings or what was looked at."""
    mark = {VerificationStatus.VERIFIED: "✓", VerificationStatus.FAILED: "✕", VerificationStatus.SIGNER_NOT_ESTABLISHED: "?"}[report.status]
    console.print(f"{mark} {name}: {report.status.value}", markup=False, style="bold")
    for finding in report.findings:
        console.print(f"  {finding}", markup=False)
    if not report.findings:
        for line in report.checked:
            console.print(f"  {line}", markup=False)
    if report.status is VerificationStatus.SIGNER_NOT_ESTABLISHED:
        wanted = "authority of documents" if name.lower().endswith(".pdf") else "keys"
        option = "--seal-authority" if wanted != "keys" else "--trusted-key"
        console.print(f"  Give the site's {wanted}, received from outside the file, with {option}.", markup=False)
