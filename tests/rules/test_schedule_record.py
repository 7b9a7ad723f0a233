"""Kind `schedule`: what is recorded of due tests, clocks of a changed dose, and what is no result (3.1)."""

from __future__ import annotations

from datetime import date

import msgspec
import pytest

from cds_service.chart import Chart
from cds_service.knowledge.model import Item, Knowledge, Milestone
from cds_service.rules.outcome import Due, Outcome, TestState, Timetable
from cds_service.rules.questions import Truth
from cds_service.rules.schedule import Open, evaluate, with_due
from tests.rules.conftest import (
    TODAY,
    back,
    chart,
    course,
    ctx,
    draft,
    found,
    gap,
    measurement,
    month,
    on_testosterone,
    outcome,
    scheduled,
)

RULE = "MISS-male_trt"
START = Milestone("start", "before the start", -180, 0, 7, None, (Item("TT"),), look_back="baseline_lookback_days")
WEEKS = Milestone("weeks", "at 6 weeks", 28, 42, 63, 64, (Item("TT"),))
LATER = Milestone("half", "6-monthly", 150, 180, 210, None, (Item("TT"),), every=180)


def judged(knowledge: Knowledge, patient: Chart, truth: Truth, **spec) -> tuple[Outcome, list]:
    """How the rule ends, and what it noted."""
    rule = next(rule for rule in knowledge.rules if rule.id == RULE)
    seen = ctx(patient, knowledge)
    seen.steps = []
    ended = evaluate(msgspec.structs.replace(rule, spec={**rule.spec, **spec}), truth, seen)
    return ended, seen.steps


# -- what is recorded --------------------------------------------------------------------------------


def test_the_reason_names_the_tests_that_are_due(knowledge):
    assert outcome(on_testosterone(start=100), knowledge, RULE).reason == "TT, E2, CBC"
    results = (measurement("TT", "500", 5), measurement("E2", "25", 5), measurement("HCT", "45", 5))
    ended = outcome(on_testosterone(*results, start=100), knowledge, RULE)
    assert (ended.result, ended.reason) == ("fine", "all tests of the milestone are done or ordered")


def test_what_is_unknown_beside_a_due_test_is_a_line_and_a_doubt(knowledge):
    patient = on_testosterone(start=100, gaps=[gap("TT"), gap("E2")])
    ended = outcome(patient, knowledge, RULE)
    finding = ended.finding
    assert finding is not None
    assert [item.test for item in finding.due] == ["CBC"]
    names = sorted(knowledge.tests[test].name for test in ("TT", "E2"))
    assert [line.values for line in finding.lines if line.message == "tests_unknown"] == [{"tests": names}]
    assert sorted(doubt.area for doubt in finding.doubts) == ["E2", "TT"]
    assert ended.doubts == finding.doubts
    assert finding.facts == patient.therapies


def test_nothing_due_but_something_unknown_is_unknown(knowledge):
    results = (measurement("E2", "25", 5), measurement("HCT", "45", 5))
    ended = outcome(on_testosterone(*results, start=100, gaps=[gap("TT")]), knowledge, RULE)
    assert (ended.result, [doubt.area for doubt in ended.doubts]) == ("unknown", ["TT"])
    assert ended.finding is None


@pytest.mark.parametrize(("day", "overdue"), [(120, False), (121, True)])
def test_a_card_knows_whether_any_of_its_tests_is_overdue(knowledge, day, overdue):
    finding = found(on_testosterone(start=day), knowledge, RULE)
    assert finding.values["overdue"] is overdue


def test_a_card_that_keeps_some_of_its_tests_is_as_urgent_as_those(knowledge):
    """The hematocrit, a safety test, is overdue; what is left is testosterone that is not."""
    finding = found(on_testosterone(start=121), knowledge, RULE)
    left = (Due("TT", overdue=False, last=None),)
    kept = with_due(finding, left, ctx(chart(), knowledge))
    assert (kept.due, kept.indicator, kept.values) == (left, "info", {**finding.values, "overdue": False})
    late = (Due("CBC", overdue=True, last=None),)
    again = with_due(kept, late, ctx(chart(), knowledge))
    assert (again.due, again.indicator, again.values["overdue"]) == (late, "warning", True)


# -- at ordering -------------------------------------------------------------------------------------


