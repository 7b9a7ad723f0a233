"""The governance page: who may see it, and what stands there."""

from __future__ import annotations

import io
import json
import re
from base64 import b64encode
from datetime import UTC, date, datetime
from typing import Any

import msgspec
import pytest
from flask.testing import FlaskClient

from cds_service.app import create_app
from cds_service.feedback.database import connect
from cds_service.feedback.store import Store, memory
from cds_service.knowledge.model import Change, Knowledge
from cds_service.scenarios.bundles import example_cases
from cds_service.scenarios.run import Runner
from cds_service.settings import Settings
from cds_service.web.governance import rule_rows

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
PASSWORD = "a long enough word"


def basic(password: str, user: str = "anybody") -> dict[str, str]:
    return {"Authorization": f"Basic {b64encode(f'{user}:{password}'.encode()).decode()}"}


@pytest.fixture
def site(knowledge: Knowledge):
    def make(known: Knowledge | None = None, store: Store | None = None, **settings: Any) -> FlaskClient:
        given = {"governance": True, "allow_unauthenticated": True} | settings
        app = create_app(
            Settings(**given), knowledge=known or knowledge, clock=lambda: NOON, log=io.StringIO(), store=store
        )
        return app.test_client()

    return make


def test_it_is_off_unless_it_is_on(site) -> None:
    assert site(governance=False).get("/governance").status_code == 404


def test_with_a_password_it_asks_for_it_on_every_host(site) -> None:
    for host in ("127.0.0.1", "0.0.0.0"):
        client = site(host=host, governance_token=PASSWORD)
        for headers in (
            {},
            basic("wrong"),
            basic(""),
            basic(PASSWORD + "x"),
            basic("ä" * 16),
            {"Authorization": f"Bearer {PASSWORD}"},
            {"Authorization": "Basic !!!"},
        ):
            answer = client.get("/governance", headers=headers)
            assert answer.status_code == 401
            assert answer.headers["WWW-Authenticate"].startswith("Basic ")
            assert "HCT-1" not in answer.text
        assert "HCT-1" in client.get("/governance", headers=basic(PASSWORD)).text


@pytest.mark.parametrize(
    "headers",
    [{"X-Forwarded-For": "192.0.2.1"}, {"Host": "evil.example.org"}, {"Origin": "https://evil.example.org"}],
)
def test_without_a_password_it_answers_the_machine_itself_only(site, headers: dict[str, str]) -> None:
    client = site()
    assert client.get("/governance").status_code == 200
    assert client.get("/governance", headers=headers).status_code == 403
    for old in ("HTTP/1.0", "HTTP/1"):
        assert client.get("/governance", environ_overrides={"SERVER_PROTOCOL": old}).status_code == 403


def test_a_rule_is_live_silent_lapsed_or_off(knowledge: Knowledge) -> None:
    changed = tuple(
        msgspec.structs.replace(rule, review_by=date(2026, 11, 21))
        if rule.id == "HCT-2"
        else msgspec.structs.replace(rule, review_by=date(2026, 11, 22))
        if rule.id == "HCT-3"
        else msgspec.structs.replace(rule, status="retired")
        if rule.id == "HGB-1"
        else rule
        for rule in knowledge.rules
    )
    known = msgspec.structs.replace(knowledge, rules=changed)
    rows = rule_rows(known, Settings(silent_rules=("HCT-1",)), NOON.date())
    states = {row.rule.id: row.state for row in rows}
    assert {name: states[name] for name in ("HCT-1", "HCT-2", "HCT-3", "HGB-1", "TT-1")} == {
        "HCT-1": "silent",
        "HCT-2": "lapsed",
        "HCT-3": "live",  # its last day
        "HGB-1": "off",
        "TT-1": "live",
    }
    silent = rule_rows(known, Settings(silent_all=True), NOON.date())
    assert {row.state for row in silent} == {"silent", "off"}


