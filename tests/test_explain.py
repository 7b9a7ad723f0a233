"""`explain`: why this card, and why no card. The questions are those that a reviewer asks of an answer."""

from __future__ import annotations

import json
from datetime import date
from decimal import Decimal
from functools import cache
from io import StringIO
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest
from rich.console import Console

from cds_service.chart import Measurement, When
from cds_service.explain import ExplainError, against, explain_request
from cds_service.explain_facts import conversion
from cds_service.explain_text import print_explanation
from cds_service.knowledge.loader import load
from cds_service.knowledge.model import Change, Knowledge
from cds_service.knowledge.units import to_canonical
from cds_service.scenarios.facts import Case
from cds_service.scenarios.reading import read
from cds_service.scenarios.run import Runner
from tests.rules.conftest import TODAY, course, ctx, measurement, on_testosterone

UTC = ZoneInfo("UTC")
DAY = date(2026, 11, 22)

CASES = """
about: What the tests of `explain` look at.
as_of: 2026-11-22
drugs: {testosterone cypionate: 835840, spironolactone: 313096}
presets:
  man:
    patient: {gender: male, born: 1980-05-01}
    given: {therapies: [{drug: testosterone cypionate, start: -200d, dose: 100 mg every 7 d}]}
cases:
  - {case: high, id: high, preset: man, given: {results: [{HCT: 0.552 L/L, on: -10d}]}, expect: {cards: []}}
  - {case: below, id: below, preset: man, given: {results: [{HCT: 53.9 %, on: -10d}]}, expect: {cards: []}}
  - {case: old, id: old, preset: man, given: {results: [{HCT: 56.0 %, on: -396d}]}, expect: {cards: []}}
  - {case: bare, id: bare, preset: man, given: {results: [{HCT: "55.2", on: -10d}]}, expect: {cards: []}}
  - case: early
    id: early
    patient: {gender: male, born: 1980-05-01}
    given:
      therapies: [{drug: testosterone cypionate, start: -100d}]
      results: [{TT: 500 ng/dL, E2: 25.0 pg/mL, on: -20d}, {HCT: 45.0 %, on: -60d}]
      orders: [{test: CBC, on: -1d}]
    expect: {cards: []}
  - case: ended
    id: ended
    patient: {gender: male, born: 1980-05-01}
    given:
      therapies: [{drug: testosterone cypionate, start: -300d, end: -30d}]
      results: [{HCT: 56.0 %, on: -10d}]
    expect: {cards: []}
  - case: error
    id: error
    preset: man
    given: {results: [{HCT: 56.0 %, on: -10d, status: entered-in-error}]}
    expect: {cards: []}
  - {case: gap, id: gap, preset: man, prefetch: {outcome: [HCT]}, expect: {cards: []}}
  - {case: minor, id: minor, preset: man, patient: {born: 2010-05-01}, expect: {cards: []}}
  - {case: dead, id: dead, preset: man, patient: {deceased: true}, expect: {cards: []}}
  - case: sexless
    id: sexless
    preset: man
    patient: {gender: unknown}
    given: {results: [{PSA: 5.00 ng/mL, on: -10d}]}
    expect: {cards: []}
"""


@cache
def knowledge() -> Knowledge:
    return load()


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Case]:
    path = tmp_path_factory.mktemp("explain") / "cases.yaml"
    path.write_text(CASES, encoding="utf-8")
    return {case.id: case for case in read(path)}


@pytest.fixture(scope="module")
def explained(cases: dict[str, Case]) -> Any:
    @cache
    def once(name: str) -> dict[str, Any]:
        return explain_request(request_of(cases[name]), knowledge(), as_of=DAY, zone=UTC)

    return once


def request_of(case: Case) -> bytes:
    return Runner(knowledge()).body(case)


