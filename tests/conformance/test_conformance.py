"""Discovery, answers and errors against JSON Schemas that were written from the specification.

The schemas (2020-12) in `schemas/` state CDS Hooks 2.0.1 with the members of 3.0 that this service uses, and
nothing else is allowed: no unknown member, no null, nothing empty but `cards`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from fhir.resources.R4B.operationoutcome import OperationOutcome
from fhir.resources.R4B.servicerequest import ServiceRequest
from jsonschema import Draft202012Validator, FormatChecker
from referencing import Registry, Resource

SCHEMAS = {
    file.name.removesuffix(".schema.json"): json.loads(file.read_text(encoding="utf-8"))
    for file in Path(__file__).with_name("schemas").glob("*.schema.json")
}
REGISTRY: Registry[Any] = Registry().with_resources(
    (schema["$id"], Resource.from_contents(schema)) for schema in SCHEMAS.values()
)
HOOKS = ["patient-view", "order-select", "order-sign"]
LOINC = "http://loinc.org"


def faults(name: str, value: Any) -> list[str]:
    validator = Draft202012Validator(SCHEMAS[name], registry=REGISTRY, format_checker=FormatChecker())
    return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(value)]


def empties(value: Any, path: str = "$") -> list[str]:
    """Places of null and of empty values (`cards` may be empty)."""
    if value is None or value in ("", [], {}):
        return [] if path == "$.cards" and value == [] else [path]
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [found for key, part in inside for found in empties(part, f"{path}.{key}")]


def strictly(data: bytes) -> Any:
    """JSON as RFC 8259 has it: UTF-8, no constants beyond it, no name twice."""

    def no_name_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        assert len(found) == len(pairs)
        return found

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    return json.loads(data.decode("utf-8"), object_pairs_hook=no_name_twice, parse_constant=refuse)


@pytest.mark.parametrize("name", SCHEMAS)
def test_schemas_are_schemas(name):
    Draft202012Validator.check_schema(SCHEMAS[name])


# -- what is asked -----------------------------------------------------------------------------------


def bundle(*resources: dict[str, Any]) -> dict[str, Any]:
    return {"resourceType": "Bundle", "type": "searchset", "entry": [{"resource": one} for one in resources]}


def prescription(status: str, **members: Any) -> dict[str, Any]:
    """A prescription of testosterone cypionate (RxNorm 835829)."""
    return {
        "resourceType": "MedicationRequest",
        "id": f"testosterone-{status}",
        "status": status,
        "intent": "order",
        "subject": {"reference": "Patient/trt-man"},
        "medicationCodeableConcept": {
            "coding": [{"system": "http://www.nlm.nih.gov/research/umls/rxnorm", "code": "835829"}]
        },
    } | members


def hematocrit(value: float, day: str) -> dict[str, Any]:
    return {
        "resourceType": "Observation",
        "id": f"hct-{day}",
        "status": "final",
        "code": {"coding": [{"system": LOINC, "code": "4544-3"}]},
        "subject": {"reference": "Patient/trt-man"},
        "effectiveDateTime": day,
        "valueQuantity": {"value": value, "unit": "%", "system": "http://unitsofmeasure.org", "code": "%"},
    }


def man_on_testosterone(hct: float) -> dict[str, Any]:
    """Begun 14 months before the day of the tests, 2026-03-15; every key answered."""
    started = prescription(
        "active", authoredOn="2025-01-15", dispenseRequest={"validityPeriod": {"end": "2027-01-15"}}
    )
    return {
        "patient": {"resourceType": "Patient", "id": "trt-man", "birthDate": "1970-05-01", "gender": "male"},
        "labs1": bundle(hematocrit(hct, "2026-03-01")),
        "labs2": bundle(),
        "medicationRequests": bundle(started),
        "medicationStatements": bundle(),
        "conditions": bundle(),
        "procedures": bundle(),
        "serviceRequests": bundle(),
    }


def man_before_testosterone() -> dict[str, Any]:
    cancer = {
        "resourceType": "Condition",
        "id": "c1",
        "clinicalStatus": {"coding": [{"code": "active"}]},
        "code": {"coding": [{"system": "http://snomed.info/sct", "code": "399068003"}]},
        "subject": {"reference": "Patient/trt-man"},
    }
    return man_on_testosterone(45) | {"medicationRequests": bundle(), "conditions": bundle(cancer)}


DRAFT = {"draftOrders": bundle(prescription("draft")), "selections": ["MedicationRequest/testosterone-draft"]}
# Hook, context, prefetch, indicators that are among the cards.
CASES = {
    "hematocrit above the stop limit": ("patient-view", {}, man_on_testosterone(55), {"critical"}),
    "tests due": ("patient-view", {}, man_on_testosterone(45), {"warning"}),
    "nobody on therapy": (
        "patient-view",
        {},
        man_on_testosterone(45) | {"medicationRequests": bundle()},
        set(),
    ),
    "one key of many": ("patient-view", {}, {"patient": man_on_testosterone(45)["patient"]}, {"info"}),
    "contraindication while ordering": ("order-select", DRAFT, man_before_testosterone(), {"critical"}),
    "contraindication before signing": ("order-sign", DRAFT, man_before_testosterone(), {"critical"}),
}


# -- what is answered --------------------------------------------------------------------------------


def test_discovery(client):
    body = strictly(client.get("/cds-services").data)
    assert faults("discovery", body) == []
    assert empties(body) == []
    assert len({service["id"] for service in body["services"]}) == len(body["services"])
    assert [service["hook"] for service in body["services"]] == HOOKS


@pytest.mark.parametrize("name", CASES)
def test_answer(client, make_call, name):
    hook, context, prefetch, indicators = CASES[name]
    response = client.post(
        f"/cds-services/hormone-therapy-{hook}", json=make_call(hook, context, prefetch=prefetch)
    )
    assert response.status_code == 200
    body = strictly(response.data)
    assert faults("response", body) == []
    assert empties(body) == []
    assert {card["indicator"] for card in body["cards"]} >= indicators
    if not indicators:
        assert body == {"cards": []}
    cards = body["cards"]
    suggestions = [suggestion for card in cards for suggestion in card.get("suggestions", [])]
    uuids = [item["uuid"] for item in [*cards, *suggestions]]
    assert len(set(uuids)) == len(uuids)
    for action in (action for suggestion in suggestions for action in suggestion.get("actions", [])):
        resource = ServiceRequest.model_validate(action["resource"])
        assert resource.subject.reference == "Patient/trt-man"


def test_a_card_offers_an_order(client, make_call):
    _, _, prefetch, _ = CASES["tests due"]
    cards = client.post("/cds-services/hormone-therapy-patient-view", json=make_call(prefetch=prefetch)).get_json()[
        "cards"
    ]
    assert [card for card in cards if card.get("suggestions")]


VIEW = "/cds-services/hormone-therapy-patient-view"
JSON = {"Content-Type": "application/json"}
ERRORS = {
    "not JSON": ("POST", VIEW, b"{", JSON, 400),
    "not an object": ("POST", VIEW, b"[]", JSON, 400),
    "empty": ("POST", VIEW, b"", JSON, 400),
    "nothing right": ("POST", VIEW, b'{"hook": 1, "prefetch": 1, "context": {}}', JSON, 400),
    "unknown service": ("POST", "/cds-services/other", b"{}", JSON, 404),
    "unknown address": ("GET", "/other", b"", {}, 404),
    "wrong method": ("GET", VIEW, b"", {}, 405),
    "wrong type": ("POST", VIEW, b"{}", {"Content-Type": "text/plain"}, 415),
    "compressed": ("POST", VIEW, b"{}", JSON | {"Content-Encoding": "gzip"}, 415),
    "too large": ("POST", VIEW, b" " * (16 * 1024 * 1024 + 1), JSON, 413),
}


@pytest.mark.parametrize("name", ERRORS)
def test_error(client, name):
    method, path, data, headers, status = ERRORS[name]
    response = client.open(path, method=method, data=data, headers=headers)
    assert response.status_code == status
    check_outcome(response)


def test_error_for_want_of_data(client, make_call):
    response = client.post(VIEW, json=make_call(prefetch={}))
    assert response.status_code == 412
    check_outcome(response)


def check_outcome(response: Any) -> None:
    body = strictly(response.data)
    assert response.mimetype == "application/json"
    assert faults("operation-outcome", body) == []
    assert empties(body) == []
    OperationOutcome.model_validate(body)
