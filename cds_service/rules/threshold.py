"""Kind `threshold`: the latest comparable result of a marker passes a limit (clinical law 4.1, 4.3)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from decimal import Decimal
from itertools import islice
from typing import Any

import msgspec

from cds_service.chart import Measurement, Therapy
from cds_service.knowledge.model import THRESHOLDS, Rule
from cds_service.knowledge.needs import fields_of
from cds_service.rules.compare import passes
from cds_service.rules.context import Context, names, supplies_on
from cds_service.rules.lines import about_facts, about_result, newer_not_comparable
from cds_service.rules.outcome import ROUTE_UNKNOWN_RESULT, Doubt, Finding, Line, Outcome
from cds_service.rules.predicates import urgency
from cds_service.rules.questions import Truth


class Adjusted(msgspec.Struct, frozen=True):
    """A factor on a result because of another drug, with what must be said about it."""

    factor: Decimal
    lines: tuple[Line, ...] = ()
    interpretable: bool = True
    """False if the result cannot be compared with an earlier one."""
    doubts: tuple[Doubt, ...] = ()
    """Why the drug may be taken though it is not seen."""


AS_IT_IS = Adjusted(Decimal(1))


class Limit(msgspec.Struct, frozen=True):
    """One side of a threshold."""

    operator: str
    value: Decimal
    source: str = ""
    """`laboratory` if it is the reference limit of the result itself."""
    word: str = ""
    """Name of the field that holds it."""


class Band(msgspec.Struct, frozen=True):
    """What is compared with what: the part of a rule that is the same for every chart."""

    spec: Mapping[str, Any]
    marker: str
    max_age: int
    therapy: frozenset[str]
    """Keys of the therapy whose course says which samples count; none: all do."""
    kin: frozenset[str]
    """Markers of `any_of` that count as the same test (a Z-score, say); none without `any_of`."""
    stated: bool
    """True if the limits are the same for every patient and every result."""


PERSONAL = frozenset({"by_sex", "reference"})
"""Fields of a limit that depends on the patient or the result."""
BEST_FIRST = ("finding", "unknown", "fine", "not applicable")


def evaluate(rule: Rule, truth: Truth, ctx: Context) -> Outcome:
    """Compare the latest comparable result within `max_age_days` with the limit; `any_of` gives several."""
    bands = ctx.once(rule, _bands)
    if len(bands) == 1:
        return _evaluate_one(rule, bands[0], truth, ctx)
    outcomes = [_evaluate_one(rule, band, truth, ctx) for band in bands]
    return min(outcomes, key=lambda outcome: BEST_FIRST.index(outcome.result))


def _bands(rule: Rule, ctx: Context) -> tuple[Band, ...]:
    specs = rule.spec.get("any_of", (rule.spec,))
    return tuple(
        Band(
            spec,
            spec["marker"],
            ctx.days(spec.get("max_age_days")),
            names(spec.get("therapy", ())),
            _kin(spec["marker"], specs, ctx) if "any_of" in rule.spec else frozenset(),
            PERSONAL.isdisjoint(fields_of(spec)),
        )
        for spec in specs
    )


def _kin(marker: str, specs: Iterable[Mapping[str, Any]], ctx: Context) -> frozenset[str]:
    def test(key: str) -> str:
        return ctx.knowledge.markers[key].counts_as or key

    return frozenset(spec["marker"] for spec in specs if test(spec["marker"]) == test(marker))


def _evaluate_one(rule: Rule, band: Band, truth: Truth, ctx: Context) -> Outcome:
    spec, marker = band.spec, band.marker
    doubts = ctx.lately(marker, band.max_age)
    series = ctx.comparable(marker, band.max_age)
    if "trait" in spec:
        series = tuple(m for m in series if spec["trait"] in m.traits)
    if not series:
        return Outcome(rule.id, "unknown" if doubts else "not applicable", "no comparable result", doubts)
    latest = series[0]
    course = ctx.course(band.therapy) if band.therapy else None
    refusal = out_of_scope(latest, course, spec)
    if refusal:
        day = (latest.day - course.start).days if course and course.start and latest.day else None
        values = {"day": day, "from_day": spec.get("from_day"), "to_day": spec.get("to_day")}
        return Outcome(rule.id, "unknown" if doubts else "not applicable", refusal, doubts, values=values)
    if _is_superseded(latest, band, ctx):
        return Outcome(rule.id, "unknown" if doubts else "not applicable", "a later result of this test", doubts)
    adjusted = adjust(latest, spec.get("adjust"), ctx)
    doubts = (*doubts, *adjusted.doubts)
    value = ctx.shown(latest, adjusted.factor)
    limits = ctx.once(band, _stated) if band.stated else limits_of(spec, latest, ctx)
    if not limits:
        return Outcome(rule.id, "not applicable", "no reference range was reported", doubts)
    answers = [passes(value, latest.comparator, limit.operator, limit.value) for limit in limits]
    if ctx.steps is not None:
        _note(band, limits, answers, latest, adjusted.factor, ctx)
    if not any(answers):
        if None in answers:
            doubts = (Doubt("comparator", marker, {"result": latest}), *doubts)
        why, values = _fine(value, limits)
        return Outcome(rule.id, "unknown" if doubts else "fine", why, doubts, values=values)
    if course and latest.day and "product" in spec and _has_product(course, latest.day, spec["product"]) is None:
        doubt = Doubt(ROUTE_UNKNOWN_RESULT, marker, {"name": course.agent, "result": latest})
        return Outcome(rule.id, "unknown", "not known if it applies", (doubt, *doubts))
    limit = limits[answers.index(True)]
    lines = [
        *about_result(latest, ctx.knowledge),
        *newer_not_comparable(latest, ctx),
        *adjusted.lines,
        *about_facts(truth.facts, latest),
    ]
    if limit.source:
        lines.append(Line("limit_of_laboratory", {"result": latest}))
    finding = Finding(
        rule=rule,
        indicator=urgency(rule, ctx),
        marker=marker,
        result=latest,
        value=value,
        limit=limit.value,
        operator=limit.operator,
        earlier=tuple(islice((m for m in ctx.series(marker) if m is not latest and m.value is not None), 3)),
        facts=truth.facts,
        lines=tuple(lines),
        values={"factor": adjusted.factor},
        doubts=doubts,
    )
    met = {"value": value, "operator": limit.operator, "limit": limit.value}
    return Outcome(rule.id, "finding", "{value} {operator} {limit}", doubts, finding, values=met)


def _stated(band: Band, ctx: Context) -> list[Limit]:
    return limits_of(band.spec, None, ctx)


def _note(
    band: Band,
    limits: Sequence[Limit],
    answers: Sequence[bool | None],
    latest: Measurement,
    factor: Decimal,
    ctx: Context,
) -> None:
    value = ctx.shown(latest, factor)
    for limit, answer in zip(limits, answers, strict=True):
        ctx.compared(
            band.spec,
            limit.word,
            value,
            limit.operator,
            limit.value,
            answer,
            latest,
            factor=factor,
            own_range=bool(limit.source),
        )


def _is_superseded(latest: Measurement, band: Band, ctx: Context) -> bool:
    """True if another marker that counts as the same test has a later result."""
    newest = [series[0].day for marker in band.kin if (series := ctx.comparable(marker, band.max_age))]
    return any(day is not None and latest.day is not None and day > latest.day for day in newest)


def out_of_scope(latest: Measurement, course: Therapy | None, spec: Mapping[str, Any]) -> str:
    """Why this sample is not for this rule, as in `Outcome.why` ('' if it is): wrong day, other product."""
    if course is None or latest.day is None:
        return ""
    day = None if course.start is None else (latest.day - course.start).days
    if spec.get("samples") == "after_start" and day is not None and day <= 0:
        return "sample not after the start of the therapy"
    if "from_day" in spec and day is not None and day < spec["from_day"]:
        return "sample of day {day}, rule from day {from_day}"
    if "to_day" in spec and day is None:
        return "start of the therapy not known, rule up to day {to_day}"
    if "to_day" in spec and day is not None and day > spec["to_day"]:
        return "sample of day {day}, rule up to day {to_day}"
    for word, wanted in (("product", True), ("not_product", False)):
        if word in spec and _has_product(course, latest.day, spec[word]) is (not wanted):
            return "other product at the time of the sample"
    return ""


def _has_product(course: Therapy, day: date, spec: Mapping[str, Any]) -> bool | None:
    """None: one of the agents was taken, and it is not known in which form."""
    supplies = supplies_on(course, day)
    taken = [supply.form for supply in supplies if supply.agent in names(spec.get("agent", supply.agent))]
    if any(form in names(spec["form"]) for form in taken):
        return True
    return None if "unknown" in taken else False


def limits_of(spec: Mapping[str, Any], latest: Measurement | None, ctx: Context) -> list[Limit]:
    """The limits that a result meets (None: any); none if the laboratory's own are wanted and were not reported."""
    if "outside" in spec:
        low, high = spec["outside"]
        return [Limit("<", ctx.limit(low), word="outside[0]"), Limit(">", ctx.limit(high), word="outside[1]")]
    word, symbol = next(pair for pair in THRESHOLDS.items() if pair[0] in spec)
    wanted = spec[word]
    if spec.get("inclusive") and ctx.switch(spec["inclusive"]):
        symbol += "="
    limit = ctx.limit_for(wanted, latest)
    if limit is None:
        return []
    number, own = limit
    return [Limit(symbol, number, "laboratory" if own else "", word)]


