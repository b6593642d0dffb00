"""What sealing touches of PDF/A-3 (ISO 19005-3), read with a library that wrote nothing of it.

No PDF/A validator can be installed with the project's requirements; these are the clauses that a signature's update could break, and those
that an archive looks at first. They are no substitute for a validator.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pypdf
import pytest

from audit.canonical import canonical
from audit.release.document import render_record
from tests.release.seals import made_key, sealed

PRINT, HIDDEN, INVISIBLE, NO_VIEW = 4, 2, 1, 32


@pytest.fixture
def documents(write_batch: Any, scenario: Any, tmp_path: Path) -> tuple[bytes, bytes]:
    record = write_batch(scenario()).record()
    pdf = render_record(record, canonical(record))
    return pdf, sealed(pdf, made_key(tmp_path / "tls")[0]).data


def objects(pdf: pypdf.PdfReader) -> Iterator[Any]:
    """Give every dictionary and stream that the document reaches."""
    seen, stack = set[int](), [pdf.trailer["/Root"], pdf.trailer["/Info"]]
    while stack:
        item = stack.pop()
        item = item.get_object() if hasattr(item, "get_object") else item
        if id(item) in seen:
            continue
        seen.add(id(item))
        if isinstance(item, dict):
            yield item
            stack += [item.raw_get(name) for name in item]
        elif isinstance(item, list):
            stack += list(item)


def reader(data: bytes) -> pypdf.PdfReader:
    return pypdf.PdfReader(io.BytesIO(data), strict=True)


def test_part_and_conformance_stay_in_the_metadata_to_the_byte(documents: tuple[bytes, bytes]) -> None:
    before, after = (reader(data).trailer["/Root"]["/Metadata"].get_data() for data in documents)
    assert before == after
    assert b"<pdfaid:part>3</pdfaid:part>" in after and b"<pdfaid:conformance>A</pdfaid:conformance>" in after


def test_the_information_dictionary_still_says_what_the_metadata_say(documents: tuple[bytes, bytes]) -> None:
    before, after = (reader(data) for data in documents)
    assert before.trailer["/Info"] == after.trailer["/Info"]
    metadata = after.trailer["/Root"]["/Metadata"].get_data().decode()
    assert str(after.trailer["/Info"]["/Title"]) in metadata and str(after.trailer["/Info"]["/Creator"]) in metadata
    created = after.metadata.creation_date if after.metadata else None
    assert created is not None and created.strftime("%Y-%m-%dT%H:%M:%S") in metadata


def test_version_encryption_and_identifiers(documents: tuple[bytes, bytes]) -> None:
    pdf, data = reader(documents[1]), documents[1]
    assert data.startswith(b"%PDF-1.7\n%") and min(data[10:14]) > 127
    assert "/Version" not in pdf.trailer["/Root"] and "/Encrypt" not in pdf.trailer
    first = [reader(document).trailer["/ID"][0] for document in documents]
    assert first[0] == first[1] and pdf.trailer["/ID"][1] != first[0]
    assert data.rstrip(b"\r\n").endswith(b"%%EOF")


def test_the_output_intent_and_colours(documents: tuple[bytes, bytes]) -> None:
    pdf = reader(documents[1])
    (intent,) = pdf.trailer["/Root"]["/OutputIntents"]
    profile = intent.get_object()["/DestOutputProfile"].get_object()
    assert intent.get_object()["/S"] == "/GTS_PDFA1" and profile["/N"] == 3 and profile.get_data()[36:40] == b"acsp"


def test_the_attached_record_has_relationship_type_and_names(documents: tuple[bytes, bytes]) -> None:
    root = reader(documents[1]).trailer["/Root"]
    (attached,) = root["/AF"]
    file = attached.get_object()
    assert file["/AFRelationship"] == "/Source" and file["/F"] == file["/UF"] == "record.json"
    assert file["/EF"]["/F"].get_object()["/Subtype"] == "/application/json"
    assert root["/Names"]["/EmbeddedFiles"]["/Names"][1].get_object() == file


def test_every_font_is_embedded_and_tells_its_characters(documents: tuple[bytes, bytes]) -> None:
    fonts = [item for item in objects(reader(documents[1])) if item.get("/Type") == "/Font"]
    whole = [font for font in fonts if font["/Subtype"] == "/Type0"]
    assert whole and all("/ToUnicode" in font for font in whole)
    for font in fonts:
        if font["/Subtype"] != "/Type0":
            descriptor = font["/FontDescriptor"].get_object()
            assert {"/FontFile", "/FontFile2", "/FontFile3"} & set(descriptor), descriptor["/FontName"]


def test_the_field_of_the_seal_prints_and_needs_no_appearance(documents: tuple[bytes, bytes]) -> None:
    pdf = reader(documents[1])
    form = pdf.trailer["/Root"]["/AcroForm"]
    assert "/XFA" not in form and not form.get("/NeedAppearances")
    widgets = [a.get_object() for page in pdf.pages for a in page.get("/Annots", []) if a.get_object()["/Subtype"] == "/Widget"]
    (widget,) = widgets
    assert widget["/F"] & PRINT and not widget["/F"] & (HIDDEN | INVISIBLE | NO_VIEW)
    assert list(widget["/Rect"]) == [0, 0, 0, 0] and "/AP" not in widget  # 6.3.3: no appearance where there is no area
    assert "/A" not in widget and "/AA" not in widget and widget["/TU"]


def test_nothing_that_an_archive_refuses(documents: tuple[bytes, bytes]) -> None:
    root = reader(documents[1]).trailer["/Root"]
    assert not {"/OpenAction", "/AA", "/Requirements", "/Perms"} & set(root) and "/JavaScript" not in root["/Names"]
    for item in objects(reader(documents[1])):
        assert item.get("/S") not in ("/JavaScript", "/Launch", "/Sound", "/Movie", "/SetState") or "/P" in item
        assert item.get("/BM", "/Normal") in ("/Normal", "/Compatible")
        assert "/LZWDecode" not in str(item.get("/Filter", ""))
