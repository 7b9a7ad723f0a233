"""What the rules of one evaluation share: series, ages, days, products, gaps."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import msgspec
import pytest

from cds_service.chart import Refused, When, years_between
from cds_service.rules.context import months_before, supplies_on
from tests.rules.conftest import TODAY, back, chart, course, ctx, draft, gap, measurement, supply, switched

# -- rounding before comparison (1.1.7, 0.4.14) ------------------------------------------------------


@pytest.mark.parametrize(
    ("marker", "exact", "factor", "shown"),
    [
        ("HCT", "54.04", "1", "54.0"),
        ("HCT", "54.05", "1", "54.1"),
        ("HCT", "54.05000000000000000001", "1", "54.1"),
        ("PSA", "4.004", "1", "4.00"),
        ("PSA", "4.005", "1", "4.01"),
        ("PSA", "2.002", "2", "4.00"),  # 4.004: the factor comes before rounding
        ("PSA", "2.0025", "2", "4.01"),  # 4.005; rounded first it would be 2 x 2.00
        ("TT", "263.49", "1", "263"),
        ("TT", "263.5", "1", "264"),
        ("E2", "40.04", "1", "40.0"),
        ("E2", "40.05", "1", "40.1"),
        ("HGB", "18.04", "1", "18.0"),
        ("HGB", "18.05", "1", "18.1"),
        ("LDL", "189.49", "1", "189"),  # three significant digits
        ("LDL", "189.5", "1", "190"),
        ("SHBG", "7.125", "1", "7.13"),
        ("CREA", "1.305", "1", "1.31"),
        ("PRL", "25.05", "1", "25.1"),
        ("K", "5.54", "1", "5.5"),
        ("TSH", "0.3995", "1", "0.400"),
    ],
)
def test_a_value_is_converted_multiplied_and_only_then_rounded_half_up(knowledge, marker, exact, factor, shown):
    result = measurement(marker, exact)
    assert ctx(chart(result), knowledge).shown(result, Decimal(factor)) == Decimal(shown)


def test_a_result_without_a_value_is_never_shown_as_a_number(knowledge):
    with pytest.raises(ValueError, match="has no value"):
        ctx(chart(), knowledge).shown(measurement("HCT", None))


# -- series ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", ["final", "amended", "corrected"])
def test_final_results_are_usable(knowledge, status):
    assert ctx(chart(measurement("HCT", "45", status=status)), knowledge).series("HCT")


@pytest.mark.parametrize("status", ["preliminary", "registered"])
def test_preliminary_results_are_not(knowledge, status):
    context = ctx(chart(measurement("HCT", "45", status=status)), knowledge)
    assert (context.series("HCT"), context.performed("HCT"), context.comparable("HCT")) == ((), (), ())


@pytest.mark.parametrize("problem", ["no_unit", "unknown_unit", "text", "range", "no_value"])
def test_a_result_that_cannot_be_compared_was_still_performed(knowledge, problem):
    context = ctx(chart(measurement("TT", None, problem=problem)), knowledge)
    assert (len(context.performed("TT")), context.comparable("TT")) == (1, ())


@pytest.mark.parametrize("problem", ["implausible", "future", "panel"])
def test_an_implausible_or_future_result_was_not_performed(knowledge, problem):
    context = ctx(chart(measurement("TT", "5000000", problem=problem)), knowledge)
    assert (context.performed("TT"), context.comparable("TT")) == ((), ())


def test_an_undated_result_counts_for_nothing(knowledge):
    context = ctx(chart(measurement("TT", "500", when=None, problem="undated")), knowledge)
    assert (context.performed("TT"), context.comparable("TT")) == ((), ())


def test_a_marker_that_counts_as_another_shows_that_it_was_done_but_is_not_compared(knowledge):
    percent = measurement("BIOTPCT", "30", 10)
    context = ctx(chart(percent, measurement("BIOT", "200", 20)), knowledge)
    assert [m.marker for m in context.performed("BIOT")] == ["BIOTPCT", "BIOT"]
    assert [m.marker for m in context.comparable("BIOT")] == ["BIOT"]


@pytest.mark.parametrize(("age", "there"), [(394, True), (395, True), (396, False)])
def test_the_oldest_result_that_is_compared_is_of_the_last_day_of_the_range(knowledge, age, there):
    assert bool(ctx(chart(measurement("HCT", "55", age)), knowledge).comparable("HCT", 395)) is there


# -- limits and days ---------------------------------------------------------------------------------


def test_a_limit_is_a_decimal_or_a_switch_or_chosen_by_a_switch(knowledge):
    chosen = {"switch": "high_altitude", "values": {"true": {"switch": "hct_start_high_altitude"}, "false": "48.0"}}
    low, high = ctx(chart(), knowledge), ctx(chart(), switched(knowledge, high_altitude=True))
    assert low.limit("54.0") == Decimal("54.0")
    assert low.limit({"switch": "hct_stop"}) == Decimal("54.0")
    assert (low.limit(chosen), high.limit(chosen)) == (Decimal("48.0"), Decimal("50.0"))


def test_without_a_number_of_days_the_site_decides(knowledge):
    assert ctx(chart(), knowledge).days(None) == 395
    assert ctx(chart(), switched(knowledge, max_age_days=200)).days(None) == 200
    assert ctx(chart(), knowledge).days(42) == 42


@pytest.mark.parametrize(
    ("day", "months", "earlier"),
    [
        (date(2026, 11, 22), 6, date(2026, 5, 22)),
        (date(2026, 8, 31), 6, date(2026, 2, 28)),  # clipped to the month's end
        (date(2024, 8, 31), 6, date(2024, 2, 29)),
        (date(2026, 3, 15), 3, date(2025, 12, 15)),
        (date(2026, 12, 31), 12, date(2025, 12, 31)),
    ],
)
def test_calendar_months(day, months, earlier):
    assert months_before(day, months) == earlier


@pytest.mark.parametrize(
    ("birth", "years"),
    [(date(2008, 11, 23), 17), (date(2008, 11, 22), 18), (date(2008, 11, 21), 18), (date(2008, 2, 29), 18)],
)
def test_completed_years(birth, years):
    assert years_between(birth, TODAY) == years


def test_an_age_from_a_year_of_birth_is_a_range(knowledge):
    born = When(date(1980, 1, 1), date(1980, 12, 31), "year")
    assert ctx(chart(birth=born), knowledge).age() == (45, 46)
    assert ctx(chart(birth=None), knowledge).age() == (None, None)


@pytest.mark.parametrize(("year", "adult"), [(2007, True), (2008, None), (2009, False)])
def test_a_year_of_birth_does_not_tell_whether_the_18th_birthday_has_come(knowledge, year, adult):
    """Today is 2026-11-22: of those born in 2008 some are 18 and some are not."""
    born = When(date(year, 1, 1), date(year, 12, 31), "year")
    assert ctx(chart(birth=born), knowledge).adult() is adult


def test_a_limit_is_the_laboratorys_own_only_if_it_was_reported(knowledge):
    limit = {"reference": "high", "default": "40.0"}
    own = measurement("E2", "50", reference_high=Decimal("38.5"))
    seen = ctx(chart(), knowledge)
    assert seen.limit_for(limit, own) == (Decimal("38.5"), True)
    assert seen.limit_for(limit, measurement("E2", "50")) == (Decimal("40.0"), False)
    assert seen.limit_for({"reference": "high"}, measurement("E2", "50")) is None


# -- courses and products ----------------------------------------------------------------------------


def test_the_course_is_the_current_one_that_began_first(knowledge):
    past, old, new = course(start=900, end=500), course(start=300), course(start=100)
    assert ctx(chart(therapies=[new, past, old]), knowledge).course(frozenset(["TESTOSTERONE"])) == old
    unknown = course(start=None)
    assert ctx(chart(therapies=[old, unknown]), knowledge).course(frozenset(["TESTOSTERONE"])) == unknown
    assert ctx(chart(therapies=[past]), knowledge).course(frozenset(["TESTOSTERONE"])) is None


@pytest.mark.parametrize(
    ("day", "forms"),
    [
        (201, ["topical"]),  # before the first one: the oldest
        (200, ["topical"]),
        (101, ["topical"]),
        (100, ["patch", "topical"]),  # both on the day of the change
        (99, ["patch"]),
        (61, ["patch"]),
        (60, ["patch"]),
        (55, ["patch"]),  # none on that day: the one before
        (50, ["injection"]),
        (0, ["injection"]),
    ],
)
def test_the_products_of_a_day(day, forms):
    supplies = [
        supply("injection", start=50),
        supply("patch", start=100, end=60),
        supply("topical", start=200, end=100),
    ]
    given = supplies_on(course(start=200, supplies=supplies), back(day))
    assert [product.form for product in given] == forms


# -- what is not known -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("complete_since", "asked_since", "open_"),
    [
        (None, 395, True),
        (None, None, True),
        (100, None, True),  # ever: the list is cut off somewhere
        (100, 101, True),
        (100, 100, False),
        (100, 99, False),
    ],
)
def test_a_cut_list_is_complete_from_a_day_on(knowledge, complete_since, asked_since, open_):
    patient = chart(gaps=[gap("HCT", kind="truncated", complete_since=complete_since)])
    since = None if asked_since is None else back(asked_since)
    doubts = ctx(patient, knowledge).doubts("HCT", since)
    assert [doubt.message for doubt in doubts] == (["gap_truncated"] if open_ else [])
    assert ctx(patient, knowledge).doubts("PSA", since) == ()


@pytest.mark.parametrize(("complete_since", "open_"), [(99, True), (100, False), (101, False)])
def test_a_cut_list_that_reaches_back_far_enough_leaves_no_doubt(knowledge, complete_since, open_):
    patient = chart(gaps=[gap("HCT", kind="truncated", complete_since=complete_since)])
    doubts = ctx(patient, knowledge).lately("HCT", 100)
    assert [doubt.message for doubt in doubts] == (["gap_truncated"] if open_ else [])


def test_a_refused_resource_is_a_doubt_only_where_it_is_to_be_told(knowledge):
    told = Refused("Observation/1", "unreadable", "", frozenset(["HCT"]), tell=True)
    silent = Refused("Observation/2", "unknown_code", "", frozenset(["HCT"]))
    doubts = ctx(chart(refused=[told, silent]), knowledge).doubts("HCT")
    assert [(doubt.message, doubt.values["source"]) for doubt in doubts] == [("refused", "Observation/1")]


def test_a_local_form_acts_in_the_whole_body_only_where_the_product_says_so(knowledge):
    context = ctx(chart(), knowledge)
    assert context.local("ESTRADIOL", "vaginal")
    assert not context.local("ESTRADIOL", "vaginal", systemic=True)
    assert not context.local("ESTRADIOL", "patch")
    assert not context.local("NOT-A-KEY", "vaginal")


def test_only_the_drafts_that_the_call_is_about_are_judged(knowledge):
    mine, other = draft(), draft(selected=False)
    context = ctx(chart(drafts=[mine, other, draft("ESTRADIOL")]), knowledge, "order-select")
    assert context.selected(frozenset(["TESTOSTERONE"])) == (mine,)


def test_of_one_day_the_order_of_the_chart_counts(knowledge):
    """The reader puts a timed result before a date-only one (0.4.18); the rules take the first as the latest."""
    timed, plain = measurement("HCT", "45", 5, time="08:00"), measurement("HCT", "55", 5)
    patient = msgspec.structs.replace(chart(), measurements={"HCT": (timed, plain)})
    assert ctx(patient, knowledge).comparable("HCT", 395)[0] == timed
