"""The addresses over HTTP: discovery, calls, errors, CORS, headers, and what the log says of it all."""

from __future__ import annotations

import io
import json
import time
from datetime import UTC, date, datetime
from uuid import RFC_4122, UUID

import pytest

from cds_service.app import create_app
from cds_service.hooks import body as body_module
from cds_service.hooks import cards, routes
from cds_service.hooks.prefetch import build_expected
from cds_service.rules import engine
from cds_service.rules.engine import evaluate
from cds_service.scenarios.bundles import example_cases
from cds_service.scenarios.run import Runner
from cds_service.settings import MEBIBYTE, Settings

VIEW = "/cds-services/hormone-therapy-patient-view"
SELECT = "/cds-services/hormone-therapy-order-select"
SIGN = "/cds-services/hormone-therapy-order-sign"
EHR = "https://ehr.example.org"


def issues(response):
    body = response.get_json()
    assert response.mimetype == "application/json"
    assert body["resourceType"] == "OperationOutcome"
    return body["issue"]


# -- discovery ---------------------------------------------------------------------------------------


def test_discovery_lists_one_service_a_hook(client, knowledge):
    services = client.get("/cds-services").get_json()["services"]
    assert {service["id"]: service["hook"] for service in services} == {
        "hormone-therapy-patient-view": "patient-view",
        "hormone-therapy-order-select": "order-select",
        "hormone-therapy-order-sign": "order-sign",
    }
    for service in services:
        templates = {item.key: item.template for item in build_expected(knowledge, service["hook"])}
        assert service["prefetch"] == templates
        assert list(service["prefetch"]) == list(templates)


