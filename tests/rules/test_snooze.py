"""What a user set aside: how long it stays away, what ends that early, and that nothing else is hidden."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import msgspec
import pytest

from cds_service.chart import Chart, Condition, Measurement, Past, Procedure, SetAside
from cds_service.rules.outcome import Evaluation, Finding
from cds_service.rules.snooze import hush
from tests.rules.conftest import (
    TODAY,
    back,
    chart,
    condition,
    course,
    ctx,
    draft,
    judge,
    measurement,
    on_testosterone,
    with_rule,
)

HIGH = measurement("HCT", "51.0", 40)  # HCT-3, info: above 50
RESULT_REASON = "will_monitor"  # 30 days
# Tests of the first three months of testosterone in men, so that no due card disturbs.
DONE = [measurement(key, value, 5) for key, value in (("TT", "500"), ("E2", "25"), ("PSA", "1.0"))]


def aside(on: int | date, reason: str = RESULT_REASON, indicator: str = "info", **fields: Any) -> SetAside:
    """An override so many days ago."""
    return SetAside(back(on), reason, indicator, **fields)


def past(rule: str, *asides: SetAside) -> Past:
    return Past({rule: asides})


def spoken(evaluation: Evaluation) -> set[str]:
    return {finding.rule.id for finding in evaluation.findings}


def told(evaluation: Evaluation, rule: str) -> list[tuple[str, dict]]:
    """The lines of a card that tell of an earlier override."""
    finding = next(finding for finding in evaluation.findings if finding.rule.id == rule)
    return [(line.message, dict(line.values)) for line in finding.lines if "set_aside" in line.message]


# -- how long ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reason", "days"),
    # knowledge/reasons.yaml; a dismissal without a word holds for the rest of the day
    [
        ("done_elsewhere", 90),
        ("result_pending", 14),
        ("will_monitor", 30),
        ("not_appropriate", 180),
        ("patient_declined", 90),
        ("not_now", 14),
        ("", 1),
    ],
)
def test_a_snooze_lasts_as_long_as_its_reason_is_worth(knowledge, reason, days):
    high = measurement("HCT", "51.0", 200)
    patient = on_testosterone(high, start=300)
    last, first = (
        judge(patient, knowledge, past=past("HCT-3", aside(ago, reason, known=(high,)))) for ago in (days - 1, days)
    )
    assert "HCT-3" not in spoken(last)
    [snoozed] = last.snoozed
    assert (snoozed.finding.rule.id, snoozed.by.on, snoozed.until) == (
        "HCT-3",
        back(days - 1),
        TODAY + timedelta(1),
    )
    assert next(o.result for o in last.outcomes if o.rule == "HCT-3") == "snoozed"
    assert "HCT-3" in spoken(first)
    assert first.snoozed == ()


def test_the_rule_may_shorten_it_and_forbid_it(knowledge):
    patient = on_testosterone(HIGH)
    overridden = past("HCT-3", aside(10, known=(HIGH,)))
    assert "HCT-3" not in spoken(judge(patient, knowledge, past=overridden))
    for most, silent in ((11, True), (10, False), (0, False)):
        site = with_rule(knowledge, "HCT-3", snooze_days=most)
        assert ("HCT-3" not in spoken(judge(patient, site, past=overridden))) is silent


def test_a_critical_rule_is_never_silent_unless_it_says_so(knowledge):
    worst = measurement("HCT", "56.0", 5)
    patient = on_testosterone(worst)
    overridden = past("HCT-1", aside(0, indicator="critical", known=(worst,)))
    assert "HCT-1" in spoken(judge(patient, knowledge, past=overridden))
    site = with_rule(knowledge, "HCT-1", snooze_days=2)
    assert "HCT-1" not in spoken(judge(patient, site, past=overridden))


def test_a_card_that_speaks_again_says_when_and_why_it_was_last_set_aside(knowledge):
    patient = on_testosterone(HIGH)
    older, newer = aside(38, "result_pending", known=(HIGH,)), aside(31, known=(HIGH,))
    assert told(judge(patient, knowledge, past=past("HCT-3", newer, older)), "HCT-3") == [
        ("set_aside", {"day": back(31), "reason": "Will monitor"})
    ]
    unsaid = past("HCT-3", aside(2, "", known=(HIGH,)))
    assert told(judge(patient, knowledge, past=unsaid), "HCT-3") == [("set_aside", {"day": back(2), "reason": ""})]


# -- what ends it early ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("newer", "speaks"),
    [
        ("51.1", True),  # worse
        ("51.0", False),
        ("50.6", False),  # still above 50, and better
        (">50.5", True),  # not known to be better
    ],
)
def test_a_new_result_ends_it_if_it_is_worse(knowledge, newer, speaks):
    patient = on_testosterone(HIGH, measurement("HCT", newer, 1))
    evaluation = judge(patient, knowledge, past=past("HCT-3", aside(10, known=(HIGH,))))
    assert ("HCT-3" in spoken(evaluation)) is speaks


def test_a_result_from_before_the_override_that_came_in_later_is_new_too(knowledge):
    """Drawn ten days ago, reported after the override of eight days ago: the user had not seen it."""
    late = measurement("HCT", "51.9", 10)
    evaluation = judge(on_testosterone(HIGH, late), knowledge, past=past("HCT-3", aside(8, known=(HIGH,))))
    assert "HCT-3" in spoken(evaluation)


def test_a_corrected_result_is_another_result(knowledge):
    """What the card rested on is not in the chart any more, so nobody can say that this is no worse."""
    evaluation = judge(on_testosterone(HIGH), knowledge, past=past("HCT-3", aside(8, known=())))
    assert "HCT-3" in spoken(evaluation)


def test_falling_is_worse_where_the_limit_is_a_lower_one(knowledge):
    """TSH-2: TSH below 0.4 under thyroid hormone, 0.1 or more."""
    before = measurement("TSH", "0.30", 30)

    def speaks(value: str) -> bool:
        patient = chart(
            before, measurement("TSH", value, 1), therapies=[course("LEVOTHYROXINE", 400)], sex="female"
        )
        evaluation = judge(patient, knowledge, past=past("TSH-2", aside(5, known=(before,))))
        result = {o.rule: o.result for o in evaluation.outcomes}["TSH-2"]
        assert result in ("finding", "snoozed")
        return result == "finding"

    assert speaks("0.29")
    assert not speaks("0.31")


def test_more_urgent_than_the_card_was_speaks(knowledge):
    """The same result, after the site raised the urgency of the rule."""
    patient = on_testosterone(HIGH)
    overridden = past("HCT-3", aside(5, known=(HIGH,)))
    raised = with_rule(knowledge, "HCT-3", indicator="warning")
    assert "HCT-3" not in spoken(judge(patient, knowledge, past=overridden))
    assert "HCT-3" in spoken(judge(patient, raised, past=overridden))


def test_a_new_diagnosis_ends_it(knowledge):
    patient = on_testosterone(HIGH)
    finding = next(o.finding for o in judge(patient, knowledge).outcomes if o.rule == "HCT-3")
    assert finding is not None
    old, new = condition("PROSTATE_CANCER", onset=900), condition("SLEEP_APNOEA", onset=1)
    resting = msgspec.structs.replace(finding, facts=(old, new))
    for known, speaks in (((HIGH, old), True), ((HIGH, old, new), False)):
        overridden = ctx(patient, knowledge, past=past("HCT-3", aside(5, known=known)))
        assert isinstance(hush(resting, overridden), Finding) is speaks


# -- nothing else is hidden --------------------------------------------------------------------------


def test_other_rules_and_other_patients_are_not_touched(knowledge):
    psa_before, psa = measurement("PSA", "1.0", 90), measurement("PSA", "5.0", 5)
    patient = on_testosterone(HIGH, psa_before, psa, *DONE[:2], start=120)
    everything = spoken(judge(patient, knowledge))
    assert "HCT-3" in everything
    left = spoken(judge(patient, knowledge, past=past("HCT-3", aside(5, known=(HIGH,)))))
    assert left == everything - {"HCT-3"}


def test_the_next_worse_rule_about_the_same_marker_speaks(knowledge):
    risen = measurement("HCT", "52.5", 1)
    evaluation = judge(on_testosterone(HIGH, risen), knowledge, past=past("HCT-3", aside(10, known=(HIGH,))))
    assert "HCT-2" in spoken(evaluation)


def test_the_lesser_word_on_the_same_matter_stays_suppressed(knowledge):
    """HCT-2 (above 52) says it in the place of HCT-3 (above 50): setting it aside does not bring that back."""
    high = measurement("HCT", "52.5", 5)
    evaluation = judge(
        on_testosterone(high), knowledge, past=past("HCT-2", aside(2, indicator="warning", known=(high,)))
    )
    assert not {"HCT-2", "HCT-3"} & spoken(evaluation)


def test_a_line_in_the_card_that_is_set_aside_speaks_by_itself(knowledge):
    """A finding that stands as a line in another rule's card gets its own card when that one is set aside."""
    series = [measurement("HCT", value, day) for value, day in (("51.9", 5), ("50.0", 60), ("48.0", 120))]
    patient = on_testosterone(*series, start=200)
    evaluation = judge(patient, knowledge)
    guest = next(rule for rule in knowledge.rules if rule.id == "TREND-HCT")
    host = next(name for name in guest.line_in if name in spoken(evaluation))
    assert guest.id not in spoken(evaluation)
    evaluation = judge(patient, knowledge, past=past(host, aside(1, known=tuple(series))))
    assert host not in spoken(evaluation)
    assert guest.id in spoken(evaluation)


