"""Dates as authors write them: fixed (`2026-11-10`, `2026-11`) or relative to the day of the case (`-12d`)."""

from __future__ import annotations

import re
from datetime import date, timedelta

RELATIVE = re.compile(r"([+-]?\d+)d")
FIXED = re.compile(r"\d{4}(-\d{2}(-\d{2})?)?")


def resolve(words: str, as_of: date) -> str:
    """Turn a date of a case into a FHIR date; '' stays ''.

    A fixed date keeps its precision. Raises ValueError for anything else.
    """
    relative = RELATIVE.fullmatch(words)
    if relative:
        return (as_of + timedelta(days=int(relative[1]))).isoformat()
    if words and not FIXED.fullmatch(words):
        raise ValueError(f"{words!r} is no date: write -12d, +1d, 2026-11-10 or 2026-11")
    return words


def resolve_day(words: str, as_of: date) -> date:
    """Turn a date of a case into a calendar day; a partial date is its first day.

    Raises ValueError for '' and for what is no date.
    """
    text = resolve(words, as_of)
    return date.fromisoformat((text + "-01-01")[:10] if len(text) < len("2026-11") else (text + "-01")[:10])


def days(words: str) -> int:
    """Read a length of time such as `90d`. Raises ValueError for anything else."""
    relative = RELATIVE.fullmatch(words)
    if not relative:
        raise ValueError(f"{words!r} is no length of time: write 90d")
    return int(relative[1])


def birthday(age: int, as_of: date) -> str:
    """Return the birth date of somebody who turns `age` on `as_of` (1 March stands in for 29 February)."""
    year = as_of.year - age
    try:
        return as_of.replace(year=year).isoformat()
    except ValueError:
        return date(year, 3, 1).isoformat()