def rule_in(explanation: dict[str, Any], name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(rule for rule in explanation["rules"] if rule["id"] == name)
    return found


# -- why this card -------------------------------------------------------------------------------------


def test_a_finding_with_value_unit_date_source_and_conversion(explained) -> None:
    told = explained("high")
    assert told["answer"]["cards"][0]["topic"] == "HCT-1"
    rule = rule_in(told, "HCT-1")
    assert (rule["result"], rule["card"]) == ("finding", "card HCT-1")
    (one,) = rule["compared"]
    assert (one["value"], one["operator"], one["limit"], one["passed"]) == ("55.2 %", ">", "54.0 %", True)
    assert one["limit_field"] == "above"
    result = one["result"]
    assert result["reported"] == "0.552 L/L"
    assert result["conversion"] == "0.552 L/L x 100 = 55.2 %"
    assert result["date"] == "2026-11-12"
    assert result["source"] == "Observation/high-hct-1"


def test_what_a_finding_silences(explained) -> None:
    rule = rule_in(explained("high"), "HCT-2")
    assert rule["result"] == "finding"
    assert rule["reason"].endswith("silenced by HCT-1")
    assert "card" not in rule
    assert [one["limit"] for one in rule["compared"]] == ["52.0 %"]  # none of those of the rule before


def test_the_therapy_on_which_it_rests(explained) -> None:
    (therapy,) = [fact for fact in rule_in(explained("high"), "HCT-1")["facts"] if fact["kind"] == "therapy"]
    assert (therapy["agent"], therapy["start"], therapy["current"]) == (
        "testosterone cypionate",
        "2026-05-06",
        True,
    )
    assert therapy["recognised"] == "RxNorm product 835840"
    assert therapy["sources"] == ["MedicationRequest/high-drug-1"]


def test_an_inferred_unit_is_told(explained) -> None:
    (one,) = rule_in(explained("bare"), "HCT-1")["compared"]
    assert one["result"]["conversion"] == "reported without a unit, read as 55.2 %"


@pytest.mark.parametrize(
    ("marker", "reported", "unit", "text"),
    [
        ("HCT", "45.0", "%", ""),
        ("HCT", "54.04", "%", "rounded to 54.0"),
        ("HCT", "0.5405", "L/L", "0.5405 L/L x 100 = 54.05 %, rounded to 54.1"),
        ("TT", "10", "nmol/L", "10 nmol/L x 28.842 = 288.42 ng/dL, rounded to 288"),
        ("A1C", "48", "mmol/mol", "48 mmol/mol x 0.09148 + 2.152 = 6.54304 %, rounded to 6.5"),
    ],
)
def test_how_a_value_was_converted(marker: str, reported: str, unit: str, text: str) -> None:
    known = knowledge().markers[marker]
    value = to_canonical(known, Decimal(reported), unit)
    one = Measurement(
        marker, value, When(DAY, DAY), "final", "Observation/1", "code", reported=reported, reported_unit=unit
    )
    assert conversion(one, knowledge()) == text


# -- why no card ---------------------------------------------------------------------------------------


def test_below_the_limit(explained) -> None:
    rule = rule_in(explained("below"), "HCT-1")
    assert rule["result"] == "fine"
    assert [(one["value"], one["passed"]) for one in rule["compared"]] == [("53.9 %", False)]


def test_too_old(explained) -> None:
    rule = rule_in(explained("old"), "HCT-1")
    assert (rule["result"], rule["reason"]) == ("not applicable", "no comparable result")


def test_the_therapy_has_ended(explained) -> None:
    told = explained("ended")
    rule = rule_in(told, "HCT-1")
    assert rule["result"] == "not applicable"
    assert rule["because"] == ["it is not so: testosterone is current"]
    (therapy,) = told["chart"]["therapies"]
    assert (therapy["current"], therapy["end"]) == (False, "2026-10-23")


def test_the_result_was_not_used(explained) -> None:
    told = explained("error")
    (refused,) = told["resources"]["refused"]
    assert refused["source"] == "Observation/error-hct-1"
    assert (refused["reason"], refused["detail"]) == ("status", "its status is entered-in-error")
    assert told["resources"]["came_in"] == told["resources"]["used"] + 1


def test_the_ehr_did_not_send_it(explained) -> None:
    told = explained("gap")
    (gap,) = told["gaps"]
    assert gap["kind"] == "outcome"
    assert "HCT" in gap["covers"]
    rule = rule_in(told, "HCT-1")
    assert rule["result"] == "unknown"
    assert any("Hematocrit" in text for text in rule["unknown"])


def test_the_other_hook(explained) -> None:
    rule = rule_in(explained("high"), "C-T-1")
    assert rule["result"] == "not applicable"
    assert rule["reason"] == "runs in order-select, order-sign, not in patient-view"


def test_a_minor(explained) -> None:
    rule = rule_in(explained("minor"), "HCT-1")
    assert (rule["result"], rule["reason"]) == ("not applicable", "under 18 years: no rules for minors")


def test_the_patient_has_died(explained) -> None:
    told = explained("dead")
    assert told["answer"] == {"status": 200, "cards": []}
    assert rule_in(told, "HCT-1")["reason"] == "the patient is deceased: nothing is judged"


def test_the_sex_is_not_known(explained) -> None:
    told = explained("sexless")
    assert told["patient"]["sex"] == "not known"
    assert rule_in(told, "PSA-1")["reason"] == "sex not known"


def test_the_site_has_switched_it_off(cases: dict[str, Case]) -> None:
    change = Change("rule HCT-3: status", "active", "retired", "Committee", "too many", date(2027, 1, 1), "x:1")
    rules = tuple(
        msgspec.structs.replace(rule, status="retired") if rule.id == "HCT-3" else rule
        for rule in knowledge().rules
    )
    site = msgspec.structs.replace(knowledge(), rules=rules, changes=(change,))
    rule = rule_in(explain_request(request_of(cases["high"]), site, as_of=DAY, zone=UTC), "HCT-3")
    assert rule["result"] == "not applicable"
    assert rule["reason"] == "the rule is retired by Committee until 2027-01-01: too many"


def test_every_rule_is_told_with_one_of_four_words(explained) -> None:
    told = explained("high")
    assert [rule["id"] for rule in told["rules"]] == [rule.id for rule in knowledge().rules]
    assert {rule["result"] for rule in told["rules"]} <= {"finding", "fine", "unknown", "not applicable"}
    assert all(rule["reason"] for rule in told["rules"])


# -- the arithmetic of a schedule ----------------------------------------------------------------------

# Day 100 of the course: the 3-month milestone is open (day 60 to 149, meant for day 90, overdue from day 121).
# TT and E2 of day 80 count. The hematocrit of day 40 does not, and a blood count was ordered yesterday.


def test_a_schedule_day_by_day(explained) -> None:
    schedule = rule_in(explained("early"), "MISS-male_trt")["schedule"]
    assert (schedule["start"], schedule["day"], schedule["milestone"]) == ("2026-08-14", 100, "3-month")
    assert (schedule["opens"], schedule["target"], schedule["overdue_from"]) == (
        "2026-10-13",
        "2026-11-12",
        "2026-12-13",
    )
    states = {one["test"]: (one["state"], one["day"], one["order"]) for one in schedule["tests"]}
    assert states == {
        "TT": ("done", "2026-11-02", ""),
        "E2": ("done", "2026-11-02", ""),
        "CBC": ("ordered", "", "ServiceRequest/early-order-1"),
    }


def test_when_the_next_test_is_due(explained) -> None:
    # The 6-month milestone is meant for day 180: 2026-08-14 + 180 days.
    assert rule_in(explained("early"), "MISS-male_trt")["next_due"] == "2027-02-10"


def test_due_and_overdue_and_the_last_result(explained) -> None:
    schedule = rule_in(explained("old"), "MISS-male_trt")["schedule"]
    states = {one["test"]: (one["state"], one["day"]) for one in schedule["tests"]}
    assert states["CBC"] == ("due", "2025-10-22")
    assert states["PSA"] == ("due", "")


# -- the conditions that decided -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tree", "reasons"),
    [
        (None, []),
        ({"therapy": {"key": "TESTOSTERONE"}}, []),
        ({"therapy": {"key": "HCG"}}, ["it is not so: hCG is current"]),
        ({"not": {"sex": "male"}}, ["it is so: sex is male"]),
        ({"sex": "female", "age": {"min": "18"}}, ["it is not so: sex is female"]),
        ({"all": [{"sex": "male"}, {"age": {"min": "60"}}]}, ["it is not so: age is at least 60"]),
        (
            {"any": [{"sex": "female"}, {"age": {"min": "60"}}]},
            ["it is not so: sex is female", "it is not so: age is at least 60"],
        ),
        ({"certain": {"sex": "female"}}, ["it is not so: sex is female"]),
    ],
)
def test_what_speaks_against_a_condition(tree: Any, reasons: list[str]) -> None:
    assert against(tree, ctx(on_testosterone(), knowledge())) == reasons


