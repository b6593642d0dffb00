"""Sealing keys for tests, and programs from outside that judge what is sealed."""

from __future__ import annotations

import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509

from api.certificates import SealFiles, make_seal
from audit.release.document_key import FileKey
from audit.release.document_signature import Sealed, seal_document

PLACE = "Dosewright site example"


def seal_files(folder: Path) -> SealFiles:
    return SealFiles(folder / "seal.pem", folder / "seal.key", folder / "seal-ca.pem")


def made_key(folder: Path, now: datetime | None = None) -> tuple[FileKey, x509.Certificate]:
    """Return a sealing key as a site has it, and its authority."""
    files = seal_files(folder)
    make_seal(files, site="example", now=now)
    authority = x509.load_pem_x509_certificate(files.authority.read_bytes())
    return FileKey.load(files.certificate, files.key, files.authority), authority


def sealed(pdf: bytes, key: FileKey) -> Sealed:
    return seal_document(pdf, key, datetime.now(UTC), PLACE)


def program(name: str) -> str:
    """Return the path of a program from outside; the test is skipped where it is not installed."""
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


def said(*arguments: str | Path) -> str:
    """Run a program, and return what it said; its failure is the test's."""
    done = subprocess.run([str(argument) for argument in arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{arguments}: {done.stdout}{done.stderr}"
    return done.stdout
