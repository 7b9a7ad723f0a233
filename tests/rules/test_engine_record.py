"""What an evaluation records of every rule, of silent and of failed ones; tests that one card leaves to another."""

from __future__ import annotations

from datetime import date
from typing import Any

import msgspec
import pytest

from cds_service.chart import Refused
from cds_service.knowledge.model import Note
from cds_service.rules import engine, predicates, quality
from cds_service.rules.outcome import Doubt, Due, Finding, Line, Outcome
from tests.rules.conftest import (
    TODAY,
    card,
    chart,
    course,
    ctx,
    draft,
    gap,
    judge,
    measurement,
    messages,
    on_testosterone,
    order,
    outcome,
    with_rule,
)

DUE = "MISS-male_trt"
RICH = on_testosterone(measurement("HCT", "53", 5), measurement("PSA", "5", 5), measurement("TT", "700", 5))


def explode(*_: Any) -> Any:
    raise ZeroDivisionError


def ends(evaluation, rule):
    return next(o for o in evaluation.outcomes if o.rule == rule)


# -- a drug of which it is not known how it is taken --------------------------------------------------


def _on_some_estradiol(triglycerides, *gaps):
    result = measurement("TRIG", triglycerides, 5)
    return result, chart(result, therapies=[course("ESTRADIOL", form="unknown")], sex="female", gaps=gaps)


CUT = Doubt("gap_truncated", "medications", {"key": "key", "detail": ""})


@pytest.mark.parametrize("others", [(), (CUT,)], ids=["alone", "list cut off"])
def test_a_result_that_would_matter_in_one_form_is_told_where_the_form_is_not_known(knowledge, others):
    """TG-1: 500 mg/dL or more, on oral estradiol."""
    result, patient = _on_some_estradiol("500", *[gap("medications", kind="truncated") for _ in others])
    route = Doubt("route_unknown_result", "TRIG", {"name": "estradiol", "result": result})
    ended = Outcome("TG-1", "unknown", engine.UNCERTAIN, (route, *others))
    assert outcome(patient, knowledge, "TG-1") == ended


def test_a_result_that_matters_in_no_form_leaves_open_what_else_is_not_known(knowledge):
    assert outcome(_on_some_estradiol("499")[1], knowledge, "TG-1").result == "fine"
    patient = _on_some_estradiol("499", gap("medications", kind="truncated"))[1]
    assert outcome(patient, knowledge, "TG-1") == Outcome("TG-1", "unknown", engine.UNCERTAIN, (CUT,))


def test_results_that_may_be_missing_are_told_beside_what_leaves_open_whether_a_rule_applies(knowledge):
    cut = [gap("medications", kind="truncated"), gap("TRIG", kind="truncated")]
    results = Doubt("gap_truncated", "TRIG", {"key": "key", "detail": ""})
    patient = _on_some_estradiol("499", *cut)[1]
    assert outcome(patient, knowledge, "TG-1") == Outcome("TG-1", "unknown", engine.UNCERTAIN, (results, CUT))


def test_an_unknown_form_without_a_result_is_told_by_the_title_of_the_rule(knowledge):
    """X-1: oral estrogen is started on levothyroxine."""
    drafts = [draft("ESTRADIOL", form="unknown", agent="estradiol")]
    values = {"name": "estradiol", "title": "Oral estrogen is started on levothyroxine"}
    patient = chart(drafts=drafts, therapies=[course("LEVOTHYROXINE")], sex="female")
    ended = Outcome("X-1", "unknown", engine.UNCERTAIN, (Doubt("route_unknown", "medications", values),))
    assert outcome(patient, knowledge, "X-1", "order-select") == ended
    alone = chart(drafts=drafts, sex="female")
    assert outcome(alone, knowledge, "X-1", "order-select").result == "fine"


# -- the record --------------------------------------------------------------------------------------


@pytest.mark.parametrize("hook", ["patient-view", "order-select", "order-sign"])
@pytest.mark.parametrize("deceased", [False, True])
def test_an_evaluation_names_its_hook_and_its_day(knowledge, hook, deceased):
    evaluation = judge(on_testosterone(patient={"deceased": deceased}), knowledge, hook)
    assert (evaluation.hook, evaluation.as_of) == (hook, TODAY)


def test_nothing_is_traced_unasked(knowledge):
    """Not of a silent rule either: a trace is for `explain`."""
    evaluation = judge(RICH, knowledge, silent=frozenset(["PSA-1"]))
    assert {o.trace for o in evaluation.outcomes} == {()}
    traced = judge(RICH, knowledge, silent=frozenset(["PSA-1"]), traced=True)
    assert ends(traced, "PSA-1").trace != ()
    assert ends(traced, "HCT-2").trace != ()


