"""FHIR R4 as far as it is read: one frozen struct a resource type, with the fields that are used and no others.

Everything is optional, since real data leave out what the standard requires. Numbers stay raw JSON, so that
`54.0` is neither rounded nor widened before somebody needs it (`decoding.number`).
"""

from __future__ import annotations

import msgspec
from msgspec import Raw


class Element(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """Anything in a resource. Field names are those of FHIR, in the spelling of Python."""


class Coding(Element):
    """A code of one code system."""

    system: str | None = None
    code: str | None = None
    display: str | None = None


class Concept(Element):
    """CodeableConcept."""

    coding: list[Coding] | None = None
    text: str | None = None


class BareCoding(Element):
    """A Coding without its display: results are never recognised by their name."""

    system: str | None = None
    code: str | None = None


class BareConcept(Element):
    """CodeableConcept of a result, codes only."""

    coding: list[BareCoding] | None = None


class Quantity(Element):
    """Quantity, its number as it was written."""

    value: Raw = Raw()
    comparator: str | None = None
    unit: str | None = None
    system: str | None = None
    code: str | None = None


class Period(Element):
    """Period."""

    start: str | None = None
    end: str | None = None


class Reference(Element):
    """Reference."""

    reference: str | None = None
    display: str | None = None


class Meta(Element):
    """Meta."""

    last_updated: str | None = None


class AgeRange(Element):
    """Ages for which a reference range holds."""

    low: Quantity | None = None
    high: Quantity | None = None


class ReferenceRange(Element):
    """Reference range of the laboratory."""

    low: Quantity | None = None
    high: Quantity | None = None
    type: Concept | None = None
    applies_to: list[Concept] | None = None
    age: AgeRange | None = None


class Component(Element):
    """A part of an Observation: read like an Observation of its own (clinical reference 1.1, rule 9)."""

    code: BareConcept | None = None
    value_quantity: Quantity | None = None
    value_string: str | None = None
    value_codeable_concept: Concept | None = None
    value_integer: Raw = Raw()
    value_range: Raw = Raw()
    value_ratio: Raw = Raw()
    value_boolean: Raw = Raw()
    value_date_time: Raw = Raw()
    value_time: Raw = Raw()
    value_period: Raw = Raw()
    value_sampled_data: Raw = Raw()
    data_absent_reason: Raw = Raw()
    interpretation: list[Concept] | None = None
    reference_range: list[ReferenceRange] | None = None


class Resource(Element):
    """What all resources share."""

    resource_type: str | None = None
    id: str | None = None


class Observation(Component):
    """Observation, as far as a laboratory result needs it. Who performed it is left unread."""

    resource_type: str | None = None
    id: str | None = None
    status: str | None = None
    subject: Reference | None = None
    effective_date_time: str | None = None
    effective_period: Period | None = None
    effective_instant: str | None = None
    issued: str | None = None
    component: list[Component] | None = None
    has_member: Raw = Raw()
    contained: Raw = Raw()
    specimen: Reference | None = None
    meta: Meta | None = None


class CodeableReference(Element):
    """CodeableReference of R5."""

    concept: Concept | None = None
    reference: Reference | None = None


class Repeat(Element):
    """Timing.repeat."""

    frequency: Raw = Raw()
    frequency_max: Raw = Raw()
    period: Raw = Raw()
    period_max: Raw = Raw()
    period_unit: str | None = None
    bounds_period: Period | None = None


class Timing(Element):
    """Timing."""

    repeat: Repeat | None = None
    code: Concept | None = None


class DoseAndRate(Element):
    """Dosage.doseAndRate."""

    dose_quantity: Quantity | None = None
    dose_range: Raw = Raw()


class Dosage(Element):
    """Dosage."""

    text: str | None = None
    timing: Timing | None = None
    route: Concept | None = None
    as_needed_boolean: bool | None = None
    dose_and_rate: list[DoseAndRate] | None = None
    dose: Quantity | None = None


class DispenseRequest(Element):
    """MedicationRequest.dispenseRequest."""

    validity_period: Period | None = None
    expected_supply_duration: Quantity | None = None
    number_of_repeats_allowed: Raw = Raw()


class Drug(Resource):
    """What the four kinds of medication record share."""

    status: str | None = None
    subject: Reference | None = None
    medication_codeable_concept: Concept | None = None
    medication_reference: Reference | None = None
    medication: CodeableReference | None = None
    contained: Raw = Raw()


class MedicationRequest(Drug):
    """MedicationRequest."""

    intent: str | None = None
    do_not_perform: bool | None = None
    authored_on: str | None = None
    dosage_instruction: list[Dosage] | None = None
    dispense_request: DispenseRequest | None = None
    prior_prescription: Raw = Raw()


class Adherence(Element):
    """MedicationStatement.adherence of R5."""

    code: Concept | None = None


class MedicationStatement(Drug):
    """MedicationStatement."""

    effective_date_time: str | None = None
    effective_period: Period | None = None
    date_asserted: str | None = None
    dosage: list[Dosage] | None = None
    adherence: Adherence | None = None


class MedicationDispense(Drug):
    """MedicationDispense."""

    days_supply: Quantity | None = None
    when_handed_over: str | None = None
    when_prepared: str | None = None
    dosage_instruction: list[Dosage] | None = None


class MedicationAdministration(Drug):
    """MedicationAdministration; R5 calls the time `occurence`."""

    effective_date_time: str | None = None
    effective_period: Period | None = None
    occurence_date_time: str | None = None
    occurence_period: Period | None = None
    dosage: Dosage | None = None


class Ingredient(Element):
    """Medication.ingredient."""

    item_codeable_concept: Concept | None = None
    item: CodeableReference | None = None
    is_active: bool | None = None


class Medication(Resource):
    """Medication."""

    code: Concept | None = None
    form: Concept | None = None
    ingredient: list[Ingredient] | None = None


class Diagnosis(Resource):
    """Condition."""

    subject: Reference | None = None
    code: Concept | None = None
    clinical_status: Concept | str | None = None
    verification_status: Concept | str | None = None
    onset_date_time: str | None = None
    onset_period: Period | None = None
    abatement_date_time: str | None = None
    recorded_date: str | None = None


class ProcedureResource(Resource):
    """Procedure; `occurrence` is what R5 calls `performed`."""

    status: str | None = None
    subject: Reference | None = None
    code: Concept | None = None
    performed_date_time: str | None = None
    performed_period: Period | None = None
    occurrence_date_time: str | None = None
    occurrence_period: Period | None = None


class DeviceResource(Resource):
    """Device, as something that the patient uses or carries."""

    status: str | None = None
    patient: Reference | None = None
    type: Concept | None = None


class ServiceRequest(Resource):
    """ServiceRequest."""

    status: str | None = None
    intent: str | None = None
    do_not_perform: bool | None = None
    subject: Reference | None = None
    code: Concept | None = None
    authored_on: str | None = None


class Extension(Element):
    """Extension, with the kinds of value that are read."""

    url: str | None = None
    value_code: str | None = None
    value_codeable_concept: Concept | None = None
    value_period: Period | None = None
    extension: list[Extension] | None = None


class PatientResource(Resource):
    """Patient, without a name."""

    gender: str | None = None
    birth_date: str | None = None
    deceased_boolean: bool | None = None
    deceased_date_time: str | None = None
    extension: list[Extension] | None = None


class Issue(Element):
    """OperationOutcome.issue; its texts are left unread, they may name people."""

    severity: str | None = None
    code: str | None = None


class OperationOutcome(Resource):
    """OperationOutcome."""

    issue: list[Issue] | None = None
