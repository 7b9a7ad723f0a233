"""Kind `schedule`: which tests are due at the milestone that is open today (3.1).

Day arithmetic: a milestone has `opens`, `target`, `overdue_after` and (stated or implied) `closes`, in days
from the start of the course; a repeating one adds `every` to each. A test is satisfied by a final result from
`opens` up to today. A course whose start is unknown is *established*: only the annual rule runs.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, timedelta

import msgspec

from cds_service.chart import Measurement, Order, Therapy
from cds_service.knowledge.model import Indicator, Item, Milestone, Protocol, Rule, Schedule, Window
from cds_service.knowledge.vocabulary import Test
from cds_service.rules import timetable
from cds_service.rules.context import NOT_PERFORMED, Context
from cds_service.rules.lines import about_facts, about_rule
from cds_service.rules.outcome import Doubt, Due, Fact, Finding, Line, Outcome
from cds_service.rules.predicates import holds
from cds_service.rules.questions import Truth


class Open(msgspec.Struct, frozen=True):
    """The milestone that is open today, as dates."""

    key: str
    name: str
    opens: date
    target: date
    overdue_from: date
    items: tuple[Item, ...]
    number: int = 0
    baseline: str = ""
    """Switch that says how far back a result counts; '' unless this is the baseline."""
    again: tuple[int, int] | None = None
    """Days after the last result of a test from which it is due, and after which it is overdue; `target` and
    `overdue_from` mean nothing then, and `opens` is the day before which a result is no last result."""


class Status(msgspec.Struct, frozen=True):
    """One test at a milestone: exactly one of `done`, `due`, `ordered`, `doubts` says how it stands."""

    test: Test
    done: date | None = None
    due: Due | None = None
    ordered: Order | None = None
    doubts: tuple[Doubt, ...] = ()
    late: bool = False


def evaluate(rule: Rule, truth: Truth, ctx: Context) -> Outcome:
    """Say which tests of the protocol's open milestone are missing."""
    schedule = plan_for(rule, ctx)
    if schedule is None:
        return Outcome(rule.id, "not applicable", "not asked for in this schedule")
    if rule.spec.get("milestone") == "baseline":
        return _at_order(rule, truth, schedule, ctx)
    course = ctx.course(frozenset(schedule.anchor))
    if course is None:
        return Outcome(rule.id, "not applicable", "no current course")
    changed = _changed(schedule, course, ctx)
    if not (changed or course.start or schedule.milestones[0].after_last):
        statuses = [_yearly(item, schedule, ctx) for item in _asked(schedule.yearly, ctx)]
        timetable.note(ctx, schedule.profile, course, None, None, statuses)
        return _outcome(rule, (course,), schedule, None, statuses, ctx)
    began = course.start or changed or date.min
    opened, following = _timeline(schedule, course.start, changed, ctx.as_of)
    statuses = _statuses(opened, began, changed, ctx) if opened else []
    timetable.note(ctx, schedule.profile, course, changed or course.start, opened, statuses)
    if opened is None:
        return Outcome(rule.id, "fine", "no milestone is open", next_due=following)
    outcome = _outcome(rule, (course,), schedule, opened, statuses, ctx)
    waiting = outcome.result == "finding" and opened.again is None and opened.target >= ctx.as_of
    return msgspec.structs.replace(outcome, next_due=opened.target if waiting else following)


def plan_for(rule: Rule, ctx: Context) -> Schedule | None:
    """The milestones that the rule tells: the schedule's, or one row beside them (None: the profile has none)."""
    plan = plan_of(_protocol(rule, ctx), ctx)
    if "row" not in rule.spec:
        return plan
    row = plan.beside.get(rule.spec["row"])
    if row is None:
        return None
    profile = "" if rule.spec.get("rests_on") == "rule" else plan.profile
    return msgspec.structs.replace(plan, milestones=row.milestones, clock=row.clock, yearly=(), profile=profile)


def tests_of(milestones: tuple[Milestone, ...], _: Context) -> frozenset[str]:
    """The tests of all of them."""
    return frozenset(item.test for milestone in milestones for item in milestone.items)


