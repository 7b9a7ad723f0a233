"""MedicationRequest, Statement, Dispense and Administration -> pieces of courses, and drafts (2.2, 0.4.7).

Whether a record stands for a therapy that goes on is decided by its status and intent; dispenses and
administrations speak only as long as their supply can reach.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from typing import Any

import msgspec

from cds_service.chart import Draft, Form, Refused, When
from cds_service.fhir import resources as fhir
from cds_service.fhir.courses import Piece, Span
from cds_service.fhir.dates import add_days
from cds_service.fhir.decoding import UnreadableError, decode, given, loosely, members, whole_number
from cds_service.fhir.dosage import (
    bounds_of,
    days_of,
    dosages_in,
    dose_of,
    form_of,
    strength_of,
    strength_of_product,
    supply_in,
)
from cds_service.fhir.reading import Entry, Reading, source_of
from cds_service.fhir.recognition import Drug, Names, Recogniser
from cds_service.knowledge.statuses import GOES_ON, ORDERS

AREA = frozenset({"medications"})
DRAFTS = frozenset({"drafts"})
IS_OVER = frozenset({"completed", "stopped", "ended"})
GIVEN = frozenset({"completed", "in-progress"})
NO_THERAPY = frozenset(
    {
        "cancelled",
        "declined",
        "draft",
        "entered-in-error",
        "intended",
        "not-done",
        "not-taken",
        "preparation",
        "unknown",
    }
)
"""The other statuses of FHIR R4 and R5; one that is none of all these was not understood."""
STATUSES = frozenset({*GOES_ON, *IS_OVER, *GIVEN, *NO_THERAPY, "recorded"})
NO_ORDERS = frozenset({"proposal", "plan", "option"})

_CONTAINED = msgspec.json.Decoder(list[msgspec.Raw])
_PRIOR = msgspec.json.Decoder(fhir.Reference)


Recognised = tuple[tuple[Drug, ...], list[str]]


class Medications:
    """Collects the medication records and drafts of one chart."""

    def __init__(self, reading: Reading, gap_days: int, reach: Decimal) -> None:
        """`gap_days` ends a record without any end; a dispense reaches `reach` times its supply."""
        self.pieces: list[Piece] = []
        self.drafts: list[Draft] = []
        self._reading = reading
        self._recogniser = Recogniser(reading.terms)
        self._recognised = reading.terms.recognised
        self._gap_days = gap_days
        self._reach = reach
        self._days = reading.calendar
        self._time_units = reading.knowledge.time_units

    # -- the four kinds of record --------------------------------------------------------------------

    def request(self, record: fhir.MedicationRequest, _: Entry) -> Refused | None:
        """A prescription. A missing intent is taken for an order; a missing status cannot be judged."""
        source = source_of("MedicationRequest", record.id)
        if record.do_not_perform:
            return Refused(source, "not_a_therapy", "it says that the drug is not to be given")
        if record.intent in NO_ORDERS:
            return Refused(source, "not_an_order", "its intent is not an order")
        if record.intent is not None and record.intent not in ORDERS:
            return self._told(record, Refused(source, "not_understood", "its intent is none of FHIR"))
        known = None
        # With a date nothing but the drug can speak against it: most drugs of a chart end here.
        dated = record.status in GOES_ON or (record.status in IS_OVER and self._days.day(record.authored_on))
        if dated and self._reading.is_about_patient(record.subject):
            found = self._recognise(record, source)
            if isinstance(found, Refused):
                return found
            known = found
        elif fault := self._fault(record, source):
            return fault
        dosages = dosages_in(record.dosage_instruction)
        return self._take(record, source, dosages, self._span_of_request(record, dosages), known)

    def statement(self, record: fhir.MedicationStatement, _: Entry) -> Refused | None:
        """What somebody says that the patient takes."""
        source = source_of("MedicationStatement", record.id)
        fault = self._fault(record, source)
        return fault or self._take(record, source, record.dosage or (), self._span_of_statement(record))

    def dispense(self, record: fhir.MedicationDispense, _: Entry) -> Refused | None:
        """What the pharmacy handed over."""
        source = source_of("MedicationDispense", record.id)
        when = self._days.day(record.when_handed_over) or self._days.day(record.when_prepared)
        fault = self._fault(record, source)
        dosages = record.dosage_instruction or ()
        return fault or self._take(record, source, dosages, self._handed(record.status, when, record))

    def administration(self, record: fhir.MedicationAdministration, _: Entry) -> Refused | None:
        """What was given. How long it lasts is not in the record, but of some products known."""
        source = source_of("MedicationAdministration", record.id)
        period = record.effective_period or record.occurence_period or fhir.Period()
        moment = record.effective_date_time or record.occurence_date_time
        when = self._days.when(moment or period.start or period.end)
        dosages = (record.dosage,) if record.dosage else ()
        fault = self._fault(record, source)
        return fault or self._take(record, source, dosages, self._administered(record.status, when))

    def _fault(self, record: fhir.Drug, source: str) -> Refused | None:
        """What speaks against a record before its drug and its dates are looked at."""
        if not self._reading.is_about_patient(record.subject):
            return other_patient(source, AREA)
        if record.status is None:
            return self._told(record, Refused(source, "no_status", "it has no status"))
        if record.status not in STATUSES:
            return self._told(record, Refused(source, "not_understood", "its status is none of FHIR"))
        return None

    def _take(
        self,
        record: fhir.Drug,
        source: str,
        dosages: Sequence[fhir.Dosage],
        span: Span | Refused,
        known: Recognised | None = None,
    ) -> Refused | None:
        """Keep a piece for each drug of the record; `known` if they were recognised already."""
        if isinstance(span, Refused):
            refused = msgspec.structs.replace(span, source=source)
            return self._told(record, refused) if refused.tell else refused
        found = known or self._recognise(record, source)
        if isinstance(found, Refused):
            return found
        if span.start is not None and span.start > self._reading.as_of:
            return Refused(source, "not_begun", "it begins after today", AREA, tell=True)
        drugs, names = found
        knowledge = self._reading.knowledge
        prior = prior_of(record) if isinstance(record, fhir.MedicationRequest) else None
        dose = dose_of(dosages, [*names, *[drug.product for drug in drugs]], knowledge.time_units)
        for drug in drugs:
            form = form_of(drug, dosages, names, knowledge)
            local = knowledge.therapies[drug.key].acts_locally(form, drug.systemic)
            strength = strength_of_product(drug.product) or strength_of(names[0] if names else "")
            on_hold = record.status == "on-hold"
            held = self._lasting(span, drug.agent, form) if span.given else span
            self.pieces.append(Piece(drug, held, dose, source, form, local, on_hold, strength, prior))
        return None

    def _told(self, record: fhir.Drug, refused: Refused) -> Refused:
        """A record of which it is not known whether it is a therapy: told, unless its drug is none of ours."""
        found = self._recognise(record, refused.source)
        return found if isinstance(found, Refused) else msgspec.structs.replace(refused, covers=AREA, tell=True)

    # -- dates ---------------------------------------------------------------------------------------

    def _span_of_request(self, record: fhir.MedicationRequest, dosages: Sequence[fhir.Dosage]) -> Span | Refused:
        supply = supply_in(record.dispense_request)
        periods = [bounds_of(dosage) for dosage in dosages]
        if supply is not None:
            periods.append(supply.validity_period)
        written = self._days.day(record.authored_on)
        starts = [written, *[self._days.day(each.start) for each in periods if each is not None]]
        ends = [self._days.last_day(each.end) for each in periods if each is not None]
        start = _earliest(starts)
        given_out = written or start
        runs_out = None
        duration = days_of(supply.expected_supply_duration, self._time_units) if supply is not None else None
        if supply is not None and duration is not None and given_out is not None:
            repeats = whole_number(supply.number_of_repeats_allowed) or 0
            runs_out = add_days(given_out, duration * (1 + min(max(repeats, 0), 1000)))
        end = _earliest([runs_out, *ends])
        supply_end = runs_out or end
        return self._span(record.status, start, supply_end or given_out, supply_end, end)

    def _span_of_statement(self, record: fhir.MedicationStatement) -> Span | Refused:
        period = record.effective_period or fhir.Period()
        starts = [record.effective_date_time, period.start, record.date_asserted]
        days = [day for text in starts if (day := self._days.day(text)) is not None]
        end = self._days.last_day(period.end)
        status = record.status
        if status == "recorded":  # R5: whether it is taken stands in `adherence`
            codings = record.adherence.code.coding if record.adherence and record.adherence.code else None
            taking = any(coding.code in ("taking", "on-hold") for coding in codings or ())
            status = "active" if taking else "unknown"
        # A period without an end, of a statement that still holds, reaches until today.
        still = self._reading.as_of if status in GOES_ON and period.start else None
        return self._span(status, min(days, default=None), end or still or max(days, default=None), end, end)

    def _span(
        self, status: str | None, start: date | None, reach: date | None, supply_end: date | None, end: date | None
    ) -> Span | Refused:
        if status in GOES_ON:
            return Span(True, start, reach, supply_end, None)
        if status not in IS_OVER:
            return Refused("", "not_a_therapy", "its status says that it is no therapy")
        if start is None or reach is None:
            return Refused("", "past_without_date", "a therapy that is over, without a date")
        over = max(start, min(end or add_days(reach, self._gap_days), self._reading.as_of))
        return Span(False, start, over if end else reach, supply_end, over, stopped=status == "stopped")

    def _handed(
        self, status: str | None, when: date | None, record: fhir.MedicationDispense | None
    ) -> Span | Refused:
        if status not in GIVEN:
            return Refused("", "not_a_therapy", "its status says that nothing was given")
        if when is None:
            return Refused("", "past_without_date", "a drug that was given, without a date", AREA, tell=True)
        supply = days_of(record.days_supply, self._time_units) if record is not None else None
        if supply is None:
            active = record is None and status == "in-progress"
            end = None if active else max(when, min(add_days(when, self._gap_days), self._reading.as_of))
            return Span(active, when, when, None, end)
        runs_out = add_days(when, supply)
        if self._reading.as_of <= add_days(when, int(supply * self._reach)):
            return Span(True, when, runs_out, runs_out, None)
        return Span(False, when, runs_out, runs_out, runs_out)

    def _administered(self, status: str | None, when: When | None) -> Span | Refused:
        span = self._handed(status, when.day if when else None, None)
        return span if isinstance(span, Refused) else msgspec.structs.replace(span, given=when)

    def _lasting(self, span: Span, agent: str, form: Form) -> Span:
        """How long a dose that was given tells of a therapy (2.2: 1.5 x supply).

        The supply is the usual interval to the next dose. After that, and where the interval is not known, it may
        go on as long as a pause does not break a course (0.4.7), or as the form may last.
        """
        day, today, knowledge = span.start, self._reading.as_of, self._reading.knowledge
        if span.active or day is None:
            return span
        days = knowledge.lasts.get((agent, form))
        runs_out = None if days is None else add_days(day, days)
        if days is not None and today <= add_days(day, int(days * self._reach)):
            return msgspec.structs.replace(span, active=True, reach=runs_out, supply_end=runs_out, end=None)
        end = runs_out or span.end
        unsure = today <= add_days(runs_out or day, knowledge.may_last.get(form, self._gap_days))
        return msgspec.structs.replace(span, reach=runs_out or day, supply_end=runs_out, end=end, unsure=unsure)

    # -- which drug ----------------------------------------------------------------------------------

    def _recognise(self, record: fhir.Drug, source: str) -> Recognised | Refused:
        """The drugs of a record and the names it gives them; renewals name theirs alike, and are looked at once."""
        own = record.medication_codeable_concept
        if own is None or record.medication_reference is not None or record.medication is not None:
            return self._look_up(record, source)
        key = (own.text, *[(coding.system, coding.code, coding.display) for coding in own.coding or ()])
        found = self._recognised.get(key)
        if found is None:
            found = self._look_up(record, source)
            self._recognised.keep(key, found, len(str(key)))
        return msgspec.structs.replace(found, source=source) if isinstance(found, Refused) else found

    def _look_up(self, record: fhir.Drug, source: str) -> Recognised | Refused:
        names, lacks = self._names(record)
        drugs = self._recogniser.drugs(names)
        texts = names.texts()
        if drugs is None:
            return Refused(source, "not_monitored", "a known product that is not monitored")
        if drugs:
            return drugs, texts
        if not texts and not any(coding.code for each in names.concepts() for coding in each.coding or ()):
            if lacks:
                return _without_medication(source, lacks)
            return Refused(source, "no_drug", "it names no drug", AREA, tell=True)
        if lacks and not texts:
            return _without_medication(source, lacks)
        return Refused(source, "unknown_drug", "its drug is not among those that are known", lacks=lacks)

    def _names(self, record: fhir.Drug) -> tuple[Names, str]:
        """Everything that names the drug, and the reference to its Medication if that is missing."""
        either = record.medication or fhir.CodeableReference()
        own = record.medication_codeable_concept or either.concept
        reference = record.medication_reference or either.reference
        if reference is None or not reference.reference:
            return Names(own, reference=reference), ""
        medication = self._medication(reference.reference, record.contained)
        if medication is None:
            return Names(own, reference=reference), reference.reference
        parts = [part for part in medication.ingredient or () if part.is_active is not False]
        concepts = [part.item_codeable_concept or (part.item.concept if part.item else None) for part in parts]
        ingredients = [concept for concept in concepts if concept is not None]
        return Names(own, medication.code, ingredients, reference), ""

    def _medication(self, reference: str, contained: msgspec.Raw) -> fhir.Medication | None:
        raw = _contained(reference[1:], contained) if reference.startswith("#") else self._bundled(reference)
        if raw is None:
            return None
        try:
            medication: Any = decode(raw, "Medication")
        except UnreadableError:
            return None
        return medication if isinstance(medication, fhir.Medication) else None

    def _bundled(self, reference: str) -> msgspec.Raw | None:
        found = self._reading.look_up(reference)
        if found is None:
            return None
        self._reading.medications_used.add(id(found[1]))
        return found[1].resource

    # -- drafts --------------------------------------------------------------------------------------

    def draft(
        self, record: fhir.MedicationRequest, entry: Entry, selections: frozenset[str] | None
    ) -> Refused | None:
        """A drafted prescription: nothing but the drug has to be there."""
        source = source_of("MedicationRequest", record.id)
        if not self._reading.is_about_patient(record.subject):
            return other_patient(source, DRAFTS)
        if record.do_not_perform or record.status in ("cancelled", "entered-in-error"):
            return Refused(source, "not_a_therapy", "it says that the drug is not to be given")
        found = self._recognise(record, source)
        if isinstance(found, Refused):
            # While it is being written (order-select) a draft may well have no drug yet.
            tell = found.tell and (found.reason != "no_drug" or selections is None)
            return msgspec.structs.replace(found, covers=DRAFTS, tell=tell)
        drugs, names = found
        dosages = dosages_in(record.dosage_instruction)
        knowledge = self._reading.knowledge
        selected = selections is None or not selections.isdisjoint((source, record.id, entry.full_url))
        for drug in drugs:
            self.drafts.append(
                Draft(
                    key=drug.key,
                    agent=drug.agent,
                    form=form_of(drug, dosages, names, knowledge),
                    source=source,
                    selected=selected,
                    recognised=drug.recognised,
                    from_text=drug.from_text,
                    weekly_mg=dose_of(dosages, [*names, drug.product], knowledge.time_units).weekly_mg,
                    name=names[0] if names else drug.product,
                    systemic=drug.systemic,
                )
            )
        return None


def other_patient(source: str, covers: frozenset[str]) -> Refused:
    """A resource about somebody else, or about whom cannot be told."""
    return Refused(source, "other_patient", "it is not about this patient", covers, tell=True)


def _without_medication(source: str, reference: str) -> Refused:
    text = "its medication did not come with it"
    return Refused(source, "medication_missing", text, AREA, tell=True, lacks=reference)


def prior_of(record: fhir.MedicationRequest) -> str | None:
    """Reference of the prescription that this one renews: '' if it is not named, None if there is none."""
    if not given(record.prior_prescription):
        return None
    try:
        if not members(record.prior_prescription):
            return None
        prior = loosely(record.prior_prescription, _PRIOR)
    except UnreadableError:
        return ""
    return "/".join((prior.reference or "").partition("/_history/")[0].split("/")[-2:])


def _earliest(days: Sequence[date | None]) -> date | None:
    found = [day for day in days if day is not None]
    return min(found) if found else None


def _contained(name: str, contained: msgspec.Raw) -> msgspec.Raw | None:
    if not given(contained):
        return None
    try:
        resources = _CONTAINED.decode(contained)
    except (msgspec.DecodeError, RecursionError):
        return None
    for raw in resources:
        try:
            if decode(raw, "Medication").id == name:
                return raw
        except UnreadableError:
            continue  # one that cannot be read costs only itself
    return None
