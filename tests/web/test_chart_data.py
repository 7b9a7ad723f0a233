"""The chart page's data: what is marked against which limit, from when a limit holds, when tests are due."""

from __future__ import annotations

import io
from datetime import date
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from cds_service.app import create_app
from cds_service.chart import Chart
from cds_service.hooks.words import Words, escape
from cds_service.knowledge.model import Knowledge
from cds_service.rules.engine import evaluate
from cds_service.scenarios.workbench import TOOLS
from cds_service.settings import Settings
from cds_service.web import pages
from cds_service.web.chart_data import ChartData, Point, Series, chart_data
from cds_service.web.chart_drawing import drawing
from cds_service.web.chart_limits import joined, shared
from cds_service.web.text import unmarked
from tests.rules.conftest import TODAY, chart, course, gap, measurement, on_testosterone, supply, when


@pytest.fixture(scope="module")
def words(knowledge: Knowledge) -> Words:
    return Words(knowledge)


@pytest.fixture
def data(words: Words):
    """The page's data of a chart, today."""

    def make(patient: Chart) -> ChartData:
        evaluation = evaluate(patient, words.knowledge, as_of=TODAY, hook="patient-view", traced=True)
        return chart_data(patient, evaluation, words)

    return make


def series(data: ChartData, marker: str) -> Series:
    return next(one for one in data.series if one.marker == marker)


def marked(point: Point) -> list[str]:
    return [one.rule for one in point.passed]


def limits(found: Series) -> list[tuple[str, str, tuple[Any, ...]]]:
    return [(one.operator, one.value, one.spans) for one in found.limits]


# -- therapies ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "text", "looks"),
    [
        ({"start": 200}, "testosterone: 2026-05-06 – running", "bar"),
        ({"start": 200, "end": 0}, "testosterone: 2026-05-06 – 2026-11-22", "bar past"),
        (
            {"start": 200, "end": 0, "unsure": True},
            "testosterone: 2026-05-06 – not known whether it goes on",
            "bar unsure",
        ),
    ],
)
def test_a_course_that_may_go_on_is_not_shown_as_ended_today(data, knowledge, fields, text, looks):
    """Of the last dose in the chart it is not known whether it still lasts: the end would be today's day."""
    found = data(chart(therapies=[course(given=(when(100),), **fields)]))
    app = create_app(Settings(), knowledge=knowledge, log=io.StringIO(), tools=TOOLS)
    with app.test_request_context():
        parts: Any = app.jinja_env.get_template("chart_parts.html").module
        assert str(parts.course_text(pages.words()["chart"], found.courses[0])) == text
        assert f'<rect class="{looks}"' in str(parts.bars(pages.words()["chart"], drawing(found), 0, 11, 15))


# -- results and limits ------------------------------------------------------------------------------


def test_results_are_in_order_of_time_and_marked_by_the_limits_that_they_pass(data):
    results = [("54.1", 5), ("54.0", 20), ("50.1", 60), ("50.0", 90), ("44.0", 400)]
    found = series(data(on_testosterone(*(measurement("HCT", value, on) for value, on in results))), "HCT")
    assert [(one.value, marked(one)) for one in found.points] == [
        ("44.0", []),
        ("50.0", []),
        ("50.1", ["HCT-3"]),
        ("54.0", ["HCT-2", "HCT-3"]),
        ("54.1", ["HCT-1", "HCT-2", "HCT-3"]),
    ]
    assert limits(found) == [(">", limit, ((None, None),)) for limit in ("54", "52", "50")]
    assert [one.indicator for one in found.limits] == ["critical", "warning", "info"]
    assert found.band is None


def test_a_limit_of_the_course_holds_from_its_day_on(data):
    # Day 0 is 2026-08-14: testosterone is judged from day 1 on, a low value from day 60 (2026-10-13).
    samples = [("240", 110), ("700", 100), ("340", 41), ("340", 40), ("350", 20), ("1001", 3)]
    found = series(data(on_testosterone(*(measurement("TT", value, on) for value, on in samples))), "TT")
    assert [marked(one) for one in found.points] == [[], [], [], ["TT-4"], [], ["TT-1", "TT-2"]]
    day_1, day_60 = date(2026, 8, 15), date(2026, 10, 13)
    assert limits(found) == [
        (">", "1000", ((day_1, None),)),
        (">", "600", ((day_1, None),)),
        ("<", "350", ((day_60, None),)),
    ]
    assert found.band is not None
    assert (found.band.low, found.band.high, found.band.spans) == ("350", "600", ((day_60, None),))


