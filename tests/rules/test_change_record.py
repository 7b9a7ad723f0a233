"""Kind `change`: edges of its lists and ages by rules of one's own, and what a projection says of the therapy."""

from __future__ import annotations

from decimal import Decimal

import msgspec
import pytest

from cds_service.rules.change import evaluate
from cds_service.rules.outcome import Compared
from cds_service.rules.questions import YES
from tests.rules.conftest import (
    chart,
    course,
    ctx,
    found,
    gap,
    judge,
    measurement,
    messages,
    on_testosterone,
    outcome,
    result_of,
    with_rule,
)


def with_spec(knowledge, name, **fields):
    """The knowledge with other data in one rule."""
    rule = next(rule for rule in knowledge.rules if rule.id == name)
    return with_rule(knowledge, name, spec={**rule.spec, **fields})


@pytest.mark.parametrize(("complete_since", "word"), [(100, "not applicable"), (99, "unknown")])
def test_a_projection_needs_a_list_from_the_start_on_and_no_longer(knowledge, complete_since, word):
    cut = gap("HCT", kind="truncated", complete_since=complete_since)
    assert result_of(on_testosterone(start=100, gaps=[cut]), knowledge, "TREND-HCT") == word


def test_a_rise_without_a_pair_in_a_cut_list_says_what_is_missing(knowledge):
    ended = outcome(on_testosterone(measurement("PSA", "2", 5), gaps=[gap("PSA")]), knowledge, "PSA-2")
    assert (ended.result, ended.reason) == ("unknown", "no pair of results")
    assert [(doubt.message, doubt.area) for doubt in ended.doubts] == [("gap_absent", "PSA")]


@pytest.mark.parametrize(("age", "word"), [(30, "finding"), (31, "not applicable")])
def test_a_rise_may_want_a_younger_result(knowledge, age, word):
    """From 1 to 3 ng/mL; the rule looks at results of 30 days."""
    patient = on_testosterone(measurement("PSA", "1", 110), measurement("PSA", "3", age))
    assert result_of(patient, with_spec(knowledge, "PSA-2", max_age_days=30), "PSA-2") == word


def test_a_line_that_reaches_the_limit_on_the_last_day_has_reached_it(knowledge):
    """48, 49.5 and 51 % on days -90, -45 and 0: 1.5 in 45 days, so 54 % in 90 days, the furthest day."""
    points = [measurement("HCT", value, ago) for value, ago in (("48.0", 90), ("49.5", 45), ("51.0", 0))]
    evaluation = judge(on_testosterone(*points, start=200), knowledge, traced=True)
    ended = next(one for one in evaluation.outcomes if one.rule == "TREND-HCT")
    assert ended.result == "finding"
    (step,) = [step for step in ended.trace if isinstance(step, Compared) and step.word == "projected_above"]
    assert (step.value, step.limit, step.passed) == (Decimal("54.000"), Decimal("54.0"), True)


def test_a_projection_says_that_the_drug_was_recognised_by_its_text(knowledge):
    points = [measurement("HCT", value, ago) for value, ago in (("40.0", 70), ("45.0", 40), ("50.0", 10))]
    taken = msgspec.structs.replace(course(start=200), from_text=True)
    assert "from_text" in messages(found(chart(*points, therapies=[taken]), knowledge, "TREND-HCT"))


@pytest.mark.parametrize(("sex", "indicator"), [("male", "critical"), ("female", "info")])
def test_the_urgency_of_a_series_may_depend_on_the_patient(knowledge, sex, indicator):
    """PSA from 1 to 3 ng/mL since the lowest value, where a site is stricter with one sex than with the other."""
    rule = next(rule for rule in knowledge.rules if rule.id == "PSA-5")
    stricter = [{"when": {"sex": sex}, "indicator": "critical"}]
    rule = msgspec.structs.replace(rule, indicator="info", spec={**rule.spec, "indicator_when": stricter})
    points = measurement("PSA", "1.0", 200), measurement("PSA", "3.0", 5)
    patient = chart(*points, therapies=[course("FIVE_ARI", 300)])
    finding = evaluate(rule, YES, ctx(patient, knowledge)).finding
    assert finding is not None
    assert finding.indicator == indicator
