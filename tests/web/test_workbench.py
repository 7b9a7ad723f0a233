"""The workbench over the wire: what it serves, on which day it judges, and whom it refuses."""

from __future__ import annotations

import io
import json
import re
from datetime import UTC, datetime
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from cds_service.app import create_app
from cds_service.feedback.store import memory
from cds_service.hooks.prefetch import build_expected
from cds_service.knowledge.model import Knowledge
from cds_service.scenarios.bundles import example_cases
from cds_service.scenarios.workbench import TOOLS
from cds_service.settings import FhirServer, Settings
from cds_service.web.walks import MOST, Walks

# 23:30 UTC on the 15th is the 16th in Kolkata: the workbench lives on the site's day.
NOW = datetime(2026, 3, 15, 23, 30, tzinfo=UTC)
TODAY = "2026-03-16"
SETTINGS = Settings(time_zone="Asia/Kolkata")
VIEW = "hormone-therapy-patient-view"


@pytest.fixture(scope="module")
def bench(knowledge: Knowledge) -> Flask:
    return create_app(SETTINGS, knowledge=knowledge, clock=lambda: NOW, log=io.StringIO(), tools=TOOLS)


@pytest.fixture
def browser(bench: Flask) -> FlaskClient:
    return bench.test_client()


def example(browser: FlaskClient, name: str) -> dict[str, Any]:
    request: dict[str, Any] = browser.get(f"/workbench/examples/{name}").get_json()
    return request


def ask(browser: FlaskClient, day: str, request: object, service: str = VIEW, **headers: str) -> TestResponse:
    body = {"service": service, "as_of": day, "request": request}
    return browser.post("/workbench/call", json=body, headers=headers)


def summaries(response: TestResponse) -> list[str]:
    return [card["summary"] for card in response.get_json()["cards"]]


# -- the page --------------------------------------------------------------------------------------------


def told(browser: FlaskClient) -> dict[str, Any]:
    html = browser.get("/").get_data(as_text=True)
    found = re.search(r'<script type="application/json" id="told">(.*?)</script>', html, re.DOTALL)
    assert found
    data: dict[str, Any] = json.loads(found[1])
    return data


def test_the_page_offers_every_example_and_knows_the_sites_day(browser: FlaskClient):
    data = told(browser)
    assert data["today"] == TODAY
    assert [each["id"] for each in data["examples"]] == [case.id for case in example_cases()]


def test_a_silent_service_says_so_above_the_empty_list_of_cards(browser: FlaskClient, knowledge: Knowledge):
    settings = Settings(silent_all=True)
    app = create_app(settings, knowledge=knowledge, clock=lambda: NOW, log=io.StringIO(), tools=TOOLS)
    words = "The whole service is silent"
    assert words in app.test_client().get("/").get_data(as_text=True)
    assert words not in browser.get("/").get_data(as_text=True)


def test_drugs_are_one_of_each_agent_and_form(browser: FlaskClient, knowledge: Knowledge):
    drugs = told(browser)["drugs"]
    kinds = [(drug["group"], drug["agent"], drug["form"]) for drug in drugs]
    assert len(set(kinds)) == len(kinds)
    assert all(knowledge.products[drug["code"]].name == drug["name"] for drug in drugs)
    agents = {(drug["agent"], drug["form"]) for drug in drugs}
    assert {("testosterone cypionate", "injection"), ("estradiol", "patch"), ("levothyroxine", "oral")} <= agents


def test_the_page_calls_only_here_and_fhir_servers_on_loopback(browser: FlaskClient):
    policy = browser.get("/").headers["Content-Security-Policy"]
    assert "connect-src 'self' http://127.0.0.1:* http://localhost:*;" in policy
    assert "script-src 'self';" in policy


def test_a_site_with_listed_fhir_servers_reads_only_those(knowledge: Knowledge):
    servers = (FhirServer("https://ehr.example.org/fhir/r4"), FhirServer("https://ehr.example.org/other"))
    app = create_app(Settings(fhir_servers=servers), knowledge=knowledge, log=io.StringIO(), tools=TOOLS)
    policy = app.test_client().get("/").headers["Content-Security-Policy"]
    assert "connect-src 'self' https://ehr.example.org;" in policy


