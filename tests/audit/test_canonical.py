"""Canonical bytes against the rfc8785 package and against published text."""

from __future__ import annotations

import hashlib
from enum import StrEnum
from types import MappingProxyType

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from audit.canonical import canonical, digest, parse_canonical, sha256_hex
from audit.errors import EntryInvalid

TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=20)
KEYS = st.text(st.characters(max_codepoint=127), max_size=12)
LEAVES = st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | TEXT
VALUES = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=5) | st.dictionaries(KEYS, inner, max_size=5), max_leaves=30)


@given(VALUES)
def test_equals_rfc8785(value: object) -> None:
    assert canonical(value) == rfc8785.dumps(value)


@given(VALUES)
def test_both_encoders_give_the_same_bytes(value: object) -> None:
    assert canonical(MappingProxyType({"v": value})) == canonical({"v": value}) == rfc8785.dumps({"v": value})


@given(VALUES)
def test_reading_gives_the_value_back(value: object) -> None:
    assert parse_canonical(canonical(value)) == value


@given(st.text(max_size=30) | st.sampled_from(['{"a":%s}', "[%s]", "%s"]).flatmap(lambda form: TEXT.map(lambda text: form % text)))
def test_only_the_one_form_of_a_value_is_read(text: str) -> None:
    data = text.encode("utf-8", "surrogatepass")
    try:
        value = parse_canonical(data)
    except EntryInvalid:
        return
    assert rfc8785.dumps(value) == data


@pytest.mark.parametrize(
    "data",
    [
        b"", b" 1", b"1 ", b"01", b"-0", b"1.0", b"1e3", b"9007199254740992", b"18446744073709551616",
        b"NaN", b'"\\u0041"', b'"\\/"', b'"\xff"',
        b'{"b":1,"a":2}', b'{"a":1,"a":1}', b'{"a": 1}', b'["\\ud800"]', b'{"a":[1.5]}', '{"\u00e9":1}'.encode(), b"[" * 65 + b"]" * 65,
        b'"\x7f\\u001F"', b"[1,]", b"{}x",
    ],
)  # fmt: skip
def test_reading_refuses_any_other_form(data: bytes) -> None:
    with pytest.raises(EntryInvalid):
        parse_canonical(data)


def test_every_character_is_escaped_as_rfc8785_does() -> None:
    for code in [*range(0x300), 0x2028, 0x2029, 0xFFFE, 0x1F600]:
        assert canonical(chr(code)) == rfc8785.dumps(chr(code)), hex(code)


def test_key_order_and_text_of_rfc8785_section_3_2_3() -> None:
    assert (
        canonical({"b": [1, None, True], "a": '\u20ac$\u000f\nA\'B"\\\\"/'})
        == b'{"a":"\xe2\x82\xac$\\u000f\\nA\'B\\"\\\\\\\\\\"/","b":[1,null,true]}'
    )


class Colour(StrEnum):
    RED = "red"


def test_mappings_tuples_and_enums_are_plain_json() -> None:
    assert canonical(MappingProxyType({"a": (1, MappingProxyType({})), "c": Colour.RED})) == b'{"a":[1,{}],"c":"red"}'


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({"new": {"mass": 1.5}}, "new.mass"),
        ({"list": [0, 2**53]}, r"list\[1\]"),
        (-(2**53), "2\\^53"),
        ({"é": 1}, "not ASCII"),
        ({1: "a"}, "not ASCII text"),
        ({"a": b"bytes"}, "a bytes is not"),
        ({"a": {1, 2}}, "a set is not"),
        ("\ud800", "lone surrogate"),
        (float("nan"), "floating-point"),
    ],
)
def test_refuses_what_is_outside_the_domain(value: object, said: str) -> None:
    with pytest.raises(EntryInvalid, match=said):
        canonical(value)


def test_nesting_is_limited() -> None:
    deep: list[object] = []
    for _ in range(64):
        deep = [deep]
    with pytest.raises(EntryInvalid, match="deeper than 64"):
        canonical(deep)
    assert canonical(deep[0]).startswith(b"[[[")


def test_digest_is_sha256_of_the_bytes() -> None:
    assert sha256_hex(b"abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # FIPS 180-2, B.1
    assert digest({"b": 1, "a": 2}) == hashlib.sha256(b'{"a":2,"b":1}').hexdigest()
