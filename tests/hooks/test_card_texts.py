"""Typical cards word for word, as a clinician reads them: the fact first, with value, unit and date (6.3)."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from cds_service.chart import Gap, When
from cds_service.knowledge.model import Knowledge
from cds_service.rules.outcome import Evaluation
from tests.hooks.tour import SIGN, Stop, numbered, renderer, result
from tests.rules.conftest import (
    TODAY,
    chart,
    condition,
    course,
    draft,
    judge,
    month,
    on_testosterone,
    order,
    procedure,
    switched,
    when,
)

RXNORM = "RxNorm product 835840"
CLOSING = "Supports, does not replace, clinical judgement."


def card_of(stop: Stop, topic: str, knowledge: Knowledge) -> dict[str, Any]:
    return next(card for card in stop.cards(knowledge) if card["source"]["topic"]["code"] == topic)


def paragraphs(*texts: str) -> str:
    return "\n\n".join(texts)


def lab(marker: str, value: str, on: date, reported: str, **fields: Any) -> Any:
    """A result as the laboratory sent it: `0.552 L/L`."""
    number, unit = reported.split()
    return result(marker, value, on, reported=number, reported_unit=unit, **fields)


def test_hematocrit_above_the_stop_limit(knowledge: Knowledge) -> None:
    """0.552 L/L is 55.2 %; the clock began 2025-07-10, which makes 2026-11-10 day 488."""
    patient = on_testosterone(
        lab("HCT", "55.2", date(2026, 11, 10), "0.552 L/L", source="Observation/hct-3"),
        lab("HCT", "51.0", date(2026, 8, 14), "51.0 %"),
        lab("HCT", "48.1", date(2026, 5, 6), "0.481 L/L"),
        start=date(2025, 7, 10),
        therapies=(),
    )
    card = card_of(Stop("", patient), "HCT-1", knowledge)
    assert card["indicator"] == "critical"
    assert card["summary"] == "Hematocrit 55.2 % on 2026-11-10 (limit 54 %) on testosterone cypionate"
    assert card["detail"] == paragraphs(
        "**Hematocrit 55.2 % on 2026-11-10** (reported as 0.552 L/L; limit: above 54 %).",
        "Review before continuing testosterone. Consider pausing it until hematocrit has fallen to a safe level, "
        "evaluate for hypoxia and sleep apnoea, and consider a lower dose when restarting.",
        "| Date | Hematocrit (as reported) |\n"
        "|---|---|\n"
        "| 2026-11-10 | 55.2 % (0.552 L/L) |\n"
        "| 2026-08-14 | 51.0 % |\n"
        "| 2026-05-06 | 48.1 % (0.481 L/L) |",
        "- On testosterone cypionate (injection) since 2025-07-10 (sample on day 488); "
        "recognised from RxNorm product 1.",
        "Basis:",
        "- Endocrine Society 2018, Monitoring table; recommendations 3.1 and 3.2 "
        "(strength: not stated for the limit; figure from expert knowledge)\n"
        "- EAU 2025, Follow-up (strength: not stated)\n"
        "- BSSM 2023, Follow-up (strength: level 4, grade C)",
        "AUA 2018 acts at 54 % and above; EAU 2025 withdraws above 54 % and considers phlebotomy in high-risk "
        "patients.",
        f"Rule HCT-1, version 1; result: `Observation/hct-3`. {CLOSING}",
    )
    assert card["source"] == {
        "label": "Endocrine Society 2018",
        "url": "https://doi.org/10.1210/jc.2018-00229",
        "topic": {
            "system": "urn:cds-service:rule",
            "code": "HCT-1",
            "display": "Hematocrit above the stop limit on testosterone",
        },
    }
    assert [reason["display"] for reason in card["overrideReasons"]] == [
        "Will monitor",
        "Done elsewhere",
        "Not appropriate for this patient",
    ]


def test_psa_doubled_for_finasteride(knowledge: Knowledge) -> None:
    """2.60 ng/mL after 380 days of finasteride stands for 5.20, above 4; day 480 is after the first year."""
    patient = on_testosterone(
        lab("PSA", "2.6", date(2026, 11, 2), "2.6 ng/mL", source="Observation/psa-9"),
        start=date(2025, 7, 10),
        therapies=[course("FIVE_ARI", date(2025, 10, 18), form="oral")],
    )
    card = card_of(Stop("", patient), "PSA-1b", knowledge)
    assert card["indicator"] == "warning"
    assert card["summary"] == "PSA 2.60 ng/mL on 2026-11-02, counted as 5.20 ng/mL on finasteride (limit 4 ng/mL)"
    assert card["detail"] == paragraphs(
        "**PSA 2.60 ng/mL on 2026-11-02, counted as 5.20 ng/mL** (limit: above 4 ng/mL).",
        "Assess by the prostate-cancer screening guideline in use.",
        "- On testosterone cypionate (injection) since 2025-07-10 (sample on day 480); "
        "recognised from RxNorm product 1.\n"
        "- On finasteride for 380 days at the sample of 2026-11-02: the measured 2.60 ng/mL is multiplied by 2.",
        "Basis: Endocrine Society 2018, After the first year: standard screening (strength: not stated).",
        f"Rule PSA-1b, version 1; result: `Observation/psa-9`; sex: recorded gender. {CLOSING}",
    )


def test_three_month_tests_overdue(knowledge: Knowledge) -> None:
    """Started 2026-07-15: day 90 is 2026-10-13, day 121 is 2026-11-13. TT was last taken before the window."""
    patient = on_testosterone(lab("TT", "480", date(2026, 5, 16), "480 ng/dL"), start=date(2026, 7, 15))
    card = card_of(Stop("", patient), "MISS", knowledge)
    assert card["indicator"] == "warning"
    assert card["summary"] == (
        "3-month tests overdue on testosterone cypionate: total testosterone, estradiol, CBC (with hematocrit)"
    )
    assert card["detail"] == paragraphs(
        "**3-month tests for testosterone therapy in men: due around 2026-10-13, overdue since 2026-11-13.**",
        "| Test | Last done |\n"
        "|---|---|\n"
        "| Total testosterone | 2026-05-16 |\n"
        "| Estradiol | never recorded here |\n"
        "| CBC (with hematocrit) | never recorded here |",
        "- Estradiol: Prefer an LC-MS/MS assay for men and for women on low-dose therapy or an aromatase "
        "inhibitor.\n"
        "- On testosterone cypionate (injection) since 2026-07-15 (day 130); recognised from RxNorm product 1.\n"
        "- Draw testosterone midway between two injections, or as a trough.",
        "Basis: Hormone monitoring article, Monitoring table (strength: expert article).",
        "Endocrine Society 2018: testosterone, hematocrit and PSA at 3 to 6 months, then yearly; no guideline asks "
        "for estradiol without breast symptoms, nor for SHBG on treatment.",
        f"Rule MISS-male_trt, version 1; sex: recorded gender. {CLOSING}",
    )
    assert [suggestion["label"] for suggestion in card["suggestions"]] == [
        "Draft orders for all 3 tests",
        "Draft order: total testosterone",
        "Draft order: estradiol",
        "Draft order: CBC (with hematocrit)",
    ]


def test_prostate_cancer_before_testosterone(knowledge: Knowledge) -> None:
    patient = chart(
        conditions=[
            condition("prostate_cancer", onset=date(2024, 3, 2), name="Malignant neoplasm of prostate", code="C61")
        ],
        drafts=[draft(name="testosterone cypionate 200 MG/ML Injectable Solution", recognised=RXNORM)],
    )
    card = card_of(Stop("", patient, SIGN), "C-T-1", knowledge)
    assert card["indicator"] == "critical"
    assert card["summary"] == "Prostate cancer in the chart: labelled contraindication to testosterone"
    assert card["detail"] == paragraphs(
        "- In the chart: Malignant neoplasm of prostate (C61), onset 2024-03-02.\n"
        "- Drafted: testosterone cypionate 200 MG/ML Injectable Solution; recognised from RxNorm product 835840.",
        "Prostate cancer and male breast cancer are labelled contraindications to testosterone. "
        "Review before continuing with this order.",
        "- Testosterone can raise blood pressure (US label, February 2025): consider checking it.",
        "Basis: Endocrine Society 2018, Recommendation 2.2 (strength: 1, ++OO).",
        "EAU 2025: absolute in locally advanced or metastatic disease, possible after treated low-risk disease; "
        "AUA 2018: inadequate evidence, decide individually.",
        f"Rule C-T-1, version 1. {CLOSING}",
    )
    assert "suggestions" not in card


def test_what_could_not_be_judged(knowledge: Knowledge) -> None:
    """One key that failed, one that was absent, one result without a unit."""
    patient = on_testosterone(
        result("E2", None, date(2026, 11, 12), reported="28", problem="no_unit"),
        start=date(2026, 9, 3),
        gaps=[
            Gap("labs1", "outcome", "", frozenset(["HCT", "PSA"])),
            Gap("conditions", "absent", "", frozenset(["conditions"])),
        ],
    )
    card = card_of(Stop("", patient), "UNKNOWN", knowledge)
    assert card["indicator"] == "info"
    names = card["summary"].removeprefix("Hormone-therapy monitoring could not judge: ").split(", ")
    assert sorted(names) == ["PSA", "conditions", "estradiol", "hematocrit"]
    intro, notes, *rest = card["detail"].split("\n\n")
    assert intro == "**These could not be judged; that no card speaks of them is not an all-clear:**"
    assert sorted(notes.split("\n")) in (
        [
            "- Conditions: not sent by the EHR (prefetch key `conditions`).",
            "- Estradiol 28 of 2026-11-12: no unit was reported; not assessed.",
            f"- {labs}: the EHR could not fetch the data (prefetch key `labs1`).",
        ]
        for labs in ("Hematocrit, PSA", "PSA, hematocrit")
    )
    assert rest == [f"Rule UNKNOWN, version 1. {CLOSING}"]
    assert card["source"]["label"] == "Hormone therapy monitoring service"


# -- single lines ------------------------------------------------------------------------------------


def summary_of(topic: str, patient: Any, knowledge: Knowledge, hook: str = "patient-view") -> str:
    summary: str = card_of(Stop("", patient, hook), topic, knowledge)["summary"]
    return summary


def test_a_month_is_not_a_day(knowledge: Knowledge) -> None:
    patient = on_testosterone(result("HCT", "55", when=month(date(2026, 10, 1))), start=500)
    card = card_of(Stop("", patient), "HCT-1", knowledge)
    assert card["summary"] == "Hematocrit 55.0 % on 2026-10 (limit 54 %) on testosterone cypionate"
    assert "- Only the month of the sample is known." in card["detail"]


def test_a_recent_infarction_is_dated_in_the_summary(knowledge: Knowledge) -> None:
    patient = chart(conditions=[condition("mi", onset=date(2026, 8, 1))], drafts=[draft()])
    assert summary_of("C-T-5", patient, knowledge, SIGN) == (
        "Myocardial infarction of 2026-08-01: within 6 months, review before testosterone"
    )


def test_a_recorded_infarction_may_be_older(knowledge: Knowledge) -> None:
    patient = chart(conditions=[condition("mi", recorded=when(date(2026, 11, 15)))], drafts=[draft()])
    assert summary_of("C-T-5", patient, knowledge, SIGN) == (
        "Myocardial infarction (recorded 2026-11-15, onset unknown): perhaps within 6 months, "
        "review before testosterone"
    )


@pytest.mark.parametrize(
    ("onset", "said"),
    [
        (When(date(2026, 1, 1), date(2026, 12, 31), "year"), "of 2026: perhaps within"),
        (When(date(2026, 1, 1), date(2026, 10, 1), "period"), "of 2026-01-01 – 2026-10-01: perhaps within"),
        (month(date(2026, 10, 1)), "of 2026-10: within"),
    ],
)
def test_an_infarction_of_some_day_of_a_longer_time_may_be_older(
    onset: When, said: str, knowledge: Knowledge
) -> None:
    card = card_of(
        Stop("", chart(conditions=[condition("mi", onset=onset)], drafts=[draft()]), SIGN), "C-T-5", knowledge
    )
    assert card["summary"] == f"Myocardial infarction {said} 6 months, review before testosterone"
    assert "the date of onset is uncertain" in card["detail"]


def test_the_months_are_those_that_the_site_has_chosen(knowledge: Knowledge) -> None:
    patient = chart(conditions=[condition("mi", onset=date(2026, 10, 1))], drafts=[draft()])
    assert summary_of("C-T-5", patient, switched(knowledge, cv_event_months=3), SIGN) == (
        "Myocardial infarction of 2026-10-01: within 3 months, review before testosterone"
    )


def test_a_lower_limit_reads_as_one(knowledge: Knowledge) -> None:
    patient = on_testosterone(lab("TT", "250", date(2026, 11, 12), "250 ng/dL"), start=100)
    assert summary_of("TT-4", patient, knowledge) == (
        "Total testosterone 250 ng/dL on 2026-11-12 (below 350 ng/dL) on testosterone cypionate"
    )


def test_estradiol_on_an_aromatase_inhibitor_names_the_inhibitor(knowledge: Knowledge) -> None:
    drug = course("AROMATASE_INHIBITOR", 100, form="oral", agent="anastrozole")
    patient = on_testosterone(lab("E2", "5", date(2026, 11, 12), "5.0 pg/mL"), start=300, therapies=[drug])
    assert summary_of("E2M-2", patient, knowledge) == (
        "Estradiol 5.0 pg/mL on 2026-11-12 (below 10 pg/mL) on anastrozole"
    )


def test_a_therapy_that_two_protocols_rest_on_is_told_once(knowledge: Knowledge) -> None:
    drug = course("AROMATASE_INHIBITOR", 100, form="oral", agent="anastrozole")
    patient = on_testosterone(lab("LDL", "200", date(2026, 11, 12), "200 mg/dL"), start=300, therapies=[drug])
    detail = card_of(Stop("", patient), "LDL-1", knowledge)["detail"]
    assert (detail.count("On testosterone cypionate"), detail.count("On anastrozole")) == (1, 1)


@pytest.mark.parametrize(("stop_limit", "said"), [("54.0", "54 %"), ("56.0", "56 %")])
def test_the_stop_limit_is_the_sites(stop_limit: str, said: str, knowledge: Knowledge) -> None:
    patient = on_testosterone(lab("HCT", "53", date(2026, 11, 12), "53 %"), start=500)
    card = card_of(Stop("", patient), "HCT-2", switched(knowledge, hct_stop=Decimal(stop_limit)))
    assert card["summary"] == (
        f"Hematocrit 53.0 % on 2026-11-12 (limit 52 %, stop limit {said}) on testosterone cypionate"
    )
    assert ("54 %" in card["summary"] + card["detail"]) is (stop_limit == "54.0")


def test_triglycerides_before_oral_estrogen_have_value_unit_and_date(knowledge: Knowledge) -> None:
    patient = chart(
        lab("TRIG", "900", date(2026, 11, 1), "900 mg/dL"),
        drafts=[draft("ESTRADIOL", agent="estradiol", form="oral")],
        sex="female",
    )
    assert summary_of("C-E-9", patient, knowledge, SIGN) == (
        "Triglycerides 900 mg/dL on 2026-11-01 (limit 500 mg/dL): review before systemic estrogen"
    )


@pytest.mark.parametrize(
    ("results", "said"),
    [
        ([lab("TSH", "30", date(2026, 11, 12), "30 mIU/L")], "TSH 30.000 mIU/L on 2026-11-12 was not judged"),
        ([], "TSH is not usable"),
    ],
)
def test_tsh_that_a_diagnosis_sets_aside_is_shown(results: list[Any], said: str, knowledge: Knowledge) -> None:
    drug = course("LEVOTHYROXINE", 100, form="oral", agent="levothyroxine")
    patient = chart(*results, therapies=[drug], conditions=[condition("central_hypothyroidism")])
    assert summary_of("TSH-C", patient, knowledge) == f"Central hypothyroidism: {said}, follow free T4"


def test_a_line_says_of_a_lower_limit_that_it_is_one(knowledge: Knowledge) -> None:
    patient = on_testosterone(lab("TT", "250", date(2026, 11, 12), "250 ng/dL"), start=100)
    card = card_of(Stop("", patient, switches={"tt_target": "seed"}), "TT-4", knowledge)
    assert "250 ng/dL on 2026-11-12 (below 450 ng/dL)." in card["detail"]


def test_one_missing_test_before_a_start_is_named(knowledge: Knowledge) -> None:
    patient = chart(drafts=[draft(form="topical", agent="testosterone")], sex="female")
    detail = card_of(Stop("", patient, SIGN), "C-T-11", knowledge)["detail"]
    assert detail.startswith(
        "**Before a start of testosterone (topical): no recent result of total testosterone in the chart.**"
    )


def test_a_rise_names_both_values(knowledge: Knowledge) -> None:
    latest, first = (
        lab("PSA", "2.6", date(2026, 11, 12), "2.6 ng/mL"),
        lab("PSA", "1", date(2026, 1, 16), "1.0 ng/mL"),
    )
    card = card_of(Stop("", on_testosterone(latest, first, start=date(2026, 1, 26))), "PSA-2", knowledge)
    assert card["summary"] == "PSA 2.60 ng/mL on 2026-11-12: 1.60 ng/mL more than on 2026-01-16 (limit 1.4 ng/mL)"
    assert card["detail"].startswith(
        "**PSA 2.60 ng/mL on 2026-11-12: 1.60 ng/mL above the baseline of 1.00 ng/mL on 2026-01-16** "
        "(limit: a rise of more than 1.4 ng/mL)."
    )


def test_a_rise_of_a_doubled_baseline_is_no_doubled_result(knowledge: Knowledge) -> None:
    """The drug ended 200 days before the latest sample: only the baseline is doubled, and the card says which."""
    drug = course("FIVE_ARI", date(2025, 1, 1), date(2026, 4, 1))
    latest, first = (
        lab("PSA", "3.9", date(2026, 11, 12), "3.9 ng/mL"),
        lab("PSA", "1", date(2026, 1, 16), "1.0 ng/mL"),
    )
    patient = on_testosterone(latest, first, start=date(2026, 1, 26), therapies=[drug])
    card = card_of(Stop("", patient), "PSA-2", knowledge)
    assert card["summary"] == "PSA 3.90 ng/mL on 2026-11-12: 1.90 ng/mL more than on 2026-01-16 (limit 1.4 ng/mL)"
    assert "- On finasteride for 380 days at the sample of 2026-01-16: the measured 1.00 ng/mL" in card["detail"]


def test_a_trend_is_arithmetic_with_its_inputs(knowledge: Knowledge) -> None:
    """42, 46, 50 at intervals of 90 days: 4 in 90 days is 1.333 in 30, and 54 is met 90 days after the last."""
    days = [date(2026, 5, 16), date(2026, 8, 14), date(2026, 11, 12)]
    results = [lab("HCT", value, day, f"{value} %") for value, day in zip(("42", "46", "50"), days, strict=True)]
    card = card_of(Stop("", on_testosterone(*results, start=date(2026, 1, 26))), "TREND-HCT", knowledge)
    assert card["summary"] == "Hematocrit 50.0 % on 2026-11-12, rising: 54 % projected around 2027-02-10"
    assert card["detail"].split("\n\n")[0] == (
        "**Hematocrit 50.0 % on 2026-11-12, rising by 1.333 % in 30 days over 3 results: "
        "54 % projected around 2027-02-10.**"
    )
    assert "| 2026-05-16 | 42.0 % |" in card["detail"]


def test_a_drug_known_from_its_name_only_is_told_once(knowledge: Knowledge) -> None:
    written = draft(name="Testo Gel", from_text=True, recognised='free text "testo"')
    card = card_of(Stop("", chart(drafts=[written]), SIGN), "C-T-7", knowledge)
    assert card["detail"].count("free text") == 1
    assert "- Drafted: Testo Gel." in card["detail"]
    assert (
        '- testosterone cypionate was recognised from free text "testo", not from a code: consider confirming it.'
        in card["detail"]
    )


def test_the_time_of_a_diagnostic_sample_is_told_or_missed(knowledge: Knowledge) -> None:
    at_noon = lab("TT", "250", date(2026, 10, 1), "250 ng/dL", time="12:05")
    undated = lab("TT", "240", date(2026, 11, 1), "240 ng/dL")
    card = card_of(Stop("", chart(at_noon, undated, drafts=[draft()]), SIGN), "C-T-7b", knowledge)
    assert "- Total testosterone 250 ng/dL on 2026-10-01 at 12:05." in card["detail"]
    assert "- Total testosterone 240 ng/dL on 2026-11-01, collection time unknown." in card["detail"]


def test_facts_that_came_from_orders_and_procedures(knowledge: Knowledge) -> None:
    """An interaction may rest on a drafted test; a contraindication on a procedure."""
    (base,) = [f for f in judge(chart(drafts=[draft()]), knowledge, SIGN).findings if f.rule.id == "C-T-7"]
    finding = msgspec.structs.replace(base, facts=(order("RT3", drafted=True), procedure("hysterectomy")))
    (card,) = renderer(knowledge)(Evaluation(SIGN, TODAY, (), (finding,)), chart(), numbered())
    assert card["detail"].startswith("- In the chart: hysterectomy.\n- Drafted: RT3.\n\n")


def test_a_diagnosis_without_a_name_shows_its_code_once(knowledge: Knowledge) -> None:
    patient = chart(conditions=[condition("prostate_cancer", name="C61", code="C61")], drafts=[draft()])
    card = card_of(Stop("", patient, SIGN), "C-T-1", knowledge)
    assert card["detail"].startswith("- In the chart: C61.\n")