@pytest.mark.parametrize("path", ["/cds-services", "/cds-services/"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_discovery_is_served_with_and_without_a_slash(client, path, method):
    response = client.open(path, method=method)
    assert (response.status_code, response.mimetype) == (200, "application/json")
    assert len(response.data) == (0 if method == "HEAD" else int(response.headers["Content-Length"]))


def test_discovery_is_asked_about_each_time_and_answered_shortly(client):
    first = client.get("/cds-services")
    assert first.headers.getlist("Cache-Control") == ["no-cache"]
    again = client.get("/cds-services", headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.data) == (304, b"")
    assert client.get("/cds-services", headers={"If-None-Match": '"other"'}).status_code == 200


def test_a_token_on_discovery_is_passed_over(client):
    assert client.get("/cds-services", headers={"Authorization": "Bearer x.y.z"}).status_code == 200


# -- calls -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "hook"),
    [
        (VIEW, "patient-view"),
        (SELECT, "order-select"),
        (SIGN, "order-sign"),
        # A discovery address that was typed with a slash at its end.
        (VIEW.replace("services/", "services//"), "patient-view"),
        (VIEW + "/", "patient-view"),
    ],
)
def test_call_is_answered_with_cards(client, make_call, path, hook):
    response = client.post(path, json=make_call(hook))
    assert (response.status_code, response.mimetype) == (200, "application/json")
    assert isinstance(response.get_json()["cards"], list)
    assert response.headers["Cache-Control"] == "no-store"


def test_same_call_same_guidance(client, make_call):
    def guidance():
        cards = client.post(VIEW, json=make_call()).get_json()["cards"]
        return [(card["summary"], card.get("detail")) for card in cards]

    assert guidance() == guidance()


def test_a_tab_clicked_again_in_the_sandbox_sends_no_drafts(client, make_call):
    for path, hook in ((SELECT, "order-select"), (SIGN, "order-sign")):
        call = make_call(hook)
        call["context"] = {"patientId": "smart-1288992", "userId": "Practitioner/COREPRACTITIONER1"}
        response = client.post(path, json=call)
        assert response.status_code == 400
        assert ["context.draftOrders"] in [issue.get("expression") for issue in issues(response)]


@pytest.mark.parametrize(
    ("zone", "clock", "day"),
    [
        ("UTC", datetime(2026, 3, 15, 23, 30, tzinfo=UTC), "2026-03-15"),
        ("Europe/Berlin", datetime(2026, 3, 15, 23, 30, tzinfo=UTC), "2026-03-16"),
        ("Pacific/Kiritimati", datetime(2026, 3, 15, 11, 0, tzinfo=UTC), "2026-03-16"),
        ("America/Los_Angeles", datetime(2026, 3, 15, 6, 0, tzinfo=UTC), "2026-03-14"),
    ],
)
def test_today_is_the_day_at_the_site(knowledge, make_call, monkeypatch, zone, clock, day):
    seen = []

    def spy(chart, knowledge, *, as_of, hook, **more):
        seen.append((as_of.isoformat(), hook))
        return evaluate(chart, knowledge, as_of=as_of, hook=hook, **more)

    monkeypatch.setattr(routes, "evaluate", spy)
    app = create_app(Settings(time_zone=zone), knowledge=knowledge, clock=lambda: clock)
    assert app.test_client().post(VIEW, json=make_call()).status_code == 200
    assert seen == [(day, "patient-view")]


def test_call_without_any_data_is_412_and_names_the_keys(client, make_call, knowledge):
    response = client.post(VIEW, json=make_call(prefetch={}))
    assert response.status_code == 412
    keys = [item.key for item in build_expected(knowledge, "patient-view")]
    assert [issue["expression"] for issue in issues(response)] == [[f"prefetch.{key}"] for key in keys]
    assert {issue["code"] for issue in issues(response)} == {"required"}


def test_failed_keys_are_412_too(client, make_call, knowledge):
    outcome = {"resourceType": "OperationOutcome", "issue": [{"severity": "error", "code": "forbidden"}]}
    keys = [item.key for item in build_expected(knowledge, "patient-view")]
    response = client.post(VIEW, json=make_call(prefetch=dict.fromkeys(keys, outcome)))
    assert response.status_code == 412
    assert {issue["code"] for issue in issues(response)} == {"incomplete"}


def test_an_order_that_concerns_nobody_here_needs_no_data(client, make_call):
    assert client.post(SIGN, json=make_call("order-sign", prefetch={})).status_code == 200


def test_a_hormone_order_without_any_data_is_412(client, make_call):
    draft = {
        "resourceType": "MedicationRequest",
        "id": "request-123",
        "status": "draft",
        "subject": {"reference": "Patient/trt-man"},
        "medicationCodeableConcept": {"text": "testosterone cypionate 200 mg/mL injection"},
    }
    context = {"draftOrders": {"resourceType": "Bundle", "entry": [{"resource": draft}]}}
    for path, hook in ((SELECT, "order-select"), (SIGN, "order-sign")):
        assert client.post(path, json=make_call(hook, context, prefetch={})).status_code == 412


# -- refusals ----------------------------------------------------------------------------------------


def test_refusal_names_field_code_and_expectation(client, make_call):
    response = client.post(VIEW, json=make_call(context={"patientId": "Patient/1"}))
    assert response.status_code == 400
    (issue,) = issues(response)
    assert (issue["severity"], issue["code"], issue["expression"]) == ("error", "value", ["context.patientId"])
    assert "a FHIR id" in issue["diagnostics"]


def test_hook_of_another_service_is_refused(client, make_call):
    assert client.post(VIEW, json=make_call("order-sign")).status_code == 400


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 404),
        ("GET", "/favicon.ico", 404),
        ("GET", "/cds-service", 404),
        ("GET", "//cds-services", 404),
        ("GET", "/cds-services/%00", 405),
        ("POST", "/cds-services/none", 404),
        ("POST", "/cds-services/%2e%2e%2fetc%2fpasswd", 404),
        ("POST", "/cds-services/" + "x" * 5000, 404),
        ("POST", f"{VIEW}/feedback/more", 404),
        ("POST", "/cds-services", 405),
        ("PUT", "/cds-services", 405),
        ("GET", VIEW, 405),
        ("HEAD", VIEW, 405),
        ("DELETE", VIEW, 405),
        ("PATCH", VIEW, 405),
        ("BREW", VIEW, 405),
    ],
)
def test_other_addresses_and_methods(client, method, path, status):
    response = client.open(path, method=method)
    assert response.status_code == status
    if status == 405:
        assert response.headers["Allow"]
    if method != "HEAD":
        assert issues(response)[0]["code"] == {404: "not-found", 405: "not-supported"}[status]
        assert "x" * 50 not in response.text


