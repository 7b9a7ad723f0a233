"""Builds patient-view requests as two kinds of EHR write them: much in them is read by no rule.

A man on testosterone, with blood drawn every few months: 24 tests a draw, half of them asked for by some rule,
half not (a blood count comes with all its parts, a metabolic panel too). Every second result is written as a large
vendor's EHR does (identifiers, order, specimen, several codes), the others as an open-source server does (profile,
narrative). The chart grows backwards: the newest draw is the same at every size. The last hematocrit is above the
limit.
"""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from itertools import cycle
from typing import Any, NamedTuple
from urllib.parse import unquote

from cds_service.fhir.expected import Expected

JSON = dict[str, Any]
SEED = 20261123
PATIENT = "eq081-VQEgP8drUUqCWzHfw3"
NAMESPACE = "http://www.w3.org/1999/xhtml"
LOINC = "http://loinc.org"
UCUM = "http://unitsofmeasure.org"
V2 = "http://terminology.hl7.org/CodeSystem"
RXNORM = "http://www.nlm.nih.gov/research/umls/rxnorm"


class Lab(NamedTuple):
    """A test as the synthetic laboratory reports it."""

    code: str
    name: str
    unit: str
    low: float
    high: float
    usual: float


LABS = (
    Lab("4544-3", "Hematocrit [Volume Fraction] of Blood by Automated count", "%", 38.5, 50, 52.4),
    Lab("6690-2", "Leukocytes [#/volume] in Blood by Automated count", "10*3/uL", 3.8, 10.8, 6.4),
    Lab("718-7", "Hemoglobin [Mass/volume] in Blood", "g/dL", 13.2, 17.1, 16.8),
    Lab("789-8", "Erythrocytes [#/volume] in Blood by Automated count", "10*6/uL", 4.2, 5.8, 5.7),
    Lab("2986-8", "Testosterone [Mass/volume] in Serum or Plasma", "ng/dL", 250, 1100, 540),
    Lab("777-3", "Platelets [#/volume] in Blood by Automated count", "10*3/uL", 140, 400, 244),
    Lab("2991-8", "Testosterone Free [Mass/volume] in Serum or Plasma", "pg/mL", 46, 224, 110),
    Lab("787-2", "MCV [Entitic volume] by Automated count", "fL", 80, 100, 91),
    Lab("2243-4", "Estradiol (E2) [Mass/volume] in Serum or Plasma", "pg/mL", 10, 42, 28),
    Lab("785-6", "MCH [Entitic mass] by Automated count", "pg", 27, 33, 30),
    Lab("13967-5", "Sex hormone binding globulin [Moles/volume] in Serum or Plasma", "nmol/L", 10, 50, 31),
    Lab("786-4", "MCHC [Mass/volume] by Automated count", "g/dL", 32, 36, 33.5),
    Lab("2857-1", "Prostate specific Ag [Mass/volume] in Serum or Plasma", "ng/mL", 0, 4, 0.9),
    Lab("788-0", "Erythrocyte distribution width [Ratio] by Automated count", "%", 11, 15, 12.8),
    Lab("2093-3", "Cholesterol [Mass/volume] in Serum or Plasma", "mg/dL", 0, 200, 184),
    Lab("2075-0", "Chloride [Moles/volume] in Serum or Plasma", "mmol/L", 98, 110, 103),
    Lab("2085-9", "Cholesterol in HDL [Mass/volume] in Serum or Plasma", "mg/dL", 40, 80, 46),
    Lab("2028-9", "Carbon dioxide, total [Moles/volume] in Serum or Plasma", "mmol/L", 20, 32, 26),
    Lab("13457-7", "Cholesterol in LDL [Mass/volume] in Serum or Plasma by calculation", "mg/dL", 0, 130, 112),
    Lab("3094-0", "Urea nitrogen [Mass/volume] in Serum or Plasma", "mg/dL", 7, 25, 15),
    Lab("1742-6", "Alanine aminotransferase [Enzymatic activity/volume] in Serum or Plasma", "U/L", 9, 46, 27),
    Lab("6768-6", "Alkaline phosphatase [Enzymatic activity/volume] in Serum or Plasma", "U/L", 35, 144, 71),
    Lab("2160-0", "Creatinine [Mass/volume] in Serum or Plasma", "mg/dL", 0.7, 1.3, 0.98),
    Lab("1975-2", "Bilirubin.total [Mass/volume] in Serum or Plasma", "mg/dL", 0.2, 1.2, 0.6),
)
HIGH_HEMATOCRIT = 54.6
DAYS_BETWEEN_DRAWS = 75
FIRST_DRAW_DAYS_AGO = 9
TESTOSTERONE = ("835840", "1 ML testosterone cypionate 200 MG/ML Injection")
OTHER_DRUGS = (
    ("314076", "lisinopril 10 MG Oral Tablet"),
    ("861007", "metformin hydrochloride 500 MG Oral Tablet"),
    ("308191", "amoxicillin 500 MG Oral Capsule"),
    ("197805", "ibuprofen 400 MG Oral Tablet"),
)
DIAGNOSES = (
    ("E29.1", "Testicular hypofunction"),
    ("I10", "Essential (primary) hypertension"),
    ("E78.5", "Hyperlipidemia, unspecified"),
    ("M54.50", "Low back pain, unspecified"),
    ("J30.2", "Other seasonal allergic rhinitis"),
    ("K21.9", "Gastro-esophageal reflux disease without esophagitis"),
)


