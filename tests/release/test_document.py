"""The record as a PDF: archival form, its attachment, one summary page, and texts that stay texts."""

from __future__ import annotations

import io
from typing import Any

import pypdf
import pytest

from audit.canonical import canonical
from audit.errors import RecordError
from audit.release.document import _EXTRA_GLYPHS, render_record


def render(record: Any) -> tuple[bytes, pypdf.PdfReader]:
    data = render_record(record, canonical(record))
    return data, pypdf.PdfReader(io.BytesIO(data))


def squeezed(text: str) -> str:
    return "".join(text.split())


def test_archival_form_attachment_and_same_bytes(write_batch: Any, scenario: Any) -> None:
    record = write_batch(scenario()).record()
    data, pdf = render(record)
    assert pdf.attachments["record.json"] == [canonical(record)]
    metadata = pdf.trailer["/Root"]["/Metadata"].get_data()
    assert b"<pdfaid:part>3</pdfaid:part>" in metadata and b"<pdfaid:conformance>B</pdfaid:conformance>" in metadata
    (attached,) = pdf.trailer["/Root"]["/AF"]
    assert attached.get_object()["/AFRelationship"] == "/Source"
    assert render(record)[0] == data


def test_demonstration_stands_on_every_page_and_signatures_are_marked(write_batch: Any, scenario: Any) -> None:
    record = write_batch(scenario()).record()
    _, pdf = render(record)
    for page in pdf.pages:
        assert "demonstration,notforpatients" in squeezed(page.extract_text()).lower()
    assert squeezed(pdf.pages[0].extract_text()).count("SCRIPTED") == 4
    _, plain = render({**record, "notice": None, "demonstration": False})
    assert all("demonstration,not" not in squeezed(page.extract_text()).lower() for page in plain.pages)


@pytest.mark.parametrize("count", [1, 2, 14, 30, 41])
def test_the_summary_is_one_page_for_any_number_of_units(count: int, write_batch: Any, scenario: Any, unit: Any) -> None:
    units = tuple(
        unit("467.2", removed=False) if i % 7 else unit(None, verdict="scrapped", reasons=("stopped by alarm: " + "pressure high " * 9,))
        for i in range(1, count + 1)
    )
    alarm = {
        "name": "pressure high",
        "priority": "critical",
        "unit_n": 3,
        "message": "pressure 612 kPa " * 12,
        "cause": "clog",
        "acknowledged": False,
    }
    batch = write_batch(scenario(units=units, disposition=None, alarms=(alarm,) * 5, deviations=({"unit_n": 3, "text": "y" * 300},) * 3))
    _, pdf = render(batch.record())
    assert "Signatures" in pdf.pages[0].extract_text() and "Reviewbyexception" in squeezed(pdf.pages[1].extract_text())


def test_several_strengths_and_a_batch_without_units(write_batch: Any, scenario: Any, unit: Any) -> None:
    units = tuple(unit("63.0", "2.5") for _ in range(10)) + tuple(unit("31.0", "1.25") for _ in range(20))
    _, pdf = render(write_batch(scenario(units=units, disposition="released")).record())
    assert "2.5mg,1.25mg" in squeezed(pdf.pages[0].extract_text())
    record = write_batch(scenario(disposition=None)).record()
    _, empty = render({**record, "units": [], "strengths": []})
    assert "Nounitwasprinted" in squeezed(empty.pages[0].extract_text())


def test_hostile_text_is_never_markup(write_batch: Any, scenario: Any) -> None:
    hostile = '#panic("x") $ *b* _i_ \\ <label> @ref `raw` "quote" // c'
    _, pdf = render(write_batch(scenario(patient=hostile)).record())
    assert squeezed(hostile) in squeezed(pdf.pages[0].extract_text())


def test_characters_without_a_glyph_are_written_out(write_batch: Any, scenario: Any) -> None:
    _, pdf = render(write_batch(scenario(patient="李\u202e\u0000")).record())
    assert "<U+674E><U+202E><U+0000>" in squeezed(pdf.pages[0].extract_text())
    every = "".join(map(chr, (*range(32, 127), *range(0xA1, 0xAD), *range(0xAE, 0x180)))) + "".join(sorted(_EXTRA_GLYPHS))
    record = write_batch(scenario(patient=every)).record()
    record["people"] = [{"username": every, "name": every, "roles": [every]}]
    record["trails"]["workstation"]["origin"] = every
    render(record)  # typst refuses PDF/A with a missing glyph


@pytest.mark.parametrize(
    "shape",
    [{"family": "torus", "diameter_mm": "8"}, {"family": "dispense"}, {"family": "cylinder", "diameter_mm": "0", "height_mm": "3"}, {}],
)
def test_shapes(shape: dict[str, str], write_batch: Any, scenario: Any) -> None:
    record = write_batch(scenario()).record()
    record["strengths"][0]["shape"] = shape
    render(record)


def test_a_record_without_a_time_is_refused(write_batch: Any, scenario: Any) -> None:
    record = write_batch(scenario()).record()
    with pytest.raises(RecordError, match="no time"):
        render({**record, "signatures": [], "times": {}})
