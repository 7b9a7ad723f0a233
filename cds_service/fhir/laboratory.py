"""What a laboratory says about one number: its unit, its reference range, its own judgement (1.1, 4.1.7, 4.1.8)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from typing import NamedTuple

from cds_service.chart import Patient, When
from cds_service.fhir.decoding import UnreadableError, given, number
from cds_service.fhir.resources import AgeRange, Component, Concept, Quantity, ReferenceRange
from cds_service.knowledge.model import Code, Marker
from cds_service.knowledge.units import infer_unit, plausible, resolve_unit, to_canonical

COMPARATORS = frozenset({"<", "<=", ">", ">=", "ad"})
FLAGS = ("HH", "LL", "AA", "H", "L", "A", "HU", "LU", "POS", "NEG", "N")
"""Interpretation codes that are kept, those that add a line to a card first."""
INTERPRETATION = ("ObservationInterpretation", "v2/0078", "v2-0078")
GENDER = ("http://hl7.org/fhir/administrative-gender", "http://terminology.hl7.org/CodeSystem/v3-AdministrativeGender")
SEX = {"male": "male", "M": "male", "female": "female", "F": "female"}
YEARS = frozenset({"a", "year", "years", "yr", "yrs", "y"})

_NUMBER_IN_TEXT = re.compile(r"(<=|>=|[<>≤≥])?\s*([+-]?[0-9]+(?:\.[0-9]+)?)\s*(.*)", re.DOTALL)
_SIGNS = {"≤": "<=", "≥": ">="}
_MOST_TEXT = 60


class Value(NamedTuple):
    """A result as far as it can be compared: `value` in the marker's unit, else None and the `problem`."""

    value: Decimal | None
    comparator: str
    reported: str
    unit: str
    problem: str
    ucum: str = ""
    inferred: bool = False
    silent: bool = False


class Laboratory:
    """Reads values for one chart; each unit is looked up once."""

    def __init__(self, spellings: dict[str, str]) -> None:
        """`spellings` leads from a normalised unit to UCUM."""
        self._spellings = spellings
        self._units: dict[tuple[str | None, str | None, str | None], str | None] = {}

    def value(self, part: Component, marker: Marker, code: Code) -> Value:
        """The value of an Observation or component, by the unit rules of 1.1. Raises UnreadableError."""
        found = self._quantity(part.value_quantity, marker) if part.value_quantity else self._other(part, marker)
        if found.silent or "mass_reported" in code.traits:
            return found._replace(value=None, problem="no_value", silent=True)
        return found

    def _other(self, part: Component, marker: Marker) -> Value:
        if part.value_string is not None:
            return self._from_text(part.value_string, marker)
        if given(part.value_integer):
            value, text = number(part.value_integer)
            return self._judge(marker, value, "", text, "", "")
        if part.value_codeable_concept is not None:
            return Value(None, "", _words(part.value_codeable_concept)[:_MOST_TEXT], "", "text")
        if given(part.value_range) or given(part.value_ratio):
            return Value(None, "", "", "", "range")
        return Value(None, "", "", "", "text" if has_value(part) else "no_value")

    def _quantity(self, quantity: Quantity, marker: Marker) -> Value:
        unit = quantity.unit or quantity.code or ""
        if not given(quantity.value):
            return Value(None, "", "", unit, "no_value")
        value, text = number(quantity.value)
        comparator = quantity.comparator or ""
        if comparator and comparator not in COMPARATORS:
            comparator = "ad"
        return self._judge(marker, value, comparator, text, unit, self._ucum(quantity))

    def _ucum(self, quantity: Quantity) -> str | None:
        key = (quantity.system, quantity.code, quantity.unit)
        try:
            return self._units[key]
        except KeyError:
            pass
        unit, code = quantity.unit or "", quantity.code or ""
        found = resolve_unit(unit, quantity.system or "", code, self._spellings)
        if found is None and code and unit:  # a code that is no unit at all says nothing against the text
            found = resolve_unit(unit, "", "", self._spellings)
        self._units[key] = found
        return found

    def _judge(
        self, marker: Marker, value: Decimal, comparator: str, text: str, unit: str, ucum: str | None
    ) -> Value:
        inferred = False
        if ucum == "" and marker.infer:
            ucum = infer_unit(marker, value)
            inferred = bool(ucum)
        problem, canonical = "", value
        if ucum is None or not marker.unit:
            problem = "unknown_unit" if marker.unit else "text"
        elif ucum == "":
            problem = "no_unit"
        elif ucum != marker.unit:
            if ucum in marker.factors:
                canonical = to_canonical(marker, value, ucum)
            elif ucum in marker.not_converted:
                return Value(None, comparator, comparator + text, unit, "", ucum, silent=True)
            else:
                problem = "unknown_unit"
        if not problem and not plausible(marker, canonical):
            problem = "implausible"
        if problem:
            return Value(None, comparator, comparator + text, unit, problem, ucum or "")
        return Value(canonical, comparator, comparator + text, unit, "", ucum or "", inferred)

    def _from_text(self, text: str, marker: Marker) -> Value:
        """`<0.1`, `> 150`, `0.1 ng/mL`; anything else was done and cannot be compared."""
        plain = text.strip()
        match = _NUMBER_IN_TEXT.fullmatch(plain) if len(plain) <= _MOST_TEXT and marker.unit else None
        ucum = resolve_unit(match[3], "", "", self._spellings) if match else None
        if match is None or ucum is None:
            return Value(None, "", plain[:_MOST_TEXT], "", "text")
        sign = match[1] or ""
        return self._judge(marker, Decimal(match[2]), _SIGNS.get(sign, sign), match[2], match[3], ucum)

    # -- reference range -----------------------------------------------------------------------------

    def limits(
        self, ranges: Sequence[ReferenceRange], marker: Marker, value: Value, patient: Patient, when: When | None
    ) -> tuple[Decimal | None, Decimal | None]:
        """Low and high end for this patient in the marker's unit; None where there is none or two differ.

        A range for just this sex or age goes before one for everybody.
        """
        fitting = [each for each in ranges if _is_normal(each) and _fits(each, patient, when)]
        narrow = [each for each in fitting if each.applies_to or each.age is not None]
        found = {
            (self._limit(each.low, marker, value), self._limit(each.high, marker, value))
            for each in narrow or fitting
        } - {(None, None)}
        return found.pop() if len(found) == 1 else (None, None)

    def _limit(self, quantity: Quantity | None, marker: Marker, value: Value) -> Decimal | None:
        """One end; without a unit of its own it is in the unit of the result."""
        if quantity is None or not given(quantity.value):
            return None
        ucum = self._ucum(quantity)
        if ucum == "":
            ucum = value.ucum
        if ucum is None or ucum not in marker.factors:
            return None
        try:
            limit, _ = number(quantity.value)
        except UnreadableError:
            return None
        return limit if ucum == marker.unit else to_canonical(marker, limit, ucum)