def plan_of(protocol: Protocol, ctx: Context) -> Schedule:
    """The schedule of a protocol for this patient: a variant whose condition holds, else the site's choice."""
    for variant in protocol.variants:
        if holds(variant.when, ctx).holds:
            return protocol.schedules[variant.profile]
    if not protocol.profile_switch:
        return next(iter(protocol.schedules.values()))
    return protocol.schedules[ctx.switch(protocol.profile_switch)]


def _protocol(rule: Rule, ctx: Context) -> Protocol:
    return ctx.index.protocols[rule.protocol]


def _changed(schedule: Schedule, course: Therapy, ctx: Context) -> date | None:
    """Latest change of dose or product, or a further therapy of the anchor that was added; None if none counts."""
    if schedule.clock != "change" or not holds(schedule.clock_when, ctx).holds:
        return None
    courses = ctx.courses(frozenset(schedule.anchor))
    first = course.start or date.min
    days = [*(each.dose_changed for each in courses), *(each.start for each in courses if each is not course)]
    return max((day for day in days if day is not None and day > first), default=None)


def _timeline(
    schedule: Schedule, start: date | None, changed: date | None, today: date
) -> tuple[Open | None, date | None]:
    """The milestone that is open, and the next target day.

    A change of dose starts the milestones anew; the tests before the start keep to the start of the course, and
    where that is not known none of them is asked for.
    """
    if changed is None:
        began = start or date.min
        return open_milestone(schedule, began, today), next_target(schedule, began, today)
    later = msgspec.structs.replace(schedule, milestones=tuple(m for m in schedule.milestones if not m.look_back))
    opened = open_milestone(later, changed, today)
    if opened is None and start is not None:
        before = tuple(m for m in schedule.milestones if m.look_back)
        opened = open_milestone(msgspec.structs.replace(schedule, milestones=before), start, today)
    return opened, next_target(later, changed, today)


def _turn(window: Milestone | Window, day: int) -> int | None:
    """How often a window has opened again by this day: 0 for the first time, None if it has not opened yet."""
    if day < window.opens:
        return None
    return (day - window.opens) // window.every if window.every else 0


def open_milestone(schedule: Schedule, start: date, today: date) -> Open | None:
    """The milestone opened last, if it is not closed yet."""
    day = (today - start).days
    best: tuple[int, int, Milestone] | None = None
    for milestone in schedule.milestones:
        turn = _turn(milestone, day)
        if turn is None:
            continue
        opens = milestone.opens + turn * (milestone.every or 0)
        if best is None or opens >= best[0]:
            best = (opens, turn, milestone)
    if best is None:
        return None
    opens, shift, milestone = best
    offset = opens - milestone.opens
    if milestone.closes is not None and not milestone.every and day >= milestone.closes:
        return None

    if milestone.after_last:
        again = (milestone.again, milestone.overdue_after)
        first = date.min if milestone.counts_from is None else start + timedelta(days=milestone.counts_from)
        return Open(milestone.key, milestone.name, first, today, date.max, milestone.items, again=again)

    def on(number: int) -> date:
        return start + timedelta(days=number + offset)

    return Open(
        milestone.key,
        milestone.name,
        on(milestone.opens),
        on(milestone.target),
        on(milestone.overdue_after) + timedelta(days=1),
        milestone.items,
        shift + 1,
        milestone.look_back,
    )


def next_target(schedule: Schedule, start: date, today: date) -> date | None:
    """Target day of the next milestone that has not opened yet."""
    day = (today - start).days
    coming = []
    for milestone in schedule.milestones:
        shift = 0
        if milestone.opens <= day:
            if not milestone.every or milestone.after_last:
                continue
            shift = (day - milestone.opens) // milestone.every + 1
        coming.append(milestone.target + shift * (milestone.every or 0))
    return start + timedelta(days=min(coming)) if coming else None


def _asked(items: Iterable[Item], ctx: Context) -> list[Item]:
    """Items whose condition holds; one whose condition cannot be known is asked for."""
    return [item for item in items if item.when is None or holds(item.when, ctx).holds is not False]