def test_what_the_overlay_changed_by_whom_why_and_until_when(site, knowledge: Knowledge) -> None:
    until = date(2027, 3, 31)
    changes = (
        Change(
            "rule HCT-2: above",
            "52.0",
            "51.0",
            "Dr. Example",
            "our <own> limit",
            until,
            "site.yaml:4",
            rule="HCT-2",
        ),
        Change("rule TT-1: status", "", "", "Dr. Example", "trial", date(2026, 11, 1), "site.yaml:9", expired=True),
    )
    page = site(msgspec.structs.replace(knowledge, changes=changes)).get("/governance").text
    row = page.split("rule HCT-2: above</th>")[1].split("</tr>")[0]
    for text in ("52.0", "51.0", "Dr. Example", "our &lt;own&gt; limit", "2027-03-31"):
        assert text in row
    assert "ended, what was shipped holds" in page.split("rule TT-1: status</th>")[1].split("</tr>")[0]


def test_without_records_the_rules_are_still_told(site) -> None:
    page = site(store=Store(connect("sqlite://"), "a key of sixteen letters")).get("/governance").text
    assert "records cannot be read" in page
    assert page.count("Not known now.") == 2
    assert not [word for word in ("No calls in this time", "None were met") if word in page]
    assert "HCT-1" in page
    assert "<details>" not in page  # nobody knows which rules had nothing to tell


def test_a_code_that_looks_like_ours_is_told_with_nothing_of_the_result(site, make_call) -> None:
    store = memory()
    client = site(store=store)
    assert "None were met" in client.get("/governance").text
    result = {
        "resourceType": "Observation",
        "id": "secret-id",
        "status": "final",
        "subject": {"reference": "Patient/trt-man"},
        "code": {"coding": [{"system": "urn:lab", "code": "HCT-L", "display": "Hematocrit of Mr. Secret"}]},
        "effectiveDateTime": "2026-03-01",
        "valueQuantity": {"value": 45.3, "unit": "%"},
    }
    call = make_call()
    call["prefetch"]["labs1"] = {"resourceType": "Bundle", "type": "searchset", "entry": [{"resource": result}]}
    assert client.post("/cds-services/hormone-therapy-patient-view", json=call).status_code == 200
    assert store.recorder.drain()
    page = site(store=store).get("/governance").text  # another process
    row = page.split("<code>HCT-L</code>")[1].split("</tr>")[0]
    assert "hematocrit" in row
    assert "<td>1</td>" in row
    assert row.count("2026-11-22") == 2
    assert not [word for word in ("Secret", "secret-id", "45.3", "trt-man") if word in page]


def test_cards_feedback_and_gaps_are_counted(site, knowledge: Knowledge) -> None:
    store = memory()
    client = site(store=store)
    case = next(case for case in example_cases() if case.id == "hematocrit-high")
    body = json.loads(Runner(knowledge).body(case))
    del body["prefetch"]["procedures"]
    address = "/cds-services/hormone-therapy-patient-view"
    client.post(address, json=body)
    card = client.post(address, json=body).get_json()["cards"][0]
    reason = next(one for one in card["overrideReasons"] if one["code"] == "will-monitor")
    word = {
        "card": card["uuid"],
        "outcome": "overridden",
        "overrideReason": {"reason": {"code": reason["code"], "system": reason["system"]}},
        "outcomeTimestamp": "2026-11-22T12:00:00Z",
    }
    told = client.post("/cds-services/hormone-therapy-patient-view/feedback", json={"feedback": [word]})
    assert told.status_code == 200
    assert store.recorder.drain()
    page = client.get("/governance").text
    row = re.sub(r"<[^>]+>|\s+", " ", page.split('<span class="id">HCT-1</span>')[1].split("</tr>")[0])
    assert "Will monitor: 1" in row
    assert "1  50 %" in row
    assert page.index('<span class="id">HCT-1</span>') < page.index("<details>") < page.index('"id">TT-1</span>')
    ehr = page.split("not named (no token is asked for)</th>")[1].split("</tr>")[0]
    assert "<code>procedures</code> not sent: 2" in ehr
    assert "<td>2</td>" in ehr
