"""Kind `threshold`, by rules of one's own: what the shipped rules do not use, or use together (4.1, 4.3)."""

from __future__ import annotations

from decimal import Decimal

import msgspec
import pytest

from cds_service.chart import Gap
from cds_service.rules.outcome import Compared, Doubt, Line, Outcome
from cds_service.rules.questions import YES
from cds_service.rules.threshold import Adjusted, adjust, evaluate
from tests.rules.conftest import (
    chart,
    course,
    ctx,
    found,
    gap,
    measurement,
    messages,
    on_testosterone,
    outcome,
    supply,
)


def judged(knowledge, patient, **spec):
    """How a rule with this data ends for the patient."""
    rule = next(rule for rule in knowledge.rules if rule.id == "LDL-1")
    return evaluate(msgspec.structs.replace(rule, spec=spec), YES, ctx(patient, knowledge))


@pytest.mark.parametrize(("age", "word"), [(90, "finding"), (91, "not applicable")])
def test_a_rule_may_want_younger_results(knowledge, age, word):
    patient = chart(measurement("HCT", "55", age))
    assert judged(knowledge, patient, marker="HCT", above="54.0", max_age_days=90).result == word


@pytest.mark.parametrize(("complete_since", "word"), [(90, "not applicable"), (89, "unknown")])
def test_the_list_has_to_be_complete_for_as_long_as_results_count(knowledge, complete_since, word):
    cut = gap("HCT", kind="truncated", complete_since=complete_since)
    ended = judged(knowledge, chart(gaps=[cut]), marker="HCT", above="54.0", max_age_days=90)
    assert (ended.rule, ended.result, ended.reason) == ("LDL-1", word, "no comparable result")
    assert [doubt.message for doubt in ended.doubts] == (["gap_truncated"] if word == "unknown" else [])


def test_a_rule_may_want_a_fasting_sample(knowledge):
    """GLU-1: 126 mg/dL fasting. A later sample that was not taken fasting is none of it."""
    fasting = measurement("GLU", "126", 20, traits=frozenset(["fasting"]))
    later = measurement("GLU", "140", 10)
    spec = {"marker": "GLU", "trait": "fasting", "at_or_above": "126"}
    ended = judged(knowledge, chart(fasting, later), **spec)
    assert ended.finding is not None
    assert ended.finding.result == fasting
    assert judged(knowledge, chart(later), **spec).result == "not applicable"


@pytest.mark.parametrize(
    ("first", "second", "speaks"),
    [("5.0", "130", "second"), ("7.0", "100", "first"), ("7.0", "130", "first"), ("5.0", "100", None)],
)
def test_of_several_limits_one_is_enough_and_the_first_speaks(knowledge, first, second, speaks):
    """HbA1c from 6.5 %, or glucose from 126 mg/dL."""
    a1c, glucose = measurement("A1C", first, 10), measurement("GLU", second, 10)
    limits = ({"marker": "A1C", "at_or_above": "6.5"}, {"marker": "GLU", "at_or_above": "126"})
    ended = judged(knowledge, chart(a1c, glucose), any_of=limits)
    assert ended.result == ("finding" if speaks else "fine")
    if ended.finding is not None:
        assert ended.finding.result == (a1c if speaks == "first" else glucose)


@pytest.mark.parametrize(
    ("a1c", "glucose", "word"),
    [
        (">5", "100", "unknown"),  # may be above 6.5
        (">5", "130", "finding"),
        ("5.0", None, "fine"),
        (None, None, "not applicable"),
    ],
)
def test_of_several_limits_an_open_one_counts_more_than_one_that_is_kept(knowledge, a1c, glucose, word):
    results = [measurement(m, v, 10) for m, v in (("A1C", a1c), ("GLU", glucose)) if v is not None]
    for limits in (
        ({"marker": "A1C", "at_or_above": "6.5"}, {"marker": "GLU", "at_or_above": "126"}),
        ({"marker": "GLU", "at_or_above": "126"}, {"marker": "A1C", "at_or_above": "6.5"}),
    ):
        assert judged(knowledge, chart(*results), any_of=limits).result == word


