"""What a user set aside stays away for a while: for as long as the reason is worth, and no longer than it may.

A snooze holds for one rule and one patient. It ends early when the finding is more urgent than the card was, or
rests on something new: a worse result, or a diagnosis or procedure that the card did not rest on. For tests that
are due it covers those that the card named: another one speaks, and so does one that has become more urgent.
"""

from __future__ import annotations

from datetime import date, timedelta

import msgspec

from cds_service.chart import Condition, Measurement, Procedure, SetAside
from cds_service.rules import schedule
from cds_service.rules.context import Context
from cds_service.rules.outcome import RANK, Due, Finding, Line, Snoozed

Ground = Measurement | Condition | Procedure


def grounds(finding: Finding) -> tuple[Ground, ...]:
    """The facts of the chart that a finding rests on, as far as a new one could end a snooze."""
    facts = (finding.result, *finding.facts) if finding.result else finding.facts
    return tuple(fact for fact in facts if isinstance(fact, Ground))


def hush(finding: Finding, ctx: Context) -> Finding | Snoozed:
    """The finding as it is told today, or why it is not told."""
    asides = ctx.past.set_aside.get(finding.rule.id, ())
    if not asides:
        return finding
    holding = [aside for aside in asides if ctx.as_of < until(aside, finding, ctx)]
    if finding.due:
        return _due(finding, asides[0], holding, ctx)
    for aside in holding:
        if not _is_worse(finding, aside):
            return Snoozed(finding, aside, until(aside, finding, ctx))
    return _told(finding, asides[0], ctx)


def until(aside: SetAside, finding: Finding, ctx: Context) -> date:
    """First day on which the snooze holds no more."""
    reasons = ctx.knowledge.reasons
    days = reasons[aside.reason].snooze_days if aside.reason in reasons else ctx.knowledge.days_without_reason
    most = finding.rule.snooze_days
    if most is None and "critical" in (finding.indicator, aside.indicator):
        return aside.on
    return aside.on + timedelta(days=days if most is None else min(days, most))


def _is_worse(finding: Finding, aside: SetAside) -> bool:
    """True if the finding is another matter than the one that was set aside, or a worse turn of it."""
    if RANK[finding.indicator] < RANK[aside.indicator]:
        return True
    new = [fact for fact in grounds(finding) if fact not in aside.known]
    if finding.result is None:
        return bool(new)
    if any(not isinstance(fact, Measurement) for fact in new):
        return True
    return finding.result in new and _has_worsened(finding, finding.result, aside)


def _has_worsened(finding: Finding, result: Measurement, aside: SetAside) -> bool:
    """True unless the new result is known to be no worse than the one that the card rested on."""
    before = next((m for m in aside.known if isinstance(m, Measurement) and m.marker == result.marker), None)
    if before is None or before.value is None or result.value is None or before.comparator or result.comparator:
        return True
    if finding.operator.startswith(">"):
        return result.value > before.value
    return not finding.operator.startswith("<") or result.value < before.value


def _due(finding: Finding, last: SetAside, holding: list[SetAside], ctx: Context) -> Finding | Snoozed:
    """The tests that are not set aside; none left, no card."""
    quiet: dict[str, SetAside] = {}
    for item in finding.due:
        for aside in holding:
            if item.test in aside.tests and not _is_more_urgent(finding, item, aside, ctx):
                quiet.setdefault(item.test, aside)
    left = tuple(item for item in finding.due if item.test not in quiet)
    if not left:
        aside = min(quiet.values(), key=lambda aside: until(aside, finding, ctx))
        return Snoozed(finding, aside, until(aside, finding, ctx))
    told = schedule.with_due(finding, left, ctx) if quiet else finding
    lines = [
        Line(
            "tests_set_aside",
            {
                "tests": [ctx.knowledge.tests[test].name for test, by in quiet.items() if by is aside],
                **_words(aside, ctx),
            },
        )
        for aside in holding
        if aside in quiet.values()
    ]
    if not lines:
        return _told(told, last, ctx)
    return msgspec.structs.replace(told, lines=(*told.lines, *lines))


def _is_more_urgent(finding: Finding, item: Due, aside: SetAside, ctx: Context) -> bool:
    return RANK[schedule.indicator_for(finding.rule, (item,), ctx)] < RANK[aside.indicator]


def _told(finding: Finding, aside: SetAside, ctx: Context) -> Finding:
    return msgspec.structs.replace(finding, lines=(*finding.lines, Line("set_aside", _words(aside, ctx))))


def _words(aside: SetAside, ctx: Context) -> dict[str, object]:
    reason = ctx.knowledge.reasons.get(aside.reason)
    return {"day": aside.on, "reason": reason.display if reason else ""}
