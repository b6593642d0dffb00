"""Element strings of packs: built, read back by biip, and compared with what scanners send."""

from __future__ import annotations

import string
from datetime import date

import pytest
from biip.gs1_messages import GS1Message
from hypothesis import assume, given
from hypothesis import strategies as st

from audit.errors import LabelRefused
from audit.release.gs1 import CHARACTERS, PackCode, is_code, read_code

# Written out from figure 7.11-1 of the General Specifications, as ASCII ranges: 82 characters.
SET_82 = {chr(code) for code in (0x21, 0x22, *range(0x25, 0x40), *range(0x41, 0x5B), 0x5F, *range(0x61, 0x7B))}
FIELD = st.text(alphabet=sorted(SET_82), min_size=1, max_size=20)
DAY = st.dates(min_value=date(2000, 1, 1), max_value=date(2099, 12, 31)).map(str)
INTERNAL = st.text(alphabet=sorted(SET_82), min_size=1, max_size=90)


def with_check_digit(payload: str) -> str:
    """GTIN-14 by the rule of the General Specifications, 7.9.1: weights 3 and 1 from the right."""
    total = sum(int(digit) * (3 if place % 2 == 0 else 1) for place, digit in enumerate(reversed(payload)))
    return payload + str(-total % 10)


CODES = st.one_of(
    st.builds(PackCode, DAY, FIELD, FIELD, product=INTERNAL),
    st.builds(PackCode, DAY, FIELD, FIELD, gtin=st.just(with_check_digit("0703206980498"))),
)


def test_the_character_set_is_that_of_the_standard() -> None:
    assert CHARACTERS == SET_82 and len(SET_82) == 82


@given(CODES)
def test_what_is_built_is_read_back_as_it_was(code: PackCode) -> None:
    assert read_code(code.text) == dict(code.fields)
    found = GS1Message.parse(code.text)
    assert [(element.ai.ai, element.value) for element in found.element_strings] == list(code.fields)


def test_the_order_and_the_separators_are_those_of_the_standard() -> None:
    code = PackCode("2027-12-31", "B00001", "B00001-P01", product="cyclophosphamide/1/18.5")
    assert code.text == "1727123110B00001\x1d21B00001-P01\x1d91cyclophosphamide/1/18.5"
    named = PackCode("2027-02-28", "B1", "B1-P01", gtin="07032069804988")
    assert named.text == "01070320698049881727022810B1\x1d21B1-P01", "fixed lengths first, no separator at the end"
    assert named.printed == "(01)07032069804988(17)270228(10)B1(21)B1-P01"


@given(CODES, st.sampled_from(["{}", "]d2{}", "\x1d{}", "]d2\x1d{}", "{}\r\n", " {}\n"]), st.sampled_from(["\x1d", "|", "~", "^", ""]))
def test_a_scan_is_known_however_the_scanner_sends_separators(code: PackCode, around: str, separator: str) -> None:
    assume(not code.text.startswith("]d2"))
    assert is_code(around.format(code.text.replace("\x1d", separator)), code)


@given(CODES, CODES)
def test_another_code_is_never_taken_for_this_one(code: PackCode, other: PackCode) -> None:
    assume(code != other and "".join(code.segments) != "".join(other.segments))
    assert not is_code(other.text, code) and not is_code("".join(other.segments), code)


@given(CODES, st.data())
def test_a_code_with_one_character_changed_dropped_or_doubled_is_refused(code: PackCode, data: st.DataObject) -> None:
    text = code.text
    at = data.draw(st.integers(0, len(text) - 1))
    other = data.draw(st.sampled_from(string.ascii_letters + string.digits + "-/"))
    assume(other != text[at] and text[at] != "\x1d")
    assert not is_code(text[:at] + other + text[at + 1 :], code)
    assert not is_code(text[:at] + text[at + 1 :], code)


def test_two_codes_that_are_alike_are_told_apart_by_their_separators() -> None:
    one, two = PackCode("2027-12-31", "A", "21B", product="x"), PackCode("2027-12-31", "A21", "B", product="x")
    assert "".join(one.segments) != one.text
    assert is_code(one.text, one) and is_code(two.text, two)
    assert not is_code(one.text, two) and not is_code(two.text, one)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"lot": "x" * 21}, "21 characters"),
        ({"lot": ""}, "0 characters"),
        ({"serial": "P 01"}, "not of GS1 character set 82"),
        ({"serial": "P\x1d01"}, "not of GS1 character set 82"),
        ({"serial": "P@01"}, "'@'"),
        ({"expiry": "2027-02-30"}, "not a date"),
        ({"expiry": "2027-00-01"}, "not a date"),
        ({"expiry": "1999-12-31"}, "not a date"),
        ({"expiry": "27-12-31"}, "not a date"),
        ({"product": None}, "by one of them"),
        ({"gtin": "07032069804988"}, "by one of them"),
        ({"product": "x" * 91}, "91 characters"),
        ({"product": None, "gtin": "07032069804989"}, "gtin"),
        ({"product": None, "gtin": "7032069804988"}, "14 digits"),
    ],
)
def test_what_the_standard_has_no_place_for_is_refused(changes: dict[str, str | None], words: str) -> None:
    fields = {"expiry": "2027-12-31", "lot": "B1", "serial": "B1-P01", "gtin": None, "product": "x", **changes}
    with pytest.raises(LabelRefused, match=words):
        PackCode(**fields)  # type: ignore[arg-type]


@pytest.mark.parametrize("scanned", ["", "   ", "hello", "17271301", "1727123117271231", "\x1d\x1d"])
def test_what_is_no_element_string_is_refused_with_words(scanned: str) -> None:
    with pytest.raises(LabelRefused):
        read_code(scanned)


@given(st.text(max_size=60))
def test_anything_typed_is_read_or_refused(text: str) -> None:
    code = PackCode("2027-12-31", "B1", "B1-P01", product="x")
    assert is_code(text, code) in (True, False)
    try:
        read_code(text)
    except LabelRefused as error:
        assert error.reasons
