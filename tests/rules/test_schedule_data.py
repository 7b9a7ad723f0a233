"""Kind `schedule`, by milestones of one's own: rows beside the schedule, ties, and what `explain` is told (3.1)."""

from __future__ import annotations

import msgspec
import pytest

from cds_service.knowledge.model import Item, Knowledge, Milestone, Row, Schedule, Window
from cds_service.rules.outcome import Due, Outcome, TestState, Timetable
from cds_service.rules.questions import YES
from cds_service.rules.schedule import evaluate, open_milestone, plan_of
from tests.rules.conftest import (
    TODAY,
    back,
    chart,
    course,
    ctx,
    found,
    gap,
    measurement,
    on_testosterone,
    order,
    outcome,
    scheduled,
)

RULE = "MISS-male_trt"
WEEKS = Milestone("weeks", "at 6 weeks", 28, 42, 63, None, (Item("TT"),))
HALF_YEAR = Milestone("half", "6-monthly", 150, 180, 210, None, (Item("TT"),), every=180)


def ended(knowledge: Knowledge, patient, *, traced: bool = False, **spec):
    """How the rule ends, and what it noted."""
    rule = next(rule for rule in knowledge.rules if rule.id == RULE)
    seen = ctx(patient, knowledge)
    seen.steps = [] if traced else None
    return evaluate(msgspec.structs.replace(rule, spec={**rule.spec, **spec}), YES, seen), seen.steps


# -- which milestones ------------------------------------------------------------------------------------


def test_without_a_current_course_a_schedule_is_about_nobody(knowledge):
    assert ended(knowledge, chart())[0] == Outcome(RULE, "not applicable", "no current course")


def test_a_rule_may_tell_a_row_beside_the_schedule(knowledge):
    known = scheduled(knowledge, WEEKS, beside={"half": Row((HALF_YEAR,))})
    patient = on_testosterone(start=211)
    told, _ = ended(known, patient, row="half")
    assert told.finding is not None
    assert [(item.test, item.overdue) for item in told.finding.due] == [("TT", True)]
    assert (told.finding.profile, told.finding.values["milestone"].key) == ("seed", "half")
    resting, _ = ended(known, patient, row="half", rests_on="rule")
    assert resting.finding is not None
    assert resting.finding.profile == ""
    assert ended(known, patient, row="other")[0] == Outcome(
        RULE, "not applicable", "not asked for in this schedule"
    )


def test_a_row_has_a_clock_of_its_own_and_no_yearly_tests(knowledge):
    """The dose changed 30 days ago; the course began 300 days ago, or nobody knows when."""
    known = scheduled(knowledge, beside={"start": Row((WEEKS,)), "change": Row((WEEKS,), "change")})
    dosed = msgspec.structs.replace(course(start=300), dose_changed=back(30))
    by_start, by_change = (ended(known, chart(therapies=[dosed]), row=row)[0] for row in ("start", "change"))
    assert by_start.finding is not None
    assert by_change.finding is not None
    assert [by_start.finding.due[0].overdue, by_change.finding.due[0].overdue] == [True, False]
    assert ended(known, on_testosterone(start=None), row="start")[0].result == "fine"


def test_the_site_chooses_among_the_schedules_of_a_protocol(knowledge):
    plans = {key: Schedule(key, ("TESTOSTERONE",), (WEEKS,), (), 365, 395, ()) for key in ("seed", "aua2018")}
    protocol = msgspec.structs.replace(
        knowledge.protocols[0], schedules=plans, variants=(), profile_switch="guideline"
    )
    for choice in plans:
        site = msgspec.structs.replace(knowledge, switches={**knowledge.switches, "guideline": choice})
        assert plan_of(protocol, ctx(chart(), site)).profile == choice
    only = msgspec.structs.replace(protocol, schedules={"x": plans["seed"]}, profile_switch="")
    assert plan_of(only, ctx(chart(), knowledge)) == plans["seed"]


def opened(*milestones: Milestone, day: int):
    found = open_milestone(Schedule("p", ("X",), milestones, (), 365, 395, ()), back(day), TODAY)
    assert found is not None
    return found


def test_milestones_may_stand_in_any_order_and_of_a_tie_the_lower_one_counts():
    """On day 330 the half-yearly one opens for the second time."""
    late = msgspec.structs.replace(WEEKS, key="late", opens=330)
    for milestones in ((late, HALF_YEAR, WEEKS), (HALF_YEAR, WEEKS, late)):
        assert [opened(*milestones, day=day).key for day in (28, 149, 150, 329)] == [
            "weeks",
            "weeks",
            "half",
            "half",
        ]
    assert [opened(*pair, day=330).key for pair in ((late, HALF_YEAR), (HALF_YEAR, late))] == ["half", "late"]
    assert opened(msgspec.structs.replace(WEEKS, key="soon", opens=29), HALF_YEAR, WEEKS, day=160).key == "half"


def test_how_often_a_milestone_has_opened_and_on_which_days():
    first, again = opened(WEEKS, day=30), opened(HALF_YEAR, day=340)
    assert (first.number, first.name, first.opens, first.target) == (1, "at 6 weeks", back(2), back(-12))
    assert first.overdue_from == back(30 - 64)
    assert (again.number, again.opens, again.target) == (2, back(10), back(-20))