def test_what_speaks_against_a_protocol_is_its_population() -> None:
    woman = on_testosterone(sex="female")
    (reason,) = against({"protocol": "male_trt"}, ctx(woman, knowledge()))
    assert reason == "testosterone therapy in men: it is not so: sex is male"


# -- a trace changes nothing ---------------------------------------------------------------------------


def test_a_traced_evaluation_says_the_same() -> None:
    from cds_service.rules.engine import evaluate

    chart = on_testosterone(measurement("HCT", "55.0", 10), therapies=[course("FIVE_ARI", 400)])
    plain = evaluate(chart, knowledge(), as_of=TODAY, hook="patient-view")
    traced = evaluate(chart, knowledge(), as_of=TODAY, hook="patient-view", traced=True)
    assert all(outcome.trace == () for outcome in plain.outcomes)
    assert any(outcome.trace for outcome in traced.outcomes)
    bare = tuple(msgspec.structs.replace(outcome, trace=()) for outcome in traced.outcomes)
    assert msgspec.structs.replace(traced, outcomes=bare) == plain


def test_the_same_request_is_explained_in_the_same_words(explained, cases: dict[str, Case]) -> None:
    assert explain_request(request_of(cases["high"]), knowledge(), as_of=DAY, zone=UTC) == explained("high")