@pytest.mark.parametrize(
    ("missing", "reason"), [({"sex": None}, "sex not known"), ({"birth": None}, "birth date not known")]
)
def test_a_rule_that_needs_sex_or_age_is_not_about_a_patient_without(knowledge, missing, reason):
    """HCT-1 runs without either; HCT-2 does not (0.4.19)."""
    for silent in (frozenset[str](), frozenset(["HCT-2"])):
        evaluation = judge(on_testosterone(measurement("HCT", "55", 5), **missing), knowledge, silent=silent)
        ended = ends(evaluation, "HCT-2")
        assert (ended.result, ended.reason, ended.applies) == ("not applicable", reason, False)
        assert ends(evaluation, "HCT-1").result == "finding"


def test_a_rule_that_may_be_about_the_patient_says_why_it_is_not_known(knowledge):
    ended = outcome(chart(measurement("HCT", "55", 5), gaps=[gap("medications")]), knowledge, "HCT-1")
    assert (ended.result, ended.reason) == ("unknown", "not known if it applies")
    assert [(doubt.message, doubt.area) for doubt in ended.doubts] == [("gap_absent", "medications")]


def test_a_failed_rule_is_told_by_its_title(knowledge, monkeypatch):
    monkeypatch.setitem(engine.KINDS, "change", explode)
    ended = outcome(RICH, knowledge, "PSA-2")
    title = next(rule.title for rule in knowledge.rules if rule.id == "PSA-2")
    assert (ended.reason, ended.failed) == ("the rule failed", "ZeroDivisionError")
    assert ended.doubts == (Doubt("rule_failed", "PSA-2", {"title": title}),)


def test_failed_quality_rules_say_what_was_raised(knowledge, monkeypatch):
    monkeypatch.setattr(quality, "evaluate", explode)
    failed = {o.rule: o.failed for o in judge(RICH, knowledge).outcomes if o.failed}
    wanted = [rule.id for rule in knowledge.rules if rule.kind == "quality" and "patient-view" in rule.hooks]
    assert failed == dict.fromkeys(wanted, "ZeroDivisionError")


def test_a_protocol_whose_condition_fails_is_not_in_force(knowledge, monkeypatch):
    """Only the protocol of men asks for the age."""
    assert judge(RICH, knowledge).protocols == ("male_trt",)
    monkeypatch.setitem(predicates.LEAVES, "age", explode)
    assert judge(RICH, knowledge).protocols == ()


@pytest.mark.parametrize(("hematocrit", "word"), [("53", "silent"), ("45", "fine")])
def test_a_silent_rule_without_a_finding_ends_as_it_would_aloud(knowledge, hematocrit, word):
    patient = on_testosterone(measurement("HCT", hematocrit, 5))
    assert ends(judge(patient, knowledge, silent=frozenset(["HCT-2"])), "HCT-2").result == word


# -- what is told ------------------------------------------------------------------------------------


def told(evaluation):
    return [(doubt.message, doubt.area) for doubt in evaluation.doubts]


def test_a_drafted_order_that_was_not_understood_is_told_even_where_no_therapy_is(knowledge):
    odd = Refused("MedicationRequest/1", "unreadable", "no drug", frozenset(["drafts"]), tell=True)
    assert told(judge(chart(refused=[odd]), knowledge, "order-sign")) == [("refused", "drafts")]


def test_what_a_finding_leaves_open_is_a_line_of_its_card(knowledge):
    """LDL of 200 mg/dL from a list that is cut within 395 days: there may be others."""
    cut = gap("LDL", kind="truncated", complete_since=100)
    evaluation = judge(on_testosterone(measurement("LDL", "200", 5), gaps=[cut]), knowledge)
    assert "gap_truncated" in messages(card(evaluation, "LDL-1"))
    assert told(evaluation) == []


def test_what_only_a_calculation_would_use_is_not_missed(knowledge):
    """Albumin has a default (5.1); nothing else of a man on testosterone looks at it."""
    asking = {rule.kind for rule in knowledge.rules if "ALB" in rule.markers}
    assert asking == {"calculated"}
    assert told(judge(on_testosterone(gaps=[gap("ALB")]), knowledge)) == []


def test_the_notes_of_a_due_card_stand_once(knowledge):
    noted = with_rule(knowledge, DUE, notes=(Note("Once is enough."),))
    told_lines = [line.text for line in card(judge(on_testosterone(start=90), noted), DUE).lines]
    assert told_lines.count("Once is enough.") == 1


def test_the_notes_of_a_finding_stand_in_its_card(knowledge):
    noted = with_rule(knowledge, "PSA-1", notes=(Note("Mind it."), Note("Not this.", {"sex": "female"})))
    evaluation = judge(RICH, noted)
    before, after = (card(judge(RICH, known), "PSA-1").lines for known in (knowledge, noted))
    assert after == (*before, Line("", {}, "Mind it."))
    assert ends(evaluation, "PSA-1").finding == card(evaluation, "PSA-1")