def _statuses(opened: Open, began: date, changed: date | None, ctx: Context) -> list[Status]:
    """The tests that are asked for at a milestone; one whose own window has not opened yet is not."""
    windows = ((item, _own_window(item, opened, began, changed, ctx.as_of)) for item in _asked(opened.items, ctx))
    return [_in_window(item, window, ctx) for item, window in windows if window is not None]


def _in_window(item: Item, window: Open, ctx: Context) -> Status:
    status = _status(item, window, ctx)
    if status.due is None or item.window is None:
        return status
    return msgspec.structs.replace(status, due=msgspec.structs.replace(status.due, target=window.target))


def _own_window(item: Item, opened: Open, began: date, changed: date | None, today: date) -> Open | None:
    """The days of a test: its own if it has some, else the milestone's.

    Its own begin again with a change of dose, as the milestones do; those that come back keep to the start.
    """
    window = item.window
    if window is None:
        return opened
    if changed is not None and not window.every:
        began = changed
    turn = _turn(window, (today - began).days)
    if turn is None:
        return None
    first = began + timedelta(days=turn * (window.every or 0))
    return msgspec.structs.replace(
        opened,
        opens=first + timedelta(days=window.opens),
        target=first + timedelta(days=window.target),
        overdue_from=first + timedelta(days=window.overdue_after + 1),
        baseline="",
        again=None,
    )


def _status(item: Item, opened: Open, ctx: Context) -> Status:
    test = ctx.knowledge.tests[item.test]
    if opened.again is not None:
        return _after_last(test, *opened.again, ctx, opened.opens)
    opens = opened.opens
    if opened.baseline:
        opens = opened.target - timedelta(days=ctx.switch(item.look_back or opened.baseline))
    overdue = ctx.as_of >= opened.overdue_from
    done = done_since(test, opens, ctx)
    if done is not None:
        return Status(test, done=done, late=bool(opened.baseline) and done >= opened.overdue_from)
    return _missing(test, opens, overdue, ctx)


def _after_last(test: Test, again: int, overdue_after: int, ctx: Context, first: date = date.min) -> Status:
    """A test that is due so many days after its own last result; one before `first` is none."""
    fresh = max(first, ctx.as_of - timedelta(days=again - 1))
    done = done_since(test, fresh, ctx)
    if done is not None:
        return Status(test, done=done)
    tolerated = max(first, ctx.as_of - timedelta(days=overdue_after))
    return _missing(test, fresh, done_since(test, tolerated, ctx) is None, ctx)


def _yearly(item: Item, schedule: Schedule, ctx: Context) -> Status:
    test = ctx.knowledge.tests[item.test]
    return _after_last(test, schedule.yearly_due_days, schedule.yearly_overdue_days, ctx)


def _missing(test: Test, opens: date, overdue: bool, ctx: Context) -> Status:
    if ctx.gaps:
        markers = sorted(ctx.index.shown_by[test.key])
        doubts = tuple(doubt for marker in markers for doubt in ctx.doubts(marker, opens))
        if doubts:
            return Status(test, doubts=doubts)
    order = ctx.already_ordered(test)
    if order is not None:
        return Status(test, ordered=order)
    due = Due(test.key, overdue, done_since(test, None, ctx), _preliminary(test, opens, ctx))
    return Status(test, due=due)


def done_since(test: Test, opens: date | None, ctx: Context) -> date | None:
    """Day of the newest result, up to today, that shows the test was done on or after `opens` (None: ever).

    None if there is none. A result of tomorrow (4.1.2 tolerates one, for time zones) is not done yet (3.1).
    """
    if ctx.index.done_by[test.key].isdisjoint(ctx.chart.measurements):
        return None
    days = []
    for markers in test.done_by:
        newest = [day for marker in markers if (day := _newest(marker, opens, ctx)) is not None]
        if len(newest) == len(markers):
            days.append(min(newest))
    if test.same_day and ctx.switch(test.same_day_switch):
        days.extend(_together(test.same_day, opens, ctx))
    return max(days, default=None)


def _newest(marker: str, opens: date | None, ctx: Context) -> date | None:
    for measurement in ctx.done(marker):
        when = measurement.when
        if when and when.day <= ctx.as_of and (opens is None or when.last_day >= opens):
            return when.day
    return None


