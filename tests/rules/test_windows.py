"""Schedules beyond a plain row of milestones: own windows, days after the last result, changes (3.1)."""

from __future__ import annotations

import msgspec
import pytest

from cds_service.chart import Therapy
from cds_service.knowledge.model import Item, Milestone, Window
from cds_service.rules.outcome import Finding
from tests.rules.conftest import (
    back,
    card,
    cards,
    chart,
    condition,
    course,
    found,
    judge,
    measurement,
    on_testosterone,
    outcome,
    scheduled,
    supply,
)

RULE = "MISS-male_trt"


def missing(finding: Finding) -> list[tuple[str, bool]]:
    return [(item.test, item.overdue) for item in finding.due]


# -- own windows -----------------------------------------------------------------------------------------

YEARLY = Item("LIPID", window=Window(335, 365, 395, 365))
HALF_YEAR = Milestone("half", "6-monthly", 150, 180, 210, None, (Item("TT"), YEARLY), every=180)


@pytest.mark.parametrize(
    ("day", "expected"),
    [
        (334, [("TT", False)]),  # the second half year opened on day 330
        (335, [("TT", False), ("LIPID", False)]),
        (390, [("TT", False), ("LIPID", False)]),
        (391, [("TT", True), ("LIPID", False)]),
        (395, [("TT", True), ("LIPID", False)]),
        (396, [("TT", True), ("LIPID", True)]),
        (700, [("TT", False), ("LIPID", False)]),  # the fourth half year opened on day 690
    ],
)
def test_a_test_with_its_own_window_joins_the_card(knowledge, day, expected):
    finding = found(on_testosterone(start=day), scheduled(knowledge, HALF_YEAR), RULE)
    assert missing(finding) == expected


@pytest.mark.parametrize(("day", "done"), [(334, False), (335, True)])
def test_a_result_counts_from_the_opening_of_the_own_window(knowledge, day, done):
    lipids = [measurement(marker, "100", 400 - day) for marker in ("CHOL", "HDL", "TRIG")]
    finding = found(on_testosterone(*lipids, start=400), scheduled(knowledge, HALF_YEAR), RULE)
    assert ("LIPID" in dict(missing(finding))) is not done


def test_a_window_that_has_not_opened_leaves_nothing_missing(knowledge):
    only = Milestone("only", "only", 100, 120, 140, None, (YEARLY,))
    ended = outcome(on_testosterone(start=200), scheduled(knowledge, only), RULE)
    assert ended.result == "fine"


# -- after the last result -------------------------------------------------------------------------------

AGAIN = Milestone("again", "again", 210, 365, 395, None, (Item("TT"),), after_last=True, again=150)


@pytest.mark.parametrize(
    ("ago", "expected"),
    [(149, []), (150, [("TT", False)]), (240, [("TT", False)]), (241, [("TT", True)]), (400, [("TT", True)])],
)
def test_results_of_before_a_day_are_no_last_ones(knowledge, ago, expected):
    """Day 300; a result counts from day 60 on, 240 days ago. Due after 150 days, overdue after 395."""
    again = msgspec.structs.replace(AGAIN, counts_from=60)
    ended = outcome(on_testosterone(measurement("TT", "500", ago), start=300), scheduled(knowledge, again), RULE)
    assert (missing(ended.finding) if ended.finding else []) == expected


def test_without_such_a_day_every_result_is_one(knowledge):
    patient = on_testosterone(measurement("TT", "250", 390), start=300)
    assert missing(found(patient, scheduled(knowledge, AGAIN), RULE)) == [("TT", False)]


# -- the clock of a change -------------------------------------------------------------------------------

BASELINE = Milestone("baseline", "baseline", -180, 0, 7, 28, (Item("SHBG"),), look_back="baseline_lookback_days")
WEEKS = Milestone("weeks", "4- to 8-week", 28, 42, 63, None, (Item("TT"),))


def changed(start: int | None, *ago: int) -> Therapy:
    return msgspec.structs.replace(course(start=start), dose_changed=back(ago[0]) if ago else None)


@pytest.mark.parametrize(
    ("start", "change", "expected"),
    [
        (300, 27, []),  # not opened yet, and the baseline is long over
        (300, 28, [("TT", False)]),
        (300, 63, [("TT", False)]),
        (300, 64, [("TT", True)]),
        (25, 20, [("SHBG", True)]),  # the baseline keeps to the start of the course
        (None, 30, [("TT", False)]),  # start unknown, change known
        (None, 20, []),  # and no baseline, which counts from the start
    ],
)
def test_the_days_count_from_the_latest_change(knowledge, start, change, expected):
    known = scheduled(knowledge, BASELINE, WEEKS, clock="change")
    ended = outcome(chart(therapies=[changed(start, change)]), known, RULE)
    assert (missing(ended.finding) if ended.finding else []) == expected