def test_the_day_of_an_order_is_day_0_of_the_baseline(knowledge):
    """From 180 days before to day 7 after; overdue from day 8 on."""
    made = draft()
    known = scheduled(knowledge, START)
    ended, steps = judged(known, chart(drafts=[made]), Truth(True, (made,)), milestone="baseline")
    assert steps == [
        Timetable(
            "seed", None, TODAY, 0, "before the start", back(180), TODAY, back(-8),
            tests=(TestState("TT", "due"),),
        )
    ]  # fmt: skip
    assert ended.finding is not None
    milestone = ended.finding.values["milestone"]
    assert isinstance(milestone, Open)
    assert (milestone.key, milestone.name) == ("start", "before the start")
    assert (ended.finding.facts, ended.finding.values["overdue"]) == ((made,), False)


# -- the clock of a changed dose ---------------------------------------------------------------------


def dosed(start: int, changed: int) -> Chart:
    return chart(therapies=[msgspec.structs.replace(course(start=start), dose_changed=back(changed))])


def test_a_dose_set_on_the_first_day_is_no_change(knowledge):
    """Day 100: the visit at 6 weeks closed on day 64, and the baseline is not asked for again."""
    known = scheduled(knowledge, START, WEEKS, clock="change")
    ended, _ = judged(known, dosed(100, 100), Truth(True))
    assert (ended.result, ended.reason) == ("fine", "no milestone is open")
    later, _ = judged(known, dosed(100, 50), Truth(True))
    assert later.reason == "TT"


def test_a_change_of_dose_does_not_ask_for_tests_before_the_start_again(knowledge):
    """The last change was 10 days ago; the baseline keeps to the start of 300 days ago and is long overdue."""
    known = scheduled(knowledge, START, WEEKS, clock="change")
    ended, _ = judged(known, dosed(300, 10), Truth(True))
    assert ended.finding is not None
    milestone = ended.finding.values["milestone"]
    assert isinstance(milestone, Open)
    assert milestone.target == back(300)
    assert [item.overdue for item in ended.finding.due] == [True]


# -- days --------------------------------------------------------------------------------------------


def test_a_milestone_that_opened_today_is_none_of_those_to_come(knowledge):
    """Done on the day on which the visit at 6 weeks opened, day 28: the next is meant for day 180."""
    known = scheduled(knowledge, WEEKS, LATER)
    ended, _ = judged(known, on_testosterone(measurement("TT", "500", 0), start=28), Truth(True))
    assert (ended.result, ended.next_due) == ("fine", back(28 - 180))


@pytest.mark.parametrize(("complete_since", "known"), [(364, True), (363, False)])
def test_a_yearly_test_needs_no_longer_list_than_a_year(knowledge, complete_since, known):
    """Due 365 days after the last one: a list of the last 364 days tells that there is none."""
    cut = gap("TT", kind="truncated", complete_since=complete_since)
    plan = scheduled(knowledge, WEEKS)
    ended, _ = judged(plan, on_testosterone(start=None, gaps=[cut]), Truth(True))
    assert ended.result == ("finding" if known else "unknown")


# -- what is no result -------------------------------------------------------------------------------


@pytest.mark.parametrize("status", ["preliminary", "registered"])
def test_a_result_that_is_on_its_way_is_told(knowledge, status):
    patient = on_testosterone(measurement("HCT", "45", 3, status=status), start=100)
    assert {item.preliminary for item in found(patient, knowledge, RULE).due if item.test == "CBC"} == {back(3)}


def test_a_part_of_a_panel_that_is_final_is_nothing_on_its_way(knowledge):
    """A cholesterol alone is no lipid panel, and nothing more is to come."""
    patient = on_testosterone(measurement("CHOL", "180", 3), start=200)
    assert {item.preliminary for item in found(patient, knowledge, RULE).due if item.test == "LIPID"} == {None}


@pytest.mark.parametrize("ago", [59, 60])
def test_a_pair_of_the_day_on_which_the_milestone_opened_counts(knowledge, ago):
    """Day 210; the 6-month visit opened on day 150."""
    pair = (measurement("TT", "500", ago), measurement("SHBG", "30", ago))
    due = [item.test for item in found(on_testosterone(*pair, start=210), knowledge, RULE).due]
    assert "FT" not in due


def test_results_of_one_month_are_not_of_one_day(knowledge):
    first = date(2026, 11, 1)
    pair = [measurement(marker, "30", when=month(first)) for marker in ("TT", "SHBG")]
    due = [item.test for item in found(on_testosterone(*pair, start=200), knowledge, RULE).due]
    assert "FT" in due
