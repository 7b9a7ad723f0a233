"""Every rule and every row of the schedules of the clinical reference is in the knowledge and in docs/rules.md.

The lists below are written down from the clinical reference, by hand: ids with their urgency (4.3 to 4.6, and the
ids that 0.4.2 names beside them), and the windows of section 3 in days. What they say is compared with the
knowledge as the service compiles it, with docs/rules.md, and with the scenarios. Cases for both sides of each rule,
limit and milestone are counted by `cds-service knowledge cover`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from cds_service.knowledge.model import Knowledge, Milestone, Rule
from cds_service.scenarios.bundles import example_cases
from cds_service.scenarios.reading import read
from cds_service.scenarios.run import Runner

TOP = Path(__file__).parents[2]
SCENARIOS = sorted((TOP / "tests" / "scenarios").glob("*.yaml"))

# id -> urgencies that its cards may have
IDS = {
    # 4.3
    "HCT-1": "critical",
    "HCT-2": "warning",
    "HCT-3": "info",
    "HGB-1": "warning",
    "TREND-HCT": "info",
    "PSA-1": "warning",
    "PSA-1b": "warning",
    "PSA-2": "warning",
    "PSA-3": "warning",
    "PSA-4": "info",
    "TT-1": "warning",
    "TT-2": "info",
    "TT-3": "info",
    "TT-4": "info",
    "TT-5": "info",
    "TT-SEED": "info",
    "E2M-1": "info",
    "E2M-2": "warning",
    "K-1": "critical",
    "K-2": "warning",
    "CR-1": "info",
    "E2F-1": "warning",
    "E2F-2": "info",
    "TF-1": "info",
    "PRL-1": "info warning",
    "TTM-1": "info",
    "TTM-2": "info",
    "TW-1": "warning",
    "HCTW-1": "warning",
    "TSH-1": "warning",
    "TSH-2": "info warning",
    "TSH-3": "info",
    "TSH-4": "warning",
    "TSH-P": "info",
    "TSH-C": "info",
    "IGFR-1": "warning",
    "IGFR-2": "critical",
    "IGFR-3": "info",
    "GLU-1": "warning",
    "GLU-2": "info",
    "ALT-1": "warning",
    "TG-1": "warning",
    "TG-2": "critical",
    "LDL-1": "info",
    "BTM-1": "info",
    "E2H-1": "info",
    "DQ-1": "info",
    "DQ-2": "info",
    "DQ-4": "info",
    # 4.4
    "C-T-1": "critical",
    "C-T-2a": "critical",
    "C-T-2b": "warning",
    "C-T-3": "warning",
    "C-T-4": "warning",
    "C-T-5": "critical warning",
    "C-T-6": "warning",
    "C-T-7": "warning",
    "C-T-7b": "info",
    "C-T-7c": "info",
    "C-T-8": "info warning",
    "C-T-9": "warning",
    "C-T-PREG": "critical",
    "C-T-10": "info",
    "C-T-11": "info",
    # 4.5
    "C-E-1": "critical info",
    "C-E-2": "critical warning",
    "C-E-3": "critical",
    "C-E-4": "critical warning",
    "C-E-5": "critical warning",
    "C-E-6": "warning",
    "C-E-7": "info",
    "C-E-8": "critical",
    "C-E-9": "warning",
    # 4.6, and 0.4.2
    "AI-1": "info",
    "C-S-1": "info warning",
    "C-GH-1": "critical info",
    "C-TH-1": "info",
    "OR-1": "info",
    "C-5ARI-1": "info",
    "MISS": "info warning",
    "UNKNOWN": "info",
    "SCOPE-1": "info",
    "SCOPE-2": "info",
    "SCOPE-3": "info",
    "SCOPE-4": "info",
    "PSA-5": "info",
    "X-1": "info",
    "DQ-3": "info",
    "DQ-5": "info",
}
NO_CARD = {
    "C-T-10": "only a line inside another card",
    "DQ-3": "recorded in logs, not shown",
}
ADDED = frozenset({"TT-TARGET"})
"""Ids beside those of the reference: the target of the guideline that a site has chosen (4.8)."""

BASELINE = (-180, 0, 7)
MALE = {
    "baseline": BASELINE,
    "month-3": (60, 90, 120),
    "month-6": (150, 180, 210),
    "annual": (335, 365, 395),
}
FIRST = (80, 120, 200)
GENDER_AFFIRMING = {
    "baseline": BASELINE,
    "month-3": (60, 90, 120),
    "month-6": (150, 180, 210),
    "month-9": (240, 270, 300),
    "month-12": (330, 360, 390),
}
SEED_BASELINE = {"TT", "FT", "E2", "SHBG", "LH", "FSH", "CBC", "PSA", "LIPID", "CMP"}
SEED_6 = {"TT", "FT", "E2", "SHBG", "CBC", "PSA", "LIPID"}
SEED_YEAR = {"TT", "FT", "E2", "CBC", "PSA", "LIPID", "CMP"}
TCP = {"TT", "CBC", "PSA"}
FEMINISING = {"E2", "TT", "K", "CREA"}

# (protocol, profile, milestone) -> ((opens, target, overdue after), repeats every so many days, tests asked of
# everybody or of some). Tests in brackets of the reference (estradiol with symptoms, on an aromatase inhibitor or
# hCG; lipids on an aromatase inhibitor; switches) are told apart by `SOMETIMES`.
WINDOWS: dict[tuple[str, str, str], tuple[tuple[int, int, int], int | None, set[str]]] = {
    # 3.2, seed
    ("male_trt", "seed", "baseline"): (MALE["baseline"], None, SEED_BASELINE),
    ("male_trt", "seed", "month-3"): (MALE["month-3"], None, {"TT", "E2", "CBC"}),
    ("male_trt", "seed", "month-6"): (MALE["month-6"], None, SEED_6),
    ("male_trt", "seed", "annual"): (MALE["annual"], 365, SEED_YEAR),
    # 3.2, guidelines
    ("male_trt", "es2018", "baseline"): (BASELINE, None, {"TT", "LH", "FSH", "CBC", "PSA"}),
    ("male_trt", "es2018", "first"): (FIRST, None, TCP),
    ("male_trt", "es2018", "annual"): (MALE["annual"], 365, {"TT", "CBC"}),
    ("male_trt", "aua2018", "baseline"): (BASELINE, None, {"TT", "LH", "CBC", "PSA"}),
    ("male_trt", "aua2018", "first"): ((60, 90, 120), None, {"TT", "CBC"}),
    ("male_trt", "aua2018_gel", "baseline"): (BASELINE, None, {"TT", "LH", "CBC", "PSA"}),
    ("male_trt", "aua2018_gel", "first"): ((21, 90, 120), None, {"TT", "CBC"}),
    ("male_trt", "eau2025", "baseline"): (BASELINE, None, TCP),
    ("male_trt", "eau2025", "month-3"): (MALE["month-3"], None, TCP),
    ("male_trt", "eau2025", "month-6"): (MALE["month-6"], None, TCP),
    ("male_trt", "eau2025", "annual"): (MALE["annual"], 365, TCP),
    ("male_trt", "sfe2022", "baseline"): (BASELINE, None, TCP),
    ("male_trt", "sfe2022", "first"): (FIRST, None, TCP),
    ("male_trt", "sfe2022", "month-12"): (MALE["annual"], None, TCP),
    ("male_trt", "sfe2022", "annual"): ((700, 730, 760), 365, {"TT", "CBC"}),
    ("male_trt", "bssm", "baseline"): (BASELINE, None, TCP),
    ("male_trt", "bssm", "month-3"): (MALE["month-3"], None, TCP),
    ("male_trt", "bssm", "month-6"): (MALE["month-6"], None, TCP),
    ("male_trt", "bssm", "annual"): (MALE["annual"], 365, TCP),
    # 3.3, 3.4
    ("male_trt_ai", "expert", "weeks-6"): ((28, 42, 70), None, {"E2"}),
    ("male_trt_gonadotropin", "expert", "month-3"): (MALE["month-3"], None, {"LH", "FSH"}),
    ("male_trt_gonadotropin", "expert", "month-6"): (MALE["month-6"], None, {"LH", "FSH"}),
    ("male_trt_gonadotropin", "expert", "annual"): (MALE["annual"], 365, {"LH", "FSH"}),
    # 3.5
    ("hrt_menopause", "guideline", "annual"): (MALE["annual"], 365, {"LIPID"}),
    ("hrt_menopause", "seed", "baseline"): (BASELINE, None, {"FSH", "E2", "PROG", "LIPID"}),
    ("hrt_menopause", "seed", "month-3"): ((60, 90, 120), None, {"E2"}),
    ("hrt_menopause", "seed", "month-6"): ((150, 180, 210), None, {"E2"}),
    ("hrt_menopause", "seed", "annual"): (MALE["annual"], 365, {"E2", "LIPID"}),
    # 3.6
    ("low_dose_t_female", "consensus", "baseline"): (BASELINE, None, {"TT"}),
    ("low_dose_t_female", "consensus", "week-3"): ((21, 35, 56), None, {"TT"}),
    ("low_dose_t_female", "consensus", "half-year"): ((150, 180, 210), 182, {"TT"}),
    # 3.8
    ("gaht_masc", "es2017", "baseline"): (BASELINE, None, {"HCT_OR_HGB", "TT", "LIPID"}),
    **{
        ("gaht_masc", "es2017", key): (window, None, {"CBC"})
        for key, window in GENDER_AFFIRMING.items()
        if key != "baseline"
    },
    ("gaht_fem", "es2017", "baseline"): (BASELINE, None, {"E2", "TT", "PRL", "LIPID"}),
    **{
        ("gaht_fem", "es2017", key): (window, None, {"E2"})
        for key, window in GENDER_AFFIRMING.items()
        if key != "baseline"
    },
    # 3.9
    **{
        ("thyroid_replacement", profile, key): (window, every, tests)
        for profile, tests in (("guideline", set[str]()), ("seed", {"TSH", "FT4", "FT3", "RT3"}))
        for key, window, every in (
            ("weeks-6", (28, 42, 63), None),
            ("month-6", (150, 180, 240), None),
            ("annual", (335, 365, 395), 365),
        )
    },
    ("thyroid_replacement", "seed", "baseline"): (BASELINE, None, {"TSH", "FT4", "FT3", "RT3", "TPO"}),
    # 3.10
    ("gh_axis", "aace2019", "baseline"): (BASELINE, None, {"IGF1", "A1C_OR_GLU"}),
    ("gh_axis", "aace2019", "weeks-6"): ((28, 42, 70), None, {"IGF1"}),
    ("gh_axis", "aace2019", "half-year"): ((150, 180, 210), 180, {"IGF1", "A1C_OR_GLU", "LIPID"}),
    # 3.11: 6 to 12 weeks
    ("dhea", "expert", "baseline"): (BASELINE, None, {"DHEAS"}),
    ("dhea", "expert", "weeks-9"): ((42, 63, 84), None, {"DHEAS"}),
    ("dhea", "expert", "annual"): (MALE["annual"], 365, {"DHEAS"}),
    # 4.6: potassium and creatinine within 90 days before the first order
    ("spironolactone_safety", "start", "baseline"): ((-90, 0, 7), None, {"K", "CREA"}),
}
# Bone turnover (3.5) stands beside both profiles of menopausal therapy, only where the site follows it.
WINDOWS |= {
    ("hrt_menopause", profile, key): (window, None, set())
    for profile in ("guideline", "seed")
    for key, window in (("bone_turnover baseline", BASELINE), ("bone_turnover month-3-6", (80, 120, 200)))
}

# Days after the last result: due from, overdue after.
AGAIN = {
    ("male_trt", "aua2018", "again"): (150, 395, {"TT", "CBC"}),  # 3.2: every 6 to 12 months
    ("male_trt", "aua2018_gel", "again"): (150, 395, {"TT", "CBC"}),
    ("gaht_masc", "es2017", "later"): (150, 395, {"TT", "CBC"}),  # 3.8
    ("gaht_fem", "es2017", "later"): (150, 395, {"E2"}),
    ("thyroid_replacement", "pregnancy", "pregnancy"): (28, 35, set[str]()),  # 0.4.17, 0.4.32
}

BREAST = {"E2"}
LIPIDS = {"LIPID"}
SOMETIMES = {
    ("male_trt", "es2018", "baseline"): BREAST,
    ("male_trt", "es2018", "first"): BREAST,
    ("male_trt", "es2018", "annual"): BREAST | LIPIDS,
    ("male_trt", "aua2018", "baseline"): BREAST,
    ("male_trt", "aua2018", "first"): BREAST,
    ("male_trt", "aua2018", "again"): BREAST | LIPIDS,
    ("male_trt", "aua2018_gel", "baseline"): BREAST,
    ("male_trt", "aua2018_gel", "first"): BREAST,
    ("male_trt", "aua2018_gel", "again"): BREAST | LIPIDS,
    ("male_trt", "eau2025", "month-3"): BREAST,
    ("male_trt", "eau2025", "month-6"): BREAST,
    ("male_trt", "eau2025", "annual"): BREAST | LIPIDS,
    ("male_trt", "sfe2022", "first"): BREAST,
    ("male_trt", "sfe2022", "month-12"): BREAST | LIPIDS,
    ("male_trt", "sfe2022", "annual"): BREAST | LIPIDS,
    ("male_trt", "bssm", "month-3"): BREAST,
    ("male_trt", "bssm", "month-6"): BREAST,
    ("male_trt", "bssm", "annual"): BREAST | LIPIDS,
    ("hrt_menopause", "guideline", "bone_turnover baseline"): {"CTX_OR_P1NP"},
    ("hrt_menopause", "guideline", "bone_turnover month-3-6"): {"CTX_OR_P1NP"},
    ("hrt_menopause", "seed", "bone_turnover baseline"): {"CTX_OR_P1NP"},
    ("hrt_menopause", "seed", "bone_turnover month-3-6"): {"CTX_OR_P1NP"},
    ("low_dose_t_female", "consensus", "baseline"): {"SHBG", "LIPID", "ALT", "CBC"},
    ("low_dose_t_female", "consensus", "half-year"): {"LIPID", "ALT", "CBC"},
    **{("gaht_masc", "es2017", key): {"TT"} for key in ("month-3", "month-6", "month-9")},
    ("gaht_masc", "es2017", "month-12"): {"TT", "LIPID"},
    ("gaht_masc", "es2017", "later"): {"LIPID"},
    ("gaht_fem", "es2017", "baseline"): {"K", "CREA"},
    **{("gaht_fem", "es2017", key): {"TT", "K", "CREA"} for key in ("month-3", "month-6", "month-9")},
    ("gaht_fem", "es2017", "month-12"): {"TT", "K", "CREA", "PRL"},
    ("gaht_fem", "es2017", "later"): {"TT", "K", "CREA", "PRL"},
    **{("thyroid_replacement", "guideline", key): {"TSH", "FT4"} for key in ("weeks-6", "month-6", "annual")},
    ("thyroid_replacement", "pregnancy", "pregnancy"): {"TSH", "FT4"},
    ("gh_axis", "aace2019", "baseline"): {"TSH", "FT4"},
}
"""Tests that are asked of some: by a drug, a diagnosis, a level, a switch, or with days of their own in the row."""

# A course whose start is not known: each within 395 days, due from 365 on (3.1).
YEARLY = {
    ("male_trt", "seed"): SEED_YEAR,
    ("male_trt_gonadotropin", "expert"): {"LH", "FSH"},
    ("hrt_menopause", "guideline"): {"LIPID"},
    ("hrt_menopause", "seed"): {"E2", "LIPID"},
    ("low_dose_t_female", "consensus"): {"TT", "LIPID", "ALT", "CBC"},
    ("gaht_masc", "es2017"): {"TT", "CBC", "LIPID"},
    ("gaht_fem", "es2017"): {"E2", "TT", "K", "CREA", "PRL"},
    ("thyroid_replacement", "guideline"): {"TSH", "FT4"},
    ("gh_axis", "aace2019"): {"IGF1", "A1C_OR_GLU", "LIPID"},
    ("dhea", "expert"): {"DHEAS"},
}

CHANGES = {"male_trt", "male_trt_ai", "thyroid_replacement", "gh_axis"}
"""Protocols whose milestones start again at a change of dose (3.1 gel, 3.3, 3.9, 3.10)."""


@pytest.fixture(scope="module")
def reference() -> str:
    return (TOP / "docs" / "rules.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def shown() -> set[str]:
    """Ids of all cards that some scenario expects."""
    return {card.rule for path in SCENARIOS for case in read(path) for card in case.expect.cards}


def rules_of(knowledge: Knowledge, name: str) -> list[Rule]:
    return [rule for rule in knowledge.rules if name in {rule.topic, rule.id}]


def urgencies(rules: list[Rule]) -> set[str]:
    found = {rule.indicator for rule in rules}
    found |= {change["indicator"] for rule in rules for change in rule.spec.get("indicator_when", ())}
    # A schedule warns where a safety test is overdue (3.1), and at ordering by its `warning_if`.
    asked = [rule for rule in rules if rule.kind == "schedule"]
    grave = any("patient-view" in rule.hooks or "warning_if" in rule.spec for rule in asked)
    return {str(word) for word in found} | ({"warning"} if grave else set())


@pytest.mark.parametrize(("name", "words"), IDS.items())
def test_every_id_is_in_the_knowledge_with_its_urgency(knowledge: Knowledge, name: str, words: str) -> None:
    rules = rules_of(knowledge, name)
    assert rules
    assert all(rule.status == "active" for rule in rules)
    assert urgencies(rules) == set(words.split())


def test_no_card_has_an_id_that_the_reference_does_not_know(knowledge: Knowledge) -> None:
    own = {rule.topic for rule in knowledge.rules if not rule.line_only}
    assert own | NO_CARD.keys() == IDS.keys() | ADDED


@pytest.mark.parametrize("name", IDS)
def test_every_id_is_in_the_reference_page_with_its_scenarios(
    knowledge: Knowledge, reference: str, name: str
) -> None:
    for rule in rules_of(knowledge, name):
        section = reference.partition(f"\n### {rule.id}: ")[2].partition("\n## ")[0].partition("\n### ")[0]
        files = re.search(r"\n- Scenarios: (.+)\.\n", section)
        assert files
        assert files[1] != "none"


@pytest.mark.parametrize("name", [name for name in IDS if name not in NO_CARD])
def test_every_id_is_a_card_in_some_scenario(shown: set[str], name: str) -> None:
    assert name in shown


def test_every_protocol_has_an_example_patient(knowledge: Knowledge) -> None:
    """Protocols without a schedule are rules for everybody; those of ordering are about a draft."""
    runner = Runner(knowledge)
    judged = [runner.judged(case)[1] for case in example_cases()]
    followed = {key for evaluation in judged for key in evaluation.protocols}
    assert followed == {protocol.key for protocol in knowledge.protocols if protocol.schedules}
    spoke = {finding.rule.protocol for evaluation in judged for finding in evaluation.findings}
    assert "ovarian_reserve" in spoke


# -- schedules -----------------------------------------------------------------------------------------


def compiled(knowledge: Knowledge) -> Iterator[tuple[tuple[str, str, str], Milestone]]:
    """Every milestone of every schedule; those beside it too, bone turnover under the key of its row."""
    for protocol in knowledge.protocols:
        for profile, schedule in protocol.schedules.items():
            for milestone in schedule.milestones:
                yield (protocol.key, profile, milestone.key), milestone
            for row, plan in schedule.beside.items():
                for milestone in plan.milestones:
                    key = f"{row} {milestone.key}" if row == "bone_turnover" else milestone.key
                    yield (protocol.key, profile, key), milestone


def test_there_is_no_row_that_the_reference_does_not_know(knowledge: Knowledge) -> None:
    keys = [key for key, _ in compiled(knowledge)]
    assert len(keys) == len(set(keys))
    assert set(keys) == WINDOWS.keys() | AGAIN.keys()


@pytest.mark.parametrize("row", WINDOWS, ids=" ".join)
def test_every_row_has_the_days_and_tests_of_the_reference(
    knowledge: Knowledge, reference: str, row: tuple[str, str, str]
) -> None:
    window, every, tests = WINDOWS[row]
    milestone = dict(compiled(knowledge))[row]
    assert (milestone.opens, milestone.target, milestone.overdue_after) == window
    assert milestone.every == every
    assert not milestone.again
    assert {item.test for item in milestone.items} == tests | SOMETIMES.get(row, set())
    always = {item.test for item in milestone.items if item.when is None and item.window is None}
    assert always <= tests
    opens, target, overdue = window
    told = f"| {milestone.name} | opens on day {opens}, meant for day {target}, overdue after day {overdue}"
    assert told in page_of(reference, knowledge, row)


@pytest.mark.parametrize("row", AGAIN, ids=" ".join)
def test_every_row_after_a_last_result_has_the_days_of_the_reference(
    knowledge: Knowledge, reference: str, row: tuple[str, str, str]
) -> None:
    due, overdue, tests = AGAIN[row]
    milestone = dict(compiled(knowledge))[row]
    assert (milestone.again, milestone.overdue_after) == (due, overdue)
    assert {item.test for item in milestone.items} == tests | SOMETIMES.get(row, set())
    assert f"| {milestone.name} |" in page_of(reference, knowledge, row)


def page_of(reference: str, knowledge: Knowledge, row: tuple[str, str, str]) -> str:
    """The part of the reference page that a schedule has."""
    (protocol,) = [one for one in knowledge.protocols if one.key == row[0]]
    part = reference.partition(f"({protocol.key})\n\nApplies to: ")[2].partition("\n## ")[0]
    chosen = f"`{protocol.profile_switch}: {row[1]}`" if protocol.profile_switch else row[1]
    return part.partition(f"### Schedule {chosen}\n")[2].partition("\n### ")[0]


@pytest.mark.parametrize("key", YEARLY, ids=" ".join)
def test_the_annual_rule_of_a_course_without_a_start(knowledge: Knowledge, key: tuple[str, str]) -> None:
    (protocol,) = [one for one in knowledge.protocols if one.key == key[0]]
    schedule = protocol.schedules[key[1]]
    assert (schedule.yearly_due_days, schedule.yearly_overdue_days) == (365, 395)
    assert {item.test for item in schedule.yearly} == YEARLY[key]


def test_which_milestones_start_again_at_a_change_of_dose(knowledge: Knowledge) -> None:
    changing = {
        protocol.key
        for protocol in knowledge.protocols
        for schedule in protocol.schedules.values()
        if schedule.clock == "change"
    }
    assert changing == CHANGES
    (menopause,) = [one for one in knowledge.protocols if one.key == "hrt_menopause"]
    clocks = {name: row.clock for name, row in menopause.schedules["seed"].beside.items()}
    assert clocks == {"change": "change", "bone_turnover": "start"}  # 3.5: three months after start or change


@pytest.mark.parametrize(
    ("row", "closes"),
    [
        (("male_trt", "seed", "baseline"), 60),
        (("male_trt", "seed", "month-3"), 150),
        (("male_trt", "seed", "month-6"), 335),
        (("male_trt_ai", "expert", "weeks-6"), 150),  # 0.4.30
        (("gh_axis", "aace2019", "baseline"), 28),  # 0.4.31
        (("gaht_fem", "es2017", "baseline"), 60),
        (("low_dose_t_female", "consensus", "baseline"), 60),
        (("thyroid_replacement", "seed", "baseline"), 60),
        (("hrt_menopause", "seed", "baseline"), 60),
        (("dhea", "expert", "baseline"), 60),
    ],
)
def test_when_a_milestone_closes(knowledge: Knowledge, row: tuple[str, str, str], closes: int) -> None:
    assert dict(compiled(knowledge))[row].closes == closes
