"""Parts of the kind `change` that look at a whole series: velocity, rise from the lowest value, fall in percent."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction
from math import lcm

from cds_service.chart import Measurement
from cds_service.knowledge.model import Rule
from cds_service.rules.context import Context
from cds_service.rules.lines import about_facts, about_result, newer_not_comparable
from cds_service.rules.outcome import Doubt, Finding, Outcome
from cds_service.rules.predicates import urgency
from cds_service.rules.questions import Truth

YEAR = Fraction("365.25")


def velocity(rule: Rule, truth: Truth, ctx: Context, start: date, doubts: tuple[Doubt, ...]) -> Outcome:
    """Slope of the least-squares line per year (5.5): enough results, over long enough, all late enough."""
    spec = rule.spec
    first_day = start + timedelta(days=spec["first_from_day"])
    points = [m for m in ctx.comparable(spec["marker"]) if not m.comparator and m.day and m.day >= first_day]
    days = sorted({m.day for m in points if m.day})
    if len(days) < spec["least_results"] or (days[-1] - days[0]).days < spec["least_span_days"]:
        return Outcome(rule.id, "unknown" if doubts else "not applicable", "too few results", doubts)
    if not ctx.recent(days[-1], ctx.days(None)):
        return Outcome(rule.id, "unknown" if doubts else "not applicable", "the latest result is too old", doubts)
    slope, _ = fit([((m.day - days[0]).days, ctx.shown(m)) for m in points if m.day])
    yearly = slope * YEAR
    limit = ctx.limit(spec["slope_above"])
    why, shown = "{change} a year", {"change": Decimal(f"{float(yearly):.4f}")}
    ctx.compared(spec, "slope_above", rounded(yearly), ">", limit, yearly > Fraction(limit), points[0])
    if yearly <= Fraction(limit):
        return Outcome(rule.id, "unknown" if doubts else "fine", why, doubts, values=shown)
    values = {"velocity": rounded(yearly), "count": len(points)}
    finding = _finding(rule, truth, ctx, points, limit, values)
    return Outcome(rule.id, "finding", why, doubts, finding, values=shown)


def from_lowest(rule: Rule, truth: Truth, ctx: Context, start: date, doubts: tuple[Doubt, ...]) -> Outcome:
    """Rise of the latest result over the lowest one since the therapy began (4.9)."""
    spec = rule.spec
    series = [m for m in ctx.comparable(spec["marker"]) if not m.comparator and m.day and m.day > start]
    if not series[1:] or series[0].day is None or not ctx.recent(series[0].day, ctx.days(None)):
        return Outcome(rule.id, "unknown" if doubts else "not applicable", "no pair of results", doubts)
    lowest = min(series[1:], key=ctx.shown)
    rise = ctx.shown(series[0]) - ctx.shown(lowest)
    limit = ctx.limit(spec["rise_from_lowest"])
    why, shown = "{value} - {base}", {"value": ctx.shown(series[0]), "base": ctx.shown(lowest)}
    ctx.compared(spec, "rise_from_lowest", rise, ">=", limit, rise >= limit, series[0])
    if rise < limit:
        return Outcome(rule.id, "unknown" if doubts else "fine", why, doubts, values=shown)
    values = {"rise": rise, "lowest": lowest, "base": ctx.shown(lowest), "baseline": lowest}
    finding = _finding(rule, truth, ctx, series, limit, values)
    return Outcome(rule.id, "finding", why, doubts, finding, values=shown)


def fall(rule: Rule, truth: Truth, ctx: Context, start: date, doubts: tuple[Doubt, ...]) -> Outcome:
    """Fall from baseline to a follow-up in percent, less than a limit (5.7)."""
    spec = rule.spec
    series = [m for m in ctx.comparable(spec["marker"]) if not m.comparator and m.day]
    low = start - timedelta(days=ctx.switch(spec["look_back"]))
    high = start + timedelta(days=spec["baseline_to_day"])
    baseline = next((m for m in series if m.day and low <= m.day <= high), None)
    window = (start + timedelta(days=spec["from_day"]), start + timedelta(days=spec["to_day"]))
    follow_up = next((m for m in series if m.day and window[0] <= m.day <= window[1]), None)
    if baseline is None or follow_up is None or ctx.shown(baseline) == 0:
        return Outcome(rule.id, "unknown" if doubts else "not applicable", "no pair of results", doubts)
    change = (Fraction(ctx.shown(follow_up)) - Fraction(ctx.shown(baseline))) / Fraction(ctx.shown(baseline)) * 100
    limit = ctx.limit(spec["fall_less_than_percent"])
    why, shown = "{change} %", {"change": Decimal(f"{float(change):.1f}")}
    fallen = rounded(-change, 1)
    ctx.compared(spec, "fall_less_than_percent", fallen, "<", limit, -change < Fraction(limit), follow_up)
    if -change >= Fraction(limit):
        return Outcome(rule.id, "unknown" if doubts else "fine", why, doubts, values=shown)
    values = {"percent": rounded(change, 1), "baseline": baseline, "base": ctx.shown(baseline)}
    finding = _finding(rule, truth, ctx, [follow_up, baseline], limit, values)
    return Outcome(rule.id, "finding", why, doubts, finding, values=shown)


def _finding(
    rule: Rule, truth: Truth, ctx: Context, points: list[Measurement], limit: Decimal, values: dict[str, object]
) -> Finding:
    """The finding about the first of the points; the others are its earlier values."""
    latest = points[0]
    return Finding(
        rule=rule,
        indicator=urgency(rule, ctx),
        marker=latest.marker,
        result=latest,
        value=ctx.shown(latest),
        limit=limit,
        operator=">",
        earlier=tuple(points[1:4]),
        facts=truth.facts,
        lines=(
            *about_result(latest, ctx.knowledge),
            *newer_not_comparable(latest, ctx),
            *about_facts(truth.facts, latest),
        ),
        values=values,
    )


def fit(points: list[tuple[int, Decimal]]) -> tuple[Fraction, Fraction]:
    """Least-squares line through (day, value): exact (slope per day, value at day 0)."""
    # In whole numbers, over one denominator: the same line, without a fraction at every step.
    ratios = [(x, *y.as_integer_ratio()) for x, y in points]
    scale = lcm(*(denominator for _, _, denominator in ratios))
    whole = [(x, numerator * (scale // denominator)) for x, numerator, denominator in ratios]
    count, sum_x, sum_y = len(points), sum([x for x, _ in whole]), sum([y for _, y in whole])
    spread = count * sum([x * x for x, _ in whole]) - sum_x * sum_x
    shared = count * sum([x * y for x, y in whole]) - sum_x * sum_y
    steps = spread * scale
    return Fraction(shared, steps), Fraction(sum_y * spread - shared * sum_x, count * steps)


def ceiling(number: Fraction) -> int:
    """Least whole number not below `number`."""
    return -(-number.numerator // number.denominator)


def rounded(number: Fraction, decimals: int = 3) -> Decimal:
    """A fraction as a decimal of so many places, for showing."""
    return round(Decimal(number.numerator) / Decimal(number.denominator), decimals)
