"""Predicates: the facts, the doubts and the comparisons that come with an answer, and orders by agent and form."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest

from cds_service.chart import When
from cds_service.rules.outcome import Compared, Doubt
from cds_service.rules.predicates import holds
from cds_service.rules.questions import Truth
from tests.rules.conftest import chart, condition, course, ctx, draft, gap, on_testosterone, procedure


def answer(tree, patient, knowledge):
    return holds(tree, ctx(patient, knowledge))


@pytest.mark.parametrize(
    ("wanted", "fits"),
    [
        ({"agent": "testosterone cypionate"}, True),
        ({"agent": ["testosterone undecanoate", "testosterone enanthate"]}, False),
        ({"form": "injection"}, True),
        ({"form": ["topical", "patch"]}, False),
        ({"not_form": ["topical", "patch"]}, True),
        ({"not_form": "injection"}, False),
    ],
)
def test_an_order_by_agent_and_form(knowledge, wanted, fits):
    made = draft()
    found = answer({"draft": {"key": "TESTOSTERONE", **wanted}}, chart(drafts=[made]), knowledge)
    assert found == (Truth(True, (made,)) if fits else Truth(False))


@pytest.mark.parametrize(
    ("ordered", "taken", "new"),
    [("oral", "vaginal", True), ("oral", "oral", False), ("vaginal", "vaginal", False), ("vaginal", "oral", True)],
)
def test_a_local_course_is_none_of_a_systemic_drug(knowledge, ordered, taken, new):
    made = draft("ESTRADIOL", form=ordered, agent="estradiol")
    patient = chart(drafts=[made], therapies=[course("ESTRADIOL", form=taken)], sex="female")
    assert answer({"draft": {"key": "ESTRADIOL", "new": True}}, patient, knowledge).holds is new


def test_the_facts_of_an_answer_are_what_makes_it_so(knowledge):
    patient = on_testosterone(procedures=[procedure("prostate_absent")])
    assert answer({"therapy": {"key": "TESTOSTERONE"}}, patient, knowledge).facts == patient.therapies
    asked = answer({"procedure": {"concept": "prostate_absent"}}, patient, knowledge)
    assert asked == Truth(True, patient.procedures)


@pytest.mark.parametrize(
    ("tree", "area", "message"),
    [
        ({"procedure": {"concept": "prostate_absent"}}, "procedures", None),
        ({"sex": "male"}, "patient", "sex_unknown"),
        ({"age": {"min": 40}}, "patient", "birth_date_unknown"),
    ],
)
def test_what_is_missing_is_told_as_the_list_that_did_not_come_or_as_itself(knowledge, tree, area, message):
    cut = answer(tree, chart(sex=None, birth=None, gaps=[gap(area)]), knowledge)
    assert (cut.holds, cut.facts, [(doubt.message, doubt.area) for doubt in cut.doubts]) == (
        None, (), [("gap_absent", area)],
    )  # fmt: skip
    alone = answer(tree, chart(sex=None, birth=None), knowledge)
    assert alone == (Truth(None, (), (Doubt(message, area),)) if message else Truth(False))


def test_a_partial_birth_date_and_an_undated_diagnosis_say_what_they_are(knowledge):
    year = When(date(1986, 1, 1), date(1986, 12, 31), "year")
    assert answer({"age": {"min": 40}}, chart(birth=year), knowledge) == Truth(
        None, (), (Doubt("birth_date_partial", "patient"),)
    )
    sick = condition("liver_disease", name="Cirrhosis")
    tree = {"condition": {"concept": "liver_disease", "within_months": 12}}
    assert answer(tree, chart(conditions=[sick]), knowledge) == Truth(
        None, (), (Doubt("condition_undated", "conditions", {"name": "Cirrhosis"}),)
    )


@pytest.mark.parametrize("birth", [date(1986, 11, 23), date(1986, 11, 22)], ids=["39", "40"])
def test_explain_is_told_which_age_met_which_bound(knowledge, birth):
    years = 39 if birth.day == 23 else 40
    for side, sign, passed in (("min", ">=", years >= 40), ("max", "<=", True)):
        spec = {side: 40}
        seen = ctx(chart(birth=birth), knowledge)
        seen.steps = []
        assert holds({"age": spec}, seen).holds is passed
        assert seen.steps == [Compared(spec, side, "age", Decimal(years), sign, Decimal(40), passed)]
