"""When tests are due: the milestones that are open today, and those that come if the therapy goes on.

What comes is what the schedule rules themselves say on the day for which a milestone is meant, with the results
that are in the chart today.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import date, timedelta
from typing import Literal

import msgspec

from cds_service.chart import Chart
from cds_service.knowledge.model import Rule
from cds_service.rules.context import Context
from cds_service.rules.engine import evaluate
from cds_service.rules.outcome import Evaluation, Outcome, TestState, Timetable
from cds_service.rules.schedule import done_since, plan_for

LOOK_AHEAD_DAYS = 400
"""How far the time line looks ahead: a yearly milestone and its grace."""
MOST_MILESTONES = 4
"""Of one schedule, those ahead."""

State = Literal["coming", "due", "overdue", "ordered", "unknown"]


class DueTest(msgspec.Struct, frozen=True):
    """One test that is due on a day."""

    key: str
    name: str
    state: State
    last: date | None
    """Day of its last result, None if the chart has none."""
    markers: tuple[str, ...]
    """What it brings."""


class Due(msgspec.Struct, frozen=True):
    """Tests that one schedule asks for on one day."""

    day: date
    protocol: str
    milestone: str
    """'' for the annual rule of a course whose start is not known."""
    tests: tuple[DueTest, ...]
    overdue_from: date | None = None


def coming(chart: Chart, evaluation: Evaluation, ctx: Context) -> tuple[Due, ...]:
    """All that is due now and within the days ahead, by day; `evaluation` is a traced one."""
    judged = {evaluation.as_of: evaluation}

    def on(day: date) -> Evaluation:
        if day not in judged:
            judged[day] = evaluate(chart, ctx.knowledge, as_of=day, hook=evaluation.hook, traced=True)
        return judged[day]

    rules = {rule.id: rule for rule in ctx.knowledge.rules if rule.kind == "schedule"}
    found: list[Due] = []
    for outcome in evaluation.outcomes:
        if outcome.rule in rules and outcome.trace:
            now = list(_now(rules[outcome.rule], outcome, ctx))
            told = {(one.day, one.milestone) for one in now}
            ahead = _ahead(rules[outcome.rule], outcome, on, ctx)
            found += [*now, *(one for one in ahead if (one.day, one.milestone) not in told)]
    return tuple(sorted(found, key=lambda one: (one.day, one.protocol)))


def _timetable(outcome: Outcome) -> Timetable | None:
    return next((step for step in outcome.trace if isinstance(step, Timetable)), None)


def _now(rule: Rule, outcome: Outcome, ctx: Context) -> Iterator[Due]:
    """What the open milestone still asks for, and what waits until so many days after its last result."""
    table = _timetable(outcome)
    if table is None:
        return
    own = {due.test: due.target for due in outcome.finding.due if due.target} if outcome.finding else {}
    waiting: dict[date, list[TestState]] = {}
    for state in table.tests:
        if state.state != "done":
            waiting.setdefault(own.get(state.test, table.target or ctx.as_of), []).append(state)
    for day, states in waiting.items():
        yield _due(rule, table, day, states, ctx)
    after = table.again[0] if table.again else _yearly(rule, table, ctx)
    again: dict[date, list[TestState]] = {}
    for state in table.tests if after else ():
        if state.state == "done" and state.day:
            again.setdefault(state.day + timedelta(days=after), []).append(state)
    for day, states in again.items():
        if day <= ctx.as_of + timedelta(days=LOOK_AHEAD_DAYS):
            yield _due(rule, table, day, states, ctx)


def _ahead(rule: Rule, outcome: Outcome, on: Callable[[date], Evaluation], ctx: Context) -> Iterator[Due]:
    """The milestones that open later, as the rule says on the day for which each is meant."""
    day = outcome.next_due
    for _ in range(MOST_MILESTONES):
        if day is None or day > ctx.as_of + timedelta(days=LOOK_AHEAD_DAYS):
            return
        later = next((one for one in on(day).outcomes if one.rule == rule.id), None)
        table = _timetable(later) if later else None
        if table and table.target == day:
            states = [state for state in table.tests if state.state != "done"]
            if states and day > ctx.as_of:
                yield _due(rule, table, day, states, ctx, ahead=True)
        # On its own day a milestone is still the next one; the day after tells the one that follows.
        after = next((one for one in on(day + timedelta(days=1)).outcomes if one.rule == rule.id), None)
        day = after.next_due if after else None


def _yearly(rule: Rule, table: Timetable, ctx: Context) -> int:
    """Days after the last result at which the annual rule asks again; 0 where it is not in force."""
    plan = plan_for(rule, ctx) if table.start is None and table.anchor else None
    return plan.yearly_due_days if plan else 0


def _due(
    rule: Rule, table: Timetable, day: date, states: Iterable[TestState], ctx: Context, *, ahead: bool = False
) -> Due:
    protocol = next(one for one in ctx.knowledge.protocols if one.key == rule.protocol)
    return Due(
        day=day,
        protocol=protocol.name,
        milestone=table.milestone,
        tests=tuple(_test(state, ctx, ahead) for state in states),
        overdue_from=table.overdue_from,
    )


def _test(state: TestState, ctx: Context, ahead: bool) -> DueTest:
    told: State = "coming" if state.state == "done" or (ahead and state.state == "due") else state.state
    test = ctx.knowledge.tests[state.test]
    markers = test.brings.union(*test.done_by)
    return DueTest(test.key, test.name, told, done_since(test, None, ctx), tuple(sorted(markers)))
