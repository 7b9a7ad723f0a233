"""The link of a card to the chart page (CDS Hooks 3.0, Link): L-1 to L-5 of the requirements."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime
from typing import Any

import pytest

from cds_service.app import create_app
from cds_service.knowledge.model import Knowledge
from cds_service.scenarios.bundles import example_cases
from cds_service.scenarios.run import Runner
from cds_service.settings import Settings

CASES = {case.id: case for case in example_cases()}
NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def cards(knowledge: Knowledge):
    """The cards of an example under some settings, over HTTP."""

    def ask(example: str, settings: Settings) -> list[dict[str, Any]]:
        case = CASES[example]
        app = create_app(settings, knowledge=knowledge, clock=lambda: NOON, log=io.StringIO())
        address = f"/cds-services/hormone-therapy-{case.hook}"
        answer = app.test_client().post(address, data=Runner(knowledge).body(case), content_type="application/json")
        assert answer.status_code == 200
        found: list[dict[str, Any]] = answer.get_json()["cards"]
        return found

    return ask


def test_without_a_client_id_there_is_no_link(cards) -> None:
    assert all("links" not in card for card in cards("hematocrit-high", Settings()))


@pytest.mark.parametrize(
    ("settings", "address"),
    [
        ({}, "http://127.0.0.1:8000/smart/launch"),
        ({"public_url": "https://cds.example.org/hormones"}, "https://cds.example.org/hormones/smart/launch"),
    ],
    ids=["loopback", "behind a proxy"],
)
def test_a_card_about_a_result_leads_to_its_plot(cards, settings: dict[str, Any], address: str) -> None:
    card = cards("hematocrit-high", Settings(smart_client_id="a", **settings))[0]
    (link,) = card["links"]
    assert link["label"]
    assert (link["url"], link["type"]) == (address, "smart")
    assert "?" not in link["url"]  # launch and iss are the EHR's to add
    assert isinstance(link["appContext"], str)
    assert json.loads(link["appContext"]) == {"rule": "HCT-1", "marker": "HCT"}
    assert "autolaunchable" not in link


def test_due_tests_are_about_no_marker(cards) -> None:
    card = cards("three-months-due", Settings(smart_client_id="a"))[0]
    assert json.loads(card["links"][0]["appContext"]) == {"rule": "MISS-male_trt"}


def test_the_quiet_card_has_no_link(cards) -> None:
    quiet = cards("units-missing", Settings(smart_client_id="a"))[-1]
    assert quiet["source"]["topic"]["code"].startswith(("DQ", "UNKNOWN"))
    assert "links" not in quiet
