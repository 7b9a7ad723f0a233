"""Kind `change`: a rise from baseline, or a straight line through the results that meets a limit (5.5, 5.6)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

from cds_service.chart import Measurement
from cds_service.knowledge.model import Rule
from cds_service.rules.compare import passes
from cds_service.rules.context import Context, names
from cds_service.rules.lines import about_facts, about_result, newer_not_comparable
from cds_service.rules.outcome import Doubt, Finding, Line, Outcome, Result
from cds_service.rules.questions import Truth
from cds_service.rules.series import ceiling, fall, fit, from_lowest, rounded, velocity
from cds_service.rules.threshold import adjust

SERIES = {"slope_above": velocity, "rise_from_lowest": from_lowest, "fall_less_than_percent": fall}


def evaluate(rule: Rule, truth: Truth, ctx: Context) -> Outcome:
    """Judge a rise from baseline (`rise_above`), a projected crossing (`projected_above`) or a whole series."""
    course = ctx.course(names(rule.spec["therapy"]))
    if course is None or course.start is None:
        return Outcome(rule.id, "not applicable", "start of the therapy not known")
    look_back = ctx.switch(rule.spec["look_back"]) if "look_back" in rule.spec else 0
    since = course.start - timedelta(days=look_back)
    doubts = ctx.doubts(rule.spec["marker"], since)
    if "rise_above" in rule.spec:
        return _rise(rule, truth, ctx, course.start, since, doubts)
    for field, judge in SERIES.items():
        if field in rule.spec:
            return judge(rule, truth, ctx, course.start, doubts)
    return _projected(rule, truth, ctx, course.start, doubts)


def _rise(rule: Rule, truth: Truth, ctx: Context, start: date, low: date, doubts: tuple[Doubt, ...]) -> Outcome:
    spec = rule.spec
    series = ctx.comparable(spec["marker"])
    high = start + timedelta(days=spec["baseline_to_day"])
    baseline = next((m for m in series if m.day and low <= m.day <= high and _usable(m, spec)), None)
    latest = series[0] if series else None
    if baseline is None or latest is None or latest.day is None or latest is baseline:
        return Outcome(rule.id, "unknown" if doubts else "not applicable", "no pair of results", doubts)
    day = (latest.day - start).days
    late = day > spec["to_day"]
    if late or not ctx.recent(latest.day, ctx.days(spec.get("max_age_days"))):
        doubts = () if late else doubts  # What the list may lack is later than the latest, and late as well.
        word: Result = "unknown" if doubts else "not applicable"
        return Outcome(rule.id, word, "latest sample is of day {day}", doubts, values={"day": day})
    now, then = adjust(latest, spec.get("adjust"), ctx), adjust(baseline, spec.get("adjust"), ctx)
    doubts = (*doubts, *now.doubts, *then.doubts)
    if not now.interpretable or not then.interpretable:
        doubt = Doubt("not_against_baseline", spec["marker"], {"result": latest})
        return Outcome(rule.id, "unknown", "falling on a drug", (doubt, *doubts))
    value, base = ctx.shown(latest, now.factor), ctx.shown(baseline, then.factor)
    limit = ctx.limit(spec["rise_above"])
    shown = {"value": value, "base": base, "limit": limit}
    passed = passes(value - base, latest.comparator, ">", limit)
    if passed and latest.comparator:
        passed = None  # A bound is never a term of a calculation (4.1.6).
    ctx.compared(spec, "rise_above", value - base, ">", limit, passed, latest, factor=now.factor)
    if not passed:
        if passed is None:
            doubts = (Doubt("comparator", spec["marker"], {"result": latest}), *doubts)
        why = "{value} - {base} not > {limit}"
        return Outcome(rule.id, "unknown" if doubts else "fine", why, doubts, values=shown)
    lines = [*about_result(latest, ctx.knowledge), *newer_not_comparable(latest, ctx), *now.lines, *then.lines]
    if baseline.comparator:
        lines.append(Line("baseline_taken_as", {"result": baseline, "value": base}))
    finding = Finding(
        rule=rule,
        indicator=rule.indicator,
        marker=spec["marker"],
        result=latest,
        value=value,
        limit=limit,
        operator=">",
        earlier=tuple(m for m in series if m is not latest)[:3],
        facts=truth.facts,
        lines=(*lines, *about_facts(truth.facts, latest)),
        values={"rise": value - base, "baseline": baseline, "base": base, "factor": now.factor},
        doubts=doubts,
    )
    return Outcome(rule.id, "finding", "{value} - {base} > {limit}", doubts, finding, values=shown)


def _usable(measurement: Measurement, spec: Mapping[str, Any]) -> bool:
    """A baseline below the detection limit stands for the limit itself: the rise is then understated."""
    if not measurement.comparator:
        return True
    floor = spec.get("baseline_floor")
    return measurement.comparator == "<" and floor is not None and measurement.value == Decimal(floor)


def _projected(rule: Rule, truth: Truth, ctx: Context, start: date, doubts: tuple[Doubt, ...]) -> Outcome:
    spec = rule.spec
    points = [m for m in ctx.comparable(spec["marker"]) if not m.comparator and m.day and m.day > start]
    days = {m.day for m in points}
    limit = ctx.limit(spec["projected_above"])
    if len(days) < spec["least_results"] or not points or points[0].day is None or points[-1].day is None:
        return Outcome(rule.id, "unknown" if doubts else "not applicable", "too few results", doubts)
    first, last = points[-1].day, points[0].day
    if (last - first).days < spec["least_span_days"] or (ctx.as_of - last).days > spec["last_within_days"]:
        why = "span too short or last result too old"
        return Outcome(rule.id, "unknown" if doubts else "not applicable", why, doubts)
    values = [(m, (m.day - first).days, ctx.shown(m)) for m in points if m.day]
    slope, intercept = fit([(x, y) for _, x, y in values])
    if slope <= 0 or values[0][2] > limit:
        steep = {"slope": Decimal(f"{float(slope):.4f}")}
        return Outcome(rule.id, "unknown" if doubts else "fine", "slope {slope} a day", doubts, values=steep)
    reached = rounded(intercept + slope * ((ctx.as_of - first).days + spec["within_days"]))
    ctx.compared(spec, "projected_above", reached, ">=", limit, reached >= limit, points[0])
    days_to_limit = ceiling((Fraction(limit) - intercept) / slope)
    if days_to_limit - (ctx.as_of - first).days > spec["within_days"]:
        on_day = {"day": days_to_limit}
        return Outcome(rule.id, "unknown" if doubts else "fine", "crossing on day {day}", doubts, values=on_day)
    crossing = first + timedelta(days=days_to_limit)
    finding = Finding(
        rule=rule,
        indicator=rule.indicator,
        marker=spec["marker"],
        result=points[0],
        value=values[0][2],
        limit=limit,
        operator=">",
        earlier=tuple(points[1:]),
        facts=truth.facts,
        lines=tuple(about_facts(truth.facts, points[0])),
        values={"crossing": max(crossing, ctx.as_of), "slope": rounded(slope * 30), "count": len(points)},
        doubts=doubts,
    )
    return Outcome(rule.id, "finding", "crossing on {day}", doubts, finding, values={"day": crossing})
