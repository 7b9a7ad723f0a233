"""A small EHR for the tests of the reader: resources as plain data, and a call that reads them into a Chart."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from msgspec import Raw

from cds_service.chart import Chart, Measurement
from cds_service.fhir.expected import Expected
from cds_service.fhir.reader import read_chart
from cds_service.knowledge.model import Knowledge

LOINC = "http://loinc.org"
UCUM = "http://unitsofmeasure.org"
RXNORM = "http://www.nlm.nih.gov/research/umls/rxnorm"
ICD10 = "http://hl7.org/fhir/sid/icd-10-cm"
TODAY = date(2026, 11, 22)
BERLIN = ZoneInfo("Europe/Berlin")

JSON = dict[str, Any]


def expect(key: str, types: str, covers: str, newest_first: bool = False) -> Expected:
    return Expected(key, f"{types}?", frozenset(types.split()), frozenset(covers.split()), newest_first)


EXPECTED = (
    expect("patient", "Patient", "patient"),
    expect("labs", "Observation", "HCT PSA TT TSH", newest_first=True),
    expect("medications", "MedicationRequest", "medications"),
    expect("conditions", "Condition", "conditions"),
    expect("procedures", "Procedure Device", "procedures"),
    expect("orders", "ServiceRequest", "orders"),
)


# The reader takes a shorter way once it has seen a code and a subject: what it finds must be the same.
WARM_CODES = (
    "4544-3",
    "2857-1",
    "2986-8",
    "3016-3",
    "2243-4",
    "4548-4",
    "2823-3",
    "10501-5",
    "13967-5",
    "8099-4",
    "2942-1",
)


class Ehr:
    """Makes resources. Keywords replace elements; None takes one away."""

    def patient(self, **elements: Any) -> JSON:
        return _made("Patient", {"id": "p", "gender": "male", "birthDate": "1970-05-01"}, elements)

    def observation(
        self, id_: str = "o", value: Any = 47.2, unit: str = "%", on: Any = "2026-11-02", **more: Any
    ) -> JSON:
        """A final hematocrit, unless `code` (LOINC) says otherwise."""
        code = more.pop("code", "4544-3")
        base = {
            "id": id_,
            "status": "final",
            "code": _concept(code, LOINC),
            "subject": {"reference": "Patient/p"},
            "effectiveDateTime": on,
            "valueQuantity": {"value": value, "unit": unit, "system": UCUM, "code": unit},
        }
        return _made("Observation", base, more)

    def request(self, id_: str = "m", rxnorm: str = "835829", on: str | None = "2026-05-01", **more: Any) -> JSON:
        """An active prescription of testosterone cypionate, unless said otherwise."""
        return _made(
            "MedicationRequest",
            {"status": "active", "intent": "order", **_drug(id_, rxnorm), "authoredOn": on},
            more,
        )

    def statement(self, id_: str = "s", rxnorm: str = "835829", **more: Any) -> JSON:
        return _made("MedicationStatement", {"status": "active", **_drug(id_, rxnorm)}, more)

    def dispense(self, id_: str = "d", rxnorm: str = "835829", **more: Any) -> JSON:
        return _made("MedicationDispense", {"status": "completed", **_drug(id_, rxnorm)}, more)

    def condition(self, code: Any = "C61", id_: str = "c", system: str = ICD10, **more: Any) -> JSON:
        base = {"id": id_, "subject": {"reference": "Patient/p"}, "code": _concept(code, system)}
        return _made("Condition", base, more)

    def order(self, code: Any = "2857-1", id_: str = "r", system: str = LOINC, **more: Any) -> JSON:
        base = {
            "id": id_,
            "status": "active",
            "intent": "order",
            "subject": {"reference": "Patient/p"},
            "code": _concept(code, system),
            "authoredOn": "2026-11-01",
        }
        return _made("ServiceRequest", base, more)

    def bundle(self, *resources: JSON, **more: Any) -> JSON:
        return {
            "resourceType": "Bundle",
            "type": "searchset",
            "entry": [{"resource": r} for r in resources],
            **more,
        }

    def outcome(self, severity: str = "error", code: str = "exception") -> JSON:
        return {"resourceType": "OperationOutcome", "issue": [{"severity": severity, "code": code}]}


def _made(name: str, base: JSON, elements: JSON) -> JSON:
    whole = {"resourceType": name, **base, **elements}
    return {key: value for key, value in whole.items() if value is not None}


def _concept(code: Any, system: str) -> Any:
    """The concept of one code; anything but a string is taken as it is."""
    return {"coding": [{"system": system, "code": code}]} if isinstance(code, str) else code


def _drug(id_: str, rxnorm: str) -> JSON:
    coding = {"system": RXNORM, "code": rxnorm}
    return {"id": id_, "subject": {"reference": "Patient/p"}, "medicationCodeableConcept": {"coding": [coding]}}


WARM = [
    Ehr().observation(f"warm-{code}", on="1999-01-01", code=code, valueQuantity=None, valueString="-")
    for code in WARM_CODES
]


def raw(value: Any) -> Raw:
    """A prefetch value: text and bytes as they are, a list as the entries of a Bundle, anything else as JSON."""
    if isinstance(value, bytes):
        return Raw(value)
    if isinstance(value, list):
        value = Ehr().bundle(*value)
    return Raw(json.dumps(value).encode())


@pytest.fixture(scope="session")
def ehr() -> Ehr:
    return Ehr()


@pytest.fixture(scope="session")
def read(knowledge: Knowledge) -> Callable[..., Chart]:
    """Read a Chart: keywords are prefetch keys, `absent` names keys that are not sent; the rest found nothing."""

    def call(absent: str = "", drafts: Any = None, selections: Any = None, **prefetch: Any) -> Chart:
        names = ("zone", "as_of", "expected", "patient_id", "site")
        options = {name: prefetch.pop(name) for name in names if name in prefetch}
        values = (
            {each.key: {"resourceType": "Bundle"} for each in EXPECTED} | {"patient": Ehr().patient()} | prefetch
        )
        chart = read_chart(
            {key: raw(value) for key, value in values.items() if key not in absent.split()},
            options.get("expected", EXPECTED),
            patient_id=options.get("patient_id", "p"),
            knowledge=options.get("site", knowledge),
            as_of=options.get("as_of", TODAY),
            zone=options.get("zone", BERLIN),
            draft_orders=None if drafts is None else raw(drafts),
            selections=selections,
        )
        adds_up(chart)
        return chart

    return call


def adds_up(chart: Chart) -> None:
    """Every resource was used or refused, and none of them by a fault of ours."""
    whole = [refused for refused in chart.refused if not refused.part]
    assert chart.resources_in == chart.resources_used + len(whole)
    assert not [refused for refused in chart.refused if refused.reason == "failed"]


@pytest.fixture(scope="session")
def measure(read: Callable[..., Chart]) -> Callable[[JSON], Measurement]:
    """Read one Observation that has to yield just one result."""

    def call(observation: JSON, **options: Any) -> Measurement:
        chart = read(labs=[observation], **options)
        (series,) = chart.measurements.values()
        (measurement,) = series
        after_others = read(labs=[*WARM, observation], **options).measurements[measurement.marker]
        assert [m for m in after_others if "warm" not in m.source] == [measurement]
        return measurement

    return call


@pytest.fixture(scope="session")
def refused(read: Callable[..., Chart]) -> Callable[..., Any]:
    """Read resources of one key of which just one thing is refused, and return that."""

    def call(**prefetch: Any) -> Any:
        (only,) = read(**prefetch).refused
        if "labs" in prefetch:
            after_others = read(labs=[*WARM, *prefetch["labs"]]).refused
            assert [r.reason for r in after_others] == [only.reason]
        return only

    return call
