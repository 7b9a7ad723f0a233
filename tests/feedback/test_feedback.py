"""Feedback over the wire: kept once, all or nothing, and told where it is wrong (CDS Hooks 3.0, Feedback)."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from flask.testing import FlaskClient
from sqlalchemy import select, text

from cds_service.app import create_app
from cds_service.feedback.database import connect, upgrade, writing
from cds_service.feedback.records import Recorder
from cds_service.feedback.store import Store
from cds_service.feedback.tables import ACCEPTED, CALLS, CARDS, FEEDBACK, SUGGESTIONS
from cds_service.settings import Settings
from tests.feedback.conftest import NOW

VIEW = "/cds-services/hormone-therapy-patient-view"
FEEDBACK_URL = f"{VIEW}/feedback"
CARD = "4e0a3a1e-3883-4575-ab5d-028fe15a0aa8"
AT = "2026-03-15T11:59:30.340Z"
PLAIN = {"card": CARD, "outcome": "overridden", "outcomeTimestamp": AT}


def send(client: FlaskClient, *entries: Any):
    return client.post(FEEDBACK_URL, json={"feedback": list(entries)})


def call_of(client: FlaskClient) -> dict[str, Any]:
    """A call that is answered with tests that are due: testosterone undated, so the yearly tests."""
    patient = {"resourceType": "Patient", "id": "p1", "birthDate": "1970-05-01", "gender": "male"}
    order = {
        "resourceType": "MedicationRequest",
        "id": "m1",
        "status": "active",
        "intent": "order",
        "authoredOn": "2025-12-01",
        "subject": {"reference": "Patient/p1"},
        "medicationCodeableConcept": {
            "coding": [{"system": "http://www.whocc.no/atc", "code": "G03BA03"}],
            "text": "testosterone cypionate",
        },
    }
    services = client.get("/cds-services").get_json()["services"]
    keys = next(service["prefetch"] for service in services if service["hook"] == "patient-view")
    empty = {"resourceType": "Bundle", "type": "searchset", "entry": []}
    prefetch: dict[str, Any] = dict.fromkeys(keys, empty) | {"patient": patient}
    medications = next(key for key, query in keys.items() if query.startswith("MedicationRequest"))
    prefetch[medications] = {**empty, "entry": [{"resource": order}]}
    return {
        "hook": "patient-view",
        "hookInstance": "f884bacc-b073-4de5-9cd6-06473b50f1c9",
        "fhirServer": "http://127.0.0.1:8081/fhir",
        "context": {"userId": "Practitioner/1", "patientId": "p1"},
        "prefetch": prefetch,
    }


def a_card(client: FlaskClient, store: Store) -> dict[str, Any]:
    """The card for tests that are due, shown to a user."""
    cards = client.post(VIEW, json=call_of(client)).get_json()["cards"]
    assert store.recorder.drain()
    return next(card for card in cards if card.get("suggestions"))


# -- what is kept ------------------------------------------------------------------------------------


def test_a_shown_card_is_recorded_with_its_rule_and_its_tests_and_nobodys_name(client, store, rows):
    card = a_card(client, store)
    found = rows(CARDS, "uuid", "rule", "indicator", "silent", "snoozed", "tests")
    mine = next(row for row in found if row[0] == card["uuid"])
    assert mine[1].startswith("MISS-")
    assert mine[2:5] == (card["indicator"], False, False)
    single = card["suggestions"][1:] if len(card["suggestions"]) > 1 else card["suggestions"]
    assert len(mine[5].split()) == len(single)
    whole = [suggestion for suggestion in rows(SUGGESTIONS) if suggestion[0] == card["suggestions"][0]["uuid"]]
    assert sorted(row[1] for row in whole) == sorted(mine[5].split())
    [call] = rows(CALLS, "service", "hook", "client", "findings")
    assert call == (
        "hormone-therapy-patient-view",
        "patient-view",
        "",
        len({row[1] for row in found if "MISS" in row[1]}),
    )


def test_what_the_sandbox_sends_of_a_card_is_kept_with_its_patient(client, store, rows):
    """The three bodies of the CDS Hooks Sandbox: a suggestion taken, a plain dismissal, one with a reason."""
    card = a_card(client, store)
    suggestion = card["suggestions"][0]["uuid"]
    reason = {name: card["overrideReasons"][0][name] for name in ("code", "system")}
    bodies = [
        {
            "card": card["uuid"],
            "outcome": "accepted",
            "acceptedSuggestions": [{"id": suggestion}],
            "outcomeTimestamp": "2026-03-15T06:43:14.964Z",
        },
        {"card": card["uuid"], "outcome": "overridden", "outcomeTimestamp": "2026-03-15T06:43:27.340Z"},
        {
            "card": card["uuid"],
            "outcome": "overridden",
            "outcomeTimestamp": "2026-03-15T06:43:28.000Z",
            "overrideReason": {"reason": reason},
        },
    ]
    for body in bodies:
        response = client.post(
            FEEDBACK_URL, json={"feedback": [body]}, headers={"Accept": "application/json, text/plain, */*"}
        )
        assert (response.status_code, response.get_json()) == (200, {})
    kept = rows(FEEDBACK, "outcome", "reason_system", "reason_code", "outcome_at")
    assert sorted(kept, key=lambda row: row[3]) == [
        ("accepted", "", "", datetime(2026, 3, 15, 6, 43, 14, 964000, UTC)),
        ("overridden", "", "", datetime(2026, 3, 15, 6, 43, 27, 340000, UTC)),
        ("overridden", reason["system"], reason["code"], datetime(2026, 3, 15, 6, 43, 28, 0, UTC)),
    ]
    assert rows(ACCEPTED, "suggestion") == [(suggestion,)]
    [(patient,)] = set(rows(CARDS, "patient"))
    assert set(rows(FEEDBACK, "patient")) == {(patient,)}


def test_an_unknown_card_is_kept_without_a_patient(client, rows):
    assert send(client, PLAIN).status_code == 200
    assert rows(FEEDBACK, "card", "patient") == [(CARD, None)]


def test_feedback_that_is_faster_than_the_record_of_its_card_finds_its_patient_later(client, store, rows):
    recorder, waiting = store.recorder, []
    store.recorder = type(
        "Late", (), {"put": lambda self, record: waiting.append(record), "drain": lambda self: True}
    )()
    card = a_card(client, store)
    assert send(client, PLAIN | {"card": card["uuid"]}).status_code == 200
    assert rows(FEEDBACK, "patient") == [(None,)]
    store.recorder = recorder
    for record in waiting:
        recorder.put(record)
    assert recorder.drain()
    [(patient,)] = set(rows(CARDS, "patient"))
    assert rows(FEEDBACK, "patient") == [(patient,)]


def test_no_row_holds_a_name_an_id_or_a_value(client, store):
    card = a_card(client, store)
    send(client, PLAIN | {"card": card["uuid"]})
    with store.engine.connect() as connection:
        for table in (CALLS, CARDS, SUGGESTIONS, FEEDBACK):
            for row in connection.execute(select(table)):
                told = " ".join(str(value) for value in row)
                for secret in ("p1", "127.0.0.1", "1970", "Practitioner", "testosterone"):
                    assert secret not in told.split("hormone-therapy")[0]


def test_the_comment_of_a_user_is_kept_and_never_logged(client, rows, log):
    words = "Frau Mustermann rings back on Monday <b>bold</b>\0"
    entry = PLAIN | {"overrideReason": {"userComment": words}}
    answer = send(client, entry)
    assert answer.status_code == 200
    assert "Mustermann" not in answer.get_data(as_text=True)
    assert rows(FEEDBACK, "comment") == [("Frau Mustermann rings back on Monday <b>bold</b>",)]
    assert "Mustermann" not in log.getvalue()
    assert json.loads(log.getvalue().splitlines()[-1])["new"] == 1


# -- once --------------------------------------------------------------------------------------------


def test_a_repeated_delivery_counts_once_within_a_request_and_over_several(client, rows):
    same_instant = PLAIN | {"outcomeTimestamp": "2026-03-15T12:59:30.340000+01:00"}
    for entries in ([PLAIN, PLAIN], [PLAIN], [same_instant]):
        assert send(client, *entries).status_code == 200
    assert len(rows(FEEDBACK)) == 1


@pytest.mark.parametrize(
    "change",
    [
        {"outcomeTimestamp": "2026-03-15T11:59:30.341Z"},
        {"card": CARD.replace("4e", "5e")},
        {"outcome": "accepted", "acceptedSuggestions": [{"id": "s1"}]},
        {"overrideReason": {"reason": {"code": "not-now"}}},
        {"overrideReason": {"userComment": "later"}},
    ],
)
def test_another_word_about_a_card_is_another_row(client, rows, change):
    assert send(client, PLAIN).status_code == 200
    assert send(client, PLAIN | change).status_code == 200
    assert len(rows(FEEDBACK)) == 2


def test_deliveries_at_the_same_moment_count_once(client, store, rows, knowledge):
    entries = [PLAIN | {"card": f"card-{number}"} for number in range(5)]
    start = threading.Barrier(6)
    statuses: list[int] = []

    def deliver(order: int) -> None:
        mine = client.application.test_client()
        start.wait()
        statuses.append(send(mine, *(entries if order % 2 else reversed(entries))).status_code)

    threads = [threading.Thread(target=deliver, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses == [200] * 6
    assert sorted(rows(FEEDBACK, "card")) == [(f"card-{number}",) for number in range(5)]


# -- what is refused (more of it in tests/hooks/test_feedback.py) ------------------------------------


def test_an_entry_at_fault_refuses_the_request_and_nothing_is_kept(client, rows):
    response = send(client, PLAIN, PLAIN | {"card": "other"}, PLAIN | {"outcome": "ignored"})
    assert response.status_code == 400
    assert [issue["expression"] for issue in response.get_json()["issue"]] == [["feedback[2].outcome"]]
    assert rows(FEEDBACK) == []


def test_what_the_specification_lets_pass_is_let_pass(client, rows):
    """An empty list; an extension; null for what is optional; members that nobody named."""
    assert client.post(FEEDBACK_URL, json={"feedback": []}).status_code == 200
    entry = PLAIN | {
        "extension": {"com.example": {"a": 1}},
        "acceptedSuggestions": None,
        "overrideReason": {"reason": None, "userComment": "x"},
        "ward": 7,
    }
    response = client.post(FEEDBACK_URL, json={"feedback": [entry], "extension": {}, "hookInstance": "x"})
    assert response.status_code == 200
    assert len(rows(FEEDBACK)) == 1


def test_other_ways_to_ask_are_refused_as_on_a_call(client):
    assert client.get(FEEDBACK_URL).status_code == 405
    assert client.post("/cds-services/nobody/feedback", json={"feedback": []}).status_code == 404
    assert client.post(FEEDBACK_URL, data=b"{}", content_type="text/plain").status_code == 415
    assert client.post(FEEDBACK_URL.replace("services/", "services//"), json={"feedback": []}).status_code == 200


def test_twenty_five_entries_of_one_request_are_all_kept(client, rows):
    assert send(client, *[PLAIN | {"card": f"card-{number}"} for number in range(25)]).status_code == 200
    assert len(rows(FEEDBACK)) == 25


# -- when the database is gone -----------------------------------------------------------------------


def test_feedback_is_refused_with_503_and_not_half_kept_while_the_database_fails(client, store, rows):
    with writing(store.engine) as connection:
        connection.execute(text("ALTER TABLE accepted RENAME TO accepted_away"))
    entry = PLAIN | {"outcome": "accepted", "acceptedSuggestions": [{"id": "s1"}]}
    response = send(client, PLAIN, entry)
    assert response.status_code == 503
    assert response.get_json()["issue"][0]["code"] == "transient"
    assert rows(FEEDBACK) == []
    with writing(store.engine) as connection:
        connection.execute(text("ALTER TABLE accepted_away RENAME TO accepted"))
    assert send(client, PLAIN, entry).status_code == 200
    assert len(rows(FEEDBACK)) == 2


def test_calls_are_answered_without_a_database_and_recorded_when_it_is_back(
    client, store, rows, log_lines, monkeypatch
):
    with writing(store.engine) as connection:
        connection.execute(text("ALTER TABLE cards RENAME TO cards_away"))
    monkeypatch.setattr(store.recorder, "put", _without_thread(store.recorder))
    with pytest.raises(AssertionError):  # shown, but not written
        a_card(client, store)
    assert store.recorder.failing
    assert len(store.recorder) == 1
    assert rows(CALLS) == []
    with writing(store.engine) as connection:
        connection.execute(text("ALTER TABLE cards_away RENAME TO cards"))
    assert store.recorder.drain()
    assert len(rows(CALLS)) == 1
    told = [line for line in log_lines() if "records" in line["event"]]
    assert [(line["event"], line["waiting"]) for line in told] == [
        ("records cannot be written", 1),
        ("records are written again", 0),
    ]


AT_FAULT: dict[str, tuple[dict[str, Any], set[str]]] = {
    "a fault of ours": ({"unknown": None}, {"sqlite", "postgresql"}),
    "breaks a rule of the table": ({"hook": None}, {"sqlite", "postgresql"}),
    "is no date": ({"time": "noon"}, {"sqlite", "postgresql"}),
    "too long": ({"service": "x" * 81}, {"postgresql"}),
    "a character that cannot be kept": ({"codes": {("urn:x", "a\0b", "HCT"): 1}}, {"postgresql"}),
}


@pytest.mark.parametrize("fault", AT_FAULT)
def test_a_record_at_fault_is_dropped_and_the_others_are_written(client, store, rows, log_lines, fault):
    fields, refused_by = AT_FAULT[fault]
    waiting = store.recorder._waiting
    with store.recorder._turn:  # its thread waits
        for _ in range(3):
            assert client.post(VIEW, json=call_of(client)).status_code == 200
        assert len(waiting) == 3
        waiting[1] = msgspec.structs.replace(waiting[1], **fields)
        dropped, lost = store.recorder.dropped, int(store.engine.dialect.name in refused_by)
    assert store.recorder.drain()
    assert [len(store.recorder), store.recorder.dropped - dropped, store.recorder.failing] == [0, lost, False]
    assert len(rows(CALLS)) == 3 - lost
    events = [line["event"] for line in log_lines() if "record" in line["event"]]
    assert events == ["a record is at fault"] * lost


def _without_thread(recorder: Recorder) -> Callable[[Any], bool]:
    def put(record: Any) -> bool:
        recorder._waiting.append(record)
        return True

    return put


def test_a_key_that_cannot_be_read_leaves_calls_answered_and_unrecorded(knowledge, tmp_path, make_call):
    engine = connect(f"sqlite:///{tmp_path}/later.sqlite3")
    store, log = Store(engine), io.StringIO()
    client = create_app(Settings(), knowledge=knowledge, clock=lambda: NOW, log=log, store=store).test_client()
    for dropped in (True, False):
        assert client.post(VIEW, json=make_call()).status_code == 200
        assert json.loads(log.getvalue().splitlines()[-1]).get("dropped", False) is dropped
        upgrade(engine)
    assert store.recorder.drain()
    store.close()