def test_another_clock_does_not_mind_a_change(knowledge):
    known = scheduled(knowledge, BASELINE, WEEKS)
    finding = found(chart(therapies=[changed(300, 10)]), known, RULE)
    assert missing(finding) == [("TT", True)]


def test_a_therapy_of_the_anchor_that_is_added_is_a_change(knowledge):
    both = [course("LEVOTHYROXINE", 300), course("LIOTHYRONINE", 30)]
    finding = found(chart(therapies=both), knowledge, "MISS-thyroid_replacement")
    assert missing(finding) == [("TSH", False)]


def test_the_start_itself_is_no_change(knowledge):
    only = [course("LEVOTHYROXINE", 30), course("LIOTHYRONINE", 30)]
    finding = found(chart(therapies=only), knowledge, "MISS-thyroid_replacement")
    assert finding.values["milestone"].key == "weeks-6"  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("start", "change", "expected"),
    [
        (300, 39, [("TT", False)]),
        (300, 40, [("TT", False), ("SHBG", False)]),
        (300, 50, [("TT", False), ("SHBG", False)]),
        (300, 51, [("TT", False), ("SHBG", True)]),
        (334, 30, [("TT", False)]),
        (335, 30, [("TT", False), ("LIPID", False)]),  # what comes back every year keeps to the start
        (395, 30, [("TT", False), ("LIPID", False)]),
        (396, 30, [("TT", False), ("LIPID", True)]),
        (None, 334, [("TT", True), ("SHBG", True)]),  # start unknown: all days count from the change
        (None, 335, [("TT", True), ("SHBG", True), ("LIPID", False)]),
    ],
)
def test_days_of_a_test_begin_again_with_a_change_unless_they_come_back(knowledge, start, change, expected):
    own = Item("SHBG", window=Window(40, 45, 50))
    known = scheduled(knowledge, msgspec.structs.replace(WEEKS, items=(Item("TT"), own, YEARLY)), clock="change")
    assert missing(found(chart(therapies=[changed(start, change)]), known, RULE)) == expected


@pytest.mark.parametrize(("form", "expected"), [("topical", []), ("injection", [("TT", True)])])
def test_a_change_counts_where_the_condition_of_the_clock_holds(knowledge, form, expected):
    """The change of 10 days ago is too young for a test; day 300 of the course is too late."""
    on_gel = {"therapy": {"key": "TESTOSTERONE", "form": "topical"}}
    known = scheduled(knowledge, WEEKS, clock="change", clock_when=on_gel)
    patient = chart(therapies=[course(start=300, form=form, dose_changed=back(10))])
    ended = outcome(patient, known, RULE)
    assert (missing(ended.finding) if ended.finding else []) == expected


# -- profile, urgency, merged tests ----------------------------------------------------------------------


def test_the_finding_names_its_profile(knowledge):
    assert found(on_testosterone(start=100), knowledge, RULE).profile == "seed"


def test_a_card_whose_safety_test_stands_elsewhere_is_no_warning(knowledge):
    """TSH, overdue for both, stands with the first protocol; what is left for growth hormone is no safety test."""
    growth = [course("GH", 20, supplies=[supply("injection", "somatropin", 20)]), course("LEVOTHYROXINE", 70)]
    evaluation = judge(chart(measurement("IGF1", "100", 30), therapies=growth), knowledge)
    assert cards(evaluation) == [("MISS-thyroid_replacement", "warning"), ("MISS-gh_axis", "info")]
    assert missing(card(evaluation, "MISS-gh_axis")) == [("A1C_OR_GLU", True), ("FT4", True)]


def test_tests_of_a_finding_that_became_a_line_are_suggested_by_its_host(knowledge):
    results = [measurement("TT", "300", 10), measurement("SHBG", "30", 10)]
    patient = on_testosterone(*results, start=200, conditions=[condition("liver_disease")])
    assert "FT" in card(judge(patient, knowledge), "TT-4").tests


def test_of_a_value_and_its_score_the_later_one_speaks(knowledge):
    growth = course("GH", 300)
    high = measurement("IGF1Z", "2.5", 60)
    low = measurement("IGF1", "200", 10, reference_high=300)
    assert outcome(chart(high, therapies=[growth]), knowledge, "IGFR-1").result == "finding"
    assert outcome(chart(high, low, therapies=[growth]), knowledge, "IGFR-1").result == "fine"
