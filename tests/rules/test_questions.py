"""Compiled predicates: equal parts are asked once a chart, and only there."""

from __future__ import annotations

import pytest

from cds_service.rules import predicates
from cds_service.rules.predicates import QUESTIONS, holds
from cds_service.rules.questions import Truth, always, never
from tests.rules.conftest import chart, condition, course, ctx, gap, switched


def counted(monkeypatch, name):
    """How often a leaf is asked from now on."""
    asked: list[str] = []
    leaf = predicates.LEAVES[name]

    def counting(spec, at):
        asked.append(spec)
        return leaf(spec, at)

    monkeypatch.setitem(predicates.LEAVES, name, counting)
    return asked


def test_what_two_trees_ask_alike_is_asked_once_a_chart(knowledge, monkeypatch):
    asked = counted(monkeypatch, "sex")
    first, second = {"all": [{"sex": "male"}]}, {"any": [{"sex": "male"}, {"sex": "female"}]}
    at = ctx(chart(), knowledge)
    assert (holds(first, at).holds, holds(second, at).holds) == (True, True)
    assert asked == ["male", "female"]
    holds(first, ctx(chart(), knowledge))
    assert asked == ["male", "female", "male"]


def test_a_traced_evaluation_asks_again(knowledge, monkeypatch):
    asked = counted(monkeypatch, "sex")
    at = ctx(chart(), knowledge)
    at.steps = []
    holds({"sex": "male"}, at)
    holds({"all": [{"sex": "male"}]}, at)
    assert asked == ["male", "male"]


# -- facts and doubts of parts that are combined ---------------------------------------------------------


def test_all_keeps_the_facts_and_the_doubts_of_every_part(knowledge):
    one, other = condition("prostate_absent"), condition("liver_disease")
    trees = [{"condition": {"concept": name}} for name in ("prostate_absent", "liver_disease")]
    both = holds({"all": trees}, ctx(chart(conditions=[one, other]), knowledge))
    assert both == Truth(True, (one, other))
    results = [{"result": {"marker": marker, "above": "1"}} for marker in ("HCT", "PSA")]
    at = ctx(chart(conditions=[one], gaps=[gap("HCT"), gap("PSA")]), knowledge)
    open_one = holds({"all": [trees[0], *results]}, at)
    assert (open_one.holds, open_one.facts) == (None, (one,))
    assert [doubt.area for doubt in open_one.doubts] == ["HCT", "PSA"]


def test_several_questions_in_one_mapping_are_asked_together(knowledge):
    tree = {"sex": "male", "condition": {"concept": "prostate_absent"}}
    absent = condition("prostate_absent")
    assert holds(tree, ctx(chart(conditions=[absent]), knowledge)) == Truth(True, (absent,))
    assert holds(tree, ctx(chart(), knowledge)).holds is False
    assert holds(tree, ctx(chart(conditions=[absent], sex="female"), knowledge)).holds is False


def test_certain_takes_what_cannot_be_known_for_no(knowledge):
    tree = {"certain": {"condition": {"concept": "prostate_absent"}}}
    absent = condition("prostate_absent")
    assert holds(tree, ctx(chart(conditions=[absent]), knowledge)) == Truth(True, (absent,))
    assert holds(tree, ctx(chart(gaps=[gap("conditions")]), knowledge)) == Truth(False)


# -- what the site has chosen once for all ----------------------------------------------------------------

ON, OFF = {"switch": {"trend": True}}, {"switch": {"trend": False}}
MAN = {"sex": "male"}


@pytest.mark.parametrize(
    ("tree", "answer"),
    [
        (ON, always),
        (OFF, never),
        ({"not": OFF}, always),
        ({"not": ON}, never),
        ({"all": [OFF, MAN]}, never),
        ({"all": [ON, OFF, MAN]}, never),
        ({"any": [OFF, {"not": ON}]}, never),
        ({"all": [{"any": [OFF]}, MAN]}, never),
    ],
)
def test_what_the_site_decides_alone_is_decided_when_the_question_is_made(knowledge, tree, answer):
    assert QUESTIONS.of(switched(knowledge, trend=True)).of(tree) is answer


@pytest.mark.parametrize(
    ("tree", "man", "woman"),
    [
        ({"all": [ON, MAN]}, True, False),
        ({"all": [MAN, OFF]}, False, False),
        ({"all": [ON]}, True, True),
        ({"any": [OFF, MAN]}, True, False),
        ({"any": [ON, MAN]}, True, True),
        ({"not": {"any": [OFF, MAN]}}, False, True),
    ],
)
def test_what_the_site_decides_in_part_is_asked_of_the_patient(knowledge, tree, man, woman):
    site = switched(knowledge, trend=True)
    assert [holds(tree, ctx(chart(sex=sex), site)).holds for sex in ("male", "female")] == [man, woman]


def test_names_may_stand_alone_or_in_a_list(knowledge):
    one, other = condition("prostate_absent"), condition("liver_disease")
    at = ctx(chart(conditions=[one, other]), knowledge)
    assert holds({"condition": {"concept": "prostate_absent"}}, at).facts == (one,)
    assert holds({"condition": {"concept": ["prostate_absent", "liver_disease"]}}, at).facts == (one, other)


# -- one of several ---------------------------------------------------------------------------------------


def test_any_keeps_the_facts_of_all_parts_that_hold_and_the_doubts_of_all_that_are_open(knowledge):
    one, other = condition("prostate_absent"), condition("liver_disease")
    trees = [{"condition": {"concept": name}} for name in ("prostate_absent", "liver_disease")]
    results = [{"result": {"marker": marker, "above": "1"}} for marker in ("HCT", "PSA")]
    gaps = [gap("HCT"), gap("PSA")]
    both = holds({"any": [*results, *trees]}, ctx(chart(conditions=[one, other], gaps=gaps), knowledge))
    assert both == Truth(True, (one, other))
    left = holds({"any": [*results, *trees]}, ctx(chart(gaps=gaps), knowledge))
    assert (left.holds, left.facts, [doubt.area for doubt in left.doubts]) == (None, (), ["HCT", "PSA"])


def test_some_protocols_and_all_protocols_are_different_questions(knowledge):
    at = ctx(chart(therapies=[course("LEVOTHYROXINE")]), knowledge)
    trees = [
        {"protocol": named} for named in (["male_trt", "gaht_masc"], "any", ["male_trt", "thyroid_replacement"])
    ]
    assert [holds(tree, at).holds for tree in trees] == [False, True, True]
