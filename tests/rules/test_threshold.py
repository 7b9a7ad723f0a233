"""Kind `threshold`: limits, samples, products, drugs (4.1, 4.3, 4.9). Values are canonical unless shown so."""

from __future__ import annotations

from decimal import Decimal

import pytest

from cds_service.rules.outcome import Compared
from tests.rules.conftest import (
    TODAY,
    card,
    cards,
    chart,
    course,
    found,
    gap,
    judge,
    measurement,
    messages,
    month,
    on_testosterone,
    outcome,
    result_of,
    supply,
    switched,
    when,
)

PATCH = [course(start=400, form="patch", agent="testosterone")]
INJECTED = [course(start=400)]

# Rule, marker, therapies, and (value, does it speak). HGB-1 needs a chart without hematocrit.
LIMITS = [
    ("HCT-1", "HCT", INJECTED, [("53.9", False), ("54.0", False), ("54.1", True), ("60", True)]),
    ("HCT-2", "HCT", INJECTED, [("51.9", False), ("52.0", False), ("52.1", True), ("54.0", True)]),
    ("HCT-3", "HCT", INJECTED, [("49.9", False), ("50.0", False), ("50.1", True), ("52.0", True)]),
    ("HGB-1", "HGB", INJECTED, [("17.9", False), ("18.0", False), ("18.1", True)]),
    ("PSA-1b", "PSA", INJECTED, [("3.99", False), ("4.00", False), ("4.004", False), ("4.005", True)]),
    ("TT-1", "TT", PATCH, [("999", False), ("1000", False), ("1000.4", False), ("1000.5", True), ("1001", True)]),
    ("TT-1", "TT", INJECTED, [("1000", False), ("1001", True)]),
    ("TT-2", "TT", INJECTED, [("599", False), ("600", False), ("601", True), ("1000", True)]),
    ("TT-3", "TT", PATCH, [("915", False), ("916", False), ("917", True), ("1000", True)]),
    ("TT-4", "TT", INJECTED, [("349", True), ("350", False), ("351", False)]),
    ("TT-5", "TT", PATCH, [("263", True), ("264", False), ("265", False)]),
    ("E2M-1", "E2", INJECTED, [("39.9", False), ("40.0", False), ("40.04", False), ("40.05", True)]),
    ("LDL-1", "LDL", INJECTED, [("189", False), ("189.4", False), ("189.5", True), ("190", True)]),
]  # fmt: skip
ROWS = [(rule, marker, who, *pair) for rule, marker, who, pairs in LIMITS for pair in pairs]

# The same limits in another unit of the laboratory: reported value, exact factor to the canonical unit (1.1).
OTHER_UNITS = [
    ("HCT-1", "HCT", INJECTED, "100", [("0.54", False), ("0.5404", False), ("0.5405", True)]),  # L/L
    ("HCT-2", "HCT", INJECTED, "100", [("0.52", False), ("0.5204", False), ("0.5205", True)]),
    ("HGB-1", "HGB", INJECTED, "1.6114", [("11.20", False), ("11.21", True)]),  # mmol/L: 18.048, 18.064
    ("HGB-1", "HGB", INJECTED, "0.1", [("180", False), ("181", True)]),  # g/L
    ("TT-2", "TT", INJECTED, "28.842", [("20.82", False), ("20.83", True)]),  # nmol/L: 600.49, 600.78
    ("TT-4", "TT", INJECTED, "28.842", [("12.11", True), ("12.12", False)]),  # 349.28, 349.57 -> 350
    ("TT-3", "TT", PATCH, "28.842", [("31.77", False), ("31.78", True)]),  # 916.31, 916.60 -> 917
    ("TT-5", "TT", PATCH, "28.842", [("9.13", True), ("9.14", False)]),  # 263.33, 263.62 -> 264
    ("TT-1", "TT", PATCH, "28.842", [("34.68", False), ("34.69", True)]),  # 1000.24, 1000.53 -> 1001
    ("E2M-1", "E2", INJECTED, "0.27238", [("147", False), ("147.1", True)]),  # pmol/L: 40.04, 40.07
    ("LDL-1", "LDL", INJECTED, "38.665", [("4.90", False), ("4.91", True)]),  # mmol/L: 189.46, 189.85 -> 190
    ("PSA-1b", "PSA", INJECTED, "0.001", [("4004", False), ("4005", True)]),  # ng/L
]
UNIT_ROWS = [
    pytest.param(rule, marker, who, Decimal(reported) * Decimal(factor), speaks, id=f"{rule} {reported}")
    for rule, marker, who, factor, pairs in OTHER_UNITS
    for reported, speaks in pairs
]


