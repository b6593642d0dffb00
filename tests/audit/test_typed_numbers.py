"""Numbers as people type them: a decimal point or a decimal comma, and nothing that may be read in two ways."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit.quantities import QuantityError, decimal_from_text, typed_decimal


@pytest.mark.parametrize(
    ("typed", "read"),
    [
        ("12.5", "12.5"),
        ("12,5", "12.5"),
        ("0,125", "0.125"),
        ("1250,5", "1250.5"),
        ("1.125", "1.125"),
        ("0.250", "0.250"),
        ("1250.0", "1250.0"),
        (" 18 ", "18"),
        ("1250", "1250"),
    ],
)
def test_a_point_and_a_comma_that_cannot_group_are_the_decimal_mark(typed: str, read: str) -> None:
    assert typed_decimal(typed) == Decimal(read)


@pytest.mark.parametrize(
    ("typed", "because"),
    [
        ("1,250", "may mean 1250 or 1.25"),
        ("12,500", "may mean 12500 or 12.5"),
        ("1.250", "may mean 1250 or 1.25; write it without the zero"),
        ("12.500", "may mean 12500 or 12.5"),
        ("1.000", "may mean 1000 or 1;"),
        ("1,234.5", "in groups"),
        ("1.234,5", "in groups"),
        ("1.234.567", "in groups"),
        ("1,234,567", "in groups"),
        ("1 234", "in groups"),
        ("1\u2009234", "in groups"),
        ("1\u202f234,5", "in groups"),
        ("1\u00a0234", "in groups"),
        ("1'234", "in groups"),
        (".5", "write 0.5"),
        (",5", "write 0.5"),
        ("5,", "decimal"),
        ("", "not a number"),
        ("1e3", "not a number"),
        ("١٢", "not a number"),
        ("1,٥", "decimal point"),
    ],
)
def test_what_may_mean_two_amounts_is_refused_and_said(typed: str, because: str) -> None:
    with pytest.raises(QuantityError, match=because):
        typed_decimal(typed, "dose")


@given(st.decimals(min_value=0, max_value=10**6, places=3, allow_nan=False))
def test_a_comma_is_read_as_its_point_or_refused_never_as_another_number(value: Decimal) -> None:
    text = f"{value:f}"
    try:
        assert typed_decimal(text.replace(".", ",")) == value
    except QuantityError:
        assert 1 <= value < 1000, "only one to three digits before three may be a group"


@given(st.text(alphabet="0123456789.,' \u2009+-eE", max_size=12))
def test_whatever_is_accepted_is_the_number_of_its_digits(text: str) -> None:
    try:
        found = typed_decimal(text)
    except QuantityError:
        return
    assert found == decimal_from_text(text.strip().replace(",", "."))
