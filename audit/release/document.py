"""The batch record as PDF/A-3a (tagged), with the machine-readable record attached.

Typeset by typst from a template of ours; every text of the record reaches it as JSON data and is never markup. The
document's time stamp is taken from the record, so that the same record gives the same bytes (one typst version).
Source: ISO 19005-3 (PDF/A-3, level A); attachment with relationship *Source*.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from datetime import datetime
from functools import cache
from importlib import resources
from importlib.metadata import version
from pathlib import Path
from types import MappingProxyType

import typst

from audit.canonical import JsonObject, sha256_hex
from audit.errors import RecordError
from audit.release.batch_record import record_sha256
from audit.release.conformity import RELEASING
from audit.release.document_details import exceptions, full_record
from audit.release.document_picture import chosen_pictures
from audit.release.document_summary import summary
from audit.release.document_text import printable, show
from audit.release.trail_view import as_list, as_object, text_of


def render_record(record: JsonObject, record_json: bytes, pictures: Mapping[str, bytes] = MappingProxyType({})) -> bytes:
    """Return the PDF of a record; `record_json` (its canonical bytes) is attached as record.json.

    `pictures` are attachments of the run's creation by name (`pictures/…svg`); only drawings of a plain form are drawn.

    Raises RecordError where the record lacks what a document needs, typst cannot set it, or there is no room to set it in.
    """
    try:
        return _set(record, record_json, pictures)
    except OSError as error:
        raise RecordError(
            f"The document could not be made: {error.strerror}.", remedy="Make room in the folder for temporary files, then export again."
        ) from error


def _set(record: JsonObject, record_json: bytes, pictures: Mapping[str, bytes]) -> bytes:
    with tempfile.TemporaryDirectory(prefix="dosewright-record-") as folder:
        root = Path(folder)
        template = resources.files("audit.release").joinpath("templates", "record.typ").read_bytes()
        (root / "record.typ").write_bytes(template)
        (root / "record.json").write_bytes(record_json)
        drawn, rows, left_out = chosen_pictures(pictures)
        for name, data in drawn.items():
            (root / name).write_bytes(data)
        view = _view(record) | {"pictures": rows, "pictures_left_out": left_out}
        (root / "data.json").write_text(json.dumps(printable(view), ensure_ascii=False), encoding="utf-8")
        try:
            return typst.compile(
                root / "record.typ", root=root, ignore_system_fonts=True, pdf_standards=["a-3a"], timestamp=_timestamp(record)
            )
        except typst.TypstError as error:
            raise RecordError(f"The batch record could not be typeset: {error.message}.", remedy="Report it with record.json.") from error


@cache
def layout() -> str:
    """Return what decides the bytes of a document beside its record: typst's version, and the SHA-256 of template and layout here.

    Another layout makes another document of the same record; both are right.
    """
    folder = resources.files("audit.release")
    sources = sorted(item.name for item in folder.iterdir() if item.name.startswith("document") and item.name.endswith(".py"))
    parts = [folder.joinpath(name).read_bytes() for name in sources] + [folder.joinpath("templates", "record.typ").read_bytes()]
    return f"typst {version('typst')}, layout {sha256_hex(b''.join(parts))[:16]}"


def _timestamp(record: JsonObject) -> int:
    signatures = [text_of(as_object(signature).get("at")) for signature in as_list(record.get("signatures"))]
    moments = [moment for moment in (*signatures, text_of(as_object(record.get("times")).get("last_entry"))) if moment]
    try:
        return int(max(datetime.fromisoformat(moment) for moment in moments).timestamp())
    except (ValueError, TypeError) as error:
        raise RecordError("The record has no time to date its document with.", remedy="Build the record from its trails again.") from error


def _view(record: JsonObject) -> JsonObject:
    disposition, notice = show(record.get("disposition")), text_of(record.get("notice"))
    kind = "Batch release record" if disposition in RELEASING else "Batch record"
    return {
        "title": f"{kind} {show(record.get('batch'))}",
        "kind": kind,
        "description": f"{kind} with the machine-readable record attached" + (f". {notice}" if notice else ""),
        "batch": show(record.get("batch")),
        "notice": notice,
        "disposition": disposition,
        "record_sha256": record_sha256(record),
        **summary(record, disposition),
        **exceptions(record),
        **full_record(record),
    }
