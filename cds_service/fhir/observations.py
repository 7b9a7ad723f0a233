"""Observation -> Measurement (clinical reference 1.1, 1.2, 1.4, 4.1).

Recognised by system and code alone. A component is read like an Observation of its own that shares status, date
and subject with its parent; so is a contained member of a panel. A panel without members says only that it was
done, and that with the problem `panel`; so does a DiagnosticReport, where the site counts them (1.3).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from datetime import date
from typing import Any

import msgspec
from msgspec import Raw

from cds_service.chart import Measurement, Patient, Refused
from cds_service.fhir.decoding import UnreadableError, decode, given, head_of, loosely, members
from cds_service.fhir.laboratory import Laboratory, has_value
from cds_service.fhir.medications import other_patient
from cds_service.fhir.reading import NOTHING, RESULTS, UNREADABLE, Entry, Reading, source_of, unreadable
from cds_service.fhir.resemblance import stranger
from cds_service.fhir.resources import (
    ABSENT,
    BareConcept,
    Component,
    Concept,
    DiagnosticReport,
    Observation,
    Part,
    Reference,
)
from cds_service.fhir.sampling import Dated, Sampling
from cds_service.fhir.scales import Known
from cds_service.fhir.series import IGNORED, LONG_AGO, PENDING, Taken, by_status, in_order
from cds_service.knowledge.statuses import USABLE
from cds_service.knowledge.systems import LOINC

_RESOURCES = msgspec.json.Decoder(list[Raw])
_CODE = msgspec.json.Decoder(BareConcept)
_VALUE = msgspec.json.Decoder(Concept)
_COMPONENTS = msgspec.json.Decoder(list[Component])
_SUBJECT = msgspec.json.Decoder(Reference)
_renamed = msgspec.structs.replace

MOST_OWN = 4
"""In how many ways a chart may write its patient as a subject and still be read the short way."""


class Observations:
    """Collects the results of one chart. What many results have in common is looked at once."""

    def __init__(self, reading: Reading, patient: Patient) -> None:
        """`patient` decides which reference ranges fit."""
        self._reading = reading
        self._laboratory = Laboratory(reading.terms, patient)
        self._sampling = Sampling(reading.calendar, reading.as_of)
        self._dates = self._sampling.seen
        self._codes = reading.terms.codes
        self._panels_count = bool(reading.knowledge.switches["panel_counts_as_done"])
        self._subjects: dict[bytes, bool] = {}
        self._own: list[Raw] = []
        """Subjects that are the patient, as they are written: mostly in one way, or a way for each server."""
        self._found: dict[str, list[Taken]] = defaultdict(list)
        self._pregnancy: list[tuple[tuple[Any, ...], bool, str]] = []

    def read(self, observation: Observation, _: Entry) -> Refused | None:
        """Take the results of one Observation; None if there was any, else why not."""
        source = source_of("Observation", observation.id)
        if (
            observation.component is ABSENT
            and observation.has_member is ABSENT
            and observation.contained is ABSENT
            and observation.subject in self._own
        ):
            known = self._codes.get(b"" + observation.code)  # `bytes` of a Raw takes twice as long
            if type(known) is Refused:
                return _renamed(known, source=source)
            if type(known) is Known and observation.status in USABLE:
                dated = self._dates.get(observation.effective_date_time) or self._sampling.dated(observation)
                return self._keep(observation, known, source, observation.status, dated, observation)
        return self._carefully(observation, source)

    def report(self, report: DiagnosticReport, _: Entry) -> Refused | None:
        """Take a report of a panel as done; None if it is one, else why not."""
        source = source_of("DiagnosticReport", report.id)
        try:
            concept = loosely(report.code, _CODE) if given(report.code) else BareConcept()
        except UnreadableError:
            return Refused(source, "unreadable", UNREADABLE)
        panels = self._reading.knowledge.panels
        named = (panels.get((coding.system or "", coding.code or "")) for coding in concept.coding or ())
        panel = next(filter(None, named), None)
        if panel is None:
            return Refused(source, "unknown_code", "its code is not among those that are read")
        if not self._is_about_patient(report.subject):
            return other_patient(source, panel.markers)
        whole = Observation(
            status=report.status,
            effective_date_time=report.effective_date_time,
            effective_period=report.effective_period,
            issued=report.issued,
            meta=report.meta,
        )
        return self._panel(whole, source, panel.markers, panel.code)

    def _carefully(self, observation: Observation, source: str) -> Refused | None:
        """The same for an Observation that is not quite like one before."""
        try:
            known = self._known(observation.code)
            if not self._is_about_patient(observation.subject):
                return other_patient(source, markers_of(known))
            if (
                known is None
                or given(observation.component)
                or given(observation.has_member)
                or given(observation.contained)
            ):
                return self._composed(observation, known, source)
            refused = by_status(observation.status, source, markers_of(known))
            if refused is not None:
                return refused
            dated = self._sampling.dated(observation)
            return self._keep(observation, known, source, observation.status, dated, observation)
        except UnreadableError:
            return unreadable(source, self.seen_markers(observation.code))

    def _is_about_patient(self, subject: Raw) -> bool:
        key = bytes(subject)
        about = self._subjects.get(key)
        if about is None:
            reference = loosely(subject, _SUBJECT) if given(subject) else None
            about = self._subjects[key] = self._reading.is_about_patient(reference)
            if about and len(self._own) < MOST_OWN:
                self._own.append(subject)
        return about

    def _composed(self, observation: Observation, known: Known | None, source: str) -> Refused | None:
        """An Observation with other results inside, or of a code that is none of a result."""
        parts = self._parts(observation, known)
        contained = given(observation.contained)
        if not parts and not contained:
            return self._without_result(observation, source, known)
        for _, each in parts[:1]:
            refused = by_status(observation.status, source, markers_of(each))
            if refused is not None:
                return refused
        status, dated = observation.status, self._sampling.dated(observation)
        kept = [self._keep(part, each, source, status, dated, observation) for part, each in parts]
        try:
            kept.extend(self._contained(observation, source) if contained else ())
        except UnreadableError:
            kept.append(Refused(source, "unreadable", "what it contains could not be read", RESULTS, tell=True))
        if not kept:
            return self._without_result(observation, source, known)
        return self._verdict(kept)

    def _verdict(self, kept: list[Refused | None]) -> Refused | None:
        """Used if any part was; then the refused ones are parts, else the first that matters speaks for all."""
        faults = [each for each in kept if each is not None]
        if not faults:
            return None
        first = max(faults, key=lambda fault: fault.tell) if len(faults) == len(kept) else None
        for fault in faults:
            if fault is not first:
                self._reading.part(fault)
        return first

    def _parts(self, observation: Observation, known: Known | None) -> list[tuple[Part, Known]]:
        """The observation itself, if it has a value or nothing inside, and its known components."""
        components = loosely(observation.component, _COMPONENTS) if given(observation.component) else []
        inside = bool(components) or given(observation.has_member)
        parts: list[tuple[Part, Known]] = []
        if known is not None and (not inside or has_value(observation)):
            parts.append((observation, known))
        for component in components:
            each = self._known(component.code)
            if each is not None:
                parts.append((component, each))
        return parts

    def _known(self, raw: Raw) -> Known | None:
        """The result code of a `code`; None if there is none. Raises UnreadableError."""
        key = bytes(raw)
        kept = self._codes.get(key)
        if kept is not None:
            return kept if isinstance(kept, Known) else None
        found = self._match(loosely(raw, _CODE) if given(raw) else BareConcept())
        if found is not None:
            self._codes.keep(key, found, len(key))
        return found

    def _match(self, concept: BareConcept) -> Known | None:
        """The first coding that is a result code; None if there is none, or one of them is denied (1.4)."""
        found = None
        for coding in concept.coding or ():
            known = self._reading.terms.results.get((coding.system, coding.code))
            if known is not None:
                found = found or known
            elif coding.system == LOINC and coding.code in self._reading.terms.denied:
                return None
        return found

    # -- one result ----------------------------------------------------------------------------------

    def _keep(
        self, part: Part, known: Known, source: str, status: Any, dated: Dated, sample: Observation
    ) -> Refused | None:
        """Take one result; `sample` is the Observation that tells of its specimen, issue and update."""
        if part.data_absent_reason is not ABSENT and given(part.data_absent_reason):
            # With a value beside it the resource contradicts itself: neither is believed in silence.
            text, covers = "it says that there is no result", markers_of(known)
            return Refused(source, "not_performed", text, covers, tell=has_value(part))
        laboratory, marker = self._laboratory, known.marker.key
        when, problem = dated
        try:
            value, comparator, reported, unit, fault, inferred, scale = laboratory.value(part, known)
        except UnreadableError:
            return Refused(source, "unreadable", UNREADABLE, frozenset({marker}), tell=True)
        low = high = None
        if part.reference_range is not ABSENT:
            raw = part.reference_range
            usual = laboratory.usual_limits.get(scale.key + raw)
            low, high = usual or laboratory.limits(raw, known, scale, when)
        specimen = sample.specimen
        result = Measurement(  # by position: by name it takes seven times as long, and there are hundreds
            marker,
            None if problem else value,
            when,
            status,
            source,
            known.code.code,
            comparator,
            reported,
            unit,
            problem or fault,
            inferred,
            high,
            low,
            "" if part.interpretation is ABSENT else laboratory.flag(part.interpretation),
            scale.traits,
            "" if specimen is None else specimen.reference or "",
        )
        self._found[marker].append((result, sample))
        return None

    # -- what is no single result --------------------------------------------------------------------

    def _contained(self, parent: Observation, source: str) -> list[Refused | None]:
        """Contained members, each with the parent's status and date where it has none of its own."""
        inside = [each for each in loosely(parent.contained, _RESOURCES) if _is_observation(each)]
        found: list[Refused | None] = []
        for each in inside:
            try:
                found.extend(self._member(decode(each, "Observation"), parent, source))
            except UnreadableError:
                found.append(unreadable(source, self.seen_markers(members(each).get("code", Raw()))))
        return found

    def _member(self, child: Observation, parent: Observation, source: str) -> list[Refused | None]:
        name = f"{source}#{child.id or ''}"
        parts = self._parts(child, self._known(child.code))
        if not parts:
            return []
        if not self._is_about_patient(child.subject):
            return [other_patient(name, markers_of(*(each for _, each in parts)))]
        status = child.status or parent.status
        refused = by_status(status, name, markers_of(parts[0][1]))
        if refused is not None:
            return [refused]
        sample = child if self._sampling.when(child) else parent
        dated = self._sampling.dated(sample)
        return [self._keep(part, each, name, status, dated, sample) for part, each in parts]

    def _without_result(self, observation: Observation, source: str, known: Known | None) -> Refused | None:
        """A panel, a pregnancy status, or a code that is none of ours."""
        key = bytes(observation.code)
        strange = self._codes.get(key)
        if isinstance(strange, Refused):
            return _renamed(strange, source=source)
        refused = self._named_otherwise(observation, source, known)
        if refused is not None and refused.reason in ("unknown_code", "denied_code"):
            self._codes.keep(key, _renamed(refused, source=""), len(key))
        return refused

    def _named_otherwise(self, observation: Observation, source: str, known: Known | None) -> Refused | None:
        concept = loosely(observation.code, _CODE) if given(observation.code) else BareConcept()
        for coding in concept.coding or ():
            key = (coding.system or "", coding.code or "")
            if key in self._reading.terms.pregnancy:
                return self._pregnancy_status(observation, source, self._reading.terms.pregnancy[key])
            panel = self._reading.knowledge.panels.get(key)
            if panel is not None:
                return self._panel(observation, source, panel.markers, panel.code)
            if key[0] == LOINC and key[1] in self._reading.terms.denied:
                return Refused(source, "denied_code", "its code is known to be used wrongly")
        if known is not None:
            return Refused(source, "panel", "its results stand in its members")
        if not any(coding.system and coding.code for coding in concept.coding or ()):
            tell = observation.status not in IGNORED
            return Refused(source, "no_code", "it does not say by a code what was measured", RESULTS, tell=tell)
        return stranger(source, observation.code, self._reading.knowledge.markers)

    def _panel(self, observation: Observation, source: str, markers: frozenset[str], code: str) -> Refused | None:
        inside = given(observation.component) or given(observation.has_member)
        if (inside and not self._panels_count) or observation.status not in USABLE:
            return Refused(source, "panel", "its results stand in its members")
        status: Any = observation.status
        when, doubt = self._sampling.dated(observation)
        problem: Any = doubt or "panel"
        for marker in sorted(markers):
            done = Measurement(marker, None, when, status, source, code, problem=problem)
            self._found[marker].append((done, observation))
        return None

    def _pregnancy_status(
        self, observation: Observation, source: str, meaning: frozenset[tuple[str, str]]
    ) -> Refused | None:
        if observation.status not in USABLE:
            tell = observation.status not in IGNORED | PENDING
            return Refused(source, "status", "its status says that it does not hold", tell=tell)
        when = self._sampling.when(observation)
        if when is not None and when.day > self._sampling.latest:
            return Refused(source, "future", "it is dated in the future")
        raw = observation.value_codeable_concept
        value = loosely(raw, _VALUE) if given(raw) else Concept()
        positive = any((coding.system or "", coding.code or "") in meaning for coding in value.coding or ())
        # The newest one decides, of two of one time the positive one; one without a date is older than any other.
        stamp = when.instant if when and when.instant else LONG_AGO
        self._pregnancy.append(((when.day if when else date.min, stamp, positive, source), positive, source))
        return None

    def seen_markers(self, code: Raw) -> frozenset[str] | None:
        """Markers of an Observation of which nothing but its `code` can be read; None if not even that."""
        try:
            concept = loosely(code, _CODE)
        except UnreadableError:
            return None
        known = self._match(concept)
        if known is not None:
            return markers_of(known)
        found: frozenset[str] | None = None
        for coding in concept.coding or ():
            if coding.code:
                panel = self._reading.knowledge.panels.get((coding.system or "", coding.code))
                found = (found or NOTHING) | (panel.markers if panel else NOTHING)
        return found

    # -- everything together -------------------------------------------------------------------------

    def measurements(self) -> Mapping[str, tuple[Measurement, ...]]:
        """All results by marker, newest first, duplicates merged."""
        return in_order(self._found, self._reading)

    def pregnancy(self) -> tuple[str, ...]:
        """Source of the newest pregnancy status, if that says that the patient is pregnant."""
        if not self._pregnancy:
            return ()
        _, positive, source = max(self._pregnancy)
        return (source,) if positive else ()


def markers_of(*known: Known | None) -> frozenset[str]:
    """The markers of result codes."""
    return frozenset(each.marker.key for each in known if each is not None)


def _is_observation(raw: Raw) -> bool:
    return head_of(raw).resource_type == "Observation"
