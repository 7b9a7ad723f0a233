"""The language of conditions: each leaf, and yes, no and not known together (Kleene)."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from itertools import product
from typing import Any

import pytest

from cds_service.chart import Supply, When
from cds_service.rules.outcome import Doubt
from cds_service.rules.predicates import holds
from cds_service.rules.questions import Truth
from tests.rules.conftest import (
    back,
    chart,
    condition,
    course,
    ctx,
    draft,
    gap,
    measurement,
    on_testosterone,
    order,
    procedure,
    supply,
    switched,
    when,
    with_site_codes,
)

YES, NO, OPEN = True, False, None

# Trees with a known answer for a man without anything, of whom the lists of conditions and results are missing.
TREES: dict[bool | None, Any] = {
    YES: {"sex": "male"},
    NO: {"sex": "female"},
    OPEN: {"condition": {"concept": "vte"}},
}
GAPS = [gap("conditions")]
ANSWERS = list(TREES)


def ask(knowledge, tree: Any, *results, hook: str = "patient-view", **parts) -> Truth:
    return holds(tree, ctx(chart(*results, **parts), knowledge, hook))


# -- all, any, not -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("first", "second"), list(product(ANSWERS, ANSWERS)))
def test_all_is_no_if_one_is_and_open_if_one_is(knowledge, first, second):
    wanted = NO if NO in (first, second) else OPEN if OPEN in (first, second) else YES
    for tree in ({"all": [TREES[first], TREES[second]]}, {"all": [{"all": [TREES[first]]}, TREES[second]]}):
        assert ask(knowledge, tree, gaps=GAPS).holds is wanted


@pytest.mark.parametrize(("first", "second"), list(product(ANSWERS, ANSWERS)))
def test_any_is_yes_if_one_is_and_open_if_one_is(knowledge, first, second):
    wanted = YES if YES in (first, second) else OPEN if OPEN in (first, second) else NO
    assert ask(knowledge, {"any": [TREES[first], TREES[second]]}, gaps=GAPS).holds is wanted


@pytest.mark.parametrize(("inner", "outer"), [(YES, NO), (NO, YES), (OPEN, OPEN)])
def test_not(knowledge, inner, outer):
    assert ask(knowledge, {"not": TREES[inner]}, gaps=GAPS).holds is outer


def test_nothing_holds_always_and_several_fields_hold_together(knowledge):
    assert ask(knowledge, None).holds is YES
    assert ask(knowledge, {"sex": "male", "age": {"min": "40"}}).holds is YES
    assert ask(knowledge, {"sex": "male", "age": {"min": "47"}}).holds is NO
    assert ask(knowledge, {"any": []}).holds is NO


def test_an_open_answer_always_carries_its_doubts(knowledge):
    for tree in (TREES[OPEN], {"all": [TREES[YES], TREES[OPEN]]}, {"not": {"any": [TREES[NO], TREES[OPEN]]}}):
        assert [doubt.message for doubt in ask(knowledge, tree, gaps=GAPS).doubts] == ["gap_absent"]


def test_facts_are_those_that_make_it_so(knowledge):
    vte, cancer = condition("vte"), condition("prostate_cancer")
    tree = {"any": [{"condition": {"concept": "vte"}}, {"condition": {"concept": "stroke"}}]}
    assert ask(knowledge, tree, conditions=[vte, cancer]).facts == (vte,)


# -- therapies and drafts ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "answer"),
    [
        ({"key": "TESTOSTERONE"}, YES),
        ({"key": ["ESTRADIOL", "TESTOSTERONE"]}, YES),
        ({"key": "ESTRADIOL"}, NO),
        ({"key": "TESTOSTERONE", "form": "injection"}, YES),
        ({"key": "TESTOSTERONE", "form": ["patch", "topical"]}, NO),
        ({"key": "TESTOSTERONE", "not_form": "injection"}, NO),
        ({"key": "TESTOSTERONE", "not_form": "topical"}, YES),
        ({"key": "TESTOSTERONE", "agent": "testosterone cypionate"}, YES),
        ({"key": "TESTOSTERONE", "agent": ["testosterone undecanoate"]}, NO),
        ({"key": "TESTOSTERONE", "from_day": 100}, YES),
        ({"key": "TESTOSTERONE", "from_day": 101}, NO),
        ({"key": "TESTOSTERONE", "to_day": 100}, YES),
        ({"key": "TESTOSTERONE", "to_day": 99}, NO),
        ({"key": "TESTOSTERONE", "state": "past"}, NO),
        ({"key": "HCG"}, NO),
        ({"key": "HCG", "state": "past"}, YES),
        ({"key": "HCG", "state": "any"}, YES),
        ({"key": "HCG", "state": "any", "ended_within_days": 20}, YES),
        ({"key": "HCG", "state": "any", "ended_within_days": 19}, NO),
        ({"key": "TESTOSTERONE", "state": "any", "ended_within_days": 0}, YES),
    ],
)
def test_a_course(knowledge, spec, answer):
    courses = [course(start=100), course("HCG", start=80, end=20)]
    assert ask(knowledge, {"therapy": spec}, therapies=courses).holds is answer


@pytest.mark.parametrize(
    ("spec", "answer"),
    [
        ({"form": "injection"}, OPEN),
        ({"form": ["oral", "patch"]}, OPEN),
        ({"not_form": "oral"}, YES),
        ({"systemic": True}, YES),
        ({"form": "oral", "agent": "testosterone"}, NO),  # nothing else may speak against it
        ({"form": "oral", "to_day": 99}, NO),
    ],
)
def test_of_an_unknown_form_any_may_be_asked(knowledge, spec, answer):
    tree = {"therapy": {"key": "TESTOSTERONE", **spec}}
    truth = ask(knowledge, tree, therapies=[course(form="unknown", start=100)])
    assert truth.holds is answer
    doubt = Doubt("route_unknown", "medications", {"name": "testosterone cypionate"})
    assert truth.doubts == ((doubt,) if answer is OPEN else ())


def test_a_course_in_the_form_in_question_leaves_no_doubt(knowledge):
    courses = [course(form="unknown", start=100), course(form="oral", start=100)]
    assert ask(knowledge, {"therapy": {"key": "TESTOSTERONE", "form": "oral"}}, therapies=courses).holds is YES


@pytest.mark.parametrize(
    ("spec", "answer"),
    [
        ({}, OPEN),
        ({"form": "injection"}, OPEN),
        ({"form": "oral"}, NO),
        ({"agent": "testosterone cypionate", "systemic": True}, OPEN),
        ({"agent": "testosterone undecanoate"}, NO),  # nothing else may speak against it
        ({"from_day": 60}, OPEN),
        ({"from_day": 61}, NO),
        ({"state": "past"}, YES),
        ({"state": "any"}, YES),
    ],
)
def test_a_course_that_may_go_on(knowledge, spec, answer):
    perhaps = course(start=60, end=0, unsure=True, given=(when(60),))
    truth = ask(knowledge, {"therapy": {"key": "TESTOSTERONE", **spec}}, therapies=[perhaps])
    assert truth.holds is answer
    doubt = Doubt("therapy_unsure", "medications", {"name": "testosterone cypionate", "day": back(60)})
    assert truth.doubts == ((doubt,) if answer is OPEN else ())


@pytest.mark.parametrize(
    ("before", "answer"),
    [
        ({"end": 0, "unsure": True, "given": (when(60),)}, OPEN),
        ({"end": 0}, YES),
        ({}, NO),
    ],
)
def test_a_draft_is_new_where_nothing_of_the_kind_may_go_on(knowledge, before, answer):
    spec = {"draft": {"key": "TESTOSTERONE", "new": True}}
    assert ask(knowledge, spec, drafts=[draft()], therapies=[course(start=60, **before)]).holds is answer


@pytest.mark.parametrize(("form", "answer"), [("oral", YES), ("unknown", OPEN), ("patch", NO)])
def test_a_draft_of_unknown_form(knowledge, form, answer):
    spec = {"draft": {"key": "ESTRADIOL", "form": "oral", "systemic": True}}
    made = draft("ESTRADIOL", form=form, agent="estradiol")
    facts = (made,) if answer is YES else ()
    doubts = (Doubt("route_unknown", "medications", {"name": "estradiol"}),) if answer is OPEN else ()
    assert ask(knowledge, spec, drafts=[made]) == Truth(answer, facts, doubts)


@pytest.mark.parametrize(("spec", "answer"), [({"from_day": 60}, YES), ({"to_day": 365}, NO), ({}, YES)])
def test_of_an_unknown_start_a_least_day_is_reached_and_a_last_day_is_over(knowledge, spec, answer):
    tree = {"therapy": {"key": "TESTOSTERONE", **spec}}
    assert ask(knowledge, tree, therapies=[course(start=None)]).holds is answer


@pytest.mark.parametrize(
    ("form", "systemic", "answer"), [("vaginal", False, NO), ("vaginal", True, YES), ("patch", False, YES)]
)
def test_local_forms_are_not_systemic(knowledge, form, systemic, answer):
    only = Supply("estradiol", form, back(50), None, systemic=systemic)
    tree = {"therapy": {"key": "ESTRADIOL", "systemic": True}}
    assert ask(knowledge, tree, therapies=[course("ESTRADIOL", supplies=[only])]).holds is answer
    drafted = draft("ESTRADIOL", form=form, systemic=systemic)
    assert ask(knowledge, {"draft": {"key": "ESTRADIOL", "systemic": True}}, drafts=[drafted]).holds is answer


def test_a_missing_list_leaves_open_whether_a_therapy_is_current(knowledge):
    tree = {"therapy": {"key": "TESTOSTERONE"}}
    assert ask(knowledge, tree, gaps=[gap("medications")]).holds is OPEN
    assert ask(knowledge, tree, gaps=[gap("medications", kind="truncated", complete_since=500)]).holds is OPEN
    assert ask(knowledge, tree, gaps=[gap("medications")], therapies=[course()]).holds is YES


@pytest.mark.parametrize(
    ("spec", "drafts", "answer"),
    [
        ({}, [draft()], YES),
        ({}, [draft("ESTRADIOL")], NO),
        ({}, [draft(selected=False)], NO),
        ({"selected": False}, [draft(selected=False)], YES),
        ({"form": "topical"}, [draft()], NO),
        ({"form": ["injection"]}, [draft()], YES),
        ({"new": True}, [draft()], YES),
        ({"new": False}, [draft()], NO),
    ],
)
def test_a_draft(knowledge, spec, drafts, answer):
    assert ask(knowledge, {"draft": {"key": "TESTOSTERONE", **spec}}, drafts=drafts).holds is answer


@pytest.mark.parametrize(
    ("courses", "new"),
    [([], YES), ([course()], NO), ([course(end=5)], YES), ([course("ESTRADIOL")], YES)],
    ids=["none", "current", "past", "other key"],
)
def test_new_is_a_key_of_which_no_course_is_current(knowledge, courses, new):
    for wanted in (True, False):
        tree = {"draft": {"key": "TESTOSTERONE", "new": wanted}}
        assert ask(knowledge, tree, drafts=[draft()], therapies=courses).holds is (new is wanted)


@pytest.mark.parametrize(
    ("given", "answer"),
    [
        ({"weekly_mg": 50, "form": "injection"}, YES),
        ({"weekly_mg": 49, "form": "injection"}, NO),
        ({"weekly_mg": None, "form": "injection"}, NO),
        ({"weekly_mg": 200, "form": "topical"}, NO),
    ],
)
def test_the_weekly_dose(knowledge, given, answer):
    tree = {"weekly_dose": {"key": "TESTOSTERONE", "form": "injection", "mg_per_week": "50"}}
    assert ask(knowledge, tree, drafts=[draft(**given)]).holds is answer
    given = {**given, "agent": "testosterone cypionate", "start": None, "end": None}
    assert ask(knowledge, tree, therapies=[course(supplies=[Supply(**given)])]).holds is answer
    anything = {"weekly_dose": {"key": "TESTOSTERONE", "form": ["injection", "topical"]}}
    assert ask(knowledge, anything, drafts=[draft(form=given["form"])]).holds is YES


@pytest.mark.parametrize(("milligrams", "answer"), [("50", OPEN), ("49", NO), (None, NO)])
def test_a_weekly_dose_in_an_unknown_form_is_open_where_it_is_enough(knowledge, milligrams, answer):
    tree = {"weekly_dose": {"key": "TESTOSTERONE", "form": "injection", "mg_per_week": "50"}}
    dose = milligrams and Decimal(milligrams)
    doubt = Doubt("route_unknown", "medications", {"name": "testosterone cypionate"})
    wanted = Truth(answer, (), (doubt,) if answer is OPEN else ())
    assert ask(knowledge, tree, drafts=[draft(form="unknown", weekly_mg=dose)]) == wanted
    taken = supply("unknown", weekly_mg=dose)
    assert ask(knowledge, tree, therapies=[course(supplies=[taken])]) == wanted


# -- conditions and procedures -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("concept", "state", "active", "past"),
    [
        ("vte", "present", YES, YES),  # history counts
        ("vte", "active", YES, NO),
        ("vte", "history", NO, YES),
        ("vte", "any", YES, YES),
        ("heart_failure", "present", YES, NO),
        ("heart_failure", "active", YES, NO),
        ("heart_failure", "any", YES, YES),
    ],
)
def test_the_state_of_a_diagnosis(knowledge, concept, state, active, past):
    tree = {"condition": {"concept": concept, "state": state}}
    assert ask(knowledge, tree, conditions=[condition(concept)]).holds is active
    assert ask(knowledge, tree, conditions=[condition(concept, active=False)]).holds is past
    assert ask(knowledge, tree, conditions=[condition("stroke")]).holds is NO


@pytest.mark.parametrize(
    ("concept", "state", "answer"),
    [
        ("heart_failure", "present", OPEN),
        ("heart_failure", "active", OPEN),
        ("heart_failure", "history", OPEN),
        ("heart_failure", "any", YES),
        ("vte", "present", YES),  # history counts
        ("vte", "active", OPEN),
    ],
)
def test_a_diagnosis_that_may_have_ended(knowledge, concept, state, answer):
    tree = {"condition": {"concept": concept, "state": state}}
    found = condition(concept, end_unknown=True)
    truth = ask(knowledge, tree, conditions=[found])
    assert truth.holds is answer
    told = Doubt("condition_end_unknown", "conditions", {"name": concept})
    assert truth.doubts == ((told,) if answer is OPEN else ())
    assert ask(knowledge, tree, conditions=[found, condition(concept)]).holds is (
        OPEN if state == "history" else YES
    )


@pytest.mark.parametrize(
    ("onset", "within", "before"),
    [
        (date(2026, 5, 23), YES, NO),
        (date(2026, 5, 22), NO, NO),
        (date(2026, 5, 21), NO, YES),
    ],
)
def test_months_are_calendar_months(knowledge, onset, within, before):
    found = [condition("mi", onset=when(onset))]
    assert ask(knowledge, {"condition": {"concept": "mi", "within_months": 6}}, conditions=found).holds is within
    assert ask(knowledge, {"condition": {"concept": "mi", "before_months": 6}}, conditions=found).holds is before


def test_a_diagnosis_without_any_date_leaves_open_whether_it_is_recent(knowledge):
    tree = {"condition": {"concept": "mi", "within_months": 6}}
    truth = ask(knowledge, tree, conditions=[condition("mi")])
    assert (truth.holds, truth.doubts[0].message) == (OPEN, "condition_undated")
    before = ask(knowledge, {"condition": {"concept": "mi", "before_months": 6}}, conditions=[condition("mi")])
    assert before == truth
    dated = condition("mi", onset=when(10))
    assert ask(knowledge, tree, conditions=[condition("mi"), dated]).facts == (dated,)


@pytest.mark.parametrize(
    ("abated", "within"),
    [(date(2026, 5, 21), NO), (date(2026, 5, 22), NO), (date(2026, 5, 23), YES), (None, YES)],
)
def test_what_was_over_before_the_months_is_not_recent(knowledge, abated, within):
    tree = {"condition": {"concept": "mi", "within_months": 6}}
    found = condition("mi", active=False, recorded=when(7), abated=abated and when(abated))
    assert ask(knowledge, tree, conditions=[found]).holds is within


@pytest.mark.parametrize(
    ("recorded", "within"), [(date(2026, 5, 22), NO), (date(2026, 5, 23), OPEN), (date(2026, 11, 15), OPEN)]
)
def test_a_record_of_what_is_past_does_not_date_it(knowledge, recorded, within):
    """It began before the record, by how much is not said: an old record settles it, a new one does not."""
    tree = {"condition": {"concept": "mi", "within_months": 6}}
    found = condition("mi", active=False, past=True, recorded=when(recorded))
    truth = ask(knowledge, tree, conditions=[found])
    assert truth.holds is within
    assert [doubt.message for doubt in truth.doubts] == ["condition_undated"] * (within is OPEN)


def test_the_onset_of_what_is_past_counts(knowledge):
    tree = {"condition": {"concept": "mi", "within_months": 6}}
    found = condition("mi", active=False, past=True, onset=when(date(2026, 5, 23)))
    assert ask(knowledge, tree, conditions=[found]).holds is YES


def test_recorded_only_takes_what_is_not_recorded_as_absent(knowledge):
    tree = {"condition": {"concept": "gender_incongruence", "recorded_only": True}}
    assert ask(knowledge, tree, gaps=[gap("conditions")]).holds is NO


def test_procedures(knowledge):
    tree = {"procedure": {"concept": ["hysterectomy", "cpap"]}}
    assert ask(knowledge, tree, procedures=[procedure("cpap")]).holds is YES
    assert ask(knowledge, tree, procedures=[procedure("gonadectomy")]).holds is NO
    assert ask(knowledge, tree, gaps=[gap("procedures")]).holds is OPEN


@pytest.mark.parametrize("leaf", ["condition", "procedure"])
def test_an_entry_that_was_not_understood_leaves_open_what_it_may_be(knowledge, leaf):
    """Of two concepts that are asked for, it may be the second."""
    unread = gap("hysterectomy")
    doubt = Doubt("gap_absent", "hysterectomy", {"key": "key", "detail": ""})
    for wanted in ("hysterectomy", ["cpap", "hysterectomy"]):
        assert ask(knowledge, {leaf: {"concept": wanted}}, gaps=[unread]) == Truth(None, (), (doubt,))
    assert ask(knowledge, {leaf: {"concept": "cpap"}}, gaps=[unread]).holds is NO


def test_site_codes(knowledge):
    assert ask(knowledge, {"site_codes": "cpap"}).holds is NO
    assert ask(with_site_codes(knowledge, "cpap"), {"site_codes": "cpap"}).holds is YES


# -- the patient -------------------------------------------------------------------------------------


def test_sex(knowledge):
    assert ask(knowledge, {"sex": "female"}, sex="female").holds is YES
    truth = ask(knowledge, {"sex": "male"}, sex=None)
    assert (truth.holds, truth.doubts[0].message) == (OPEN, "sex_unknown")
    gone = ask(knowledge, {"sex": "male"}, sex=None, gaps=[gap("patient")])
    assert gone.doubts[0].message == "gap_absent"


@pytest.mark.parametrize(
    ("spec", "answer"),
    [({"min": "46"}, YES), ({"min": "47"}, NO), ({"max": "46"}, YES), ({"max": "45"}, NO),
     ({"min": {"switch": "psa_min_age"}, "max": {"switch": "psa_max_age"}}, YES)],
)  # fmt: skip
def test_age_in_completed_years(knowledge, spec, answer):
    assert ask(knowledge, {"age": spec}).holds is answer


def test_an_age_that_the_birth_date_does_not_tell(knowledge):
    year = When(date(1980, 1, 1), date(1980, 12, 31), "year")  # 45 or 46
    assert ask(knowledge, {"age": {"min": "45"}}, birth=year).holds is YES
    assert ask(knowledge, {"age": {"min": "47"}}, birth=year).holds is NO
    open_ = ask(knowledge, {"age": {"min": "46"}}, birth=year)
    assert (open_.holds, open_.doubts[0].message) == (OPEN, "birth_date_partial")
    none = ask(knowledge, {"age": {"min": "18"}}, birth=None)
    assert (none.holds, none.doubts[0].message) == (OPEN, "birth_date_unknown")


def test_known(knowledge):
    assert ask(knowledge, {"known": "sex"}).holds is YES
    assert ask(knowledge, {"known": "sex"}, sex=None).holds is NO
    assert ask(knowledge, {"known": "birth date"}).holds is YES
    assert ask(knowledge, {"known": "birth date"}, birth=None).holds is NO
    maybe_adult = When(date(2008, 1, 1), date(2008, 12, 31), "year")
    assert ask(knowledge, {"known": "birth date"}, birth=maybe_adult).holds is NO


@pytest.mark.parametrize(
    ("patient", "male", "female"),
    [
        ({}, NO, NO),
        ({"gender_identity": "male", "birth_sex": "female"}, YES, NO),
        ({"sex_parameter": "male", "birth_sex": "female"}, YES, NO),
        ({"recorded_gender": "male", "birth_sex": "female"}, YES, NO),
        ({"gender_identity": "male", "recorded_gender": "female"}, YES, NO),
        ({"gender_identity": "female", "birth_sex": "male"}, NO, YES),
        ({"gender_identity": "male", "birth_sex": "male"}, NO, NO),
        ({"gender_identity": "male"}, NO, NO),
        ({"sex_parameter": "male", "birth_sex": "male", "recorded_gender": "female"}, NO, YES),
    ],
)
def test_gender_that_differs_from_the_origin_in_the_matching_direction(knowledge, patient, male, female):
    assert ask(knowledge, {"gender_differs": "male"}, patient=patient).holds is male
    assert ask(knowledge, {"gender_differs": "female"}, patient=patient).holds is female


def test_birth_sex_and_observed_pregnancy_and_switches(knowledge):
    assert ask(knowledge, {"birth_sex": "male"}, patient={"birth_sex": "male"}).holds is YES
    assert ask(knowledge, {"birth_sex": "male"}).holds is NO
    assert ask(knowledge, {"observed_pregnancy": True}, pregnancy=["Observation/1"]).holds is YES
    assert ask(knowledge, {"observed_pregnancy": True}).holds is NO
    assert ask(knowledge, {"switch": {"trend": True}}).holds is YES
    assert ask(switched(knowledge, trend=False), {"switch": {"trend": True}}).holds is NO


# -- results -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("results", "gaps", "answer"),
    [
        ([], [], NO),
        ([measurement("HCG", "25", 1)], [], YES),
        ([measurement("HCG", "24", 1)], [], NO),
        ([measurement("HCG", "24", 1), measurement("HCG", "900", 2)], [], NO),  # the latest
        ([measurement("HCG", "25", 42)], [], YES),
        ([measurement("HCG", "25", 43)], [], NO),
        ([measurement("HCG", ">20", 1)], [], OPEN),
        ([measurement("HCG", ">25", 1)], [], YES),
        ([measurement("HCG", "<5", 1)], [], NO),
        ([], [gap("HCG")], OPEN),
        ([], [gap("HCG", kind="truncated", complete_since=41)], OPEN),
        ([], [gap("HCG", kind="truncated", complete_since=42)], NO),
        ([measurement("HCG", "25", 1)], [gap("HCG")], YES),
        ([measurement("HCG", "5", 1)], [gap("HCG")], OPEN),
    ],
)
def test_the_latest_result_passes_a_limit(knowledge, results, gaps, answer):
    tree = {"result": {"marker": "HCG", "at_or_above": "25", "within_days": 42}}
    assert ask(knowledge, tree, *results, gaps=gaps).holds is answer


@pytest.mark.parametrize(
    ("ages", "answer"), [([], NO), ([10], NO), ([10, 10], NO), ([10, 20], YES), ([10, 365], YES), ([10, 366], NO)]
)
def test_results_of_two_different_days(knowledge, ages, answer):
    tree = {"has_result": {"marker": "TT", "within_days": 365, "count": 2}}
    results = [measurement("TT", "300", age, time=f"{8 + place:02d}:00") for place, age in enumerate(ages)]
    truth = ask(knowledge, tree, *results)
    assert truth.holds is answer
    assert {fact.day for fact in truth.facts} == {back(age) for age in ages if age < 366}  # type: ignore[union-attr]
    assert ask(knowledge, tree, *results, gaps=[gap("TT")]).holds is (YES if answer else OPEN)


def test_without_a_number_of_days_one_result_is_enough(knowledge):
    tree = {"has_result": {"marker": "TT", "within_days": 365}}
    assert ask(knowledge, tree, measurement("TT", "300", 365)).holds is YES
    assert ask(knowledge, tree, measurement("TT", "300", 366)).holds is NO


def test_a_reference_range_came_with_the_latest_result(knowledge):
    tree = {"reference_range": {"marker": "IGF1"}}
    assert ask(knowledge, tree).holds is NO
    assert ask(knowledge, tree, measurement("IGF1", "200", 5, reference_high=250)).holds is YES
    newer = measurement("IGF1", "200", 2)
    assert ask(knowledge, tree, measurement("IGF1", "200", 5, reference_high=250), newer).holds is NO


def test_an_ordered_test_is_a_drafted_one_that_the_call_is_about(knowledge):
    tree = {"ordered": {"marker": ["AMH", "RT3"]}}
    assert ask(knowledge, tree, orders=[order("AMH", drafted=True)]).holds is YES
    assert ask(knowledge, tree, orders=[order("AMH", drafted=True, selected=False)]).holds is NO
    assert ask(knowledge, tree, orders=[order("AMH")]).holds is NO
    assert ask(knowledge, tree, orders=[order("TT", drafted=True)]).holds is NO


# -- protocols ---------------------------------------------------------------------------------------


def test_a_protocol_applies_by_its_own_tree(knowledge):
    tree = {"protocol": "male_trt"}
    assert holds(tree, ctx(on_testosterone(), knowledge)).holds is YES
    assert holds(tree, ctx(on_testosterone(sex="female"), knowledge)).holds is NO
    assert holds(tree, ctx(chart(), knowledge)).holds is NO
    assert holds(tree, ctx(chart(gaps=[gap("medications")]), knowledge)).holds is OPEN


@pytest.mark.parametrize(
    ("patient", "conditions", "male_trt"),
    [
        ({}, [], YES),
        ({}, [condition("gender_incongruence")], NO),
        ({}, [condition("gender_incongruence", active=False)], NO),
        ({"birth_sex": "male"}, [condition("gender_incongruence")], YES),  # the other direction
        ({"birth_sex": "female", "sex_parameter": "male"}, [], NO),
        ({"birth_sex": "male", "gender_identity": "male"}, [], YES),
    ],
)
def test_evidence_of_gender_affirming_therapy_wins_over_male_trt(knowledge, patient, conditions, male_trt):
    who = on_testosterone(patient=patient, conditions=conditions)
    assert holds({"protocol": "male_trt"}, ctx(who, knowledge)).holds is male_trt
