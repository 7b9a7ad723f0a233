"""What the chart page shows, as data: courses, series with their limits, due dates, and what is not known.

    chart_data(chart, evaluation, words, cards) -> ChartData, ready for JSON

Nothing is judged here a second time: limits, samples in scope, adjustments and milestones are those of `rules/`.
Numbers are texts at display precision in the marker's canonical unit.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import date
from itertools import chain
from typing import Any

import msgspec

from cds_service.chart import Chart, Measurement, Therapy
from cds_service.hooks.cards import grouped
from cds_service.hooks.words import Words, day, plain, reported
from cds_service.knowledge.model import Knowledge
from cds_service.knowledge.statuses import USABLE
from cds_service.knowledge.units import display_text
from cds_service.rules.context import Context
from cds_service.rules.lines import about_result, doubt_lines
from cds_service.rules.outcome import Doubt, Evaluation
from cds_service.rules.quality import needed_by
from cds_service.web.chart_due import Due, coming
from cds_service.web.chart_limits import Band, Limit, Passed, band_of, judge, limits_in_force, specs_in_force
from cds_service.web.text import unmarked


class Point(msgspec.Struct, frozen=True):
    """One result: where it stands in the plot, as reported, and which limits it passes."""

    day: date | None
    written: str
    """The date as it was written, `2026-11` for a month, with the time of day where there is one."""
    value: str
    """Canonical unit, display precision, without comparator; '' if the result has no place in a plot."""
    comparator: str
    reported: str
    source: str
    status: str
    issued: bool = False
    """True if the date is that of issue."""
    range_low: str = ""
    range_high: str = ""
    """The laboratory's own range, canonical unit."""
    passed: tuple[Passed, ...] = ()
    """Limits that it passes, most urgent first."""
    unsure: tuple[str, ...] = ()
    """Limits of which it cannot be told."""
    problem: str = ""
    """Why it is not plotted: a problem of `Measurement`."""
    notes: tuple[str, ...] = ()
    """What must be said of it: inferred unit, conflict, factor because of another drug."""


class Said(msgspec.Struct, frozen=True):
    """A card or a finding of today, in short."""

    indicator: str
    summary: str
    topic: str


class Series(msgspec.Struct, frozen=True):
    """One marker over time, oldest result first."""

    marker: str
    name: str
    unit: str
    points: tuple[Point, ...]
    not_plotted: tuple[Point, ...]
    limits: tuple[Limit, ...]
    band: Band | None
    said: tuple[Said, ...]
    """What rules say of the course of the results (a rise, say): no limit in the plot shows it."""
    needed: bool
    """True if a rule or a schedule of this patient looks at it."""
    unknown: tuple[str, ...]
    """Why results may be missing, as sentences."""
    complete_since: date | None = None
    """Day from which on nothing is missing, where a list was cut off."""


class Piece(msgspec.Struct, frozen=True):
    """One product of a course; `form` '': not known, `start` None: not known, `end` None: still running."""

    agent: str
    form: str
    start: date | None
    end: date | None
    dose: str


class Course(msgspec.Struct, frozen=True):
    """One therapy over time, pieces oldest first."""

    key: str
    name: str
    start: date | None
    end: date | None
    """None while it goes on or may go on."""
    current: bool
    unsure: bool
    """True if it is not known whether it goes on."""
    on_hold: bool
    recognised: str
    from_text: bool
    dose_changed: date | None
    pieces: tuple[Piece, ...]


class ChartData(msgspec.Struct, frozen=True):
    """Everything on the page. No name and no identifier of the patient."""

    as_of: date
    knowledge: str
    protocols: tuple[str, ...]
    """Names of the protocols that apply."""
    deceased: bool
    said: tuple[Said, ...]
    series: tuple[Series, ...]
    """Those with results that pass a limit first, then in the order of the knowledge."""
    missing: tuple[str, ...]
    """Names of tests that are due, now or later, and have no result at all."""
    courses: tuple[Course, ...]
    due: tuple[Due, ...]
    """By day."""
    unknown: tuple[str, ...]
    """Everything that could not be known, as sentences."""
    came_in: int = 0
    used: int = 0
    silent: bool = False
    """True if the whole service is silent: results are shown, and nothing is said of them."""


def chart_data(
    chart: Chart, evaluation: Evaluation, words: Words, cards: Iterable[Mapping[str, Any]] = ()
) -> ChartData:
    """The chart page's data of a chart and its traced evaluation; `cards` are those that it gave."""
    knowledge, as_of = words.knowledge, evaluation.as_of
    ctx = Context(chart, knowledge, as_of, evaluation.hook)
    due = coming(chart, evaluation, ctx)
    needed = _needed(evaluation, due, knowledge)
    specs = specs_in_force(evaluation, knowledge)
    found = [
        msgspec.structs.replace(
            _series(marker, ctx, specs.get(marker, ()), words),
            needed=marker in needed,
            said=_said(marker, evaluation),
        )
        for marker in knowledge.markers
        if chart.measurements.get(marker)
    ]
    found.sort(key=lambda one: (not _passes_now(one), not one.needed))
    never = (test.name for one in due for test in one.tests if test.last is None)
    return ChartData(
        as_of=as_of,
        knowledge=knowledge.version,
        protocols=tuple(p.name for p in knowledge.protocols if p.key in evaluation.protocols),
        deceased=chart.patient.deceased,
        said=tuple(Said(card["indicator"], card["summary"], card["source"]["topic"]["code"]) for card in cards),
        series=tuple(found),
        missing=tuple(dict.fromkeys(never)),
        courses=tuple(_course(one, words) for one in sorted(chart.therapies, key=_first_day)),
        due=due,
        unknown=tuple(_sentences(_doubts(evaluation), words)),
        came_in=chart.resources_in,
        used=chart.resources_used,
    )


