"""A signed batch has one sealed document, made once, kept in the trail, and carried by every package; whatever is exchanged is named."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from api.document_desk import DocumentDesk
from audit.canonical import canonical, sha256_hex
from audit.errors import SealFailed, StoreReadOnly
from audit.events import SYSTEM, EntryDraft, EventKind, Subject
from audit.release.document import layout, render_record
from audit.release.document_key import FileKey
from audit.release.package import TrailExport, read_package, write_package
from audit.release.package_check import verify_package
from audit.release.trail_view import TrailView
from tests.release.seals import made_key, seal_files, sealed


def desk(batch: Any, folder: Path, key: Any = None) -> DocumentDesk:
    return DocumentDesk(batch.workstation, "example", key or (lambda: _load(folder)))


def _load(folder: Path) -> FileKey:
    """Return the site's key, made at the first call."""
    if not (folder / "tls").exists():
        return made_key(folder / "tls", datetime(2026, 11, 20, tzinfo=UTC))[0]  # the day of the sample
    files = seal_files(folder / "tls")
    return FileKey.load(files.certificate, files.key, files.authority)


def document_of(batch: Any, found: DocumentDesk) -> bytes:
    return found.sealed(batch.batch, TrailView(list(batch.cell.lines())), batch.cell.blob)


def export(batch: Any, path: Path, document: bytes | None) -> Path:
    exports = [TrailExport.from_store(store) for store in (batch.workstation, batch.cell)]
    return write_package(
        path,
        batch=batch.batch,
        workstation=exports[0],
        cell=exports[1],
        blob=batch.cell.blob,
        key=batch.key,
        created="2026-11-20T10:00:00.000000Z",
        document=document,
    )


def report(batch: Any, path: Path, document: bytes | None) -> Any:
    return verify_package(export(batch, path, document), [batch.workstation.key, batch.cell.key])


def test_every_package_carries_the_one_sealed_document(write_batch: Any, scenario: Any, tmp_path: Path) -> None:
    batch = write_batch(scenario())
    first = document_of(batch, desk(batch, tmp_path))
    size = batch.workstation.size
    again = document_of(batch, desk(batch, tmp_path))  # another process, later
    assert again == first and batch.workstation.size == size
    package = export(batch, tmp_path / "p.zip", again)
    assert read_package(package).files["record.pdf"] == first
    entry = list(TrailView(list(batch.workstation.lines())).of("batch", batch.batch))[-1]
    assert entry.kind == EventKind.BATCH_DOCUMENT_SEALED and entry.attachments == {"record.pdf": sha256_hex(first)}
    assert entry.new["seal_level"] == "PAdES B-B" and entry.new["document_layout"] == layout()
    found = verify_package(package, [batch.workstation.key, batch.cell.key])
    assert not found.findings
    told = [line for line in found.checked if line.startswith("10")]
    assert any("sealed by the certificate that trails/" in line for line in told) and any("the same bytes" in line for line in told)
    record = batch.record()
    assert first.startswith(render_record(record, canonical(record)))


def test_a_document_that_is_exchanged_is_named(write_batch: Any, scenario: Any, tmp_path: Path) -> None:
    batch = write_batch(scenario())
    document = document_of(batch, desk(batch, tmp_path))
    record = batch.record()
    plain = render_record(record, canonical(record))
    stranger, _ = made_key(tmp_path / "stranger")
    altered = render_record({**record, "disposition": "released"}, canonical(record))
    for other, problem in (
        (plain, "carries no seal, though"),
        (sealed(plain, stranger).data, "is sealed by another certificate than"),
        (document + b"\n% more", "was modified after it was sealed"),
        (sealed(altered, _load(tmp_path)).data, "does not begin with the document that"),
    ):
        problems = [str(finding) for finding in report(batch, tmp_path / "p.zip", other).findings]
        assert any(problem in text for text in problems), (problem, problems)
        assert any("SHA-256 differs" in text for text in problems)


def test_a_seal_that_no_entry_names_is_a_finding(write_batch: Any, scenario: Any, tmp_path: Path) -> None:
    batch = write_batch(scenario())
    record = batch.record()
    document = sealed(render_record(record, canonical(record)), _load(tmp_path)).data
    (finding,) = report(batch, tmp_path / "p.zip", document).findings
    assert "is sealed, though no entry of the workstation's trail names a seal" in str(finding)


def test_a_document_that_shows_something_else_than_its_record_is_found_though_sealed_by_the_site(
    write_batch: Any, scenario: Any, tmp_path: Path
) -> None:
    """Whoever holds key and trail can seal a false page; the page is typeset again, and differs."""
    batch = write_batch(scenario())
    record = batch.record()
    false = render_record({**record, "units_accepted": 99}, canonical(record))
    document = sealed(false, _load(tmp_path))
    new = {
        "document_sha256": sha256_hex(document.data),
        "document_unsealed_sha256": sha256_hex(false),
        "document_unsealed_bytes": len(false),
        "document_layout": layout(),
        "seal_certificate_sha256": sha256_hex(_load(tmp_path).certificate),
    }
    files = {"record.pdf": document.data}
    batch.workstation.append(
        EntryDraft(EventKind.BATCH_DOCUMENT_SEALED, Subject("batch", batch.batch), new, SYSTEM, "ws", attachments=files)
    )
    (finding,) = report(batch, tmp_path / "p.zip", document.data).findings
    assert "shows something else than record.json" in str(finding)


def test_a_document_sealed_twice_or_before_its_disposition_is_found(write_batch: Any, scenario: Any, tmp_path: Path) -> None:
    batch = write_batch(scenario())
    document = document_of(batch, desk(batch, tmp_path))
    state = batch.workstation.state("batch", batch.batch)
    new = {name: state[name] for name in state if name.startswith(("document_", "seal_"))}
    subject, files = Subject("batch", batch.batch), {"record.pdf": document}
    batch.workstation.append(EntryDraft(EventKind.BATCH_DOCUMENT_SEALED, subject, new, SYSTEM, "ws", attachments=files))
    assert any("seals a document a second time" in str(finding) for finding in report(batch, tmp_path / "p.zip", document).findings)


def test_a_key_that_is_away_loses_nothing_and_is_made_up_for(write_batch: Any, scenario: Any, tmp_path: Path) -> None:
    batch = write_batch(scenario())
    size = batch.workstation.size

    def away() -> Any:
        raise SealFailed("The module does not answer.", remedy="Plug it in.")

    with pytest.raises(SealFailed):
        document_of(batch, desk(batch, tmp_path, away))
    assert batch.workstation.size == size
    document = document_of(batch, desk(batch, tmp_path))
    assert not report(batch, tmp_path / "p.zip", document).findings


def test_a_disk_that_is_full_while_sealing_leaves_no_half_document(
    write_batch: Any, scenario: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = write_batch(scenario())
    found = desk(batch, tmp_path)
    with monkeypatch.context() as patch:

        def full(*drafts: Any, **named: Any) -> Any:
            raise StoreReadOnly("The disk is full.", remedy="Make room.")

        patch.setattr(batch.workstation, "append", full)
        with pytest.raises(StoreReadOnly):
            document_of(batch, found)
    assert found.kept(batch.batch) is None
    document = document_of(batch, found)
    assert found.kept(batch.batch) == document and not report(batch, tmp_path / "p.zip", document).findings
