"""Whatever is sent, the answer is cards or an OperationOutcome that a browser may read; never a 5xx.

A valid call with data of every kind is changed in one place to any JSON, and the address, the method and the
headers to any text. What comes back is checked by one function, `check`.
"""

from __future__ import annotations

import copy
import io
import json
from collections.abc import Iterator
from typing import Any

import pytest
from flask.testing import FlaskClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cds_service.app import create_app
from cds_service.settings import Settings

HOOKS = ["patient-view", "order-select", "order-sign"]
LOINC = "http://loinc.org"
RXNORM = "http://www.nlm.nih.gov/research/umls/rxnorm"
UCUM = "http://unitsofmeasure.org"
QUICK = settings(
    deadline=None,
    max_examples=150,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def bundle(*resources: dict[str, Any]) -> dict[str, Any]:
    return {
        "resourceType": "Bundle",
        "type": "searchset",
        "total": len(resources),
        "link": [{"relation": "self", "url": "http://ehr.example.org/fhir/x"}],
        "entry": [{"fullUrl": "urn:x", "resource": one, "search": {"mode": "match"}} for one in resources],
    }


def result(number: int, code: str, value: Any, unit: str, when: str) -> dict[str, Any]:
    return {
        "resourceType": "Observation",
        "id": f"o{number}",
        "status": "final",
        "code": {"coding": [{"system": LOINC, "code": code}], "text": "x"},
        "subject": {"reference": "Patient/p1"},
        "effectiveDateTime": when,
        "valueQuantity": {"value": value, "unit": unit, "system": UCUM, "code": unit},
        "referenceRange": [{"high": {"value": 50, "unit": unit}}],
        "interpretation": [{"coding": [{"code": "H"}]}],
    }


def medication(number: int, status: str) -> dict[str, Any]:
    return {
        "resourceType": "MedicationRequest",
        "id": f"m{number}",
        "status": status,
        "intent": "order",
        "subject": {"reference": "Patient/p1"},
        "authoredOn": "2025-03-01T08:00:00Z",
        "medicationCodeableConcept": {
            "coding": [{"system": RXNORM, "code": "835829"}],
            "text": "testosterone cypionate 200 MG/ML Injectable Solution",
        },
        "dosageInstruction": [
            {
                "timing": {
                    "repeat": {"frequency": 1, "period": 1, "periodUnit": "wk", "boundsPeriod": {"start": "2025"}}
                },
                "route": {"coding": [{"system": "http://snomed.info/sct", "code": "78421000"}]},
                "doseAndRate": [{"doseQuantity": {"value": 100, "unit": "mg", "system": UCUM, "code": "mg"}}],
            }
        ],
        "dispenseRequest": {"expectedSupplyDuration": {"value": 400, "code": "d"}, "numberOfRepeatsAllowed": 1},
    }


def full_call(hook: str) -> dict[str, Any]:
    about = {"subject": {"reference": "Patient/p1"}}
    snomed = {"system": "http://snomed.info/sct", "code": "399068003"}
    return {
        "hook": hook,
        "hookInstance": "f884bacc-b073-4de5-9cd6-06473b50f1c9",
        "fhirServer": "https://ehr.example.org/fhir",
        "fhirAuthorization": {
            "access_token": "t",
            "token_type": "Bearer",
            "expires_in": 300,
            "scope": "x",
            "subject": "y",
        },
        "extension": {"org.example.x": 1},
        "context": {
            "userId": "Practitioner/1",
            "patientId": "p1",
            "encounterId": "e1",
            "selections": ["MedicationRequest/m9"],
            "draftOrders": bundle(
                medication(9, "draft"),
                {
                    "resourceType": "ServiceRequest",
                    "id": "s9",
                    "status": "draft",
                    "intent": "order",
                    "code": {"coding": [{"system": LOINC, "code": "58410-2"}]},
                },
            ),
        },
        "prefetch": {
            "patient": {
                "resourceType": "Patient",
                "id": "p1",
                "birthDate": "1970-05-01",
                "gender": "male",
                "extension": [
                    {"url": "http://hl7.org/fhir/us/core/StructureDefinition/us-core-birthsex", "valueCode": "M"}
                ],
            },
            "labs1": bundle(
                result(1, "4544-3", 55.1, "%", "2026-03-01T08:15:00-05:00"),
                result(2, "2857-1", 4.5, "ng/mL", "2026-03"),
                result(3, "2986-8", 700, "ng/dL", "2026-03-01"),
                result(4, "2986-8", 23, "nmol/L", "2025-01-01"),
            ),
            "labs2": bundle(
                {"resourceType": "OperationOutcome", "issue": [{"severity": "warning", "code": "value"}]}
            ),
            "medicationRequests": bundle(medication(1, "active"), {"resourceType": "Medication", "id": "d1"}),
            "medicationStatements": bundle(
                {"resourceType": "MedicationStatement", "id": "t1", "status": "active", **about}
            ),
            "conditions": bundle(
                {
                    "resourceType": "Condition",
                    "id": "c1",
                    "clinicalStatus": {"coding": [{"code": "active"}]},
                    "verificationStatus": {"coding": [{"code": "confirmed"}]},
                    "code": {"coding": [snomed]},
                    "onsetDateTime": "2025-12",
                    **about,
                }
            ),
            "procedures": None,
            "serviceRequests": bundle(
                {
                    "resourceType": "ServiceRequest",
                    "id": "s1",
                    "status": "active",
                    "intent": "order",
                    "authoredOn": "2026-03-10",
                    "code": {"coding": [{"system": LOINC, "code": "58410-2"}]},
                    **about,
                }
            ),
        },
    }


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every path into a JSON value."""
    if path:
        yield path
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in inside:
        yield from places(part, (*path, key))


CALLS = {hook: full_call(hook) for hook in HOOKS}
PLACES = sorted(places(CALLS["patient-view"]), key=repr)

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(10**40), 10**40)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20)
    | st.sampled_from(
        ["", " ", "p1", "Patient/p2", "#x", "urn:uuid:x", "%", "<0.1", "> 54", "1e400", "final", "entered-in-error"]
    )
    | st.sampled_from(
        ["0002-12-01", "2026-02-30", "9999-12-31T23:59:60Z", "2026-03-01T08:15:00+99:99", "Invalid date", "Bundle"]
    )
)
ANYTHING = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@pytest.fixture(scope="module")
def service(knowledge) -> FlaskClient:
    return create_app(Settings(), knowledge=knowledge, log=io.StringIO()).test_client()


def check(response: Any) -> None:
    """The answer is ours, whatever was asked."""
    assert response.status_code < 500, response.text
    assert response.headers["Access-Control-Allow-Origin"] == "*"
    if response.status_code in (204, 304) or response.request.method == "HEAD":
        return
    assert response.mimetype == "application/json"
    body = json.loads(response.data)
    if response.status_code == 200:
        assert {"cards", "services", "status"} & body.keys()
    else:
        assert body["resourceType"] == "OperationOutcome"
        assert all(issue["diagnostics"] for issue in body["issue"])
    for tell_tale in ("Traceback", ".py", "cds_service", "msgspec", "<html"):
        assert tell_tale not in response.text


@pytest.mark.parametrize("hook", HOOKS)
def test_the_call_itself_is_answered(service, hook):
    response = service.post(f"/cds-services/hormone-therapy-{hook}", json=CALLS[hook])
    check(response)
    assert response.status_code == 200
    assert response.get_json()["cards"]


@QUICK
@given(st.sampled_from(HOOKS), st.sampled_from(PLACES), ANYTHING)
def test_any_json_at_any_place(service, hook, place, value):
    call = copy.deepcopy(CALLS[hook])
    spot = call
    for key in place[:-1]:
        spot = spot[key]
    spot[place[-1]] = value
    response = service.post(f"/cds-services/hormone-therapy-{hook}", json=call)
    check(response)
    # What lies in the prefetch is the reader's business: it may cost data, never the answer.
    if place[0] == "prefetch" and len(place) > 1:
        assert response.status_code == 200


@QUICK
@given(st.sampled_from(HOOKS), st.sampled_from(PLACES))
def test_any_place_left_out(service, hook, place):
    call = copy.deepcopy(CALLS[hook])
    spot = call
    for key in place[:-1]:
        spot = spot[key]
    del spot[place[-1]]
    check(service.post(f"/cds-services/hormone-therapy-{hook}", json=call))


@QUICK
@given(st.sampled_from(HOOKS), ANYTHING)
def test_any_json_as_body(service, hook, value):
    response = service.post(
        f"/cds-services/hormone-therapy-{hook}", data=json.dumps(value), content_type="application/json"
    )
    check(response)
    assert response.status_code == 400


@QUICK
@given(st.binary(max_size=60), st.integers(0, 4000), st.integers(0, 20))
def test_any_bytes_anywhere(service, piece, start, gone):
    body = json.dumps(CALLS["order-select"]).encode()
    changed = body[:start] + piece + body[start + gone :]
    check(service.post("/cds-services/hormone-therapy-order-select", data=changed, content_type="application/json"))


@QUICK
@given(st.integers(0, 8000))
def test_body_that_was_cut(service, length):
    body = json.dumps(CALLS["order-sign"]).encode()[:length]
    response = service.post("/cds-services/hormone-therapy-order-sign", data=body, content_type="application/json")
    check(response)
    assert response.status_code in (200, 400)


DEEP = 100_000


@pytest.mark.parametrize("place", ["", "context", "prefetch", "draftOrders", "patient", "labs1"])
def test_deep_nesting_anywhere(service, place):
    """Deeper than any parser goes, and, one by one, depths at which ours is nearly used up."""
    for depth in (DEEP, *range(180, 1100, 23)):
        deep = "[" * depth + "]" * depth
        call = json.dumps(full_call("order-sign"))
        if place:
            opening = f'"{place}": {{'
            assert opening in call
            call = call.replace(opening, f'{opening}"deep": {deep}, ', 1)
        else:
            call = f'{{"deep": {deep}, {call[1:]}'
        check(service.post("/cds-services/hormone-therapy-order-sign", data=call, content_type="application/json"))


PATH = st.text(st.characters(exclude_categories=["Cs"]), max_size=40) | st.sampled_from(
    [
        "/",
        "//",
        "/cds-services//",
        "/cds-services///x",
        "/cds-services/../x",
        "/cds-services/x/feedback",
        "/healthz/",
    ]
)
WORD = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=12)


@QUICK
@given(
    PATH, st.sampled_from(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"]) | WORD
)
def test_any_address_and_method(service, path, method):
    check(service.open(base_url="http://localhost", path="/" + path.lstrip("/"), method=method))


ABOUT_THE_BODY = ["Content-Type", "Content-Encoding", "Content-Length", "Transfer-Encoding", "Expect", "Range"]
ABOUT_THE_CALLER = ["Accept", "Accept-Encoding", "Authorization", "Cookie", "Host", "If-None-Match", "Origin"]
HEADER = st.sampled_from([*ABOUT_THE_BODY, *ABOUT_THE_CALLER, "Access-Control-Request-Headers"])


@QUICK
@given(
    st.sampled_from(["GET", "POST"]),
    st.dictionaries(HEADER, st.text(st.characters(min_codepoint=32, max_codepoint=255), max_size=30), max_size=4),
)
def test_any_headers(service, method, headers):
    path = "/cds-services" if method == "GET" else "/cds-services/hormone-therapy-patient-view"
    body = {} if method == "GET" else {"data": json.dumps(CALLS["patient-view"])}
    check(service.open(path, method=method, headers=headers, **body))
