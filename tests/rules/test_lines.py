"""Sentences that a card owes its reader: each is there when its reason is, and names what it is about."""

from __future__ import annotations

from datetime import date

import msgspec
import pytest

from cds_service.chart import When
from cds_service.knowledge.model import Note
from cds_service.rules.lines import about_facts, about_result, about_rule, doubt_lines, newer_not_comparable
from cds_service.rules.outcome import Doubt, Line
from tests.rules.conftest import back, chart, condition, course, ctx, draft, measurement, month, supply, when

DAY = date(2026, 11, 1)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, None),
        ({"unit_inferred": True}, "unit_inferred"),
        ({"when": When(DAY, DAY, issued=True)}, "date_issued"),
        ({"when": month(DAY)}, "month_only"),
        ({"when": when(3, "07:30")}, None),
        ({"when": None}, None),
        ({"traits": frozenset(["estimated"])}, "result_estimated"),
        ({"traits": frozenset(["calculated"])}, "result_calculated"),
        ({"traits": frozenset(["fasting"])}, None),
        ({"conflict": True}, "conflict"),
        ({"interpretation": "H"}, None),
    ],
)
def test_what_is_said_of_a_result(fields, message, knowledge):
    result = measurement("HCT", "55", 10, **fields)
    assert about_result(result, knowledge) == ([Line(message, {"result": result})] if message else [])


@pytest.mark.parametrize("flag", ["HH", "LL", "AA"])
def test_an_alarm_of_the_laboratory_is_named(flag, knowledge):
    result = measurement("HCT", "55", 10, interpretation=flag)
    assert about_result(result, knowledge) == [Line("lab_alarm", {"result": result, "flag": flag})]


@pytest.mark.parametrize(
    ("fact", "message"),
    [
        (course(), None),
        (course(from_text=True), "from_text"),
        (course(start=None), "start_unknown"),
        (course(on_hold=True), "on_hold"),
        (draft(), None),
        (draft(from_text=True), "from_text"),
        (condition("prostate_absent"), None),
        (measurement("HCT", "55", 10), None),
    ],
)
def test_what_is_said_of_a_fact(fact, message):
    assert about_facts((fact,)) == ([Line(message, {"therapy": fact})] if message else [])


INJECTED, GEL = supply("injection", start=100, end=11), supply("topical", "testosterone", start=10)


@pytest.mark.parametrize(
    ("taken", "told"),
    [
        (when(12), True),
        (when(11), True),
        (when(10), False),  # of that day it is not known which came first
        (when(5), False),
        (month(date(2026, 10, 1)), True),
        (month(date(2026, 11, 1)), False),  # perhaps after the change of 2026-11-12
        (None, False),
    ],
)
def test_a_change_after_the_sample_is_told_with_what_was_taken_before(taken, told):
    switched = course(supplies=(GEL, INJECTED), dose_changed=back(10))
    line = Line("changed_since", {"therapy": switched, "day": back(10), "before": INJECTED})
    result = measurement("TT", "650", 0, when=taken)
    assert about_facts((switched,), result) == ([line] if told else [])


def test_of_the_same_product_only_the_change_is_told():
    raised = course(supplies=(supply(start=10), supply(start=100, end=11)), dose_changed=back(10))
    line = Line("changed_since", {"therapy": raised, "day": back(10), "before": None})
    assert about_facts((raised,), measurement("TT", "650", 20)) == [line]
    assert about_facts((course(),), measurement("TT", "650", 20)) == []


def test_the_notes_of_a_rule_that_hold(knowledge):
    rule = msgspec.structs.replace(
        knowledge.rules[0],
        notes=(Note("for all", None), Note("for men", {"sex": "male"}), Note("for women", {"sex": "female"})),
    )
    assert about_rule(rule, ctx(chart(sex="male"), knowledge)) == [
        Line("", text="for all"),
        Line("", text="for men"),
    ]


def test_only_the_newest_of_the_later_results_that_could_not_be_compared_is_told(knowledge):
    odd = measurement("HCT", None, 1, problem="text", reported="clotted")
    high = measurement("HCT", "5.2", 2, problem="implausible")
    judged, older = measurement("HCT", "55", 10), measurement("HCT", None, 20, problem="text")

    def told(*results):
        return newer_not_comparable(judged, ctx(chart(*results), knowledge))

    assert told(odd, high, judged, older) == [Line("newer_not_comparable", {"result": odd})]
    assert told(high, judged, older) == [Line("newer_not_comparable", {"result": high})]
    assert told(measurement("HCT", None, 3), judged) != []
    assert told(measurement("HCT", "45", 3), judged, older) == []
    assert told(odd) == []


def test_a_doubt_becomes_a_line_that_knows_its_area():
    doubt = Doubt("gap_absent", "HCT", {"key": "results"})
    assert doubt_lines((doubt,)) == [Line("gap_absent", {"key": "results", "area": "HCT"})]