def build(expected: Sequence[Expected], observations: int, today: date, variant: int = 0) -> bytes:
    """One request with so many Observations of about 1.5 KB each, and a chart around them that grows with them.

    Another `variant` has other ids, values and days.
    """
    dice = random.Random(SEED + variant)
    newest = today - timedelta(days=FIRST_DRAW_DAYS_AGO + variant)
    labs = {lab.code: key for lab, key in zip(LABS, _keys(expected), strict=True)}
    made: dict[str, list[JSON]] = {}
    for number in range(observations):
        lab = LABS[number % len(LABS)]
        day = newest - timedelta(days=DAYS_BETWEEN_DRAWS * (number // len(LABS)))
        value = HIGH_HEMATOCRIT if number == 0 else round(lab.usual * dice.uniform(0.97, 1.03), 2)
        write = _vendor if number % 2 else _open_source
        made.setdefault(labs[lab.code], []).append(write(number, lab, value, day, dice))
    prefetch: JSON = {}
    for source in expected:
        if source.key == "patient":
            prefetch[source.key] = _patient()
        elif "MedicationRequest" in source.types:
            count = min(max(observations // 5, 4), 40)
            prefetch[source.key] = _bundle([_medication(number, today, dice) for number in range(count)])
        elif "Condition" in source.types:
            prefetch[source.key] = _bundle([_condition(number, today, dice) for number in range(len(DIAGNOSES))])
        else:
            prefetch[source.key] = _bundle(made.get(source.key, []))
    request = {
        "hook": "patient-view",
        "hookInstance": "d1577c69-dfbe-44ad-ba6d-3e05e953b2ea",
        "context": {"userId": "Practitioner/exfo6E4EXjWsnhA1OGVElgw3", "patientId": PATIENT},
        "prefetch": prefetch,
    }
    return json.dumps(request, separators=(",", ":")).encode()


def _keys(expected: Sequence[Expected]) -> list[str]:
    """For each test the prefetch key whose search names its code, or any in turn that brings Observations."""
    searches = [source for source in expected if "Observation" in source.types]
    turn = cycle(searches)
    return [
        next((source.key for source in searches if f"|{lab.code}" in unquote(source.template)), next(turn).key)
        for lab in LABS
    ]


def _id(dice: random.Random) -> str:
    """An id as the vendor's EHR makes them."""
    letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-"
    return "e" + "".join(dice.choices(letters, k=44)) + "3"


def _patient() -> JSON:
    race = "http://hl7.org/fhir/us/core/StructureDefinition/us-core-race"
    return {
        "resourceType": "Patient",
        "id": PATIENT,
        "meta": {"profile": ["http://hl7.org/fhir/us/core/StructureDefinition/us-core-patient"]},
        "text": {"status": "generated", "div": f'<div xmlns="{NAMESPACE}">Synthetic patient, no person</div>'},
        "extension": [{"url": race, "extension": [{"url": "text", "valueString": "Unknown"}]}],
        "identifier": [{"use": "usual", "system": "urn:oid:1.2.3.4.5.737384.14", "value": "203711"}],
        "active": True,
        "name": [{"use": "official", "family": "Bench", "given": ["Test"]}],
        "telecom": [{"system": "phone", "value": "+1-555-0100", "use": "home"}],
        "gender": "male",
        "birthDate": "1979-04-02",
        "deceasedBoolean": False,
        "address": [{"use": "home", "line": ["1 Example Way"], "city": "Springfield", "country": "US"}],
        "communication": [
            {"language": {"coding": [{"system": "urn:ietf:bcp:47", "code": "en"}]}, "preferred": True}
        ],
    }


def _vendor(number: int, lab: Lab, value: float, day: date, dice: random.Random) -> JSON:
    """A result as a large vendor's EHR writes it."""
    taken, told = _at(day, 8, 15), _at(day, 14, 40)
    patient = {"reference": f"Patient/{PATIENT}", "display": "Bench, Test"}
    order, specimen = _id(dice), _id(dice)
    return {
        "resourceType": "Observation",
        "id": _id(dice),
        "identifier": [
            {
                "use": "official",
                "system": "urn:oid:1.2.840.114350.1.13.0.1.7.6.798268.2000",
                "value": f"4{number:07}",
            }
        ],
        "basedOn": [
            {"reference": f"ServiceRequest/{order}", "type": "ServiceRequest", "display": "Laboratory panel"}
        ],
        "status": "final",
        "category": [
            {
                "coding": [
                    {"system": f"{V2}/observation-category", "code": "laboratory", "display": "Laboratory"},
                    {"system": "urn:oid:1.2.3.4.10.798268.30", "code": "Lab"},
                ],
                "text": "Laboratory",
            }
        ],
        "code": {
            "coding": [
                {"system": "urn:oid:1.2.3.4.5.737384.1003", "code": f"15{number % len(LABS):03}"},
                {"system": LOINC, "code": lab.code, "display": lab.name},
            ],
            "text": lab.name.partition(" [")[0].upper(),
        },
        "subject": patient,
        "encounter": {"reference": f"Encounter/{200000 + number // len(LABS)}"},
        "effectiveDateTime": taken.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "issued": told.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "performer": [{"display": "Example, Physician"}],
        "valueQuantity": {"value": value, "unit": lab.unit, "system": UCUM, "code": lab.unit},
        "interpretation": [
            {
                "coding": [{"system": f"{V2}/v3-ObservationInterpretation", "code": _flag(lab, value)}],
            }
        ],
        "specimen": {"reference": f"Specimen/{specimen}"},
        "referenceRange": [{**_range(lab), "text": f"{lab.low} - {lab.high} {lab.unit}"}],
    }


def _open_source(number: int, lab: Lab, value: float, day: date, dice: random.Random) -> JSON:
    """A result as an open-source server keeps it."""
    taken, told = _at(day, 8, 15), _at(day, 14, 40)
    del dice
    narrative = (
        f'<div xmlns="{NAMESPACE}"><div class="hapiHeaderText">{lab.name}</div><table class="hapiPropertyTable">'
        f"<tbody><tr><td>Value</td><td>{value} {lab.unit}</td></tr><tr><td>Date</td><td>{day:%d %B %Y}</td></tr>"
        f"<tr><td>Status</td><td>FINAL</td></tr><tr><td>Range</td><td>{lab.low} to {lab.high}</td></tr>"
        "</tbody></table></div>"
    )
    return {
        "resourceType": "Observation",
        "id": f"{100000 + number}",
        "meta": {
            "versionId": "1",
            "lastUpdated": told.isoformat(timespec="milliseconds"),
            "source": f"#{number:016x}",
            "profile": ["http://hl7.org/fhir/us/core/StructureDefinition/us-core-observation-lab"],
        },
        "text": {"status": "generated", "div": narrative},
        "status": "final",
        "category": [
            {"coding": [{"system": f"{V2}/observation-category", "code": "laboratory", "display": "Laboratory"}]}
        ],
        "code": {"coding": [{"system": LOINC, "code": lab.code, "display": lab.name}], "text": lab.name},
        "subject": {"reference": f"Patient/{PATIENT}"},
        "encounter": {"reference": f"Encounter/{200000 + number // len(LABS)}"},
        "effectiveDateTime": taken.isoformat(),
        "issued": told.isoformat(timespec="milliseconds"),
        "valueQuantity": {"value": value, "unit": lab.unit, "system": UCUM, "code": lab.unit},
        "referenceRange": [_range(lab)],
    }


def _at(day: date, hour: int, minute: int) -> datetime:
    return datetime(day.year, day.month, day.day, hour, minute, tzinfo=UTC)


def _flag(lab: Lab, value: float) -> str:
    return "H" if value > lab.high else "L" if value < lab.low else "N"


def _range(lab: Lab) -> JSON:
    ends = {"low": lab.low, "high": lab.high}
    return {end: {"value": at, "unit": lab.unit, "system": UCUM, "code": lab.unit} for end, at in ends.items()}


def _medication(number: int, today: date, dice: random.Random) -> JSON:
    """Every fourth is a renewal of testosterone, the newest of them still running."""
    code, name = OTHER_DRUGS[number % len(OTHER_DRUGS)] if number % 4 else TESTOSTERONE
    weekly = {"repeat": {"frequency": 1, "period": 1, "periodUnit": "wk"}}
    return {
        "resourceType": "MedicationRequest",
        "id": _id(dice),
        "status": "active" if number < 4 else "completed",
        "intent": "order",
        "category": [{"coding": [{"system": f"{V2}/medicationrequest-category", "code": "community"}]}],
        "medicationCodeableConcept": {
            "coding": [{"system": RXNORM, "code": code, "display": name}],
            "text": name,
        },
        "subject": {"reference": f"Patient/{PATIENT}", "display": "Bench, Test"},
        "authoredOn": (today - timedelta(days=20 + 84 * (number // 4))).isoformat(),
        "requester": {"reference": f"Practitioner/{_id(dice)}", "display": "Example, Physician"},
        "dosageInstruction": [
            {
                "text": "As directed",
                "timing": weekly,
                "doseAndRate": [{"doseQuantity": {"value": 100, "unit": "mg", "system": UCUM, "code": "mg"}}],
            }
        ],
        "dispenseRequest": {
            "validityPeriod": {"start": (today - timedelta(days=20 + 84 * (number // 4))).isoformat()},
            "numberOfRepeatsAllowed": 0,
            "expectedSupplyDuration": {"value": 90, "unit": "days", "system": UCUM, "code": "d"},
        },
    }


def _condition(number: int, today: date, dice: random.Random) -> JSON:
    code, name = DIAGNOSES[number]
    since = (today - timedelta(days=400 + 90 * number)).isoformat()
    return {
        "resourceType": "Condition",
        "id": _id(dice),
        "clinicalStatus": {"coding": [{"system": f"{V2}/condition-clinical", "code": "active"}], "text": "Active"},
        "verificationStatus": {"coding": [{"system": f"{V2}/condition-ver-status", "code": "confirmed"}]},
        "category": [{"coding": [{"system": f"{V2}/condition-category", "code": "problem-list-item"}]}],
        "code": {
            "coding": [{"system": "http://hl7.org/fhir/sid/icd-10-cm", "code": code, "display": name}],
            "text": name,
        },
        "subject": {"reference": f"Patient/{PATIENT}", "display": "Bench, Test"},
        "onsetDateTime": since,
        "recordedDate": since,
    }


def _bundle(resources: list[JSON]) -> JSON:
    entries = [
        {
            "fullUrl": f"https://ehr.example.org/fhir/R4/{resource['resourceType']}/{resource['id']}",
            "resource": resource,
            "search": {"mode": "match"},
        }
        for resource in resources
    ]
    bundle: JSON = {"resourceType": "Bundle", "type": "searchset", "total": len(entries)}
    return {**bundle, "entry": entries} if entries else bundle
