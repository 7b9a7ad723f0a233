"""The limits of this patient's rules over time, and which results pass them.

A limit holds where its rule would look at a sample: from a day of the course on, up to one, or under certain
products only (clinical law 4.1). What is drawn is what the rules say today; the samples of earlier years are
marked by it too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import msgspec

from cds_service.chart import Measurement, Therapy
from cds_service.knowledge.model import Indicator, Knowledge, Rule
from cds_service.knowledge.units import display_text
from cds_service.rules.compare import passes
from cds_service.rules.context import Context, names
from cds_service.rules.engine import UNCERTAIN
from cds_service.rules.outcome import RANK, Evaluation, Finding, Line
from cds_service.rules.threshold import adjust, limits_of, out_of_scope

Span = tuple[date | None, date | None]
"""First and last day, both included; None: without end."""

ALWAYS: Span = (None, None)


class Spec(msgspec.Struct, frozen=True):
    """One comparison that a rule about this patient makes."""

    rule: Rule
    fields: Mapping[str, Any]
    finding: Finding | None = None
    """What the rule says today."""

    def urgency(self, result: Measurement) -> Indicator:
        """That of the finding if it is about this result, else the rule's own."""
        own = self.finding is not None and self.finding.result is result
        return self.finding.indicator if self.finding and own else self.rule.indicator


class Limit(msgspec.Struct, frozen=True):
    """One line in a plot."""

    operator: str
    value: str
    indicator: Indicator
    """The most urgent of its rules."""
    rules: tuple[str, ...]
    title: str
    spans: tuple[Span, ...]
    of_laboratory: bool = False
    """True if it is the laboratory's own limit for the newest result."""


class Band(msgspec.Struct, frozen=True):
    """Between the highest lower limit and the lowest upper one: no limit is passed."""

    low: str
    high: str
    spans: tuple[Span, ...]


class Passed(msgspec.Struct, frozen=True):
    """A limit that a result passes."""

    rule: str
    operator: str
    limit: str
    indicator: Indicator
    of_laboratory: bool = False


class Judged(msgspec.Struct, frozen=True):
    """What the limits say of one result."""

    passed: tuple[Passed, ...] = ()
    unsure: tuple[str, ...] = ()
    """Rules of which it cannot be told (`>50 %` may be above 54 %)."""
    lines: tuple[Line, ...] = ()
    """What the comparison rests on, such as a factor because of another drug."""


def specs_in_force(evaluation: Evaluation, knowledge: Knowledge) -> dict[str, list[Spec]]:
    """The comparisons of all threshold rules that are about this patient, by marker."""
    found: dict[str, list[Spec]] = {}
    rules = {rule.id: rule for rule in knowledge.rules if rule.kind == "threshold"}
    for outcome in evaluation.outcomes:
        rule = rules.get(outcome.rule)
        if rule is None or not outcome.applies or outcome.failed or outcome.reason == UNCERTAIN:
            continue
        for fields in rule.spec.get("any_of", (rule.spec,)):
            found.setdefault(fields["marker"], []).append(Spec(rule, fields, outcome.finding))
    return found


# -- one result --------------------------------------------------------------------------------------


def judge(result: Measurement, ctx: Context, specs: Iterable[Spec]) -> Judged:
    """Compare one usable result with every limit in whose scope it lies."""
    passed: list[Passed] = []
    unsure: list[str] = []
    lines: dict[str, Line] = {}
    for spec in specs:
        if not _looks_at(spec, result, ctx):
            continue
        adjusted = adjust(result, spec.fields.get("adjust"), ctx)
        lines.update({line.message: line for line in adjusted.lines})
        value = ctx.shown(result, adjusted.factor)
        for limit in limits_of(spec.fields, result, ctx):
            answer = passes(value, result.comparator, limit.operator, limit.value)
            if answer is None:
                unsure.append(spec.rule.id)
            elif answer:
                text = _text(result.marker, limit.value, ctx.knowledge)
                passed.append(Passed(spec.rule.id, limit.operator, text, spec.urgency(result), bool(limit.source)))
    passed.sort(key=lambda one: RANK[one.indicator])
    return Judged(tuple(passed), tuple(dict.fromkeys(unsure)), tuple(lines.values()))


def _looks_at(spec: Spec, result: Measurement, ctx: Context) -> bool:
    if "trait" in spec.fields and spec.fields["trait"] not in result.traits:
        return False
    return not out_of_scope(result, _course(spec, ctx), spec.fields)


def _course(spec: Spec, ctx: Context) -> Therapy | None:
    return ctx.course(names(spec.fields["therapy"])) if "therapy" in spec.fields else None


