"""ServiceRequest -> tests that are on their way, ordered or drafted (clinical reference 0.4.24)."""

from __future__ import annotations

from cds_service.chart import Order, Refused
from cds_service.fhir.medications import other_patient
from cds_service.fhir.reading import Entry, Reading, source_of
from cds_service.fhir.resources import ServiceRequest
from cds_service.knowledge.statuses import ORDERS

AREA = frozenset({"orders"})
OPEN = frozenset({"active", "on-hold", "draft"})


class Orders:
    """Collects the test orders of one chart."""

    def __init__(self, reading: Reading) -> None:
        """Nothing is found yet."""
        self.orders: list[Order] = []
        self._reading = reading

    def read(
        self, record: ServiceRequest, _: Entry, drafted: bool = False, selected: bool = True
    ) -> Refused | None:
        """One order. A draft counts whatever its intent and status are; `selected`: the call is about it."""
        source = source_of("ServiceRequest", record.id)
        if not self._reading.is_about_patient(record.subject):
            return other_patient(source, AREA)
        if record.do_not_perform:
            return Refused(source, "not_an_order", "it says that the test is not to be done")
        if not drafted and record.status not in OPEN:
            return Refused(source, "not_open", "it is not open any more")
        if not drafted and record.intent not in ORDERS:
            return Refused(source, "not_an_order", "its intent is not an order")
        known = self._reading.terms.orderables
        codings = (record.code.coding if record.code else None) or []
        found = [item for coding in codings if (item := known.get((coding.system, coding.code))) is not None]
        if not found:
            return Refused(source, "unknown_code", "its code is not among those of known tests")
        display = next((coding.display for coding in codings if coding.display), None)
        self.orders.append(
            Order(
                markers=frozenset().union(*(item.markers for item in found)),
                name=(record.code.text if record.code else None) or display or found[0].name,
                source=source,
                drafted=drafted,
                selected=selected,
                authored=self._reading.calendar.when(record.authored_on),
                panel=next((item.panel for item in found if item.panel), ""),
                codes=frozenset(coding.code for coding in codings if coding.code),
            )
        )
        return None