IGF = (
    {"marker": "IGF1Z", "above": "2.0"},
    {"marker": "IGF1", "above": {"reference": "high"}},
)


@pytest.mark.parametrize(
    ("z_ago", "ago", "speaks"),
    [(20, 10, False), (10, 10, True), (10, 20, True)],
    ids=["Z-score before", "one day", "Z-score after"],
)
@pytest.mark.parametrize("gaps", [(), (gap("IGF1Z", "IGF1"),)], ids=["", "cut list"])
def test_a_later_result_of_the_same_test_in_another_form_decides(knowledge, z_ago, ago, speaks, gaps):
    """A Z-score of 2.5 is above 2.0; 200 ng/mL is within the laboratory's range up to 250."""
    score = measurement("IGF1Z", "2.5", z_ago)
    whole = measurement("IGF1", "200", ago, reference_high=Decimal(250))
    ended = judged(knowledge, chart(score, whole, gaps=gaps), any_of=IGF)
    assert ended.result == ("finding" if speaks else "unknown" if gaps else "fine")
    alone = judged(knowledge, chart(score, whole, gaps=gaps), any_of=(IGF[0], {**IGF[1], "above": "900"}))
    assert (alone.finding is not None) is speaks


def test_a_result_that_another_form_has_superseded_says_so(knowledge):
    """The earlier Z-score is left aside, and the later result came without a range: nothing can be judged."""
    patient = chart(measurement("IGF1Z", "2.5", 20), measurement("IGF1", "200", 10))
    ended = judged(knowledge, patient, any_of=IGF)
    assert (ended.rule, ended.result, ended.reason, ended.doubts) == (
        "LDL-1",
        "not applicable",
        "a later result of this test",
        (),
    )
    other_way = judged(knowledge, patient, any_of=IGF[::-1])
    assert (other_way.rule, other_way.result, other_way.reason, other_way.doubts) == (
        "LDL-1",
        "not applicable",
        "no reference range was reported",
        (),
    )


def test_a_superseded_result_of_a_cut_list_leaves_it_unknown(knowledge):
    patient = chart(measurement("IGF1Z", "2.5", 20), measurement("IGF1", "200", 10), gaps=[gap("IGF1Z")])
    ended = judged(knowledge, patient, any_of=IGF)
    assert (ended.result, ended.reason) == ("unknown", "a later result of this test")
    assert [(doubt.message, doubt.area) for doubt in ended.doubts] == [("gap_absent", "IGF1Z")]


def test_a_sample_out_of_scope_of_a_cut_list_leaves_it_unknown(knowledge):
    """The only sample is of before the start; a later one may be missing from the list."""
    early = measurement("TT", "1100", 50)
    whole = outcome(on_testosterone(early, start=30), knowledge, "TT-1")
    assert (whole.result, whole.reason) == ("not applicable", "sample not after the start of the therapy")
    cut = outcome(on_testosterone(early, start=30, gaps=[gap("TT")]), knowledge, "TT-1")
    assert (cut.result, cut.reason) == ("unknown", "sample not after the start of the therapy")
    assert [(doubt.message, doubt.area) for doubt in cut.doubts] == [("gap_absent", "TT")]


@pytest.mark.parametrize(
    ("rule", "marker", "value", "who", "reason"),
    [
        ("TT-4", "TT", "300", course(start=69), "sample of day 59, rule from day 60"),
        ("PSA-1", "PSA", "5", course(start=376), "sample of day 366, rule up to day 365"),
        ("PSA-1", "PSA", "5", course(start=None), "start of the therapy not known, rule up to day 365"),
        ("TT-2", "TT", "700", course(start=400, form="patch"), "other product at the time of the sample"),
        ("TT-3", "TT", "950", course(start=400), "other product at the time of the sample"),
    ],
)
def test_why_a_sample_is_not_for_a_rule(knowledge, rule, marker, value, who, reason):
    ended = outcome(chart(measurement(marker, value, 10), therapies=[who]), knowledge, rule)
    assert (ended.result, ended.reason) == ("not applicable", reason)


