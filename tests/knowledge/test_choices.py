from __future__ import annotations

from decimal import Decimal
from urllib.parse import urlsplit

from cds_service.knowledge.model import Terms


def test_default_configuration(terms: Terms) -> None:
    expected = {
        "guideline": "seed",
        "thresholds": "es2018",
        "hct_stop": Decimal("54.0"),
        "hct_stop_inclusive": False,
        "psa_min_age": 40,
        "psa_max_age": None,
        "baseline_lookback_days": 180,
        "psa_baseline_lookback_days": 365,
        "calculated_ft_counts": True,
        "panel_counts_as_done": False,
        "hrt_labs": "guideline",
        "thyroid_panel": "guideline",
        "isswsh_extra": False,
        "btm_monitoring": False,
        "psa_velocity": False,
        "tt_target": "off",
        "cv_strict": False,
        "high_altitude": False,
        "dhea": False,
        "te2_ratio": False,
        "ft3_rt3_ratio": False,
        "trend": True,
        "min_age": 18,
        "max_age_days": 395,
    }
    assert {key: terms.switches[key] for key in expected} == expected


def test_every_switch_says_what_it_takes(terms: Terms) -> None:
    kinds = {"choice": "str", "bool": "bool", "int": "int", "decimal": "Decimal"}
    for key, spec in terms.switch_specs.items():
        default = terms.switches[key]
        assert default == spec.default
        assert spec.description
        if default is None:
            assert spec.nullable, key
        else:
            assert type(default).__name__ == kinds[spec.type], key
        assert bool(spec.allowed) == (spec.type == "choice"), key


def test_guideline_profiles(terms: Terms) -> None:
    allowed = terms.switch_specs["guideline"].allowed
    assert set(allowed) == {"seed", "es2018", "aua2018", "eau2025", "sfe2022", "bssm"}
    assert set(allowed) <= set(terms.sources)


def test_source_addresses(terms: Terms) -> None:
    for source in terms.sources.values():
        assert source.label
        if source.url:
            parts = urlsplit(source.url)
            assert parts.scheme == "https"
            assert "." in parts.netloc


def test_the_two_references_that_match_no_paper_are_not_cited(terms: Terms) -> None:
    labels = " ".join(source.label for source in terms.sources.values())
    assert "Christenson" not in labels
    assert "Garnier" not in labels


def test_override_reasons(terms: Terms) -> None:
    hl7 = "http://terminology.hl7.org/CodeSystem/non-adherence-reason-codes"
    found = {key: (reason.system, reason.code) for key, reason in terms.reasons.items()}
    assert found["done_elsewhere"] == (hl7, "action-completed")
    assert found["result_pending"] == (hl7, "need-more-info")
    assert found["not_appropriate"] == (hl7, "cds-not-applicable")
    assert found["patient_declined"] == (hl7, "patient-refuses")
    assert found["will_monitor"] == (terms.reason_system, "will-monitor")
    assert len(set(found.values())) == len(found)
    assert all(reason.display for reason in terms.reasons.values())


def test_own_code_systems(terms: Terms) -> None:
    assert terms.code_system == "urn:cds-service:rule"
    assert terms.reason_system == "urn:cds-service:override-reason"