def _needed(evaluation: Evaluation, due: Iterable[Due], knowledge: Knowledge) -> frozenset[str]:
    """Markers that a rule about this patient looks at, or that one of the due tests brings."""
    about = {outcome.rule for outcome in evaluation.outcomes if outcome.applies}
    rules = [
        rule
        for rule in knowledge.rules
        if rule.id in about and rule.kind not in ("calculated", "quality") and rule.markers
    ]
    asked = {test.key for one in due for test in one.tests}
    return needed_by((rule for rule in rules if rule.protocol in evaluation.protocols), asked, knowledge).union(
        *(rule.markers for rule in rules if rule.kind == "threshold")
    )


def _said(marker: str, evaluation: Evaluation) -> tuple[Said, ...]:
    """Findings of rules about a rise, a fall or a trend of the marker."""
    findings = (outcome.finding for outcome in evaluation.outcomes if outcome.result == "finding")
    return tuple(
        Said(finding.indicator, finding.rule.title, finding.rule.id)
        for finding in findings
        if finding is not None and finding.marker == marker and finding.rule.kind == "change"
    )


def _passes_now(series: Series) -> bool:
    return bool(series.said or (series.points and series.points[-1].passed))


def _first_day(course: Therapy) -> tuple[bool, date]:
    return course.start is not None, course.start or date.min


# -- results -----------------------------------------------------------------------------------------


def _series(marker: str, ctx: Context, specs: Iterable[Any], words: Words) -> Series:
    known = ctx.knowledge.markers[marker]
    results = sorted(ctx.chart.measurements[marker], key=lambda one: one.day or date.max)
    points = [_point(one, ctx, specs, words) for one in results]
    limits = limits_in_force(marker, ctx, specs)
    return Series(
        marker=marker,
        name=known.name,
        unit=known.unit_display,
        points=tuple(one for one in points if one.value),
        not_plotted=tuple(one for one in points if not one.value),
        limits=limits,
        band=band_of(limits),
        said=(),
        needed=False,
        unknown=tuple(_sentences(ctx.doubts(marker), words)),
        complete_since=max(
            (gap.complete_since for gap in ctx.chart.gaps if marker in gap.covers and gap.complete_since),
            default=None,
        ),
    )


def _point(result: Measurement, ctx: Context, specs: Iterable[Any], words: Words) -> Point:
    known = ctx.knowledge.markers[result.marker]
    plotted = result.value is not None and not result.problem and result.when is not None
    judged = judge(result, ctx, specs) if plotted and result.status in USABLE else None
    ends = [
        "" if end is None else display_text(known, end) for end in (result.reference_low, result.reference_high)
    ]
    lines = chain(about_result(result, ctx.knowledge), judged.lines if judged else ())
    return Point(
        day=result.day,
        written=_written(result),
        value=display_text(known, result.value) if plotted and result.value is not None else "",
        comparator=result.comparator,
        reported=plain(reported(result)),
        source=result.source,
        status=result.status,
        issued=bool(result.when and result.when.issued),
        range_low=ends[0],
        range_high=ends[1],
        passed=judged.passed if judged else (),
        unsure=judged.unsure if judged else (),
        problem="" if plotted else result.problem or "undated",
        notes=tuple(unmarked(words.line(line)) for line in lines),
    )


def _written(result: Measurement) -> str:
    when = result.when
    clock = "" if when is None or when.hour is None else f" {when.hour:02d}:{when.minute or 0:02d}"
    return f"{day(when)}{clock}"


# -- therapies ---------------------------------------------------------------------------------------


def _course(course: Therapy, words: Words) -> Course:
    return Course(
        key=course.key,
        name=words.knowledge.therapies[course.key].name,
        start=course.start,
        end=None if course.unsure else course.end,
        current=course.current,
        unsure=course.unsure,
        on_hold=course.on_hold,
        recognised=words.recognised(plain(course.recognised)),
        from_text=course.from_text,
        dose_changed=course.dose_changed,
        pieces=tuple(_pieces(course, words)),
    )


def _pieces(course: Therapy, words: Words) -> list[Piece]:
    """The products of a course; renewals of the same one are one piece."""
    found: list[Piece] = []
    for one in reversed(course.supplies):
        form = words.phrase(one.form) if one.form != "unknown" else ""
        piece = Piece(plain(one.agent), form, one.start, one.end, plain(one.dose_text))
        before = found[-1] if found else None
        if before and (before.agent, before.form, before.dose) == (piece.agent, piece.form, piece.dose):
            found[-1] = msgspec.structs.replace(before, end=piece.end)
        else:
            found.append(piece)
    return found


# -- what is not known -------------------------------------------------------------------------------


def _doubts(evaluation: Evaluation) -> Iterator[Doubt]:
    for outcome in evaluation.outcomes:
        if outcome.result in ("unknown", "finding"):
            yield from outcome.doubts
    yield from evaluation.doubts


def _sentences(doubts: Iterable[Doubt], words: Words) -> list[str]:
    """Doubts as sentences, each cause once."""
    distinct = {doubt.key(): doubt for doubt in doubts}
    lines = doubt_lines(grouped(tuple(distinct.values()), words))
    return list(dict.fromkeys(unmarked(words.line(line)) for line in lines))