def test_a_rule_for_one_product_at_the_sample(knowledge):
    """Gel and injection on the day of the sample: the rule for gel and the rule without injections both look."""
    gel, shot = supply("topical", "testosterone", 300, 100), supply("injection", "testosterone cypionate", 200)
    who = course(start=300, supplies=[shot, gel])
    patient = chart(measurement("TT", "950", 150), therapies=[who])
    spec = {"marker": "TT", "therapy": "TESTOSTERONE", "above": "900"}

    def word(**products):
        return judged(knowledge, patient, **spec, **products).result

    assert word(product={"form": "topical"}) == "finding"
    assert word(product={"form": ["injection"], "agent": ["testosterone cypionate"]}) == "finding"
    assert word(product={"form": "injection", "agent": "testosterone undecanoate"}) == "not applicable"
    assert word(product={"form": "topical", "agent": "testosterone cypionate"}) == "not applicable"
    assert word(not_product={"form": "topical"}) == "not applicable"
    assert word(not_product={"form": "injection", "agent": "testosterone undecanoate"}) == "finding"


@pytest.mark.parametrize(
    ("value", "high", "speaks"), [("120", "40", False), ("121", "40", True), ("91", "30", True)]
)
def test_a_multiple_of_the_laboratorys_limit(knowledge, value, high, speaks):
    """LIV-like: three times the upper limit; 3 x 40 = 120, 3 x 30 = 90."""
    patient = chart(measurement("ALT", value, 10, reference_high=Decimal(high)))
    ended = judged(knowledge, patient, marker="ALT", above={"reference": "high", "times": "3", "default": "40"})
    assert (ended.finding is not None) is speaks


@pytest.mark.parametrize(("value", "speaks"), [("120", False), ("121", True)])
def test_a_multiple_of_the_default_where_none_was_reported(knowledge, value, speaks):
    patient = chart(measurement("ALT", value, 10))
    ended = judged(knowledge, patient, marker="ALT", above={"reference": "high", "times": "3", "default": "40"})
    assert (ended.finding is not None) is speaks
    if ended.finding is not None:
        assert (ended.finding.limit, messages(ended.finding)) == (Decimal(120), [])


@pytest.mark.parametrize(("value", "speaks"), [("3.4", True), ("3.5", False)])
def test_the_lower_limit_of_the_laboratory(knowledge, value, speaks):
    patient = chart(measurement("ALB", value, 10, reference_low=Decimal("3.5"), reference_high=Decimal("5.5")))
    ended = judged(knowledge, patient, marker="ALB", below={"reference": "low"})
    assert (ended.finding is not None) is speaks


def test_explain_is_told_what_was_compared(knowledge):
    """PSA 2.10 under finasteride for long counts as 4.20; hematocrit meets the laboratory's own limit."""
    drug = course("FIVE_ARI", start=400, form="oral")
    psa = measurement("PSA", "2.10", 10)
    seen = ctx(on_testosterone(psa, start=900, therapies=[drug]), knowledge)
    seen.steps = []
    rule = next(rule for rule in knowledge.rules if rule.id == "PSA-1b")
    evaluate(rule, YES, seen)
    assert seen.steps == [
        Compared(rule.spec, "above", "PSA", Decimal("4.20"), ">", Decimal("4.00"), True, psa, factor=Decimal(2))
    ]
    hct = measurement("HCT", "49", 10, reference_high=Decimal(48))
    seen = ctx(chart(hct), knowledge)
    seen.steps = []
    spec = {"marker": "HCT", "above": {"reference": "high"}}
    evaluate(msgspec.structs.replace(rule, spec=spec), YES, seen)
    assert seen.steps == [
        Compared(spec, "above", "HCT", Decimal("49.0"), ">", Decimal("48.0"), True, hct, own_range=True)
    ]