@pytest.mark.parametrize(("rule", "marker", "who", "value", "speaks"), ROWS)
def test_each_limit_just_below_at_and_just_above(knowledge, rule, marker, who, value, speaks):
    patient = chart(measurement(marker, value, 10), therapies=who)
    assert outcome(patient, knowledge, rule).reason
    assert (outcome(patient, knowledge, rule).finding is not None) is speaks


@pytest.mark.parametrize(("rule", "marker", "who", "value", "speaks"), UNIT_ROWS)
def test_each_limit_in_the_other_unit(knowledge, rule, marker, who, value, speaks):
    patient = chart(measurement(marker, value, 10), therapies=who)
    assert (outcome(patient, knowledge, rule).finding is not None) is speaks


@pytest.mark.parametrize(
    ("rule", "value", "indicator", "limit", "shown"),
    [
        ("HCT-1", "55.24", "critical", "54.0", "55.2"),
        ("HCT-2", "53", "warning", "52.0", "53.0"),
        ("HCT-3", "51", "info", "50.0", "51.0"),
        ("HGB-1", "18.5", "warning", "18.0", "18.5"),
        ("PSA-1b", "4.5", "warning", "4.00", "4.50"),
        ("TT-1", "1200", "warning", "1000", "1200"),
        ("TT-2", "700", "info", "600", "700"),
        ("TT-4", "300", "info", "350", "300"),
        ("E2M-1", "55", "info", "40.0", "55.0"),
        ("LDL-1", "200", "info", "190", "200"),
    ],
)
def test_a_finding_says_what_was_compared_with_what(knowledge, rule, value, indicator, limit, shown):
    marker = next(row[1] for row in LIMITS if row[0] == rule)
    finding = found(on_testosterone(measurement(marker, value, 10), start=400), knowledge, rule)
    assert (finding.indicator, finding.limit, finding.value) == (indicator, Decimal(limit), Decimal(shown))
    assert finding.result is not None
    assert (finding.result.day, finding.marker) == (when(10).day, marker)


# -- which result ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("age", "word"), [(0, "finding"), (395, "finding"), (396, "not applicable")])
@pytest.mark.parametrize("marker", ["HCT", "TT", "E2", "PSA"])
def test_results_are_compared_for_395_days(knowledge, marker, age, word):
    rule, value = {"HCT": ("HCT-1", "55"), "TT": ("TT-1", "1100"), "E2": ("E2M-1", "50"), "PSA": ("PSA-1b", "5")}[
        marker
    ]
    patient = on_testosterone(measurement(marker, value, age), start=1000)
    assert result_of(patient, knowledge, rule) == word


def test_the_latest_result_wins(knowledge):
    patient = on_testosterone(measurement("HCT", "56", 30), measurement("HCT", "47", 2))
    assert result_of(patient, knowledge, "HCT-1") == "fine"
    patient = on_testosterone(measurement("HCT", "47", 30), measurement("HCT", "56", 2))
    finding = found(patient, knowledge, "HCT-1")
    assert [m.value for m in finding.earlier] == [Decimal("47")]


@pytest.mark.parametrize(
    "later",
    [
        measurement("HCT", None, 2, problem="no_unit", reported="0.4"),
        measurement("HCT", "5.2", 2, problem="implausible"),
        measurement("HCT", None, 2, problem="text", reported="see comment"),
    ],
    ids=["no unit", "implausible", "text"],
)
def test_a_later_result_that_cannot_be_compared_does_not_hide_an_earlier_one(knowledge, later):
    finding = found(on_testosterone(measurement("HCT", "55", 30), later), knowledge, "HCT-1")
    assert finding.result is not None
    assert finding.result.value == Decimal("55")
    line = next(line for line in finding.lines if line.message == "newer_not_comparable")
    assert line.values["result"] == later


def test_a_preliminary_result_is_not_compared(knowledge):
    patient = on_testosterone(measurement("HCT", "60", 2, status="preliminary"))
    assert result_of(patient, knowledge, "HCT-1") == "not applicable"


def test_the_basis_of_a_result_is_told(knowledge):
    told = measurement(
        "HCT", "55", 2, when=None, traits=frozenset(["estimated"]), unit_inferred=True, conflict=True,
        interpretation="HH",
    )  # fmt: skip
    issued = month(TODAY.replace(day=1))
    patient = on_testosterone(
        measurement("HCT", "55", unit_inferred=told.unit_inferred, traits=told.traits, conflict=True,
                    interpretation="HH", when=issued)
    )  # fmt: skip
    lines = messages(found(patient, knowledge, "HCT-1"))
    assert {"unit_inferred", "result_estimated", "conflict", "lab_alarm", "month_only"} <= set(lines)


