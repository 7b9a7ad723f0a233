"""Kind `change`: the rise of PSA over its baseline (5.5, 4.9) and the straight line through hematocrits (5.6)."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from fractions import Fraction

import msgspec
import pytest

from cds_service.rules.outcome import Compared, Doubt, Line
from cds_service.rules.series import ceiling, fit
from tests.rules.conftest import (
    back,
    card,
    cards,
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
    switched,
)


def psa(baseline: str, latest: str, *, base_day: int = -10, day: int = 200, start: int = 250, drug=()):
    """A baseline and a later PSA, by day of the course."""
    return on_testosterone(
        measurement("PSA", baseline, start - base_day),
        measurement("PSA", latest, start - day),
        start=start,
        therapies=drug,
    )


# -- PSA-2 -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("baseline", "latest", "word"),
    [
        ("1.00", "2.39", "fine"),
        ("1.00", "2.40", "fine"),  # 1.40 is not more than 1.40
        ("1.00", "2.41", "finding"),
        ("0.995", "2.404", "fine"),  # exactly 1.409, but 2.40 - 1.00 as shown
        ("1.004", "2.405", "finding"),  # 2.41 - 1.00
        ("3.00", "1.00", "fine"),
    ],
)
def test_a_rise_is_the_difference_of_the_rounded_values(knowledge, baseline, latest, word):
    assert result_of(psa(baseline, latest), knowledge, "PSA-2") == word


def test_a_rise_says_that_the_dose_has_changed_since(knowledge):
    """The latest sample is 50 days old; the dose changed after it, or on its day."""
    patient = psa("1.00", "3.00")
    for ago, told in ((49, True), (50, False)):
        dosed = msgspec.structs.replace(patient.therapies[0], dose_changed=back(ago))
        finding = found(msgspec.structs.replace(patient, therapies=(dosed,)), knowledge, "PSA-2")
        assert ("changed_since" in messages(finding)) is told


def test_the_finding_names_both_values(knowledge):
    finding = found(psa("1.00", "3.00"), knowledge, "PSA-2")
    assert (finding.value, finding.values["base"], finding.values["rise"]) == (Decimal("3.00"), 1, Decimal("2.00"))
    assert finding.limit == Decimal("1.40")


@pytest.mark.parametrize(
    ("base_day", "word"),
    [(-366, "not applicable"), (-365, "finding"), (0, "finding"), (7, "finding"), (8, "not applicable")],
)
def test_the_baseline_is_of_365_days_before_to_7_days_after_the_start(knowledge, base_day, word):
    assert result_of(psa("1.00", "3.00", base_day=base_day), knowledge, "PSA-2") == word


def test_the_latest_baseline_counts(knowledge):
    patient = on_testosterone(
        measurement("PSA", "1.00", 400), measurement("PSA", "2.00", 260), measurement("PSA", "3.00", 50), start=250
    )
    assert result_of(patient, knowledge, "PSA-2") == "fine"


@pytest.mark.parametrize(("day", "word"), [(8, "finding"), (365, "finding"), (366, "not applicable")])
def test_the_rise_is_judged_in_the_first_year(knowledge, day, word):
    assert result_of(psa("1.00", "3.00", day=day, start=380), knowledge, "PSA-2") == word


def test_a_list_that_was_cut_may_hide_a_later_result_of_the_first_year(knowledge):
    """The latest one, of day 300, is 500 days old."""
    cut = gap("PSA", kind="truncated", complete_since=100)
    results = (measurement("PSA", "1.00", 800), measurement("PSA", "3.00", 500))
    ended = outcome(on_testosterone(*results, start=800, gaps=[cut]), knowledge, "PSA-2")
    assert (ended.result, ended.reason) == ("unknown", "latest sample is of day 300")
    assert [doubt.message for doubt in ended.doubts] == ["gap_truncated"]


def test_the_baseline_alone_is_no_rise(knowledge):
    patient = on_testosterone(measurement("PSA", "5.00", 240), start=250)
    assert result_of(patient, knowledge, "PSA-2") == "not applicable"


@pytest.mark.parametrize(
    ("baseline", "latest", "word"),
    [
        ("<0.1", "1.50", "fine"),
        ("<0.1", "1.51", "finding"),
        ("<0.10", "1.51", "finding"),
        ("<0.5", "3.00", "not applicable"),
        ("<=0.1", "3.00", "not applicable"),
        (">0.1", "3.00", "not applicable"),
    ],
)
def test_a_baseline_below_detection_is_taken_as_the_limit_of_detection(knowledge, baseline, latest, word):
    patient = psa(baseline, latest)
    assert result_of(patient, knowledge, "PSA-2") == word
    if word == "finding":
        assert "baseline_taken_as" in messages(found(patient, knowledge, "PSA-2"))


@pytest.mark.parametrize(("latest", "word"), [(">5.00", "unknown"), (">2.00", "unknown"), ("<0.10", "fine")])
def test_a_latest_value_with_a_comparator_is_no_rise(knowledge, latest, word):
    assert result_of(psa("1.00", latest), knowledge, "PSA-2") == word


def test_without_a_start_there_is_no_rise(knowledge):
    patient = on_testosterone(measurement("PSA", "1", 300), measurement("PSA", "3", 10), start=None)
    assert result_of(patient, knowledge, "PSA-2") == "not applicable"


@pytest.mark.parametrize(
    ("complete_since", "word"), [(260, "unknown"), (615, "not applicable"), (616, "not applicable")]
)
def test_a_cut_list_may_hide_the_baseline(knowledge, complete_since, word):
    """The start was 250 days ago, so the look-back begins 615 days ago."""
    patient = on_testosterone(
        measurement("PSA", "3.00", 50),
        start=250,
        gaps=[gap("PSA", kind="truncated", complete_since=complete_since)],
    )
    assert result_of(patient, knowledge, "PSA-2") == word


def test_what_is_compared_is_kept_for_explain_and_for_the_card(knowledge):
    """Off the drug 1.00, then 1.50 after 180 days on it: 2 x 1.50 - 1.00 = 2.00."""
    patient = psa("1.00", "1.50", day=200, drug=drug(20))
    ended = next(one for one in judge(patient, knowledge, traced=True).outcomes if one.rule == "PSA-2")
    latest, baseline = patient.measurements["PSA"]
    rise, limit, rule = Decimal("2.00"), Decimal("1.40"), next(r for r in knowledge.rules if r.id == "PSA-2")
    compared = [step for step in ended.trace if isinstance(step, Compared) and step.word == "rise_above"]
    assert compared == [Compared(rule.spec, "rise_above", "PSA", rise, ">", limit, True, latest, factor=Decimal(2))]
    told = ended.finding
    assert told is not None
    assert told.values == {"rise": rise, "baseline": baseline, "base": Decimal("1.00"), "factor": Decimal(2)}
    assert (told.marker, told.result, told.value, told.operator) == ("PSA", latest, Decimal("3.00"), ">")
    assert (told.earlier, told.facts, told.doubts) == ((baseline,), patient.therapies[:1], ())
    assert ended.reason == "3.00 - 1.00 > 1.40"


def test_three_earlier_values_and_what_a_cut_list_leaves_open(knowledge):
    points = [
        measurement("PSA", value, ago) for value, ago in (("5", 10), ("4", 20), ("3", 30), ("2", 40), ("1", 260))
    ]
    patient = on_testosterone(*points, start=250, gaps=[gap("PSA")])
    finding = found(patient, knowledge, "PSA-2")
    assert finding.earlier == tuple(points[1:4])
    assert [doubt.message for doubt in finding.doubts] == ["gap_absent"]


def test_what_cannot_be_compared_names_the_latest_result(knowledge):
    for patient, message, reason in (
        (psa("1.00", ">5.00"), "comparator", "5.00 - 1.00 not > 1.40"),
        (psa("1.00", "9.00", day=200, drug=drug(100)), "not_against_baseline", "falling on a drug"),
    ):
        ended = outcome(patient, knowledge, "PSA-2")
        assert ended.doubts == (Doubt(message, "PSA", {"result": patient.measurements["PSA"][0]}),)
        assert (ended.result, ended.reason) == ("unknown", reason)


def test_a_baseline_taken_as_the_limit_of_detection_is_named(knowledge):
    patient = psa("<0.1", "1.51")
    finding = found(patient, knowledge, "PSA-2")
    baseline = patient.measurements["PSA"][1]
    values = {"result": baseline, "value": Decimal("0.10")}
    assert Line("baseline_taken_as", values) in finding.lines


@pytest.mark.parametrize(
    ("patient", "reason"),
    [
        (psa("1.00", "3.00", day=366, start=380), "latest sample is of day 366"),
        (psa("1.00", "3.00", base_day=8), "no pair of results"),
        (on_testosterone(measurement("PSA", "3", 10), start=None), "start of the therapy not known"),
    ],
)
def test_why_a_rise_is_not_judged(knowledge, patient, reason):
    assert outcome(patient, knowledge, "PSA-2").reason == reason
    assert outcome(on_testosterone(start=100), knowledge, "PSA-2").reason == "no pair of results"


@pytest.mark.parametrize(
    ("day", "start", "word"),
    [(105, 500, "finding"), (104, 500, "unknown"), (366, 380, "not applicable")],
    ids=["395 days old", "396 days old", "after the first year"],
)
def test_a_cut_list_may_hide_a_later_sample_but_not_one_of_the_first_year(knowledge, day, start, word):
    patient = psa("1.00", "3.00", day=day, start=start)
    cut = msgspec.structs.replace(patient, gaps=(gap("PSA"),))
    ended = outcome(cut, knowledge, "PSA-2")
    assert (ended.result, bool(ended.doubts)) == (word, word != "not applicable")
    assert result_of(patient, knowledge, "PSA-2") == ("finding" if word == "finding" else "not applicable")


def test_psa_1_and_psa_2_are_one_card_with_both_reasons(knowledge):
    evaluation = judge(psa("1.00", "5.00"), knowledge)
    assert [pair for pair in cards(evaluation) if pair[0].startswith("PSA")] == [("PSA-1", "warning")]
    assert "line_change" in messages(card(evaluation, "PSA-1"))


def test_psa_2_alone_has_its_own_card(knowledge):
    assert ("PSA-2", "warning") in cards(judge(psa("1.00", "3.00"), knowledge))


# -- PSA-2 under a 5-alpha-reductase inhibitor -------------------------------------------------------


def drug(start: int, end: int | None = None):
    """Finasteride, in days of the course of testosterone, which began 250 days ago."""
    return [course("FIVE_ARI", start=250 - start, end=None if end is None else 250 - end, form="oral")]


@pytest.mark.parametrize(
    ("days_on", "word", "rise"),
    [(89, "fine", None), (90, "unknown", None), (179, "unknown", None), (180, "finding", Decimal("2.00"))],
)
def test_a_baseline_off_the_drug_is_compared_with_twice_the_value(knowledge, days_on, word, rise):
    patient = psa("1.00", "1.50", day=200, drug=drug(200 - days_on))
    assert result_of(patient, knowledge, "PSA-2") == word
    if rise:
        assert found(patient, knowledge, "PSA-2").values["rise"] == rise


def test_falling_on_the_drug_says_so(knowledge):
    ended = outcome(psa("1.00", "9.00", day=200, drug=drug(100)), knowledge, "PSA-2")
    assert [doubt.message for doubt in ended.doubts] == ["not_against_baseline"]


@pytest.mark.parametrize(("latest", "word"), [("1.70", "fine"), ("1.71", "finding")])
def test_a_baseline_on_the_drug_is_doubled_as_well(knowledge, latest, word):
    """2 x 1.70 - 2 x 1.00 = 1.40; 2 x 1.71 - 2.00 = 1.42."""
    assert result_of(psa("1.00", latest, drug=drug(-190)), knowledge, "PSA-2") == word


def test_a_baseline_that_was_falling_is_not_compared(knowledge):
    assert result_of(psa("1.00", "3.00", drug=drug(-189)), knowledge, "PSA-2") == "unknown"


@pytest.mark.parametrize(("end", "uncertain"), [(21, True), (20, False)])
def test_after_the_end_of_the_drug_the_uncertainty_is_told(knowledge, end, uncertain):
    """The sample of day 200 lies 179 or 180 days after the end."""
    finding = found(psa("1.00", "3.00", day=200, base_day=0, drug=drug(-40, end)), knowledge, "PSA-2")
    assert ("adjust_washout" in messages(finding)) is uncertain
    assert finding.values["rise"] == Decimal("2.00")


def test_the_drug_taken_at_the_sample_decides_before_one_that_had_ended(knowledge):
    """At the sample of day 200 the first course had ended 150 days ago, the second had lasted for 115 days."""
    ended, taken = drug(-300, 50), drug(85)
    for courses in ([*ended, *taken], [*taken, *ended]):
        assert result_of(psa("1.00", "3.00", day=200, drug=courses), knowledge, "PSA-2") == "unknown"


# -- TREND-HCT ---------------------------------------------------------------------------------------

T1 = [
    ("46.0", date(2026, 2, 1)),
    ("48.5", date(2026, 5, 1)),
    ("50.8", date(2026, 8, 1)),
    ("52.6", date(2026, 11, 1)),
]
T2 = [("49.0", date(2026, 3, 1)), ("49.1", date(2026, 6, 1)), ("48.9", date(2026, 9, 1))]
T3 = [("47.0", date(2026, 6, 1)), ("49.0", date(2026, 8, 15)), ("51.5", date(2026, 11, 1))]


def hematocrits(series, *, start: date = date(2026, 1, 1), **parts):
    return on_testosterone(*(measurement("HCT", value, on) for value, on in series), start=start, **parts)


def test_t1_crosses_on_2026_12_21_and_is_a_line_of_hct_2(knowledge):
    finding = found(hematocrits(T1), knowledge, "TREND-HCT")
    assert (finding.values["crossing"], finding.values["slope"]) == (date(2026, 12, 21), Decimal("0.727"))
    evaluation = judge(hematocrits(T1), knowledge)
    assert [pair for pair in cards(evaluation) if "HCT" in pair[0]] == [("HCT-2", "warning")]
    assert "line_change" in messages(card(evaluation, "HCT-2"))


def test_t2_falls_and_is_silent(knowledge):
    ended = outcome(hematocrits(T2), knowledge, "TREND-HCT")
    assert (ended.result, ended.finding) == ("fine", None)


def test_t3_crosses_on_2027_01_28_and_is_a_line_of_hct_3(knowledge):
    finding = found(hematocrits(T3), knowledge, "TREND-HCT")
    assert (finding.values["crossing"], finding.values["slope"]) == (date(2027, 1, 28), Decimal("0.883"))
    evaluation = judge(hematocrits(T3), knowledge)
    assert [pair for pair in cards(evaluation) if "HCT" in pair[0]] == [("HCT-3", "info")]
    assert "line_change" in messages(card(evaluation, "HCT-3"))


def test_up_to_50_the_projection_has_its_own_card(knowledge):
    """40, 45, 50 every 30 days: 0.1667 a day, so 54.0 is met 24 days after the last."""
    series = [("40.0", 70), ("45.0", 40), ("50.0", 10)]
    evaluation = judge(hematocrits(series), knowledge)
    assert [pair for pair in cards(evaluation) if "HCT" in pair[0]] == [("TREND-HCT", "info")]
    assert card(evaluation, "TREND-HCT").values["crossing"] == date(2026, 12, 6)


def test_above_the_limit_only_hct_1_speaks(knowledge):
    series = [("50.0", 70), ("52.0", 40), ("54.1", 10)]
    evaluation = judge(hematocrits(series), knowledge)
    assert [pair for pair in cards(evaluation) if "HCT" in pair[0]] == [("HCT-1", "critical")]
    assert "line_change" not in messages(card(evaluation, "HCT-1"))


@pytest.mark.parametrize(("value", "word"), [("54.0", "finding"), ("54.1", "fine")])
def test_the_latest_may_lie_at_the_limit_but_not_above(knowledge, value, word):
    assert result_of(hematocrits([("50.0", 70), ("52.0", 40), (value, 10)]), knowledge, "TREND-HCT") == word


@pytest.mark.parametrize(
    ("series", "word"),
    [
        ([("48.0", 70), ("50.0", 10)], "not applicable"),  # two results
        ([("46.0", 69), ("48.0", 40), ("50.0", 10)], "not applicable"),  # 59 days
        ([("46.0", 70), ("48.0", 40), ("50.0", 10)], "finding"),  # 60 days
        ([("48.0", 180), ("51.0", 150), ("54.0", 120)], "finding"),
        ([("48.0", 181), ("51.0", 151), ("54.0", 121)], "not applicable"),  # too old
        ([("46.0", 70), (">48.0", 40), ("50.0", 10)], "not applicable"),  # a bound is no point
        ([("45.0", 70), ("45.0", 40), ("45.0", 10)], "fine"),  # level
    ],
)
def test_what_a_line_needs(knowledge, series, word):
    assert result_of(hematocrits(series), knowledge, "TREND-HCT") == word


@pytest.mark.parametrize(("last", "word"), [(10, "finding"), (9, "fine")])
def test_the_crossing_lies_at_most_90_days_ahead(knowledge, last, word):
    """0.02 a day: from 52.0 it takes 100 days to 54.0, of which `last` are over."""
    series = [("50.0", 100 + last), ("51.0", 50 + last), ("52.0", last)]
    assert result_of(hematocrits(series), knowledge, "TREND-HCT") == word


@pytest.mark.parametrize(("start", "word"), [(date(2026, 1, 31), "finding"), (date(2026, 6, 1), "not applicable")])
def test_a_sample_of_the_start_day_is_no_point(knowledge, start, word):
    """Of T3 the first sample is of 2026-06-01: with it three points remain, without it two."""
    assert result_of(hematocrits(T3, start=start), knowledge, "TREND-HCT") == word


def test_the_site_may_switch_it_off_or_move_the_limit(knowledge):
    assert result_of(hematocrits(T1), switched(knowledge, trend=False), "TREND-HCT") == "not applicable"
    lower = found(hematocrits(T3), switched(knowledge, hct_stop=Decimal("53.0")), "TREND-HCT")
    assert lower.limit == Decimal("53.0")
    assert str(lower.values["crossing"]) < "2027-01-28"


def test_a_crossing_that_lies_behind_is_shown_as_today(knowledge):
    """48, 51, 54 on days 0, 30, 60: the line met 54.0 with the last sample, 100 days ago."""
    finding = found(hematocrits([("48.0", 160), ("51.0", 130), ("54.0", 100)]), knowledge, "TREND-HCT")
    assert finding.values["crossing"] == date(2026, 11, 22)


def test_a_month_only_date_is_its_first_day(knowledge):
    monthly = [measurement("HCT", "47.0", 0, when=month(date(2026, 6, 1)))]
    rest = [measurement("HCT", value, on) for value, on in T3[1:]]
    finding = found(on_testosterone(*monthly, *rest, start=date(2026, 1, 1)), knowledge, "TREND-HCT")
    assert finding.values["crossing"] == date(2027, 1, 28)


def test_a_missing_list_leaves_the_projection_unknown(knowledge):
    assert result_of(hematocrits([], gaps=[gap("HCT")]), knowledge, "TREND-HCT") == "unknown"


def test_the_projection_is_kept_for_explain_and_for_the_card(knowledge):
    """40, 45, 50 on days 0, 30, 60; today is day 70: in 90 days the line stands at 40 + 160 / 6 = 66.667."""
    patient = hematocrits([("40.0", 70), ("45.0", 40), ("50.0", 10)])
    ended = next(one for one in judge(patient, knowledge, traced=True).outcomes if one.rule == "TREND-HCT")
    latest, *earlier = patient.measurements["HCT"]
    rule = next(rule for rule in knowledge.rules if rule.id == "TREND-HCT")
    limit = Decimal("54.0")
    compared = [step for step in ended.trace if isinstance(step, Compared) and step.word == "projected_above"]
    assert compared == [Compared(rule.spec, "projected_above", "HCT", Decimal("66.667"), ">=", limit, True, latest)]
    told = ended.finding
    assert told is not None
    assert (told.marker, told.result, told.value, told.limit, told.operator) == (
        "HCT",
        latest,
        Decimal("50.0"),
        limit,
        ">",
    )
    assert (told.earlier, told.facts) == (tuple(earlier), patient.therapies)
    assert told.values == {"crossing": date(2026, 12, 6), "slope": Decimal("5.000"), "count": 3}
    assert ended.reason == "crossing on 2026-12-06"
    cut = outcome(msgspec.structs.replace(patient, gaps=(gap("HCT"),)), knowledge, "TREND-HCT")
    assert cut.finding is not None
    for doubts in (cut.doubts, cut.finding.doubts):
        assert [(doubt.message, doubt.area) for doubt in doubts] == [("gap_absent", "HCT")]


@pytest.mark.parametrize(
    ("series", "reason", "word"),
    [
        ([("45.0", 70), ("45.0", 40), ("45.0", 10)], "slope 0.0000 a day", "fine"),
        ([("50.0", 109), ("51.0", 59), ("52.0", 9)], "crossing on day 200", "fine"),  # 0.02 a day: 4.0 in 200 days
        ([("48.0", 70), ("50.0", 10)], "too few results", "not applicable"),
        ([("46.0", 69), ("48.0", 40), ("50.0", 10)], "span too short or last result too old", "not applicable"),
    ],
)
def test_why_there_is_no_projection(knowledge, series, reason, word):
    ended = outcome(hematocrits(series), knowledge, "TREND-HCT")
    assert (ended.reason, ended.result, ended.doubts) == (reason, word, ())
    cut = outcome(hematocrits(series, gaps=[gap("HCT")]), knowledge, "TREND-HCT")
    assert cut.reason == reason
    assert (cut.result, [doubt.message for doubt in cut.doubts]) == ("unknown", ["gap_absent"])


# -- arithmetic --------------------------------------------------------------------------------------


def test_the_line_through_exact_points_is_exact():
    assert fit([(0, Decimal("1.1")), (10, Decimal("1.2")), (20, Decimal("1.3"))]) == (
        Fraction(1, 100),
        Fraction(11, 10),
    )


def test_the_slopes_of_the_examples_of_psa_velocity():
    """0.7007 and 0.2870 ng/mL a year (5.5), a year being 365.25 days."""
    first = date(2025, 11, 1)
    points = [(date(2025, 11, 1), "1.2"), (date(2026, 5, 1), "1.5"), (date(2026, 11, 1), "1.9")]
    slope, _ = fit([((day - first).days, Decimal(value)) for day, value in points])
    assert round(float(slope) * 365.25, 4) == 0.7007
    first = date(2025, 1, 10)
    points = [(date(2025, 1, 10), "0.8"), (date(2026, 1, 10), "1.1"), (date(2026, 10, 10), "1.3")]
    slope, _ = fit([((day - first).days, Decimal(value)) for day, value in points])
    assert (round(float(slope) * 365.25, 4), points[-1][0] - first) == (0.2870, date(2026, 10, 10) - first)


@pytest.mark.parametrize(
    ("number", "whole"), [(Fraction(5, 2), 3), (Fraction(2), 2), (Fraction(-5, 2), -2), (Fraction(0), 0)]
)
def test_the_day_of_a_crossing_is_rounded_up(number, whole):
    assert ceiling(number) == whole
