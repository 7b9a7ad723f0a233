"""The server's side of the SMART app: which servers are listed, what the page is told, who may ask for a view."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from flask.testing import FlaskClient

from cds_service.app import create_app
from cds_service.knowledge.model import Knowledge
from cds_service.scenarios.bundles import example_cases
from cds_service.scenarios.run import Runner
from cds_service.settings import Client, FhirServer, Settings

NOON = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
EHR = FhirServer("https://ehr.example.org/fhir/R4")


@pytest.fixture
def site(knowledge: Knowledge) -> Callable[..., FlaskClient]:
    def make(**settings: Any) -> FlaskClient:
        given = {"smart_client_id": "chart", "fhir_servers": (EHR,)} | settings
        app = create_app(Settings(**given), knowledge=knowledge, clock=lambda: NOON, log=io.StringIO())
        return app.test_client()

    return make


@pytest.fixture(scope="module")
def reading(knowledge: Knowledge) -> dict[str, Any]:
    """What the page has read of an example: each answer to a template as one page."""
    case = next(case for case in example_cases() if case.id == "hematocrit-high")
    prefetch = json.loads(Runner(knowledge).body(case))["prefetch"]
    return {"patient": case.id, "pages": {key: [value] for key, value in prefetch.items()}}


def told(page: str) -> dict[str, Any]:
    text = page.split('<script type="application/json" id="told">')[1].split("</script>", maxsplit=1)[0]
    found: dict[str, Any] = json.loads(text)
    return found


def test_without_a_client_id_there_is_no_app(site) -> None:
    client = site(smart_client_id="")
    for answer in (client.get("/smart/launch"), client.get("/smart/chart"), client.post("/smart/view", json={})):
        assert answer.status_code == 404


@pytest.mark.parametrize(
    ("iss", "listed"),
    [
        ("https://ehr.example.org/fhir/R4", True),
        ("https://ehr.example.org/fhir/R4/", True),
        ("https://EHR.example.org:443/fhir/R4", True),
        ("https://ehr.example.org/fhir/R4x", False),
        ("https://ehr.example.org/fhir", False),
        ("https://ehr.example.org/fhir/R4/../DSTU2", False),
        ("https://ehr.example.org@evil.example/fhir/R4", False),
        ("http://ehr.example.org/fhir/R4", False),
        ("https://ehr.example.org:8443/fhir/R4", False),
        ("http://127.0.0.1:8081/fhir", False),
        ("javascript:alert(1)", False),
        ("", False),
    ],
)
def test_only_listed_servers_are_launched_from(site, iss: str, listed: bool) -> None:
    answer = site().get("/smart/launch", query_string={"iss": iss, "launch": "x"})
    assert answer.status_code == (200 if listed else 403)
    assert bool(told(answer.text)["iss"]) is listed
    assert ("smart/launch.js" in answer.text) is listed


def test_each_ehr_has_its_own_client_id_or_the_common_one(site) -> None:
    own = FhirServer("https://other.example.org/fhir", smart_client_id="own-id")
    for common, expected in (("chart", {"own-id", "chart"}), ("", {"own-id", ""})):
        client = site(smart_client_id=common, fhir_servers=(EHR, own))
        found = {}
        for server in (EHR, own):
            answer = client.get("/smart/launch", query_string={"iss": server.url, "launch": "x"})
            found[server.url] = told(answer.text)["client"]
            assert answer.status_code == (200 if found[server.url] else 403)
        assert set(found.values()) == expected
        assert found[own.url] == "own-id"
        page = client.get("/smart/launch", query_string={"iss": EHR.url}).text.split('id="status"')[1]
        assert ("has no client id at this EHR" in page) is (common == "")


@pytest.mark.parametrize(("common", "linked"), [("", {"own"}), ("chart", {"own", "ehr", "none"})])
def test_cards_link_to_the_page_where_the_ehr_can_open_it(site, knowledge, common: str, linked: set[str]) -> None:
    own = FhirServer("https://other.example.org/fhir", smart_client_id="own-id")
    client = site(smart_client_id=common, fhir_servers=(EHR, own), fhir_deadline_ms=0)
    case = next(case for case in example_cases() if case.id == "hematocrit-high")
    body = json.loads(Runner(knowledge).body(case))
    found = set()
    for name, server in (("own", own.url), ("ehr", EHR.url), ("none", "")):
        call = {**body, "fhirServer": server} if server else {k: v for k, v in body.items() if k != "fhirServer"}
        (card,) = client.post("/cds-services/hormone-therapy-patient-view", json=call).get_json()["cards"]
        if any(link["url"].endswith("/smart/launch") for link in card.get("links", [])):
            found.add(name)
    assert found == linked


def test_on_loopback_without_a_list_any_server_on_loopback_is_listed(site) -> None:
    client = site(fhir_servers=())
    assert client.get("/smart/launch", query_string={"iss": "http://127.0.0.1:8081/fhir"}).status_code == 200
    assert client.get("/smart/launch", query_string={"iss": "https://ehr.example.org/fhir"}).status_code == 403


def test_behind_a_proxy_without_a_list_nobody_is_listed(site) -> None:
    client = site(fhir_servers=(), public_url="https://cds.example.org")
    assert client.get("/smart/launch", query_string={"iss": "http://127.0.0.1:8081/fhir"}).status_code == 403
    assert "127.0.0.1" not in client.get("/smart/chart").headers["Content-Security-Policy"]


def test_the_policy_names_the_ehr_and_nobody_else(site) -> None:
    page = site(smart_origins=("https://login.example.org",)).get("/smart/chart")
    policy = dict(part.split(" ", 1) for part in page.headers["Content-Security-Policy"].split("; "))
    ehr = "https://ehr.example.org https://login.example.org"
    assert policy["frame-ancestors"] == ehr
    assert policy["connect-src"] == f"'self' {ehr}"
    assert policy["script-src"] == "'self'"
    assert policy["default-src"] == "'none'"
    assert page.headers["Referrer-Policy"] == "no-referrer"
    assert page.headers["Cache-Control"] == "no-store"


def test_the_page_is_told_the_templates_and_its_way_back(site) -> None:
    found = told(site(smart_scopes="launch patient/*.rs").get("/smart/chart").text)
    assert "client" not in found  # each EHR has its own; which one was asked is remembered from the launch
    assert found["url"] == "http://127.0.0.1:8000/smart"
    assert found["scopes"] == "launch patient/*.rs"
    assert found["templates"]["patient"] == "Patient/{{context.patientId}}"
    assert {"Patient", "Observation", "Condition"} <= set(found["types"])


# -- the view ----------------------------------------------------------------------------------------


def test_resources_become_the_chart_s_data(site, reading) -> None:
    answer = site().post("/smart/view", json=reading, headers={"Accept": "application/json"})
    assert answer.status_code == 200
    data = answer.get_json()
    first = data["series"][0]
    assert (first["marker"], first["points"][-1]["value"], first["points"][-1]["reported"]) == (
        "HCT",
        "55.2",
        "0.552 L/L",
    )
    assert data["as_of"] == "2026-11-22"
    assert data["said"][0]["topic"] == "HCT-1"


@pytest.mark.parametrize(
    ("patient", "status"), [("a_b", 200), ("A-b.9", 200), ("x" * 64, 200), ("x" * 65, 400), ("", 400), ("a b", 400)]
)
def test_ids_are_those_that_hooks_take(site, patient: str, status: int, make_call) -> None:
    answer = site().post("/smart/view", json={"patient": patient, "pages": {}})
    assert answer.status_code == status
    call = make_call(
        context={"patientId": patient}, prefetch={"patient": {"resourceType": "Patient", "id": patient}}
    )
    hook = site().post("/cds-services/hormone-therapy-patient-view", json=call)
    assert (hook.status_code == 400) == (status == 400)


def test_an_id_does_not_end_in_a_new_line(site) -> None:
    assert site().post("/smart/view", json={"patient": "a\n", "pages": {}}).status_code == 400


@pytest.mark.parametrize("path", ["", "/cds", "/gate/way"])
def test_below_a_path_of_the_public_url_static_files_are_found(site, path: str) -> None:
    client = site(public_url=f"https://gw.example.org{path}")
    page = client.get("/smart/chart").text
    links = [link for link in re.findall(r'(?:src|href)="([^"#]+)', page) if "web" in link]
    assert len(links) > 2
    for link in links:
        assert link.startswith(f"{path}/web/")
        with client.get(link.removeprefix(path)) as answer:
            assert answer.status_code == 200


def test_pages_of_a_search_are_put_together_and_a_missing_one_is_told(site, reading) -> None:
    key = next(key for key in reading["pages"] if key.startswith("labs"))
    (bundle,) = reading["pages"][key]
    half = len(bundle["entry"]) // 2
    more = [{"relation": "next", "url": "https://ehr.example.org/fhir/R4?page=2"}]
    first, second = (
        {**bundle, "entry": bundle["entry"][:half], "link": more},
        {**bundle, "entry": bundle["entry"][half:]},
    )

    def view(*pages: Any) -> dict[str, Any]:
        asked = {**reading, "pages": {**reading["pages"], key: pages}}
        found: dict[str, Any] = site().post("/smart/view", json=asked).get_json()
        return found

    whole = view(bundle)
    assert {**view(first, second), "said": whole["said"]} == whole
    assert any(series["complete_since"] for series in view(first)["series"])


FAILURE = {"resourceType": "OperationOutcome", "issue": [{"severity": "error", "code": "timeout"}]}


@pytest.mark.parametrize("failed", [FAILURE, {}, None, 1, {"resourceType": "Patient"}, {"entry": []}])
def test_a_later_page_that_is_none_is_not_the_end_of_the_list(site, reading, failed: Any) -> None:
    key = next(key for key in reading["pages"] if key.startswith("labs"))
    (bundle,) = reading["pages"][key]
    more = [{"relation": "next", "url": "https://ehr.example.org/fhir/R4?page=2"}]
    first = {name: value for name, value in bundle.items() if name != "total"} | {"link": more}

    def unknown(*pages: Any) -> list[str]:
        asked = {**reading, "pages": {**reading["pages"], key: pages}}
        found: list[str] = site().post("/smart/view", json=asked).get_json()["unknown"]
        return found

    whole, cut_off = unknown(bundle), unknown(first)
    assert cut_off != whole
    assert unknown(first, failed) == unknown(first, failed, bundle) == cut_off


def test_a_list_whose_pages_hold_less_than_it_counts_is_cut_off(site, reading) -> None:
    key = next(key for key in reading["pages"] if key.startswith("labs"))
    (bundle,) = reading["pages"][key]
    counted = {**bundle, "total": 100}

    def unknown(*pages: Any) -> list[str]:
        asked = {**reading, "pages": {**reading["pages"], key: pages}}
        found: list[str] = site().post("/smart/view", json=asked).get_json()["unknown"]
        return found

    assert unknown(counted, {**counted, "entry": []}) == unknown(counted) != unknown(bundle)


def test_what_was_not_read_is_told(site, reading) -> None:
    pages = {key: value for key, value in reading["pages"].items() if key != "medicationRequests"}
    data = site().post("/smart/view", json={**reading, "pages": {**pages, "medicationRequests": []}}).get_json()
    assert any("not sent by the EHR" in sentence for sentence in data["unknown"])


def test_hostile_text_stays_text(site, reading) -> None:
    attack = '<img src=x onerror="alert(1)">'
    text = json.dumps(reading).replace("0.552", "0.552").replace('"L/L"', json.dumps(attack))
    answer = site().post("/smart/view", data=text, content_type="application/json", headers={"Accept": "text/html"})
    assert answer.status_code == 200
    assert "<img" not in answer.text
    assert "&lt;img" in answer.text


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ("{", 400),
        ("[]", 400),
        ('{"patient": "a"}', 400),
        ('{"patient": "../x", "pages": {}}', 400),
        ('{"patient": "a", "pages": {"labs1": {}}}', 400),
        ('{"patient": "a", "pages": {}, "years": "3"}', 400),
        ('{"patient": "a", "pages": {}, "token": "x"}', 400),
        ('{"patient": "a", "pages": {"patient": ["nonsense"], "labs1": [1, 2], "x": [{}]}}', 200),
        ('{"patient": "a", "pages": {}}', 200),
    ],
)
def test_any_body_gets_a_clear_answer(site, body: str, status: int) -> None:
    answer = site().post("/smart/view", data=body, content_type="application/json")
    assert answer.status_code == status
    if status != 200:
        assert answer.get_json()["resourceType"] == "OperationOutcome"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Origin": "https://evil.example.org"}, 403),
        ({"Origin": "null"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Authorization": "Bearer token"}, 400),
        ({"Content-Type": "text/plain"}, 415),
        ({"Origin": "http://localhost", "Sec-Fetch-Site": "same-origin"}, 200),
        ({"Origin": "http://127.0.0.1:8000"}, 200),
    ],
)
def test_only_the_page_itself_may_ask_and_never_with_a_token(site, headers: dict[str, str], status: int) -> None:
    given = {"Content-Type": "application/json"} | headers
    assert site().post("/smart/view", data='{"patient": "a", "pages": {}}', headers=given).status_code == status


def test_browsers_have_no_ehr_s_token_to_show(site, tmp_path) -> None:
    """Where EHRs must show a token, the pages of the app are still open, and nothing else is."""
    keys = tmp_path / "keys.json"
    keys.write_text('{"keys": []}')
    client = site(clients=(Client("ehr", "https://ehr.example.org", jwks_file=str(keys)),))
    assert client.get("/smart/launch", query_string={"iss": EHR.url}).status_code == 200
    assert client.get("/smart/chart").status_code == 200
    assert client.post("/smart/view", json={"patient": "a", "pages": {}}).status_code == 200
    assert client.post("/cds-services/hormone-therapy-patient-view", json={}).status_code == 401
