"""Pictures on paper: only plain drawings, whatever a trail holds."""

from __future__ import annotations

import io
from typing import Any

import pypdf
import pytest

from audit.canonical import canonical
from audit.release.document import render_record
from audit.release.document_picture import chosen_pictures, drawable

HEAD = b'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 4000 3000" width="16" height="12" role="img" aria-label="18.5 mg: cylinder">'
PLAIN = (
    HEAD + b'\n<path d="M0 0L100 0L100 100Z" fill="#eef4f4" stroke="none" stroke-width="0"/>\n<text x="5" y="9">18.5 mm</text>\n</svg>\n'
)


def test_a_plain_drawing_passes() -> None:
    assert drawable(PLAIN)


HOSTILE = [
    b"",
    b"x",
    PLAIN.replace(b"</svg>\n", b""),
    PLAIN.replace(b"<path", b"<script>alert(1)</script><path"),
    PLAIN.replace(b"<path ", b'<path onload="x" '),
    PLAIN.replace(b"<path ", b'<image href="record.json" '),
    PLAIN.replace(b'fill="#eef4f4"', b'fill="url(file:///etc/passwd)"'),
    PLAIN.replace(b'fill="#eef4f4"', b'fill="url(file:record.json)"'),
    PLAIN.replace(b'fill="#eef4f4"', b'style="fill:red"'),
    PLAIN.replace(b"18.5 mm<", b"&lt;b&gt;<"),
    PLAIN.replace(b"18.5 mm", b"<tspan>18.5</tspan>"),
    PLAIN.replace(HEAD, b'<?xml version="1.0"?><!DOCTYPE svg [<!ENTITY a "b">]>' + HEAD),
    PLAIN.replace(b"18.5 mm", "18,5 µm".encode()),
    PLAIN + PLAIN,
    HEAD + b"\n" + b'<path d="M0 0" fill="none"/>\n' * 60_000 + b"</svg>\n",
]


@pytest.mark.parametrize("data", HOSTILE)
def test_anything_else_is_not_drawn(data: bytes) -> None:
    assert not drawable(data)
    _, rows, left_out = chosen_pictures({"pictures/18.5-mg-unit.svg": data})
    assert rows == [] and left_out == ["pictures/18.5-mg-unit.svg"]


def test_a_name_that_is_not_ours_is_left_out() -> None:
    for name in ("pictures/../x-unit.svg", "pictures/18.5-mg.svg", "pictures/a/18.5-mg-unit.svg", "18.5-mg-unit.svg"):
        assert chosen_pictures({name: PLAIN})[2] == [name[:80]]


def test_the_record_shows_them_with_a_caption_and_says_what_it_leaves_out(write_batch: Any, scenario: Any) -> None:
    record = write_batch(scenario()).record()
    pictures = {f"pictures/{name}.svg": PLAIN for name in ("18.5-mg-unit", "18.5-mg-layers", "2.5-mg-part-2-unit")} | {
        "pictures/evil.svg": b"x"
    }
    pdf = pypdf.PdfReader(io.BytesIO(render_record(record, canonical(record), pictures)))
    text = " ".join(page.extract_text() for page in pdf.pages)
    assert "18.5 mg: the solid" in text and "18.5 mg: tool path" in text and "2.5 mg part 2: the solid" in text
    assert "Not drawn" in text and "pictures/evil.svg" in text
    assert pdf.attachments["record.json"] == [canonical(record)]
    assert render_record(record, canonical(record), pictures) == render_record(record, canonical(record), dict(reversed(pictures.items())))


@pytest.mark.parametrize("count", [1, 41])
def test_the_summary_stays_one_page(count: int, write_batch: Any, scenario: Any, unit: Any) -> None:
    record = write_batch(scenario(units=tuple(unit("467.2") for _ in range(count)), disposition="released")).record()
    pdf = pypdf.PdfReader(io.BytesIO(render_record(record, canonical(record), {"pictures/18.5-mg-unit.svg": PLAIN})))
    assert "Signatures" in pdf.pages[0].extract_text() and "Reviewbyexception" in "".join(pdf.pages[1].extract_text().split())
