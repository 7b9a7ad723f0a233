"""Comparing with a limit when the laboratory gives only a bound (4.1.6)."""

from __future__ import annotations

import operator
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cds_service.knowledge.model import THRESHOLDS
from cds_service.rules.compare import passes

LIMIT = Decimal("54.0")
VALUES = ("53.9", "54.0", "54.1")
Y, N, UNKNOWN = True, False, None

# For a result below, at and above the limit.
TABLE = {
    (">", ""): (N, N, Y),
    (">", "<"): (N, N, UNKNOWN),
    (">", "<="): (N, N, UNKNOWN),
    (">", ">"): (UNKNOWN, Y, Y),
    (">", ">="): (UNKNOWN, UNKNOWN, Y),
    (">", "ad"): (UNKNOWN, UNKNOWN, UNKNOWN),
    (">=", ""): (N, Y, Y),
    (">=", "<"): (N, N, UNKNOWN),
    (">=", "<="): (N, UNKNOWN, UNKNOWN),
    (">=", ">"): (UNKNOWN, Y, Y),
    (">=", ">="): (UNKNOWN, Y, Y),
    (">=", "ad"): (UNKNOWN, UNKNOWN, UNKNOWN),
    ("<", ""): (Y, N, N),
    ("<", "<"): (Y, Y, UNKNOWN),
    ("<", "<="): (Y, UNKNOWN, UNKNOWN),
    ("<", ">"): (UNKNOWN, N, N),
    ("<", ">="): (UNKNOWN, N, N),
    ("<", "ad"): (UNKNOWN, UNKNOWN, UNKNOWN),
    ("<=", ""): (Y, Y, N),
    ("<=", "<"): (Y, Y, UNKNOWN),
    ("<=", "<="): (Y, Y, UNKNOWN),
    ("<=", ">"): (UNKNOWN, N, N),
    ("<=", ">="): (UNKNOWN, UNKNOWN, N),
    ("<=", "ad"): (UNKNOWN, UNKNOWN, UNKNOWN),
}
ROWS = [
    (sign, comparator, value, answer)
    for (sign, comparator), answers in TABLE.items()
    for value, answer in zip(VALUES, answers, strict=True)
]
COMPARE = {">": operator.gt, ">=": operator.ge, "<": operator.lt, "<=": operator.le}
TENTHS = st.integers(0, 1000).map(lambda tenths: Decimal(tenths) / 10)


@pytest.mark.parametrize(("sign", "comparator", "value", "answer"), ROWS)
def test_every_comparator_at_every_side_of_every_limit(sign, comparator, value, answer):
    assert passes(Decimal(value), comparator, sign, LIMIT) is answer


def test_the_words_of_the_rules_are_the_four_signs():
    assert THRESHOLDS == {"above": ">", "at_or_above": ">=", "below": "<", "at_or_below": "<="}


@given(
    true=TENTHS, bound=TENTHS, limit=TENTHS, comparator=st.sampled_from(["<", "<=", ">", ">="]),
    sign=st.sampled_from(sorted(COMPARE)),
)  # fmt: skip
def test_an_answer_holds_for_every_true_value_that_the_bound_allows(true, bound, limit, comparator, sign):
    if COMPARE[comparator](true, bound):
        assert passes(bound, comparator, sign, limit) in (None, COMPARE[sign](true, limit))


@given(value=TENTHS, limit=TENTHS, sign=st.sampled_from(sorted(COMPARE)))
def test_an_exact_result_always_has_an_answer(value, limit, sign):
    assert passes(value, "", sign, limit) is COMPARE[sign](value, limit)
