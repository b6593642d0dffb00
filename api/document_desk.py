"""The document of a signed batch: typeset once, sealed by the site, kept as an attachment of the workstation's trail.

It is sealed right after the disposition is signed, in an entry of its own, so that nothing about a document can hold up a disposition;
where that fails (key away, disk full, process killed in between) the first export makes it up. Every package of the batch carries
that one file.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from api.certificates import SealFiles, make_seal
from api.people import DEVICE
from api.settings import Settings
from audit.canonical import JsonObject, sha256_hex
from audit.events import SYSTEM, EntryDraft, EventKind, Subject
from audit.release.document_key import DocumentKey, FileKey, Stamp
from audit.release.trail_view import TrailView
from audit.store import TrailStore


def site_key(settings: Settings) -> DocumentKey:
    """Return the key that seals this site's documents; a site laid out before there were seals gets one here. Raises SealFailed."""
    files = SealFiles(settings.path(settings.seal), settings.path(settings.seal_key), settings.path(settings.seal_authority))
    if not (files.certificate.exists() or files.key.exists() or files.authority.exists()):
        make_seal(files, site=settings.site)
    return FileKey.load(files.certificate, files.key, files.authority)


class DocumentDesk:
    """Typesets and seals documents.

    Lifetime: that of the workstation. Concurrency: the caller holds the turn of the batch, so that a batch is sealed once.
    """

    def __init__(self, store: TrailStore, site: str, key: Callable[[], DocumentKey], stamp: Stamp | None = None) -> None:
        self._store = store
        self._site = site
        self._key = key
        self._stamp = stamp

    def draft(self, batch_id: str, cell: TrailView, blob: Callable[[str], bytes]) -> bytes:
        """Return the document as the trails show the batch now, not sealed. `blob` gives attachments of the cell's trail."""
        from audit.release.package import typeset_record  # typst and pyHanko are loaded only when they are wanted

        return typeset_record(TrailView(list(self._store.lines())), cell, batch_id, blob)

    def sealed(self, batch_id: str, cell: TrailView, blob: Callable[[str], bytes]) -> bytes:
        """Return the sealed document of a signed batch; made, sealed and recorded where it is not yet.

        Raises RecordError (attachment missing, not to be typeset), SealFailed, and what the store raises.
        """
        held = self.kept(batch_id)
        if held is not None:
            return held
        from audit.release.document import layout
        from audit.release.document_signature import seal_document

        pdf = self.draft(batch_id, cell, blob)
        key, moment = self._key(), datetime.fromisoformat(self._store.clock.utc().at)
        sealed = seal_document(pdf, key, moment, f"Dosewright site {self._site}", self._stamp)
        new: JsonObject = {
            "document_sha256": sha256_hex(sealed.data),
            "document_unsealed_sha256": sha256_hex(pdf),
            "document_unsealed_bytes": len(pdf),
            "document_layout": layout(),
            "seal_certificate_sha256": sha256_hex(key.certificate),
            "seal_level": sealed.level,
            "seal_without_time": sealed.no_stamp,
        }
        subject, attachments = Subject("batch", batch_id), {"record.pdf": sealed.data}
        self._store.append(EntryDraft(EventKind.BATCH_DOCUMENT_SEALED, subject, new, SYSTEM, DEVICE, attachments=attachments))
        return sealed.data

    def kept(self, batch_id: str) -> bytes | None:
        """Return the sealed document where there is one already."""
        sha256 = (self._store.state("batch", batch_id) or {}).get("document_sha256")
        return self._store.blob(sha256) if isinstance(sha256, str) else None
