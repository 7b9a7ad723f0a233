"""What predicates ask about results: limits of the laboratory, nearness, one draw, the dose before (4.9)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import msgspec
import pytest

from cds_service.chart import When
from cds_service.rules.outcome import Compared, Doubt
from cds_service.rules.predicates import holds
from tests.rules.conftest import TODAY, back, chart, course, ctx, gap, measurement, on_testosterone, order, switched


def answer(tree, patient, knowledge):
    return holds(tree, ctx(patient, knowledge)).holds


# -- result ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "high", "expected"),
    [("40.0", None, False), ("40.1", None, True), ("36", "35", True), ("45", "50", False), ("50", "50", False)],
)
def test_the_laboratorys_own_limit_comes_before_the_default(knowledge, value, high, expected):
    result = measurement("E2", value, 10, reference_high=Decimal(high) if high else None)
    tree = {"result": {"marker": "E2", "above": {"reference": "high", "default": "40.0"}}}
    assert answer(tree, chart(result), knowledge) is expected


def test_without_a_limit_of_the_laboratory_and_without_a_default_nothing_is_passed(knowledge):
    tree = {"result": {"marker": "IGF1", "above": {"reference": "high"}}}
    assert answer(tree, chart(measurement("IGF1", "900", 10)), knowledge) is False


@pytest.mark.parametrize(("value", "expected"), [("120", False), ("121", True)])
@pytest.mark.parametrize("high", ["40", None])
def test_a_multiple_of_the_laboratorys_limit_and_of_the_default(knowledge, value, expected, high):
    """Three times 40 is 120, whether 40 was reported or not."""
    tree = {"result": {"marker": "ALT", "above": {"reference": "high", "times": "3", "default": "40"}}}
    result = measurement("ALT", value, 10, reference_high=Decimal(high) if high else None)
    assert answer(tree, chart(result), knowledge) is expected


@pytest.mark.parametrize(("value", "expected"), [("3.4", True), ("3.5", False), ("5.0", False)])
def test_the_lower_limit_of_the_laboratory(knowledge, value, expected):
    tree = {"result": {"marker": "ALB", "below": {"reference": "low"}}}
    result = measurement("ALB", value, 10, reference_low=Decimal("3.5"), reference_high=Decimal("5.5"))
    assert answer(tree, chart(result), knowledge) is expected


@pytest.mark.parametrize(("value", "expected"), [("53.0", False), ("53.1", True)])
def test_a_limit_that_the_site_has_chosen(knowledge, value, expected):
    tree = {"result": {"marker": "HCT", "above": {"switch": "hct_stop"}}}
    site = switched(knowledge, hct_stop=Decimal("53.0"))
    assert answer(tree, chart(measurement("HCT", value, 10)), site) is expected


@pytest.mark.parametrize(
    ("word", "wanted", "value", "limit", "own"),
    [
        ("above", {"reference": "high", "default": "40.0"}, "36", "35.0", True),
        ("above", {"reference": "high", "default": "34.0"}, "36", "34.0", False),
        ("below", {"reference": "low", "default": "37.0"}, "36", "36.5", True),
        ("above", "30.0", "36", "30.0", False),
        ("above", {"switch": "hct_stop"}, "36", "54.0", False),
    ],
    ids=["upper limit reported", "upper limit not reported", "lower limit reported", "number", "switch"],
)
def test_explain_is_told_what_was_compared_and_whose_limit_it_was(knowledge, word, wanted, value, limit, own):
    high = Decimal(35) if word == "above" and own else None
    result = measurement("E2", value, 10, reference_high=high, reference_low=Decimal("36.5"))
    spec = {"marker": "E2", word: wanted}
    seen = ctx(chart(result), knowledge)
    seen.steps = []
    passed = holds({"result": spec}, seen).holds
    sign = ">" if word == "above" else "<"
    told = Compared(spec, word, "E2", Decimal("36.0"), sign, Decimal(limit), passed, result, own_range=own)
    assert seen.steps == [told]


@pytest.mark.parametrize(("spec", "days"), [({}, 395), ({"within_days": 90}, 90)])
def test_how_old_a_result_may_be_and_from_when_the_list_has_to_be_complete(knowledge, spec, days):
    tree = {"result": {"marker": "HCT", "above": "50.0"} | spec}
    assert answer(tree, chart(measurement("HCT", "55", days)), knowledge) is True
    assert answer(tree, chart(measurement("HCT", "55", days + 1)), knowledge) is False
    for complete_since, expected in ((days, False), (days - 1, None)):
        cut = gap("HCT", kind="truncated", complete_since=complete_since)
        assert answer(tree, chart(gaps=[cut]), knowledge) is expected
        assert answer(tree, chart(measurement("HCT", "45", 10), gaps=[cut]), knowledge) is expected


def test_what_a_comparator_leaves_open_is_said_of_the_latest_result(knowledge):
    latest, before = measurement("HCT", ">45", 10), measurement("HCT", "60", 20)
    truth = holds({"result": {"marker": "HCT", "above": "50.0"}}, ctx(chart(latest, before), knowledge))
    assert (truth.holds, truth.doubts) == (None, (Doubt("comparator", "HCT", {"result": latest}),))


@pytest.mark.parametrize(
    ("value", "expected"),
    [("113", False), ("114", True), ("264", True), ("414", True), ("415", False), ("<264", False)],
)
def test_near_a_limit_on_either_side(knowledge, value, expected):
    tree = {"result": {"marker": "TT", "near": {"limit": {"switch": "tt_lower_limit"}, "by": "150"}}}
    assert answer(tree, chart(measurement("TT", value, 10)), knowledge) is expected


@pytest.mark.parametrize(("ago", "expected"), [(100, False), (101, False), (99, True)])
def test_only_samples_after_the_start_day(knowledge, ago, expected):
    tree = {"result": {"marker": "IGF1", "comparable": True, "after_start": ["GH"]}}
    patient = chart(measurement("IGF1", "200", ago), therapies=[course("GH", 100)])
    assert answer(tree, patient, knowledge) is expected


def test_an_unknown_start_takes_every_sample(knowledge):
    tree = {"result": {"marker": "IGF1", "comparable": True, "after_start": ["GH"]}}
    patient = chart(measurement("IGF1", "200", 100), therapies=[course("GH", None)])
    assert answer(tree, patient, knowledge) is True


def test_a_missing_list_leaves_it_open(knowledge):
    tree = {"result": {"marker": "IGF1", "comparable": True}}
    assert answer(tree, chart(gaps=[gap("IGF1")]), knowledge) is None
    assert answer(tree, chart(measurement("IGF1", None, 10, problem="no_unit")), knowledge) is False


@pytest.mark.parametrize(
    ("results", "expected"),
    [
        ([], False),
        ([measurement("E2", None, 395, problem="no_unit")], None),
        ([measurement("E2", None, 396, problem="no_unit")], False),
        ([measurement("E2", None, 10, problem="text")], None),
        ([measurement("E2", "99999", 10, problem="implausible")], None),
        ([measurement("E2", None, 10)], None),
        ([measurement("E2", None, 10, status="cancelled")], False),
        ([measurement("E2", None, 10, problem="no_unit"), measurement("E2", "41.0", 20)], True),
        ([measurement("E2", None, 10, problem="no_unit"), measurement("E2", "40.0", 20)], False),
    ],
)
def test_a_result_that_cannot_be_compared_leaves_a_limit_open(knowledge, results, expected):
    """A later one that cannot be compared does not hide an earlier one (0.4.6)."""
    assert answer({"result": {"marker": "E2", "above": "40.0"}}, chart(*results), knowledge) is expected


# -- together --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("ago", "expected"), [(11, False), (10, True), (9, True)])
def test_results_of_one_day_or_later_come_together(knowledge, ago, expected):
    tree = {"together": {"marker": "TT", "with": ["FT", "BIOT"]}}
    patient = chart(measurement("TT", "300", 10), measurement("BIOT", "100", ago))
    assert answer(tree, patient, knowledge) is expected


def test_results_of_one_specimen_come_together(knowledge):
    tree = {"together": {"marker": "TT", "with": "FT"}}
    patient = chart(
        measurement("TT", "300", 10, specimen="Specimen/1"), measurement("FT", "50", 11, specimen="Specimen/1")
    )
    assert answer(tree, patient, knowledge) is True


def test_without_the_first_nothing_comes_together(knowledge):
    tree = {"together": {"marker": "TT", "with": "FT"}}
    assert answer(tree, chart(measurement("FT", "50", 1)), knowledge) is False


@pytest.mark.parametrize(("ago", "expected"), [(395, True), (396, False)])
def test_nothing_is_asked_of_a_result_that_is_too_old_to_be_compared(knowledge, ago, expected):
    old = measurement("TT", "300", ago, reference_high=Decimal(900))
    tree = {"together": {"marker": "TT", "with": "FT"}}
    assert answer(tree, chart(old, measurement("FT", "50", ago)), knowledge) is expected
    assert answer({"reference_range": {"marker": "TT"}}, chart(old), knowledge) is expected
    assert answer(DOSE, drawn(dated(ago), dated(ago + 1)), knowledge) is expected


def test_a_reference_range_is_known_by_its_upper_limit(knowledge):
    tree = {"reference_range": {"marker": "TT"}}
    assert answer(tree, chart(measurement("TT", "300", 10)), knowledge) is False
    assert answer(tree, chart(measurement("TT", "300", 10, reference_low=Decimal(264))), knowledge) is False
    assert answer(tree, chart(measurement("TT", "300", 10, reference_high=Decimal(916))), knowledge) is True


# -- the dose before the sample --------------------------------------------------------------------------

DOSE = {"after_dose": {"key": "TESTOSTERONE", "marker": "TT", "within_hours": 48}}


def timed(ago: int, hour: int, minute: int = 0) -> When:
    day = back(ago)
    return When(day, day, "time", datetime(day.year, day.month, day.day, hour, minute, tzinfo=UTC), hour, minute)


def dated(ago: int) -> When:
    return When(back(ago), back(ago))


def drawn(sample: When, *given: When):
    injections = msgspec.structs.replace(course(start=100), given=given)
    return chart(measurement("TT", "1100", when=sample), therapies=[injections])


@pytest.mark.parametrize(
    ("sample", "given", "expected"),
    [
        (timed(10, 8), timed(10, 8), True),
        (timed(10, 8), timed(12, 8), True),  # 48 hours
        (timed(10, 8, 1), timed(12, 8), False),
        (timed(10, 7, 59), timed(10, 8), False),  # before the dose
        (dated(10), dated(11), True),  # 0 to 48 hours
        (dated(10), dated(10), False),  # may lie before the dose
        (dated(10), dated(12), False),  # 24 to 72 hours
        (dated(10), timed(11, 8), True),
        (timed(10, 8), dated(11), True),
        (timed(10, 8), dated(10), False),
    ],
)
def test_within_48_hours_for_certain(knowledge, sample, given, expected):
    assert answer(DOSE, drawn(sample, given), knowledge) is expected


def test_any_dose_before_the_sample_counts(knowledge):
    assert answer(DOSE, drawn(timed(10, 8), timed(3, 8), timed(11, 8), timed(18, 8)), knowledge) is True


def test_a_dose_of_a_course_that_has_ended_was_a_dose(knowledge):
    ended = msgspec.structs.replace(course(start=100, end=5), given=(timed(11, 8),))
    patient = chart(measurement("TT", "1100", when=timed(10, 8)), therapies=[ended])
    assert answer(DOSE, patient, knowledge) is True


def test_a_month_is_no_day(knowledge):
    first = TODAY.replace(day=1)
    month = When(first, first + timedelta(days=29), "month")
    assert answer(DOSE, drawn(month, dated(10)), knowledge) is False


def test_without_recorded_doses_or_a_result_nothing_is_near(knowledge):
    assert answer(DOSE, on_testosterone(measurement("TT", "1100", 10)), knowledge) is False
    assert answer(DOSE, on_testosterone(), knowledge) is False


# -- ordered ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (order("TT", drafted=True), True),
        (order("HCT", "FT", drafted=True), True),
        (order("HCT", drafted=True), False),
        (order("TT", drafted=True, selected=False), False),
        (order("TT"), False),
    ],
    ids=["it", "among others", "another", "drafted, but not what the call is about", "ordered already"],
)
def test_an_order_that_is_being_drafted_for_one_of_the_markers(knowledge, made, expected):
    truth = holds({"ordered": {"marker": ["TT", "FT"]}}, ctx(chart(orders=[made]), knowledge))
    assert (truth.holds, truth.facts) == (expected, (made,) if expected else ())


# -- awaited ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("orders", "expected"),
    [
        ((), False),
        ((order("PSA", drafted=True),), True),
        ((order("PSA", authored=90),), True),
        ((order("PSA", authored=91),), False),
        ((order("TT", drafted=True),), False),
    ],
)
def test_a_test_that_is_drafted_or_ordered_is_awaited(knowledge, orders, expected):
    assert answer({"awaited": "PSA"}, chart(orders=orders), knowledge) is expected
