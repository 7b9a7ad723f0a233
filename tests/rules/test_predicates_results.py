"""Predicates about results, doses and the past: each answer with its facts, its doubts and what was compared."""

from __future__ import annotations

from decimal import Decimal

import pytest

from cds_service.chart import Supply
from cds_service.rules.outcome import Compared, Doubt
from cds_service.rules.predicates import holds
from cds_service.rules.questions import Truth
from tests.rules.conftest import back, chart, condition, course, ctx, draft, gap, measurement

YEAR_OF_TT = {"marker": "TT", "within_days": 365}
PAIR_FROM_300 = {"pair": {**YEAR_OF_TT, "at_or_above": "300"}}
NOT_BROUGHT = ("gap_absent", "TT")


def ask(knowledge, tree, *results, hook="patient-view", **parts):
    return holds(tree, ctx(chart(*results, **parts), knowledge, hook))


def doubts(truth):
    return [(doubt.message, doubt.area) for doubt in truth.doubts]


# -- results of several days -------------------------------------------------------------------------


@pytest.mark.parametrize(("complete_since", "open_"), [(364, True), (365, False)])
def test_a_list_that_was_cut_beyond_the_days_asked_for_leaves_nothing_open(knowledge, complete_since, open_):
    cut = gap("TT", kind="truncated", complete_since=complete_since)
    found = ask(knowledge, {"has_result": YEAR_OF_TT}, gaps=[cut])
    assert found.holds is (None if open_ else False)


def test_too_few_days_of_an_incomplete_list_are_shown_with_what_is_missing(knowledge):
    one = measurement("TT", "250", 10)
    found = ask(knowledge, {"has_result": {**YEAR_OF_TT, "count": 2}}, one, gaps=[gap("TT")])
    assert (found.holds, found.facts, doubts(found)) == (None, (one,), [NOT_BROUGHT])


def test_a_pair_is_open_where_the_list_is_incomplete_and_is_none_where_it_is_not(knowledge):
    one = measurement("TT", "250", 10)
    found = ask(knowledge, PAIR_FROM_300, one, gaps=[gap("TT")])
    assert (found.holds, doubts(found)) == (None, [NOT_BROUGHT])
    assert ask(knowledge, PAIR_FROM_300, one) == Truth(False)


@pytest.mark.parametrize("question", [{"outside_hours": ["07:00", "11:00"]}, {"hour_unknown": True}])
def test_a_pair_is_the_last_two_days(knowledge, question):
    """The third result, of three in the afternoon or of no hour, is none of the pair."""
    hour = "15:00" if "outside_hours" in question else ""
    pair = (measurement("TT", "250", 10, time="08:00"), measurement("TT", "240", 20, time="09:00"))
    tree = {"pair": {**YEAR_OF_TT, **question}}
    assert ask(knowledge, tree, *pair, measurement("TT", "260", 30, time=hour)) == Truth(False)
    late = (pair[0], measurement("TT", "260", 15, time=hour))
    assert ask(knowledge, tree, *late, pair[1]) == Truth(True, late)


@pytest.mark.parametrize(("problem", "message"), [("", "dq_no_value"), ("unknown_unit", "dq_unknown_unit")])
def test_a_newest_result_without_a_value_leaves_a_limit_open_as_long_as_it_counts(knowledge, problem, message):
    tree = {"result": {"marker": "HCG", "at_or_above": "25", "within_days": 42}}
    odd = measurement("HCG", None, 42, problem=problem)
    assert ask(knowledge, tree, odd) == Truth(None, (), (Doubt(message, "HCG", {"result": odd}),))
    assert ask(knowledge, tree, measurement("HCG", None, 43, problem=problem)) == Truth(False)


# -- two results from a limit on (2.4: two morning values before testosterone) -------------------------


def test_both_from_the_limit_on_is_yes_with_both(knowledge):
    pair = (measurement("TT", "300", 10), measurement("TT", "350", 20))
    assert ask(knowledge, PAIR_FROM_300, *pair) == Truth(True, pair)
    assert ask(knowledge, PAIR_FROM_300, pair[0], measurement("TT", "299", 20)) == Truth(False)


