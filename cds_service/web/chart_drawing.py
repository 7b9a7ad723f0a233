"""Where everything on the chart page stands: per cent of the width across, pixels down.

Pure arithmetic on `ChartData`. A plot is as wide as the page, so places across are per cent: it needs no script,
keeps its letters at their size at any width, and prints sharp.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import date, timedelta
from itertools import pairwise
from math import ceil, floor, log10
from typing import Literal

import msgspec

from cds_service.web.chart_data import ChartData, Course, Point, Series
from cds_service.web.chart_due import Due
from cds_service.web.chart_limits import Limit

HEIGHT = 168
"""Of a plot, in pixels."""
LABEL_HEIGHT = 13
FEWEST_TICKS, MOST_TICKS = 3, 7
WIDTH = 100.0
"""Per cent."""
MARGIN = 0.03
"""Share of the time shown that is left free at both ends."""
LEAST_DAYS = 120
"""Before today that are shown at least."""
YEAR = 12
MONTHS = (1, 2, 3, 6, 12, 24, 60, 120, 600)
"""Distances of ticks on the time axis."""
NEAR_START = 12
"""Per cent of the width within which a text is written towards the middle."""

Kind = Literal["within", "above", "below", "unsure", "open"]


class Tick(msgspec.Struct, frozen=True):
    """A tick of an axis; every second one on the time axis is `minor`, for narrow pages."""

    at: float
    text: str
    minor: bool = False


class Mark(msgspec.Struct, frozen=True):
    """One result in a plot."""

    x: float
    y: float
    kind: Kind
    """`above`, `below` a limit; `unsure` whether; `open`: preliminary, so not judged."""
    point: Point
    row: str
    """Id of its row in the table."""
    anchor: Literal["start", "middle", "end"]


class Rule(msgspec.Struct, frozen=True):
    """A limit as a line; `labelled` False where a more urgent one is too near."""

    x1: float
    x2: float
    y: float
    limit: Limit
    labelled: bool


class Box(msgspec.Struct, frozen=True):
    """A rectangle; `open_start`, `open_end`: it goes on beyond what is known or shown."""

    x: float
    width: float
    y: float = 0
    height: float = HEIGHT
    open_start: bool = False
    open_end: bool = False


class Flag(msgspec.Struct, frozen=True):
    """A day on which something is due."""

    x: float
    due: Due
    state: str
    anchor: Literal["start", "middle", "end"]


class Plot(msgspec.Struct, frozen=True):
    """One marker."""

    series: Series
    ticks: tuple[Tick, ...]
    band: tuple[Box, ...]
    rules: tuple[Rule, ...]
    lines: tuple[tuple[float, float, float, float], ...]
    """From one result to the next: x1, y1, x2, y2."""
    marks: tuple[Mark, ...]
    flags: tuple[Flag, ...]
    cut_off: Box | None
    """Where earlier results were not sent."""
    out_of_view: tuple[Limit, ...]
    earlier: int
    """Results before the time shown."""


class Bar(msgspec.Struct, frozen=True):
    """One therapy: a box for each product, and where the dose changed."""

    course: Course
    boxes: tuple[tuple[Box, int], ...]
    """With the index of the piece."""


class Drawing(msgspec.Struct, frozen=True):
    """The page."""

    first: date
    last: date
    today: float
    ticks: tuple[Tick, ...]
    starts: tuple[float, ...]
    """Where a therapy began or its dose changed."""
    plots: tuple[Plot, ...]
    single: tuple[Series, ...]
    """Markers with one result and no limit: nothing to draw."""
    bars: tuple[Bar, ...]
    flags: tuple[Flag, ...]
    height: int = HEIGHT


class Scale(msgspec.Struct, frozen=True):
    """The time axis."""

    first: date
    last: date

    def x(self, day: date) -> float:
        """Per cent of the width; below 0 and above 100 for days that are not shown."""
        return round((day - self.first).days / (self.last - self.first).days * WIDTH, 3)

    def shows(self, day: date) -> bool:
        """True if the day is inside."""
        return self.first <= day <= self.last

    def box(self, first: date | None, last: date | None) -> Box | None:
        """The part of a span that is shown; None if there is none."""
        start = 0.0 if first is None else self.x(first)
        end = WIDTH if last is None else self.x(last)
        left, right = max(start, 0.0), min(end, WIDTH)
        if right < left or start > WIDTH or end < 0:
            return None
        return Box(left, round(right - left, 3), open_start=start < 0 or first is None, open_end=end > WIDTH)


def drawing(data: ChartData, *, since: date | None = None) -> Drawing:
    """The page's figures; `since`: the first day shown, None for all that there is."""
    scale = _scale(data, since)
    drawn = [series for series in data.series if len(series.points) > 1 or (series.points and series.limits)]
    starts = [day for course in data.courses for day in (course.start, course.dose_changed) if day]
    return Drawing(
        first=scale.first,
        last=scale.last,
        today=scale.x(data.as_of),
        ticks=time_ticks(scale),
        starts=tuple(sorted({x for day in starts if 0 < (x := scale.x(day)) < WIDTH})),
        plots=tuple(_plot(series, data, scale) for series in drawn),
        single=tuple(series for series in data.series if series.points and series not in drawn),
        bars=tuple(_bar(course, data, scale) for course in data.courses),
        flags=tuple(_flag(due, scale) for due in data.due if scale.shows(due.day)),
    )