def test_method_refused_names_the_right_ones(client):
    assert set(client.get(VIEW).headers["Allow"].split(", ")) == {"POST", "OPTIONS"}
    assert set(client.post("/cds-services").headers["Allow"].split(", ")) == {"GET", "HEAD", "OPTIONS"}


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Content-Type": "text/plain"}, 415),
        ({"Content-Type": "application/x-www-form-urlencoded"}, 415),
        ({"Content-Type": "multipart/form-data; boundary=x"}, 415),
        ({}, 415),
        ({"Content-Type": "application/json", "Content-Encoding": "gzip"}, 415),
        ({"Content-Type": "application/json; charset=latin-1"}, 400),
    ],
)
def test_other_media_are_refused(client, make_call, headers, status):
    response = client.post(VIEW, data=json.dumps(make_call()), headers=headers)
    assert response.status_code == status
    assert issues(response)[0]["code"] == "not-supported"


def test_body_of_the_greatest_size_is_read_and_no_larger(knowledge, make_call, log):
    app = create_app(Settings(max_body_mb=1), knowledge=knowledge, log=log)
    body = json.dumps(make_call()).encode()
    fitting = body + b" " * (MEBIBYTE - len(body))
    assert app.test_client().post(VIEW, data=fitting, content_type="application/json").status_code == 200
    response = app.test_client().post(VIEW, data=fitting + b" ", content_type="application/json")
    assert response.status_code == 413
    assert issues(response) == [
        {"severity": "error", "code": "too-long", "diagnostics": "body: expected at most 1 MiB"}
    ]


def test_body_that_is_too_large_is_let_in_up_to_a_bound(knowledge, log, monkeypatch):
    """A client that is cut off while it sends would never read the answer."""
    monkeypatch.setattr(body_module, "MOST_TAKEN", 3 * MEBIBYTE)
    client = create_app(Settings(max_body_mb=1), knowledge=knowledge, log=log).test_client()

    def taken(size, length):
        stream = io.BytesIO(b" " * size)
        response = client.post(
            VIEW,
            input_stream=stream,
            content_type="application/json",
            headers={} if length else {"Transfer-Encoding": "chunked"},
            environ_overrides={"CONTENT_LENGTH": str(length or 0), "wsgi.input_terminated": not length},
        )
        assert response.status_code == 413
        return stream.tell()

    assert taken(2 * MEBIBYTE, 2 * MEBIBYTE) == 2 * MEBIBYTE
    assert taken(9 * MEBIBYTE, 2 * MEBIBYTE) == 2 * MEBIBYTE
    assert taken(9 * MEBIBYTE, 9 * MEBIBYTE) == 3 * MEBIBYTE
    assert taken(9 * MEBIBYTE, None) == (1 + 3) * MEBIBYTE + 1


def test_body_without_a_length_is_read_and_bounded(knowledge, make_call, log):
    client = create_app(Settings(max_body_mb=1), knowledge=knowledge, log=log).test_client()
    body = json.dumps(make_call()).encode()

    def post(data):
        return client.post(
            VIEW,
            input_stream=io.BytesIO(data),
            headers={"Transfer-Encoding": "chunked", "Content-Type": "application/json"},
            environ_overrides={"wsgi.input_terminated": True},
        )

    assert post(body).status_code == 200
    assert post(body + b" " * (MEBIBYTE - len(body))).status_code == 200
    assert post(body + b" " * (MEBIBYTE - len(body) + 1)).status_code == 413
    assert post(b"").status_code == 400


def test_body_that_comes_in_small_pieces(client, make_call):
    class Slow(io.BytesIO):
        def read(self, size=-1):
            return super().read(min(size, 7))

    body = json.dumps(make_call()).encode()
    response = client.post(
        VIEW,
        input_stream=Slow(body),
        content_type="application/json",
        environ_overrides={"CONTENT_LENGTH": str(len(body))},
    )
    assert response.status_code == 200


def test_body_that_ends_too_early(client, make_call):
    body = json.dumps(make_call()).encode()
    response = client.post(
        VIEW,
        input_stream=io.BytesIO(body[:50]),
        content_type="application/json",
        environ_overrides={"CONTENT_LENGTH": str(len(body))},
    )
    assert response.status_code == 400


# -- a fault of ours ---------------------------------------------------------------------------------