# -- the next day ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("day", "results", "following"),
    [
        (20, (), 42),  # none is open yet
        (42, (), 42),  # due today
        (43, (), 180),  # that day is over
        (42, (measurement("TT", "500", 1),), 180),  # done
    ],
)
def test_the_next_day_that_is_told(knowledge, day, results, following):
    known = scheduled(knowledge, WEEKS, HALF_YEAR)
    told, _ = ended(known, on_testosterone(*results, start=day))
    assert told.next_due == back(day - following)
    if day == 20:
        assert told == Outcome(RULE, "fine", "no milestone is open", next_due=back(day - following))


# -- days of one's own -----------------------------------------------------------------------------------


def test_a_test_with_its_own_days_says_for_which_day_it_is_meant(knowledge):
    """Day 396: the half-yearly visit opened on day 330, the yearly lipids are meant for day 365."""
    both = msgspec.structs.replace(HALF_YEAR, items=(Item("TT"), Item("LIPID", window=Window(335, 365, 395, 365))))
    due = {item.test: item for item in found(on_testosterone(start=396), scheduled(knowledge, both), RULE).due}
    assert (due["LIPID"].target, due["LIPID"].overdue) == (back(396 - 365), True)
    assert due["TT"].target is None


def test_a_test_with_its_own_days_does_not_repeat_unless_it_says_so(knowledge):
    once = msgspec.structs.replace(HALF_YEAR, items=(Item("TT", window=Window(10, 20, 30)),))
    (due,) = found(on_testosterone(start=800), scheduled(knowledge, once), RULE).due
    assert (due.target, due.overdue) == (back(780), True)


def test_own_days_take_the_place_of_a_look_back_and_of_days_after_the_last_result(knowledge):
    """The result of 60 days ago, of day 40, lies before the own window, which opened on day 50."""
    item = Item("TT", window=Window(50, 60, 70))
    start = Milestone("b", "baseline", -180, 0, 7, None, (item,), look_back="baseline_lookback_days")
    again = Milestone("again", "again", 28, 365, 395, None, (item,), after_last=True, again=150)
    patient = on_testosterone(measurement("TT", "500", 60), start=100)
    for milestone in (start, again):
        (due,) = found(patient, scheduled(knowledge, milestone), RULE).due
        assert (due.test, due.overdue, due.last) == ("TT", True, back(60))
    often = msgspec.structs.replace(again, again=20)
    inside = on_testosterone(measurement("TT", "500", 48), start=100)
    assert outcome(inside, scheduled(knowledge, often), RULE).result == "fine"


# -- what `explain` is told ------------------------------------------------------------------------------


def test_explain_is_told_the_days_of_the_open_milestone_and_how_each_test_stands(knowledge):
    """Day 340: the second half year opened on day 330, is meant for day 360 and overdue from day 391."""
    items = tuple(Item(test) for test in ("TT", "PSA", "SHBG", "E2"))
    known = scheduled(knowledge, msgspec.structs.replace(HALF_YEAR, items=items))
    asked = order("PSA")
    patient = on_testosterone(measurement("SHBG", "30", 3), start=340, orders=[asked], gaps=[gap("E2")])
    _, steps = ended(known, patient, traced=True)
    assert steps == [
        Timetable(
            "seed", patient.therapies[0], back(340), 340, "6-monthly", back(10), back(-20), back(-51),
            tests=(
                TestState("TT", "due"),
                TestState("PSA", "ordered", order=asked.source),
                TestState("SHBG", "done", back(3)),
                TestState("E2", "unknown"),
            ),
        )
    ]  # fmt: skip


def test_explain_is_told_from_which_change_the_days_count(knowledge):
    dosed = msgspec.structs.replace(course(start=300), dose_changed=back(20))
    known = scheduled(knowledge, WEEKS, clock="change")
    assert ended(known, chart(therapies=[dosed]), traced=True)[1] == [Timetable("seed", dosed, back(20), 20)]
    unknown = msgspec.structs.replace(dosed, start=None)
    assert ended(known, chart(therapies=[unknown]), traced=True)[1] == [Timetable("seed", unknown, back(20), 20)]


def test_explain_is_told_that_the_start_is_not_known(knowledge):
    patient = on_testosterone(measurement("TT", "500", 380), start=None)
    _, steps = ended(scheduled(knowledge, WEEKS), patient, traced=True)
    assert steps == [
        Timetable("seed", patient.therapies[0], None, None, tests=(TestState("TT", "due", back(380)),))
    ]
    recent = on_testosterone(measurement("TT", "500", 364), start=None)
    _, steps = ended(scheduled(knowledge, WEEKS), recent, traced=True)
    assert steps == [
        Timetable("seed", recent.therapies[0], None, None, tests=(TestState("TT", "done", back(364)),))
    ]


def test_explain_is_told_how_many_days_after_the_last_result_a_test_is_due(knowledge):
    again = Milestone("again", "again and again", 210, 365, 395, None, (Item("TT"),), after_last=True, again=150)
    patient = on_testosterone(measurement("TT", "500", 160), start=300)
    told, steps = ended(scheduled(knowledge, again), patient, traced=True)
    assert steps == [
        Timetable(
            "seed", patient.therapies[0], back(300), 300, "again and again", again=(150, 395),
            tests=(TestState("TT", "due", back(160)),),
        )
    ]  # fmt: skip
    assert told.finding is not None
    assert told.finding.due == (Due("TT", False, back(160)),)
