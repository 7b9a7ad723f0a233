"""What the readers of one chart share: whom it is about, the dates, and the book in which every resource ends.

A reader returns None for a resource that was used, and a `Refused` for one that was not: so the two add up to
what came in, whatever a reader does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date, tzinfo

import msgspec

from cds_service.chart import Gap, Refused
from cds_service.fhir.dates import Calendar
from cds_service.fhir.decoding import head_of
from cds_service.fhir.resources import ABSENT, Element, Reference
from cds_service.fhir.terms import Terms
from cds_service.knowledge.model import Knowledge

MOST_ID = 64
"""Characters of an id, by FHIR."""

NOTHING: frozenset[str] = frozenset()
RESULTS = frozenset({"results"})
"""What a result leaves unknown that does not say of which test it is."""
UNREADABLE = "it could not be read"


class Search(Element, frozen=True):
    """Bundle.entry.search."""

    mode: str | None = None


class Entry(Element, frozen=True):
    """Bundle.entry."""

    full_url: str | None = None
    resource: msgspec.Raw = ABSENT
    search: Search | None = None


class Reading:
    """One chart in the making."""

    def __init__(self, patient_id: str, knowledge: Knowledge, terms: Terms, as_of: date, zone: tzinfo) -> None:
        """`patient_id` is the id of context, with or without `Patient/` before it."""
        self.patient_id = patient_id.removeprefix("Patient/")
        self.knowledge = knowledge
        self.terms = terms
        self.as_of = as_of
        self.calendar = Calendar(zone)
        self.gaps: list[Gap] = []
        self.refused: list[Refused] = []
        self.came_in = 0
        self.used = 0
        self.entries: list[Callable[[], Sequence[Entry]]] = []
        """Everything that came in, page by page, to look references up in."""
        self.medications_used: set[int] = set()
        self._own_reference = f"Patient/{self.patient_id}"
        self._about: dict[str, bool] = {}
        self._index: dict[str, tuple[str, Entry]] | None = None

    def book(self, verdict: Refused | None) -> None:
        """Count one resource as used (None) or as refused."""
        if verdict is None:
            self.used += 1
        else:
            self.refused.append(verdict)

    def part(self, refused: Refused) -> None:
        """Note a part of a resource that was not used; the resource itself is booked on its own."""
        self.refused.append(msgspec.structs.replace(refused, part=True))

    def is_about_patient(self, subject: Reference | None) -> bool:
        """True if the subject is this patient or is not stated; False if it is anybody else or cannot be told."""
        if subject is None or not subject.reference:
            return True
        reference = subject.reference
        if reference == self._own_reference:
            return True
        known = self._about.get(reference)
        if known is None:
            known = self._about[reference] = self._compare(reference)
        return known

    def _compare(self, reference: str) -> bool:
        if reference.startswith("urn:"):
            if reference.rpartition(":")[2] == self.patient_id:
                return True
            name, entry = self.look_up(reference) or ("", None)
            return entry is not None and name == self._own_reference
        path = reference.partition("?")[0].partition("/_history/")[0].split("/")
        if len(path) == 1:
            return reference == self.patient_id
        return path[-2:] == ["Patient", self.patient_id]

    def look_up(self, reference: str) -> tuple[str, Entry] | None:
        """`Type/id` and entry of a resource that came in with the request, or None."""
        index = self._index
        if index is None:
            index = self._index = self._indexed()
        found = index.get(reference)
        if found is None and not reference.startswith("urn:"):
            path = reference.partition("/_history/")[0].split("/")
            found = index.get("/".join(path[-2:]))
        return found

    def _indexed(self) -> dict[str, tuple[str, Entry]]:
        index: dict[str, tuple[str, Entry]] = {}
        for entries_of in self.entries:
            for entry in entries_of():
                head = head_of(entry.resource)
                name = f"{head.resource_type}/{head.id}" if head.id else ""
                for key in (entry.full_url, name):
                    if key:
                        index.setdefault(key, (name, entry))
        return index


def source_of(name: str, id_: str | None) -> str:
    """How a resource is named to people: `Observation/123`."""
    if not id_:
        return f"{name} (without id)"
    return f"{name}/{id_}" if len(id_) <= MOST_ID else f"{name}/{id_[:MOST_ID]}"


def unreadable(source: str, covers: frozenset[str] | None) -> Refused:
    """A result that cannot be read, of these markers (None: cannot be seen); told, unless it is of none of ours."""
    return Refused(source, "unreadable", UNREADABLE, RESULTS if covers is None else covers, tell=covers != NOTHING)