def test_a_finding_rests_on_the_result_the_therapy_and_three_earlier_results(knowledge):
    series = [
        measurement("HCT", value, ago) for value, ago in (("55", 1), ("51", 30), ("50", 60), ("49", 90), ("48", 99))
    ]
    unreadable = measurement("HCT", None, 45, problem="text", reported="clotted")
    patient = on_testosterone(*series, unreadable)
    finding = found(patient, knowledge, "HCT-1")
    assert finding.earlier == tuple(series[1:4])
    assert (finding.facts, finding.operator) == (patient.therapies, ">")
    assert outcome(patient, knowledge, "HCT-1").reason == "55.0 > 54.0"


def test_a_finding_keeps_what_its_card_tells(knowledge):
    """Three or more earlier results are three; the list is cut; the drug doubles the value (4.9)."""
    drug = course("FIVE_ARI", start=400, form="oral")
    results = [
        measurement("PSA", value, ago)
        for value, ago in (("2.10", 10), ("1.0", 20), ("1.1", 30), ("1.2", 40), ("1.3", 50))
    ]
    patient = on_testosterone(*results, start=900, therapies=[drug], gaps=[gap("PSA")])
    ended = outcome(patient, knowledge, "PSA-1b")
    assert ended.finding is not None
    assert ended.finding.values == {"factor": Decimal(2)}
    assert [(doubt.message, doubt.area) for doubt in ended.finding.doubts] == [("gap_absent", "PSA")]
    assert ended.doubts == ended.finding.doubts
    assert ended.finding.facts == patient.therapies[:1]
    assert ended.finding.earlier == tuple(results[1:4])


def test_the_card_can_name_the_laboratorys_limit_and_the_result_with_a_comparator(knowledge):
    high = measurement("E2", "35", 10, reference_high=Decimal(34))
    ended = judged(knowledge, chart(high), marker="E2", above={"reference": "high"})
    assert ended.finding is not None
    assert ended.finding.lines == (Line("limit_of_laboratory", {"result": high}),)
    open_one = measurement("HCT", ">53", 10)
    doubt = Doubt("comparator", "HCT", {"result": open_one})
    assert judged(knowledge, chart(open_one), marker="HCT", above="54.0").doubts == (doubt,)


@pytest.mark.parametrize(("sex", "indicator"), [("male", "warning"), ("female", "info")])
def test_the_urgency_may_depend_on_the_patient(knowledge, sex, indicator):
    more = ({"when": {"sex": "male"}, "indicator": "warning"},)
    patient = chart(measurement("LDL", "200", 10), sex=sex)
    ended = judged(knowledge, patient, marker="LDL", at_or_above="190", indicator_when=more)
    assert ended.finding is not None
    assert ended.finding.indicator == indicator


FACTOR = {"therapy": "FIVE_ARI", "factor": "2", "from_day": 180, "uncertain_from": 90, "washout_days": 180}


@pytest.mark.parametrize(
    ("started", "ended", "factor", "message", "more"),
    [
        (190, None, 2, "adjusted", {"factor": Decimal(2), "days": 180}),
        (None, None, 2, "adjusted", {"factor": Decimal(2), "days": None}),
        (100, None, 1, "adjust_falling", {}),
        (300, 20, 1, "adjust_washout", {}),
    ],
    ids=["long on it", "start unknown", "falling", "stopped lately"],
)
def test_what_is_said_of_a_drug_that_lowers_the_marker(knowledge, started, ended, factor, message, more):
    """The sample is of 10 days ago (4.9)."""
    psa, drug = measurement("PSA", "2.10", 10), course("FIVE_ARI", start=started, end=ended, form="oral")
    found = adjust(psa, FACTOR, ctx(chart(psa, therapies=[drug]), knowledge))
    line = Line(message, {**FACTOR, "therapy": drug, "result": psa, **more})
    assert found == Adjusted(Decimal(factor), (line,), interpretable=message != "adjust_falling")


def test_a_drug_begun_after_the_sample_does_not_hide_one_that_had_just_ended(knowledge):
    psa = measurement("PSA", "2.10", 10)
    later, before = course("FIVE_ARI", start=5, form="oral"), course("FIVE_ARI", start=300, end=20, form="oral")
    for drugs in ((later, before), (before, later)):
        found = adjust(psa, FACTOR, ctx(chart(psa, therapies=drugs), knowledge))
        assert [line.message for line in found.lines] == ["adjust_washout"]


