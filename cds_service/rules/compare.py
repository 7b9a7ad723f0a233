"""Comparing a result with a limit, comparators included (`>50 %` may or may not be above 54)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from operator import ge, gt, le, lt

COMPARISONS: Mapping[str, Callable[[Decimal, Decimal], bool]] = {">": gt, ">=": ge, "<": lt, "<=": le}


def passes(value: Decimal, comparator: str, operator: str, limit: Decimal) -> bool | None:
    """Tell if a result passes a limit.

    `operator` is one of `> >= < <=`; `comparator` is that of FHIR Quantity ('' for an exact value).
    Both numbers are in one unit and rounded alike. None means that it cannot be told.
    """
    if comparator == "":
        return COMPARISONS[operator](value, limit)
    if operator in ("<", "<="):
        return _mirrored(value, comparator, operator, limit)
    if comparator in (">", ">="):
        certain = value > limit or (value == limit and (comparator == ">" or operator == ">="))
        return True if certain else None
    if comparator in ("<", "<="):
        excluded = value < limit or (value == limit and (comparator == "<" or operator == ">"))
        return False if excluded else None
    return None


def _mirrored(value: Decimal, comparator: str, operator: str, limit: Decimal) -> bool | None:
    flipped = {"<": ">", "<=": ">=", ">": "<", ">=": "<="}
    return passes(-value, flipped.get(comparator, comparator), flipped[operator], -limit)
