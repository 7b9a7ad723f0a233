"""Condition, Procedure and Device -> what rules ask for, by concept (clinical reference 2.4)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

import msgspec

from cds_service.chart import Condition, Procedure, Refused, When
from cds_service.fhir import resources as fhir
from cds_service.fhir.decoding import UnreadableError, given, loosely
from cds_service.fhir.medications import other_patient
from cds_service.fhir.reading import NOTHING, Entry, Reading, source_of
from cds_service.fhir.resources import Coding, Concept
from cds_service.knowledge.statuses import DONE, PAST, RULED_OUT

CONDITIONS = frozenset({"conditions"})
PROCEDURES = frozenset({"procedures"})

UNCERTAIN = frozenset({"provisional", "differential", "unconfirmed"})
IN_USE = frozenset({"active", None})

_NO_CODING = Coding()
_PERIOD = msgspec.json.Decoder(fhir.Period)
_TEXT = msgspec.json.Decoder(str)
_BOOLEANS = {b"true": True, b"false": False}


class Conditions:
    """Collects the diagnoses and procedures of one chart."""

    def __init__(self, reading: Reading) -> None:
        """Nothing is found yet."""
        self.conditions: list[Condition] = []
        self.procedures: list[Procedure] = []
        self._taken_out: list[tuple[frozenset[str], When | None]] = []
        self._reading = reading

    def condition(self, record: fhir.Diagnosis, _: Entry) -> Refused | None:
        """A diagnosis. A status that is not known is no reason to overlook it; without one its end decides."""
        source = source_of("Condition", record.id)
        if not self._reading.is_about_patient(record.subject):
            return other_patient(source, CONDITIONS)
        concepts, past, code = self._match(record.code)
        if not concepts and _is_coded(record.code):
            return self._named_only(source, record.code, tell=True)
        verified = _words(record.verification_status)
        ruled_out = not verified.isdisjoint(RULED_OUT)
        if not concepts:
            text = "it does not say by a code which diagnosis it is"
            return Refused(source, "no_code", text, CONDITIONS, tell=not ruled_out)
        if ruled_out:
            return Refused(source, "ruled_out", "it was refuted or entered in error")
        recorded, abated = self._reading.calendar.when(record.recorded_date), self._abated(record)
        status = _words(record.clinical_status)
        over = not status.isdisjoint(PAST) if status else self._is_over(record, abated)
        self.conditions.append(
            Condition(
                concepts=concepts,
                active=not past and not over,
                uncertain=not verified.isdisjoint(UNCERTAIN),
                name=_name(record.code, code),
                source=source,
                onset=self._onset(record, recorded),
                recorded=recorded,
                abated=abated,
                past=past,
                code=code.code or "",
                end_unknown=over is None and not past,
            )
        )
        return None

    def _onset(self, record: fhir.Diagnosis, recorded: When | None) -> When | None:
        """Its date, or some day of its period: what has no end there had begun when it was recorded."""
        if record.onset_period is None:
            return self._reading.calendar.when(record.onset_date_time)
        return self._some_day(record.onset_period, recorded.last_day if recorded else self._reading.as_of)

    def _abated(self, record: fhir.Diagnosis) -> When | None:
        """Its date, or some day of its period; None if neither can be read."""
        try:
            if given(record.abatement_period):
                return self._some_day(loosely(record.abatement_period, _PERIOD), date.max)
            if given(record.abatement_date_time):
                return self._reading.calendar.when(loosely(record.abatement_date_time, _TEXT))
        except UnreadableError:
            pass
        return None

    def _some_day(self, period: fhir.Period, latest: date) -> When | None:
        """A day of the period, `latest` where it does not end; None for one that does not begin."""
        begin, end = self._reading.calendar.when(period.start), self._reading.calendar.last_day(period.end)
        if begin is None:
            return None
        last_day = max(begin.last_day, latest if end is None else end)
        return begin if last_day == begin.last_day else When(begin.day, last_day, "period")

    def _is_over(self, record: fhir.Diagnosis, abated: When | None) -> bool | None:
        """Whether a diagnosis without a clinical status has ended; None if its end cannot be placed.

        An age, a range of ages or words are an end, but none that can be compared with today.
        """
        stated = _BOOLEANS.get(bytes(record.abatement_boolean))
        if stated is not None:
            return stated
        if abated is None:
            ends = (
                record.abatement_date_time,
                record.abatement_period,
                record.abatement_boolean,
                record.abatement_age,
                record.abatement_range,
                record.abatement_string,
            )
            return None if any(given(each) for each in ends) else False
        if abated.last_day <= self._reading.as_of:
            return True
        return None if abated.day <= self._reading.as_of else False

    def procedure(self, record: fhir.ProcedureResource, _: Entry) -> Refused | None:
        """A procedure that was done or is going on."""
        source = source_of("Procedure", record.id)
        if not self._reading.is_about_patient(record.subject):
            return other_patient(source, PROCEDURES)
        return self._done(source, record.code, record.status in DONE, self._performed(record))

    def _done(self, source: str, concept: Concept | None, done: bool, when: When | None = None) -> Refused | None:
        """Keep a procedure or device by its code, else by words where these count (2.1: intrauterine devices)."""
        concepts, _past, code = self._match(concept)
        if not concepts:
            named, undone = self._named(concept, counts=True)
            if undone and done:
                self._taken_out.append((undone, when))
            if not named:
                return self._named_only(source, concept, tell=done)
            concepts = named
        if not done:
            return Refused(source, "not_done", "its status does not say that it was done or is in use")
        self.procedures.append(Procedure(concepts, _name(concept, code), source, when))
        return None

    def in_place(self) -> list[Procedure]:
        """The procedures and devices; of what may have been taken out since, nothing is known."""
        kept = []
        for procedure in self.procedures:
            out = [when for concepts, when in self._taken_out if concepts & procedure.concepts]
            if any(when is None or procedure.when is None or when.last_day >= procedure.when.day for when in out):
                text = "it may have been taken out again"
                told = Refused(procedure.source, "taken_out", text, procedure.concepts, tell=True, part=True)
                self._reading.refused.append(told)
            else:
                kept.append(procedure)
        return kept

    def _named(self, concept: Concept | None, counts: bool) -> tuple[frozenset[str], frozenset[str]]:
        """Concepts that the words name, and those of which they say that it was taken out or not done."""
        terms = self._reading.terms
        named = undone = NOTHING
        displays = {coding.display for coding in _codings(concept) if coding.display}
        for display in displays:
            words = terms.words_of_display(display, counts)
            named, undone = named | words.named, undone | words.undone
        if concept is not None and concept.text and concept.text not in displays:
            words = terms.words_of(concept.text, counts)
            named, undone = named | words.named, undone | words.undone
        return named - undone, undone

    def _named_only(self, source: str, concept: Concept | None, tell: bool) -> Refused:
        """What has no code of ours: told where its words name something that a rule asks for."""
        named, _ = self._named(concept, counts=False)
        if named:
            return Refused(
                source, "named_only", "it is named in words, without a code that is known", named, tell=tell
            )
        return Refused(source, "unknown_code", "it belongs to no concept of the rules")

    def _performed(self, record: fhir.ProcedureResource) -> When | None:
        period = record.performed_period or record.occurrence_period or fhir.Period()
        when = self._reading.calendar.when
        return (
            when(record.performed_date_time)
            or when(record.occurrence_date_time)
            or when(period.start)
            or when(period.end)
        )

    def device(self, record: fhir.DeviceResource, _: Entry) -> Refused | None:
        """A device that the patient has."""
        source = source_of("Device", record.id)
        if not self._reading.is_about_patient(record.patient):
            return other_patient(source, PROCEDURES)
        return self._done(source, record.type, record.status in IN_USE)

    def _match(self, concept: Concept | None) -> tuple[frozenset[str], bool, Coding]:
        """Concepts of all codings, whether all are past by their rubric, and the first coding that counts."""
        found: frozenset[str] = NOTHING
        past, first = True, _NO_CODING
        for coding in _codings(concept):
            match = self._reading.terms.diagnosis(coding.system, coding.code)
            if match is None:
                continue
            first = first if found else coding
            found |= match.concepts
            past = past and match.past
        return found, past and bool(found), first


def _codings(concept: Concept | None) -> Sequence[Coding]:
    return (concept.coding if concept is not None else None) or ()


def _is_coded(concept: Concept | None) -> bool:
    """True if a coding names a code of a code system, known to the rules or not."""
    return bool([coding for coding in _codings(concept) if coding.system and coding.code])


def _words(status: Concept | str | None) -> set[str]:
    """The codes of a status, or its text where it has none; older releases send a plain code."""
    if status is None:
        return set()
    if isinstance(status, str):
        return {status.strip().casefold()} - {""}
    codes = {coding.code for coding in status.coding or () if coding.code}
    return codes or {(status.text or "").strip().casefold()} - {""}


def _name(concept: Concept | None, coding: Coding) -> str:
    return (concept.text if concept else None) or coding.display or coding.code or ""
