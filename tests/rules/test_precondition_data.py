"""Kinds `precondition` and `interaction`, by rules of one's own: what a finding says of its basis (2.4, 4.4)."""

from __future__ import annotations

from datetime import date

import msgspec
import pytest

from cds_service.rules.outcome import Line
from cds_service.rules.precondition import evaluate
from cds_service.rules.questions import YES
from tests.rules.conftest import chart, condition, course, ctx, gap, measurement, month, procedure


def judged(knowledge, patient, when, *, facts=()):
    """How a rule with this condition ends for the patient."""
    rule = next(
        rule for rule in knowledge.rules if rule.kind == "precondition" and not rule.spec.get("indicator_when")
    )
    rule = msgspec.structs.replace(rule, spec={"when": when}, notes=())
    ended = evaluate(rule, msgspec.structs.replace(YES, facts=facts), ctx(patient, knowledge))
    assert ended.rule == rule.id
    return ended


def test_how_a_condition_ends(knowledge):
    tree = {"condition": {"concept": "prostate_absent"}}
    absent, missing, present = (
        chart(),
        chart(gaps=[gap("conditions")]),
        chart(conditions=[condition("prostate_absent")]),
    )
    ends = [judged(knowledge, patient, tree) for patient in (absent, missing, present)]
    assert [(end.result, end.reason) for end in ends] == [
        ("fine", "condition does not hold"),
        ("unknown", "condition not known"),
        ("finding", "condition holds"),
    ]
    assert [doubt.message for doubt in ends[1].doubts] == ["gap_absent"]


def test_a_finding_names_the_result_that_it_rests_on(knowledge):
    high = measurement("HCT", "55", 10, unit_inferred=True)
    ended = judged(knowledge, chart(high), {"result": {"marker": "HCT", "above": "50.0"}})
    assert ended.finding is not None
    assert (ended.finding.marker, ended.finding.result, ended.finding.facts) == ("HCT", high, (high,))
    assert ended.finding.lines == (Line("unit_inferred", {"result": high}),)


@pytest.mark.parametrize(
    ("markers", "marker"),
    [(["HCT"], "HCT"), (["HCT", "PSA"], "")],
    ids=["about one marker", "about two"],
)
def test_without_a_result_a_finding_is_about_the_only_marker_that_was_asked_for(knowledge, markers, marker):
    tree = {"all": [{"not": {"has_result": {"marker": one, "within_days": 90}}} for one in markers]}
    ended = judged(knowledge, chart(), tree)
    assert ended.finding is not None
    assert (ended.finding.marker, ended.finding.result) == (marker, None)


def test_what_the_rule_and_its_condition_both_rest_on_is_named_once(knowledge):
    who, sick = course(from_text=True), condition("liver_disease")
    patient = chart(therapies=[who], conditions=[sick])
    tree = {"all": [{"therapy": {"key": "TESTOSTERONE"}}, {"condition": {"concept": "liver_disease"}}]}
    ended = judged(knowledge, patient, tree, facts=(who,))
    assert ended.finding is not None
    assert ended.finding.facts == (who, sick)
    assert ended.finding.lines == (Line("from_text", {"therapy": who}),)


def test_a_finding_names_the_concept_by_which_a_diagnosis_met_the_rule(knowledge):
    both = msgspec.structs.replace(
        condition("liver_disease"), concepts=frozenset(["liver_disease", "aaa_other", "prostate_absent"])
    )
    for concepts, named in ((["liver_disease"], "liver_disease"), (["prostate_absent"], "prostate_absent")):
        ended = judged(knowledge, chart(conditions=[both]), {"condition": {"concept": concepts}})
        assert ended.finding is not None
        assert ended.finding.values == {"concept": named}
    other = judged(knowledge, chart(), {"sex": "male"})
    assert other.finding is not None
    assert other.finding.values == {"concept": ""}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"onset": 30}, None),
        ({"onset": 30, "uncertain": True}, "condition_uncertain"),
        ({"onset": None, "recorded": month(date(2026, 10, 1))}, "onset_from_recorded"),
        ({"onset": month(date(2026, 10, 1))}, "onset_partial"),
    ],
)
def test_what_is_said_of_a_diagnosis_whose_date_matters(knowledge, fields, message):
    sick = condition("liver_disease", **fields)
    tree = {"condition": {"concept": "liver_disease", "within_months": 12}}
    ended = judged(knowledge, chart(conditions=[sick]), tree)
    assert ended.finding is not None
    assert ended.finding.lines == ((Line(message, {"condition": sick}),) if message else ())


def test_of_several_markers_the_finding_is_about_that_of_the_result(knowledge):
    high = measurement("HCT", "55", 10)
    tree = {"any": [{"result": {"marker": "PSA", "above": "4.0"}}, {"result": {"marker": "HCT", "above": "50.0"}}]}
    found = judged(knowledge, chart(high), tree).finding
    assert (found.marker, found.result) == ("HCT", high)


def urgency_of(knowledge, when, indicator, **parts):
    """Of a rule with this condition and urgency, at signing."""
    rule = next(rule for rule in knowledge.rules if rule.id == "C-T-1")
    rule = msgspec.structs.replace(rule, spec={"when": when}, indicator=indicator)
    found = evaluate(rule, YES, ctx(chart(**parts), knowledge, "order-sign")).finding
    assert found is not None
    return found.indicator


@pytest.mark.parametrize("indicator", ["info", "warning", "critical"])
def test_an_unconfirmed_diagnosis_lowers_critical_and_nothing_else(knowledge, indicator):
    """2.4: unconfirmed diagnoses make a critical card a warning."""
    tree = {"condition": {"concept": "vte"}}
    unsure, sure = [condition("vte", uncertain=True)], [condition("vte")]
    lowered = "warning" if indicator == "critical" else indicator
    assert urgency_of(knowledge, tree, indicator, conditions=unsure) == lowered
    assert urgency_of(knowledge, tree, indicator, conditions=sure) == indicator


def test_what_holds_without_the_unconfirmed_diagnosis_stays_critical(knowledge):
    """In this hook, by a procedure as well."""
    either = {"any": [{"condition": {"concept": "vte"}}, {"procedure": {"concept": "cpap"}}]}
    tree = {"all": [{"hook": "order-sign"}, either]}
    unsure = [condition("vte", uncertain=True)]
    assert urgency_of(knowledge, tree, "critical", conditions=unsure, procedures=[procedure("cpap")]) == "critical"
    assert urgency_of(knowledge, tree, "critical", conditions=unsure) == "warning"
