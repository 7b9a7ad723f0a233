"""What a case may change of the knowledge base."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest

from cds_service.knowledge.loader import load
from cds_service.scenarios.bundles import example_cases
from cds_service.scenarios.facts import Case
from cds_service.scenarios.run import Runner, at_site
from cds_service.settings import Client, FhirServer, Settings

SITE = Settings(
    host="0.0.0.0",
    public_url="https://cds.example.org",
    clients=(Client(name="ehr", issuer="https://ehr.example.org", jwks_url="https://ehr.example.org/jwks.json"),),
    fhir_servers=(FhirServer("https://ehr.example.org/fhir"),),
    calls_per_minute=1,
    silent_all=True,
)
AS_OF = date(2026, 11, 22)


def test_switches_of_the_case() -> None:
    case = Case("a case", AS_OF, switches={"hct_stop": "53.0", "trend": False, "psa_max_age": 69})
    shipped = load()
    switches = at_site(shipped, case).switches
    assert switches["hct_stop"] == Decimal("53.0")
    assert isinstance(switches["hct_stop"], Decimal)
    assert switches["trend"] is False
    assert switches["psa_max_age"] == 69
    assert shipped.switches["trend"] is True


def test_codes_of_the_site() -> None:
    case = Case("a case", AS_OF, site={"cpap": ("sct 1000001", "Z99.89")})
    concept = at_site(load(), case).concepts["cpap"]
    assert "1000001" in concept.snomed
    assert "Z99.89" in concept.icd10


@pytest.mark.parametrize("change", [{"switches": {"hct_stopp": "53.0"}}, {"site": {"cpapp": ("sct 1",)}}])
def test_unknown_names(change: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="only known switches and concepts, not "):
        at_site(load(), Case("a case", AS_OF, **change))  # type: ignore[arg-type]


def test_a_site_s_callers_and_silence_are_no_part_of_a_case() -> None:
    case = next(case for case in example_cases() if case.id == "hematocrit-high")
    runner = Runner(load(), SITE)
    for _ in range(2):
        answer = runner.over_http(case)
        assert answer.status == 200
        assert [card["summary"] for card in answer.cards] == [
            card["summary"] for card in runner.directly(case).cards
        ]
        assert answer.cards
