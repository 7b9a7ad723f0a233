"""Kinds `precondition` and `interaction`: what speaks against an order, and the scope of the service (4.4, 2.3)."""

from __future__ import annotations

from datetime import date

import pytest

from cds_service.chart import When
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
    month,
    on_testosterone,
    outcome,
    procedure,
    result_of,
    switched,
    when,
    with_site_codes,
)

HOOKS = ["order-select", "order-sign"]
SIGN = "order-sign"


def new_start(*results, drafts=(), **parts):
    """A testosterone order for a man who takes none."""
    return chart(*results, drafts=drafts or [draft()], **parts)


def renewal(*results, drafts=(), **parts):
    """The same order for a man who takes it already."""
    return on_testosterone(*results, drafts=drafts or [draft()], **parts)


# -- which checks run (4.4) --------------------------------------------------------------------------

ALWAYS = {"C-T-1", "C-T-5", "C-T-6", "C-T-PREG", "C-T-10"}
NEW_ONLY = {"C-T-2a", "C-T-2b", "C-T-3", "C-T-7", "C-T-7b", "C-T-7c", "C-T-8", "C-T-9"}
SITE_ONLY = {"C-T-4", "PSA-3"}


def running(patient, knowledge, hook=SIGN) -> set[str]:
    outcomes = judge(patient, knowledge, hook).outcomes
    return {o.rule for o in outcomes if o.applies and (o.rule.startswith("C-T-") or o.rule == "PSA-3")}


@pytest.mark.parametrize("hook", HOOKS)
def test_a_new_start_runs_all_checks_and_a_renewal_the_contraindications(knowledge, hook):
    risk = {"conditions": [condition("prostate_cancer_high_risk", active=True)]}
    site = with_site_codes(knowledge, "cpap", "prostate_cancer_high_risk")
    assert running(new_start(**risk), knowledge, hook) == ALWAYS | NEW_ONLY
    assert running(new_start(**risk), site, hook) == ALWAYS | NEW_ONLY | SITE_ONLY
    assert running(renewal(**risk), site, hook) == ALWAYS | {"C-T-4"}


def test_a_past_course_makes_it_a_new_start(knowledge):
    assert running(new_start(therapies=[course(start=900, end=200)]), knowledge) == ALWAYS | NEW_ONLY


def test_another_hormone_current_does_not_make_it_a_renewal(knowledge):
    assert running(new_start(therapies=[course("FIVE_ARI")]), knowledge) == ALWAYS | NEW_ONLY


def test_nothing_of_it_runs_in_the_patient_view_or_for_another_draft(knowledge):
    assert running(new_start(), knowledge, "patient-view") == set()
    assert running(new_start(drafts=[draft("FIVE_ARI")]), knowledge) == set()
    assert running(new_start(drafts=[draft(selected=False)]), knowledge, "order-select") == set()


def test_no_threshold_card_of_the_patient_view_in_an_order_hook(knowledge):
    patient = renewal(measurement("HCT", "56", 5), measurement("TT", "1200", 5))
    assert not {rule for rule, _ in cards(judge(patient, knowledge, SIGN))} & {"HCT-1", "TT-1", "MISS-male_trt"}


@pytest.mark.parametrize("sex", ["male", "female", None])
def test_a_woman_is_not_asked_for_the_baseline_of_men(knowledge, sex):
    runs = running(new_start(sex=sex), knowledge) & NEW_ONLY
    assert runs == (NEW_ONLY if sex == "male" else {"C-T-2a", "C-T-2b"})


# -- diagnoses ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rule", "concept", "active", "word", "indicator"),
    [
        ("C-T-1", "prostate_cancer", True, "finding", "critical"),
        ("C-T-1", "prostate_cancer", False, "finding", "critical"),  # history counts
        ("C-T-1", "breast_cancer", True, "finding", "critical"),
        ("C-T-1", "thyroid_cancer", True, "fine", ""),
        ("C-T-6", "heart_failure", True, "finding", "warning"),
        ("C-T-6", "heart_failure", False, "fine", ""),
        ("C-T-6", "thrombophilia", True, "finding", "warning"),
        ("C-T-6", "vte", True, "finding", "warning"),
        ("C-T-6", "vte", False, "finding", "warning"),
        ("C-T-6", "ipss", True, "fine", ""),  # the site has given no codes
        ("C-T-9", "fertility_wish", True, "finding", "warning"),
        ("C-T-9", "fertility_wish", False, "fine", ""),
        ("C-T-PREG", "pregnancy", True, "finding", "critical"),
        ("C-T-PREG", "pregnancy", False, "fine", ""),
    ],
)
def test_diagnoses(knowledge, rule, concept, active, word, indicator):
    patient = new_start(conditions=[condition(concept, active=active)])
    assert result_of(patient, knowledge, rule, SIGN) == word
    if indicator:
        assert found(patient, knowledge, rule, SIGN).indicator == indicator