def test_a_limit_of_a_product_holds_while_it_is_used(data):
    # A gel from day 0 (2026-05-06), injections from 2026-08-14: 916 is the gel's limit, 600 that of injections.
    products = [supply(start=100), supply(form="topical", agent="testosterone", start=200, end=101)]
    patient = chart(
        measurement("TT", "905", 150),
        measurement("TT", "905", 50),
        therapies=[course(start=200, supplies=products)],
    )
    found = series(data(patient), "TT")
    assert [marked(one) for one in found.points] == [[], ["TT-2"]]
    spans = {one.value: one.spans for one in found.limits}
    assert spans["916"] == ((date(2026, 5, 7), date(2026, 8, 13)),)
    assert spans["600"] == ((date(2026, 8, 14), None),)


def test_equal_limits_of_two_rules_are_one_line(data):
    # PSA-1 holds up to day 365, PSA-1b from day 366 on; both say 4 ng/mL.
    (line,) = series(data(on_testosterone(measurement("PSA", "1.00", 5))), "PSA").limits
    assert (line.rules, line.value, line.spans) == (("PSA-1", "PSA-1b"), "4", ((None, None),))


def test_a_factor_because_of_another_drug_decides_and_is_told(data):
    # 2 x 2.10 = 4.20 > 4. The plot shows what was measured.
    patient = on_testosterone(measurement("PSA", "2.10", 5), therapies=[course("FIVE_ARI", start=300)])
    (point,) = series(data(patient), "PSA").points
    assert (point.value, marked(point)) == ("2.10", ["PSA-1"])
    assert any("multiplied by 2" in note for note in point.notes)


def test_a_bound_may_leave_it_open(data):
    # Above 50 for certain; whether above 52 or 54 nobody knows.
    (point,) = series(data(on_testosterone(measurement("HCT", ">50.0", 5))), "HCT").points
    assert (point.comparator, point.value) == (">", "50.0")
    assert marked(point) == ["HCT-3"]
    assert set(point.unsure) == {"HCT-1", "HCT-2"}


def test_what_cannot_be_compared_is_there_and_says_why(data):
    results = [
        measurement("HCT", "45.0", 9),
        measurement("HCT", None, 5, reported="0.60", problem="no_unit"),
        measurement("HCT", "60.0", 1, when=None, problem="undated"),
    ]
    found = series(data(on_testosterone(*results)), "HCT")
    assert [one.value for one in found.points] == ["45.0"]
    assert {(one.problem, one.reported) for one in found.not_plotted} == {("no_unit", "0.60"), ("undated", "60.0")}


def test_what_is_not_final_is_drawn_but_not_judged(data):
    (point,) = series(data(on_testosterone(measurement("HCT", "60.0", 5, status="preliminary"))), "HCT").points
    assert (point.value, point.passed, point.status) == ("60.0", (), "preliminary")


def test_the_laboratory_s_own_limit_is_told_as_such(data):
    # Prolactin: above the laboratory's own upper limit, else above 25 (both for feminising therapy).
    patient = chart(
        measurement("PRL", "31.0", 30),
        measurement("PRL", "31.0", 5, reference_high=Decimal("29.5")),
        therapies=[course("ESTRADIOL", start=200, form="patch")],
        patient={"gender_identity": "female", "birth_sex": "male"},
    )
    found = series(data(patient), "PRL")
    assert [(one.of_laboratory, one.limit) for point in found.points for one in point.passed] == [
        (False, "25"),
        (True, "29.5"),
    ]
    assert [(one.of_laboratory, one.value) for one in found.limits] == [(True, "29.5")]


def test_urgency_is_that_of_the_finding_where_the_rule_raises_it(data):
    # Prolactin above 100 is a warning; the rule alone says information.
    patient = chart(
        measurement("PRL", "120", 30),
        measurement("PRL", "120", 5),
        therapies=[course("ESTRADIOL", start=200, form="patch")],
        patient={"gender_identity": "female", "birth_sex": "male"},
    )
    points = series(data(patient), "PRL").points
    assert [one.indicator for point in points for one in point.passed] == ["info", "warning"]


def test_a_rise_below_every_limit_is_told_with_its_marker(data):
    # 2.5 - 1.0 = 1.5 > 1.4 within the first year, both below 4.
    told = data(on_testosterone(measurement("PSA", "1.00", 110), measurement("PSA", "2.50", 5)))
    found = series(told, "PSA")
    assert [marked(point) for point in found.points] == [[], []]
    assert [(one.topic, one.indicator) for one in found.said] == [("PSA-2", "warning")]
    assert told.series[0] is found


def test_markers_that_are_above_a_limit_now_come_first(data):
    patient = on_testosterone(
        measurement("TT", "520", 5),
        measurement("HCT", "56.0", 50),
        measurement("HCT", "45.0", 5),
        measurement("PSA", "4.10", 5),
    )
    assert data(patient).series[0].marker == "PSA"