@pytest.mark.parametrize(
    ("value", "problem", "message"),
    [(None, "", "dq_no_value"), (None, "unknown_unit", "dq_unknown_unit"), (">290", "", "comparator")],
)
def test_a_result_that_cannot_meet_the_limit_leaves_it_open_and_says_why(knowledge, value, problem, message):
    odd, plain = measurement("TT", value, 10, problem=problem), measurement("TT", "350", 20)
    found = ask(knowledge, PAIR_FROM_300, odd, plain)
    assert found == Truth(None, (odd, plain), (Doubt(message, "TT", {"result": odd}),))


def test_explain_is_told_what_the_pair_was_compared_with(knowledge):
    pair = (measurement("TT", "300", 10), measurement("TT", "299", 20))
    seen = ctx(chart(*pair), knowledge)
    seen.steps = []
    assert holds(PAIR_FROM_300, seen).holds is False
    limit, spec = Decimal(300), PAIR_FROM_300["pair"]
    assert seen.steps == [
        Compared(spec, "at_or_above", "TT", Decimal(300), ">=", limit, True, pair[0]),
        Compared(spec, "at_or_above", "TT", Decimal(299), ">=", limit, False, pair[1]),
    ]


# -- the weekly dose ---------------------------------------------------------------------------------

FROM_50_MG = {"weekly_dose": {"key": "TESTOSTERONE", "form": "injection", "mg_per_week": "50"}}


def weekly(milligrams: int, start: int, end: int | None = None) -> Supply:
    ended = None if end is None else back(end)
    return Supply("testosterone cypionate", "injection", back(start), ended, weekly_mg=Decimal(milligrams))


def test_the_dose_that_counts_is_that_of_the_newest_product(knowledge):
    lowered = course(supplies=[weekly(40, 20), weekly(100, 90, 21)])
    assert ask(knowledge, FROM_50_MG, therapies=[lowered]) == Truth(False)
    raised = course(supplies=[weekly(60, 20), weekly(40, 90, 21)])
    assert ask(knowledge, FROM_50_MG, therapies=[raised]) == Truth(True, (raised,))


@pytest.mark.parametrize("milligrams", [49, 50])
def test_explain_is_told_the_weekly_dose(knowledge, milligrams):
    seen = ctx(chart(drafts=[draft(weekly_mg=Decimal(milligrams))]), knowledge)
    seen.steps = []
    passed = milligrams == 50
    assert holds(FROM_50_MG, seen).holds is passed
    assert seen.steps == [
        Compared(
            FROM_50_MG["weekly_dose"],
            "mg_per_week",
            "weekly dose",
            Decimal(milligrams),
            ">=",
            Decimal(50),
            passed,
        )
    ]


# -- others ------------------------------------------------------------------------------------------


def test_a_vaginal_ring_for_the_whole_body_is_no_new_start_beside_a_patch(knowledge):
    ring = draft("ESTRADIOL", form="vaginal", agent="estradiol", systemic=True)
    patch = course("ESTRADIOL", form="patch")
    for new in (True, False):
        tree = {"draft": {"key": "ESTRADIOL", "new": new}}
        assert ask(knowledge, tree, drafts=[ring], therapies=[patch], sex="female").holds is not new


def test_history_counts_by_the_diagnosis_not_by_the_others_that_were_asked_for(knowledge):
    """A thrombosis of the past counts as present; a heart failure of the past does not."""
    tree = {"condition": {"concept": ["vte", "heart_failure"]}}
    assert ask(knowledge, tree, conditions=[condition("heart_failure", active=False)]).holds is False
    assert ask(knowledge, tree, conditions=[condition("vte", active=False)]).holds is True


def test_the_hook_is_the_one_that_was_called(knowledge):
    assert ask(knowledge, {"hook": "order-sign"}, hook="order-sign").holds is True
    assert ask(knowledge, {"hook": "order-sign"}).holds is False
