"""What `explain` tells of a schedule: dates counted by hand from today, 2026-11-22."""

from __future__ import annotations

from datetime import date

import msgspec
import pytest

from cds_service.rules import timetable
from cds_service.rules.outcome import Due, TestState, Timetable
from cds_service.rules.schedule import Open, Status
from tests.rules.conftest import chart, course, ctx, order

START = date(2026, 8, 24)  # 90 days before today: 7 of August, 30, 31, 22 of November
ANCHOR = course(start=START)
MILESTONE = Open("3mo", "at 3 months", date(2026, 11, 8), date(2026, 11, 22), date(2026, 12, 6), ())
SEEN, ORDERED = date(2026, 11, 10), order("HCT")


def noted(knowledge, anchor=ANCHOR, start=START, opened: Open | None = MILESTONE, statuses=()):
    context = ctx(chart(), knowledge)
    context.steps = []
    timetable.note(context, "seed", anchor, start, opened, statuses)
    (step,) = context.steps
    return step


def test_nothing_is_kept_unless_asked_for(knowledge):
    context = ctx(chart(), knowledge)
    timetable.note(context, "seed", ANCHOR, START, MILESTONE, ())
    assert context.steps is None


def test_the_open_milestone_with_its_days(knowledge):
    assert noted(knowledge) == Timetable(
        profile="seed",
        anchor=ANCHOR,
        start=START,
        day=90,
        milestone="at 3 months",
        opens=date(2026, 11, 8),
        target=date(2026, 11, 22),
        overdue_from=date(2026, 12, 6),
    )


def test_a_milestone_that_comes_again_has_days_after_the_last_result_in_place_of_dates(knowledge):
    yearly = Open("y", "every year", date.min, date.min, date.min, (), again=(335, 395))
    assert noted(knowledge, opened=yearly) == Timetable(
        profile="seed", anchor=ANCHOR, start=START, day=90, milestone="every year", again=(335, 395)
    )


def test_no_milestone_and_no_start(knowledge):
    assert noted(knowledge, anchor=None, start=None, opened=None) == Timetable(
        profile="seed", anchor=None, start=None, day=None
    )


@pytest.mark.parametrize(
    ("status", "state"),
    [
        ({"done": SEEN}, ("done", SEEN, "")),
        ({"due": Due("hct", False, SEEN)}, ("due", SEEN, "")),
        ({"due": Due("hct", True, None)}, ("overdue", None, "")),
        ({"ordered": ORDERED}, ("ordered", None, "ServiceRequest/HCT")),
        ({}, ("unknown", None, "")),
    ],
)
def test_how_a_test_stands(knowledge, status, state):
    test = next(iter(knowledge.tests.values()))
    (told,) = noted(knowledge, statuses=[Status(test, **status)]).tests
    assert told == TestState(test.key, *state)


def test_a_suggestion_that_was_accepted_has_no_resource_yet(knowledge):
    test = next(iter(knowledge.tests.values()))
    accepted = msgspec.structs.replace(ORDERED, source="", accepted=True)
    (told,) = noted(knowledge, statuses=[Status(test, ordered=accepted)]).tests
    assert told == TestState(test.key, "ordered", order="suggestion accepted")