# -- tests that are due ------------------------------------------------------------------------------

DUE = "MISS-male_trt"


def due(evaluation: Evaluation) -> tuple[list[str], str] | None:
    """The tests of the due card, and its urgency; None if there is no card."""
    for finding in evaluation.findings:
        if finding.rule.id == DUE:
            return [item.test for item in finding.due], finding.indicator
    return None


def three_months(*results: Measurement) -> Chart:
    return on_testosterone(*results, start=90)


def test_a_due_card_stays_away_with_the_tests_that_stood_on_it(knowledge):
    patient = three_months()
    card = due(judge(patient, knowledge))
    assert card is not None
    named, indicator = card
    evaluation = judge(
        patient, knowledge, past=past(DUE, aside(5, "patient_declined", indicator, tests=frozenset(named)))
    )
    assert due(evaluation) is None
    assert DUE in {snoozed.finding.rule.id for snoozed in evaluation.snoozed}


def test_a_test_that_was_not_on_the_card_speaks_and_the_others_are_named(knowledge):
    patient = three_months()
    named = due(judge(patient, knowledge))
    assert named is not None
    tests, indicator = named
    assert len(tests) >= 2
    newly, *before = tests
    evaluation = judge(
        patient, knowledge, past=past(DUE, aside(5, "patient_declined", indicator, tests=frozenset(before)))
    )
    card = due(evaluation)
    assert card is not None
    assert card[0] == [newly]
    names = [knowledge.tests[test].name for test in before]
    assert told(evaluation, DUE) == [
        ("tests_set_aside", {"tests": names, "day": back(5), "reason": "Patient declined"})
    ]


