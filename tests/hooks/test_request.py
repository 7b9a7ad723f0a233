"""The envelope of a call: what is taken, what is refused, and what the refusal says."""

from __future__ import annotations

import json
from typing import Any

import pytest

from cds_service.hooks.errors import HookError
from cds_service.hooks.request import HookRequest, check_media, read_request

TOKEN = "eyJ0b2tlbiI6InNlY3JldCJ9"


def read(call: Any, hook: str = "patient-view") -> HookRequest:
    return read_request(call if isinstance(call, bytes) else json.dumps(call).encode(), hook)


def refusal(call: Any, hook: str = "patient-view") -> HookError:
    with pytest.raises(HookError) as caught:
        read(call, hook)
    return caught.value


def faults(call: Any, hook: str = "patient-view") -> list[tuple[str, str]]:
    """(path, code) of each problem."""
    error = refusal(call, hook)
    assert error.status == 400
    return [(problem.expression, problem.code) for problem in error.problems]


# -- what is taken -----------------------------------------------------------------------------------


def test_patient_view(make_call):
    call = read(make_call())
    assert (call.hook, call.patient_id, call.user_id) == (
        "patient-view",
        "trt-man",
        "Practitioner/COREPRACTITIONER1",
    )
    assert call.hook_instance == "f884bacc-b073-4de5-9cd6-06473b50f1c9"
    assert call.fhir_server == "http://127.0.0.1:8081/fhir"
    assert call.draft_orders is None
    assert call.selections is None


def test_prefetch_stays_as_it_was_written(make_call):
    body = json.dumps(make_call()).encode().replace(b'"trt-man", "birthDate"', b'"trt-man"  ,"birthDate"')
    raw = bytes(read(body).prefetch["patient"])
    assert raw.startswith(b'{"resourceType": "Patient"')
    assert b'"trt-man"  ,"birthDate"' in raw


@pytest.mark.parametrize("value", ['"absent"', "null", "{}"])
def test_prefetch_may_be_missing_null_or_empty(make_call, value):
    call = make_call(prefetch=json.loads(value))
    if call["prefetch"] == "absent":
        del call["prefetch"]
    assert read(call).prefetch == {}


def test_null_under_a_key_is_handed_on(make_call):
    assert bytes(read(make_call(prefetch={"labs1": None})).prefetch["labs1"]) == b"null"


def test_order_select(make_call):
    call = read(make_call("order-select"), "order-select")
    assert call.selections == frozenset({"MedicationRequest/request-123"})
    assert call.draft_orders is not None
    assert json.loads(bytes(call.draft_orders))["resourceType"] == "Bundle"


def test_order_sign_has_no_selections(make_call):
    call = read(make_call("order-sign", {"selections": ["MedicationRequest/1"]}), "order-sign")
    assert call.selections is None
    assert call.draft_orders is not None


def test_patient_view_passes_over_orders(make_call):
    assert read(make_call(context={"draftOrders": {}, "selections": []})).draft_orders is None


@pytest.mark.parametrize("selections", [[], ["request-123"], ["nonsense"], ["MedicationRequest/other"]])
def test_selections_are_not_judged(make_call, selections):
    call = read(make_call("order-select", {"selections": selections}), "order-select")
    assert call.selections == frozenset(selections)


@pytest.mark.parametrize(
    "user", ["Practitioner/1", "PractitionerRole/a.b-c", "Patient/trt-man", "RelatedPerson/" + "x" * 64]
)
def test_users(make_call, user):
    assert read(make_call(context={"userId": user})).user_id == user


@pytest.mark.parametrize("patient", ["1", "smart-1288992", "A.b-9", "with_underscore", "x" * 64])
def test_patient_ids(make_call, patient):
    assert read(make_call(context={"patientId": patient})).patient_id == patient