def test_crash_is_told_without_details(client, make_call, monkeypatch, log_lines):
    def fail(*_args, **_kwargs):
        raise LookupError("Jane Roe, /srv/app/secret.py")

    monkeypatch.setattr(routes, "evaluate", fail)
    response = client.post(VIEW, json=make_call(), headers={"Origin": EHR})
    assert response.status_code == 500
    (issue,) = issues(response)
    assert issue["code"] == "exception"
    assert "Roe" not in response.text
    assert ".py" not in response.text
    assert response.headers["Access-Control-Allow-Origin"] == "*"
    (line,) = log_lines()
    assert (line["level"], line["status"], line["error"]) == ("error", 500, "LookupError")
    assert line["place"].startswith("cds_service.hooks.routes:")
    assert line["request"] == response.headers["X-Request-Id"]
    assert "Roe" not in json.dumps(line)


# -- CORS and headers --------------------------------------------------------------------------------

PREFLIGHT = {
    "Origin": EHR,
    "Access-Control-Request-Method": "POST",
    "Access-Control-Request-Headers": "authorization,content-type",
}


@pytest.mark.parametrize(
    "path",
    ["/cds-services", "/cds-services/", VIEW, VIEW.replace("s/", "s//"), f"{SIGN}/feedback", "/cds-services/none"],
)
def test_preflight_is_answered_everywhere_without_asking_who_calls(client, path):
    response = client.options(path, headers=PREFLIGHT)
    assert response.status_code == 204
    assert "Content-Type" not in response.headers
    assert response.headers["Access-Control-Allow-Origin"] == "*"
    allowed = response.headers["Access-Control-Allow-Headers"].lower().split(", ")
    assert {"authorization", "content-type"} <= set(allowed)
    assert response.headers["Access-Control-Allow-Methods"] == "GET, POST, OPTIONS"
    assert int(response.headers["Access-Control-Max-Age"]) > 0
    assert "Access-Control-Allow-Credentials" not in response.headers


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/cds-services"), ("GET", "/none"), ("GET", VIEW), ("POST", VIEW), ("GET", "/healthz")],
)
def test_every_answer_can_be_read_by_a_page(client, method, path):
    response = client.open(path, method=method, headers={"Origin": EHR})
    assert response.headers["Access-Control-Allow-Origin"] == "*"
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.headers["Access-Control-Expose-Headers"] == "X-Request-Id"


def test_named_origins(knowledge, log):
    client = create_app(Settings(cors_origins=(EHR,)), knowledge=knowledge, log=log).test_client()

    def allowed(origin, method="GET"):
        response = client.open("/cds-services", method=method, headers={"Origin": origin} if origin else {})
        assert response.headers["Vary"] == "Origin"
        return response.headers.get("Access-Control-Allow-Origin")

    assert allowed(EHR) == EHR
    assert allowed(EHR, "OPTIONS") == EHR
    assert allowed(EHR, "POST") == EHR
    for stranger in ("https://evil.example.org", f"{EHR}.evil.org", EHR.upper(), "null", ""):
        assert allowed(stranger) is None


def test_no_origin_unless_named(knowledge, log):
    client = create_app(
        Settings(host="0.0.0.0", allow_unauthenticated=True), knowledge=knowledge, log=log
    ).test_client()
    for method in ("GET", "OPTIONS"):
        response = client.open("/cds-services", method=method, headers={"Origin": EHR})
        assert "Access-Control-Allow-Origin" not in response.headers


# -- the log -----------------------------------------------------------------------------------------


def test_one_line_a_call(client, make_call, log_lines):
    response = client.post(VIEW, json=make_call())
    (line,) = log_lines()
    assert line["event"] == "call"
    assert (line["service"], line["hook"]) == ("hormone-therapy-patient-view", "patient-view")
    assert (line["method"], line["status"]) == ("POST", 200)
    assert line["cards"] == len(response.get_json()["cards"])
    assert line["gaps"]["labs1"] == "absent"
    assert "patient" not in line["gaps"]
    assert line["ms"] >= 0


def test_refusal_is_logged_by_field_and_code(client, make_call, log_lines):
    client.post(VIEW, json=make_call(context={"patientId": "Patient/1"}, hookInstance=None))
    assert log_lines()[0]["problems"] == ["hookInstance:required", "context.patientId:value"]


