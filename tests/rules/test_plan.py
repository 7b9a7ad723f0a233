"""How the rules of a hook are gone through: in what order, and which of them end together."""

from __future__ import annotations

import msgspec
import pytest

from cds_service.knowledge.model import Knowledge, Rule
from cds_service.rules.outcome import Outcome
from cds_service.rules.plan import Plan, Plans, first
from cds_service.rules.predicates import QUESTIONS, holds
from tests.rules.conftest import chart, ctx, judge, measurement, on_testosterone, switched

TAKES, MAN, DIFFERS = {"therapy": {"key": "TESTOSTERONE"}}, {"sex": "male"}, {"gender_differs": "male"}
NONE: frozenset[str] = frozenset()


def made(knowledge: Knowledge, *rules: Rule, silent: frozenset[str] = NONE, minor: bool = False) -> Plan:
    """The plan of a knowledge base with these rules only."""
    return Plans(msgspec.structs.replace(knowledge, rules=rules)).of("patient-view", silent, minor=minor)


def named(knowledge: Knowledge, name: str, **fields) -> Rule:
    """A rule of the shipped ones, changed."""
    return msgspec.structs.replace(next(rule for rule in knowledge.rules if rule.id == name), **fields)


@pytest.mark.parametrize(
    ("tree", "asked"),
    [
        (None, None),
        (TAKES, TAKES),
        ({"all": [TAKES, MAN]}, TAKES),
        ({"all": [{"all": [MAN, TAKES]}, DIFFERS]}, MAN),
        ({"any": [TAKES, MAN]}, {"any": [TAKES, MAN]}),
        ({**TAKES, **MAN}, {**TAKES, **MAN}),
        ({"all": [TAKES], **MAN}, {"all": [TAKES], **MAN}),
        ({"all": []}, {"all": []}),
    ],
)
def test_what_is_asked_first(tree, asked):
    assert first(tree) == asked


def test_rules_that_begin_with_one_question_stand_together(knowledge):
    trees = [TAKES, MAN, {"all": [TAKES, MAN]}, {"all": [TAKES, DIFFERS]}]
    rules = [named(knowledge, "HCT-1", id=str(place), applies=tree) for place, tree in enumerate(trees)]
    plan = made(knowledge, *rules)
    assert [[(one.rule.id, one.place) for one in group.rules] for group in plan.groups] == [
        [("0", 0), ("2", 2), ("3", 3)],
        [("1", 1)],
    ]
    assert [group.first for group in plan.groups] == [plan.judged[0].question, plan.judged[1].question]
    assert [one.rule.id for one in plan.judged] == [outcome.rule for outcome in plan.outside] == list("0123")
    assert plan.judged[2].outside == Outcome("2", "not applicable", "does not apply to this patient", applies=False)


def test_a_rule_that_nobody_at_the_site_is_about_is_not_asked(knowledge):
    off = {"all": [{"switch": {"trend": False}}, TAKES]}
    plan = made(knowledge, named(knowledge, "HCT-1", id="off", applies=off), named(knowledge, "HCT-2"))
    assert [one.rule.id for group in plan.groups for one in group.rules] == ["HCT-2"]
    assert [outcome.rule for outcome in plan.outside] == ["off", "HCT-2"]
    site = switched(knowledge, trend=False)
    assert len(made(site, named(knowledge, "HCT-1", applies=off)).groups) == 1


def test_a_plan_holds_the_active_rules_of_the_hook(knowledge):
    rules = [
        named(knowledge, "HCT-1"),
        named(knowledge, "HCT-2", status="draft"),
        named(knowledge, "HCT-3", hooks=frozenset(["order-sign"])),
        named(knowledge, "TT-1"),
        named(knowledge, "DQ-1"),
    ]
    plan = made(knowledge, *rules, silent=frozenset(["TT-1", "TT-2"]))
    assert [one.rule.id for one in plan.judged] == ["HCT-1"]
    assert [one.rule.id for one in plan.silent] == ["TT-1"]
    assert [rule.id for rule in plan.quality] == ["DQ-1"]


def test_minors_have_a_plan_of_their_own(knowledge):
    told = named(knowledge, "HCT-2", runs_without=frozenset(["minor"]))
    plans = Plans(msgspec.structs.replace(knowledge, rules=(named(knowledge, "HCT-1"), told)))
    grown, young = (plans.of("patient-view", NONE, minor=minor) for minor in (False, True))
    assert [one.rule.id for one in grown.judged] == ["HCT-1", "HCT-2"]
    assert [(one.rule.id, one.place) for one in young.judged] == [("HCT-2", 0)]
    assert plans.of("patient-view", NONE, minor=True) is young


def test_a_condition_that_cannot_be_made_fails_its_rule_alone(knowledge):
    broken = named(knowledge, "HCT-1", id="broken", applies={"protocol": "no such protocol"})
    odd = msgspec.structs.replace(knowledge, rules=(broken, *knowledge.rules))
    for traced in (False, True):
        evaluation = judge(on_testosterone(measurement("HCT", "53", 5)), odd, traced=traced)
        ends = {outcome.rule: (outcome.result, outcome.failed) for outcome in evaluation.outcomes}
        assert ends["broken"] == ("unknown", "StopIteration")
        assert ends["HCT-2"] == ("finding", "")


def test_the_protocols_that_have_a_schedule_are_asked_for(knowledge):
    protocols = Plans(knowledge).protocols
    assert [key for key, _ in protocols] == [p.key for p in knowledge.protocols if p.schedules]
    at = ctx(on_testosterone(), knowledge)
    assert [key for key, question in protocols if question(at).holds] == ["male_trt"]


def test_questions_that_are_made_anew_are_not_taken_for_others(knowledge):
    """A process that knows many knowledge bases forgets some of their questions, and may keep their plans."""
    fresh = msgspec.structs.replace(knowledge)
    at = ctx(chart(), fresh)
    before = QUESTIONS.of(fresh).of({"sex": "male"})
    assert before(at).holds is True
    QUESTIONS._made.clear()
    assert holds({"sex": "female"}, at).holds is False
    assert before(at).holds is True
