"""The results of one marker in order: newest first, one for each sample (4.1.5, 0.4.18)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal

import msgspec
from msgspec import Raw

from cds_service.chart import Measurement, Phrase, Refused, When
from cds_service.fhir.dates import Calendar
from cds_service.fhir.decoding import given
from cds_service.fhir.reading import Reading
from cds_service.fhir.resources import Meta, Observation
from cds_service.knowledge.statuses import USABLE
from cds_service.knowledge.units import for_display

PENDING = frozenset({"preliminary", "registered"})
IGNORED = frozenset({"cancelled", "entered-in-error", "unknown"})
_BEYOND = ("<", "<=", "", "ad", ">=", ">")
"""Comparators by how high the true value may lie."""

_META = msgspec.json.Decoder(Meta)

Moment = datetime | date
Stamp = tuple[date, datetime]
LONG_AGO = datetime.min.replace(tzinfo=UTC)
NEVER: Stamp = (date.min, LONG_AGO)


Taken = tuple[Measurement, Observation]
"""A result, and the Observation that tells when it was issued and updated."""


class Found(msgspec.Struct, frozen=True, gc=False):
    """A result, with what decides between two of one sample."""

    result: Measurement
    issued: str | None
    meta: Raw


def by_status(status: str | None, source: str, covers: frozenset[str]) -> Refused | None:
    """Why a result of these markers does not count by its status (4.1.1); None if it does."""
    if status in USABLE or status in PENDING:
        return None
    if status in IGNORED:
        return Refused(source, "status", Phrase("its status is {status}", status=status), covers)
    return Refused(source, "no_status", "it has no known status", covers, tell=True)


def in_order(taken: Mapping[str, Sequence[Taken]], reading: Reading) -> Mapping[str, tuple[Measurement, ...]]:
    """Results by marker, markers in alphabetical order. Copies that were set aside are noted in `reading`."""
    return {marker: _ordered(taken[marker], reading) for marker in sorted(taken)}


def _ordered(taken: Sequence[Taken], reading: Reading) -> tuple[Measurement, ...]:
    results = [result for result, _ in taken]
    if not _is_ordered(results):
        calendar = reading.calendar
        found = _one_a_sample([Found(result, sample.issued, sample.meta) for result, sample in taken], reading)
        results = [each.result for each in sorted(found, key=lambda each: _recency(each, calendar), reverse=True)]
    return tuple(results)


def _is_ordered(results: Sequence[Measurement]) -> bool:
    """True if each result is older than the one before it, as servers send them: nothing is left to decide."""
    if len(results) == 1:
        return True
    after: When | None = None
    for result in results:
        when = result.when
        if when is None or when.instant is None or result.problem == "panel":
            return False
        if after is not None and (when.instant >= after.instant or when.day > after.day):  # type: ignore[operator]
            return False
        after = when
    return True


def _recency(each: Found, calendar: Calendar) -> tuple[date, datetime, Stamp, str, str]:
    """By day; a timed result is later than a date-only one, two date-only ones go by `issued`."""
    result = each.result
    when = result.when
    if when is None:
        return date.min, LONG_AGO, NEVER, result.source, result.code
    if when.instant is not None:
        return when.day, when.instant, NEVER, result.source, result.code
    return when.day, LONG_AGO, _stamp(each.issued, calendar), result.source, result.code


def _updated(each: Found) -> str | None:
    try:
        return _META.decode(each.meta).last_updated if given(each.meta) else None
    except (msgspec.DecodeError, RecursionError):
        return None


def _stamp(text: str | None, calendar: Calendar) -> Stamp:
    when = calendar.when(text)
    return NEVER if when is None else (when.day, when.instant or LONG_AGO)


def _one_a_sample(found: Sequence[Found], reading: Reading) -> Sequence[Found]:
    """One result for each moment and class of status."""
    moments = [(_moment(each.result), each.result.status in USABLE) for each in found]
    if len(set(moments)) == len(found) and "panel" not in [each.result.problem for each in found]:
        return found
    samples: dict[tuple[Moment, bool], list[Found]] = {}
    for moment, each in zip(moments, found, strict=True):
        samples.setdefault(moment, []).append(each)
    kept: list[Found] = []
    for same in samples.values():
        kept.extend(same if len(same) == 1 else _merged(same, reading))
    return _without_empty_panels(kept, reading)


def _moment(result: Measurement) -> Moment:
    when = result.when
    if when is None:
        return date.min
    return when.instant or when.day


def _merged(same: Sequence[Found], reading: Reading) -> list[Found]:
    """Of results of one moment: equal ones once, of different values one, without a value those that differ.

    Equal is what would be shown alike: a laboratory that reports in two units rounds each for itself.
    """
    when = same[0].result.when
    values: dict[tuple[Decimal, str], list[Found]] = {}
    others: dict[tuple[str, str, str, str], Found] = {}
    for each in sorted(same, key=lambda each: (each.result.source, each.result.code)):
        result = each.result
        if result.value is not None:
            shown = for_display(reading.knowledge.markers[result.marker], result.value)
            values.setdefault((shown, result.comparator), []).append(each)
        elif result.problem == "undated":
            others[result.source, result.code, result.reported, result.reported_unit] = each
        elif others.setdefault((result.problem, result.reported, result.reported_unit, ""), each) is not each:
            _set_aside(each, "duplicate", "the same result came more than once", reading)
    best = [_latest(copies, reading) for copies in values.values()]
    # A month is no moment: two values of one month are two samples.
    if len(best) > 1 and when is not None and when.precision != "month":
        best = [_decided(best, reading)]
    return [*best, *others.values()]


def _latest(copies: Sequence[Found], reading: Reading) -> Found:
    """One of several equal results; the others are noted."""
    calendar = reading.calendar
    best = max(copies, key=lambda each: (_stamp(each.issued, calendar), _stamp(_updated(each), calendar)))
    for each in copies:
        if each is not best:
            _set_aside(each, "duplicate", "the same result came more than once", reading)
    return best


def _decided(rivals: Sequence[Found], reading: Reading) -> Found:
    """The one issued last, else the one updated last, else the highest one with the mark of a conflict."""
    left = list(rivals)
    for text_of in (lambda each: each.issued, _updated):
        stamps = [_stamp(text_of(each), reading.calendar) for each in left]
        if all(stamp != NEVER for stamp in stamps):
            left = [each for each, stamp in zip(left, stamps, strict=True) if stamp == max(stamps)]
    best = max(left, key=lambda each: (each.result.value or Decimal(0), _BEYOND.index(each.result.comparator)))
    for each in rivals:
        if each is not best:
            _set_aside(each, "replaced", "another value of the same sample is used", reading)
    if len(left) == 1:
        return best
    return Found(msgspec.structs.replace(best.result, conflict=True), best.issued, best.meta)


def _without_empty_panels(found: Sequence[Found], reading: Reading) -> list[Found]:
    """An empty panel says nothing where there is a result of the same day."""
    days = {each.result.day for each in found if each.result.problem != "panel"}
    kept = []
    for each in found:
        if each.result.problem == "panel" and each.result.day in days:
            _set_aside(each, "panel", "a result of the same day is used", reading)
        else:
            kept.append(each)
    return kept


def _set_aside(each: Found, reason: str, detail: str, reading: Reading) -> None:
    reading.part(Refused(each.result.source, reason, detail, frozenset({each.result.marker})))
