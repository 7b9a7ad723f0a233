"""FHIR dates: partial ones, zoned ones, and what is none at all (clinical reference 4.1.2, 0.4.11, 0.4.33)."""

from __future__ import annotations

from calendar import monthrange
from datetime import UTC, date, datetime, timedelta, tzinfo

from cds_service.chart import When

_SHAPES = frozenset({"--T", "--t", "-- "})
"""What separates year, month, day and time."""
_UNREAD = When(date.min, date.min)
_YEAR, _MONTH, _DAY = 4, 7, 10
FIRST_YEAR = 1900
"""Nothing in the chart of a living patient is older. Programs write 0001-01-01 or 1753-01-01 where they know no
date: taken at its word, a result would be too old to be looked at, and whoever was born then of age."""


class Calendar:
    """Reads the dates of one chart. Equal strings are read once: the results of one sample share theirs."""

    def __init__(self, zone: tzinfo) -> None:
        """`zone` is the site's: a date with an offset falls on the calendar day that it was there."""
        self._zone = zone
        self._read: dict[str, When | None] = {}

    def when(self, text: str | None) -> When | None:
        """The date that `text` names; None if it names none, or one before `FIRST_YEAR`. Never raises."""
        if text is None:
            return None
        found = self._read.get(text, _UNREAD)
        if found is _UNREAD:
            found = _parse(text, self._zone)
            if found is not None and found.last_day.year < FIRST_YEAR:
                found = None
            self._read[text] = found
        return found

    def day(self, text: str | None) -> date | None:
        """The calendar day; the first one of a month or a year."""
        found = None if text is None else self.when(text)
        return None if found is None else found.day

    def last_day(self, text: str | None) -> date | None:
        """The calendar day; the last one of a month or a year."""
        found = None if text is None else self.when(text)
        return None if found is None else found.last_day


def _parse(text: str, zone: tzinfo) -> When | None:
    try:
        if len(text) > _DAY:
            return _timed(text.strip(), zone)
        if len(text) == _DAY and text[4] == "-" == text[7]:
            day = date.fromisoformat(text)
            return When(day, day)
        if len(text) == _MONTH and text[4] == "-" and text.isascii() and (text[:4] + text[5:]).isdecimal():
            year, month = int(text[:4]), int(text[5:])
            return When(date(year, month, 1), date(year, month, monthrange(year, month)[1]), "month")
        if len(text) == _YEAR and text.isascii() and text.isdecimal():
            return When(date(int(text), 1, 1), date(int(text), 12, 31), "year")
    except ValueError:
        pass
    return None


def _timed(text: str, zone: tzinfo) -> When | None:
    """A date with a time. Without an offset it stays on its calendar day."""
    if text[4:11:3] not in _SHAPES or text[11:13] == "24":
        return None
    try:
        written = datetime.fromisoformat(text)
    except ValueError:
        written = datetime.fromisoformat(_as_python_writes(text))
    moment = written
    try:
        if written.tzinfo is None:
            day = written.date()
            moment = written.replace(tzinfo=zone)
        else:
            day = written.astimezone(zone).date()
        if moment.tzinfo is not UTC:
            moment = moment.astimezone(UTC)  # moments of one zone compare fast, and always right
    except OverflowError:  # within a day of the first or the last date there is
        day = written.date()
        moment = written.replace(tzinfo=UTC)
    return When(day, day, "time", moment, written.hour, written.minute)


def _as_python_writes(text: str) -> str:
    """Without a leap second and a small `z`, which FHIR allows and Python does not."""
    if text[16:19] == ":60":
        text = f"{text[:16]}:59{text[19:]}"
    return text[:-1] + "Z" if text[-1] == "z" else text


def add_days(day: date, days: int) -> date:
    """`day` plus `days`, held inside the calendar."""
    try:
        return day + timedelta(days)
    except OverflowError:
        return date.max if days > 0 else date.min
