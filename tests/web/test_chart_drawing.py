"""Where things stand in the plots; expected places by hand."""

from __future__ import annotations

from datetime import date, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cds_service.web.chart_data import ChartData, Point, Series
from cds_service.web.chart_drawing import (
    HEIGHT,
    MOST_TICKS,
    Scale,
    drawing,
    time_ticks,
    value_range,
    value_ticks,
)

FIRST = date(2026, 1, 1)
HUNDRED_DAYS = Scale(FIRST, FIRST + timedelta(days=100))


def test_a_day_is_a_per_cent_of_a_hundred_days():
    assert HUNDRED_DAYS.x(FIRST) == 0
    assert HUNDRED_DAYS.x(date(2026, 2, 20)) == 50  # 31 + 19 days on
    assert HUNDRED_DAYS.x(date(2025, 12, 22)) == -10


def test_spans_are_cut_where_the_time_shown_ends():
    box = HUNDRED_DAYS.box(None, date(2026, 1, 11))
    assert box is not None
    assert (box.x, box.width, box.open_start, box.open_end) == (0, 10, True, False)
    box = HUNDRED_DAYS.box(date(2026, 4, 1), date(2030, 1, 1))
    assert box is not None
    assert (box.x, box.width, box.open_end) == (90, 10, True)
    assert HUNDRED_DAYS.box(None, date(2025, 12, 31)) is None
    assert HUNDRED_DAYS.box(date(2026, 4, 12), None) is None


@pytest.mark.parametrize(
    ("values", "limits", "expected"),
    [
        # 54, the nearest limit above, is shown; from 44 to 54 an eighth is left free on both sides.
        ([44.0, 50.0], [54.0], (42.8, 55.2)),
        # 10 is too far from 0.3 to 4: it would press everything flat.
        ([1.0, 2.0], [0.3, 4.0, 10.0], (0.0, 4.444)),
        # One result, no limit: a tenth of it on both sides.
        ([30.0], [], (27.0, 33.0)),
        ([0.0], [], (0.0, 1.0)),
    ],
)
def test_range_of_values(values, limits, expected):
    assert value_range(values, limits) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (42.8, 55.2, ("45", "50", "55")),
        (0.0, 4.444, ("0", "2", "4")),
        (0.07, 0.13, ("0.08", "0.10", "0.12")),
        (150.0, 1200.0, ("200", "400", "600", "800", "1000", "1200")),
        (104.0, 199.0, ("120", "140", "160", "180")),
        (101.0, 249.0, ("120", "140", "160", "180", "200", "220", "240")),
    ],
)
def test_ticks_are_round_numbers(low, high, expected):
    assert value_ticks(low, high) == expected


@given(st.dates(date(1990, 1, 1), date(2030, 1, 1)), st.integers(120, 15_000))
def test_there_are_few_time_ticks_and_they_rise(first, days):
    ticks = time_ticks(Scale(first, first + timedelta(days=days)))
    assert 1 <= len(ticks) <= MOST_TICKS + 1
    assert all(a.at < b.at for a, b in pairwise(ticks))
    assert all(0 < tick.at < 100 for tick in ticks)


@given(st.lists(st.floats(0.01, 1e6), min_size=1, max_size=20), st.lists(st.floats(0.01, 1e6), max_size=6))
def test_every_result_lies_inside_its_plot(values, limits):
    low, high = value_range(values, limits)
    assert low < high
    for value in values:
        assert 0 <= HEIGHT * (high - value) / (high - low) <= HEIGHT
    assert 2 <= len(value_ticks(low, high)) <= 7


@pytest.mark.parametrize(("since", "rows"), [(None, ["HCT-1", "HCT-2", "HCT-3"]), (FIRST, ["HCT-2", "HCT-3"])])
def test_a_mark_leads_to_the_row_of_its_result(since, rows):
    """Also of two results that say the same, and where earlier ones are not shown. Rows count from the oldest."""
    early, late = (
        Point(day, day.isoformat(), "45.0", "", "45 %", "Observation/1", "final")
        for day in (FIRST - timedelta(days=1), FIRST + timedelta(days=10))
    )
    series = Series("HCT", "hematocrit", "%", (early, late, late), (), (), None, (), True, ())
    data = ChartData(FIRST + timedelta(days=20), "", (), False, (), (series,), (), (), (), ())
    (plot,) = drawing(data, since=since).plots
    assert [mark.row for mark in plot.marks] == rows
