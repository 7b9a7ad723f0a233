"""Kind `schedule`: which tests are due (3.1, 3.2, 0.4.5, 0.4.9, 0.4.24, 0.4.34)."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, timedelta

import msgspec
import pytest

from cds_service.chart import Measurement, When
from cds_service.knowledge.model import Item, Milestone, Schedule
from cds_service.rules.outcome import Finding, Line
from cds_service.rules.schedule import next_target, open_milestone
from tests.rules.conftest import (
    TODAY,
    back,
    cards,
    chart,
    condition,
    course,
    draft,
    found,
    gap,
    judge,
    measurement,
    messages,
    month,
    on_testosterone,
    order,
    outcome,
    result_of,
    switched,
)

RULE = "MISS-male_trt"
BASELINE = ["TT", "FT", "E2", "SHBG", "LH", "FSH", "CBC", "PSA", "LIPID", "CMP"]
MONTH_3 = ["TT", "E2", "CBC"]
MONTH_6 = ["TT", "FT", "E2", "SHBG", "CBC", "PSA", "LIPID"]
YEARLY = ["TT", "FT", "E2", "CBC", "PSA", "LIPID", "CMP"]

# What shows that each test was done (3.1, 3.2).
PARTS = {
    "CBC": ["HCT"],
    "LIPID": ["CHOL", "HDL", "TRIG"],
    "CMP": ["ALT", "CREA", "GLU", "CA"],
}
VALUES = {"HCT": "45", "PSA": "1", "TT": "500", "E2": "25"}


def done(tests: Iterable[str], ago: int, **fields) -> list[Measurement]:
    """Results that show that the tests were done on one day."""
    parts = [part for test in tests for part in PARTS.get(test, [test])]
    return [measurement(part, VALUES.get(part, "20"), ago, **fields) for part in parts]


def missing(finding: Finding) -> list[str]:
    return [item.test for item in finding.due]


# -- milestones --------------------------------------------------------------------------------------

EDGES = [
    ("baseline", BASELINE, [(-1, False), (0, False), (7, False), (8, True), (59, True)]),
    ("month-3", MONTH_3, [(60, False), (61, False), (120, False), (121, True), (149, True)]),
    ("month-6", MONTH_6, [(150, False), (151, False), (210, False), (211, True), (334, True)]),
    ("annual", YEARLY, [(335, False), (336, False), (395, False), (396, True), (699, True)]),  # k = 1
    ("annual", YEARLY, [(700, False), (730, False), (760, False), (761, True), (1064, True)]),  # k = 2
    ("annual", YEARLY, [(1065, False), (1095, False), (1125, False), (1126, True), (1429, True)]),  # k = 3
]
ROWS = [(key, tests, *pair) for key, tests, pairs in EDGES for pair in pairs]


@pytest.mark.parametrize(("key", "tests", "day", "overdue"), ROWS)
def test_every_edge_of_every_window(knowledge, key, tests, day, overdue):
    finding = found(on_testosterone(start=day), knowledge, RULE)
    milestone = finding.values["milestone"]
    assert (milestone.key, missing(finding)) == (key, tests)  # type: ignore[attr-defined]
    assert {item.overdue for item in finding.due} == {overdue}
    assert finding.indicator == ("warning" if overdue else "info")


@pytest.mark.parametrize(
    ("day", "opens"), [(60, 60), (149, 60), (150, 150), (334, 150), (335, 335), (700, 700), (1065, 1065)]
)
def test_a_result_counts_from_the_day_on_which_the_milestone_opens(knowledge, day, opens):
    before, on_time = (
        outcome(on_testosterone(*done([*YEARLY, "SHBG"], day - sample), start=day), knowledge, RULE)
        for sample in (opens - 1, opens)
    )
    assert (before.result == "finding", on_time.result) == (True, "fine")


def test_a_result_of_today_counts(knowledge):
    assert result_of(on_testosterone(*done(MONTH_3, 0), start=100), knowledge, RULE) == "fine"


def test_a_result_of_tomorrow_is_not_done_yet(knowledge):
    """Dated from `opens` up to today inclusive (3.1); one day ahead is no future date (4.1.2), and is compared."""
    patient = on_testosterone(*done(["TT", "E2"], -1), measurement("HCT", "56", -1), start=100)
    finding = found(patient, knowledge, RULE)
    assert missing(finding) == MONTH_3
    assert {item.last for item in finding.due} == {None}
    assert result_of(patient, knowledge, "HCT-1") == "finding"
    earlier = on_testosterone(*done(MONTH_3, -1), *done(MONTH_3, 40), start=100)
    assert result_of(earlier, knowledge, RULE) == "fine"


def test_testosterone_and_shbg_of_tomorrow_are_no_free_testosterone_yet(knowledge):
    late = on_testosterone(*done(["TT", "SHBG"], -1), *done([*MONTH_3, "PSA", "LIPID"], 5), start=180)
    assert missing(found(late, knowledge, RULE)) == ["FT", "SHBG"]
    today = on_testosterone(*done(["TT", "SHBG"], 0), *done([*MONTH_3, "PSA", "LIPID"], 5), start=180)
    assert result_of(today, knowledge, RULE) == "fine"


def panels(*markers: str, ago: int = 5) -> list[Measurement]:
    return [measurement(marker, None, ago, problem="panel") for marker in markers]


@pytest.mark.parametrize("counts", [False, True])
def test_a_panel_without_results_is_done_where_the_site_says_so(knowledge, counts):
    """1.3: for the schedule only; no limit, no calculation and no count of results rests on a panel."""
    site = switched(knowledge, panel_counts_as_done=counts)
    alone = (*panels("HCT", "HGB"), measurement("HGB", "19", 30))
    patient = on_testosterone(*done(["TT", "E2"], 5), *alone, start=100)
    assert result_of(patient, site, RULE) == ("fine" if counts else "finding")
    assert result_of(patient, site, "HGB-1") == "finding"
    assert ("dq_panel", "HCT") in {(doubt.message, doubt.area) for doubt in judge(patient, site).doubts}
    both = on_testosterone(*panels("TT", "SHBG"), *done(["TT", "E2", "CBC", "PSA", "LIPID"], 5), start=180)
    assert missing(found(both, site, RULE)) == (["FT"] if counts else ["FT", "SHBG"])


def test_a_panel_from_before_the_milestone_does_not_count(knowledge):
    site = switched(knowledge, panel_counts_as_done=True)
    patient = on_testosterone(*done(["TT", "E2"], 5), *panels("HCT", ago=41), start=100)
    finding = found(patient, site, RULE)
    assert (missing(finding), finding.due[0].last) == (["CBC"], back(41))


def test_a_sample_of_day_50_is_not_the_three_month_visit(knowledge):
    patient = on_testosterone(*done(MONTH_3, 40), start=90)
    finding = found(patient, knowledge, RULE)
    assert missing(finding) == MONTH_3
    assert {item.last for item in finding.due} == {back(40)}


def test_a_result_out_of_range_is_done_all_the_same(knowledge):
    patient = on_testosterone(*done(["TT", "E2"], 5), measurement("HCT", "56", 5), start=100)
    assert result_of(patient, knowledge, RULE) == "fine"


def test_overdue_without_a_safety_test_is_information(knowledge):
    finding = found(on_testosterone(*done(["CBC"], 5), start=121), knowledge, RULE)
    assert (missing(finding), finding.indicator) == (["TT", "E2"], "info")


def test_an_earlier_milestone_is_not_reported_any_more(knowledge):
    assert len([rule for rule, _ in cards(judge(on_testosterone(start=160), knowledge)) if rule == RULE]) == 1


def test_every_day_of_five_years_has_the_milestone_of_the_table(knowledge):
    plan = next(p for p in knowledge.protocols if p.key == "male_trt").schedules["seed"]
    for day in range(-180, 1826):
        opened = open_milestone(plan, date(2020, 1, 1), date(2020, 1, 1) + timedelta(days=day))
        year = (day + 30) // 365
        key = "baseline" if day < 60 else "month-3" if day < 150 else "month-6" if day < 335 else f"annual {year}"
        assert opened is not None
        assert key in (opened.key, f"{opened.key} {opened.number}")


@pytest.mark.parametrize(
    ("day", "target"),
    [
        (-181, 0),
        (-180, 90),
        (0, 90),
        (59, 90),
        (60, 180),
        (149, 180),
        (150, 365),
        (335, 730),
        (336, 730),
        (699, 730),
        (700, 1095),
    ],
)
def test_the_next_target(knowledge, day, target):
    plan = next(p for p in knowledge.protocols if p.key == "male_trt").schedules["seed"]
    assert next_target(plan, back(day), TODAY) == back(day - target)


def test_the_next_due_day_is_told(knowledge):
    """On day 100 the visit of day 90 is over; on day 70 it lies ahead; when done, the next is on day 180."""
    assert outcome(on_testosterone(start=100), knowledge, RULE).next_due == back(100 - 180)
    assert outcome(on_testosterone(start=70), knowledge, RULE).next_due == back(70 - 90)
    assert outcome(on_testosterone(*done(MONTH_3, 5), start=70), knowledge, RULE).next_due == back(70 - 180)


def plan_of(*milestones: Milestone) -> Schedule:
    return Schedule("p", ("TESTOSTERONE",), milestones, (), 365, 395, ())


def test_without_a_stated_close_a_milestone_stays_until_the_next_one_opens():
    first = Milestone("first", "first", 0, 10, 20, None, (Item("TT"),))
    second = msgspec.structs.replace(first, key="second", opens=100)
    closed = msgspec.structs.replace(first, closes=50)

    def key(plan: Schedule, days: int) -> str:
        opened = open_milestone(plan, back(days), TODAY)
        return opened.key if opened else ""

    assert [key(plan_of(first, second), days) for days in (99, 100)] == ["first", "second"]
    assert [key(plan_of(closed, second), days) for days in (49, 50, 99, 100)] == ["first", "", "", "second"]
    assert key(plan_of(second), 99) == ""


# -- baseline ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("test", "days_before", "counts"),
    [("TT", 180, True), ("TT", 181, False), ("PSA", 365, True), ("PSA", 366, False)],
)
def test_how_far_back_a_baseline_may_lie(knowledge, test, days_before, counts):
    patient = on_testosterone(*done([test], 10 + days_before), start=10)
    assert (test not in missing(found(patient, knowledge, RULE))) is counts


@pytest.mark.parametrize(("day", "late"), [(7, False), (8, True), (59, True)])
def test_a_late_baseline_clears_the_item_and_is_called_late(knowledge, day, late):
    patient = on_testosterone(*done(["TT"], 59 - day), start=59)
    finding = found(patient, knowledge, RULE)
    assert "TT" not in missing(finding)
    told = [Line("late_baseline", {"test": "total testosterone", "day": back(59 - day)})] if late else []
    assert [line for line in finding.lines if line.message == "late_baseline"] == told


def test_a_new_start_is_asked_for_the_baseline_up_to_today(knowledge):
    finding = found(chart(drafts=[draft()]), knowledge, "C-T-8", "order-sign")
    assert (missing(finding), finding.indicator) == (BASELINE, "warning")
    old = chart(*done(BASELINE, 181), *done(["PSA"], 365), drafts=[draft()])
    tests = [test for test in BASELINE if test != "PSA"]
    assert missing(found(old, knowledge, "C-T-8", "order-sign")) == tests
    assert result_of(chart(*done(BASELINE, 180), drafts=[draft()]), knowledge, "C-T-8", "order-sign") == "fine"


@pytest.mark.parametrize(
    ("left", "indicator"), [(["CBC"], "warning"), (["PSA"], "warning"), (["TT", "LIPID"], "info")]
)
def test_hematocrit_and_psa_make_it_a_warning(knowledge, left, indicator):
    patient = chart(*done([test for test in BASELINE if test not in left], 5), drafts=[draft()])
    switches = switched(knowledge, calculated_ft_counts=False)
    finding = found(patient, switches, "C-T-8", "order-sign")
    assert (missing(finding), finding.indicator) == (left, indicator)


def test_a_wish_for_a_child_is_asked_for_where_none_is_recorded(knowledge):
    def asked(**parts) -> bool:
        finding = found(chart(drafts=[draft()], **parts), knowledge, "C-T-8", "order-sign")
        return any(line.text.startswith("Fertility") for line in finding.lines)

    assert asked()
    assert not asked(conditions=[condition("fertility_wish")])
    assert asked(gaps=[gap("conditions")])  # no information (C-T-9)


# -- what shows that a test was done -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("results", "left"),
    [
        (["HCT"], ["TT", "FT", "E2", "PSA", "LIPID", "CMP"]),
        (["HGB"], ["TT", "FT", "E2", "CBC", "PSA", "LIPID", "CMP"]),
        (["CHOL", "HDL", "TRIG"], ["TT", "FT", "E2", "CBC", "PSA", "CMP"]),
        (["CHOL", "HDL", "LDL"], YEARLY),
        (["ALT", "CREA", "GLU", "CA"], ["TT", "FT", "E2", "CBC", "PSA", "LIPID"]),
        (["ALT", "CREA", "GLU"], YEARLY),
        (["BIOT"], ["TT", "E2", "CBC", "PSA", "LIPID", "CMP"]),
        (["BIOTPCT"], ["TT", "E2", "CBC", "PSA", "LIPID", "CMP"]),
        (["FTPCT"], YEARLY),
    ],
)
def test_composite_tests(knowledge, results, left):
    patient = on_testosterone(*(measurement(marker, "40", 5) for marker in results), start=365)
    assert missing(found(patient, knowledge, RULE)) == left


@pytest.mark.parametrize(
    ("shbg_ago", "counts", "asked"),
    [(5, True, False), (4, True, True), (5, False, True)],
    ids=["same day", "other day", "switched off"],
)
def test_testosterone_and_shbg_of_one_day_count_as_free_testosterone(knowledge, shbg_ago, counts, asked):
    patient = on_testosterone(*done(["TT"], 5), *done(["SHBG"], shbg_ago), start=365)
    finding = found(patient, switched(knowledge, calculated_ft_counts=counts), RULE)
    assert ("FT" in missing(finding)) is asked


@pytest.mark.parametrize(
    ("fields", "counts"),
    [
        ({"problem": "no_unit"}, True),
        ({"problem": "unknown_unit"}, True),
        ({"problem": "text"}, True),
        ({"problem": "implausible"}, False),
        ({"problem": "future"}, False),
        ({"problem": "panel"}, False),
        ({"problem": "undated", "when": None}, False),
        ({"status": "preliminary"}, False),
        ({"status": "registered"}, False),
        ({"comparator": ">"}, True),
    ],
)
def test_what_counts_as_performed(knowledge, fields, counts):
    patient = on_testosterone(measurement("HCT", "45", 5, **fields), start=100)
    assert ("CBC" not in missing(found(patient, knowledge, RULE))) is counts


@pytest.mark.parametrize(("ago", "told"), [(40, True), (41, False)])
def test_a_preliminary_result_inside_the_window_is_told(knowledge, ago, told):
    """The 3-month window opened 40 days ago."""
    patient = on_testosterone(measurement("HCT", "45", ago, status="preliminary"), start=100)
    due = {item.test: item.preliminary for item in found(patient, knowledge, RULE).due}
    assert due == {"TT": None, "E2": None, "CBC": back(ago) if told else None}


@pytest.mark.parametrize(
    ("first", "counts"), [(date(2026, 10, 1), True), (date(2026, 9, 1), False)], ids=["overlaps", "before"]
)
def test_a_month_counts_if_it_overlaps_the_window(knowledge, first, counts):
    """The 3-month window of a start on 2026-08-15 opened on 2026-10-14."""
    patient = on_testosterone(
        measurement("HCT", "45", when=month(first)), *done(["TT", "E2"], 1), start=date(2026, 8, 15)
    )
    assert (result_of(patient, knowledge, RULE) == "fine") is counts


# -- unknown start -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ago", "word", "overdue"),
    [(364, "fine", None), (365, "finding", False), (395, "finding", False), (396, "finding", True)],
)
def test_an_established_course_is_due_after_365_and_overdue_after_395_days(knowledge, ago, word, overdue):
    ended = outcome(on_testosterone(*done(YEARLY, ago), start=None), knowledge, RULE)
    assert ended.result == word
    if ended.finding:
        assert missing(ended.finding) == YEARLY
        assert {item.overdue for item in ended.finding.due} == {overdue}
        assert ended.finding.indicator == ("warning" if overdue else "info")
        assert "start_unknown" in messages(ended.finding)


def test_never_done_is_overdue(knowledge):
    finding = found(on_testosterone(start=None), knowledge, RULE)
    assert (missing(finding), finding.indicator) == (YEARLY, "warning")
    assert {(item.overdue, item.last) for item in finding.due} == {(True, None)}


# -- PSA by age --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("birth", "switches", "asked"),
    [
        (date(1986, 11, 23), {}, False),  # 39
        (date(1986, 11, 22), {}, True),  # 40 today
        (date(1990, 1, 1), {"psa_min_age": 0}, True),
        (date(1956, 11, 22), {"psa_max_age": 70}, True),
        (date(1955, 11, 22), {"psa_max_age": 70}, False),
        (date(1930, 1, 1), {}, True),
        (When(date(1986, 1, 1), date(1986, 12, 31), "year"), {}, True),  # 39 or 40: not to be missed
    ],
)
def test_the_age_decides_about_psa(knowledge, birth, switches, asked):
    patient = on_testosterone(start=365, birth=birth)
    assert ("PSA" in missing(found(patient, switched(knowledge, **switches), RULE))) is asked


def test_without_a_prostate_no_psa(knowledge):
    patient = on_testosterone(start=365, conditions=[condition("prostate_absent")])
    assert "PSA" not in missing(found(patient, knowledge, RULE))


# -- already ordered (0.4.24) ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("made", "counts"),
    [
        (order("HCT", "HGB", authored=0), True),
        (order("HCT", "HGB", authored=90), True),
        (order("HCT", "HGB", authored=91), False),
        (order("HCT", "HGB", authored=None), False),
        (order("HCT", "HGB", authored=None, drafted=True), True),
        (order("HCT", "HGB", authored=200, drafted=True), True),
        (order("HGB"), False),
        (order(codes=frozenset(["58410-2"])), True),
    ],
    ids=["today", "90 days", "91 days", "undated", "drafted", "drafted long ago", "hemoglobin", "by its code"],
)
def test_what_is_ordered_is_not_asked_for_again(knowledge, made, counts):
    finding = found(on_testosterone(orders=[made], start=130), knowledge, RULE)
    assert ("CBC" not in missing(finding)) is counts
    assert [(test, o) for test, o in finding.ordered] == ([("CBC", made)] if counts else [])
    assert finding.indicator == ("info" if counts else "warning")  # urgency counts what remains


def test_a_panel_brings_its_members_and_nothing_left_is_no_card(knowledge):
    panel = order("ALB", "ALT", "AST", "CA", "CREA", "GLU", "K", "NA")
    assert "CMP" not in missing(found(on_testosterone(orders=[panel], start=365), knowledge, RULE))
    everything = [order("TT"), order("E2"), order("HCT", "HGB")]
    assert result_of(on_testosterone(orders=everything, start=100), knowledge, RULE) == "fine"


# -- what is not known -------------------------------------------------------------------------------


@pytest.mark.parametrize(("complete_since", "known"), [(None, False), (39, False), (40, True), (41, True)])
def test_a_test_whose_list_is_incomplete_is_not_called_missing(knowledge, complete_since, known):
    """The 3-month window opened 40 days ago."""
    kind = "absent" if complete_since is None else "truncated"
    patient = on_testosterone(start=100, gaps=[gap("HCT", kind=kind, complete_since=complete_since)])
    finding = found(patient, knowledge, RULE)
    assert ("CBC" in missing(finding)) is known
    assert ("tests_unknown" in messages(finding)) is not known
    patient = on_testosterone(*done(["TT", "E2"], 1), start=100, gaps=patient.gaps)
    assert result_of(patient, knowledge, RULE) == ("finding" if known else "unknown")


def test_a_result_that_is_there_counts_though_the_list_is_cut(knowledge):
    patient = on_testosterone(*done(MONTH_3, 1), start=100, gaps=[gap("HCT", "TT", "E2")])
    assert result_of(patient, knowledge, RULE) == "fine"


def test_a_course_that_has_ended_asks_for_nothing(knowledge):
    patient = chart(therapies=[course(start=100, end=5)])
    assert result_of(patient, knowledge, RULE) == "not applicable"