# -- calls on another day --------------------------------------------------------------------------------


def test_an_example_is_a_request_of_today(browser: FlaskClient):
    request = example(browser, "three-months-due")
    assert request["hook"] == "patient-view"
    starts = [entry["resource"]["authoredOn"] for entry in request["prefetch"]["medicationRequests"]["entry"]]
    assert starts == ["2025-12-11"]  # 95 days before 16 March 2026
    assert browser.get("/workbench/examples/nobody").status_code == 404


def test_today_is_the_answer_of_the_service_itself(browser: FlaskClient):
    request = example(browser, "hematocrit-high")
    itself = browser.post(f"/cds-services/{VIEW}", json=request)
    assert summaries(itself)
    assert summaries(ask(browser, TODAY, request)) == summaries(itself)


def test_time_moves_a_schedule(browser: FlaskClient):
    """Last tests on day 190, ten days before today; the first yearly ones count from then on."""
    request = example(browser, "all-fine")
    assert summaries(ask(browser, TODAY, request)) == []
    (later,) = summaries(ask(browser, "2027-03-16", request))
    assert later.startswith("Yearly tests overdue")


def test_decimals_travel_as_they_were_written(browser: FlaskClient, bench: Flask):
    body = bench.test_client().get("/workbench/examples/hematocrit-high").get_data()
    assert b'"value":0.461' in body
    wrapped = b'{"service":"%s","as_of":"%s","request":%s}' % (VIEW.encode(), TODAY.encode(), body)
    wrapped = wrapped.replace(b'"value":0.552', b'"value":0.5520')
    answer = browser.post("/workbench/call", data=wrapped, content_type="application/json")
    assert "0.5520 L/L" in answer.get_json()["cards"][0]["detail"]


def test_the_explanation_is_of_that_day(browser: FlaskClient):
    request = example(browser, "all-fine")
    body = {"as_of": "2027-03-16", "request": request}
    explained = browser.post("/workbench/explain", json=body).get_json()
    assert explained["as_of"] == "2027-03-16"
    assert [card["topic"] for card in explained["answer"]["cards"]] == ["MISS"]
    assert {rule["result"] for rule in explained["rules"]} >= {"finding", "fine", "not applicable"}


@pytest.mark.parametrize(
    ("change", "status", "field"),
    [
        ({"as_of": "2036-03-24"}, 400, "as_of"),
        ({"as_of": "0001-01-01"}, 400, "as_of"),
        ({"as_of": "tomorrow"}, 400, "as_of"),
        ({"service": "nobody"}, 404, "service"),
        ({"request": {}}, 400, "hook"),
        ({"request": 7}, 400, "body"),
        ({"more": 1}, 400, "more"),
    ],
)
def test_mistakes_are_told(browser: FlaskClient, change: dict[str, Any], status: int, field: str):
    body = {"service": VIEW, "as_of": TODAY, "request": example(browser, "all-fine")} | change
    response = browser.post("/workbench/call", json=body)
    assert response.status_code == status
    assert field in response.get_json()["issue"][0]["diagnostics"]


@pytest.mark.parametrize("day", ["2036-03-23", "2016-03-09"])
def test_ten_years_are_not_too_far(browser: FlaskClient, day: str):
    """3660 days from 16 March 2026."""
    assert ask(browser, day, example(browser, "all-fine")).status_code == 200


@pytest.mark.parametrize("body", [b"", b"[", b"[]", b"\xff", b"[" * 100_000])
@pytest.mark.parametrize("path", ["/workbench/call", "/workbench/explain"])
def test_a_body_that_is_no_question(browser: FlaskClient, path: str, body: bytes):
    response = browser.post(path, data=body, content_type="application/json")
    assert response.status_code == 400
    assert response.get_json()["resourceType"] == "OperationOutcome"


