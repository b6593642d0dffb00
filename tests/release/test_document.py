"""The record as a PDF: archival form, its attachment, one summary page, and texts that stay texts."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

import pypdf
import pytest
import typst

from audit.canonical import canonical
from audit.errors import RecordError
from audit.release.batch_record import record_sha256
from audit.release.document import render_record
from audit.release.document_text import _EXTRA_GLYPHS
from tests.release.seals import program, said


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
    assert b"<pdfaid:part>3</pdfaid:part>" in metadata and b"<pdfaid:conformance>A</pdfaid:conformance>" in metadata
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


LONG = "Maximiliane-Theodora " * 12 + "Donaudampfschifffahrtselektrizitaetenhauptbetriebswerkbauunterbeamtengesellschaft" * 2


def adversarial(record: Any, units: int, alarms: int, people: int) -> Any:
    """A record whose every text is too long, with as many units, alarms and signatures as somebody may think of."""
    first, bad = record["units"][0], record["units"][-1]
    made = [
        {**(bad if i % 7 == 3 else first), "n": i + 1, "unit": f"B-1-R1/{i + 1:03d}", "reasons": [LONG] * (i % 7 == 3)}
        for i in range(units)
    ]
    alarm = {
        "at": "2026-11-20T08:00:00Z",
        "priority": "critical",
        "unit_n": 3,
        "name": LONG,
        "message": LONG,
        "cause": LONG,
        "comment": LONG,
    }
    signatures = [{**record["signatures"][0], "signer": f"p{i}", "name": LONG, "meaning": f"{i} {LONG}"} for i in range(people)]
    return {
        **record,
        "units": made,
        "alarms": [{**alarm, "acknowledged_by": "olga"}] * alarms,
        "deviations": [{"deviation": LONG, "text": LONG, "status": "open"}] * alarms,
        "exceptions": [{"exception": LONG, "finding": LONG, "cause": LONG, "resolved_by": LONG, "reason_code": "material", "at": "x"}]
        * alarms,
        "signatures": signatures + record["signatures"][-1:],
        "people": [{"username": LONG, "name": LONG, "roles": [LONG]}] * people,
        "product": dict.fromkeys(record["product"], LONG),
        "prescription": {**record["prescription"], "patient": LONG, "prescriber": LONG},
        "dose": {"arithmetic": [f"Fill mass: {LONG}"] * 20},
        "proposal": {**record["proposal"], "reasons": [LONG] * 12},
        "strengths": record["strengths"] * 9,
        "release": {"legal_route": {"title": LONG, "statement": LONG, "roles": []}, "use_by": {"day": "2026-12-01", "because": LONG}},
    }


def off_the_page(data: bytes, path: Path) -> list[str]:
    """Return the words that poppler finds beyond the margins of A4 (595 × 842 pt)."""
    path.write_bytes(data)
    found: list[str] = []
    for line in said(program("pdftotext"), "-bbox", path, "-").splitlines():
        if match := re.search(r'<word xMin="([\d.-]+)" yMin="([\d.-]+)" xMax="([\d.-]+)" yMax="([\d.-]+)">(.*)</word>', line):
            left, top, right, bottom = map(float, match.groups()[:4])
            if left < 50 or right > 546 or top < 12 or bottom > 830:
                found.append(line.strip())
    return found


@pytest.mark.parametrize(("units", "alarms", "people"), [(1, 0, 1), (14, 3, 4), (300, 40, 30)])
def test_texts_too_long_leave_neither_the_first_page_nor_the_paper(
    units: int, alarms: int, people: int, write_batch: Any, scenario: Any, tmp_path: Path
) -> None:
    data, pdf = render(adversarial(write_batch(scenario()).record(), units, alarms, people))
    first, second = (squeezed(pdf.pages[number].extract_text()) for number in (0, 1))
    assert "Signatures" in first and squeezed("A text that ends with …") in first and "…" in first.replace("with…", "")
    assert "Reviewbyexception" in second and "Thispageiscuthere" not in first
    everything = squeezed(" ".join(page.extract_text() for page in pdf.pages)).replace("\u200b", "")
    assert everything.count(squeezed(LONG)) >= 20  # whole, behind the first page
    assert not off_the_page(data, tmp_path / "record.pdf")


def test_what_cannot_fit_is_cut_and_says_so(write_batch: Any, scenario: Any) -> None:
    record = write_batch(scenario()).record()
    _, pdf = render({**record, "prescription": {**record["prescription"], "prescriber": "x" * 5000}})
    text = squeezed(" ".join(page.extract_text() for page in pdf.pages))
    assert "[3000charactersmore:inrecord.json]" in text


@pytest.mark.parametrize("units", [1, 100, 300])
def test_every_unit_and_every_entry_is_in_the_full_record(units: int, write_batch: Any, scenario: Any) -> None:
    record = write_batch(scenario()).record()
    record["units"] = [{**record["units"][0], "n": i + 1, "gross_after_mg": f"{90000 + i}.25"} for i in range(units)]
    _, pdf = render(record)
    text = " ".join(page.extract_text() for page in pdf.pages)
    for i in range(units):
        assert f"{90000 + i}.25" in text
    for entry in record["entries"]:
        assert entry["digest"][:16] in text
    assert f"Page 1 of {len(pdf.pages)}" in pdf.pages[0].extract_text()


def test_every_page_names_batch_record_and_number(write_batch: Any, scenario: Any) -> None:
    record = write_batch(scenario()).record()
    _, pdf = render(record)
    for number, page in enumerate(pdf.pages, 1):
        text = page.extract_text()
        assert record_sha256(record) in text and "B-1" in text and f"Page {number} of {len(pdf.pages)}" in text


def test_a_rejected_and_a_held_batch_have_as_complete_a_record(write_batch: Any, scenario: Any) -> None:
    def headings(disposition: str | None) -> set[str]:
        _, pdf = render(write_batch(scenario(disposition=disposition, releaser="quinn")).record())
        flat = [item for item in pdf.outline if not isinstance(item, list)]
        return {item.title for part in [flat, *[item for item in pdf.outline if isinstance(item, list)]] for item in part}

    released = headings("partly released")
    assert released == headings("rejected") == headings(None)
    assert {"Review by exception", "Full record", "Readings of each unit", "Entries that the record rests on", "Signatures"} <= released


def test_how_an_exception_was_resolved_stands_in_the_review(write_batch: Any, scenario: Any) -> None:
    record = write_batch(scenario()).record()
    resolution = {"exception": "rejects", "finding": "1 of 5 rejected", "reason_code": "material", "cause": "an air bubble"}
    record["exceptions"] = [{**resolution, "resolved_by": "quentin", "at": "2026-11-20T09:00:00Z", "problem": ""}]
    _, pdf = render(record)
    text = squeezed(pdf.pages[1].extract_text())
    assert "material:anairbubble" in text and "quentin,2026-11-2009:00:00UTC" in text and "counts" in text


def test_the_signatures_on_paper_are_those_of_the_record_with_zone(write_batch: Any, scenario: Any) -> None:
    record = write_batch(scenario()).record()
    _, pdf = render(record)
    text = squeezed(pdf.pages[0].extract_text())
    for signature in record["signatures"]:
        assert squeezed(f"{signature['name']} ({signature['signer']})") in text
        assert squeezed(signature["at"][:19].replace("T", " ")) in text and signature["zone"] in text


def test_the_words_of_the_legal_route_are_on_the_first_page(write_batch: Any, scenario: Any) -> None:
    record = write_batch(scenario()).record()
    route = {"title": "magistral preparation", "statement": "pharmacist release, 100 % weighing", "roles": ["pharmacist"]}
    _, pdf = render({**record, "release": {"legal_route": route}})
    assert squeezed("magistral preparation: pharmacist release, 100 % weighing") in squeezed(pdf.pages[0].extract_text())


def test_the_document_can_be_read_without_seeing_it(write_batch: Any, scenario: Any) -> None:
    """Title, language, structure, and a description of each figure; the template also passes typst's own checks for PDF/UA-1."""
    record = write_batch(scenario()).record()
    _, pdf = render(record)
    root = pdf.trailer["/Root"]
    assert root["/MarkInfo"]["/Marked"] and root["/Lang"] == "en" and pdf.metadata is not None and pdf.metadata.title
    assert root["/ViewerPreferences"].get("/DisplayDocTitle", True)
    kinds, bare = set[str](), 0
    stack = [root["/StructTreeRoot"]]
    while stack:
        item = stack.pop().get_object()
        if not isinstance(item, dict):
            continue
        kinds.add(str(item.get("/S")))
        bare += item.get("/S") == "/Figure" and "/Alt" not in item
        children = item.get("/K", [])
        stack += [child for child in (children if isinstance(children, list) else [children]) if not isinstance(child, int)]
    assert {"/H1", "/H2", "/Table", "/TH", "/TD", "/Figure"} <= kinds and bare == 0


def test_the_template_passes_the_checks_for_pdf_ua(write_batch: Any, scenario: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    record = write_batch(scenario()).record()
    compile_ = typst.compile
    asked: list[Any] = []

    def with_ua(*arguments: Any, **named: Any) -> Any:
        asked.append(named["pdf_standards"])
        return compile_(*arguments, **{**named, "pdf_standards": ["a-3a", "ua-1"]})

    monkeypatch.setattr(typst, "compile", with_ua)
    render(record)
    assert asked == [["a-3a"]]