@pytest.mark.parametrize("rule", ["C-T-1", "C-T-5", "C-T-6", "C-T-9", "C-T-PREG"])
def test_without_diagnoses_the_check_is_fine_and_without_their_list_unknown(knowledge, rule):
    assert result_of(new_start(), knowledge, rule, SIGN) == "fine"
    ended = outcome(new_start(gaps=[gap("conditions")]), knowledge, rule, SIGN)
    assert (ended.result, ended.doubts[0].message) == ("unknown", "gap_absent")


def test_severe_urinary_symptoms_count_where_the_site_gives_the_codes(knowledge):
    patient = new_start(conditions=[condition("ipss")])
    assert result_of(patient, with_site_codes(knowledge, "ipss"), "C-T-6", SIGN) == "finding"


@pytest.mark.parametrize("rule", ["C-T-1", "C-T-PREG"])
def test_an_unconfirmed_diagnosis_is_a_warning(knowledge, rule):
    concept = {"C-T-1": "prostate_cancer", "C-T-PREG": "pregnancy"}[rule]
    maybe, sure = (condition(concept, uncertain=uncertain) for uncertain in (True, False))
    finding = found(new_start(conditions=[maybe]), knowledge, rule, SIGN)
    assert (finding.indicator, messages(finding)) == ("warning", ["condition_uncertain"])
    assert found(new_start(conditions=[maybe, sure]), knowledge, rule, SIGN).indicator == "critical"


def test_an_unconfirmed_pregnancy_does_not_weaken_a_positive_test(knowledge):
    maybe = condition("pregnancy", uncertain=True)
    positive = new_start(measurement("HCG", "500", 3), conditions=[maybe], sex="female")
    assert found(positive, knowledge, "C-T-PREG", SIGN).indicator == "critical"
    observed = new_start(pregnancy=["Observation/1"], conditions=[maybe], sex="female")
    assert found(observed, knowledge, "C-T-PREG", SIGN).indicator == "critical"


@pytest.mark.parametrize(
    ("rule", "concept", "switches"),
    [("C-T-1", "prostate_cancer", {}), ("C-T-PREG", "pregnancy", {}), ("C-T-5", "mi", {"cv_strict": True})],
)
def test_a_drug_known_from_text_only_caps_the_order_checks_at_warning(knowledge, rule, concept, switches):
    site = switched(knowledge, **switches)
    conditions = [condition(concept, onset=10)]
    text, coded = draft(from_text=True), draft(source="MedicationRequest/2")

    def shown(*drafts) -> tuple[str, bool]:
        finding = card(judge(new_start(drafts=drafts, conditions=conditions), site, SIGN), rule)
        return finding.indicator, "from_text" in messages(finding)

    assert (shown(text), shown(coded)) == (("warning", True), ("critical", False))
    assert shown(text, coded) == ("critical", True)


def test_a_hematocrit_above_54_is_capped_too_but_not_on_a_course(knowledge):
    patient = new_start(measurement("HCT", "55", 5), drafts=[draft(from_text=True)])
    assert card(judge(patient, knowledge, SIGN), "C-T-2a").indicator == "warning"
    patient = chart(measurement("HCT", "55", 5), therapies=[course(from_text=True)])
    assert card(judge(patient, knowledge), "HCT-1").indicator == "critical"


# -- C-T-4: sleep apnoea -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parts", "word"),
    [
        ({}, "fine"),
        ({"conditions": [condition("obstructive_sleep_apnoea")]}, "finding"),
        ({"conditions": [condition("obstructive_sleep_apnoea", active=False)]}, "fine"),
        ({"conditions": [condition("obstructive_sleep_apnoea")], "procedures": [procedure("cpap")]}, "fine"),
        (
            {"conditions": [condition("obstructive_sleep_apnoea")], "procedures": [procedure("hysterectomy")]},
            "finding",
        ),
        ({"conditions": [condition("obstructive_sleep_apnoea")], "gaps": [gap("procedures")]}, "unknown"),
        ({"gaps": [gap("conditions")]}, "unknown"),
        ({"gaps": [gap("procedures")]}, "fine"),
    ],
)
def test_untreated_sleep_apnoea(knowledge, parts, word):
    assert result_of(new_start(**parts), with_site_codes(knowledge, "cpap"), "C-T-4", SIGN) == word
    assert result_of(new_start(**parts), knowledge, "C-T-4", SIGN) == "not applicable"


# -- C-T-5: infarction or stroke, today is 2026-11-22 ------------------------------------------------


