"""Dates of FHIR: clinical reference 4.1.2, 0.4.11, 0.4.33."""

from __future__ import annotations

from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cds_service.fhir.dates import Calendar, add_days

BERLIN = ZoneInfo("Europe/Berlin")
NEW_YORK = ZoneInfo("America/New_York")


@pytest.mark.parametrize(
    ("text", "day", "last_day", "precision"),
    [
        ("2026-03-10", date(2026, 3, 10), date(2026, 3, 10), "day"),
        ("2026-02", date(2026, 2, 1), date(2026, 2, 28), "month"),
        ("2024-02", date(2024, 2, 1), date(2024, 2, 29), "month"),
        ("2026-12", date(2026, 12, 1), date(2026, 12, 31), "month"),
        ("2026", date(2026, 1, 1), date(2026, 12, 31), "year"),
        ("1902-12-01", date(1902, 12, 1), date(1902, 12, 1), "day"),
    ],
)
def test_dates_keep_the_precision_in_which_they_were_written(text, day, last_day, precision):
    when = Calendar(BERLIN).when(text)
    assert when is not None
    assert (when.day, when.last_day, when.precision) == (day, last_day, precision)
    assert when.instant is None
    assert when.hour is None


@pytest.mark.parametrize(
    ("text", "zone", "day"),
    [
        # 23:30 UTC is already the next day in Berlin (UTC+1 in winter), and still the same in New York.
        ("2026-01-10T23:30:00Z", BERLIN, date(2026, 1, 11)),
        ("2026-01-10T22:59:59Z", BERLIN, date(2026, 1, 10)),
        ("2026-01-10T23:30:00Z", NEW_YORK, date(2026, 1, 10)),
        ("2026-01-10T02:00:00Z", NEW_YORK, date(2026, 1, 9)),
        ("2026-01-10T22:00:00-05:00", BERLIN, date(2026, 1, 11)),
        ("2026-01-10T08:15:00.123456789+01:00", BERLIN, date(2026, 1, 10)),
        # without an offset: the calendar date that is written, wherever the site is
        ("2026-01-10T23:30:00", BERLIN, date(2026, 1, 10)),
        ("2026-01-10T00:10", NEW_YORK, date(2026, 1, 10)),
        ("2026-01-10 08:15:00Z", BERLIN, date(2026, 1, 10)),
        ("1900-01-01T00:00:00Z", BERLIN, date(1900, 1, 1)),
        ("9999-12-31T23:59:59-14:00", BERLIN, date(9999, 12, 31)),
    ],
)
def test_a_time_falls_on_the_calendar_day_of_the_site(text, zone, day):
    when = Calendar(zone).when(text)
    assert when is not None
    assert (when.day, when.last_day, when.precision) == (day, day, "time")


def test_the_hour_is_kept_as_written():
    when = Calendar(BERLIN).when("2026-01-10T08:15:00-05:00")
    assert when is not None
    assert (when.hour, when.minute) == (8, 15)
    assert when.instant == datetime(2026, 1, 10, 13, 15, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("2026-01-10T23:30:00", datetime(2026, 1, 10, 22, 30, tzinfo=UTC)),  # Berlin is an hour ahead in winter
        ("2026-07-10T23:30:00", datetime(2026, 7, 10, 21, 30, tzinfo=UTC)),  # and two in summer
        ("2026-01-10T23:30:00+05:30", datetime(2026, 1, 10, 18, 0, tzinfo=UTC)),
        ("2026-01-10t23:30:00z", datetime(2026, 1, 10, 23, 30, tzinfo=UTC)),  # RFC 3339 allows small letters
        # within a day of the ends of the calendar there may be no such day in UTC: as written
        ("9999-12-31T23:59:59-14:00", datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)),
    ],
)
def test_the_instant_is_that_of_the_offset_or_else_of_the_site_and_stands_in_utc(text, instant):
    when = Calendar(BERLIN).when(text)
    assert when is not None
    assert when.instant == instant
    assert when.instant.tzinfo is UTC


@pytest.mark.parametrize(
    "text", ["2016-12-31T23:59:60Z", "2016-12-31T23:59:60z", "2017-01-01T00:59:60+01:00", "2017-01-01T00:59:60"]
)
def test_a_leap_second_is_a_time(text):
    when = Calendar(BERLIN).when(text)
    assert when is not None
    assert when.instant == datetime(2016, 12, 31, 23, 59, 59, tzinfo=UTC)


@pytest.mark.parametrize(
    "text",
    [
        "Invalid date", "", " ", "2026-02-29", "2026-13", "2026-00", "2026-00-10", "0000-01-01", "0000", "20260110",
        "10.01.2026", "2026-1-1", "2026-W01-1", "2026-W01-1T08:15:00Z", "2026-01-10T24:00:00Z",
        "2026-01-10T25:00:00Z", "2026-01-10Tx",
        "2026-01-10 soon", "2026-01-10T08:15:00+99:00", "٢٠٢٦-01-10", "2026-+5", "+202-05", "            ",
        "2026-01-10T", "\x00" * 12, "202", "+202", "٢٠٢٦",
    ],
)  # fmt: skip
def test_what_is_no_date_is_none(text):
    assert Calendar(BERLIN).when(text) is None


@pytest.mark.parametrize(
    "text",
    [
        # what .NET and SQL Server write where they know no date; a day before the first that counts
        "0001-01-01", "0001-01-01T00:00:00", "0001-01-01T00:00:00Z", "0001-01-01T00:00:00+14:00",
        "0001-01-01T00:00:00-14:00", "0001-01", "0001", "0002-12-01", "1753-01-01T00:00:00.000Z", "1899-12-31",
        "1899-12", "1899",
    ],
)  # fmt: skip
def test_a_date_that_stands_for_none_is_none(text):
    assert Calendar(BERLIN).when(text) is None


def test_the_first_date_that_counts():
    calendar = Calendar(BERLIN)
    assert [calendar.day(text) for text in ("1900-01-01", "1900-01", "1900")] == [date(1900, 1, 1)] * 3


def test_nothing_is_no_date():
    calendar = Calendar(BERLIN)
    for text in (None, "soon"):
        assert (calendar.when(text), calendar.day(text), calendar.last_day(text)) == (None, None, None)


@pytest.mark.parametrize("text", ["2026-02", "2026-03-10", "soon"])
def test_a_string_that_was_read_before_is_the_same_date(text):
    calendar = Calendar(BERLIN)
    assert calendar.when(text) == calendar.when(text) == Calendar(BERLIN).when(text)


def test_the_first_and_the_last_day_of_what_is_named():
    calendar = Calendar(BERLIN)
    assert (calendar.day("2026-02"), calendar.last_day("2026-02")) == (date(2026, 2, 1), date(2026, 2, 28))
    assert (calendar.day("2026"), calendar.last_day("2026")) == (date(2026, 1, 1), date(2026, 12, 31))


@given(st.text(max_size=40) | st.from_regex(r"[0-9]{4}-[0-9]{2}-[0-9]{2}(T[0-9:.+Z-]{0,20})?", fullmatch=True))
def test_no_text_makes_it_raise(text):
    when = Calendar(NEW_YORK).when(text)
    assert when is None or when.day <= when.last_day


def test_days_stay_inside_the_calendar():
    assert add_days(date(9999, 12, 30), 400) == date.max
    assert add_days(date(1, 1, 2), -400) == date.min
    assert add_days(date.max, 1) == date.max
    assert add_days(date.min, -1) == date.min
    assert add_days(date(2026, 2, 28), 1) == date(2026, 3, 1)
