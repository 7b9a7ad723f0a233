"""The evaluation as a whole: scope, failures, suppressions, merges, order, doubts (0.4, 2.3, 4.3)."""

from __future__ import annotations

from typing import Any, get_args

import msgspec
import pytest

from cds_service.chart import Refused
from cds_service.knowledge.model import Note
from cds_service.rules import engine, predicates, quality
from cds_service.rules.outcome import Evaluation, Finding, Result
from tests.rules.conftest import (
    card,
    cards,
    chart,
    condition,
    draft,
    gap,
    judge,
    measurement,
    messages,
    on_testosterone,
    order,
    result_of,
    switched,
)

HOOKS = ["patient-view", "order-select", "order-sign"]
ORDERS = HOOKS[1:]


def ids(evaluation: Evaluation) -> set[str]:
    """Rules that have a card, other than due tests."""
    return {finding.rule.id for finding in evaluation.findings if finding.rule.topic != "MISS"}


def words(evaluation: Evaluation) -> dict[str, str]:
    return {o.rule: o.result for o in evaluation.outcomes}


# -- failures (law 1) --------------------------------------------------------------------------------


def explode(*_: Any) -> Any:
    raise ZeroDivisionError


RICH = on_testosterone(
    measurement("HCT", "53", 5),
    measurement("PSA", "1", 60),
    measurement("PSA", "5", 5),
    measurement("TT", "700", 5),
)


def test_a_rule_that_raises_is_unknown_and_takes_nothing_else_down(knowledge, monkeypatch):
    before = words(judge(RICH, knowledge))
    monkeypatch.setitem(engine.KINDS, "change", explode)
    evaluation = judge(RICH, knowledge)
    failed = {o.rule: o.failed for o in evaluation.outcomes if o.failed}
    assert failed == {"PSA-2": "ZeroDivisionError", "TREND-HCT": "ZeroDivisionError"}
    after = words(evaluation)
    assert {after[rule] for rule in failed} == {"unknown"}
    assert {r: w for r, w in after.items() if r not in failed} == {
        r: w for r, w in before.items() if r not in failed
    }
    told = {doubt.area for doubt in evaluation.doubts if doubt.message == "rule_failed"}
    assert told == set(failed)


@pytest.mark.parametrize("kind", ["schedule", "threshold", "change", "calculated", "precondition", "quality"])
@pytest.mark.parametrize("hook", HOOKS)
def test_any_kind_may_fail(knowledge, monkeypatch, kind, hook):
    if kind == "quality":
        monkeypatch.setattr(quality, "evaluate", explode)
    else:
        monkeypatch.setitem(engine.KINDS, kind, explode)
    evaluation = judge(msgspec.structs.replace(RICH, drafts=(draft(),)), knowledge, hook)
    kinds = {rule.id: rule.kind for rule in knowledge.rules}
    assert {kinds[o.rule] for o in evaluation.outcomes if o.failed} <= {kind}
    assert {o.result for o in evaluation.outcomes if o.failed} <= {"unknown"}


def test_a_condition_that_fails_fails_only_the_rules_that_ask_it(knowledge, monkeypatch):
    """The age is asked for by the protocol of men, not by the hematocrit rules."""
    monkeypatch.setitem(predicates.LEAVES, "age", explode)
    evaluation = judge(RICH, knowledge)
    assert words(evaluation)["HCT-2"] == "finding"
    assert words(evaluation)["PSA-1"] == words(evaluation)["MISS-male_trt"] == "unknown"


def test_a_note_that_fails_fails_only_its_rule(knowledge):
    rules = [
        msgspec.structs.replace(rule, notes=(Note("text", {"no such leaf": 1}),)) if rule.id == "TT-2" else rule
        for rule in knowledge.rules
    ]
    evaluation = judge(RICH, msgspec.structs.replace(knowledge, rules=tuple(rules)))
    assert (words(evaluation)["TT-2"], words(evaluation)["HCT-2"]) == ("unknown", "finding")


# -- suppressions, merges, order ---------------------------------------------------------------------


def test_hct_1_silences_all_bands(knowledge):
    evaluation = judge(on_testosterone(measurement("HCT", "55", 5)), knowledge)
    assert [o.result for o in evaluation.outcomes if o.rule in ("HCT-1", "HCT-2", "HCT-3")] == [
        "finding",
        "suppressed",
        "suppressed",
    ]
    assert {rule for rule in ids(evaluation) if "HCT" in rule} == {"HCT-1"}


def test_hct_2_silences_hct_3(knowledge):
    evaluation = judge(on_testosterone(measurement("HCT", "53", 5)), knowledge)
    assert {rule for rule in ids(evaluation) if "HCT" in rule} == {"HCT-2"}


@pytest.mark.parametrize(("age", "word"), [(395, "not applicable"), (396, "finding")])
def test_a_hemoglobin_stands_in_only_without_a_hematocrit_of_395_days(knowledge, age, word):
    patient = on_testosterone(measurement("HCT", "45", age), measurement("HGB", "18.1", 5), start=600)
    assert result_of(patient, knowledge, "HGB-1") == word


