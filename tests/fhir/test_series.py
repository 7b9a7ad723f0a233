"""Several results of one marker: order and duplicates (clinical reference 4.1.5, 0.4.18)."""

from __future__ import annotations

import itertools
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest


@pytest.fixture
def series(read):
    """Results of one marker after reading them in every order; the order must not matter."""

    def call(*observations):
        charts = [read(labs=list(order)) for order in itertools.permutations(observations)]
        assert all(chart.measurements == charts[0].measurements for chart in charts)
        assert all(chart.refused == charts[0].refused for chart in charts)
        (found,) = charts[0].measurements.values()
        return found

    return call


def values(found):
    return [str(m.value) for m in found]


# -- order -------------------------------------------------------------------------------------------


def test_the_newest_comes_first(series, ehr):
    days = ["2026-05-04", "2026-11-02", "2025-11-10"]
    found = series(*(ehr.observation(day, on=day) for day in days))
    assert [m.source for m in found] == [
        "Observation/2026-11-02",
        "Observation/2026-05-04",
        "Observation/2025-11-10",
    ]


def test_on_one_day_a_timed_result_is_later_than_a_date(series, ehr):
    found = series(
        ehr.observation("z", 47, on="2026-11-02"), ehr.observation("a", 48, on="2026-11-02T00:01:00+01:00")
    )
    assert [m.source for m in found] == ["Observation/a", "Observation/z"]


def test_times_are_compared_as_moments(series, ehr):
    found = series(
        ehr.observation("a", 47, on="2026-11-02T08:00:00-05:00"),
        ehr.observation("z", 48, on="2026-11-02T12:00:00Z"),
    )
    assert [m.source for m in found] == ["Observation/a", "Observation/z"]


def test_the_order_does_not_depend_on_how_they_came_where_a_later_moment_has_an_earlier_day(read, ehr):
    """In Newfoundland a minute after midnight became a minute after eleven on the day before, until 2011."""
    labs = [ehr.observation("a", on="2010-11-07T02:30:30Z"), ehr.observation("b", on="2010-11-07T02:31:30Z")]
    zone = ZoneInfo("America/St_Johns")
    found = [read(labs=order, zone=zone).measurements["HCT"] for order in (labs, labs[::-1])]
    assert found[0] == found[1]
    assert [str(m.day) for m in found[0]] == ["2010-11-07", "2010-11-06"]


def test_two_dates_of_one_day_go_by_their_issue(series, ehr):
    """They are different codes of one marker without a number, so neither replaces the other."""
    first, second = (
        ehr.observation(i, valueQuantity=None, valueString=i, issued=f"2026-11-0{n}T10:00:00Z")
        for i, n in (("a", 4), ("b", 3))
    )
    assert [m.source for m in series(first, second)] == ["Observation/a", "Observation/b"]


def test_a_month_counts_from_its_first_day(series, ehr):
    found = series(ehr.observation("z", on="2026-10"), ehr.observation("a", on="2026-10-02"))
    assert [m.source for m in found] == ["Observation/a", "Observation/z"]


def test_undated_results_come_last(series, ehr):
    found = series(ehr.observation("z", on=None), ehr.observation("a", on="1999-01-01"))
    assert [m.source for m in found] == ["Observation/a", "Observation/z"]


# -- duplicates --------------------------------------------------------------------------------------


@pytest.mark.parametrize("on", ["2026-11-02", "2026-11-02T08:00:00Z"])
def test_equal_results_of_one_sample_are_one(series, ehr, on):
    found = series(ehr.observation("a", 47.2, on=on), ehr.observation("b", 0.472, "L/L", on=on))
    assert [m.conflict for m in found] == [False]


def test_one_sample_written_in_two_zones_is_one(series, ehr):
    found = series(
        ehr.observation("a", on="2026-11-02T08:00:00Z"), ehr.observation("b", on="2026-11-02T09:00:00+01:00")
    )
    assert len(found) == 1


def test_a_result_rounded_in_each_of_two_units_is_one(series, ehr):
    # 20.0 nmol/L x 28.842 = 576.84, shown as 577 ng/dL
    found = series(
        ehr.observation("a", 577, "ng/dL", code="2986-8"), ehr.observation("b", 20.0, "nmol/L", code="14913-8")
    )
    assert [m.conflict for m in found] == [False]


