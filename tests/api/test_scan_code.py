"""What a scanner read: GS1's own examples, what scanners send around them, plain serial numbers, and what is damaged."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.errors import InputInvalid
from api.interop.scan_code import read_scan

# The worked example of the GS1 DataMatrix Guideline, 2.3: (01)09501101020917 (17)190508 (10)ABCD1234 (21)10
GUIDELINE = "01095011010209171719050810ABCD1234\x1d2110"
READ = ("09501101020917", "ABCD1234", "10", "2019-05-08")


@pytest.mark.parametrize("around", ["{}", "]d2{}", "]C1{}", "]Q3{}", "\x1d{}", "]d2\x1d{}", "\x02{}\x03", "{}\r\n", " {}\t"])
@pytest.mark.parametrize("separator", ["\x1d", "<GS>", "{GS}"])
def test_the_example_of_gs1_is_read_whatever_stands_around_it(around: str, separator: str) -> None:
    code = read_scan(around.format(GUIDELINE.replace("\x1d", separator)))
    assert code.gs1 and (code.gtin, code.lot, code.serial, code.expiry) == READ
    assert code.name == "10"


def test_a_code_without_a_serial_names_nothing() -> None:
    # GS1 General Specifications, the example of a GS1 DataMatrix: (01)09501101530003(17)140704(10)AB-123
    code = read_scan("]d201095011015300031714070410AB-123")
    assert (code.gtin, code.expiry, code.lot) == ("09501101530003", "2014-07-04", "AB-123")
    assert code.gs1 and code.serial is None and code.name == ""


def test_a_day_of_zeros_is_the_last_of_its_month() -> None:
    assert read_scan("]d20109501101020917" + "17280200" + "10L").expiry == "2028-02-29", "GS1 General Specifications 3.4.7, a leap year"


@pytest.mark.parametrize("text", ["CYC-DEMO-01-A", "10-A", "MIN-DEMO-01-A-2", "21", "4006381333931", "01x"])
def test_a_plain_code_is_its_text(text: str) -> None:
    for scanned in (text, f"]C0{text}", f"{text}\r"):
        code = read_scan(scanned)
        assert (code.text, code.name, code.gs1, code.fhir) == (text, text, False, False)


@pytest.mark.parametrize(
    "scanned",
    [
        "]d20109501101020918" + "10A",  # a wrong check digit of the GTIN
        "]d2" + GUIDELINE[:14],  # cut off
        "]d21719050817190509",  # the same identifier twice
        "]C1zzz",
        "",
        " \r\n",
        "]d2" + "17991399",  # no such month
    ],
)
def test_a_damaged_code_is_refused_with_what_to_do(scanned: str) -> None:
    with pytest.raises(InputInvalid) as refused:
        read_scan(scanned)
    assert "again" in refused.value.remedy.lower()


def test_fhir_in_a_code_is_told_apart_and_one_that_writes_its_separator_is_not() -> None:
    assert read_scan('{"resourceType": "MedicationRequest"}').fhir
    code = read_scan("{FNC1}" + GUIDELINE.replace("\x1d", "{FNC1}"))
    assert not code.fhir and code.serial == "10"


@given(st.text(max_size=60))
def test_nothing_that_is_scanned_is_more_than_read_or_refused(text: str) -> None:
    try:
        code = read_scan(text)
    except InputInvalid as refused:
        assert refused.remedy
    else:
        assert code.text and not (code.gs1 and code.fhir)