def test_an_explanation_of_no_request(browser: FlaskClient):
    response = browser.post("/workbench/explain", json={"as_of": TODAY, "request": {"hook": "encounter-start"}})
    assert response.status_code == 400
    assert "patient-view" in response.get_json()["issue"][0]["diagnostics"]


# -- what is done on another day --------------------------------------------------------------------------

SITTING = "6f0c3ad4-1d0e-4b52-9f26-0d2f6f1d9c11"
DAY = "2027-05-01"


def say(browser: FlaskClient, card: str, day: str = DAY, sitting: str = SITTING, **changes: Any) -> TestResponse:
    word = {"card": card, "outcome": "overridden", "outcomeTimestamp": f"{day}T12:00:00Z"} | changes
    body = {"service": VIEW, "as_of": day, "sitting": sitting, "request": {"feedback": [word]}}
    return browser.post("/workbench/feedback", json=body)


def asked(browser: FlaskClient, day: str, sitting: str = SITTING) -> list[dict[str, Any]]:
    body = {"service": VIEW, "as_of": day, "sitting": sitting, "request": example(browser, "all-fine")}
    cards: list[dict[str, Any]] = browser.post("/workbench/call", json=body).get_json()["cards"]
    return cards


def test_an_override_holds_from_its_day_on_and_for_its_sitting(browser: FlaskClient):
    (card,) = asked(browser, DAY)
    reason = next(one for one in card["overrideReasons"] if one["display"] == "Result pending")  # 14 days
    told = {"reason": {"code": reason["code"], "system": reason["system"]}}
    assert say(browser, card["uuid"], overrideReason=told).get_json() == {}
    held = {day: len(asked(browser, day)) for day in ("2027-04-30", DAY, "2027-05-14", "2027-05-15")}
    assert held == {"2027-04-30": 1, DAY: 0, "2027-05-14": 0, "2027-05-15": 1}
    assert len(asked(browser, DAY, "a0")) == 1
    assert len(summaries(ask(browser, DAY, example(browser, "all-fine")))) == 1  # no sitting at all
    explained = browser.post(
        "/workbench/explain", json={"as_of": DAY, "sitting": SITTING, "request": example(browser, "all-fine")}
    ).get_json()
    assert "snoozed" in {rule["result"] for rule in explained["rules"]}


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"sitting": ""}, "sitting"),
        ({"sitting": "../x"}, "sitting"),
        ({"sitting": "a" * 37}, "sitting"),
        ({"as_of": "2036-03-24"}, "as_of"),
        ({"request": {"feedback": [{"card": "x"}]}}, "feedback[0].outcome"),
        ({"request": {}}, "feedback"),
    ],
)
def test_feedback_at_fault_is_refused(browser: FlaskClient, change: dict[str, Any], field: str):
    word = {"card": "x", "outcome": "overridden", "outcomeTimestamp": "2027-05-01T12:00:00Z"}
    body = {"service": VIEW, "as_of": DAY, "sitting": SITTING, "request": {"feedback": [word]}} | change
    response = browser.post("/workbench/feedback", json=body)
    assert response.status_code == 400
    assert field in response.get_json()["issue"][0]["diagnostics"]


def test_the_longest_unvisited_sitting_is_forgotten_first():
    walks = Walks(memory())
    stores = [walks.of(str(number)) for number in range(MOST)]
    assert walks.of("0") is stores[0]
    walks.of("new")
    assert walks.of("0") is stores[0]
    assert walks.of("1") is not stores[1]
    assert not stores[1].close.alive


# -- who may ask -----------------------------------------------------------------------------------------

ADDRESSES = ["/", "/workbench/examples/all-fine", "/workbench/call", "/workbench/explain", "/workbench/feedback"]


def status_of(browser: FlaskClient, path: str, base: str = "http://127.0.0.1:8000", **headers: str) -> int:
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    if path in ("/", ADDRESSES[1]):
        return browser.get(path, base_url=base, headers=names).status_code
    request = example(browser, "all-fine")
    body: dict[str, Any] = {"as_of": TODAY, "request": request}
    if path != "/workbench/explain":
        body["service"] = VIEW
    if path == "/workbench/feedback":
        body |= {"sitting": "a1", "request": {"feedback": []}}
    return browser.post(path, base_url=base, json=body, headers=names).status_code