def test_everything_fits_into_json(explained) -> None:
    for name in ("high", "early", "gap", "dead"):
        assert json.loads(msgspec.json.encode(explained(name))) == explained(name)


# -- what is no request --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"{", "expected a hook request as JSON"),
        (b"[]", "expected a hook request as JSON"),
        (b'{"hook": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "nested too deeply"),
        (b"{}", "hook: expected one of patient-view"),
        (b'{"hook": "appointment-book"}', "not 'appointment-book'"),
        (b'{"hook": "patient-view"}', "hookInstance: missing"),
    ],
)
def test_a_file_that_is_no_request(body: bytes, expected: str) -> None:
    with pytest.raises(ExplainError, match=expected):
        explain_request(body, knowledge(), as_of=DAY, zone=UTC)


def test_a_request_that_the_service_would_refuse(cases: dict[str, Case]) -> None:
    case = msgspec.structs.replace(
        cases["high"], prefetch=msgspec.convert({"omit": ["everything"]}, type(cases["high"].prefetch))
    )
    told = explain_request(request_of(case), knowledge(), as_of=DAY, zone=UTC)
    assert told["answer"]["status"] == 412
    assert told["answer"]["problems"]


# -- for people ----------------------------------------------------------------------------------------


def printed(explanation: dict[str, Any]) -> str:
    out = StringIO()
    print_explanation(explanation, Console(file=out, width=200))
    return out.getvalue()


def test_nothing_in_a_chart_writes_to_the_terminal(cases: dict[str, Case]) -> None:
    attack = "mg\x1b]0;title\x07\x1b[31m\x9b2J\r\n\u202e\u2028[red]"
    request = json.loads(request_of(cases["high"]))
    results = [
        entry["resource"]
        for key, bundle in request["prefetch"].items()
        if key.startswith("labs")
        for entry in bundle.get("entry", [])
    ]
    for result in results:
        result["valueQuantity"] = {"value": 5, "unit": attack}
    text = printed(explain_request(json.dumps(request).encode(), knowledge(), as_of=DAY, zone=UTC))
    assert "5 mg" in text
    assert "[red]" in text
    assert all(character.isprintable() for character in text.replace("\n", ""))


def test_the_text_answers_why_this_card(explained) -> None:
    text = printed(explained("high"))
    for part in (
        "patient-view on 2026-11-22: Patient/high, male (recorded gender), 46 years",
        "CRITICAL HCT-1:",
        "HCT 55.2 % > 54.0 %? yes; hematocrit 55.2 % of 2026-11-12 [0.552 L/L x 100 = 55.2 %]",
        "silenced by HCT-1",
        "Rules that do not apply here",
    ):
        assert part in text


def test_the_text_answers_why_no_card(explained) -> None:
    text = printed(explained("early"))
    for part in (
        "schedule seed: day 100 since 2026-08-14; 3-month milestone",
        "a result counts from 2026-10-13; meant for 2026-11-12, overdue from 2026-12-13",
        "total testosterone: done on 2026-11-02",
        "CBC (with hematocrit): ordered (ServiceRequest/early-order-1)",
        "next due: 2027-02-10",
    ):
        assert part in text


def test_the_text_tells_what_was_not_used(explained) -> None:
    assert "Observation/error-hct-1: not used, its status is entered-in-error (status)" in printed(
        explained("error")
    )
    assert "gap: labs1 (outcome" in printed(explained("gap"))


def test_every_explanation_can_be_printed(explained, cases: dict[str, Case]) -> None:
    for name in cases:
        assert "Rules that" in printed(explained(name))
