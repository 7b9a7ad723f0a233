"""Results at the order of testosterone: limits of a new start, and the diagnosis (4.4: C-T-2, C-T-3, C-T-7)."""

from __future__ import annotations

import pytest

from tests.rules.conftest import (
    card,
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
    outcome,
    result_of,
    switched,
    with_site_codes,
)

SIGN = "order-sign"


def new_start(*results, **parts):
    """A testosterone order for a man who takes none."""
    return chart(*results, drafts=[draft()], **parts)


# -- limits of a new start ---------------------------------------------------------------------------

LIMITS = [
    ("C-T-2a", "HCT", [("54.0", False), ("54.1", True)]),
    ("C-T-2b", "HCT", [("47.9", False), ("48.0", False), ("48.1", True), ("54.0", True)]),
    ("C-T-3", "PSA", [("4.00", False), ("4.01", True)]),
]


@pytest.mark.parametrize(("rule", "marker", "value", "speaks"), [(r, m, *p) for r, m, ps in LIMITS for p in ps])
def test_each_limit_of_a_new_start(knowledge, rule, marker, value, speaks):
    ended = outcome(new_start(measurement(marker, value, 10)), knowledge, rule, SIGN)
    assert (ended.finding is not None) is speaks


@pytest.mark.parametrize(("rule", "marker"), [("C-T-2a", "HCT"), ("C-T-2b", "HCT"), ("C-T-3", "PSA")])
def test_a_missing_list_leaves_the_limit_unknown(knowledge, rule, marker):
    assert result_of(new_start(gaps=[gap(marker)]), knowledge, rule, SIGN) == "unknown"


@pytest.mark.parametrize(("ago", "word"), [(395, "finding"), (396, "not applicable")])
def test_the_hematocrit_before_a_start_is_of_395_days(knowledge, ago, word):
    assert result_of(new_start(measurement("HCT", "55", ago)), knowledge, "C-T-2a", SIGN) == word


def test_a_site_at_high_altitude_starts_up_to_50(knowledge):
    high = switched(knowledge, high_altitude=True)
    words = [result_of(new_start(measurement("HCT", v, 10)), high, "C-T-2b", SIGN) for v in ("50.0", "50.1")]
    assert words == ["fine", "finding"]


def test_above_54_is_one_card(knowledge):
    evaluation = judge(new_start(measurement("HCT", "54.1", 10)), knowledge, SIGN)
    assert [pair for pair in cards(evaluation) if pair[0].startswith("C-T-2")] == [("C-T-2a", "critical")]


@pytest.mark.parametrize(
    ("value", "high_risk", "general"),
    [
        ("3.00", "fine", "fine"),
        ("3.01", "finding", "fine"),
        ("4.00", "finding", "fine"),
        ("4.01", "suppressed", "finding"),
    ],
)
def test_high_risk_lowers_the_limit_where_the_site_says_who_is_at_risk(knowledge, value, high_risk, general):
    patient = new_start(measurement("PSA", value, 10), conditions=[condition("prostate_cancer_high_risk")])
    told = {
        o.rule: o.result
        for o in judge(patient, with_site_codes(knowledge, "prostate_cancer_high_risk"), SIGN).outcomes
    }
    assert (told["PSA-3"], told["C-T-3"]) == (high_risk, general)
    assert result_of(patient, knowledge, "PSA-3", SIGN) == "not applicable"


def test_psa_before_a_start_is_doubled_on_the_drug_too(knowledge):
    drug = course("FIVE_ARI", start=400, form="oral")
    finding = found(new_start(measurement("PSA", "2.10", 10), therapies=[drug]), knowledge, "C-T-3", SIGN)
    assert str(finding.value) == "4.20"


# -- C-T-7: the diagnosis ----------------------------------------------------------------------------


def samples(*pairs, **fields):
    """Testosterone results: (days before today, hour as written)."""
    return [measurement("TT", "200", ago, time=hour, **fields) for ago, hour in pairs]


@pytest.mark.parametrize(
    ("results", "word"),
    [
        ([], "finding"),
        (samples((10, "")), "finding"),
        (samples((10, "08:00"), (10, "09:00")), "finding"),  # one day
        (samples((10, ""), (20, "")), "fine"),
        (samples((10, ""), (365, "")), "fine"),
        (samples((10, ""), (366, "")), "finding"),
        (samples((10, ""), (20, ""), problem="no_unit"), "fine"),  # performed
        (samples((10, ""), (20, ""), problem="implausible"), "finding"),
        (samples((10, ""), (20, ""), status="preliminary"), "finding"),
    ],
)
def test_two_results_of_different_days_within_365_days(knowledge, results, word):
    assert result_of(new_start(*results), knowledge, "C-T-7", SIGN) == word
    if word == "finding":
        assert found(new_start(*results), knowledge, "C-T-7", SIGN).indicator == "warning"


@pytest.mark.parametrize(
    ("complete_since", "word"), [(None, "unknown"), (364, "unknown"), (365, "finding"), (366, "finding")]
)
def test_a_cut_list_may_hide_the_second_result(knowledge, complete_since, word):
    kind = "absent" if complete_since is None else "truncated"
    patient = new_start(*samples((10, "")), gaps=[gap("TT", kind=kind, complete_since=complete_since)])
    assert result_of(patient, knowledge, "C-T-7", SIGN) == word


@pytest.mark.parametrize(
    ("hour", "word"),
    [
        ("06:59", "finding"),
        ("07:00", "fine"),
        ("09:30", "fine"),
        ("11:00", "fine"),
        ("11:01", "finding"),
        ("", "fine"),
    ],
)
@pytest.mark.parametrize("other", ["08:00", ""])
def test_the_hour_as_written_lies_from_7_to_11(knowledge, hour, word, other):
    patient = new_start(*samples((10, hour), (20, other)))
    assert result_of(patient, knowledge, "C-T-7b", SIGN) == word


def test_one_result_alone_says_nothing_about_the_hour(knowledge):
    assert result_of(new_start(*samples((10, "15:00"))), knowledge, "C-T-7b", SIGN) == "fine"


@pytest.mark.parametrize(
    ("values", "switches", "word"),
    [
        (("264", "264"), {}, "finding"),
        (("263", "300"), {}, "fine"),
        (("300", "263"), {}, "fine"),
        (("263.5", "264"), {}, "finding"),  # shown as 264
        (("299", "310"), {"tt_lower_limit": 300}, "fine"),
        (("300", "310"), {"tt_lower_limit": 300}, "finding"),
        ((">300", "310"), {}, "finding"),
        ((">200", "310"), {}, "unknown"),
        ((">200", "200"), {}, "fine"),
        (("<200", "310"), {}, "fine"),
        ((None, "310"), {}, "unknown"),
        ((None, "200"), {}, "fine"),
    ],
)
def test_both_results_at_or_above_the_limit_do_not_meet_the_criterion(knowledge, values, switches, word):
    pair = [
        measurement("TT", value, ago, problem="" if value else "no_unit")
        for value, ago in zip(values, (10, 20), strict=True)
    ]
    assert result_of(new_start(*pair), switched(knowledge, **switches), "C-T-7c", SIGN) == word


def test_a_testosterone_result_without_unit_is_told_in_the_card_that_asks_for_a_second(knowledge):
    """0.4.21: a doubt becomes a line in an order-check card of the same marker."""
    patient = new_start(measurement("TT", None, 10, problem="no_unit", reported="3"))
    assert "dq_no_unit" in messages(card(judge(patient, knowledge, SIGN), "C-T-7"))