def _text(marker: str, value: Decimal, knowledge: Knowledge) -> str:
    """A limit without zeros that say nothing."""
    text = display_text(knowledge.markers[marker], value)
    return text.rstrip("0").rstrip(".") if "." in text else text


# -- lines and bands -----------------------------------------------------------------------------------


def limits_in_force(marker: str, ctx: Context, specs: Iterable[Spec]) -> tuple[Limit, ...]:
    """The limits of a marker, highest first; equal ones of several rules are one."""
    lines: dict[tuple[str, Decimal, bool], list[tuple[Rule, tuple[Span, ...]]]] = {}
    for spec in specs:
        newest = next((one for one in ctx.comparable(marker) if _has_trait(spec, one)), None)
        spans = _spans(spec, ctx)
        if newest is None or not spans:
            continue
        for limit in limits_of(spec.fields, newest, ctx):
            key = (limit.operator, limit.value.normalize(), bool(limit.source))
            lines.setdefault(key, []).append((spec.rule, spans))
    found = []
    for (operator, value, own), rules in sorted(lines.items(), key=lambda pair: -pair[0][1]):
        rules.sort(key=lambda pair: RANK[pair[0].indicator])
        found.append(
            Limit(
                operator=operator,
                value=_text(marker, value, ctx.knowledge),
                indicator=rules[0][0].indicator,
                rules=tuple(dict.fromkeys(rule.id for rule, _ in rules)),
                title=rules[0][0].title,
                spans=joined(span for _, spans in rules for span in spans),
                of_laboratory=own,
            )
        )
    return tuple(found)


def _has_trait(spec: Spec, result: Measurement) -> bool:
    return "trait" not in spec.fields or spec.fields["trait"] in result.traits


def _spans(spec: Spec, ctx: Context) -> tuple[Span, ...]:
    """When the rule looks at samples; () if it looks at none."""
    course, fields = _course(spec, ctx), spec.fields
    if "therapy" not in fields:
        return (ALWAYS,)
    if course is None or (course.start is None and "to_day" in fields):
        return ()
    days: Span = ALWAYS
    if course.start is not None:
        first = 1 if fields.get("samples") == "after_start" else None
        first = fields.get("from_day", first)
        days = (_day(course.start, first), _day(course.start, fields.get("to_day")))
    return joined(both for span in _products(course, fields) if (both := shared(days, span)))


def _day(start: date, number: int | None) -> date | None:
    return None if number is None else start + timedelta(days=number)


def _products(course: Therapy, fields: Mapping[str, Any]) -> list[Span]:
    """Days under the products that the rule is about; all days if it is about any."""
    word = next((word for word in ("product", "not_product") if word in fields), "")
    if not word:
        return [ALWAYS]
    wanted, found = fields[word], []
    for number, supply in enumerate(course.supplies):  # newest first
        named = "agent" not in wanted or supply.agent in names(wanted["agent"])
        if (supply.form in names(wanted["form"]) and named) is (word == "product"):
            # A product counts until the next one begins, also where its supply has run out,
            # and the first one for whatever was before it: so `supplies_on` has it.
            following = course.supplies[number - 1].start if number else None
            oldest = supply is course.supplies[-1]
            found.append((None if oldest else supply.start, _day(following, -1) if following else None))
    return found


def shared(one: Span, other: Span) -> Span | None:
    """Days that are in both spans; None if there are none."""
    first = max((day for day in (one[0], other[0]) if day), default=None)
    last = min((day for day in (one[1], other[1]) if day), default=None)
    return None if first and last and first > last else (first, last)


def joined(spans: Iterable[Span]) -> tuple[Span, ...]:
    """Spans in order; those that touch or overlap as one."""
    found: list[Span] = []
    for span in sorted(spans, key=lambda one: one[0] or date.min):
        last = found[-1][1] if found else None
        if found and (last is None or (span[0] or date.min) <= last + timedelta(days=1)):
            ends = (last, span[1])
            found[-1] = (found[-1][0], None if None in ends else max(day for day in ends if day))
        else:
            found.append(span)
    return tuple(found)


def band_of(limits: Iterable[Limit]) -> Band | None:
    """The band between the highest lower limit and the lowest upper one; None where one side has none."""
    limits = tuple(limits)
    lows = [one for one in limits if one.operator.startswith("<")]
    highs = [one for one in limits if one.operator.startswith(">")]
    if not lows or not highs:
        return None
    low = max(lows, key=lambda one: Decimal(one.value))
    high = min(highs, key=lambda one: Decimal(one.value))
    spans = tuple(both for a in low.spans for b in high.spans if (both := shared(a, b)))
    if Decimal(low.value) >= Decimal(high.value) or not spans:
        return None
    return Band(low.value, high.value, spans)
