"""What a laboratory says about one number: its unit, its reference range, its own judgement (1.1, 4.1.7, 4.1.8)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import msgspec
from msgspec import Raw

from cds_service.chart import Patient, When, years_between
from cds_service.fhir.decoding import UnreadableError, given, loosely, number
from cds_service.fhir.resources import AgeRange, Concept, Part, Quantity, ReferenceRange
from cds_service.fhir.scales import Known, Scale
from cds_service.fhir.terms import Limits, Terms
from cds_service.knowledge.systems import UCUM
from cds_service.knowledge.units import infer_unit, plausible, resolve_unit, to_canonical

COMPARATORS = frozenset({"<", "<=", ">", ">=", "ad"})
INTERPRETATION = ("ObservationInterpretation", "v2/0078", "v2-0078")
GENDER = (
    "http://hl7.org/fhir/administrative-gender",
    "http://terminology.hl7.org/CodeSystem/v3-AdministrativeGender",
)
SEX = {"male": "male", "M": "male", "female": "female", "F": "female"}
YEAR = "a"
"""The unit of time in which ages are counted."""

_CONCEPTS = msgspec.json.Decoder(list[Concept])
_CONCEPT = msgspec.json.Decoder(Concept)
_RANGES = msgspec.json.Decoder(list[ReferenceRange])

_NUMBER_IN_TEXT = re.compile(r"(<=|>=|[<>≤≥])?\s*([+-]?[0-9]+(?:\.[0-9]+)?)\s*(.*)", re.DOTALL)
_SIGNS = {"≤": "<=", "≥": ">="}
_MOST_TEXT = 60


Value = tuple[Decimal | None, Any, str, str, Any, bool, Scale]
"""A result as far as it can be compared: value in the marker's unit (else None), comparator, value and unit as
reported, why it cannot be compared ('' if it can), whether the unit was inferred, and the scale."""


class Laboratory:
    """Reads the values of one chart; what many results have in common is looked at once."""

    def __init__(self, terms: Terms, patient: Patient) -> None:
        """`patient` decides which reference ranges fit."""
        self._terms = terms
        self._patient = patient
        self._units: dict[tuple[str | None, str | None, str | None], str | None] = {}
        self._flags = terms.flags
        self.usual_limits = terms.limits
        """What `limits` finds for ranges that hold for everybody: by the key of the scale and the JSON."""
        self._ranges: dict[bytes, list[ReferenceRange]] = {}
        self._limits: dict[bytes, Limits] = {}

    # -- value and unit ------------------------------------------------------------------------------

    def value(self, part: Part, known: Known) -> Value:
        """The value of an Observation or component, by the unit rules of 1.1. Raises UnreadableError."""
        quantity = part.value_quantity
        if quantity is None:
            return self._other(part, known)
        code = quantity.code
        # A UCUM unit is a spelling of itself: the most frequent ones need no look into the table of spellings.
        scale = known.scales.get(code) if code and quantity.system == UCUM else None
        if scale is None:
            scale = known.scale(self._ucum(quantity))
        unit = quantity.unit or code or ""
        try:
            value, text = number(quantity.value)
        except UnreadableError:
            if given(quantity.value):
                raise
            return None, "", "", unit, "no_value", False, scale
        if quantity.comparator is None and scale.low <= value <= scale.high:  # `_judge` would say the same
            return value, "", text, unit, "", False, scale
        comparator = quantity.comparator or ""
        if comparator and comparator not in COMPARATORS:
            comparator = "ad"
        return _judge(value, comparator, text, unit, scale, known)

    def _ucum(self, quantity: Quantity) -> str | None:
        key = (quantity.system, quantity.code, quantity.unit)
        found = self._units.get(key, "?")
        if found == "?":
            spellings = self._terms.knowledge.spellings
            unit, code = quantity.unit or "", quantity.code or ""
            found = resolve_unit(unit, quantity.system or "", code, spellings)
            if found is None and code and unit:  # a code that is no unit at all says nothing against the text
                found = resolve_unit(unit, "", "", spellings)
            self._units[key] = found
        return found

    def _other(self, part: Part, known: Known) -> Value:
        """Values that are no Quantity: a number in a string may be compared, the others may not."""
        scale = known.scale("")
        problem, reported = "text" if has_value(part) else "no_value", ""
        if part.value_string is not None:
            return self._from_text(part.value_string, known)
        if given(part.value_integer):
            value, text = number(part.value_integer)
            return _judge(value, "", text, "", scale, known)
        if given(part.value_codeable_concept):
            reported = _words(loosely(part.value_codeable_concept, _CONCEPT))[:_MOST_TEXT]
        elif given(part.value_range) or given(part.value_ratio):
            problem = "range"
        return None, "", reported, "", "no_value" if scale.silent else problem, False, scale

    def _from_text(self, text: str, known: Known) -> Value:
        """`<0.1`, `> 150`, `0.1 ng/mL`; anything else was done and cannot be compared."""
        plain = text.strip()
        match = _NUMBER_IN_TEXT.fullmatch(plain) if len(plain) <= _MOST_TEXT else None
        scale = known.scale(self._ucum(Quantity(unit=match[3] if match else None)))
        if match is None or (scale.ucum is None and not scale.silent):
            return None, "", plain[:_MOST_TEXT], "", "no_value" if scale.silent else "text", False, scale
        sign = match[1] or ""
        return _judge(Decimal(match[2]), _SIGNS.get(sign, sign), match[2], match[3], scale, known)

    # -- reference range and flag --------------------------------------------------------------------

    def limits(self, raw: Raw, known: Known, scale: Scale, when: When | None) -> Limits:
        """Low and high end for this patient in the marker's unit; None where there is none or two differ.

        A range for just this sex or age goes before one for everybody. An end without a unit of its own is in
        the unit of the result, that of `scale`.
        """
        key = scale.key + raw
        found = self.usual_limits.get(key) or self._limits.get(key)
        if found is None:
            ranges = self._ranges_in(raw)
            found = self._fitting(ranges, known, scale.ucum, when)
            if len(ranges) == 1 and _is_plain(ranges[0]):
                self.usual_limits.keep(key, found, len(key))
            elif all(each.age is None for each in ranges):  # else it depends on the day of the sample
                self._limits[key] = found
        return found

    def _ranges_in(self, raw: Raw) -> list[ReferenceRange]:
        key = bytes(raw)
        ranges = self._ranges.get(key)
        if ranges is None:
            try:
                ranges = loosely(raw, _RANGES)
            except UnreadableError:
                ranges = []
            self._ranges[key] = ranges
        return ranges

    def _fitting(
        self, ranges: Sequence[ReferenceRange], known: Known, ucum: str | None, when: When | None
    ) -> Limits:
        if len(ranges) == 1 and _is_plain(ranges[0]):
            return self._end(ranges[0].low, known, ucum), self._end(ranges[0].high, known, ucum)
        fitting = [each for each in ranges if _is_normal(each) and self._fits(each, when)]
        narrow = [each for each in fitting if each.applies_to or each.age is not None]
        ends = ((each.low, each.high) for each in narrow or fitting)
        found = {(self._end(low, known, ucum), self._end(high, known, ucum)) for low, high in ends}
        found.discard((None, None))
        return found.pop() if len(found) == 1 else (None, None)

    def _fits(self, each: ReferenceRange, when: When | None) -> bool:
        if not _fits_sex(each.applies_to or (), self._patient):
            return False
        return each.age is None or _fits_age(each.age, self._patient, when, self._terms.knowledge.time_units)

    def _end(self, quantity: Quantity | None, known: Known, ucum: str | None) -> Decimal | None:
        if quantity is None or not given(quantity.value):
            return None
        unit = known.scale(self._ucum(quantity)).ucum
        if unit == "":
            unit = ucum
        if unit is None or unit not in known.marker.factors:
            return None
        try:
            value, _ = number(quantity.value)
        except UnreadableError:
            return None
        return value if unit == known.marker.unit else to_canonical(known.marker, value, unit)

    def flag(self, raw: Raw) -> str:
        """The laboratory's own judgement as a code, '' for none that is known."""
        key = b"" + raw
        flag = self._flags.get(key)
        if flag is None:
            flag = _flag_of(raw, self._terms.knowledge.flags)
            self._flags.keep(key, flag, len(key))
        return flag


