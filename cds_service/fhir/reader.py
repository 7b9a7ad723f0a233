"""FHIR JSON -> Chart. Start reading here.

    prefetch value --open_page--> entries --decode--> resource --a reader of its type--> part of the Chart
                        |                     |                        |
                        +------- Gap          +------- Refused --------+

Each resource is decoded on its own: a bad one costs only itself. No resource is dropped in silence: what came in
is what was used plus what was refused. Nothing here raises for anything that an EHR may send.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import date, tzinfo
from decimal import Decimal
from typing import Any

import msgspec
from msgspec import Raw

from cds_service.chart import Chart, Gap, Patient, Refused
from cds_service.fhir import bundle
from cds_service.fhir.bundle import Page
from cds_service.fhir.conditions import Conditions
from cds_service.fhir.courses import therapies
from cds_service.fhir.decoding import DECODERS, Unreadable, decode, given, head_of, salvage
from cds_service.fhir.expected import Expected
from cds_service.fhir.medications import Medications
from cds_service.fhir.observations import UNREADABLE, Observations
from cds_service.fhir.orders import Orders
from cds_service.fhir.patient import read_patient
from cds_service.fhir.reading import Entry, Reading, source_of
from cds_service.fhir.terms import terms_of
from cds_service.knowledge.model import Knowledge

DRAFTS = Expected(
    key="draftOrders", template="", types=frozenset({"MedicationRequest", "ServiceRequest"}), covers=frozenset({"orders"})
)

Reader = Callable[[Any, Entry], Refused | None]


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
    pages = [bundle.open_page(each, prefetch.get(each.key), reading) for each in expected]
    drafts = bundle.open_page(DRAFTS, draft_orders, reading) if draft_orders is not None else None
    reading.entries = [page.entries for page in (*pages, *([drafts] if drafts else ()))]
    reception = Reception(reading)
    patient = reception.patient([page for page in pages if "Patient" in page.expected.types])
    chart_room = _Rooms(reading, patient, selections)
    for page in pages:
        if "Patient" not in page.expected.types:
            reception.admit(page, chart_room.readers)
    if drafts is not None:
        reception.admit(drafts, chart_room.draft_readers)
    reception.close()
    return chart_room.chart()
