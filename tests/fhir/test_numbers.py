"""Numbers of JSON are exact, and ordinary: nothing else is calculated with."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from cds_service.fhir.decoding import UnreadableError, number, whole_number


@pytest.mark.parametrize(
    "text",
    [
        "5.00",
        "0",
        "-0",
        "0.1",
        "54.000000000000000001",
        "1e30",
        "1E-30",
        "1.5e+3",
        "1e05",
        "9" * 40,
        "-" + "9" * 40,
    ],
)
def test_a_number_is_kept_as_it_was_written(text):
    value, written = number(Raw(text.encode()))
    assert value == Decimal(text)
    assert str(value) == str(Decimal(text))
    assert written == text


@pytest.mark.parametrize(
    "text",
    [
        "1e31", "1e-31", "1e400", "1e999999999", "-1e-999999999", "1e99999999999999999999", "0e31", "9" * 41,
        "0." + "1" * 41, "1" * 5000, '"5.0"', '"NaN"', "true", "null", "{}", "[]", "",
    ],
)  # fmt: skip
def test_what_is_no_ordinary_number_is_unreadable(text):
    with pytest.raises(UnreadableError):
        number(Raw(text.encode()))


@given(st.decimals(allow_nan=False, allow_infinity=False, places=6, min_value=-(10**12), max_value=10**12))
def test_decimals_survive(value):
    assert number(Raw(f"{value:f}".encode()))[0] == value


@pytest.mark.parametrize(("text", "expected"), [("3", 3), ("3.0", 3), ("1e1", 10), ("3.5", None), ('"3"', None)])
def test_whole_numbers(text, expected):
    assert whole_number(Raw(text.encode())) == expected
