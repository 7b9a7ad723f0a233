"""The audit trail: one record for each call that was judged, out of what the service keeps of calls and cards.

Who called (name of the client in the settings), about whom (keyed hash), which service, by which rules in which
versions, and with what outcome. No name, no id of the EHR, no value. Calls that were refused, and so judged nobody,
stand in the log alone.

As FHIR R4 AuditEvent: https://hl7.org/fhir/R4/auditevent.html, with the codes of its own value sets.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Engine, Row, select

from cds_service.feedback.tables import CALLS, CARDS, RESULTS

BATCH = 500
Record = dict[str, Any]

CLIENT_SYSTEM = "urn:cds-service:client"
PATIENT_SYSTEM = "urn:cds-service:patient-hash"
_TERMINOLOGY = "http://terminology.hl7.org/CodeSystem"
_SUCCESS, _MINOR_FAILURE = "0", "4"


def records(engine: Engine, since: datetime | None, until: datetime | None) -> Iterator[Record]:
    """The audit records from `since` on and before `until`, oldest first; None: no bound.

    `shown` of a rule is `shown`, `silent` or `snoozed`; `not judged` are those that ended unknown.
    """
    wanted = select(CALLS).order_by(CALLS.c.time, CALLS.c.id).execution_options(yield_per=BATCH)
    if since:
        wanted = wanted.where(CALLS.c.time >= since)
    if until:
        wanted = wanted.where(CALLS.c.time < until)
    with engine.connect() as reading, engine.connect() as beside:
        for calls in reading.execute(wanted).partitions(BATCH):
            of_these = select(CARDS).where(CARDS.c.call.in_([call.id for call in calls]))
            cards = beside.execute(of_these.order_by(CARDS.c.uuid, CARDS.c.position)).all()
            yield from (_record(call, [card for card in cards if card.call == call.id]) for call in calls)


def _record(call: Row[Any], cards: Sequence[Row[Any]]) -> Record:
    return {
        "time": call.time.isoformat(),
        "call": call.id,
        "service": call.service,
        "hook": call.hook,
        "client": call.client,
        "patient": call.patient,
        "knowledge": call.knowledge,
        "ms": call.ms,
        "results": {name: getattr(call, name) for name in RESULTS},
        "gaps": call.gaps,
        "not judged": call.unknown_rules.split(),
        "rules": [
            {
                "rule": card.rule,
                "version": card.rule_version,
                "indicator": card.indicator,
                "card": card.uuid,
                "shown": "silent" if card.silent else "snoozed" if card.snoozed else "shown",
            }
            for card in cards
        ],
    }


def audit_event(record: Record, version: str) -> Record:
    """One record as a FHIR R4 AuditEvent; `version` is that of the service."""
    who: Mapping[str, Any] = (
        {"identifier": {"system": CLIENT_SYSTEM, "value": record["client"]}}
        if record["client"]
        else {"display": "caller that was not asked for a token"}
    )
    results = record["results"]
    told = ", ".join(f"{results[name]} {name.replace('_', ' ')}" for name in RESULTS)
    return {
        "resourceType": "AuditEvent",
        "id": record["call"],
        "type": _coding("audit-event-type", "rest", "RESTful Operation"),
        "subtype": [{"system": "http://hl7.org/fhir/restful-interaction", "code": "operation"}],
        "action": "E",
        "recorded": record["time"],
        "outcome": _MINOR_FAILURE if results["failed"] else _SUCCESS,
        "outcomeDesc": f"rules: {told}",
        "agent": [
            {"type": _role("110153", "Source Role ID"), "who": who, "requestor": True},
            {
                "type": _role("110152", "Destination Role ID"),
                "who": {"display": record["service"]},
                "requestor": False,
            },
        ],
        "source": {
            "observer": {"display": f"cds-service {version}"},
            "type": [_coding("security-source-type", "4", "Application Server")],
        },
        "entity": [_patient(record), *map(_rule, record["rules"])],
    }


def _patient(record: Record) -> Record:
    not_judged = {"not judged": " ".join(record["not judged"])} if record["not judged"] else {}
    details = {"hook": record["hook"], "knowledge": record["knowledge"], **_gaps(record), **not_judged}
    return {
        "what": {"identifier": {"system": PATIENT_SYSTEM, "value": record["patient"]}},
        "type": _coding("audit-entity-type", "1", "Person"),
        "role": _coding("object-role", "1", "Patient"),
        "detail": [{"type": name, "valueString": value} for name, value in details.items()],
    }


def _gaps(record: Record) -> Mapping[str, str]:
    return {f"prefetch {key}": kind for key, kind in record["gaps"].items()}


def _rule(rule: Record) -> Record:
    return {
        "type": _coding("audit-entity-type", "2", "System Object"),
        "name": rule["rule"],
        "detail": [
            {"type": name, "valueString": str(rule[name])} for name in ("version", "indicator", "card", "shown")
        ],
    }


def _coding(system: str, code: str, display: str) -> Mapping[str, str]:
    return {"system": f"{_TERMINOLOGY}/{system}", "code": code, "display": display}


def _role(code: str, display: str) -> Mapping[str, Any]:
    return {
        "coding": [{"system": "http://dicom.nema.org/resources/ontology/DCM", "code": code, "display": display}]
    }
