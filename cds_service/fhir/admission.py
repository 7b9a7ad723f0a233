"""The way of each entry: decoded on its own, led to the reader of its type, and booked as used or refused."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from cds_service.chart import Gap, Patient, Phrase, Refused
from cds_service.fhir import bundle
from cds_service.fhir.bundle import Page
from cds_service.fhir.decoding import DECODERS, UnreadableError, decode, given, head_of, is_type_name, members
from cds_service.fhir.patient import read_patient
from cds_service.fhir.reading import NOTHING, UNREADABLE, Entry, Reading, source_of
from cds_service.fhir.resources import PatientResource, Resource

Reader = Callable[[Any, Entry], Refused | None]
Readers = Mapping[str, Reader]
SeenMarkers = Callable[[msgspec.Raw], frozenset[str] | None]
"""From the `code` of a result of which nothing else can be read to its markers; None if not even that can."""

MEDICATION_RECORDS = frozenset(
    {"MedicationRequest", "MedicationStatement", "MedicationDispense", "MedicationAdministration"}
)
PATIENT = frozenset({"patient"})
NO_ENTRY = Entry()
"""What a resource that was read at one go with its page is given for its entry: nobody looks at it."""


class Admission:
    """Leads the entries of all pages to their readers."""

    def __init__(self, reading: Reading, seen_markers: SeenMarkers | None = None) -> None:
        """`reading` keeps the book."""
        self.reading = reading
        self.seen_markers = seen_markers
        self.medications: list[tuple[Entry, str]] = []

    def admit(self, page: Page, readers: Readers) -> None:
        """Read all entries of one page."""
        if page.resources:
            self._admit_alike(page, page.resources, readers)
        elif page.entries:
            desk = _Desk(self, page, readers)
            desk.take_all()
            desk.close()
        elif page.has_next or page.total:
            bundle.note_truncation(page, [], self.reading)

    def _admit_alike(self, page: Page, resources: list[Any], readers: Readers) -> None:
        """The same for a page that was read at one go."""
        (name,) = page.expected.types - bundle.INCLUDED
        reading, read, used = self.reading, readers[name], 0
        for resource in resources:
            try:
                verdict = read(resource, NO_ENTRY)
            except Exception:  # a fault of ours in one resource must neither raise nor pass for fine
                verdict = _failed(name, resource, page)
            if verdict is None:
                used += 1
            else:
                reading.refused.append(verdict)
        reading.came_in += len(resources)
        reading.used += used
        bundle.note_truncation(page, resources, reading)

    def patient(self, pages: list[Page]) -> Patient:
        """The patient of context; one with nothing but the id, and a gap, if it did not come."""
        reading = self.reading
        found: list[Patient] = []

        def take(resource: PatientResource, _: Entry) -> Refused | None:
            source = source_of("Patient", resource.id)
            if resource.id and resource.id != reading.patient_id:
                return Refused(source, "other_patient", "it is not this patient", PATIENT, tell=True)
            if found:
                return Refused(source, "duplicate", "the patient came more than once")
            found.append(read_patient(resource, reading))
            return None

        for page in pages:
            self.admit(page, {"Patient": take})
        if found:
            return found[0]
        if pages and not any("patient" in gap.covers for gap in reading.gaps):
            reading.gaps.append(_no_patient(pages[0], reading))
        return Patient(reading.patient_id)

    def close(self) -> None:
        """Book the Medications: used if a record referred to them."""
        for entry, source in self.medications:
            used = id(entry) in self.reading.medications_used
            self.reading.book(None if used else Refused(source, "not_referenced", "no record refers to it"))


def _nobody(_: Any, __: Entry) -> Refused | None:
    raise LookupError("nobody reads this type")


def _failed(name: str, resource: Any, page: Page) -> Refused:
    return Refused(source_of(name, resource.id), "failed", UNREADABLE, page.expected.covers, tell=True)


def _code_of(raw: msgspec.Raw) -> msgspec.Raw:
    try:
        return members(raw).get("code", msgspec.Raw())
    except UnreadableError:
        return msgspec.Raw()


def _no_patient(page: Page, reading: Reading) -> Gap:
    reasons = {refused.reason for refused in reading.refused if refused.covers & PATIENT}
    key = page.expected.key
    if "other_patient" in reasons:
        return Gap(key, "other_patient", "another patient than that of context", PATIENT)
    if reasons:
        return Gap(key, "unreadable", "the patient could not be read", PATIENT)
    return Gap(key, "null", "no patient was found", PATIENT)


class _Desk:
    """Where the entries of one page are taken in."""

    def __init__(self, admission: Admission, page: Page, readers: Readers) -> None:
        self._admission = admission
        self._reading = admission.reading
        self._page = page
        self._readers = readers
        wanted = page.expected.types
        if "medications" in page.expected.covers:
            wanted |= MEDICATION_RECORDS
        self._wanted = wanted & readers.keys()
        self._expect(min(page.expected.types & self._wanted, default=""))
        self._matches: list[Any] = []
        self._strangers: list[str] = []
        self._empty = 0

    def _expect(self, name: str) -> None:
        """Entries of one page are mostly of one type: the next one is tried as what the last one was."""
        self._guess = name
        self._decode = DECODERS[name].decode if name in self._wanted else None
        self._reader = self._readers[name] if name in self._wanted else _nobody

    def take_all(self) -> None:
        """Read the entries, and book each that holds a resource."""
        for position, entry in enumerate(self._page.entries):
            search = entry.search
            included = search is not None and search.mode == "include"
            if self._decode is not None and not included:
                try:
                    resource = self._decode(entry.resource)
                except (msgspec.DecodeError, RecursionError):
                    pass
                else:
                    if resource.resource_type == self._guess:
                        self._read(resource, entry)
                        continue
            if given(entry.resource):
                self._take_odd(entry, head_of(entry.resource), position, included)
            else:
                self._empty += 1
        self._reading.came_in += len(self._page.entries) - self._empty

    def _take_odd(self, entry: Entry, head: Resource, position: int, included: bool) -> None:
        """An entry of another type than the one before, or one that needs a second look."""
        name = head.resource_type or ""
        name = name if is_type_name(name) else ""
        if included or (name and name not in self._wanted):
            self._take_stranger(entry, name, head, included)
            return
        try:
            resource = decode(entry.resource, name)
        except UnreadableError:
            self._matches.append(None)
            self._reading.book(self._unreadable(entry, name, head, position))
            return
        self._expect(name)
        self._read(resource, entry)

    def _read(self, resource: Any, entry: Entry) -> None:
        self._matches.append(resource)
        try:
            verdict = self._reader(resource, entry)
        except Exception:  # see `Admission._admit_alike`
            verdict = _failed(self._guess, resource, self._page)
        self._reading.book(verdict)

    def _unreadable(self, entry: Entry, name: str, head: Resource, position: int) -> Refused:
        source = source_of(name, head.id) if name and head.id else f"{self._page.expected.key}[{position}]"
        covers = None
        if name == "Observation" and self._admission.seen_markers is not None:
            covers = self._admission.seen_markers(_code_of(entry.resource))
        if covers is None:
            return Refused(source, "unreadable", UNREADABLE, self._page.expected.covers, tell=True)
        return Refused(source, "unreadable", UNREADABLE, covers, tell=bool(covers))

    def _take_stranger(self, entry: Entry, name: str, head: Resource, included: bool) -> None:
        """A resource that is not among the results: it may tell of a failure, or be referred to."""
        reading = self._reading
        source = source_of(name or "Resource", head.id)
        if name == "OperationOutcome":
            reading.book(bundle.note_outcome(self._page, entry, reading))
        elif name == "Medication" and not self._page.alone:
            self._admission.medications.append((entry, source))
        elif name == "Patient" and head.id and head.id != reading.patient_id:
            reading.book(Refused(source, "other_patient", "it is not this patient", NOTHING, tell=True))
        elif included:
            reading.book(Refused(source, "included", "it came along for references only"))
        else:
            self._strangers.append(name)
            reading.book(Refused(source, "not_asked_for", Phrase("no {type} was asked for here", type=name)))

    def close(self) -> None:
        """Note what the page as a whole leaves open."""
        bundle.note_empty_entries(self._page, self._empty, self._reading)
        bundle.note_strangers(self._page, self._strangers, self._reading)
        bundle.note_truncation(self._page, self._matches, self._reading)