def test_a_suggested_test_stands_once_and_never_if_it_is_ordered(knowledge):
    patient = on_testosterone(measurement("HGB", "18.5", 5), start=100)
    evaluation = judge(patient, knowledge)
    assert (card(evaluation, "HGB-1").tests, "CBC" in card(evaluation, "MISS-male_trt").tests) == ((), True)
    one = chart(measurement("TT", "200", 5), drafts=[draft()])
    assert card(judge(one, knowledge, "order-sign"), "C-T-7").tests == ("TT",)
    ordered = msgspec.structs.replace(one, orders=(order("TT"),))
    assert card(judge(ordered, knowledge, "order-sign"), "C-T-7").tests == ()


def test_critical_before_warning_before_info_and_then_by_the_tables(knowledge):
    patient = on_testosterone(
        measurement("HCT", "55", 5),
        measurement("PSA", "5", 5),
        measurement("TT", "1200", 5),
        measurement("E2", "60", 5),
        measurement("LDL", "200", 5),
        start=100,
    )
    assert cards(judge(patient, knowledge)) == [
        ("HCT-1", "critical"),
        ("PSA-1", "warning"),
        ("TT-1", "warning"),
        ("E2M-1", "info"),
        ("LDL-1", "info"),
    ]


def test_the_order_checks_come_by_the_tables(knowledge):
    patient = chart(
        measurement("HCT", "55", 5),
        measurement("PSA", "5", 5),
        drafts=[draft()],
        conditions=[condition("fertility_wish"), condition("vte"), condition("prostate_cancer")],
    )
    assert [rule for rule, _ in cards(judge(patient, knowledge, "order-sign"))] == [
        "C-T-1",
        "C-T-2a",
        "C-T-3",
        "C-T-6",
        "C-T-7",
        "C-T-9",
        "C-T-8",
    ]


@pytest.mark.parametrize("hook", HOOKS)
def test_every_rule_of_the_hook_ends_once_in_one_of_the_five_words(knowledge, hook):
    for patient in (
        chart(),
        RICH,
        msgspec.structs.replace(RICH, drafts=(draft(),)),
        on_testosterone(gaps=[gap("HCT")]),
    ):
        outcomes = judge(patient, knowledge, hook).outcomes
        assert {o.result for o in outcomes} <= set(get_args(Result))
        active = [rule.id for rule in knowledge.rules if hook in rule.hooks and rule.status == "active"]
        assert sorted(o.rule for o in outcomes) == sorted(active)


def test_the_protocols_that_apply_are_named(knowledge):
    assert judge(on_testosterone(), knowledge).protocols == ("male_trt",)
    assert judge(chart(), knowledge).protocols == ()


# -- two protocols (0.4.5) ---------------------------------------------------------------------------


def twice(knowledge, *, order: int, shift: int):
    """The knowledge with a second protocol like `male_trt`, whose milestones lie `shift` days later."""
    first = next(p for p in knowledge.protocols if p.key == "male_trt")
    plan = first.schedules["seed"]
    moved = tuple(msgspec.structs.replace(m, overdue_after=m.overdue_after + shift) for m in plan.milestones)
    second = msgspec.structs.replace(
        first, key="second", order=order, schedules={"seed": msgspec.structs.replace(plan, milestones=moved)}
    )
    rule = next(r for r in knowledge.rules if r.id == "MISS-male_trt")
    copy = msgspec.structs.replace(rule, id="MISS-second", protocol="second", order=order * 1000)
    return msgspec.structs.replace(
        knowledge, protocols=(*knowledge.protocols, second), rules=(*knowledge.rules, copy)
    )


@pytest.mark.parametrize(
    ("place", "shift", "day", "host"),
    [
        (20, 0, 100, "MISS-male_trt"),  # both due: the first protocol
        (5, 0, 100, "MISS-second"),
        (5, 10, 125, "MISS-male_trt"),  # overdue in male_trt only
        (20, -10, 115, "MISS-second"),
    ],
)
def test_a_test_that_two_protocols_miss_stands_once(knowledge, place, shift, day, host):
    evaluation = judge(on_testosterone(start=day), twice(knowledge, order=place, shift=shift))
    due = [(f.rule.id, [item.test for item in f.due]) for f in evaluation.findings if f.rule.topic == "MISS"]
    assert due == [(host, ["TT", "E2", "CBC"])]
    assert card(evaluation, host).tests == ("TT", "E2", "CBC")


def changed(knowledge, **rules):
    """The knowledge with fields of some rules replaced: `E2M_1={…}`."""
    fields = {name.replace("_", "-"): given for name, given in rules.items()}
    made = tuple(msgspec.structs.replace(rule, **fields.get(rule.id, {})) for rule in knowledge.rules)
    return msgspec.structs.replace(knowledge, rules=made)