def _judge(value: Decimal, comparator: str, text: str, unit: str, scale: Scale, known: Known) -> Value:
    """A number in the marker's unit, if it is a plausible one."""
    marker, inferred = known.marker, False
    if scale.problem == "no_unit" and (guess := infer_unit(marker, value)):
        scale, inferred = known.scale(guess), True
    reported = comparator + text if comparator else text
    if scale.problem:
        return None, comparator, reported, unit, scale.problem, False, scale
    if scale.convert:
        value = to_canonical(marker, value, scale.ucum or "")
    if not plausible(marker, value):
        return None, comparator, reported, unit, "implausible", False, scale
    return value, comparator, reported, unit, "", inferred, scale


def _is_plain(each: ReferenceRange) -> bool:
    return each.type is None and each.applies_to is None and each.age is None


def _is_normal(each: ReferenceRange) -> bool:
    kind = each.type
    if kind is None:
        return True
    codes = [coding.code for coding in kind.coding or () if coding.code]
    return "normal" in codes if codes else (kind.text or "normal").strip().casefold() in ("normal", "normal range")


def _fits_sex(populations: Sequence[Concept], patient: Patient) -> bool:
    """Only a sex can be judged: a range for anything else (a race, a pregnancy) does not match."""
    for population in populations:
        sexes = {SEX.get(coding.code or "") for coding in population.coding or () if coding.system in GENDER}
        if patient.sex is None or sexes != {patient.sex}:
            return False
    return True


