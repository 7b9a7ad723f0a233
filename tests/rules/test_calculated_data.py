"""Kind `calculated`: the ratios of clinical sections 5.2 to 5.4, and what a calculated line is made of."""

from __future__ import annotations

from decimal import Decimal

import msgspec
import pytest

from cds_service.rules.calculated import evaluate
from cds_service.rules.outcome import Line
from cds_service.rules.questions import YES
from tests.rules.conftest import chart, ctx, gap, measurement

# Canonical units: TT ng/dL, SHBG nmol/L, E2 pg/mL, FT3 pg/mL, RT3 ng/dL; 1 nmol/L of testosterone is 28.842 ng/dL.
RATIOS = [
    ("free_androgen_index", ("TT", str(Decimal("15.6") * Decimal("28.842"))), ("SHBG", "22"), "70.91"),
    ("free_androgen_index", ("TT", str(Decimal("1.5") * Decimal("28.842"))), ("SHBG", "40"), "3.75"),
    ("free_androgen_index", ("TT", str(Decimal("2.4") * Decimal("28.842"))), ("SHBG", "20"), "12.00"),
    ("testosterone_estradiol_ratio", ("TT", "600"), ("E2", "30"), "20.00"),
    ("testosterone_estradiol_ratio", ("TT", "450"), ("E2", "20"), "22.50"),
    ("testosterone_estradiol_ratio", ("TT", "300"), ("E2", "40"), "7.50"),
    ("ft3_rt3_ratio", ("FT3", "3.2"), ("RT3", "15"), "21.33"),
    ("ft3_rt3_ratio", ("FT3", "2.4"), ("RT3", "28"), "8.57"),
    ("ft3_rt3_ratio", ("FT3", "3.0"), ("RT3", "10"), "30.00"),
]


def of_formula(knowledge, formula):
    return next(rule for rule in knowledge.rules if rule.spec.get("formula") == formula)


def judged(knowledge, formula, *results, **parts):
    return evaluate(of_formula(knowledge, formula), YES, ctx(chart(*results, **parts), knowledge))


@pytest.mark.parametrize(("formula", "above", "below", "ratio"), RATIOS)
def test_the_examples(knowledge, formula, above, below, ratio):
    numerator, denominator = (measurement(marker, value, 10) for marker, value in (above, below))
    ended = judged(knowledge, formula, numerator, denominator)
    told = ended.finding
    assert told is not None
    assert (ended.result, ended.reason) == ("finding", "calculated")
    values = {"numerator": numerator, "denominator": denominator, "ratio": told.values["ratio"]}
    assert round(values["ratio"], 2) == Decimal(ratio)
    rule = of_formula(knowledge, formula)
    assert (ended.rule, told.rule, told.indicator) == (rule.id, rule, "info")
    assert (told.marker, told.result, told.values) == (above[0], numerator, values)
    assert told.lines == (Line(f"calculated_{formula}", values),)


@pytest.mark.parametrize(
    ("value", "other", "ago", "apart"),
    [
        ("600", "30", 10, 1),  # two days
        ("0", "30", 10, 0),
        ("600", "0", 10, 0),
        (">600", "30", 10, 0),
        ("600", "<30", 10, 0),
        ("600", "30", 396, 0),
    ],
)
def test_what_a_ratio_is_not_made_of(knowledge, value, other, ago, apart):
    results = measurement("TT", value, ago), measurement("E2", other, ago + apart)
    ended = judged(knowledge, "testosterone_estradiol_ratio", *results, gaps=[gap("E2")])
    assert (ended.result, ended.reason) == ("not applicable", "no pair of results of one day")
    assert [(doubt.message, doubt.area) for doubt in ended.doubts] == [("gap_absent", "E2")]


def test_a_ratio_of_395_days_ago_is_the_oldest_and_the_newest_whole_pair_counts(knowledge):
    old = [measurement("TT", "600", 395), measurement("E2", "30", 395)]
    assert judged(knowledge, "testosterone_estradiol_ratio", *old).finding is not None
    bound = [measurement("TT", ">1500", 5), measurement("E2", "30", 5)]
    ended = judged(knowledge, "testosterone_estradiol_ratio", *bound, *old)
    assert ended.finding is not None
    assert ended.finding.result == old[0]


def test_a_calculated_free_testosterone_names_its_inputs(knowledge):
    total, shbg = measurement("TT", "500", 10), measurement("SHBG", "30", 10)
    ended = judged(knowledge, "free_testosterone", total, shbg)
    told = ended.finding
    assert told is not None
    assert (ended.reason, told.indicator, told.marker, told.result) == ("calculated", "info", "TT", total)
    assert (told.values["total"], told.values["shbg"]) == (total, shbg)
    assert told.lines == (Line("calculated_free_testosterone", told.values),)


def test_without_its_inputs_nothing_is_calculated(knowledge):
    ended = judged(knowledge, "free_testosterone", measurement("TT", "500", 10), gaps=[gap("SHBG")])
    assert (ended.result, ended.reason) == ("not applicable", "no total testosterone and SHBG of one day")
    assert [(doubt.message, doubt.area) for doubt in ended.doubts] == [("gap_absent", "SHBG")]


@pytest.mark.parametrize(("ago", "calculated"), [(90, True), (91, False)])
def test_a_rule_may_want_a_younger_pair(knowledge, ago, calculated):
    rule = of_formula(knowledge, "free_testosterone")
    rule = msgspec.structs.replace(rule, spec={**rule.spec, "max_age_days": 90})
    pair = measurement("TT", "500", ago), measurement("SHBG", "30", ago)
    assert (evaluate(rule, YES, ctx(chart(*pair), knowledge)).finding is not None) is calculated