@pytest.mark.parametrize(
    ("onset", "word", "line"),
    [
        (date(2026, 5, 22), "fine", None),  # exactly six months ago
        (date(2026, 5, 23), "finding", None),
        (date(2026, 5, 21), "fine", None),
        (month(date(2026, 5, 1)), "finding", "onset_partial"),
        (month(date(2026, 4, 1)), "fine", None),
        (When(date(2026, 1, 1), date(2026, 12, 31), "year"), "finding", "onset_partial"),
        (When(date(2025, 1, 1), date(2025, 12, 31), "year"), "fine", None),
        (When(date(2020, 1, 1), date(2026, 5, 23), "period"), "finding", "onset_partial"),
        (When(date(2020, 1, 1), date(2026, 5, 22), "period"), "fine", None),
    ],
)
@pytest.mark.parametrize("concept", ["mi", "stroke"])
def test_an_event_within_six_calendar_months(knowledge, concept, onset, word, line):
    began = when(onset) if isinstance(onset, date) else onset
    patient = new_start(conditions=[condition(concept, onset=began)])
    assert result_of(patient, knowledge, "C-T-5", SIGN) == word
    if word == "finding":
        assert messages(found(patient, knowledge, "C-T-5", SIGN)) == ([line] if line else [])


@pytest.mark.parametrize(("recorded", "word"), [(10, "finding"), (400, "fine"), (None, "unknown")])
def test_without_onset_the_date_of_record_is_used_and_said_so(knowledge, recorded, word):
    noted = None if recorded is None else when(recorded)
    patient = new_start(conditions=[condition("mi", recorded=noted)])
    ended = outcome(patient, knowledge, "C-T-5", SIGN)
    assert ended.result == word
    if ended.finding:
        assert messages(ended.finding) == ["onset_from_recorded"]
    elif recorded is None:
        assert [doubt.message for doubt in ended.doubts] == ["condition_undated"]


def test_the_site_decides_about_urgency_and_months(knowledge):
    patient = new_start(conditions=[condition("mi", onset=date(2026, 7, 1))])
    assert found(patient, knowledge, "C-T-5", SIGN).indicator == "warning"
    assert found(patient, switched(knowledge, cv_strict=True), "C-T-5", SIGN).indicator == "critical"
    assert result_of(patient, switched(knowledge, cv_event_months=3), "C-T-5", SIGN) == "fine"
    maybe = new_start(conditions=[condition("mi", onset=date(2026, 7, 1), uncertain=True)])
    assert found(maybe, switched(knowledge, cv_strict=True), "C-T-5", SIGN).indicator == "warning"


def test_an_attack_that_passed_is_no_stroke(knowledge):
    assert result_of(new_start(conditions=[condition("tia", onset=5)]), knowledge, "C-T-5", SIGN) == "fine"


# -- C-T-10 ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("birth", "told"), [(date(1961, 11, 22), True), (date(1961, 11, 23), False)])
def test_65_is_a_line_in_another_card_and_never_a_card(knowledge, birth, told):
    patient = new_start(birth=birth)
    finding = card(judge(patient, knowledge, SIGN), "C-T-8")
    assert any("65 or older" in line.text for line in finding.lines) is told
    assert "C-T-10" not in dict(cards(judge(patient, knowledge, SIGN)))
    assert result_of(renewal(birth=birth), knowledge, "C-T-10", SIGN) == ("finding" if told else "fine")
    assert "C-T-10" not in dict(cards(judge(renewal(birth=birth), knowledge, SIGN)))


# -- pregnancy (2.3) ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "ago", "therapies", "word"),
    [
        ("24", 5, [], "fine"),
        ("24.9", 5, [], "fine"),
        ("25", 5, [], "finding"),
        ("25", 42, [], "finding"),
        ("25", 43, [], "fine"),
        ("25", 5, [course("HCG", start=60)], "fine"),
        ("25", 5, [course("HCG", start=60, end=14)], "fine"),
        ("25", 5, [course("HCG", start=60, end=15)], "finding"),
    ],
)
def test_hcg_of_25_within_42_days_without_hcg_as_a_drug(knowledge, value, ago, therapies, word):
    patient = new_start(measurement("HCG", value, ago), therapies=therapies, sex="female")
    assert result_of(patient, knowledge, "C-T-PREG", SIGN) == word


def test_an_observed_pregnancy_is_enough(knowledge):
    patient = new_start(pregnancy=["Observation/1"], sex="female")
    assert found(patient, knowledge, "C-T-PREG", SIGN).indicator == "critical"


def test_pregnancy_is_unknown_where_the_tests_are_missing(knowledge):
    assert result_of(new_start(sex="female", gaps=[gap("HCG")]), knowledge, "C-T-PREG", SIGN) == "unknown"
