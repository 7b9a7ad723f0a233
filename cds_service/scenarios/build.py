"""From a case to FHIR R4 resources: what the chart of such a patient would hold.

Names of tests, markers and products come from the knowledge base. Nothing is repaired on the way: a unit that is
no UCUM unit is sent as text, a drug without a code as text, a missing date is missing.
Numbers are `Decimal`, so that `54.0 %` leaves as `54.0`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from decimal import Decimal
from typing import Any

import msgspec

from cds_service.knowledge.model import Knowledge
from cds_service.knowledge.systems import (
    BIRTH_SEX,
    GENDER_IDENTITY,
    ICD10_CM,
    LOINC,
    SEX_PARAMETER,
    SEX_PARAMETERS,
    SNOMED,
    UCUM,
)
from cds_service.scenarios.dates import birthday, resolve
from cds_service.scenarios.facts import Case, ConditionFacts, OrderFacts, ProcedureFacts, ResultFacts
from cds_service.scenarios.medication import draft_medication, entries

Resource = dict[str, Any]

TERMINOLOGY = "http://terminology.hl7.org/CodeSystem"
GENDER_CODES = "http://hl7.org/fhir/gender-identity"

_QUANTITY = re.compile(r"(<=|>=|<|>)?\s*(-?\d+(?:\.\d+)?)\s*(.*)")


class Records(msgspec.Struct, frozen=True):
    """What the EHR knows of the patient of a case, and what is being ordered."""

    patient: Resource
    resources: tuple[Resource, ...]
    drafts: tuple[Resource, ...] = ()
    selections: tuple[str, ...] = ()

    @property
    def all(self) -> tuple[Resource, ...]:
        """The patient and the resources about it, without the drafts."""
        return (self.patient, *self.resources)


def build(case: Case, knowledge: Knowledge) -> Records:
    """Turn the facts of a case into resources with ids that depend on nothing but the facts.

    Raises ValueError where a name is not known to the knowledge base or a date is none.
    """
    maker = _Maker(case, knowledge)
    given = case.given
    resources = (
        *(
            resource
            for facts in given.therapies
            for resource in maker.stamped(entries(facts, case.as_of, knowledge))
        ),
        *maker.stamped(map(maker.observation, given.results)),
        *maker.stamped(map(maker.condition, given.conditions)),
        *maker.stamped(map(maker.procedure, given.procedures)),
        *maker.stamped(map(maker.order, given.orders)),
    )
    drafts = tuple(maker.stamped(map(maker.draft, given.drafts)))
    selections = tuple(
        f"{draft['resourceType']}/{draft['id']}"
        for draft, facts in zip(drafts, given.drafts, strict=True)
        if facts.selected
    )
    return Records(maker.patient(), resources, drafts, selections)


class _Maker:
    """Makes the resources of one case."""

    def __init__(self, case: Case, knowledge: Knowledge) -> None:
        self.case = case
        self.knowledge = knowledge
        self.numbers: Counter[str] = Counter()
        self.ucum = {unit for marker in knowledge.markers.values() for unit in marker.factors}

    def stamped(self, resources: Iterable[Resource]) -> Iterator[Resource]:
        """Give each resource an id and say whom it is about; elements without a value go."""
        for resource in resources:
            word = str(resource.pop("word")).lower()
            self.numbers[word] += 1
            whole = {
                "resourceType": resource.pop("resourceType"),
                "id": f"{self.case.patient.id}-{word}-{self.numbers[word]}",
                "subject": {"reference": f"Patient/{self.case.patient.id}"},
                **resource,
            }
            yield {name: value for name, value in whole.items() if value not in ("", [], {}, None)}

    def date(self, words: str) -> str:
        """A FHIR date, '' for none."""
        return resolve(words, self.case.as_of)

    def patient(self) -> Resource:
        """The Patient resource."""
        facts = self.case.patient
        born = birthday(facts.age, self.case.as_of) if facts.age is not None else self.date(facts.born)
        extensions = []
        if facts.birth_sex:
            extensions.append({"url": BIRTH_SEX, "valueCode": facts.birth_sex[0].upper()})
        if facts.sex_parameter:
            extensions.append(_complex(SEX_PARAMETER, SEX_PARAMETERS, f"{facts.sex_parameter}-typical"))
        if facts.gender_identity:
            extensions.append(_complex(GENDER_IDENTITY[0], GENDER_CODES, facts.gender_identity))
        whole: Resource = {
            "resourceType": "Patient",
            "id": facts.id,
            "extension": extensions,
            "name": [_name(facts.name)] if facts.name else [],
            "gender": facts.gender,
            "birthDate": born,
        }
        if isinstance(facts.deceased, str):
            whole["deceasedDateTime"] = self.date(facts.deceased)
        elif facts.deceased:
            whole["deceasedBoolean"] = True
        return {name: value for name, value in whole.items() if value not in ("", [])}

    def observation(self, facts: ResultFacts) -> Resource:
        """One laboratory result."""
        code = facts.code or self._code(facts)
        issued, _, clock = facts.issued.partition(" ")
        return {
            "word": facts.marker,
            "resourceType": "Observation",
            "status": facts.status,
            "category": [_concept(f"{TERMINOLOGY}/observation-category", "laboratory")],
            "code": _concept(LOINC, code, self._code_name(code)),
            "effectiveDateTime": self._sampled(facts),
            "issued": f"{self.date(issued)}T{clock or '12:00'}:00Z" if issued else "",
            **self._value(facts),
            "interpretation": self._interpretation(facts),
            "referenceRange": self._range(facts),
        }

    def _sampled(self, facts: ResultFacts) -> str:
        day = self.date(facts.on)
        if not facts.time:
            return day
        return f"{day}T{facts.time[:5]}:00{facts.time[5:] or 'Z'}"

    def _code(self, facts: ResultFacts) -> str:
        codes = [code for code in self.knowledge.codes.values() if code.marker == facts.marker]
        if not codes:
            raise ValueError(f"a known marker, not {facts.marker!r}")
        quantity = _QUANTITY.fullmatch(facts.value)
        unit = quantity[3] if quantity else ""
        return next((code.code for code in codes if code.unit == unit), codes[0].code)

    def _code_name(self, code: str) -> str:
        known = self.knowledge.codes.get((LOINC, code))
        return known.name if known else ""

    def _value(self, facts: ResultFacts) -> Resource:
        if not facts.value:
            return {"dataAbsentReason": _concept(f"{TERMINOLOGY}/data-absent-reason", "unknown")}
        quantity = _QUANTITY.fullmatch(facts.value)
        if not quantity:
            return {"valueString": facts.value.strip('"')}
        comparator = facts.comparator or quantity[1] or ""
        whole = {"comparator": comparator, **self._quantity(quantity[2], quantity[3])}
        return {"valueQuantity": {name: value for name, value in whole.items() if value != ""}}

    def _quantity(self, number: str, unit: str) -> Resource:
        """A Quantity; the unit is coded where it is a unit of UCUM that the knowledge base knows."""
        coded = {"system": UCUM, "code": unit} if unit in self.ucum else {}
        return {"value": Decimal(number), "unit": unit, **coded}

    def _interpretation(self, facts: ResultFacts) -> list[Resource]:
        system = f"{TERMINOLOGY}/v3-ObservationInterpretation"
        return [_concept(system, facts.interpretation)] if facts.interpretation else []

    def _range(self, facts: ResultFacts) -> list[Resource]:
        quantity = _QUANTITY.fullmatch(facts.value)
        unit = quantity[3] if quantity else ""
        limits = (("low", facts.low), ("high", facts.high))
        ends = {name: self._quantity(limit, unit) for name, limit in limits if limit}
        return [ends] if ends else []

    def condition(self, facts: ConditionFacts) -> Resource:
        """One diagnosis."""
        return {
            "word": "condition",
            "resourceType": "Condition",
            "clinicalStatus": _concept(f"{TERMINOLOGY}/condition-clinical", facts.status),
            "verificationStatus": _concept(f"{TERMINOLOGY}/condition-ver-status", facts.verification),
            "code": {**_clinical(facts.code), **({"text": facts.name} if facts.name else {})},
            "onsetDateTime": self.date(facts.onset),
            "recordedDate": self.date(facts.recorded),
            "abatementDateTime": self.date(facts.abated),
        }

    def procedure(self, facts: ProcedureFacts) -> Resource:
        """One procedure."""
        return {
            "word": "procedure",
            "resourceType": "Procedure",
            "status": facts.status,
            "code": {
                **(_clinical(facts.code) if facts.code else {}),
                **({"text": facts.name} if facts.name else {}),
            },
            "performedDateTime": self.date(facts.on),
        }

    def order(self, facts: OrderFacts) -> Resource:
        """One ordered test."""
        return {
            "word": "order",
            "resourceType": "ServiceRequest",
            "status": facts.status,
            "intent": "order",
            "code": self._test(facts.test) if facts.test else _concept(LOINC, facts.code),
            "authoredOn": self.date(facts.on),
        }

    def draft(self, facts: Any) -> Resource:
        """One order that is being written."""
        kind, medication = (
            ("ServiceRequest", {"code": self._test(facts.test)})
            if facts.test
            else (
                "MedicationRequest",
                draft_medication(facts, self.knowledge),
            )
        )
        start = {"word": "draft", "resourceType": kind, "status": "draft", "intent": "order"}
        return {**start, **medication, "authoredOn": self.case.as_of.isoformat()}

    def _test(self, key: str) -> Resource:
        test = self.knowledge.tests.get(key)
        if test is None:
            raise ValueError(f"a known test, not {key!r}: {', '.join(self.knowledge.tests)}")
        return _concept(test.order_system, test.order_code, test.order_display)


def _name(text: str) -> Resource:
    """A HumanName; EHR screens show the parts, not the text."""
    given, _, family = text.rpartition(" ")
    return {"text": text, "family": family, "given": given.split()} if given else {"text": text, "family": family}


def _concept(system: str, code: str, display: str = "") -> Resource:
    coding = {"system": system, "code": code, "display": display}
    return {"coding": [{name: value for name, value in coding.items() if value}]}


def _complex(url: str, system: str, code: str) -> Resource:
    """An extension whose part `value` is a coded concept."""
    return {"url": url, "extension": [{"url": "value", "valueCodeableConcept": _concept(system, code)}]}


def _clinical(code: str) -> Resource:
    """The concept of an ICD-10-CM code, or of a SNOMED CT code behind `sct`."""
    scheme, _, number = code.partition(" ")
    return _concept(SNOMED, number) if scheme == "sct" else _concept(ICD10_CM, code)
