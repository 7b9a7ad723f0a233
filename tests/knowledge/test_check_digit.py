from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cds_service.knowledge.checks import check_digit_holds
from cds_service.knowledge.model import Terms


@pytest.mark.parametrize(
    "code",
    [
        # 2986: doubled from the right 6 -> 12 -> 3, 8, 9 -> 18 -> 9, 2: sum 3 + 8 + 9 + 2 = 22, 30 - 22 = 8
        "2986-8",
        # 718: 8 -> 16 -> 7, 1, 7 -> 14 -> 5: sum 13, 20 - 13 = 7
        "718-7",
        # 20570: 0, 7, 5 -> 10 -> 1, 0, 2 -> 4: sum 12, 20 - 12 = 8
        "20570-8",
        "4544-3",
        "103227-5",
        # 57698: 8 -> 16 -> 7, 9, 6 -> 12 -> 3, 7, 5 -> 10 -> 1: sum 27, 30 - 27 = 3
        "57698-3",
    ],
)
def test_right_check_digits(code: str) -> None:
    assert check_digit_holds(code)


@pytest.mark.parametrize("code", ["2013-7", "14913-5", "2986-7", "2896-8"])
def test_wrong_check_digits(code: str) -> None:
    assert not check_digit_holds(code)


@pytest.mark.parametrize(
    "text", ["", "-", "2986", "2986-", "-8", "2986-88", "29x6-8", "2986-8 ", "2986-8\n", "²986-8"]
)
def test_no_loinc_form(text: str) -> None:
    assert not check_digit_holds(text)


@given(st.integers(min_value=1, max_value=9_999_999))
def test_just_one_digit_fits(number: int) -> None:
    assert sum(check_digit_holds(f"{number}-{digit}") for digit in range(10)) == 1


@given(st.integers(min_value=100, max_value=9_999_999), st.data())
def test_one_mistyped_digit_is_always_seen(number: int, data: st.DataObject) -> None:
    digits = str(number)
    right = next(digit for digit in range(10) if check_digit_holds(f"{digits}-{digit}"))
    place = data.draw(st.integers(min_value=0, max_value=len(digits) - 1))
    other = data.draw(st.sampled_from([digit for digit in "0123456789" if digit != digits[place]]))
    assert not check_digit_holds(f"{digits[:place]}{other}{digits[place + 1 :]}-{right}")


def test_every_code_that_is_shipped(terms: Terms) -> None:
    for system, code in [*terms.codes, *terms.panels]:
        assert system == "http://loinc.org"
        assert check_digit_holds(code), code
    for test in terms.tests.values():
        assert check_digit_holds(test.order_code), test.key
