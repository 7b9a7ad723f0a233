"""Kind `change`, whole series: PSA a year (5.5) and from its lowest value (4.9), bone turnover in percent (5.7)."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import msgspec
import pytest

from cds_service.rules.change import evaluate
from cds_service.rules.outcome import Compared, Line
from cds_service.rules.questions import YES
from tests.rules.conftest import back, chart, course, ctx, gap, measurement, messages, month, switched

VELOCITY, LOWEST, BONE = "PSA-4", "PSA-5", "BTM-1"


def judged(knowledge, rule: str, patient, *, traced: bool = False):
    """How the rule ends, and what it noted."""
    found = next(one for one in knowledge.rules if one.id == rule)
    seen = ctx(patient, knowledge)
    seen.steps = [] if traced else None
    return evaluate(found, msgspec.structs.replace(YES, facts=patient.therapies), seen), seen.steps


def series(marker: str, *results, start: int, key: str = "TESTOSTERONE", **parts):
    """Results as (value, days ago), of a patient on one therapy."""
    points = [measurement(marker, value, ago) for value, ago in results]
    return chart(*points, therapies=[course(key, start)], **parts)


# -- PSA a year: at least 3 results over 730 days, from day 180 of the therapy, more than 0.40 a year ---------


def test_the_velocity_of_the_example(knowledge):
    """0.8, 1.1, 1.3 on 2025-01-10, 2026-01-10 and 2026-10-10 rise by 0.2870 a year, but span 638 days only."""
    days = (date(2025, 1, 10), date(2026, 1, 10), date(2026, 10, 10))
    points = [measurement("PSA", value, day) for value, day in zip(("0.8", "1.1", "1.3"), days, strict=True)]
    ended, _ = judged(knowledge, VELOCITY, chart(*points, therapies=[course(start=date(2024, 1, 1))]))
    assert (ended.rule, ended.result, ended.reason) == (VELOCITY, "not applicable", "too few results")


# The results lie 730 days apart, so that the slope of the line is (last - first) x 365.25 / 1460 a year.
@pytest.mark.parametrize(
    ("first", "last", "word", "yearly"),
    [
        ("1.00", "2.59", "fine", "0.3978"),  # 1.59 x 365.25 / 1460
        ("1.00", "2.60", "finding", "0.4003"),  # 1.60 x 365.25 / 1460
        ("2.60", "1.00", "fine", "-0.4003"),
    ],
)
def test_more_than_the_limit_a_year(knowledge, first, last, word, yearly):
    patient = series("PSA", (first, 1470), ("1.50", 740), (last, 10), start=1700)
    ended, steps = judged(knowledge, VELOCITY, patient, traced=True)
    assert (ended.rule, ended.result, ended.reason) == (VELOCITY, word, f"{yearly} a year")
    rule = next(rule for rule in knowledge.rules if rule.id == VELOCITY)
    latest, *earlier = patient.measurements["PSA"]
    slope = round(Decimal(yearly), 3)
    assert steps == [
        Compared(rule.spec, "slope_above", "PSA", slope, ">", Decimal("0.40"), word == "finding", latest)
    ]
    assert (ended.finding is not None) is (word == "finding")
    if ended.finding is not None:
        told = ended.finding
        assert (told.rule, told.indicator, told.marker, told.result) == (rule, "info", "PSA", latest)
        assert (told.value, told.limit, told.operator) == (Decimal("2.60"), Decimal("0.40"), ">")
        assert (told.earlier, told.facts) == (tuple(earlier), patient.therapies)
        assert told.values == {"velocity": Decimal("0.400"), "count": 3}


def test_exactly_the_limit_is_not_more(knowledge):
    """1461 days are four years of 365.25 days, in which 0.40 a year are 1.60."""
    patient = series("PSA", ("1.00", 2932), ("2.60", 1471), ("4.20", 10), start=3200)
    ended, steps = judged(knowledge, VELOCITY, patient, traced=True)
    assert (ended.result, ended.reason, steps[0].passed) == ("fine", "0.4000 a year", False)


@pytest.mark.parametrize(
    ("points", "word", "reason"),
    [
        ([("1", 739), ("3", 374), ("5", 10)], "not applicable", "too few results"),  # 729 days
        ([("1", 740), ("3", 375), ("5", 10)], "finding", None),  # 730 days
        ([("1", 740), ("5", 10)], "not applicable", "too few results"),
        ([("1", 740), ("3", 10), ("5", 10)], "not applicable", "too few results"),  # two days
        ([("1", 740), ("<3", 375), ("5", 10)], "not applicable", "too few results"),  # a bound is no point
        ([("1", 1125), ("3", 760), ("5", 395)], "finding", None),
        ([("1", 1126), ("3", 761), ("5", 396)], "not applicable", "the latest result is too old"),
    ],
)
def test_what_a_velocity_needs(knowledge, points, word, reason):
    for gaps in ((), (gap("PSA"),)):
        ended, _ = judged(knowledge, VELOCITY, series("PSA", *points, start=2000, gaps=gaps))
        assert ended.result == ("unknown" if gaps and reason else word)
        assert [doubt.message for doubt in ended.doubts] == (["gap_absent"] if gaps else [])
        assert reason is None or (ended.rule, ended.reason) == (VELOCITY, reason)


@pytest.mark.parametrize(("start", "word"), [(920, "finding"), (919, "not applicable")])
def test_results_count_from_day_180_of_the_therapy(knowledge, start, word):
    """The first result lies 740 days back: on day 180, or on day 179."""
    patient = series("PSA", ("1", 740), ("3", 375), ("5", 10), start=start)
    assert judged(knowledge, VELOCITY, patient)[0].result == word


def test_a_velocity_that_is_low_in_a_cut_list_is_not_called_fine(knowledge):
    patient = series("PSA", ("1", 740), ("1", 375), ("1", 10), start=2000, gaps=[gap("PSA")])
    assert judged(knowledge, VELOCITY, patient)[0].result == "unknown"


# -- PSA from its lowest value: 0.50 or more, since the day after the start ------------------------------------


@pytest.mark.parametrize(
    ("points", "word", "reason"),
    [
        ([("1.00", 300), ("1.20", 200), ("1.49", 10)], "fine", "1.49 - 1.00"),
        ([("1.20", 300), ("1.00", 200), ("1.50", 10)], "finding", "1.50 - 1.00"),
        ([("1.00", 200), ("1.50", 10)], "finding", "1.50 - 1.00"),
        ([("1.80", 200), ("1.50", 10)], "fine", "1.50 - 1.80"),  # the lowest of the earlier ones
        ([("1.50", 10)], "not applicable", "no pair of results"),
        ([("<1.00", 200), ("1.50", 10)], "not applicable", "no pair of results"),
        ([("1.00", 500), ("1.50", 395)], "finding", "1.50 - 1.00"),
        ([("1.00", 500), ("1.50", 396)], "not applicable", "no pair of results"),
        ([("1.00", 699), ("1.50", 10)], "finding", "1.50 - 1.00"),
        ([("1.00", 700), ("1.50", 10)], "not applicable", "no pair of results"),  # of the start day
    ],
)
def test_a_rise_from_the_lowest_value(knowledge, points, word, reason):
    for gaps in ((), (gap("PSA"),)):
        patient = series("PSA", *points, start=700, key="FIVE_ARI", gaps=gaps)
        ended, _ = judged(knowledge, LOWEST, patient)
        assert (ended.rule, ended.reason) == (LOWEST, reason)
        assert ended.result == ("unknown" if gaps and word != "finding" else word)
        assert [doubt.message for doubt in ended.doubts] == (["gap_absent"] if gaps else [])


def test_a_finding_says_that_the_product_has_changed_since(knowledge):
    """The latest sample is ten days old."""
    patient = series("PSA", ("1.00", 200), ("1.50", 10), start=700, key="FIVE_ARI")
    for ago, told in ((9, True), (10, False)):
        changed = msgspec.structs.replace(patient.therapies[0], dose_changed=back(ago))
        ended, _ = judged(knowledge, LOWEST, msgspec.structs.replace(patient, therapies=(changed,)))
        assert ended.finding is not None
        assert ("changed_since" in messages(ended.finding)) is told


def test_a_rise_names_the_lowest_value_and_the_limit(knowledge):
    patient = series("PSA", ("1.20", 300), ("1.00", 200), ("1.50", 10), start=700, key="FIVE_ARI")
    ended, steps = judged(knowledge, LOWEST, patient, traced=True)
    latest, lowest, first = patient.measurements["PSA"]
    rise, limit = Decimal("0.50"), Decimal("0.50")
    rule = next(rule for rule in knowledge.rules if rule.id == LOWEST)
    assert steps == [Compared(rule.spec, "rise_from_lowest", "PSA", rise, ">=", limit, True, latest)]
    told = ended.finding
    assert told is not None
    assert told.values == {"rise": rise, "lowest": lowest, "base": Decimal("1.00"), "baseline": lowest}
    assert (told.rule, told.result, told.value, told.limit) == (rule, latest, Decimal("1.50"), limit)
    assert (told.earlier, told.facts, told.operator) == ((lowest, first), patient.therapies, ">")


# -- bone turnover: has not fallen by 30 % between the baseline and days 80 to 200 ------------------------------


def turnover(before: str | None, after: str | None, *, at: int = 200, day: int = 100, start: int = 300, **parts):
    """CTX `at` days before today and on a day of the course, which began `start` days ago."""
    points = [(value, ago) for value, ago in ((before, at), (after, start - day)) if value is not None]
    return series("CTX", *points, start=start, key="ESTRADIOL", **parts)


@pytest.mark.parametrize(
    ("before", "after", "word", "reason"),
    [
        ("500", "350", "fine", "-30.0 %"),  # 150 of 500
        ("500", "351", "finding", "-29.8 %"),
        ("500", "600", "finding", "20.0 %"),
        ("500", None, "not applicable", "no pair of results"),
        (None, "350", "not applicable", "no pair of results"),
        ("0", "350", "not applicable", "no pair of results"),
        ("<500", "350", "not applicable", "no pair of results"),
        ("500", ">350", "not applicable", "no pair of results"),
    ],
)
def test_a_fall_in_percent(knowledge, before, after, word, reason):
    for gaps in ((), (gap("CTX"),)):
        ended, _ = judged(knowledge, BONE, turnover(before, after, at=310, gaps=gaps))
        assert (ended.rule, ended.reason) == (BONE, reason)
        assert ended.result == ("unknown" if gaps and word != "finding" else word)
        assert [doubt.message for doubt in ended.doubts] == (["gap_absent"] if gaps else [])


@pytest.mark.parametrize(
    ("at", "day", "word"),
    [
        (480, 100, "finding"),  # 180 days before the start
        (481, 100, "not applicable"),
        (293, 100, "finding"),  # day 7
        (292, 100, "not applicable"),
        (310, 79, "not applicable"),
        (310, 80, "finding"),
        (310, 200, "finding"),
        (310, 201, "not applicable"),
    ],
)
def test_which_samples_a_fall_compares(knowledge, at, day, word):
    assert judged(knowledge, BONE, turnover("500", "400", at=at, day=day))[0].result == word


def test_of_several_samples_the_latest_of_each_window_are_compared(knowledge):
    points = [("900", 400), ("500", 310), ("900", 210), ("400", 110), ("100", 50)]
    ended, steps = judged(knowledge, BONE, series("CTX", *points, start=300, key="ESTRADIOL"), traced=True)
    baseline, follow_up = (measurement("CTX", value, ago) for value, ago in (("500", 310), ("400", 110)))
    rule = next(rule for rule in knowledge.rules if rule.id == BONE)
    limit = Decimal(30)
    assert steps == [
        Compared(rule.spec, "fall_less_than_percent", "CTX", Decimal("20.0"), "<", limit, True, follow_up)
    ]
    told = ended.finding
    assert told is not None
    assert told.values == {"percent": Decimal("-20.0"), "baseline": baseline, "base": Decimal(500)}
    assert (told.rule, told.marker, told.result) == (rule, "CTX", follow_up)
    assert (told.limit, told.earlier) == (limit, (baseline,))


def test_a_sample_of_a_month_counts_by_its_first_day(knowledge):
    """The course began on 2026-03-01; 2026-05-20 would be day 80."""
    before = measurement("CTX", "500", date(2026, 2, 1))
    for first, word in ((date(2026, 5, 1), "not applicable"), (date(2026, 6, 1), "finding")):
        after = measurement("CTX", "400", when=month(first))
        patient = chart(before, after, therapies=[course("ESTRADIOL", date(2026, 3, 1))])
        assert judged(knowledge, BONE, patient)[0].result == word


# -- all of them -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("rule", "key"), [(VELOCITY, "TESTOSTERONE"), (LOWEST, "FIVE_ARI"), (BONE, "ESTRADIOL")])
def test_without_a_course_or_its_start_nothing_is_compared(knowledge, rule, key):
    for therapies in ((), (course(key, None),)):
        ended, _ = judged(knowledge, rule, chart(therapies=therapies))
        assert (ended.rule, ended.result) == (rule, "not applicable")
        assert ended.reason == "start of the therapy not known"


def test_the_site_moves_a_look_back(knowledge):
    site = switched(knowledge, baseline_lookback_days=90)
    assert judged(site, BONE, turnover("500", "400", at=390))[0].result == "finding"
    assert judged(site, BONE, turnover("500", "400", at=391))[0].result == "not applicable"


@pytest.mark.parametrize(
    ("before", "after", "fallen", "passed"),
    [("300", "211", "29.7", True), ("500", "350", "30.0", False), ("500", "600", "-20.0", True)],
)
def test_a_fall_is_told_with_one_decimal(knowledge, before, after, fallen, passed):
    """89 of 300 are 29.67 %."""
    ended, steps = judged(knowledge, BONE, turnover(before, after, at=310), traced=True)
    assert [(step.value, step.passed) for step in steps] == [(Decimal(fallen), passed)]
    if passed:
        assert ended.finding is not None
        assert ended.finding.values["percent"] == -Decimal(fallen)


def test_three_earlier_values_and_what_is_said_of_the_latest(knowledge):
    points = [measurement("PSA", value, ago) for value, ago in (("5", 20), ("4", 200), ("3", 400), ("1", 800))]
    latest = measurement("PSA", "6", 10, unit_inferred=True)
    patient = chart(latest, *points, therapies=[course(start=2000)])
    ended, _ = judged(knowledge, VELOCITY, patient)
    assert ended.finding is not None
    assert ended.finding.earlier == tuple(points[:3])
    assert ended.finding.lines == (Line("unit_inferred", {"result": latest}),)


def test_a_low_velocity_of_a_cut_list_says_what_is_missing(knowledge):
    patient = series("PSA", ("1", 740), ("1", 375), ("1", 10), start=2000, gaps=[gap("PSA")])
    ended, _ = judged(knowledge, VELOCITY, patient)
    assert [(doubt.message, doubt.area) for doubt in ended.doubts] == [("gap_absent", "PSA")]
