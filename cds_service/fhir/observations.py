"""Observation -> Measurement (clinical reference 1.1, 1.2, 1.4, 4.1).

Recognised by system and code alone. A component is read like an Observation of its own that shares status, date
and subject with its parent; so is a contained member of a panel. A panel without members says only that it was
done, and that with the problem `panel`.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any, Literal, NamedTuple

import msgspec
from msgspec import Raw

from cds_service.chart import Measurement, Patient, Refused, When
from cds_service.fhir.admission import UNREADABLE
from cds_service.fhir.dates import add_days
from cds_service.fhir.decoding import UnreadableError, decode, given, head_of, members
from cds_service.fhir.laboratory import Laboratory, against_code, flag_of, has_value
from cds_service.fhir.medications import other_patient
from cds_service.fhir.reading import NOTHING, Reading, source_of
from cds_service.fhir.resources import BareConcept, Component, Observation, Reference
from cds_service.fhir.series import Found, in_order
from cds_service.fhir.terms import LOINC
from cds_service.knowledge.model import Code

USABLE = frozenset({"final", "amended", "corrected"})
PENDING = frozenset({"preliminary", "registered"})
IGNORED = frozenset({"cancelled", "entered-in-error", "unknown"})

_RESOURCES = msgspec.json.Decoder(list[Raw])
_CONCEPT = msgspec.json.Decoder(BareConcept)


class Sample(NamedTuple):
    """What the results of one resource share."""

    source: str
    status: Any
    when: When | None
    problem: Literal["", "undated", "future"]
    specimen: str
    issued: str
    updated: str


class Observations:
    """Collects the results of one chart."""

    def __init__(self, reading: Reading, patient: Patient) -> None:
        """`patient` decides which reference ranges fit."""
        self._reading = reading
        self._patient = patient
        self._codes = reading.terms.results
        self._markers = reading.knowledge.markers
        self._laboratory = Laboratory(dict(reading.knowledge.spellings))
        self._latest = add_days(reading.as_of, 1)
        self._found: list[Found] = []
        self._pregnancy: list[tuple[tuple[Any, ...], bool, str]] = []

    def read(self, observation: Observation) -> Refused | None:
        """Take the results of one Observation; None if there was any, else why not."""
        source = source_of("Observation", observation.id)
        code = self.match(observation.code)
        if not self._reading.is_about_patient(observation.subject):
            return other_patient(source, NOTHING if code is None else frozenset({code.marker}))
        parts = self._parts(observation, code)
        contained = observation.contained and given(observation.contained)
        if not parts and not contained:
            return self._without_result(observation, source, code)
        refused = _by_status(observation.status, source, frozenset(each.marker for _, each in parts))
        if refused is not None:
            return refused
        sample = self._sample(observation, source)
        kept = [self._keep(part, each, sample) for part, each in parts]
        if contained:
            kept.extend(self._contained(observation.contained, observation, source))
        if not kept:
            return self._without_result(observation, source, code)
        return self._verdict(kept)

    def _verdict(self, kept: list[Refused | None]) -> Refused | None:
        """Used if any part was; then the refused ones are parts, else the first speaks for the resource."""
        faults = [each for each in kept if each is not None]
        if not faults:
            return None
        first = max(faults, key=lambda fault: fault.tell) if len(faults) == len(kept) else None
        for fault in faults:
            if fault is not first:
                self._reading.part(fault)
        return first

    def _parts(self, observation: Observation, code: Code | None) -> list[tuple[Component, Code]]:
        """The observation itself, if it has a value or nothing inside, and its known components."""
        inside = bool(observation.component) or given(observation.has_member)
        parts: list[tuple[Component, Code]] = []
        if code is not None and (not inside or has_value(observation)):
            parts.append((observation, code))
        for component in observation.component or ():
            each = self.match(component.code)
            if each is not None:
                parts.append((component, each))
        return parts

    def match(self, concept: BareConcept | None) -> Code | None:
        """The first coding that is a result code; None if there is none, or one of them is denied (1.4)."""
        if concept is None or not concept.coding:
            return None
        found = None
        for coding in concept.coding:
            code = self._codes.get((coding.system, coding.code))
            if code is not None:
                found = found or code
            elif coding.system == LOINC and coding.code in self._reading.terms.denied:
                return None
        return found

    # -- one result ----------------------------------------------------------------------------------

    def _keep(self, part: Component, code: Code, sample: Sample) -> Refused | None:
        absent = part.data_absent_reason
        if absent and given(absent):
            # With a value beside it the resource contradicts itself: neither is believed in silence.
            return Refused(
                sample.source, "not_performed", "it says that there is no result", frozenset({code.marker}),
                tell=has_value(part),
            )
        try:
            self._found.append(Found(self._measurement(part, code, sample), sample.issued, sample.updated))
        except UnreadableError:
            return Refused(sample.source, "unreadable", UNREADABLE, frozenset({code.marker}), tell=True)
        return None

    def _measurement(self, part: Component, code: Code, sample: Sample) -> Measurement:
        marker = self._markers[code.marker]
        read = self._laboratory.value(part, marker, code)
        traits = code.traits
        if read.silent:
            traits |= {"silent"}
        if read.ucum != code.unit and against_code(code, read.ucum):
            traits |= {"unit_against_code"}
        low = high = None
        if part.reference_range:
            low, high = self._laboratory.limits(part.reference_range, marker, read, self._patient, sample.when)
        problem: Any = sample.problem or read.problem
        comparator: Any = read.comparator
        return Measurement(
            marker=code.marker,
            value=None if problem else read.value,
            when=sample.when,
            status=sample.status,
            source=sample.source,
            code=code.code,
            comparator=comparator,
            reported=read.reported,
            reported_unit=read.unit,
            problem=problem,
            unit_inferred=read.inferred,
            reference_high=high,
            reference_low=low,
            interpretation=flag_of(part.interpretation) if part.interpretation else "",
            traits=traits,
            specimen=sample.specimen,
        )

    def _sample(self, observation: Observation, source: str) -> Sample:
        when = self._when(observation)
        problem: Literal["", "undated", "future"] = ""
        if when is None or when.precision == "year":
            when, problem = None, "undated"
        elif when.day > self._latest:
            problem = "future"
        meta = observation.meta
        return Sample(
            source,
            observation.status,
            when,
            problem,
            _named(observation.specimen),
            observation.issued or "",
            (meta.last_updated if meta else None) or "",
        )

    def _when(self, observation: Observation) -> When | None:
        """Date of collection, else of issue (4.1.2). A year alone is a date of collection, only a useless one."""
        read = self._reading.calendar.when
        when = read(observation.effective_date_time)
        if when is None and (period := observation.effective_period) is not None:
            when = read(period.end) or read(period.start)
        when = when or read(observation.effective_instant)
        if when is None and (when := read(observation.issued)) is not None:
            when = msgspec.structs.replace(when, issued=True)
        return when

    # -- what is no single result --------------------------------------------------------------------

    def _contained(self, raw: Raw, parent: Observation, source: str) -> list[Refused | None]:
        """Contained members, each with the parent's status and date where it has none of its own."""
        try:
            inside = [each for each in _RESOURCES.decode(raw) if head_of(each).resource_type == "Observation"]
        except (msgspec.DecodeError, RecursionError):
            return [Refused(source, "unreadable", "what it contains could not be read", NOTHING, tell=True)]
        found: list[Refused | None] = []
        for each in inside:
            try:
                child: Observation = decode(each, "Observation")
            except UnreadableError:
                markers = self.seen_markers(each)
                found.append(Refused(source, "unreadable", UNREADABLE, markers or NOTHING, tell=markers != NOTHING))
                continue
            name = f"{source}#{child.id or ''}"
            sample = self._sample(child if self._when(child) else parent, name)
            status = child.status or parent.status
            parts = self._parts(child, self.match(child.code))
            refused = _by_status(status, name, frozenset(code.marker for _, code in parts)) if parts else None
            if refused is not None:
                found.append(refused)
            elif not self._reading.is_about_patient(child.subject):
                found.append(other_patient(name, frozenset(code.marker for _, code in parts)))
            else:
                found.extend(self._keep(part, code, sample._replace(status=status)) for part, code in parts)
        return found

    def _without_result(self, observation: Observation, source: str, code: Code | None) -> Refused | None:
        """A panel, a pregnancy status, or a code that is none of ours."""
        for coding in (observation.code.coding if observation.code else None) or ():
            key = (coding.system or "", coding.code or "")
            if key in self._reading.terms.pregnancy:
                return self._pregnancy_status(observation, source, self._reading.terms.pregnancy[key])
            panel = self._reading.knowledge.panels.get(key)
            if panel is not None:
                return self._panel(observation, source, panel.markers, panel.code)
            if key[0] == LOINC and key[1] in self._reading.terms.denied:
                return Refused(source, "denied_code", "its code is known to be used wrongly")
        if code is not None:
            return Refused(source, "panel", "its results stand in its members")
        return Refused(source, "unknown_code", "its code is not among those that are read")

    def _panel(
        self, observation: Observation, source: str, markers: frozenset[str], code: str
    ) -> Refused | None:
        if observation.component or given(observation.has_member) or observation.status not in USABLE:
            return Refused(source, "panel", "its results stand in its members")
        sample = self._sample(observation, source)
        for marker in sorted(markers):
            done = Measurement(
                marker=marker,
                value=None,
                when=sample.when,
                status=sample.status,
                source=source,
                code=code,
                problem="panel" if not sample.problem else sample.problem,
            )
            self._found.append(Found(done, sample.issued, sample.updated))
        return None

    def _pregnancy_status(
        self, observation: Observation, source: str, meaning: frozenset[tuple[str, str]]
    ) -> Refused | None:
        refused = _by_status(observation.status, source, NOTHING)
        if refused is not None or observation.status in PENDING:
            return refused or Refused(source, "not_final", "it is not final")
        when = self._when(observation)
        if when is not None and when.day > self._latest:
            return Refused(source, "future", "it is dated in the future")
        value = observation.value_codeable_concept
        positive = any((c.system or "", c.code or "") in meaning for c in (value.coding if value else None) or ())
        # The newest one decides; of two of one time the positive one, of an undated one nothing is newer known.
        stamp = when.instant.timestamp() if when and when.instant else float("-inf")
        self._pregnancy.append(((when.day if when else date.min, stamp, positive, source), positive, source))
        return None

    def seen_markers(self, raw: Raw) -> frozenset[str] | None:
        """Markers of an Observation of which nothing but the code can be read; None if not even that."""
        try:
            concept = _CONCEPT.decode(members(raw).get("code", Raw(b"null")))
        except (msgspec.DecodeError, RecursionError, UnreadableError):
            return None
        code = self.match(concept)
        if code is not None:
            return frozenset({code.marker})
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
        newest = max(self._pregnancy, default=None)
        return (newest[2],) if newest is not None and newest[1] else ()


def _by_status(status: str | None, source: str, markers: frozenset[str]) -> Refused | None:
    if status in USABLE or status in PENDING:
        return None
    if status in IGNORED:
        return Refused(source, "status", f"its status is {status}", markers)
    return Refused(source, "no_status", "it has no known status", markers, tell=True)


def _named(reference: Reference | None) -> str:
    return (reference.reference or "") if reference is not None else ""
