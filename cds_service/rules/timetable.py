"""What `explain` tells of a schedule: the start, the day, the open milestone, and how each of its tests stands."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from typing import TYPE_CHECKING

from cds_service.chart import Therapy
from cds_service.rules.context import Context
from cds_service.rules.outcome import TestState, Timetable

if TYPE_CHECKING:
    from cds_service.rules.schedule import Open, Status


def note(  # all that there is to say about a schedule
    ctx: Context,
    profile: str,
    anchor: Therapy | None,
    start: date | None,
    opened: Open | None,
    statuses: Iterable[Status],
) -> None:
    """Keep the arithmetic of one schedule where the evaluation is traced. `start` is day 0, None if not known."""
    if ctx.steps is None:
        return
    dated = opened is not None and opened.again is None
    ctx.steps.append(
        Timetable(
            profile=profile,
            anchor=anchor,
            start=start,
            day=None if start is None else (ctx.as_of - start).days,
            milestone=opened.name if opened else "",
            opens=opened.opens if opened and dated else None,
            target=opened.target if opened and dated else None,
            overdue_from=opened.overdue_from if opened and dated else None,
            again=opened.again if opened else None,
            tests=tuple(map(_state, statuses)),
        )
    )


def _state(status: Status) -> TestState:
    key = status.test.key
    if status.done is not None:
        return TestState(key, "done", status.done)
    if status.due is not None:
        return TestState(key, "overdue" if status.due.overdue else "due", status.due.last)
    if status.ordered is not None:
        return TestState(key, "ordered", order=status.ordered.source or "suggestion accepted")
    return TestState(key, "unknown")
