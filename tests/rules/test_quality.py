"""Kind `quality`: results that cannot be judged, and where that is told (0.4.4, 0.4.6, 0.4.21)."""

from __future__ import annotations

import pytest

from cds_service.rules.outcome import Evaluation
from tests.rules.conftest import (
    card,
    cards,
    chart,
    draft,
    judge,
    measurement,
    messages,
    on_testosterone,
    outcome,
    result_of,
)


def quiet(evaluation: Evaluation) -> list[tuple[str, str, str]]:
    """(message, marker, rule) of what stands in the quiet card."""
    return [(doubt.message, doubt.area, doubt.rule) for doubt in evaluation.doubts]


PROBLEMS = [
    ("no_unit", "DQ-1"),
    ("unknown_unit", "DQ-1"),
    ("implausible", "DQ-2"),
    ("future", "DQ-4"),
    ("text", ""),
    ("range", ""),
    ("no_value", ""),
    ("panel", ""),
]


@pytest.mark.parametrize(("problem", "rule"), PROBLEMS)
def test_each_problem_is_told_under_its_rule(knowledge, problem, rule):
    evaluation = judge(on_testosterone(measurement("TT", None, 10, problem=problem)), knowledge)
    assert quiet(evaluation) == [(f"dq_{problem}", "TT", rule)]
    words = {o.rule: o.result for o in evaluation.outcomes}
    assert words[rule or "UNKNOWN"] == "unknown"
    assert {words[other] for other in ("DQ-1", "DQ-2", "DQ-4", "DQ-5") if other != rule} == {"fine"}


def test_two_values_of_one_sample(knowledge):
    evaluation = judge(on_testosterone(measurement("TT", "500", 10, conflict=True)), knowledge)
    assert quiet(evaluation) == [("dq_conflict", "TT", "DQ-5")]


def test_an_undated_result_is_told_whatever_its_place_in_the_list(knowledge):
    undated = measurement("TT", "500", when=None, problem="undated")
    evaluation = judge(on_testosterone(measurement("TT", "500", 10), undated), knowledge)
    assert quiet(evaluation) == [("dq_undated", "TT", "")]


def test_a_unit_that_contradicts_the_code_is_logged_and_never_shown(knowledge):
    odd = measurement("TT", "500", 10, traits=frozenset(["unit_against_code"]))
    evaluation = judge(on_testosterone(odd), knowledge)
    assert quiet(evaluation) == []
    logged = next(o for o in evaluation.outcomes if o.rule == "DQ-3")
    assert (logged.result, logged.reason) == ("fine", "TT")


@pytest.mark.parametrize(("age", "told"), [(0, True), (395, True), (396, False)])
def test_only_results_of_395_days(knowledge, age, told):
    evaluation = judge(on_testosterone(measurement("TT", None, age, problem="no_unit"), start=600), knowledge)
    assert bool(quiet(evaluation)) is told


def test_only_the_newest_result_of_a_marker(knowledge):
    old = measurement("TT", None, 20, problem="no_unit")
    assert quiet(judge(on_testosterone(old, measurement("TT", "500", 10)), knowledge)) == []
    newest = measurement("TT", None, 5, problem="text")
    assert quiet(judge(on_testosterone(old, newest), knowledge)) == [("dq_text", "TT", "")]


@pytest.mark.parametrize("marker", ["TSH", "PRL", "AMH", "IGF1", "K"])
def test_only_markers_that_somebody_needs(knowledge, marker):
    assert quiet(judge(on_testosterone(measurement(marker, None, 5, problem="no_unit")), knowledge)) == []


@pytest.mark.parametrize("marker", ["TT", "FT", "BIOTPCT", "SHBG", "LH", "HCT", "HGB", "PSA", "TRIG", "ALT", "LDL"])
def test_every_marker_of_the_schedule_and_the_rules(knowledge, marker):
    evaluation = judge(on_testosterone(measurement(marker, None, 5, problem="no_unit")), knowledge)
    assert quiet(evaluation) == [("dq_no_unit", marker, "DQ-1")]


def test_nothing_of_a_patient_without_a_therapy_in_scope(knowledge):
    evaluation = judge(chart(measurement("HCT", None, 5, problem="no_unit")), knowledge)
    assert (quiet(evaluation), cards(evaluation)) == ([], [])


@pytest.mark.parametrize("status", ["preliminary", "registered"])
def test_nothing_of_a_preliminary_result(knowledge, status):
    waiting = measurement("TT", None, 5, problem="no_unit", status=status)
    assert quiet(judge(on_testosterone(waiting), knowledge)) == []


def test_an_order_needs_only_what_its_checks_look_at(knowledge):
    odd = measurement("HCT", None, 5, problem="no_unit")
    new = judge(chart(odd, drafts=[draft()]), knowledge, "order-sign")
    renewal = judge(on_testosterone(odd, drafts=[draft()]), knowledge, "order-sign")
    assert (quiet(new), quiet(renewal)) == ([("dq_no_unit", "HCT", "DQ-1")], [])


# -- beside another card (0.4.21) --------------------------------------------------------------------


def test_beside_a_threshold_card_of_the_marker_it_is_a_line(knowledge):
    patient = on_testosterone(measurement("HCT", "55", 30), measurement("HCT", None, 5, problem="no_unit"))
    evaluation = judge(patient, knowledge)
    assert "dq_no_unit" in messages(card(evaluation, "HCT-1"))
    assert quiet(evaluation) == []


def test_beside_the_due_tests_it_keeps_its_card(knowledge):
    patient = on_testosterone(measurement("TT", None, 90, problem="no_unit"))
    evaluation = judge(patient, knowledge)
    assert "TT" in card(evaluation, "MISS-male_trt").tests
    assert quiet(evaluation) == [("dq_no_unit", "TT", "DQ-1")]


def test_beside_a_card_of_another_marker_it_keeps_its_card(knowledge):
    patient = on_testosterone(measurement("HCT", "55", 30), measurement("TT", None, 5, problem="no_unit"))
    assert quiet(judge(patient, knowledge)) == [("dq_no_unit", "TT", "DQ-1")]


def test_a_conflict_of_the_result_that_fires_is_told_in_its_card(knowledge):
    evaluation = judge(on_testosterone(measurement("HCT", "55", 5, conflict=True)), knowledge)
    assert {"conflict", "dq_conflict"} & set(messages(card(evaluation, "HCT-1")))
    assert quiet(evaluation) == []


def test_a_conflict_is_told_once_in_its_card(knowledge):
    evaluation = judge(on_testosterone(measurement("HCT", "55", 5, conflict=True)), knowledge)
    said = messages(card(evaluation, "HCT-1"))
    assert [message for message in said if message in ("conflict", "dq_conflict")] == ["dq_conflict"]


def test_a_later_result_that_could_not_be_compared_is_told_with_its_reason(knowledge):
    results = measurement("HCT", "55", 5, conflict=True), measurement("HCT", None, 1, problem="no_unit")
    said = messages(card(judge(on_testosterone(*results), knowledge), "HCT-1"))
    assert {"conflict", "newer_not_comparable", "dq_no_unit"} <= set(said)


def test_a_quality_rule_never_has_a_finding(knowledge):
    patient = on_testosterone(measurement("TT", None, 5, problem="no_unit"))
    assert outcome(patient, knowledge, "DQ-1").finding is None
    assert result_of(on_testosterone(), knowledge, "DQ-1") == "fine"
