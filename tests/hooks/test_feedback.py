"""Feedback that is refused, with every fault at its place (CDS Hooks 3.0, Feedback)."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from flask.testing import FlaskClient

from cds_service.hooks.feedback import read_feedback

FEEDBACK_URL = "/cds-services/hormone-therapy-patient-view/feedback"
CARD = "4e0a3a1e-3883-4575-ab5d-028fe15a0aa8"
AT = "2026-03-15T11:59:30.340Z"
PLAIN = {"card": CARD, "outcome": "overridden", "outcomeTimestamp": AT}


def send(client: FlaskClient, *entries: Any):
    return client.post(FEEDBACK_URL, json={"feedback": list(entries)})


FAULTS: list[tuple[Any, list[tuple[str, str]]]] = [
    ("text", [("", "structure")]),
    (None, [("", "structure")]),
    ({"outcome": "overridden", "outcomeTimestamp": AT}, [(".card", "required")]),
    (PLAIN | {"card": 5}, [(".card", "structure")]),
    (PLAIN | {"card": ""}, [(".card", "value")]),
    (PLAIN | {"card": "x" * 81}, [(".card", "value")]),
    (PLAIN | {"card": "a\0b"}, [(".card", "value")]),
    ({"card": CARD, "outcomeTimestamp": AT}, [(".outcome", "required")]),
    (PLAIN | {"outcome": "ignored"}, [(".outcome", "value")]),
    (PLAIN | {"outcome": "Accepted"}, [(".outcome", "value")]),
    (PLAIN | {"outcome": ["accepted"]}, [(".outcome", "structure")]),
    (PLAIN | {"outcome": "accepted"}, [(".acceptedSuggestions", "required")]),
    (PLAIN | {"outcome": "accepted", "acceptedSuggestions": []}, [(".acceptedSuggestions", "required")]),
    (PLAIN | {"outcome": "accepted", "acceptedSuggestions": {"id": "s"}}, [(".acceptedSuggestions", "structure")]),
    (PLAIN | {"outcome": "accepted", "acceptedSuggestions": ["s"]}, [(".acceptedSuggestions[0]", "structure")]),
    (
        PLAIN | {"outcome": "accepted", "acceptedSuggestions": [{"id": "s"}, {}]},
        [(".acceptedSuggestions[1].id", "required")],
    ),
    (PLAIN | {"overrideReason": "no"}, [(".overrideReason", "structure")]),
    (PLAIN | {"overrideReason": {}}, [(".overrideReason", "required")]),
    (PLAIN | {"overrideReason": {"reason": "no"}}, [(".overrideReason.reason", "structure")]),
    (PLAIN | {"overrideReason": {"reason": {"system": "s"}}}, [(".overrideReason.reason.code", "required")]),
    (PLAIN | {"overrideReason": {"reason": {"code": 3}}}, [(".overrideReason.reason.code", "structure")]),
    (PLAIN | {"overrideReason": {"userComment": 3}}, [(".overrideReason.userComment", "structure")]),
    ({"card": CARD, "outcome": "overridden"}, [(".outcomeTimestamp", "required")]),
    (PLAIN | {"outcomeTimestamp": 1773575970}, [(".outcomeTimestamp", "structure")]),
    ({"outcomeTimestamp": "x"}, [(".card", "required"), (".outcome", "required"), (".outcomeTimestamp", "value")]),
]


@pytest.mark.parametrize(("entry", "faults"), FAULTS, ids=[json.dumps(entry)[:60] for entry, _ in FAULTS])
def test_an_entry_at_fault_is_told_with_its_index_and_field(client, entry, faults):
    response = send(client, PLAIN, PLAIN | {"card": "other"}, entry)
    assert response.status_code == 400
    issues = response.get_json()["issue"]
    assert [(issue["expression"], issue["code"]) for issue in issues] == [
        ([f"feedback[2]{path}"], code) for path, code in faults
    ]


def test_faults_of_several_entries_are_told_at_once_and_no_more_than_a_reader_reads(client):
    response = send(client, PLAIN | {"outcome": "x"}, PLAIN, {"card": CARD})
    told = [issue["expression"][0] for issue in response.get_json()["issue"]]
    assert told == ["feedback[0].outcome", "feedback[2].outcome", "feedback[2].outcomeTimestamp"]
    many = send(client, *[3] * 70).get_json()["issue"]
    assert len(many) == 51
    assert many[-1]["diagnostics"] == "feedback: 20 more faults are not listed"


@pytest.mark.parametrize(
    "stamp",
    [
        "2026-03-15",
        "2026-03-15T11:59:30",
        "2026-03-15 11:59:30Z",
        "2026-02-30T11:59:30Z",
        "2026-03-15T24:00:00Z",
        "2026-03-15T11:59:61Z",
        "2026-03-15T11:59Z",
        "2026-03-15T11:59:30.Z",
        "2026-03-15T11:59:30+0100",
        "2026-03-15T11:59:30+24:00",
        "0000-01-01T00:00:00Z",
        "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59:59-14:00",
        "٢٠٢٦-03-15T11:59:30Z",
        "",
    ],
)
def test_a_time_that_is_not_of_rfc_3339_is_refused(client, stamp):
    response = send(client, PLAIN | {"outcomeTimestamp": stamp})
    assert response.status_code == 400
    assert response.get_json()["issue"][0]["expression"] == ["feedback[0].outcomeTimestamp"]


@pytest.mark.parametrize(
    ("stamp", "instant"),
    [
        ("2026-03-15T11:59:30Z", datetime(2026, 3, 15, 11, 59, 30, tzinfo=UTC)),
        ("2026-03-15t11:59:30z", datetime(2026, 3, 15, 11, 59, 30, tzinfo=UTC)),
        ("2026-03-15T11:59:30.5Z", datetime(2026, 3, 15, 11, 59, 30, 500000, UTC)),
        ("2026-03-15T11:59:30.123456789Z", datetime(2026, 3, 15, 11, 59, 30, 123456, UTC)),
        ("2026-03-15T00:29:30-05:30", datetime(2026, 3, 15, 5, 59, 30, tzinfo=UTC)),
        ("2016-12-31T23:59:60Z", datetime(2016, 12, 31, 23, 59, 59, tzinfo=UTC)),  # a leap second
    ],
)
def test_times_of_rfc_3339_are_read(stamp, instant):
    [entry] = read_feedback(json.dumps({"feedback": [PLAIN | {"outcomeTimestamp": stamp}]}).encode())
    assert entry.at == instant


@pytest.mark.parametrize(
    ("body", "expression", "code"),
    [
        ({}, "feedback", "required"),
        ({"feedback": None}, "feedback", "required"),
        ({"feedback": {}}, "feedback", "structure"),
        ({"feedback": "x"}, "feedback", "structure"),
        ({"feedback": [PLAIN] * 10_001}, "feedback", "too-long"),
    ],
)
def test_a_body_that_is_no_feedback_is_refused(client, body, expression, code):
    issue = client.post(FEEDBACK_URL, json=body).get_json()["issue"]
    assert [(each["expression"], each["code"]) for each in issue] == [([expression], code)]


@pytest.mark.parametrize(
    "body",
    [
        b"", b"[]", b"nonsense", b"\xff\xfe", b'{"feedback":[1e999]}', b'{"feedback":' + b"[" * 5000,
        b'{"feedback":[],"feedback":[]}', b'{"feedback":[{"card":"\\ud800"}]}',
    ],
)  # fmt: skip
def test_a_hostile_body_is_answered_with_a_4xx(client, body):
    response = client.post(FEEDBACK_URL, data=body, content_type="application/json")
    assert response.status_code == 400
    assert response.get_json()["resourceType"] == "OperationOutcome"