def test_without_a_therapy_in_scope_there_are_results_and_no_limits(data):
    told = data(chart(measurement("HCT", "56.0", 5)))
    found = series(told, "HCT")
    assert (found.limits, found.points[0].passed, told.due, told.protocols) == ((), (), (), ())


# -- due tests ---------------------------------------------------------------------------------------


def due(data: ChartData) -> list[tuple[str, str, str, set[str]]]:
    return [
        (f"{one.day}", one.milestone, test.state, {each.key for each in one.tests if each.state == test.state})
        for one in data.due
        for test in {each.state: each for each in one.tests}.values()
    ]


def test_the_open_milestone_and_those_to_come(data):
    # Day 100. The 3-month tests are meant for day 90, overdue from day 121; 6 months: day 180; a year: day 365.
    told = data(on_testosterone(measurement("TT", "520", 3)))
    assert due(told)[0] == ("2026-11-12", "3-month", "due", {"E2", "CBC"})
    assert told.due[0].overdue_from == date(2026, 12, 13)
    assert [(f"{one.day}", one.milestone) for one in told.due] == [
        ("2026-11-12", "3-month"),
        ("2027-02-10", "6-month"),
        ("2027-08-14", "yearly"),
    ]
    assert {test.state for one in told.due[1:] for test in one.tests} == {"coming"}
    assert {test.key for test in told.due[1].tests} == {"TT", "FT", "E2", "SHBG", "CBC", "PSA", "LIPID"}
    assert "PSA" in told.missing
    assert "total testosterone" not in told.missing


def test_overdue_from_the_day_after_the_tolerance(data):
    # Day 120 is the last one that is not overdue.
    for start, state in ((120, "due"), (121, "overdue")):
        first = data(on_testosterone(start=start)).due[0]
        assert {test.state for test in first.tests} == {state}


def test_a_course_of_unknown_start_is_due_a_year_after_each_result(data):
    told = data(on_testosterone(measurement("TT", "520", 100), measurement("HCT", "45.0", 400), start=None))
    states = {(test.key, test.state): one.day for one in told.due for test in one.tests}
    assert states["TT", "coming"] == date(2027, 8, 14)  # 100 days ago is 2026-08-14, and 365 days on
    assert states["CBC", "overdue"] == TODAY


def test_nothing_is_due_for_the_dead(data):
    told = data(on_testosterone(patient={"deceased": True}))
    assert told.deceased
    assert told.due == ()


# -- what is not known -------------------------------------------------------------------------------


def test_gaps_are_told_once_and_with_their_marker(data):
    told = data(
        on_testosterone(measurement("HCT", "45.0", 5), gaps=[gap("HCT", kind="truncated", complete_since=300)])
    )
    found = series(told, "HCT")
    assert found.complete_since == date(2026, 1, 26)
    (sentence,) = found.unknown
    assert sentence.startswith("Hematocrit: the EHR sent only the first part")
    told = data(on_testosterone(gaps=[gap("HCT", "TT")]))
    assert told.unknown == ("Hematocrit, total testosterone: not sent by the EHR (prefetch key key).",)


def test_text_of_others_comes_out_as_it_is(data):
    hostile = "<b>45</b> [x](http://example.org)"
    point = series(data(on_testosterone(measurement("HCT", "45.0", 5, reported=hostile))), "HCT").points[0]
    assert point.reported == hostile


def test_no_name_and_no_id_of_the_patient(data):
    told = msgspec.json.encode(data(on_testosterone(measurement("HCT", "45.0", when(5).day))))
    assert b'"p"' not in told
    assert b"1980" not in told


# -- spans -------------------------------------------------------------------------------------------

A, B, C, D = (date(2026, 1, day) for day in (1, 10, 11, 20))


@pytest.mark.parametrize(
    ("spans", "expected"),
    [
        ([(A, B), (C, D)], ((A, D),)),
        ([(C, D), (A, A)], ((A, A), (C, D))),
        ([(A, None), (B, C)], ((A, None),)),
        ([(None, A), (A, None)], ((None, None),)),
        ([], ()),
    ],
    ids=["touching", "apart", "inside", "everything", "none"],
)
def test_spans_are_joined_where_they_touch(spans, expected):
    assert joined(spans) == expected


def test_shared_days():
    assert shared((A, C), (B, D)) == (B, C)
    assert shared((A, B), (B, None)) == (B, B)
    assert shared((A, B), (C, D)) is None
    assert shared((None, None), (None, D)) == (None, D)


@pytest.mark.parametrize("words", ["a `b` c", r"back\slash", "*x* [y](z) <b>", "1. first", "it's - so"])
def test_what_was_escaped_for_a_card_is_on_the_page_as_it_was_written(words: str) -> None:
    assert unmarked(escape(words)) == words