@pytest.mark.parametrize(
    "instance",
    ["F884BACC-B073-4DE5-9CD6-06473B50F1C9", "urn:uuid:f884bacc-b073-4de5-9cd6-06473b50f1c9"],
)
def test_hook_instances(make_call, instance):
    assert read(make_call(hookInstance=instance)).hook_instance == instance


def test_unknown_members_are_passed_over(make_call):
    context = {"encounterId": "89284", "newInMinorVersion": [1], "extension": {"org.example.x": 1}}
    call = make_call(context=context, extension={"com.example": {"timestamp": "2017"}}, somethingElse=[{}])
    assert read(call).patient_id == "trt-man"


@pytest.mark.parametrize("name", ["fhirServer", "fhirAuthorization", "extension", "prefetch"])
def test_null_counts_as_absent(make_call, name):
    assert read(make_call(**{name: None})).hook == "patient-view"


@pytest.mark.parametrize("kind", [{"token_type": "Bearer"}, {"token_type": "bearer"}, {}])
def test_token_is_taken_and_not_shown(make_call, kind):
    grant = {"access_token": TOKEN, "expires_in": "soon", "scope": 7, "patient": "Patient/trt-man"} | kind
    call = read(make_call(fhirAuthorization=grant))
    assert (call.authorization.token, call.authorization.patient) == (TOKEN, "trt-man")
    assert TOKEN not in repr(call) + str(call.authorization)


def test_token_without_server_is_ignored(make_call):
    call = make_call(fhirAuthorization={"access_token": TOKEN})
    del call["fhirServer"]
    assert (read(call).fhir_server, read(call).authorization.token) == ("", "")


# -- what is refused ---------------------------------------------------------------------------------

ENVELOPE = [
    ({"hook": "order-sign"}, ("hook", "value")),
    ({"hook": "Patient-View"}, ("hook", "value")),
    ({"hook": None}, ("hook", "required")),
    ({"hook": 7}, ("hook", "structure")),
    ({"hookInstance": "123"}, ("hookInstance", "value")),
    ({"hookInstance": "f884baccb0734de59cd606473b50f1c9"}, ("hookInstance", "value")),
    ({"hookInstance": ["f884bacc-b073-4de5-9cd6-06473b50f1c9"]}, ("hookInstance", "structure")),
    ({"fhirServer": "ftp://ehr.example.org"}, ("fhirServer", "value")),
    ({"fhirServer": "file:///etc/passwd"}, ("fhirServer", "value")),
    ({"fhirServer": {}}, ("fhirServer", "structure")),
    ({"fhirAuthorization": f"Bearer {TOKEN}"}, ("fhirAuthorization", "structure")),
    ({"extension": [{"url": "x"}]}, ("extension", "structure")),
    ({"prefetch": []}, ("prefetch", "structure")),
    ({"prefetch": "{}"}, ("prefetch", "structure")),
    ({"prefetch": 1.5}, ("prefetch", "structure")),
    ({"context": None}, ("context", "required")),
    ({"context": [{"patientId": "1"}]}, ("context", "structure")),
    ({"context": "Patient/1"}, ("context", "structure")),
]


@pytest.mark.parametrize(("members", "expected"), ENVELOPE)
def test_fault_of_a_member(make_call, members, expected):
    assert faults(make_call() | members) == [expected]


@pytest.mark.parametrize("name", ["hook", "hookInstance", "context"])
def test_missing_member(make_call, name):
    call = make_call()
    del call[name]
    assert faults(call) == [(name, "required")]