def test_rule_that_failed_is_logged_by_its_id(client, make_call, monkeypatch, log_lines, knowledge):
    def fail(*_args):
        raise ArithmeticError("Jane Roe")

    monkeypatch.setattr(engine, "KINDS", dict.fromkeys(engine.KINDS, fail))
    medication = {
        "resourceType": "MedicationRequest",
        "id": "m1",
        "status": "active",
        "intent": "order",
        "subject": {"reference": "Patient/trt-man"},
        "authoredOn": "2025-01-15",
        "medicationCodeableConcept": {"text": "testosterone cypionate 200 mg/mL injection"},
    }
    prefetch = make_call()["prefetch"] | {
        "medicationRequests": {"resourceType": "Bundle", "type": "searchset", "entry": [{"resource": medication}]}
    }
    assert client.post(VIEW, json=make_call(prefetch=prefetch)).status_code == 200
    (line,) = log_lines()
    assert line["level"] == "warning"
    assert set(line["failed"].values()) == {"ArithmeticError"}
    assert set(line["failed"]) <= {rule.id for rule in knowledge.rules}
    assert "Roe" not in json.dumps(line)


def test_a_card_that_cannot_be_worded_is_logged_by_its_rule(client, knowledge, monkeypatch, log_lines):
    """Whoever keeps the templates learns of it from the log, not from the users who read the quiet card."""

    def fail(finding, *_others):
        raise ArithmeticError(finding.rule.id)

    monkeypatch.setattr(cards, "card_of", fail)
    case = next(case for case in example_cases(date(2026, 3, 15)) if case.id == "hematocrit-high")
    body = Runner(knowledge).body(case)
    (card,) = client.post(VIEW, data=body, content_type="application/json").get_json()["cards"]
    (line,) = log_lines()
    assert card["source"]["topic"]["code"] == "UNKNOWN"
    assert line["level"] == "warning"
    assert line["failed"] == dict.fromkeys(line["rules"], "ArithmeticError") != {}


def test_nothing_of_a_request_reaches_the_log(client, make_call, log):
    secret = "Roe7Jane"
    token = "eyJ0b2tlbiI6InNlY3JldCJ9"
    person = {
        "resourceType": "Patient",
        "id": secret,
        "name": [{"family": secret}],
        "identifier": [{"value": secret}],
        "birthDate": "1970-05-01",
    }
    odd = {"resourceType": secret, "id": secret, "code": {"text": secret}, "status": secret}
    bundle = {"resourceType": "Bundle", "entry": [{"fullUrl": secret, "resource": odd}, {"resource": secret}]}
    outcome = {"resourceType": "OperationOutcome", "issue": [{"code": secret, "diagnostics": secret}]}
    call = make_call(
        context={"patientId": secret, "userId": f"Practitioner/{secret}", secret: secret},
        prefetch={"patient": person, "labs1": bundle, "conditions": outcome, "procedures": secret, secret: bundle},
        fhirAuthorization={"access_token": token, "patient": secret},
        fhirServer=f"https://{secret}.example.org",
        **{secret: secret},
    )
    headers = {"Authorization": f"Bearer {token}", "X-Request-Id": secret, "User-Agent": secret, "Origin": EHR}
    path = f"/cds-services/{secret}?{secret}={secret}"
    assert client.post(VIEW, json=call, headers=headers).status_code == 200
    assert client.post(VIEW, json=call | {"hook": secret}, headers=headers).status_code == 400
    assert (
        client.post(
            VIEW, data=json.dumps(call)[:-1], headers=headers | {"Content-Type": "application/json"}
        ).status_code
        == 400
    )
    assert client.post(path, json=call, headers=headers).status_code == 404
    assert client.open(path, method=secret, headers=headers).status_code == 405
    assert len(log.getvalue().splitlines()) == 5
    assert secret.lower() not in log.getvalue().lower()
    assert token not in log.getvalue()


def test_health_is_not_logged(client, knowledge, log):
    body = client.get("/healthz").get_json()
    assert (body["status"], body["knowledge"]) == ("ok", knowledge.version)
    assert log.getvalue() == ""


def test_uuids_begin_with_the_time_and_are_random_otherwise():
    """RFC 9562, 5.7 (version 7); more of them than come of one draw."""
    some, before = routes.uuids(), time.time_ns() // 1_000_000
    found = [UUID(next(some)) for _ in range(3 * routes.UUIDS)]
    after = time.time_ns() // 1_000_000
    assert {(one.version, one.variant) for one in found} == {(7, RFC_4122)}
    assert len({str(one) for one in found}) == len(found)
    bits = [int.from_bytes(one.bytes) for one in found]
    assert all(before <= bit >> 80 <= after for bit in bits)
    varying = sum(len({bit >> place & 1 for bit in bits}) == 2 for place in range(80))
    assert varying == 80 - 6