def _scale(data: ChartData, since: date | None) -> Scale:
    days = [point.day for series in data.series for point in series.points if point.day]
    days += [course.start for course in data.courses if course.start and course.current]
    ahead = [due.day for due in data.due]
    last = max([data.as_of, *ahead, *days])
    first = since or min([data.as_of - timedelta(days=LEAST_DAYS), *days])
    pad = timedelta(days=max(5, ceil((last - first).days * MARGIN)))
    return Scale(first if since else first - pad, last + pad)


def time_ticks(scale: Scale) -> tuple[Tick, ...]:
    """First days of months, as few as are readable: `2026-08`, or years alone."""
    first, last = _month(scale.first), _month(scale.last)
    step = next((step for step in MONTHS if (last - first) / step <= MOST_TICKS), MONTHS[-1])
    days = [date(number // YEAR, number % YEAR + 1, 1) for number in range(first, last + 1) if number % step == 0]
    inside = [day for day in days if NEAR_START / 4 < scale.x(day) < WIDTH - NEAR_START / 4]
    return tuple(
        Tick(scale.x(day), f"{day:%Y}" if step >= YEAR else f"{day:%Y-%m}", minor=bool(place % 2))
        for place, day in enumerate(inside)
    )


def _month(day: date) -> int:
    """Months since the year 0."""
    return day.year * YEAR + day.month - 1


# -- one marker ----------------------------------------------------------------------------------------


def _plot(series: Series, data: ChartData, scale: Scale) -> Plot:
    rows = {f"{series.marker}-{number}": point for number, point in enumerate(series.points, 1)}
    points = {row: point for row, point in rows.items() if point.day and point.day >= scale.first}
    values = [float(point.value) for point in points.values()]
    low, high = value_range(values, [float(one.value) for one in series.limits])

    def y(value: str) -> float:
        return round(HEIGHT * (high - float(value)) / (high - low), 1)

    marks = [_mark(point, y, scale, row) for row, point in points.items()]
    flags = [
        _flag(due, scale)
        for due in data.due
        if any(series.marker in test.markers for test in due.tests) and scale.shows(due.day)
    ]
    shown = [limit for limit in series.limits if low <= float(limit.value) <= high]
    cut = scale.box(None, series.complete_since) if series.complete_since else None
    return Plot(
        series=series,
        ticks=tuple(Tick(y(text), text) for text in value_ticks(low, high)),
        band=_band(series, y, scale),
        rules=_rules(shown, y, scale),
        lines=tuple((a.x, a.y, b.x, b.y) for a, b in pairwise(marks)),
        marks=tuple(marks),
        flags=tuple(flags),
        cut_off=cut,
        out_of_view=tuple(limit for limit in series.limits if limit not in shown),
        earlier=len(series.points) - len(points),
    )


def _mark(point: Point, y: Callable[[str], float], scale: Scale, row: str) -> Mark:
    kind: Kind = "within"
    if point.passed:
        kind = "above" if point.passed[0].operator.startswith(">") else "below"
    elif point.status in ("preliminary", "registered"):
        kind = "open"
    elif point.unsure:
        kind = "unsure"
    x = scale.x(point.day or scale.first)
    return Mark(x, y(point.value), kind, point, row, _anchor(x))


def _anchor(x: float) -> Literal["start", "middle", "end"]:
    return "start" if x < NEAR_START else "end" if x > WIDTH - NEAR_START else "middle"


def value_range(values: Sequence[float], limits: Iterable[float]) -> tuple[float, float]:
    """Lowest and highest value of a plot: the results, the nearest limits around them, and others not far off."""
    if not values:
        return 0.0, 1.0
    low, high = min(values), max(values)
    limits = sorted(limits)
    shown = [low, high]
    shown += [one for one in limits if one > high][:1] + [one for one in limits if one < low][-1:]
    low, high = min(shown), max(shown)
    reach = (high - low) * 0.7
    near = [one for one in limits if low - reach <= one <= high + reach]
    low, high = min([low, *near]), max([high, *near])
    pad = (high - low) * 0.12 or abs(high) * 0.1 or 1.0
    return (0.0 if 0 <= low < pad else low - pad), high + pad


def value_ticks(low: float, high: float) -> tuple[str, ...]:
    """Round numbers between the ends, three to seven of them; two where three would be a crowd."""
    rough = (high - low) / 4
    power = 10.0 ** floor(log10(rough))
    steps = [step * power for step in (0.5, 1, 2, 5, 10)]
    place = next(place for place, step in enumerate(steps) if step >= rough)
    wide, narrow = (_multiples(steps[each], low, high) for each in (place, place - 1))
    return wide if len(wide) >= FEWEST_TICKS or len(narrow) > MOST_TICKS else narrow


def _multiples(step: float, low: float, high: float) -> tuple[str, ...]:
    decimals = max(0, -floor(log10(step)))
    return tuple(f"{number * step:.{decimals}f}" for number in range(ceil(low / step), floor(high / step) + 1))


def _band(series: Series, y: Callable[[str], float], scale: Scale) -> tuple[Box, ...]:
    if series.band is None:
        return ()
    top = max(y(series.band.high), 0)
    height = round(min(y(series.band.low), HEIGHT) - top, 1)
    boxes = (scale.box(*span) for span in series.band.spans)
    return tuple(msgspec.structs.replace(box, y=top, height=height) for box in boxes if box and height > 0)


def _rules(limits: Iterable[Limit], y: Callable[[str], float], scale: Scale) -> tuple[Rule, ...]:
    urgency = {"critical": 0, "warning": 1, "info": 2}
    found: list[Rule] = []
    labels: list[float] = []
    for limit in sorted(limits, key=lambda one: urgency[one.indicator]):
        at = y(limit.value)
        free = all(abs(at - other) >= LABEL_HEIGHT for other in labels)
        boxes = [box for span in limit.spans if (box := scale.box(*span))]
        for place, box in enumerate(boxes):
            found.append(Rule(box.x, round(box.x + box.width, 3), at, limit, free and place == len(boxes) - 1))
        labels += [at] if free and boxes else []
    return tuple(found)


# -- therapies and due dates ---------------------------------------------------------------------------


def _bar(course: Course, data: ChartData, scale: Scale) -> Bar:
    boxes = []
    # A course has no holes: each product lasts until the next one, the first one begins with the course.
    starts = [course.start, *(piece.start for piece in course.pieces[1:])]
    ends = [*starts[1:], data.as_of if course.current or course.unsure else course.end]
    for number, (start, end) in enumerate(zip(starts, ends, strict=True)):
        if box := scale.box(start, end):
            running = course.current and number == len(course.pieces) - 1
            boxes.append((msgspec.structs.replace(box, open_end=running), number))
    return Bar(course, tuple(boxes))


def _flag(due: Due, scale: Scale) -> Flag:
    order = ("overdue", "due", "unknown", "ordered", "coming")
    state = min((test.state for test in due.tests), key=order.index, default="coming")
    x = scale.x(due.day)
    return Flag(x, due, state, _anchor(x))
