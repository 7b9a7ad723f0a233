"""Builds patient-view requests as two kinds of EHR write them: much in them is read by no rule."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any
from urllib.parse import unquote

from cds_service.fhir.expected import Expected
from cds_service.knowledge.model import Knowledge

JSON = dict[str, Any]
SEED = 20261123
MARKERS = (
    "HCT",
    "HGB",
    "TT",
    "FT",
    "E2",
    "SHBG",
    "PSA",
    "LH",
    "FSH",
    "CHOL",
    "HDL",
    "LDL",
    "TRIG",
    "ALT",
    "CREA",
    "GLU",
)
VALUES = {"HCT": 52.4, "HGB": 16.8, "TT": 520, "FT": 110, "E2": 28, "SHBG": 31, "PSA": 0.9, "LH": 0.3, "FSH": 0.4}
FILLER = "Synthetic text that an EHR writes beside a result and that no rule reads. "


def build(knowledge: Knowledge, expected: Sequence[Expected], observations: int, today: date) -> bytes:
    """One request with so many Observations of about 1.3 KB each, 4 medications and the other prefetch keys."""
    dice = random.Random(SEED)
    codes = {marker: next(c.code for c in knowledge.codes.values() if c.marker == marker) for marker in MARKERS}
    made: dict[str, list[JSON]] = {}
    for number in range(observations):
        marker = MARKERS[number % len(MARKERS)]
        key = _key_for(codes[marker], expected)
        day = today - timedelta(days=7 + 20 * (number // len(MARKERS)))
        made.setdefault(key, []).append(_observation(number, marker, codes[marker], knowledge, day, dice))
    prefetch: JSON = {}
    for source in expected:
        if source.key == "patient":
            prefetch["patient"] = _patient()
        elif "MedicationRequest" in source.types:
            prefetch[source.key] = _bundle([_medication(number, today) for number in range(4)])
        else:
            prefetch[source.key] = _bundle(made.get(source.key, []))
    request = {
        "hook": "patient-view",
        "hookInstance": "d1577c69-dfbe-44ad-ba6d-3e05e953b2ea",
        "context": {"userId": "Practitioner/bench", "patientId": "bench"},
        "prefetch": prefetch,
    }
    return json.dumps(request, separators=(",", ":")).encode()


def _key_for(code: str, expected: Sequence[Expected]) -> str:
    return next(source.key for source in expected if f"|{code}" in unquote(source.template))


def _patient() -> JSON:
    return {
        "resourceType": "Patient",
        "id": "bench",
        "text": {"status": "generated", "div": f'<div xmlns="http://www.w3.org/1999/xhtml">{FILLER * 6}</div>'},
        "gender": "male",
        "birthDate": "1979-04-02",
    }


def _observation(number: int, marker: str, code: str, knowledge: Knowledge, day: date, dice: random.Random) -> JSON:
    unit = knowledge.markers[marker].unit
    value = round(VALUES.get(marker, 90) * dice.uniform(0.97, 1.03), 2)
    taken = datetime(day.year, day.month, day.day, 8, 15, tzinfo=UTC).isoformat()
    resource: JSON = {
        "resourceType": "Observation",
        "id": f"o{number}",
        "meta": {"versionId": "1", "lastUpdated": taken, "profile": ["http://example.org/lab"]},
        "status": "final",
        "category": [
            {"coding": [{"system": "http://example.org/category", "code": "laboratory"}], "text": "Laboratory"}
        ],
        "code": {"coding": [{"system": "http://loinc.org", "code": code, "display": marker}], "text": marker},
        "subject": {"reference": "Patient/bench"},
        "encounter": {"reference": f"Encounter/e{number}"},
        "effectiveDateTime": taken,
        "issued": taken,
        "performer": [{"reference": "Organization/lab", "display": "Example Laboratory"}],
        "valueQuantity": {"value": value, "unit": unit, "system": "http://unitsofmeasure.org", "code": unit},
        "referenceRange": [{"text": "see laboratory"}],
    }
    if number % 2:
        resource["identifier"] = [{"use": "official", "system": "urn:oid:1.2.3", "value": f"LAB-{number}"}]
        resource["note"] = [{"text": FILLER * 4}]
    else:
        resource["text"] = {
            "status": "generated",
            "div": f'<div xmlns="http://www.w3.org/1999/xhtml">{FILLER * 5}</div>',
        }
    return resource


def _medication(number: int, today: date) -> JSON:
    return {
        "resourceType": "MedicationRequest",
        "id": f"m{number}",
        "status": "active" if number == 0 else "completed",
        "intent": "order",
        "medicationCodeableConcept": {
            "coding": [{"system": "http://www.nlm.nih.gov/research/umls/rxnorm", "code": "835840"}],
            "text": "testosterone cypionate 200 MG/ML Injectable Solution",
        },
        "subject": {"reference": "Patient/bench"},
        "authoredOn": (today - timedelta(days=20 + 80 * number)).isoformat(),
        "dispenseRequest": {"expectedSupplyDuration": {"value": 90, "unit": "days"}},
    }


def _bundle(resources: list[JSON]) -> JSON:
    entries = [
        {
            "fullUrl": f"http://example.org/fhir/{r['resourceType']}/{r['id']}",
            "resource": r,
            "search": {"mode": "match"},
        }
        for r in resources
    ]
    bundle: JSON = {"resourceType": "Bundle", "type": "searchset", "total": len(entries)}
    return {**bundle, "entry": entries} if entries else bundle
