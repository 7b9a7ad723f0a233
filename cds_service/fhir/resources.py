"""FHIR R4 as far as it is read: one frozen struct a resource type, with the fields that are used and no others.

Everything is optional, since real data leave out what the standard requires. Numbers stay raw JSON, so that
`54.0` is neither rounded nor widened before somebody needs it (`decoding.number`).
"""

from __future__ import annotations

import msgspec
from msgspec import Raw

ABSENT = Raw()
"""What a raw element holds that is not there: one object, so that `is` tells it."""


class Element(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """Anything in a resource. Field names are those of FHIR, in the spelling of Python."""


class Coding(Element, frozen=True):
    """A code of one code system."""

    system: str | None = None
    code: str | None = None
    display: str | None = None


class Concept(Element, frozen=True):
    """CodeableConcept."""

    coding: list[Coding] | None = None
    text: str | None = None


class BareCoding(Element, frozen=True):
    """A Coding without its display: results are never recognised by their name."""

    system: str | None = None
    code: str | None = None


class BareConcept(Element, frozen=True):
    """CodeableConcept of a result, codes only."""

    coding: list[BareCoding] | None = None


class Quantity(Element, frozen=True):
    """Quantity, its number as it was written."""

    value: Raw = ABSENT
    comparator: str | None = None
    unit: str | None = None
    system: str | None = None
    code: str | None = None


class Period(Element, frozen=True):
    """Period."""

    start: str | None = None
    end: str | None = None


class Reference(Element, frozen=True):
    """Reference."""

    reference: str | None = None
    display: str | None = None


class BareReference(Element, frozen=True):
    """A Reference without its display."""

    reference: str | None = None


class Meta(Element, frozen=True):
    """Meta."""

    last_updated: str | None = None


class AgeRange(Element, frozen=True):
    """Ages for which a reference range holds."""

    low: Quantity | None = None
    high: Quantity | None = None


class ReferenceRange(Element, frozen=True):
    """Reference range of the laboratory."""

    low: Quantity | None = None
    high: Quantity | None = None
    type: Concept | None = None
    applies_to: list[Concept] | None = None
    age: AgeRange | None = None


class OtherValues(Element, frozen=True):
    """What a result may hold in place of a Quantity, and why it may hold nothing."""

    data_absent_reason: Raw = ABSENT
    value_string: str | None = None
    value_codeable_concept: Raw = ABSENT
    value_integer: Raw = ABSENT
    value_range: Raw = ABSENT
    value_ratio: Raw = ABSENT
    value_boolean: Raw = ABSENT
    value_date_time: Raw = ABSENT
    value_time: Raw = ABSENT
    value_period: Raw = ABSENT
    value_sampled_data: Raw = ABSENT


class Component(OtherValues, frozen=True):
    """A part of an Observation: read like an Observation of its own (clinical reference 1.1, rule 9)."""

    code: Raw = ABSENT
    value_quantity: Quantity | None = None
    interpretation: Raw = ABSENT
    reference_range: Raw = ABSENT


class Resource(Element, frozen=True):
    """What all resources share."""

    resource_type: str | None = None
    id: str | None = None


class Observation(OtherValues, frozen=True, kw_only=True):
    """Observation, as far as a laboratory result needs it. Who performed it is left unread.

    What is the same in many results (code, subject, reference range, flag) or mostly absent stays raw: the reader
    of results looks at each once. The elements stand in the order in which servers write them: the decoder looks
    for the next one behind the last one.
    """

    resource_type: str | None = None
    id: str | None = None
    meta: Raw = ABSENT
    status: str | None = None
    code: Raw = ABSENT
    subject: Raw = ABSENT
    effective_date_time: str | None = None
    issued: str | None = None
    value_quantity: Quantity | None = None
    interpretation: Raw = ABSENT
    specimen: BareReference | None = None
    reference_range: Raw = ABSENT
    component: Raw = ABSENT
    has_member: Raw = ABSENT
    contained: Raw = ABSENT
    effective_period: Period | None = None
    effective_instant: str | None = None


Part = Observation | Component
"""What may hold a result."""


class DiagnosticReport(Resource, frozen=True):
    """DiagnosticReport, as far as it says that a panel was done; its results stand in Observations."""

    status: str | None = None
    subject: Raw = ABSENT
    code: Raw = ABSENT
    effective_date_time: str | None = None
    effective_period: Period | None = None
    issued: str | None = None
    meta: Raw = ABSENT


class CodeableReference(Element, frozen=True):
    """CodeableReference of R5."""

    concept: Concept | None = None
    reference: Reference | None = None


class Repeat(Element, frozen=True):
    """Timing.repeat."""

    frequency: Raw = ABSENT
    frequency_max: Raw = ABSENT
    period: Raw = ABSENT
    period_max: Raw = ABSENT
    period_unit: str | None = None
    bounds_period: Period | None = None


class Timing(Element, frozen=True):
    """Timing."""

    repeat: Repeat | None = None


class DoseAndRate(Element, frozen=True):
    """Dosage.doseAndRate."""

    dose_quantity: Quantity | None = None


class Dosage(Element, frozen=True):
    """Dosage."""

    text: str | None = None
    timing: Timing | None = None
    route: Concept | None = None
    as_needed_boolean: bool | None = None
    dose_and_rate: list[DoseAndRate] | None = None
    dose: Quantity | None = None


class DispenseRequest(Element, frozen=True):
    """MedicationRequest.dispenseRequest."""

    validity_period: Period | None = None
    expected_supply_duration: Quantity | None = None
    number_of_repeats_allowed: Raw = ABSENT


class Drug(Resource, frozen=True):
    """What the four kinds of medication record share."""

    status: str | None = None
    subject: Reference | None = None
    medication_codeable_concept: Concept | None = None
    medication_reference: Reference | None = None
    medication: CodeableReference | None = None
    contained: Raw = ABSENT


class MedicationRequest(Drug, frozen=True):
    """MedicationRequest; dosage and supply stay raw, since most drugs of a chart are none that is watched."""

    intent: str | None = None
    do_not_perform: bool | None = None
    authored_on: str | None = None
    dosage_instruction: Raw = ABSENT
    dispense_request: Raw = ABSENT
    prior_prescription: Raw = ABSENT


class Adherence(Element, frozen=True):
    """MedicationStatement.adherence of R5."""

    code: Concept | None = None


class MedicationStatement(Drug, frozen=True):
    """MedicationStatement."""

    effective_date_time: str | None = None
    effective_period: Period | None = None
    date_asserted: str | None = None
    dosage: list[Dosage] | None = None
    adherence: Adherence | None = None


class MedicationDispense(Drug, frozen=True):
    """MedicationDispense."""

    days_supply: Quantity | None = None
    when_handed_over: str | None = None
    when_prepared: str | None = None
    dosage_instruction: list[Dosage] | None = None


class MedicationAdministration(Drug, frozen=True):
    """MedicationAdministration; R5 calls the time `occurence`."""

    effective_date_time: str | None = None
    effective_period: Period | None = None
    occurence_date_time: str | None = None
    occurence_period: Period | None = None
    dosage: Dosage | None = None


class Ingredient(Element, frozen=True):
    """Medication.ingredient."""

    item_codeable_concept: Concept | None = None
    item: CodeableReference | None = None
    is_active: bool | None = None


class Medication(Resource, frozen=True):
    """Medication."""

    code: Concept | None = None
    ingredient: list[Ingredient] | None = None


class Diagnosis(Resource, frozen=True):
    """Condition."""

    subject: Reference | None = None
    code: Concept | None = None
    clinical_status: Concept | str | None = None
    verification_status: Concept | str | None = None
    onset_date_time: str | None = None
    onset_period: Period | None = None
    abatement_date_time: Raw = ABSENT
    abatement_period: Raw = ABSENT
    abatement_boolean: Raw = ABSENT
    """Of release 3: true if it has ended, no matter when."""
    abatement_age: Raw = ABSENT
    abatement_range: Raw = ABSENT
    abatement_string: Raw = ABSENT
    recorded_date: str | None = None


class ProcedureResource(Resource, frozen=True):
    """Procedure; `occurrence` is what R5 calls `performed`."""

    status: str | None = None
    subject: Reference | None = None
    code: Concept | None = None
    performed_date_time: str | None = None
    performed_period: Period | None = None
    occurrence_date_time: str | None = None
    occurrence_period: Period | None = None


class DeviceResource(Resource, frozen=True):
    """Device, as something that the patient uses or carries."""

    status: str | None = None
    patient: Reference | None = None
    type: Concept | None = None


class ServiceRequest(Resource, frozen=True):
    """ServiceRequest."""

    status: str | None = None
    intent: str | None = None
    do_not_perform: bool | None = None
    subject: Reference | None = None
    code: Concept | None = None
    authored_on: str | None = None


class Extension(Element, frozen=True):
    """Extension, with the kinds of value that are read."""

    url: str | None = None
    value_code: str | None = None
    value_codeable_concept: Concept | None = None
    value_period: Period | None = None
    extension: list[Extension] | None = None


class PatientResource(Resource, frozen=True):
    """Patient, without a name."""

    gender: str | None = None
    birth_date: str | None = None
    deceased_boolean: bool | None = None
    deceased_date_time: str | None = None
    extension: list[Extension] | None = None


class Issue(Element, frozen=True):
    """OperationOutcome.issue; its texts are left unread, they may name people."""

    severity: str | None = None
    code: str | None = None


class OperationOutcome(Resource, frozen=True):
    """OperationOutcome."""

    issue: list[Issue] | None = None
