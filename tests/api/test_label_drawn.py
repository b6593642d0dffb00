"""Labels as they come out of a printer, read by decoders that are not ours."""

from __future__ import annotations

import dataclasses
import itertools
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import zpl_printer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from api.interop.data_matrix import modules, svg
from api.interop.label_pdf import PrintJob, render
from api.interop.label_zpl import MODULE_DOTS, escaped, field_data, render_zpl
from audit.errors import LabelRefused
from audit.release.gs1 import CHARACTERS, PackCode, is_code
from audit.release.label import NOT_CLINICAL, Label

CODE = PackCode("2027-12-31", "B00001", "B00001-P01", product="cyclophosphamide/1/18.5")
LABEL = Label(
    pack="B00001-P01",
    batch="B00001",
    patient="p-7",
    product="Cyclophosphamide printlet",
    strengths=("18.5 mg cyclophosphamide (anhydrous)",),
    form="tablet",
    quantity="14 tablets",
    intake="One tablet: morning, for 14 days",
    directions="Disperse one unit in 5 mL of water and take the whole amount at once.",
    route="oral",
    use_by="2027-12-31",
    storage="Store in the original pack, below 25 °C, protected from moisture.",
    excipients="lactose monohydrate",
    warnings=("CYTOTOXIC", "Handle with gloves."),
    legal=("Prepared in the pharmacy for the patient named", "Unlicensed medicine"),
    prescriber="Dr Example RX-1",
    pharmacy=("Pharmacy of the test", "Street 1"),
    code=CODE,
    crossed=None,
)
JOB = PrintJob(("Ärzte, Zoë ^XZ~JA", "born 2019-05-01"), 1, "f" * 32)
FIELD = st.text(alphabet=sorted(CHARACTERS), min_size=1, max_size=20)
ZINT = shutil.which("zint")


def tool(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"not run: {name} is missing (Debian: dmtx-utils, zint, poppler-utils, zxing-cpp-tools)")
    return found


def read(picture: Path) -> str:
    """What libdmtx reads: FNC1 is shown as GS."""
    found = subprocess.run([tool("dmtxread"), "-n", "-N1", "-G29", "-m4000", str(picture)], capture_output=True, timeout=30, check=False)
    return found.stdout.decode("ascii").rstrip("\n")


def picture(rows: tuple[tuple[bool, ...], ...], scale: int = 6) -> Image.Image:
    size = len(rows)
    small = Image.new("L", (size + 8, size + 8), 255)
    small.putdata(
        [0 if 4 <= y < size + 4 and 4 <= x < size + 4 and rows[y - 4][x - 4] else 255 for y in range(size + 8) for x in range(size + 8)]
    )
    return small.resize(((size + 8) * scale, (size + 8) * scale), Image.Resampling.NEAREST)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lot=FIELD, serial=FIELD, product=st.text(alphabet=sorted(CHARACTERS), min_size=1, max_size=60))
def test_an_outside_decoder_reads_every_symbol(tmp_path: Path, lot: str, serial: str, product: str) -> None:
    code = PackCode("2027-12-31", lot, serial, product=product)
    picture(modules(code)).save(tmp_path / "code.png")
    assert read(tmp_path / "code.png") == "\x1d" + code.text


def test_zxing_calls_it_a_gs1_symbol(tmp_path: Path) -> None:
    reader = tool("ZXingReader")
    picture(modules(CODE)).save(tmp_path / "code.png")
    found = subprocess.run([reader, str(tmp_path / "code.png")], capture_output=True, text=True, timeout=30, check=True).stdout
    assert re.search(r"Identifier:\s*\]d2", found) and re.search(r"Content:\s*GS1", found)
    raw = re.search(r"Bytes:\s*([0-9A-F ]+)", found)
    assert raw is not None and bytes.fromhex(raw.group(1)).decode() == CODE.text


def test_zint_takes_the_same_data_for_a_symbol_of_the_same_size(tmp_path: Path) -> None:
    zint = tool("zint")
    dump = subprocess.run(
        [zint, "--barcode=71", "--gs1", "--square", "--dump", "-d", "".join(f"[{ai}]{value}" for ai, value in CODE.fields)],
        capture_output=True, text=True, timeout=20, check=True,
    ).stdout  # fmt: skip
    assert len([line for line in dump.splitlines() if line.strip()]) == len(modules(CODE))


def test_the_vector_drawing_is_the_symbol() -> None:
    rows, drawn = modules(CODE), svg(CODE).decode()
    dark = set()
    for x, y, length in re.findall(r"M(\d+) (\d+)h(\d+)v1h-\d+z", drawn):
        dark |= {(int(x) + step - 1, int(y) - 1) for step in range(int(length))}
    assert dark == {(x, y) for y, row in enumerate(rows) for x, cell in enumerate(row) if cell}