CONTEXT = [
    ("patient-view", {"patientId": "Patient/1"}, ("context.patientId", "value")),
    ("patient-view", {"patientId": ""}, ("context.patientId", "value")),
    ("patient-view", {"patientId": "a b"}, ("context.patientId", "value")),
    ("patient-view", {"patientId": "x" * 65}, ("context.patientId", "value")),
    ("patient-view", {"patientId": "1\n"}, ("context.patientId", "value")),
    ("patient-view", {"patientId": "\uff11"}, ("context.patientId", "value")),
    ("patient-view", {"patientId": 1}, ("context.patientId", "structure")),
    ("patient-view", {"patientId": None}, ("context.patientId", "required")),
    ("patient-view", {"userId": "Device/1"}, ("context.userId", "value")),
    ("patient-view", {"userId": "1"}, ("context.userId", "value")),
    ("patient-view", {"userId": "Practitioner/"}, ("context.userId", "value")),
    ("patient-view", {"userId": {"reference": "Practitioner/1"}}, ("context.userId", "structure")),
    ("patient-view", {"encounterId": 5}, ("context.encounterId", "structure")),
    ("patient-view", {"extension": []}, ("context.extension", "structure")),
    ("order-select", {"selections": None}, ("context.selections", "required")),
    ("order-select", {"selections": "MedicationRequest/1"}, ("context.selections", "structure")),
    ("order-select", {"selections": [1]}, ("context.selections", "structure")),
    ("order-select", {"selections": {}}, ("context.selections", "structure")),
    ("order-select", {"draftOrders": None}, ("context.draftOrders", "required")),
    ("order-sign", {"draftOrders": []}, ("context.draftOrders", "structure")),
    ("order-sign", {"draftOrders": "Bundle"}, ("context.draftOrders", "structure")),
]


@pytest.mark.parametrize(("hook", "context", "expected"), CONTEXT)
def test_fault_in_the_context(make_call, hook, context, expected):
    assert faults(make_call(hook, context), hook) == [expected]


@pytest.mark.parametrize(
    ("hook", "missing"),
    [
        ("patient-view", ["userId", "patientId"]),
        ("order-sign", ["userId", "patientId", "draftOrders"]),
        ("order-select", ["userId", "patientId", "selections", "draftOrders"]),
    ],
)
def test_every_missing_field_of_the_context_is_named(make_call, hook, missing):
    call = make_call(hook)
    call["context"] = {}
    assert sorted(faults(call, hook)) == sorted((f"context.{name}", "required") for name in missing)


def test_all_problems_are_told_at_once():
    call = {"hook": "x", "context": {"patientId": "Patient/1"}, "prefetch": [], "fhirServer": "ehr"}
    assert faults(call) == [
        ("hook", "value"),
        ("hookInstance", "required"),
        ("fhirServer", "value"),
        ("prefetch", "structure"),
        ("context.userId", "required"),
        ("context.patientId", "value"),
    ]


def test_number_out_of_range_where_a_string_belongs():
    body = b'{"hook": "patient-view", "context": {"patientId": ' + b"9" * 1000 + b"}}"
    assert ("context.patientId", "structure") in faults(body)


@pytest.mark.parametrize(
    ("old", "new", "path"),
    [
        ('"hook": "patient-view"', '"hook": "patient-view", "hook": "patient-view"', "hook"),
        ('"patientId": "trt-man"', '"patientId": "trt-man", "patientId": "other"', "context"),
        ('"prefetch": {', '"prefetch": {"patient": null, ', "prefetch"),
        ('"prefetch": {', '"prefetch": {}, "prefetch": {', "prefetch"),
        ('"hook": "patient-view"', '"hook": "patient-view", "x": 1, "x": 2', ""),
    ],
)
def test_name_that_stands_twice(make_call, old, new, path):
    body = json.dumps(make_call()).replace(old, new, 1).encode()
    assert faults(body) == [(path, "structure")]