def _is_normal(each: ReferenceRange) -> bool:
    kind = each.type
    if kind is None:
        return True
    codes = [coding.code for coding in kind.coding or () if coding.code]
    return "normal" in codes if codes else (kind.text or "normal").strip().casefold() in ("normal", "normal range")


def _fits(each: ReferenceRange, patient: Patient, when: When | None) -> bool:
    return _fits_sex(each.applies_to or (), patient) and (each.age is None or _fits_age(each.age, patient, when))


def _fits_sex(populations: Sequence[Concept], patient: Patient) -> bool:
    """Only a sex can be judged: a range for anything else (a race, a pregnancy) does not match."""
    for population in populations:
        sexes = {SEX.get(coding.code or "") for coding in population.coding or () if coding.system in GENDER}
        if patient.sex is None or sexes != {patient.sex}:
            return False
    return True


def _fits_age(age: AgeRange, patient: Patient, when: When | None) -> bool:
    if patient.birth is None or when is None:
        return False
    low, high = _years(age.low), _years(age.high)
    if (age.low and low is None) or (age.high and high is None):
        return False
    ages = (_completed(patient.birth.last_day, when.day), _completed(patient.birth.day, when.last_day))
    return all((low is None or low <= years) and (high is None or years <= high) for years in ages)


def _years(quantity: Quantity | None) -> Decimal | None:
    if quantity is None or (quantity.code or quantity.unit or "").strip().casefold() not in YEARS:
        return None
    try:
        return number(quantity.value)[0]
    except UnreadableError:
        return None


def _completed(first: date, last: date) -> int:
    return last.year - first.year - ((last.month, last.day) < (first.month, first.day))


def flag_of(concepts: Sequence[Concept]) -> str:
    """The laboratory's own judgement as a code, '' for none that is known."""
    found = {
        coding.code
        for concept in concepts
        for coding in concept.coding or ()
        if coding.system is None or any(part in coding.system for part in INTERPRETATION)
    }
    found.update((concept.text or "").strip().upper() for concept in concepts if not concept.coding)
    return next((flag for flag in FLAGS if flag in found), "")


def _words(concept: Concept) -> str:
    return (concept.text or next((c.display for c in concept.coding or () if c.display), None) or "").strip()


def has_value(part: Component) -> bool:
    """True if there is a value of any kind, readable or not."""
    return (
        part.value_quantity is not None
        or part.value_string is not None
        or part.value_codeable_concept is not None
        or any(
            given(raw)
            for raw in (
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


def against_code(code: Code, ucum: str) -> bool:
    """True if a molar code came with a mass unit or the reverse (DQ-3: logged, the unit wins)."""
    kinds = {_kind(code.unit), _kind(ucum)}
    return kinds == {"mass", "molar"}


def _kind(unit: str) -> str:
    if "mol/" in unit or "eq/" in unit:
        return "molar"
    return "mass" if "g/" in unit else ""