def _fine(value: Decimal, limits: Sequence[Limit]) -> tuple[str, dict[str, object]]:
    low, high = limits[0], limits[-1]
    if low is high:
        return "{value} not {operator} {limit}", {"value": value, "operator": low.operator, "limit": low.value}
    return "{value} not < {low}, {value} not > {high}", {"value": value, "low": low.value, "high": high.value}


def adjust(latest: Measurement, spec: Mapping[str, Any] | None, ctx: Context) -> Adjusted:
    """Factor for a drug that lowers the marker (5-alpha-reductase inhibitors and PSA, 4.9).

    Counted at the sample's date: on it for at least `from_day` days, the result is multiplied; from
    `uncertain_from` on it is falling and is not compared with a baseline; within `washout_days` after the
    end it is still uncertain.
    """
    if spec is None or latest.day is None:
        return AS_IT_IS
    courses = ctx.courses(names(spec["therapy"]), current=None)
    # What was taken on the day of the sample decides before what had ended by then.
    for course in sorted(courses, key=lambda course: course.end or date.max, reverse=True):
        if course.start is not None and course.start > latest.day:
            continue
        values = {**spec, "therapy": course, "result": latest}
        if course.end is not None and course.end < latest.day:
            if (latest.day - course.end).days < spec["washout_days"]:
                return Adjusted(Decimal(1), (Line("adjust_washout", values),))
            continue
        factor = Decimal(spec["factor"])
        days = None if course.start is None else (latest.day - course.start).days
        if days is None or days >= spec["from_day"]:
            return Adjusted(factor, (Line("adjusted", {**values, "factor": factor, "days": days}),))
        if days >= spec["uncertain_from"]:
            return Adjusted(Decimal(1), (Line("adjust_falling", values),), interpretable=False)
    return Adjusted(Decimal(1), doubts=ctx.doubts("medications"))