def test_overrides_of_several_cards_add_up(knowledge):
    patient = three_months()
    card = due(judge(patient, knowledge))
    assert card is not None
    tests, indicator = card
    asides = [aside(day, "not_now", indicator, tests=frozenset([test])) for day, test in enumerate(tests, 1)]
    assert due(judge(patient, knowledge, past=past(DUE, *asides))) is None


def test_a_safety_test_that_has_become_overdue_speaks(knowledge):
    """Set aside while they were due (info); since then the blood count became overdue, a warning (3.1)."""
    patient = on_testosterone(start=130)
    card = due(judge(patient, knowledge))
    assert card is not None
    tests, indicator = card
    assert indicator == "warning"
    held = past(DUE, aside(5, "patient_declined", "info", tests=frozenset(tests)))
    again = due(judge(patient, knowledge, past=held))
    assert again == (["CBC"], "warning")


# -- accepted suggestions ----------------------------------------------------------------------------


@pytest.mark.parametrize(("days", "counts"), [(0, True), (30, True), (31, False)])
def test_an_accepted_test_counts_as_ordered_for_thirty_days(knowledge, days, counts):
    patient = three_months()
    card = due(judge(patient, knowledge))
    assert card is not None
    accepted, *rest = card[0]
    evaluation = judge(patient, knowledge, past=Past(accepted={accepted: back(days)}))
    after = due(evaluation)
    assert after is not None
    assert after[0] == (rest if counts else card[0])
    finding = next(finding for finding in evaluation.findings if finding.rule.id == DUE)
    orders = [(test, order.accepted, order.authored and order.authored.day) for test, order in finding.ordered]
    assert orders == ([(accepted, True, back(days))] if counts else [])
    assert accepted not in finding.tests if counts else accepted in finding.tests