def test_what_disturbs_an_assay_is_a_line_of_the_results_by_this_assay(knowledge):
    """Biotin: sandwich assays (PSA) read low, competitive ones (testosterone) high, a blood count neither (4.9)."""
    results = measurement("HCT", "55", 5), measurement("PSA", "5", 5), measurement("TT", "1100", 5)
    evaluation = judge(on_testosterone(*results, therapies=[course("BIOTIN")]), knowledge)
    lines = {
        host: [
            guest.rule.id
            for line in card(evaluation, host).lines
            if isinstance(guest := line.values.get("finding"), Finding)
        ]
        for host in ("HCT-1", "PSA-1", "TT-1")
    }
    assert lines == {"HCT-1": [], "PSA-1": ["INT-BIOTIN-LOW"], "TT-1": ["INT-BIOTIN-HIGH"]}


@pytest.mark.parametrize(
    ("cap", "own", "from_text", "told"),
    [
        (True, "critical", [True], "warning"),
        (True, "critical", [True, False], "critical"),
        (True, "info", [True], "info"),
        (False, "critical", [True], "critical"),
    ],
)
def test_a_drug_known_from_text_alone_caps_a_rule_that_says_so(knowledge, cap, own, from_text, told):
    site = with_rule(knowledge, "HCT-1", text_cap=cap, indicator=own)
    therapies = [msgspec.structs.replace(course(), from_text=text) for text in from_text]
    evaluation = judge(chart(measurement("HCT", "55", 5), therapies=therapies), site)
    assert card(evaluation, "HCT-1").indicator == told


def test_what_the_tests_of_several_schedules_need_is_missed(knowledge):
    """No rule looks at either: LH is a test of men on testosterone, free T4 one of those on levothyroxine."""
    both = on_testosterone(therapies=[course("LEVOTHYROXINE")], gaps=[gap("LH"), gap("FT4")])
    assert {area for _, area in told(judge(both, knowledge))} >= {"LH", "FT4"}


# -- tests -------------------------------------------------------------------------------------------


def test_a_test_that_two_cards_suggest_stands_in_the_more_urgent_one(knowledge):
    both = with_rule(with_rule(knowledge, "PSA-1", tests=("AMH",)), "HCT-1", tests=("AMH",))
    patient = on_testosterone(measurement("HCT", "55", 5), measurement("PSA", "5", 5), measurement("TT", "700", 5))
    evaluation = judge(patient, both)
    assert "AMH" in card(evaluation, "HCT-1").tests
    assert "AMH" not in card(evaluation, "PSA-1").tests
    ordered = judge(msgspec.structs.replace(patient, orders=(order("AMH"),)), both)
    assert "AMH" not in card(ordered, "HCT-1").tests


@pytest.mark.parametrize(("panel", "brings"), [({"GLU", "K"}, True), ({"GLU", "K", "NA"}, True), ({"K"}, False)])
def test_a_panel_brings_a_test_that_all_of_its_markers_do(knowledge, panel, brings):
    larger = msgspec.structs.replace(knowledge.tests["BMP"], brings=frozenset(panel | {"CA"}))
    done_by = (frozenset(["GLU", "K", "CA"]),)
    smaller = msgspec.structs.replace(knowledge.tests["GLU"], done_by=done_by, brings=frozenset(["GLU"]))
    tests = {**knowledge.tests, "BMP": larger, "GLU": smaller}
    seen = ctx(chart(), msgspec.structs.replace(knowledge, tests=tests))
    due = [Due(test, overdue=False, last=None) for test in ("BMP", "GLU")]
    assert engine._brings(due[0], due[1], seen) is brings


@pytest.mark.parametrize("once", [False, True])
def test_a_line_without_a_card_stands_in_each_card_that_may_carry_it_unless_once_is_enough(knowledge, once):
    """C-T-10 (65 or older) belongs to every check of an order of testosterone (4.4)."""
    rule = next(rule for rule in knowledge.rules if rule.id == "C-T-10")
    site = with_rule(knowledge, "C-T-10", spec={**rule.spec, "line_once": once})
    results = measurement("HCT", "55", 5), measurement("PSA", "5", 5)
    old = chart(*results, drafts=[draft()], birth=date(1955, 1, 1))
    findings = judge(old, site, "order-sign").findings
    hosts = [finding.rule.id for finding in findings if finding.rule.id in rule.line_in]
    told_in = [
        finding.rule.id
        for finding in findings
        for line in finding.lines
        if isinstance(guest := line.values.get("finding"), Finding) and guest.rule.id == "C-T-10"
    ]
    assert len(hosts) > 1
    assert len(told_in) == (1 if once else len(hosts))
    assert set(told_in) <= set(hosts)
