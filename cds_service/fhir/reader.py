"""FHIR JSON -> Chart. Start reading here.

    prefetch value --open_page--> entries --decode--> resource --a reader of its type--> part of the Chart
                        |                     |                        |
                        +--- Gap              +------- Refused --------+

Each resource is decoded on its own: a bad one costs only itself. No resource is dropped in silence: what came in
is what was used plus what was refused. Nothing here raises for anything that an EHR may send.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, tzinfo
from decimal import Decimal
from operator import attrgetter
from typing import TypeVar

from msgspec import Raw

from cds_service.chart import Chart, Gap, Patient, Phrase, Refused
from cds_service.fhir import resources as fhir
from cds_service.fhir.admission import Admission, Readers
from cds_service.fhir.bundle import Page, open_page
from cds_service.fhir.conditions import Conditions
from cds_service.fhir.courses import therapies
from cds_service.fhir.decoding import head_of
from cds_service.fhir.expected import Expected
from cds_service.fhir.medications import Medications
from cds_service.fhir.observations import Observations
from cds_service.fhir.orders import Orders
from cds_service.fhir.reading import Entry, Reading, source_of
from cds_service.fhir.terms import terms_of
from cds_service.knowledge.model import Knowledge

T = TypeVar("T")

DRAFTS = Expected(
    key="draftOrders",
    template="",
    types=frozenset({"MedicationRequest", "ServiceRequest"}),
    covers=frozenset({"drafts"}),
)


def read_chart(  # noqa: PLR0913 - the contract with the wire
    prefetch: Mapping[str, Raw],
    expected: tuple[Expected, ...],
    *,
    patient_id: str,
    knowledge: Knowledge,
    as_of: date,
    zone: tzinfo,
    draft_orders: Raw | None = None,
    selections: frozenset[str] | None = None,
) -> Chart:
    """The patient as the rules see it, from what the EHR sent.

    `prefetch` holds each key that was sent, as raw JSON, also `null`; keys that were not asked for are not looked
    at. `as_of` is today at the site, `zone` its time zone. `selections` None: every draft is selected. What could
    not be known is in `gaps`, what was not used in `refused`. Never raises for the content of the JSON.
    """
    reading = Reading(patient_id, knowledge, terms_of(knowledge), as_of, zone)
    pages = [open_page(each, prefetch.get(each.key), reading) for each in expected]
    drafts = [open_page(DRAFTS, draft_orders, reading)] if draft_orders is not None else []
    reading.entries = [page.all_entries for page in (*pages, *drafts)]
    admission = Admission(reading)
    patient = admission.patient([page for page in pages if "Patient" in page.expected.types])
    shelves = _Shelves(reading, patient)
    admission.seen_markers = shelves.observations.seen_markers
    readers = shelves.readers()
    for page in pages:
        if "Patient" not in page.expected.types:
            admission.admit(page, readers)
    for page in drafts:
        admission.admit(page, shelves.draft_readers(selections))
        _note_unmet(selections or frozenset(), page, reading)
    admission.close()
    return shelves.chart()


def _note_unmet(selections: frozenset[str], page: Page, reading: Reading) -> None:
    """A gap if something was selected that is not among the drafts, of whatever type those are."""
    heads = [(head_of(entry.resource), entry.full_url) for entry in page.entries]
    drafted = {name for head, url in heads for name in (f"{head.resource_type}/{head.id}", head.id, url)}
    if unmet := len(selections - drafted):
        words = "{count} of {total} selections are not among the drafts"
        detail = Phrase(words, count=unmet, total=len(selections))
        reading.gaps.append(Gap(page.expected.key, "not_found", detail, page.expected.covers))


def _sorted(found: list[T], *names: str) -> tuple[T, ...]:
    """By attributes, the first before all others."""
    if len(found) > 1:
        # One after the other, the first one last: faster than by all of them together, and comes out the same.
        for name in reversed(names):
            found.sort(key=attrgetter(name))
    return tuple(found)


class _Shelves:
    """The readers of all types, and what they have found."""

    def __init__(self, reading: Reading, patient: Patient) -> None:
        switches = reading.knowledge.switches
        self._reading = reading
        self._patient = patient
        self._gap_days, self._slack_days = int(switches["course_gap_days"]), int(switches["renewal_slack_days"])
        self.observations = Observations(reading, patient)
        self._medications = Medications(reading, self._gap_days, Decimal(switches["dispense_reach"]))
        self._conditions = Conditions(reading)
        self._orders = Orders(reading)

    def readers(self) -> Readers:
        """Who reads which type of resource."""
        return {
            "Observation": self.observations.read,
            "DiagnosticReport": self.observations.report,
            "MedicationRequest": self._medications.request,
            "MedicationStatement": self._medications.statement,
            "MedicationDispense": self._medications.dispense,
            "MedicationAdministration": self._medications.administration,
            "Condition": self._conditions.condition,
            "Procedure": self._conditions.procedure,
            "Device": self._conditions.device,
            "ServiceRequest": self._orders.read,
        }

    def draft_readers(self, selections: frozenset[str] | None) -> Readers:
        """Who reads the drafts of an order hook."""

        def medication(record: fhir.MedicationRequest, entry: Entry) -> Refused | None:
            return self._medications.draft(record, entry, selections)

        def test_order(record: fhir.ServiceRequest, entry: Entry) -> Refused | None:
            named = (source_of("ServiceRequest", record.id), record.id, entry.full_url)
            return self._orders.read(record, entry, True, selections is None or not selections.isdisjoint(named))

        return {
            "MedicationRequest": medication,
            "ServiceRequest": test_order,
        }

    def chart(self) -> Chart:
        """Everything together, in an order that does not depend on that of the entries."""
        reading = self._reading
        measurements = self.observations.measurements()
        return Chart(
            patient=self._patient,
            measurements=measurements,
            therapies=therapies(self._medications.pieces, self._gap_days, self._slack_days),
            conditions=_sorted(self._conditions.conditions, "source", "code"),
            procedures=_sorted(self._conditions.in_place(), "source"),
            orders=_sorted(self._orders.orders, "source"),
            drafts=_sorted(self._medications.drafts, "source", "key"),
            gaps=tuple(reading.gaps),
            refused=_sorted(reading.refused, "source", "reason", "part"),
            resources_in=reading.came_in,
            resources_used=reading.used,
            pregnancy=self.observations.pregnancy(),
        )
