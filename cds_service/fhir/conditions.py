"""Condition, Procedure and Device -> what rules ask for, by concept (clinical reference 2.4)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

from cds_service.chart import Condition, Procedure, Refused, When
from cds_service.fhir import resources as fhir
from cds_service.fhir.medications import other_patient
from cds_service.fhir.reading import NOTHING, Entry, Reading, source_of
from cds_service.fhir.resources import Coding, Concept
from cds_service.fhir.terms import fold

CONDITIONS = frozenset({"conditions"})
PROCEDURES = frozenset({"procedures"})

PAST = frozenset({"inactive", "remission", "resolved"})
RULED_OUT = frozenset({"refuted", "entered-in-error"})
UNCERTAIN = frozenset({"provisional", "differential", "unconfirmed"})
DONE = frozenset({"completed", "in-progress"})
IN_USE = frozenset({"active", None})

_NO_CODING = Coding()


class Conditions:
    """Collects the diagnoses and procedures of one chart."""

    def __init__(self, reading: Reading) -> None:
        """Nothing is found yet."""
        self.conditions: list[Condition] = []
        self.procedures: list[Procedure] = []
        self._taken_out: list[tuple[frozenset[str], When | None]] = []
        self._reading = reading

    def condition(self, record: fhir.Diagnosis, _: Entry) -> Refused | None:
        """A diagnosis. Without a clinical status it is active, unless it says when it ended."""
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
        when = self._reading.calendar.when
        period = record.onset_period
        self.conditions.append(
            Condition(
                concepts=concepts,
                active=not past and self._is_active(record),
                uncertain=not verified.isdisjoint(UNCERTAIN),
                name=_name(record.code, code),
                source=source,
                onset=when(record.onset_date_time) or (when(period.start) if period else None),
                recorded=when(record.recorded_date),
                abated=when(record.abatement_date_time),
                past=past,
                code=code.code or "",
            )
        )
        return None

    def _is_active(self, record: fhir.Diagnosis) -> bool:
        """A status that is not known is no reason to overlook a diagnosis."""
        words = _words(record.clinical_status)
        if words:
            return words.isdisjoint(PAST)
        ended: date | None = self._reading.calendar.last_day(record.abatement_date_time)
        return ended is None or ended > self._reading.as_of

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
        named: set[str] = set()
        undone: set[str] = set()
        for text in _texts(concept):
            folded = fold(text)
            for known in self._reading.terms.named:
                if known.words_count is counts and known.words and known.words.search(folded):
                    gone = known.undone is not None and known.undone.search(folded) is not None
                    (undone if gone else named).add(known.key)
        return frozenset(named - undone), frozenset(undone)

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


def _texts(concept: Concept | None) -> list[str]:
    """Everything that people wrote for a concept."""
    written = [concept.text if concept is not None else None, *[coding.display for coding in _codings(concept)]]
    return [text for text in written if text]


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