def test_a_copy_is_noted_and_counts_as_used(read, ehr):
    chart = read(labs=[ehr.observation("a"), ehr.observation("b")])
    assert [(r.source, r.reason, r.part, r.tell) for r in chart.refused] == [
        ("Observation/b", "duplicate", True, False)
    ]
    assert chart.resources_used == 3


def test_the_same_resource_under_two_keys_is_one(read, ehr):
    bundle = ehr.bundle(ehr.observation(), ehr.observation())
    assert len(read(labs=bundle).measurements["HCT"]) == 1


@pytest.mark.parametrize(
    ("first", "second", "kept", "conflict"),
    [
        # the later issue wins, whatever the value
        ({"issued": "2026-11-03T10:00:00Z"}, {"issued": "2026-11-02T10:00:00Z"}, "a", False),
        ({"issued": "2026-11-02T10:00:00Z"}, {"issued": "2026-11-03T10:00:00Z"}, "b", False),
        ({"issued": "2026-11-02T10:00:00Z"}, {"issued": "2026-11-02T11:00:00+01:00"}, "b", True),
        # then the later update
        (
            {"meta": {"lastUpdated": "2026-11-03T10:00:00Z"}},
            {"meta": {"lastUpdated": "2026-11-02T10:00:00Z"}},
            "a",
            False,
        ),
        (
            {"issued": "2026-11-02T10:00:00Z", "meta": {"lastUpdated": "2026-11-03T10:00:00Z"}},
            {"issued": "2026-11-02T10:00:00Z", "meta": {"lastUpdated": "2026-11-02T10:00:00Z"}},
            "a",
            False,
        ),
        # neither differs, or is known of one only: the higher one, with a mark
        ({}, {}, "b", True),
        ({"issued": "2026-11-03T10:00:00Z"}, {}, "b", True),
        ({"meta": {"lastUpdated": "?"}}, {"meta": {"lastUpdated": "2026-11-02T10:00:00Z"}}, "b", True),
        ({"meta": 5}, {"meta": 5}, "b", True),
    ],
)
def test_of_different_values_of_one_sample_one_is_kept(series, ehr, first, second, kept, conflict):
    found = series(ehr.observation("a", 47, **first), ehr.observation("b", 55, **second))
    assert [(m.source, m.conflict) for m in found] == [(f"Observation/{kept}", conflict)]


def test_of_three_the_conflict_is_among_the_latest(series, ehr):
    early, late = "2026-11-02T10:00:00Z", "2026-11-03T10:00:00Z"
    found = series(
        ehr.observation("a", 60, issued=early),
        ehr.observation("b", 47, issued=late),
        ehr.observation("c", 48, issued=late),
    )
    assert [(m.source, m.conflict) for m in found] == [("Observation/c", True)]


def test_a_value_that_lies_beyond_is_the_higher_one(series, ehr):
    quantity = {"value": 50, "unit": "%", "comparator": ">"}
    found = series(ehr.observation("a", 50), ehr.observation("b", valueQuantity=quantity))
    assert [(m.source, m.comparator, m.conflict) for m in found] == [("Observation/b", ">", True)]


def test_a_date_and_a_time_of_one_day_are_two_samples(series, ehr):
    found = series(ehr.observation("a", 47), ehr.observation("b", 48, on="2026-11-02T08:00:00Z"))
    assert values(found) == ["48", "47"]


def test_two_values_of_one_month_are_two_samples(series, ehr):
    found = series(ehr.observation("a", 47, on="2026-10"), ehr.observation("b", 48, on="2026-10"))
    assert sorted(values(found)) == ["47", "48"]
    assert not any(m.conflict for m in found)


def test_a_preliminary_result_does_not_rival_a_final_one(series, ehr):
    found = series(ehr.observation("a", 60, status="preliminary"), ehr.observation("b", 47))
    assert sorted((m.status, str(m.value), m.conflict) for m in found) == [
        ("final", "47", False),
        ("preliminary", "60", False),
    ]


def test_results_that_cannot_be_compared_do_not_rival(series, ehr):
    found = series(ehr.observation("a", 47), ehr.observation("b", 47, "g/dL"))
    assert {(m.value, m.problem) for m in found} == {(Decimal(47), ""), (None, "unknown_unit")}


def test_two_undated_results_are_two(series, ehr):
    assert len(series(ehr.observation("a", on=None), ehr.observation("b", on="2026"))) == 2