BODIES = {
    "empty": b"",
    "blanks": b" \r\n\t ",
    "null": b"null",
    "array": b"[]",
    "string": b'"patient-view"',
    "number": b"17",
    "words": b"hook=patient-view",
    "cut": b'{"hook": "patient-view"',
    "comma at the end": b'{"hook": "patient-view",}',
    "comment": b'{"hook": "patient-view" /* ours */}',
    "single quotes": b"{'hook': 'patient-view'}",
    "two documents": b"{}{}",
    "NaN": b'{"x": NaN}',
    "NaN inside": b'{"prefetch": {"labs1": {"entry": [{"resource": {"value": NaN}}]}}}',
    "Infinity": b'{"x": -Infinity}',
    "too large": b'{"x": 1e400}',
    "thousand digits": b'{"x": ' + b"1" * 1000 + b"}",
    "five thousand digits": b'{"x": -' + b"1" * 5000 + b"}",
    "deep": b'{"x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "deep inside": b'{"prefetch": {"x": ' + b'{"a":' * 100_000 + b"1" + b"}" * 100_000 + b"}}",
    "deep and open": b'{"x": ' + b"[" * 100_000,
    "half surrogate": b'{"x": "\\ud83d"}',
    "other half": b'{"prefetch": {"x": "\\ude00 and more text"}}',
    "zero byte": b'{"x": "\x00"}',
    "control character": b'{"x": "\x01"}',
    "byte order mark": b"\xef\xbb\xbf{}",
    "UTF-16": '{"x": 1}'.encode("utf-16"),
    "UTF-16 without mark": '{"x": 1}'.encode("utf-16-le"),
    "UTF-32": '{"x": 1}'.encode("utf-32-be"),
    "Latin-1": '{"x": "é"}'.encode("latin-1"),
    "Latin-1 inside": '{"prefetch": {"x": {"y": "é"}}}'.encode("latin-1"),
    "surrogate in UTF-8": b'{"prefetch": {"x": "\xed\xa0\x80"}}',
}


@pytest.mark.parametrize("name", BODIES)
def test_body_that_is_no_json_object(name):
    assert faults(BODIES[name]) == [("", "structure")]


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("empty", "empty"),
        ("cut", "RFC 8259"),
        ("two documents", "trailing characters"),
        ("byte order mark", "byte order mark"),
        ("UTF-16 without mark", "UTF-16"),
        ("Latin-1 inside", "not UTF-8 at byte 26"),
        ("deep inside", "nested too deeply"),
        ("array", "expected a JSON object"),
    ],
)
def test_refusal_says_what_is_wrong_with_the_body(name, part):
    assert part in refusal(BODIES[name]).problems[0].diagnostics


def test_refusal_repeats_nothing_of_the_request():
    secret = "Jane-Roe"
    call: dict[str, Any] = {
        "hook": secret,
        "hookInstance": secret,
        "fhirServer": secret,
        "fhirAuthorization": secret,
        "extension": secret,
        "prefetch": secret,
        secret: secret,
        "context": {"userId": secret, "patientId": f"Patient/{secret}", secret: secret},
    }
    repeated = json.dumps(call)[:-1] + f', "{secret}": 1}}'
    for body in (json.dumps(call), repeated, json.dumps(call)[:-1], f'{{"{secret}'):
        assert secret not in repr(refusal(body.encode()).problems)


# -- headers -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content_type",
    [
        "application/json",
        "application/json; charset=utf-8",
        'application/json;charset="UTF-8"',
        "Application/JSON ; Charset=utf8",
        "application/json; profile=x",
    ],
)
def test_json_is_read(content_type):
    check_media(content_type, "")
    check_media(content_type, "identity")


@pytest.mark.parametrize(
    ("content_type", "content_encoding", "status"),
    [
        ("", "", 415),
        ("text/plain", "", 415),
        ("application/fhir+json", "", 415),
        ("application/x-www-form-urlencoded", "", 415),
        ("multipart/form-data; boundary=x", "", 415),
        ("application/jsonp", "", 415),
        ("application/json", "gzip", 415),
        ("application/json", "deflate, gzip", 415),
        ("application/json; charset=iso-8859-1", "", 400),
        ("application/json; charset=UTF-16", "", 400),
    ],
)
def test_anything_else_is_refused(content_type, content_encoding, status):
    with pytest.raises(HookError) as caught:
        check_media(content_type, content_encoding)
    assert caught.value.status == status
    assert caught.value.problems[0].diagnostics