@pytest.mark.parametrize(("flag", "told"), [("HH", True), ("LL", True), ("AA", True), ("H", False), ("A", False)])
def test_an_alarm_of_the_laboratory_is_one_line_and_never_decides(knowledge, flag, told):
    high, normal = (measurement("HCT", value, 2, interpretation=flag) for value in ("55", "45"))
    assert ("lab_alarm" in messages(found(on_testosterone(high), knowledge, "HCT-1"))) is told
    assert result_of(on_testosterone(normal), knowledge, "HCT-1") == "fine"


# -- bands and comparators (4.1.6, 0.4.25) -----------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "spoken", "unknown"),
    [
        (">50", {"HCT-3"}, {"HCT-1", "HCT-2"}),
        (">=50", set(), {"HCT-1", "HCT-2", "HCT-3"}),
        (">52", {"HCT-2"}, {"HCT-1"}),
        (">53", {"HCT-2"}, {"HCT-1"}),
        (">54", {"HCT-1"}, set()),
        (">=54.1", {"HCT-1"}, set()),
        ("<50", set(), set()),
        ("<=54", set(), {"HCT-2", "HCT-3"}),
        ("<56", set(), {"HCT-1", "HCT-2", "HCT-3"}),
        ("ad 55", set(), {"HCT-1", "HCT-2", "HCT-3"}),
    ],
)
def test_the_highest_band_whose_limit_is_certainly_passed_fires(knowledge, value, spoken, unknown):
    evaluation = judge(on_testosterone(measurement("HCT", value, 2)), knowledge)
    words = {o.rule: o.result for o in evaluation.outcomes if o.rule.startswith("HCT-")}
    assert {rule for rule, word in words.items() if word == "finding"} == spoken
    assert {rule for rule, word in words.items() if word == "unknown"} == unknown


def test_what_a_comparator_leaves_open_is_a_line_in_the_card_of_the_marker(knowledge):
    evaluation = judge(on_testosterone(measurement("HCT", ">53", 2)), knowledge)
    assert "comparator" in messages(card(evaluation, "HCT-2"))
    assert not evaluation.doubts


def test_hct_1_silences_the_lower_bands_and_takes_the_comparator_of_the_site(knowledge):
    at_limit = on_testosterone(measurement("HCT", "54.0", 2))
    words = {o.rule: o.result for o in judge(at_limit, switched(knowledge, hct_stop_inclusive=True)).outcomes}
    assert (words["HCT-1"], words["HCT-2"], words["HCT-3"]) == ("finding", "suppressed", "suppressed")
    assert result_of(at_limit, knowledge, "HCT-1") == "fine"
    assert result_of(at_limit, switched(knowledge, hct_stop=Decimal("53.0")), "HCT-1") == "finding"


# -- the day of the sample (0.4.1, 0.4.7) ------------------------------------------------------------


@pytest.mark.parametrize(
    ("rule", "marker", "value", "who"),
    [
        ("TT-1", "TT", "1100", "injection"),
        ("TT-2", "TT", "700", "injection"),
        ("TT-3", "TT", "950", "topical"),
        ("E2M-1", "E2", "50", "injection"),
    ],
)
def test_a_sample_of_the_start_day_is_baseline(knowledge, rule, marker, value, who):
    def word(day: int) -> str:
        patient = chart(measurement(marker, value, 30 - day), therapies=[course(start=30, form=who)])
        return result_of(patient, knowledge, rule)

    assert (word(-1), word(0), word(1)) == ("not applicable", "not applicable", "finding")


@pytest.mark.parametrize("day", [-100, 0, 1])
def test_a_hematocrit_of_any_day_counts(knowledge, day):
    patient = on_testosterone(measurement("HCT", "55", 30 - day), start=30)
    assert result_of(patient, knowledge, "HCT-1") == "finding"


@pytest.mark.parametrize(("rule", "form", "value"), [("TT-4", "injection", "300"), ("TT-5", "nasal", "200")])
def test_low_testosterone_is_judged_from_day_60_of_the_sample(knowledge, rule, form, value):
    def word(day: int) -> str:
        patient = chart(measurement("TT", value, 300 - day), therapies=[course(start=300, form=form)])
        return result_of(patient, knowledge, rule)

    assert (word(59), word(60), word(61)) == ("not applicable", "finding", "finding")


