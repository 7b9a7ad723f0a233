"""What a predicate may ask about results: a limit, results of the same draw, the dose before it, an order.

Each question is a function of its data and the context. The answer is (holds, facts, doubts) as in
`predicates.Truth`, which wraps it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from cds_service.chart import Measurement, When
from cds_service.knowledge.model import THRESHOLDS
from cds_service.rules.compare import passes
from cds_service.rules.context import Context, names
from cds_service.rules.outcome import Doubt, Fact

Answer = tuple[bool | None, tuple[Fact, ...], tuple[Doubt, ...]]

NO: Answer = (False, (), ())
HOUR = timedelta(hours=1)


def result(spec: Any, ctx: Context) -> Answer:
    """The latest comparable result of a marker, within so many days, passes a limit."""
    marker = spec["marker"]
    within = ctx.days(spec.get("within_days"))
    series = ctx.comparable(marker, within)
    if "after_start" in spec:
        series = _after_start(series, names(spec["after_start"]), ctx)
    doubts = ctx.lately(marker, within)
    if not series:
        doubts = doubts if "comparable" in spec else (*_not_comparable(spec, ctx), *doubts)
        return (None, (), doubts) if doubts else NO
    passed = _meets(spec, series[0], ctx)
    if passed:
        return (True, (series[0],), ())
    if passed is None:
        return (None, (), (Doubt("comparator", marker, {"result": series[0]}), *doubts))
    return (None, (), doubts) if doubts else NO


def _not_comparable(spec: Any, ctx: Context) -> tuple[Doubt, ...]:
    """Why nothing is known of a limit although there is a result: the newest one has no value to compare."""
    marker, within = spec["marker"], ctx.days(spec.get("within_days"))
    newest = next((m for m in ctx.series(marker) if m.day is not None and ctx.recent(m.day, within)), None)
    if newest is None or (newest.value is not None and not newest.problem):
        return ()
    return (Doubt(f"dq_{newest.problem or 'no_value'}", marker, {"result": newest}),)


def _after_start(series: tuple[Measurement, ...], keys: frozenset[str], ctx: Context) -> tuple[Measurement, ...]:
    """Results taken after the start day of the current course of these therapies (0.4.1); unknown start: all."""
    course = ctx.course(keys)
    if course is None or course.start is None:
        return series
    return tuple(m for m in series if m.day is not None and m.day > course.start)


def _meets(spec: Any, latest: Measurement, ctx: Context) -> bool | None:
    """True if the result passes the limit, lies near it, or (`comparable`) is there at all."""
    if "comparable" in spec:
        return True
    if "near" in spec:
        return _is_near(spec["near"], latest, ctx)
    word, operator = next(pair for pair in THRESHOLDS.items() if pair[0] in spec)
    limit = ctx.limit_for(spec[word], latest)
    if limit is None:
        return False
    (number, own), value = limit, ctx.shown(latest)
    passed = passes(value, latest.comparator, operator, number)
    return ctx.compared(spec, word, value, operator, number, passed, latest, own_range=own)


def _is_near(spec: Mapping[str, Any], latest: Measurement, ctx: Context) -> bool:
    """True if an exact result lies within `by` of the limit, on either side."""
    return not latest.comparator and abs(ctx.shown(latest) - ctx.limit(spec["limit"])) <= Decimal(spec["by"])


def together(spec: Any, ctx: Context) -> Answer:
    """Results of other markers share specimen or day with the latest comparable one of a marker, or are later."""
    series = ctx.comparable(spec["marker"], ctx.days(None))
    if not series:
        return NO
    latest = series[0]
    for marker in sorted(names(spec["with"])):
        for other in ctx.performed(marker):
            same_specimen = bool(latest.specimen) and latest.specimen == other.specimen
            if same_specimen or (latest.day and other.day and other.day >= latest.day):
                return (True, (other,), ())
    return NO


def after_dose(spec: Any, ctx: Context) -> Answer:
    """The latest comparable result of a marker was certainly drawn within so many hours after a recorded dose."""
    series = ctx.comparable(spec["marker"], ctx.days(None))
    sample = series[0].when if series else None
    if sample is None:
        return NO
    doses = [given for course in ctx.courses(names(spec["key"]), current=None) for given in course.given]
    close = any(_is_within(given, sample, spec["within_hours"]) for given in doses)
    return (True, (series[0],), ()) if close else NO


def _is_within(given: When, sample: When, hours: int) -> bool:
    """Both times known: by the clock. Otherwise only if every hour of the days in question fits."""
    if given.instant is not None and sample.instant is not None:
        return timedelta(0) <= sample.instant - given.instant <= hours * HOUR
    shortest = _start_of(sample) - _end_of(given)
    longest = _end_of(sample) - _start_of(given)
    return shortest >= timedelta(0) and longest <= hours * HOUR


def _start_of(when: When) -> datetime:
    return datetime(when.day.year, when.day.month, when.day.day)


def _end_of(when: When) -> datetime:
    return datetime(when.last_day.year, when.last_day.month, when.last_day.day) + timedelta(days=1)


def reference_range(spec: Any, ctx: Context) -> Answer:
    """The latest comparable result of a marker came with an upper reference limit."""
    series = ctx.comparable(spec["marker"], ctx.days(None))
    return (True, (), ()) if series and series[0].reference_high is not None else NO


def ordered(spec: Any, ctx: Context) -> Answer:
    """A test order is drafted in this call that brings one of the markers."""
    wanted = names(spec["marker"])
    found = tuple(
        order for order in ctx.chart.orders if order.drafted and order.selected and order.markers & wanted
    )
    return (True, found, ()) if found else NO


def awaited(spec: Any, ctx: Context) -> Answer:
    """A test is drafted or ordered already (0.4.24)."""
    order = ctx.already_ordered(ctx.knowledge.tests[spec])
    return (True, (order,), ()) if order else NO


QUESTIONS: dict[str, Callable[[Any, Context], Answer]] = {
    "result": result,
    "together": together,
    "after_dose": after_dose,
    "reference_range": reference_range,
    "ordered": ordered,
    "awaited": awaited,
}
"""Predicates about results and orders for them, by name."""