@pytest.mark.parametrize("crossed", [None, NOT_CLINICAL])
def test_the_symbol_on_the_printed_page_is_read(tmp_path: Path, crossed: str | None) -> None:
    (tmp_path / "label.pdf").write_bytes(render(dataclasses.replace(LABEL, crossed=crossed), JOB))
    subprocess.run([tool("pdftoppm"), "-r", "300", "-png", "-singlefile", str(tmp_path / "label.pdf"), str(tmp_path / "label")], check=True)
    assert is_code(read(tmp_path / "label.png"), CODE)
    text = subprocess.run([tool("pdftotext"), "-raw", str(tmp_path / "label.pdf"), "-"], capture_output=True, check=True).stdout.decode()
    for wanted in (
        "Zoë ^XZ~JA",
        "18.5 mg cyclophosphamide",
        "Use by 2027-12-31",
        "CYTOTOXIC",
        "Unlicensed medicine",
        "Pharmacy of the test",
    ):
        assert wanted in text
    assert (NOT_CLINICAL in text) is (crossed is not None)


@pytest.mark.parametrize("resolution", [203, 300])
@pytest.mark.parametrize("crossed", [None, NOT_CLINICAL])
def test_a_thermal_printer_draws_the_same_code_and_all_texts(tmp_path: Path, resolution: Any, crossed: str | None) -> None:
    page = zpl_printer.draw(render_zpl(dataclasses.replace(LABEL, crossed=crossed), JOB, resolution), tmp_path, ZINT)
    assert page.symbol == "\x1d" + CODE.text
    texts = [text for *_, text in page.texts]
    assert texts.count("Ärzte, Zoë ^XZ~JA") == 1 and "18.5 mg cyclophosphamide (anhydrous)" in texts
    assert (NOT_CLINICAL in texts) is (crossed is not None)
    width, height = page.picture.size
    for x, y, size, text in page.texts:
        assert x + len(text) * size * 0.5 <= width and y + size <= height, text
        if y < page.symbol_box[3] and x < page.symbol_box[0]:
            assert x + len(text) * size * 0.55 <= page.symbol_box[0], f"runs into the symbol: {text}"
    tops = sorted((y, size) for x, y, size, text in page.texts if x < 100 and text != NOT_CLINICAL)
    assert all(above + size <= below for (above, size), (below, _) in itertools.pairwise(tops)), "no two lines on each other"
    if ZINT is not None:
        seen = page.picture.crop((page.symbol_box[0] - 24, 0, width, height // 2))  # what a person points a scanner at
        seen.resize((seen.width * 3, seen.height * 3), Image.Resampling.NEAREST).save(tmp_path / "page.png")
        assert is_code(read(tmp_path / "page.png"), CODE)
        assert MODULE_DOTS[resolution] / {203: 8, 300: 12}[resolution] >= 0.254, "smallest module for healthcare items, mm"


@given(lot=FIELD, serial=FIELD, product=FIELD)
def test_what_the_printer_is_told_is_the_element_string(lot: str, serial: str, product: str) -> None:
    code = PackCode("2027-12-31", lot, serial, product=product)
    assert zpl_printer.symbol_data(field_data(code), "_") == "\x1d" + code.text


@given(st.text(alphabet=st.characters(codec="utf-8", exclude_characters="\n"), max_size=40))
def test_no_text_can_be_a_command(text: str) -> None:
    written = escaped(text)
    assert written.isascii() and not set(written) & set("^~") and zpl_printer.unescaped(written) == text


def test_texts_that_do_not_fit_are_refused_and_never_cut() -> None:
    long = dataclasses.replace(LABEL, warnings=tuple(f"Warning number {n}: " + "a long sentence " * 8 for n in range(12)))
    for make in (lambda: render(long, JOB), lambda: render_zpl(long, JOB)):
        with pytest.raises(LabelRefused, match="do not fit"):
            make()


def test_texts_get_smaller_before_they_are_refused() -> None:
    more = dataclasses.replace(LABEL, warnings=tuple(f"Warning number {n}, of a usual length, to be kept in mind." for n in range(6)))
    first, smaller = (zpl_printer.draw(render_zpl(item, JOB), Path(), None).texts for item in (LABEL, more))
    assert max(size for _, _, size, _ in smaller) < max(size for _, _, size, _ in first)
    assert render(more, JOB).startswith(b"%PDF-")


def test_a_further_copy_says_so() -> None:
    texts = [text for *_, text in zpl_printer.draw(render_zpl(LABEL, dataclasses.replace(JOB, copy=3)), Path(), None).texts]
    assert "copy 3" in texts


def test_the_page_is_pdf_a(tmp_path: Path) -> None:
    data = render(LABEL, JOB)
    assert b"pdfaid:part" in data and b"/FontFile" in data
    (tmp_path / "label.pdf").write_bytes(data)
    subprocess.run([tool("qpdf"), "--check", str(tmp_path / "label.pdf")], check=True, capture_output=True)
