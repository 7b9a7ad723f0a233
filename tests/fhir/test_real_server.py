"""The same patient, once brought along and once fetched from a real FHIR server: the cards must be the same."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
import requests
from flask.testing import FlaskClient

from cds_service.app import create_app
from cds_service.hooks.discovery import SERVICES
from cds_service.hooks.prefetch import build_expected
from cds_service.scenarios.bundles import example_cases, files
from cds_service.scenarios.facts import Case
from cds_service.scenarios.run import Runner
from cds_service.settings import Settings
from tests import real_fhir
from tests.real_fhir import TOKEN

NOON = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
PATHS = {service.hook: f"/cds-services/{service.id}" for service in SERVICES}


@pytest.fixture(scope="module")
def cases() -> list[Case]:
    return list(example_cases(NOON.date()))


@pytest.fixture(scope="module")
def runner(knowledge) -> Runner:
    return Runner(knowledge)


@pytest.fixture(scope="module")
def fhir_server(cases, runner, tmp_path_factory) -> Iterator[str]:
    """Address of a FHIR server of its own process that holds the example patients and wants a token."""
    patients = (content for name, content in files(cases, runner) if name.startswith("patients/"))
    with real_fhir.serving(tmp_path_factory.mktemp("fhir"), patients) as url:
        yield url


@pytest.fixture(scope="module")
def service(knowledge) -> FlaskClient:
    settings = Settings(fhir_deadline_ms=20_000)
    return create_app(settings, knowledge=knowledge, clock=lambda: NOON, log=io.StringIO()).test_client()


def call(service: FlaskClient, body: dict[str, Any]) -> list[dict[str, Any]]:
    """The cards of one call, without what is new in every answer."""
    answer = service.post(PATHS[body["hook"]], json=body)
    assert answer.status_code == 200, answer.text
    return [bare(card) for card in answer.get_json()["cards"]]


def bare(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: bare(part) for key, part in value.items() if key != "uuid"}
    return [bare(part) for part in value] if isinstance(value, list) else value


def bodies(runner: Runner, cases: list[Case]) -> Iterator[dict[str, Any]]:
    """The calls of all examples whose prefetch is whole."""
    keys = {item.key for item in build_expected(runner.knowledge(cases[0]), "patient-view")}
    for case in cases:
        body = json.loads(runner.body(case))
        if body["prefetch"].keys() == keys:
            yield body


def fetching(body: dict[str, Any], fhir_server: str, token: str = TOKEN, **prefetch: Any) -> dict[str, Any]:
    grant = {"access_token": token, "token_type": "Bearer", "expires_in": 300, "scope": "patient/*.rs"}
    return body | {"fhirServer": fhir_server, "fhirAuthorization": grant, "prefetch": prefetch}


@pytest.mark.slow
def test_fetched_and_brought_along_is_the_same(service, fhir_server, runner, cases):
    compared = 0
    for body in bodies(runner, cases):
        fetched = call(service, fetching(body, fhir_server))
        assert fetched == call(service, body), body["context"]["patientId"]
        compared += 1
    assert compared >= 20


@pytest.mark.slow
@pytest.mark.parametrize("key", ["patient", "labs1", "medicationRequests", "conditions", "serviceRequests"])
def test_what_is_missing_is_fetched_whatever_it_is(service, fhir_server, runner, cases, key):
    for body in bodies(runner, cases[:4]):
        rest = {name: value for name, value in body["prefetch"].items() if name != key}
        assert call(service, fetching(body, fhir_server, **rest)) == call(service, body)


@pytest.mark.slow
def test_half_a_chart_becomes_a_whole_one(service, fhir_server, runner, cases):
    case = next(case for case in cases if case.id == "half-a-chart")
    body = json.loads(runner.body(case))
    assert "could not judge" in call(service, body)[0]["summary"]
    whole = call(service, fetching(body, fhir_server, **body["prefetch"]))
    assert not [card for card in whole if "could not judge" in card["summary"]]


@pytest.mark.slow
def test_pages_are_put_together(service, fhir_server, runner, cases):
    """A prefetch that was cut off after two results goes on where its next link points."""
    body = next(body for body in bodies(runner, cases) if body["context"]["patientId"] == "hematocrit-high")
    codes = ",".join(entry["resource"]["code"]["coding"][0]["code"] for entry in body["prefetch"]["labs1"]["entry"])
    first = requests.get(
        f"{fhir_server}/Observation?patient=hematocrit-high&code={codes}&_sort=-date&_count=2",
        headers={"Authorization": f"Bearer {TOKEN}"},
        timeout=20,
    ).json()
    assert len(first["entry"]) == 2
    assert "next" in {link["relation"] for link in first["link"]}
    rest = body["prefetch"] | {"labs1": first}
    assert call(service, fetching(body, fhir_server, **rest)) == call(service, body)


@pytest.mark.slow
def test_a_wrong_token_is_told(service, fhir_server, runner, cases):
    body = next(bodies(runner, cases))
    answer = service.post(PATHS[body["hook"]], json=fetching(body, fhir_server, token="wrong-token-77"))
    assert answer.status_code == 412
    assert "refused access" in answer.text
    assert "wrong-token-77" not in answer.text


@pytest.mark.slow
def test_a_patient_whom_the_server_does_not_know(service, fhir_server, runner, cases):
    body = next(bodies(runner, cases))
    body["context"]["patientId"] = "nobody"
    cards = call(service, fetching(body, fhir_server))
    assert [card["indicator"] for card in cards] in ([], ["info"])