def test_psa_of_day_365_belongs_to_the_first_year_and_of_day_366_to_later(knowledge):
    def speaking(day: int) -> list[str]:
        patient = on_testosterone(measurement("PSA", "5", 700 - day), start=700)
        outcomes = judge(patient, knowledge).outcomes
        return [o.rule for o in outcomes if o.finding and o.rule.startswith("PSA")]

    assert (speaking(365), speaking(366)) == (["PSA-1"], ["PSA-1b"])


def test_psa_before_the_start_is_any_sample_of_the_first_year(knowledge):
    patient = on_testosterone(measurement("PSA", "5", 40), start=30)
    assert result_of(patient, knowledge, "PSA-1") == "finding"


def test_with_an_unknown_start_rules_from_a_day_on_run(knowledge):
    patient = on_testosterone(
        measurement("PSA", "5", 10), measurement("TT", "300", 10), measurement("E2", "50", 10), start=None
    )
    words = {o.rule: o.result for o in judge(patient, knowledge).outcomes}
    assert (words["PSA-1"], words["PSA-1b"], words["PSA-2"]) == ("not applicable", "finding", "not applicable")
    assert (words["TT-4"], words["E2M-1"]) == ("finding", "finding")
    assert "start_unknown" in messages(found(patient, knowledge, "PSA-1b"))


# -- the product of the sample's day (0.4.16) --------------------------------------------------------


@pytest.mark.parametrize(
    ("form", "agent", "limits"),
    [
        ("injection", "testosterone cypionate", {"TT-2"}),
        ("injection", "testosterone enanthate", {"TT-2"}),
        ("injection", "testosterone undecanoate", set()),  # other injections: 916
        ("topical", "testosterone", set()),
        ("unknown", "testosterone", set()),
    ],
)
def test_700_is_high_only_for_injected_cypionate_and_enanthate(knowledge, form, agent, limits):
    patient = chart(measurement("TT", "700", 10), therapies=[course(start=400, form=form, agent=agent)])
    assert {o.rule for o in judge(patient, knowledge).outcomes if o.finding and o.rule[:2] == "TT"} == limits


@pytest.mark.parametrize(
    ("sample", "rule"), [(101, "TT-3"), (100, "TT-2"), (99, "TT-2")], ids=["gel", "both", "injection"]
)
def test_the_product_at_the_sample_decides_and_the_injection_if_there_were_two(knowledge, sample, rule):
    gel = supply("topical", "testosterone", 300, 100)
    shot = supply("injection", "testosterone cypionate", 100)
    patient = chart(measurement("TT", "950", sample), therapies=[course(start=300, supplies=[shot, gel])])
    speaking = {o.rule for o in judge(patient, knowledge).outcomes if o.finding and o.rule[:2] == "TT"}
    assert speaking == {rule}


def test_tt_1_silences_the_adjustment_points(knowledge):
    for who, silent in ((INJECTED, "TT-2"), (PATCH, "TT-3")):
        patient = chart(measurement("TT", "1200", 10), therapies=who)
        assert result_of(patient, knowledge, silent) == "suppressed"
        assert [rule for rule, _ in cards(judge(patient, knowledge)) if rule[:2] == "TT"] == ["TT-1"]


@pytest.mark.parametrize(("value", "speaks"), [("449", True), ("450", False), ("700", False), ("701", True)])
def test_the_seed_target_is_off_until_the_site_wants_it(knowledge, value, speaks):
    patient = on_testosterone(measurement("TT", value, 10))
    assert result_of(patient, knowledge, "TT-SEED") == "not applicable"
    wanted = outcome(patient, switched(knowledge, tt_target="seed"), "TT-SEED")
    assert (wanted.finding is not None) is speaks


def test_the_limit_of_the_laboratory_comes_before_the_default(knowledge):
    def judged(value: str, high: str) -> str:
        patient = on_testosterone(measurement("E2", value, 10, reference_high=Decimal(high)))
        return result_of(patient, knowledge, "E2M-1")

    assert (judged("35", "34.9"), judged("35", "35.0"), judged("42", "42.6")) == ("finding", "fine", "fine")
    finding = found(on_testosterone(measurement("E2", "35", reference_high=Decimal(34))), knowledge, "E2M-1")
    assert (finding.limit, "limit_of_laboratory" in messages(finding)) == (Decimal("34.0"), True)


# -- PSA under a 5-alpha-reductase inhibitor (4.9, 0.4.15) -------------------------------------------


