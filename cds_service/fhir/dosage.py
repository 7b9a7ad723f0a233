"""How much, how often, which way: dose text, mg per week, dose form, days of supply."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from functools import lru_cache
from math import gcd

import msgspec
from msgspec import Raw

from cds_service.chart import Form
from cds_service.fhir.decoding import SHORT, UnreadableError, given, loosely, number
from cds_service.fhir.recognition import Drug
from cds_service.fhir.resources import Concept, DispenseRequest, Dosage, Period, Quantity, Repeat
from cds_service.fhir.terms import fold
from cds_service.knowledge.model import Knowledge

DAY, WEEK = "d", "wk"
"""The units of time in which supplies and doses are counted."""
_MOST_DAYS = 36525

_PER_ML = re.compile(r"(\d+(?:\.\d+)?) ?mg/ml\b")
_STRENGTH = re.compile(r"(\d+(?:\.\d+)?) ?(mg|mcg|ug|g|ml|unt|units?|iu|mmol|%|hr)(?!\w)(?:/([a-z]+))?")
_MICROGRAM = {"mcg": "ug"}

_DOSAGES = msgspec.json.Decoder(list[Dosage])
_SUPPLY = msgspec.json.Decoder(DispenseRequest)


class Dose(msgspec.Struct, frozen=True, gc=False):
    """The dose of one record."""

    text: str
    """As the chart has it, else put together from its parts."""
    words: str
    """As the chart has it, '' if it has no words for it."""
    weekly_mg: Decimal | None = None
    amount: tuple[str | int, ...] = ()
    """Amount, unit and doses a week as numbers; () where they are not given as such."""


def dosages_in(raw: Raw) -> list[Dosage]:
    """`dosageInstruction`; none where it is absent or cannot be read."""
    try:
        return loosely(raw, _DOSAGES) if given(raw) else []
    except UnreadableError:
        return []


def supply_in(raw: Raw) -> DispenseRequest | None:
    """`dispenseRequest`; None where it is absent or cannot be read."""
    try:
        return loosely(raw, _SUPPLY) if given(raw) else None
    except UnreadableError:
        return None


def dose_of(dosages: Sequence[Dosage], names: Sequence[str], time_units: Mapping[str, int]) -> Dose:
    """Text and amount of a dosage. `names` are those of the product: they may tell mg per mL.

    mg per week needs one single dosage with amount, frequency and period; anything less is None.
    """
    written = [(dosage.text or "").strip() for dosage in dosages]
    words = _joined(written)
    text = words
    if not all(written):
        text = _joined([own or _text(dosage) for own, dosage in zip(written, dosages, strict=True)])
    if len(dosages) != 1:
        return Dose(text, words)
    quantity, repeat = _quantity(dosages[0]), _repeat(dosages[0])
    if quantity is None or repeat is None:
        return Dose(text, words)
    try:
        value, _ = number(quantity.value)
        doses, weeks = _doses_a_week(repeat, time_units)
    except UnreadableError:
        return Dose(text, words)
    unit = (quantity.code or quantity.unit or "").strip().casefold()  # "MG" is how many EHRs print it
    amount = (str(value.normalize()), unit, doses, weeks)
    strength = Decimal(1) if unit == "mg" else _mg_per_ml(names) if unit == "ml" else None
    if strength is None or dosages[0].as_needed_boolean:
        return Dose(text, words, None, amount)
    return Dose(text, words, value * strength * doses / weeks, amount)


def _joined(texts: Sequence[str]) -> str:
    return "; ".join([text for text in texts if text])


def _quantity(dosage: Dosage) -> Quantity | None:
    if dosage.dose_and_rate:
        return dosage.dose_and_rate[0].dose_quantity if len(dosage.dose_and_rate) == 1 else None
    return dosage.dose


def _repeat(dosage: Dosage) -> Repeat | None:
    return dosage.timing.repeat if dosage.timing else None


def bounds_of(dosage: Dosage) -> Period | None:
    """From when to when it holds, where it says so."""
    repeat = _repeat(dosage)
    return repeat.bounds_period if repeat else None


def _doses_a_week(repeat: Repeat, time_units: Mapping[str, int]) -> tuple[int, int]:
    """So many doses in so many weeks, in lowest terms.

    Raises UnreadableError unless frequency, period and its unit say it without a range.
    """
    seconds = time_units.get(repeat.period_unit or "")
    if seconds is None or given(repeat.frequency_max) or given(repeat.period_max):
        raise UnreadableError("no full timing")
    # In whole numbers: objects of fractions take many times as long.
    doses, of_doses = _ratio(repeat.frequency)
    periods, of_periods = _ratio(repeat.period)
    if doses <= 0 or periods <= 0:
        raise UnreadableError("no full timing")
    doses, weeks = doses * of_periods * time_units[WEEK], of_doses * periods * seconds
    common = gcd(doses, weeks)
    return doses // common, weeks // common


def _ratio(raw: Raw) -> tuple[int, int]:
    """A number as one whole number divided by another. Raises UnreadableError."""
    digits = bytes(raw)
    if len(digits) <= SHORT and digits.isdigit():
        return int(digits), 1
    return number(raw)[0].as_integer_ratio()


def _mg_per_ml(names: Sequence[str]) -> Decimal | None:
    found = {match for name in names for match in _PER_ML.findall(fold(name))}
    return Decimal(found.pop()) if len(found) == 1 else None


def _text(dosage: Dosage) -> str:
    """A dosage without words of its own, put together from its parts."""
    quantity, repeat = _quantity(dosage), _repeat(dosage)
    parts = []
    if quantity is not None and given(quantity.value):
        parts.append(f"{_written(quantity.value)} {quantity.unit or quantity.code or ''}".strip())
    if repeat is not None and given(repeat.period) and repeat.period_unit:
        times = _written(repeat.frequency) if given(repeat.frequency) else "1"
        parts.append(f"{times} per {_written(repeat.period)} {repeat.period_unit}")
    return ", ".join(parts)


def _written(raw: Raw) -> str:
    try:
        return number(raw)[1]
    except UnreadableError:
        return "?"


def days_of(quantity: Quantity | None, time_units: Mapping[str, int]) -> int | None:
    """A duration in whole days; None if it is none or absurd."""
    if quantity is None:
        return None
    try:
        value, _ = number(quantity.value)
    except UnreadableError:
        return None
    word = (quantity.code or quantity.unit or "").strip().casefold()
    seconds = time_units.get(word)
    if seconds is None:
        return None
    days = value * seconds / time_units[DAY]
    return round(days) if 0 < days <= _MOST_DAYS else None


def strength_of(name: str) -> tuple[tuple[str, ...], ...]:
    """The numbers with a unit in a product's name, in order: what makes two products of one agent differ."""
    return tuple((amount, _MICROGRAM.get(unit, unit), per) for amount, unit, per in _STRENGTH.findall(fold(name)))