def _fits_age(age: AgeRange, patient: Patient, when: When | None, time_units: Mapping[str, int]) -> bool:
    if patient.birth is None or when is None:
        return False
    low, high = _years(age.low, time_units), _years(age.high, time_units)
    if (age.low and low is None) or (age.high and high is None):
        return False
    ages = (years_between(patient.birth.last_day, when.day), years_between(patient.birth.day, when.last_day))
    return all((low is None or low <= years) and (high is None or years <= high) for years in ages)


def _years(quantity: Quantity | None, time_units: Mapping[str, int]) -> Decimal | None:
    unit = "" if quantity is None else (quantity.code or quantity.unit or "").strip().casefold()
    if quantity is None or time_units.get(unit) != time_units[YEAR]:
        return None
    try:
        return number(quantity.value)[0]
    except UnreadableError:
        return None


def _flag_of(raw: Raw, flags: Sequence[str]) -> str:
    try:
        concepts = loosely(raw, _CONCEPTS)
    except UnreadableError:
        return ""
    found: set[str | None] = {
        coding.code
        for concept in concepts
        for coding in concept.coding or ()
        if coding.system is None or any(part in coding.system for part in INTERPRETATION)
    }
    found.update((concept.text or "").strip().upper() for concept in concepts if not concept.coding)
    return next((flag for flag in flags if flag in found), "")


def _words(concept: Concept) -> str:
    return (concept.text or next((c.display for c in concept.coding or () if c.display), None) or "").strip()


def has_value(part: Part) -> bool:
    """True if there is a value of any kind, readable or not."""
    return (
        part.value_quantity is not None
        or part.value_string is not None
        or any(
            given(raw)
            for raw in (
                part.value_codeable_concept,
                part.value_integer,
                part.value_range,
                part.value_ratio,
                part.value_boolean,
                part.value_date_time,
                part.value_time,
                part.value_period,
                part.value_sampled_data,
            )
        )
    )