@pytest.mark.parametrize(("order", "own"), [(5, True), (20, False)])
def test_a_finding_is_no_line_of_a_card_that_is_not_shown(knowledge, order, own):
    """The second protocol comes first and takes over all tests of the first, or none."""
    linked = changed(twice(knowledge, order=order, shift=0), E2M_1={"line_in": ("MISS-male_trt",)})
    patient = on_testosterone(measurement("E2", "60", 10), start=100)
    told = dict(cards(judge(patient, linked)))
    assert ("E2M-1" in told, "MISS-male_trt" in told) == (own, not own)


def test_a_line_of_a_line_stands_in_its_card(knowledge):
    linked = changed(switched(knowledge, tt_target="seed"), E2M_1={"line_in": ("TT-SEED",)})
    patient = on_testosterone(measurement("TT", "750", 10), measurement("E2", "60", 10), start=100)
    evaluation = judge(patient, linked)
    assert not {"E2M-1", "TT-SEED"} & dict(cards(evaluation)).keys()
    guests = [line.values.get("finding") for line in card(evaluation, "TT-2").lines]
    assert sorted(guest.rule.id for guest in guests if isinstance(guest, Finding)) == ["E2M-1", "TT-SEED"]


def test_a_line_of_a_line_stands_where_that_one_is_read_and_nowhere_else(knowledge):
    linked = changed(
        switched(knowledge, tt_target="seed"),
        E2M_1={"line_in": ("TT-SEED",), "line_only": True},
        TT_SEED={"line_in": ("TT-2", "HCT-3")},
    )
    results = [measurement("TT", "750", 10), measurement("E2", "60", 10), measurement("HCT", "51", 10)]
    evaluation = judge(on_testosterone(*results, start=100), linked)
    guests = {}
    for host in ("TT-2", "HCT-3"):
        told = [line.values.get("finding") for line in card(evaluation, host).lines]
        guests[host] = [finding.rule.id for finding in told if isinstance(finding, Finding)]
    assert guests == {"TT-2": ["TT-SEED", "E2M-1"], "HCT-3": []}


# -- what stayed unknown (0.4.4) ---------------------------------------------------------------------


def told(evaluation: Evaluation) -> set[tuple[str, str]]:
    return {(doubt.message, doubt.area) for doubt in evaluation.doubts}


AREAS = ["patient", "medications", "conditions", "procedures", "orders"]


@pytest.mark.parametrize("area", [*AREAS, "HCT", "PSA", "LH"])
def test_a_gap_is_told_of_a_patient_in_scope(knowledge, area):
    assert ("gap_absent", area) in told(judge(on_testosterone(gaps=[gap(area)]), knowledge))
    if area != "medications":
        assert told(judge(chart(gaps=[gap(area)]), knowledge)) == set()


def test_without_medications_it_is_not_known_whether_anything_is_in_scope(knowledge):
    assert ("gap_absent", "medications") in told(judge(chart(gaps=[gap("medications")]), knowledge))


@pytest.mark.parametrize("area", ["medications", "procedures", "orders"])
def test_a_cut_list_of_medications_or_orders_is_told_whatever_its_age(knowledge, area):
    cut = gap(area, kind="truncated", complete_since=900)
    assert ("gap_truncated", area) in told(judge(on_testosterone(gaps=[cut]), knowledge))


@pytest.mark.parametrize(("complete_since", "open_"), [(394, True), (395, False)])
def test_a_cut_list_of_results_is_told_where_a_rule_looks_further_back(knowledge, complete_since, open_):
    cut = gap("LDL", kind="truncated", complete_since=complete_since)
    assert (("gap_truncated", "LDL") in told(judge(on_testosterone(gaps=[cut]), knowledge))) is open_


def test_a_gap_of_a_marker_that_nobody_needs_is_not_told(knowledge):
    assert told(judge(on_testosterone(gaps=[gap("AMH")]), knowledge)) == set()


def test_an_unreadable_resource_is_told(knowledge):
    refused = Refused("Observation/1", "unreadable", "no number", frozenset(["HCT"]), tell=True)
    assert ("refused", "HCT") in told(judge(on_testosterone(refused=[refused]), knowledge))
    assert told(judge(chart(refused=[refused]), knowledge)) == set()


def test_a_doubt_of_many_rules_is_told_once(knowledge):
    evaluation = judge(on_testosterone(gaps=[gap("HCT")]), knowledge)
    keys = [doubt.key() for doubt in evaluation.doubts]
    assert len(keys) == len(set(keys))


def test_a_doubt_is_a_line_of_the_card_of_its_marker(knowledge):
    evaluation = judge(on_testosterone(measurement("HCT", "55", 5), gaps=[gap("HCT"), gap("PSA")]), knowledge)
    assert "gap_absent" in messages(card(evaluation, "HCT-1"))
    assert told(evaluation) == {("gap_absent", "PSA")}