@pytest.mark.parametrize(
    ("days_on", "factor", "line"),
    [(0, 1, None), (89, 1, None), (90, 1, "adjust_falling"), (179, 1, "adjust_falling"), (180, 2, "adjusted")],
)
def test_days_on_the_drug_are_counted_at_the_sample(knowledge, days_on, factor, line):
    drug = course("FIVE_ARI", start=50 + days_on, form="oral")
    patient = on_testosterone(measurement("PSA", "4.50", 50), start=900, therapies=[drug])
    finding = found(patient, knowledge, "PSA-1b")
    assert finding.value == Decimal("4.50") * factor
    assert [m for m in messages(finding) if m.startswith("adjust")] == ([line] if line else [])


@pytest.mark.parametrize(
    ("value", "word"), [("2.00", "fine"), ("2.002", "fine"), ("2.0025", "finding"), ("2.01", "finding")]
)
def test_the_doubled_value_meets_the_limit(knowledge, value, word):
    drug = course("FIVE_ARI", start=400, form="oral")
    patient = on_testosterone(measurement("PSA", value, 10), start=900, therapies=[drug])
    assert result_of(patient, knowledge, "PSA-1b") == word


@pytest.mark.parametrize(
    ("ended", "line"), [(0, "adjusted"), (1, "adjust_washout"), (179, "adjust_washout"), (180, None)]
)
def test_after_the_end_the_value_is_uncertain_for_180_days_and_not_doubled(knowledge, ended, line):
    drug = course("FIVE_ARI", start=800, end=20 + ended, form="oral")
    patient = on_testosterone(measurement("PSA", "4.50", 20), start=900, therapies=[drug])
    finding = found(patient, knowledge, "PSA-1b")
    assert [m for m in messages(finding) if m.startswith("adjust")] == ([line] if line else [])
    assert finding.value == Decimal("9.00" if ended == 0 else "4.50")


def test_a_drug_that_began_after_the_sample_changes_nothing(knowledge):
    drug = course("FIVE_ARI", start=5, form="oral")
    patient = on_testosterone(measurement("PSA", "4.50", 10), start=900, therapies=[drug])
    assert found(patient, knowledge, "PSA-1b").value == Decimal("4.50")


def test_an_established_drug_counts_as_taken_long_enough(knowledge):
    drug = course("FIVE_ARI", start=None, form="oral")
    patient = on_testosterone(measurement("PSA", "2.10", 10), start=900, therapies=[drug])
    assert found(patient, knowledge, "PSA-1b").value == Decimal("4.20")


# -- what is not known -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("complete_since", "word"),
    [(None, "unknown"), (394, "unknown"), (395, "not applicable"), (396, "not applicable")],
)
def test_a_missing_list_leaves_unknown_unless_it_is_complete_for_the_whole_range(knowledge, complete_since, word):
    kind = "absent" if complete_since is None else "truncated"
    patient = on_testosterone(gaps=[gap("HCT", kind=kind, complete_since=complete_since)])
    assert result_of(patient, knowledge, "HCT-1") == word


def test_a_finding_stands_though_the_list_is_cut(knowledge):
    patient = on_testosterone(measurement("HCT", "55", 2), gaps=[gap("HCT")])
    evaluation = judge(patient, knowledge)
    assert "gap_absent" in messages(card(evaluation, "HCT-1"))


def test_without_a_list_of_medications_a_low_psa_is_not_called_fine(knowledge):
    """A 5-alpha-reductase inhibitor may stand in what is missing, and would double the value."""
    patient = on_testosterone(measurement("PSA", "3.00", 10), start=900, gaps=[gap("medications")])
    assert result_of(patient, knowledge, "PSA-1b") == "unknown"
    cut = on_testosterone(
        measurement("PSA", "3.00", 10), start=900, gaps=[gap("medications", kind="truncated", complete_since=900)]
    )
    assert result_of(cut, knowledge, "PSA-1b") == "unknown"


def test_a_range_names_the_side_that_was_met_and_says_both_when_neither_was(knowledge):
    """TT-SEED: total testosterone 450 to 700 ng/dL."""
    site = switched(knowledge, tt_target="seed")
    inside = outcome(on_testosterone(measurement("TT", "600")), site, "TT-SEED")
    assert (inside.result, inside.reason) == ("fine", "600 not < 450, 600 not > 700")
    traced = judge(on_testosterone(measurement("TT", "600")), site, traced=True)
    steps = next(one.trace for one in traced.outcomes if one.rule == "TT-SEED")
    assert [(step.word, step.operator, step.limit) for step in steps if isinstance(step, Compared)] == [
        ("outside[0]", "<", Decimal(450)),
        ("outside[1]", ">", Decimal(700)),
    ]