def test_explain_is_told_where_the_default_stands(knowledge):
    spec = {"marker": "E2", "above": {"reference": "high", "default": "40.0"}}
    e2 = measurement("E2", "55", 10)
    seen = ctx(chart(e2), knowledge)
    seen.steps = []
    rule = next(rule for rule in knowledge.rules if rule.id == "LDL-1")
    evaluate(msgspec.structs.replace(rule, spec=spec), YES, seen)
    assert seen.steps == [Compared(spec, "above", "E2", Decimal("55.0"), ">", Decimal("40.0"), True, e2)]


def test_the_reason_of_a_kept_limit_and_of_a_range_that_was_not_reported(knowledge):
    kept = judged(knowledge, chart(measurement("HCT", "45", 5)), marker="HCT", above="54.0")
    assert (kept.result, kept.reason) == ("fine", "45.0 not > 54.0")
    cut = gap("IGF1", kind="truncated", complete_since=100)
    patient = chart(measurement("IGF1", "200", 5), gaps=[cut])
    ended = judged(knowledge, patient, marker="IGF1", above={"reference": "high"})
    assert (ended.result, ended.reason) == ("not applicable", "no reference range was reported")
    assert [doubt.message for doubt in ended.doubts] == ["gap_truncated"]


# -- what is worked out once -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "limit",
    [
        {"by_sex": {"male": "50", "female": "45"}},
        {"reference": "high", "default": {"by_sex": {"male": "50", "female": "45"}}},
    ],
)
def test_a_limit_by_sex_is_that_of_each_patient(knowledge, limit):
    """One rule judges a man and a woman with 47 %, then another woman and another man."""
    rule = next(rule for rule in knowledge.rules if rule.id == "HCT-2")
    rule = msgspec.structs.replace(rule, spec={"marker": "HCT", "above": limit})
    result = measurement("HCT", "47", 5)
    ends = [
        evaluate(rule, YES, ctx(chart(result, sex=sex), knowledge)) for sex in ("male", "female", "female", "male")
    ]
    assert [end.finding and end.finding.limit for end in ends] == [None, Decimal(45), Decimal(45), None]
    assert [end.values["limit"] for end in ends] == [Decimal(50), Decimal(45), Decimal(45), Decimal(50)]


def test_a_limit_of_the_laboratory_is_that_of_each_result(knowledge):
    rule = next(rule for rule in knowledge.rules if rule.id == "HCT-2")
    rule = msgspec.structs.replace(rule, spec={"marker": "HCT", "above": {"reference": "high"}})
    results = [measurement("HCT", "47", 5, reference_high=Decimal(high)) for high in ("50", "45", "50")]
    ends = [evaluate(rule, YES, ctx(chart(result), knowledge)).result for result in results]
    assert ends == ["fine", "finding", "fine"]


def test_a_level_that_would_matter_in_one_form_is_told_where_the_form_is_not_known(knowledge):
    """E2H-1: above 200 pg/mL, on implants or injections."""

    on_estradiol = [course("ESTRADIOL", form="unknown")]

    def ended(value: str, *gaps: Gap) -> Outcome:
        patient = chart(measurement("E2", value, 10), therapies=on_estradiol, sex="female", gaps=gaps)
        return outcome(patient, knowledge, "E2H-1")

    assert ended("200.0").result == "fine"
    told = Doubt("route_unknown_result", "E2", {"name": "estradiol", "result": measurement("E2", "200.1", 10)})
    assert ended("200.1") == Outcome("E2H-1", "unknown", "not known if it applies", (told,))
    cut = Doubt("gap_truncated", "E2", {"key": "key", "detail": ""})
    beside = ended("200.1", gap("E2", kind="truncated"))
    assert beside == Outcome("E2H-1", "unknown", "not known if it applies", (told, cut))