def test_all_tests_accepted_no_card(knowledge):
    patient = three_months()
    card = due(judge(patient, knowledge))
    assert card is not None
    assert due(judge(patient, knowledge, past=Past(accepted=dict.fromkeys(card[0], TODAY)))) is None


def test_an_earlier_result_without_a_value_cannot_be_the_worse_one(knowledge):
    """The card rested on a text; a hematocrit of 53 % is another matter."""
    text = measurement("HCT", None, 10, problem="text")
    patient = on_testosterone(measurement("HCT", "53", 5))
    overridden = past("HCT-2", aside(3, indicator="warning", known=(text,)))
    assert "HCT-2" in spoken(judge(patient, knowledge, past=overridden))
    same = past("HCT-2", aside(3, indicator="warning", known=patient.measurements["HCT"]))
    assert "HCT-2" not in spoken(judge(patient, knowledge, past=same))


# -- silent rules ------------------------------------------------------------------------------------


def test_a_silent_rule_is_judged_and_neither_shown_nor_allowed_to_hide_another(knowledge):
    """HCT-2 suppresses HCT-3; silent, it must not: the user would see neither."""
    patient = on_testosterone(measurement("HCT", "52.5", 5))
    assert {"HCT-2", "HCT-3"} & spoken(judge(patient, knowledge)) == {"HCT-2"}
    evaluation = judge(patient, knowledge, silent=frozenset(["HCT-2"]))
    assert {"HCT-2", "HCT-3"} & spoken(evaluation) == {"HCT-3"}
    assert [finding.rule.id for finding in evaluation.silent] == ["HCT-2"]
    assert next(o.result for o in evaluation.outcomes if o.rule == "HCT-2") == "silent"


def test_a_silent_due_card_leaves_its_tests_to_others_and_its_doubts_untold(knowledge):
    patient = on_testosterone(start=90)
    silent = judge(patient, knowledge, silent=frozenset([DUE]))
    assert due(silent) is None
    assert [finding.rule.id for finding in silent.silent] == [DUE]
    without = judge(patient, with_rule(knowledge, DUE, status="draft"))
    assert (silent.findings, silent.doubts) == (without.findings, without.doubts)


def test_a_silent_rule_is_no_line_in_another_card(knowledge):
    series = [measurement("HCT", value, day) for value, day in (("51.9", 5), ("50.0", 60), ("48.0", 120))]
    evaluation = judge(on_testosterone(*series, start=200), knowledge, silent=frozenset(["TREND-HCT"]))
    without = judge(on_testosterone(*series, start=200), with_rule(knowledge, "TREND-HCT", status="draft"))
    assert evaluation.findings == without.findings
    assert [finding.rule.id for finding in evaluation.silent] == ["TREND-HCT"]


