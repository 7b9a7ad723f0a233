"""Drugs of a case as FHIR R4: prescriptions with their renewals, and statements of what is taken."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from typing import Any

from cds_service.knowledge.model import Knowledge
from cds_service.knowledge.systems import ATC, RXNORM, SNOMED, UCUM
from cds_service.scenarios.dates import days, resolve, resolve_day
from cds_service.scenarios.facts import DraftFacts, TherapyFacts

Resource = dict[str, Any]


_DOSE = re.compile(r"(\d+(?:\.\d+)?) (\S+) every (\d+) (h|d|wk|mo)")


def entries(facts: TherapyFacts, as_of: date, knowledge: Knowledge) -> Iterator[Resource]:
    """Yield the resources of one therapy: one, one more for each renewal, and one for each dose that was given.

    Each has a `word` for its id besides what FHIR knows. Raises ValueError for an unknown drug or a wrong date.
    """
    starts = [] if facts.kind == "doses" else [facts.start, *facts.renewals]
    for index, start in enumerate(starts):
        newest = index == len(starts) - 1
        yield {
            "word": "drug",
            **_SHAPES[facts.kind](facts, resolve(start, as_of), as_of, newest),
            **_medication(facts, knowledge),
        }
    for given in facts.given:
        day, _, clock = given.partition(" ")
        yield {
            "word": "dose",
            "resourceType": "MedicationAdministration",
            "status": "completed",
            "effectiveDateTime": resolve(day, as_of) + (f"T{clock}:00Z" if clock else ""),
            **_medication(facts, knowledge),
        }


def draft_medication(facts: DraftFacts, knowledge: Knowledge) -> Resource:
    """The elements of a drafted MedicationRequest that say which drug, how and how much."""
    return {**_medication(facts, knowledge), "dosageInstruction": _dosage(facts)}


def _request(facts: TherapyFacts, start: str, as_of: date, newest: bool) -> Resource:
    over = _is_over(facts, as_of)
    supply: Resource = {}
    if facts.end and newest:
        supply["validityPeriod"] = {"end": resolve(facts.end, as_of)}
    if facts.supply:
        supply["expectedSupplyDuration"] = _quantity(str(days(facts.supply)), "d")
    prior = {"display": "an earlier prescription"} if facts.prior else {}
    return {
        "resourceType": "MedicationRequest",
        "status": (facts.status or ("stopped" if over else "active")) if newest else "completed",
        "intent": "order",
        "authoredOn": start,
        "dosageInstruction": _dosage(facts),
        "dispenseRequest": supply,
        "priorPrescription": prior,
    }


def _statement(facts: TherapyFacts, start: str, as_of: date, newest: bool) -> Resource:
    period = {"start": start, "end": resolve(facts.end, as_of) if newest else ""}
    over = _is_over(facts, as_of)
    return {
        "resourceType": "MedicationStatement",
        "status": (facts.status or ("stopped" if over else "active")) if newest else "completed",
        "effectivePeriod": {name: value for name, value in period.items() if value},
        "dosage": _dosage(facts),
    }


_SHAPES = {"request": _request, "statement": _statement}


def _is_over(facts: TherapyFacts, as_of: date) -> bool:
    return bool(facts.end) and resolve_day(facts.end, as_of) <= as_of


def _medication(facts: TherapyFacts | DraftFacts, knowledge: Knowledge) -> Resource:
    if facts.text:
        return {"medicationCodeableConcept": {"text": facts.text}}
    if facts.atc:
        return {"medicationCodeableConcept": {"coding": [{"system": ATC, "code": facts.atc}]}}
    code = facts.drug if facts.drug.isdecimal() else _code(facts.drug, knowledge)
    known = knowledge.products.get(code)
    coding = {"system": RXNORM, "code": code, **({"display": known.name} if known else {})}
    return {"medicationCodeableConcept": {"coding": [coding], **({"text": known.name} if known else {})}}


def _code(name: str, knowledge: Knowledge) -> str:
    for product in knowledge.products.values():
        if product.name.casefold() == name.casefold():
            return product.code
    raise ValueError(f"a known drug, not {name!r}: a name under `drugs`, a full product name, or an RxNorm code")


def _dosage(facts: TherapyFacts | DraftFacts) -> list[Resource]:
    """Dosage with route; `100 mg every 7 d` is written out, other words stay text."""
    dosage: Resource = {}
    if facts.dose:
        dosage["text"] = facts.dose
    if facts.route:
        code = facts.route.removeprefix("sct ")
        coded = {"coding": [{"system": SNOMED, "code": code}]}
        dosage["route"] = coded if facts.route != code else {"text": facts.route}
    structured = _DOSE.fullmatch(facts.dose)
    if structured:
        amount, unit, period, period_unit = structured.groups()
        dosage["timing"] = {"repeat": {"frequency": 1, "period": Decimal(period), "periodUnit": period_unit}}
        dosage["doseAndRate"] = [{"doseQuantity": _quantity(amount, unit)}]
    return [dosage] if dosage else []


def _quantity(number: str, unit: str) -> Resource:
    return {"value": Decimal(number), "unit": unit, "system": UCUM, "code": unit}
