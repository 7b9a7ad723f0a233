"""The audit trail: what it tells of a call, in which order, and as FHIR."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime, timedelta

import pytest
from fhir.resources.R4B.auditevent import AuditEvent
from sqlalchemy import Engine

from cds_service import cli
from cds_service.feedback.audit import BATCH, audit_event, records
from cds_service.feedback.database import connect, upgrade, writing
from cds_service.feedback.tables import CALLS, CARDS

AT = datetime(2026, 3, 15, 12, 0, tzinfo=UTC)


def a_call(number: int, **values: object) -> dict[str, object]:
    call = {
        "id": f"00000000-0000-4000-8000-{number:012}",
        "time": AT + timedelta(minutes=number),
        "service": "hormone-therapy-patient-view",
        "hook": "patient-view",
        "client": "our-ehr",
        "patient": "a" * 64,
        "knowledge": "ea7bd15027b5",
        "ms": 3.5,
        "findings": 2,
        "fine": 19,
        "unknown": 1,
        "not_applicable": 60,
        "failed": 0,
        "gaps": {"labs1": "truncated"},
        "unknown_rules": "PSA-2 K-1",
    }
    return call | values


def a_card(number: int, rule: str, **values: object) -> dict[str, object]:
    call = a_call(number)
    card = {
        "uuid": f"10000000-0000-4000-8000-{number:012}",
        "rule": rule,
        "call": call["id"],
        "time": call["time"],
        "client": "our-ehr",
        "patient": "a" * 64,
        "rule_version": 3,
        "indicator": "warning",
        "position": 0,
        "silent": False,
        "snoozed": False,
        "tests": "",
        "basis": "",
    }
    return card | values


def keep(engine: Engine, calls: list[dict[str, object]], cards: list[dict[str, object]]) -> None:
    with writing(engine) as connection:
        connection.execute(CALLS.insert(), calls)
        if cards:
            connection.execute(CARDS.insert(), cards)


def test_a_record_tells_who_what_by_which_rules_and_how_it_ended(engine: Engine) -> None:
    keep(
        engine,
        [a_call(1), a_call(2, client="", failed=1)],
        [
            a_card(1, "HCT-2"),
            a_card(1, "DUE-1", position=1),
            a_card(1, "PSA-1", uuid="20000000-0000-4000-8000-000000000001", silent=True),
            a_card(2, "K-1", snoozed=True),
        ],
    )
    first, second = records(engine, None, None)
    assert first == {
        "time": "2026-03-15T12:01:00+00:00",
        "call": "00000000-0000-4000-8000-000000000001",
        "service": "hormone-therapy-patient-view",
        "hook": "patient-view",
        "client": "our-ehr",
        "patient": "a" * 64,
        "knowledge": "ea7bd15027b5",
        "ms": 3.5,
        "results": {"findings": 2, "fine": 19, "unknown": 1, "not_applicable": 60, "failed": 0},
        "gaps": {"labs1": "truncated"},
        "not judged": ["PSA-2", "K-1"],
        "rules": [
            {"rule": rule, "version": 3, "indicator": "warning", "card": card, "shown": shown}
            for rule, card, shown in (
                ("HCT-2", "10000000-0000-4000-8000-000000000001", "shown"),
                ("DUE-1", "10000000-0000-4000-8000-000000000001", "shown"),
                ("PSA-1", "20000000-0000-4000-8000-000000000001", "silent"),
            )
        ],
    }
    assert (second["client"], [rule["shown"] for rule in second["rules"]]) == ("", ["snoozed"])


def test_the_bounds_take_the_first_moment_in_and_leave_the_last_one_out(engine: Engine) -> None:
    keep(engine, [a_call(number) for number in range(5)], [])
    found = records(engine, AT + timedelta(minutes=1), AT + timedelta(minutes=3))
    assert [record["call"][-1] for record in found] == ["1", "2"]


def test_more_calls_than_one_batch_keep_their_cards_and_their_order(engine: Engine) -> None:
    numbers = range(BATCH + 7)
    keep(
        engine,
        [a_call(number) for number in reversed(numbers)],
        [a_card(number, f"R-{number}") for number in numbers],
    )
    found = list(records(engine, None, None))
    assert [record["rules"][0]["rule"] for record in found] == [f"R-{number}" for number in numbers]


def test_as_fhir_it_is_a_valid_audit_event(engine: Engine) -> None:
    keep(engine, [a_call(1), a_call(2, client="", failed=1, gaps={}, unknown_rules="")], [a_card(1, "HCT-2")])
    events = [audit_event(record, "1.2.3") for record in records(engine, None, None)]
    for event in events:
        AuditEvent.model_validate_json(json.dumps(event))
    first, second = events
    assert first["agent"][0]["who"]["identifier"]["value"] == "our-ehr"
    assert "identifier" not in second["agent"][0]["who"]
    assert (first["outcome"], second["outcome"]) == ("0", "4")
    patient, rule = first["entity"]
    assert patient["what"]["identifier"]["value"] == "a" * 64
    assert {"type": "prefetch labs1", "valueString": "truncated"} in patient["detail"]
    assert {"type": "not judged", "valueString": "PSA-2 K-1"} in patient["detail"]
    assert [detail["type"] for detail in second["entity"][0]["detail"]] == ["hook", "knowledge"]
    assert rule["name"] == "HCT-2"
    assert {"type": "version", "valueString": "3"} in rule["detail"]


def test_command(database_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    engine = connect(database_url)
    upgrade(engine)
    keep(engine, [a_call(number) for number in range(3)], [])
    engine.dispose()

    def lines(*options: str, zone: str = "UTC") -> list[dict[str, object]]:
        monkeypatch.setattr(os, "environ", {"CDS_DATABASE_URL": database_url, "CDS_SERVER_TIME_ZONE": zone})
        assert cli.run(["audit", *options]) == 0
        return [json.loads(line) for line in capsys.readouterr().out.splitlines()]

    assert len(lines()) == 3
    assert len(lines("--since", "2026-03-15T12:01:00Z")) == 2
    assert len(lines("--since", "2026-03-16")) == 0
    # Noon in UTC is already the next day in Kiritimati (UTC+14), where the site is.
    assert len(lines("--since", "2026-03-16", zone="Pacific/Kiritimati")) == 3
    assert [line["resourceType"] for line in lines("--fhir", "--until", "2026-03-15T12:01:00Z")] == ["AuditEvent"]
    assert cli.run(["audit", "--since", "yesterday"]) == 2
    assert "'yesterday' is not a day or time" in capsys.readouterr().err
    assert cli.run(["audit", "--since", "2026-04-01", "--until", "2026-03-01"]) == 2
    assert "--since: expected a moment before --until" in capsys.readouterr().err