strength_of_product = lru_cache(maxsize=2048)(strength_of)
"""The same for names of the knowledge, of which there are only so many."""


def form_of(drug: Drug, dosages: Sequence[Dosage], names: Sequence[str], knowledge: Knowledge) -> Form:
    """Dose form: of the product, else by the dosage (its route, its sentence), else by words in the drug's name."""
    if drug.form != "unknown":
        return drug.form
    named = _by_words(names, knowledge)
    for dosage in dosages:
        routed = _route(dosage.route, knowledge)
        if routed == "unknown":
            routed = _told(dosage.text, knowledge)
        if routed != "unknown":
            # "Transdermal" is the route of gels and of patches; the name tells them apart.
            return named if routed == "topical" and named == "patch" else routed
    return named


def _route(route: Concept | None, knowledge: Knowledge) -> Form:
    if route is None:
        return "unknown"
    codings = route.coding or ()
    for coding in codings:
        form = knowledge.routes.get((coding.system or "", coding.code or ""))
        if form is not None:
            return form
    return _by_words([route.text or "", *(coding.display or "" for coding in codings)], knowledge)


def _told(sentence: str | None, knowledge: Knowledge) -> Form:
    """The form that a dosage tells in words; one that speaks of several tells none."""
    folded = fold(sentence) if sentence else ""
    forms: set[Form] = {form for pattern, form in knowledge.dosage_words if pattern.search(folded)}
    return forms.pop() if len(forms) == 1 else "unknown"


def _by_words(texts: Sequence[str], knowledge: Knowledge) -> Form:
    for text in texts:
        folded = fold(text)
        for pattern, form in knowledge.route_words:
            if folded and pattern.search(folded):
                return form
    return "unknown"