def test_nothing_remembered_and_nothing_silent_changes_nothing(knowledge):
    patient = on_testosterone(HIGH, *DONE)
    assert judge(patient, knowledge) == judge(patient, knowledge, past=Past(), silent=frozenset())


def test_order_hooks_know_snoozes_too(knowledge):
    """C-T-1: hematocrit above the limit before a start of testosterone."""
    high = measurement("HCT", "51.0", 5)
    patient = chart(high, drafts=[draft()])
    rules = [f.rule for f in judge(patient, knowledge, "order-select").findings if f.rule.kind == "precondition"]
    quiet = [rule for rule in rules if rule.indicator != "critical"]
    for rule in quiet:
        finding = next(f for f in judge(patient, knowledge, "order-select").findings if f.rule is rule)
        known = tuple(
            f for f in (finding.result, *finding.facts) if isinstance(f, Measurement | Condition | Procedure)
        )
        overridden = past(rule.id, aside(1, rule.reasons[0], finding.indicator, known=known))
        assert rule.id not in spoken(judge(patient, knowledge, "order-select", past=overridden))
    assert quiet


# -- what a worse result is compared with ------------------------------------------------------------


@pytest.mark.parametrize(("low", "speaks"), [("299", True), ("300", False), ("301", False)])
def test_a_later_low_result_is_worse_only_if_it_is_lower(knowledge, low, speaks):
    """TT-4: below 350 ng/dL from day 60. Set aside with 300 ng/dL."""
    before = measurement("TT", "300", 40)
    patient = on_testosterone(before, measurement("TT", low, 3), start=200)
    evaluation = judge(patient, knowledge, past=past("TT-4", aside(5, known=(before,))))
    assert ("TT-4" in spoken(evaluation)) is speaks


def test_a_result_is_compared_with_the_earlier_one_of_its_own_marker(knowledge):
    """Beside the hematocrit the card rested on an albumin and a diagnosis; 50.5 after 51.0 is no worse."""
    beside = (condition("liver_disease"), measurement("ALB", "4.0", 40))
    patient = on_testosterone(HIGH, measurement("HCT", "50.5", 3), *DONE)
    held = past("HCT-3", aside(5, known=(*beside, HIGH)))
    assert "HCT-3" not in spoken(judge(patient, knowledge, past=held))


def test_tests_that_are_set_aside_say_by_which_override_and_until_when(knowledge):
    """`patient_declined` is worth 90 days; the blood count was set aside later, for 14 days."""
    patient = on_testosterone(start=100)
    longer = aside(5, "patient_declined", "warning", tests=frozenset(["TT", "E2"]))
    shorter = aside(4, "not_now", "warning", tests=frozenset(["CBC"]))
    evaluation = judge(patient, knowledge, past=past(DUE, shorter, longer))
    (snoozed,) = [one for one in evaluation.snoozed if one.finding.rule.id == DUE]
    assert (snoozed.by, snoozed.until) == (shorter, back(4) + timedelta(days=14))


def test_a_due_card_whose_override_has_run_out_says_when_it_was_set_aside(knowledge):
    """`patient_declined` is worth 90 days."""
    patient = on_testosterone(start=120)
    held = past(DUE, aside(90, "patient_declined", "warning", tests=frozenset(["TT", "E2", "CBC"])))
    evaluation = judge(patient, knowledge, past=held)
    assert due(evaluation) == due(judge(patient, knowledge))
    reason = knowledge.reasons["patient_declined"].display
    assert told(evaluation, DUE) == [("set_aside", {"day": back(90), "reason": reason})]


@pytest.mark.parametrize("new", [True, False])
def test_a_finding_without_a_result_speaks_once_it_rests_on_a_new_diagnosis(knowledge, new):
    known, more = condition("liver_disease"), condition("prostate_absent")
    rule = next(rule for rule in knowledge.rules if rule.id == "HCT-3")
    finding = Finding(rule, "info", facts=(known, more) if new else (known,))
    seen = ctx(chart(), knowledge, past=past("HCT-3", aside(5, known=(known,))))
    assert isinstance(hush(finding, seen), Finding) is new