@pytest.mark.parametrize("path", ADDRESSES)
@pytest.mark.parametrize(
    "base", ["http://127.0.0.1:8000", "http://localhost:9", "http://[::1]:8000", "http://127.9.9.9"]
)
def test_loopback_is_served(browser: FlaskClient, path: str, base: str):
    assert status_of(browser, path, base, Origin=base, Sec_Fetch_Site="same-origin") == 200


@pytest.mark.parametrize("path", ADDRESSES)
@pytest.mark.parametrize(
    ("base", "headers"),
    [
        ("http://rebound.example.org:8000", {}),  # a stranger's name that was pointed here
        ("http://127.0.0.1.example.org", {}),
        ("http://localhost.example.org", {}),
        ("http://10.0.0.7:8000", {}),
        ("http://127.0.0.1:8000", {"Origin": "https://elsewhere.example.org"}),
        ("http://127.0.0.1:8000", {"Origin": "http://127.0.0.1:8001"}),
        ("http://127.0.0.1:8000", {"Origin": "null"}),
        ("http://127.0.0.1:8000", {"X_Forwarded_For": "192.0.2.7"}),
        ("http://127.0.0.1:8000", {"Forwarded": "for=192.0.2.7"}),
        ("http://127.0.0.1:8000", {"Via": "1.1 proxy"}),
    ],
)
def test_strangers_are_refused(browser: FlaskClient, path: str, base: str, headers: dict[str, str]):
    assert status_of(browser, path, base, **headers) == 403


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_a_page_of_another_site_gets_nothing_but_may_link_here(browser: FlaskClient, site: str):
    assert status_of(browser, "/", Sec_Fetch_Site=site) == 200
    assert {status_of(browser, path, Sec_Fetch_Site=site) for path in ADDRESSES[1:]} == {403}


@pytest.mark.parametrize("path", ADDRESSES[2:])
def test_a_form_of_another_page_cannot_ask(browser: FlaskClient, path: str):
    """Only types that a form can send are free of a preflight."""
    for media in ("text/plain", "application/x-www-form-urlencoded"):
        assert browser.post(path, data=b"{}", content_type=media).status_code == 415


@pytest.mark.parametrize(
    ("settings", "served"),
    [
        (Settings(), True),
        (Settings(host="::1"), True),
        (Settings(host="localhost", public_url="http://127.0.0.1:9000"), True),
        (Settings(workbench=False), False),
        (Settings(host="0.0.0.0", allow_unauthenticated=True), False),
        (Settings(host="10.0.0.7", allow_unauthenticated=True), False),
        (Settings(public_url="https://cds.example.org"), False),
    ],
)
def test_it_is_served_on_loopback_only(settings: Settings, served: bool, knowledge: Knowledge):
    app = create_app(settings, knowledge=knowledge, log=io.StringIO(), tools=TOOLS)
    assert (app.test_client().get("/").status_code == 200) == served
    assert ("workbench.page" in app.view_functions) == served


def test_an_application_without_tools_has_no_workbench(client: FlaskClient):
    assert client.get("/").status_code == 404


def test_the_service_itself_takes_no_date(browser: FlaskClient):
    """Where time can be moved is the workbench alone."""
    request = example(browser, "all-fine") | {"as_of": "2027-03-16", "extension": {"as_of": "2027-03-16"}}
    itself = browser.post(f"/cds-services/{VIEW}?as_of=2027-03-16", json=request, headers={"As-Of": "2027-03-16"})
    assert summaries(itself) == []


def test_the_examples_are_what_the_templates_ask_for(browser: FlaskClient, knowledge: Knowledge):
    keys = {expected.key for expected in build_expected(knowledge, "patient-view")}
    assert set(example(browser, "all-fine")["prefetch"]) == keys