def _together(markers: frozenset[str], opens: date | None, ctx: Context) -> list[date]:
    """Days on which all the markers have a result."""
    days = [{m.when.day for m in ctx.performed(k) if m.when and m.when.precision != "month"} for k in markers]
    shared = set.intersection(*days) if days else set()
    return [day for day in shared if day <= ctx.as_of and (opens is None or day >= opens)]


def _preliminary(test: Test, opens: date, ctx: Context) -> date | None:
    waiting: list[Measurement] = [
        m
        for marker in ctx.index.shown_by[test.key] & ctx.chart.measurements.keys()
        for m in ctx.chart.measurements[marker]
        if m.status in ("preliminary", "registered") and m.problem not in NOT_PERFORMED
    ]
    return max((m.when.day for m in waiting if m.when and m.when.last_day >= opens), default=None)


def _outcome(
    rule: Rule, facts: tuple[Fact, ...], plan: Schedule, opened: Open | None, statuses: list[Status], ctx: Context
) -> Outcome:
    due = tuple(status.due for status in statuses if status.due)
    doubts = _distinct(doubt for status in statuses for doubt in status.doubts)
    missing = [ctx.knowledge.tests[item.test] for item in due]
    why = "{tests}" if missing else "all tests of the milestone are done or ordered"
    named = {"tests": ", ".join(test.key for test in missing)}
    if not due:
        return Outcome(rule.id, "unknown" if doubts else "fine", why, doubts, values=named)
    late = [status for status in statuses if status.late]
    lines = [Line("late_baseline", {"test": s.test.name, "day": s.done}) for s in late]
    unknown = sorted({status.test.name for status in statuses if status.doubts})
    if unknown:
        lines.append(Line("tests_unknown", {"tests": unknown}))
    finding = Finding(
        rule=rule,
        indicator=indicator_for(rule, due, ctx),
        facts=facts,
        lines=(*lines, *about_rule(rule, ctx), *about_facts(facts)),
        values={
            "protocol": _protocol(rule, ctx),
            "milestone": opened,
            "overdue": any(item.overdue for item in due),
        },
        due=due,
        ordered=tuple((s.test.key, s.ordered) for s in statuses if s.ordered),
        doubts=doubts,
        profile=plan.profile,
    )
    return Outcome(rule.id, "finding", why, doubts, finding, values=named)


def indicator_for(rule: Rule, due: Iterable[Due], ctx: Context) -> Indicator:
    """Urgency of a card with these tests: `warning` if a safety test is overdue (3.1), else the rule's own.

    At ordering the tests of `warning_if` make it a warning.
    """
    grave = rule.spec.get("warning_if", ())
    serious = any(item.test in grave or (item.overdue and ctx.knowledge.tests[item.test].safety) for item in due)
    return "warning" if serious else rule.indicator


def with_due(finding: Finding, due: tuple[Due, ...], ctx: Context) -> Finding:
    """The finding about some of its tests only."""
    indicator = indicator_for(finding.rule, due, ctx)
    values = {**finding.values, "overdue": any(item.overdue for item in due)}
    return msgspec.structs.replace(finding, due=due, indicator=indicator, values=values)


def _at_order(rule: Rule, truth: Truth, schedule: Schedule, ctx: Context) -> Outcome:
    """The baseline set for a therapy that is about to start: today is day 0."""
    milestone = next(m for m in schedule.milestones if m.look_back)
    opened = Open(
        milestone.key,
        milestone.name,
        ctx.as_of + timedelta(days=milestone.opens),
        ctx.as_of,
        ctx.as_of + timedelta(days=milestone.overdue_after + 1),
        milestone.items,
        baseline=milestone.look_back,
    )
    statuses = [_status(item, opened, ctx) for item in _asked(opened.items, ctx)]
    timetable.note(ctx, schedule.profile, None, ctx.as_of, opened, statuses)
    return _outcome(rule, truth.facts, schedule, opened, statuses, ctx)


def _distinct(doubts: Iterable[Doubt]) -> tuple[Doubt, ...]:
    return tuple({doubt.key(): doubt for doubt in doubts}.values())
