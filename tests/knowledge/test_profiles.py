"""Profiles: what choosing a guideline sets (clinical section 4.8), and that a site's own switches win."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest

from cds_service.knowledge.choices import choose
from cds_service.knowledge.loader import load
from cds_service.knowledge.model import Knowledge

# Clinical tables 3.2 and 4.8; 12 nmol/L are 346 ng/dL, 15 to 30 nmol/L are 432 to 865, 20 nmol/L are 577.
THRESHOLDS = {
    "es2018": ("54.0", False, "48.0", "264", None, None),
    "aua2018": ("54.0", True, "50.0", "300", "450", "600"),
    "eau2025": ("54.0", False, "48.0", "346", "432", "865"),
    "sfe2022": ("54.0", False, "52.0", "346", "432", "577"),
    "bssm": ("54.0", False, "52.0", "346", "432", "865"),
}
NAMES = ("hct_stop", "hct_stop_inclusive", "hct_start", "tt_lower_limit", "tt_target_low", "tt_target_high")


def evidence_of(knowledge: Knowledge, rule: str) -> list[str]:
    return [each.source for each in next(one for one in knowledge.rules if one.id == rule).evidence]


@pytest.mark.parametrize("profile", THRESHOLDS)
def test_limits_of_each_profile(knowledge, profile):
    switches = choose(knowledge, {"thresholds": profile}).switches
    expected = [Decimal(value) if isinstance(value, str) else value for value in THRESHOLDS[profile]]
    assert [switches[name] for name in NAMES] == expected
    assert switches["thresholds"] == profile
    assert switches["psa_rise"] == (None if profile == "aua2018" else Decimal("1.40"))


def test_the_endocrine_society_asks_for_psa_from_55_to_69(knowledge):
    switches = choose(knowledge, {"guideline": "es2018"}).switches
    assert (switches["psa_min_age"], switches["psa_max_age"], switches["psa_min_age_high_risk"]) == (55, 69, 40)
    others = choose(knowledge, {"guideline": "eau2025"}).switches
    assert (others["psa_min_age"], others["psa_max_age"]) == (40, None)


def test_a_schedule_leaves_the_limits_alone_and_the_other_way_round(knowledge):
    assert choose(knowledge, {"guideline": "aua2018"}).switches["hct_start"] == Decimal("48.0")
    assert choose(knowledge, {"thresholds": "aua2018"}).switches["guideline"] == "seed"


def test_the_shipped_choice_is_the_shipped_knowledge(knowledge):
    assert choose(knowledge, {"guideline": "seed", "thresholds": "es2018"}) == knowledge


def test_a_sites_own_switch_wins(knowledge):
    switches = choose(knowledge, {"hct_start": Decimal("49.0"), "thresholds": "aua2018"}).switches
    assert (switches["hct_start"], switches["tt_lower_limit"]) == (Decimal("49.0"), Decimal("300"))


def test_a_switch_that_does_not_exist(knowledge):
    with pytest.raises(ValueError, match="threshold"):
        choose(knowledge, {"threshold": "aua2018"})


def test_every_word_of_the_two_switches_is_a_profile(knowledge):
    for switch in ("guideline", "thresholds"):
        assert set(knowledge.presets[switch]) == set(knowledge.switch_specs[switch].allowed)


def test_every_guideline_has_a_schedule_with_evidence_and_a_word_on_the_others(knowledge):
    schedules = next(protocol for protocol in knowledge.protocols if protocol.key == "male_trt").schedules
    assert set(knowledge.switch_specs["guideline"].allowed) <= set(schedules)
    for schedule in schedules.values():
        assert schedule.differs
        assert schedule.evidence[0].source == schedule.profile.removesuffix("_gel")


@pytest.mark.parametrize("profile", ["aua2018", "eau2025", "sfe2022", "bssm"])
def test_rules_cite_the_profile(knowledge, profile):
    chosen = choose(knowledge, {"thresholds": profile})
    for rule in ("HCT-1", "C-T-2b", "C-T-7c", "TT-TARGET"):
        assert evidence_of(chosen, rule) == [profile]
    assert evidence_of(knowledge, "HCT-1")[0] == "es2018"


def test_an_overlay_chooses_profiles(tmp_path: Path):
    overlay = tmp_path / "overlay.yaml"
    overlay.write_text(
        "changes:\n"
        "- who: A committee\n"
        "  why: Our guideline\n"
        "  until: 2027-01-01\n"
        "  guideline: es2018\n"
        "  switches: {thresholds: aua2018, hct_start: '49.0'}\n",
        encoding="utf-8",
    )
    switches = load(overlay=overlay, today=date(2026, 11, 22)).switches
    assert (switches["psa_min_age"], switches["tt_lower_limit"]) == (55, Decimal("300"))
    assert (switches["hct_start"], switches["hct_stop_inclusive"]) == (Decimal("49.0"), True)
    ended = load(overlay=overlay, today=date(2027, 1, 2)).switches
    assert (ended["thresholds"], ended["tt_lower_limit"]) == ("es2018", Decimal("264"))
