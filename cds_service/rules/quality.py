"""Kind `quality`: results that cannot be judged (DQ-1 to DQ-5), of the markers that running rules need (0.4.4)."""

from __future__ import annotations

from collections.abc import Iterable

from cds_service.chart import Measurement
from cds_service.knowledge.model import Knowledge, Rule
from cds_service.knowledge.needs import named
from cds_service.rules.context import Context
from cds_service.rules.outcome import Doubt, Outcome


def evaluate(rule: Rule, ctx: Context, needed: frozenset[str]) -> Outcome:
    """Look at the newest result of each needed marker for one of the rule's problems."""
    if "log_trait" in rule.spec:
        return _log_only(rule, ctx, needed)
    problems = frozenset(rule.spec["problems"])
    speaker = "" if rule.topic == "UNKNOWN" else rule.topic
    doubts = []
    for marker in sorted(needed):
        newest = _newest(marker, rule, ctx)
        if newest is None:
            continue
        problem = "conflict" if newest.conflict and not newest.problem else newest.problem
        if problem in problems and not (problem == "no_value" and "silent" in newest.traits):
            doubts.append(Doubt(f"dq_{problem}", marker, {"result": newest}, speaker))
    return Outcome(rule.id, "unknown" if doubts else "fine", ", ".join(d.area for d in doubts), tuple(doubts))


def _log_only(rule: Rule, ctx: Context, needed: frozenset[str]) -> Outcome:
    """Results with a trait that is logged and explained but never shown (DQ-3)."""
    trait = rule.spec["log_trait"]
    marked = [m for marker in sorted(needed) for m in ctx.series(marker)[:1] if trait in m.traits]
    return Outcome(rule.id, "fine", ", ".join(m.marker for m in marked))


def _newest(marker: str, rule: Rule, ctx: Context) -> Measurement | None:
    """The newest final result; undated ones have no place in the order and come first."""
    series = ctx.series(marker)
    undated = [m for m in series if m.when is None or m.problem == "undated"]
    dated = [m for m in series if m.when is not None and m.problem != "undated"]
    newest = (undated or dated)[:1] if "undated" in rule.spec["problems"] and undated else dated[:1]
    if not newest:
        return None
    day = newest[0].day
    return newest[0] if day is None or ctx.recent(day, ctx.days(rule.spec.get("max_age_days"))) else None


def needed_by(rules: Iterable[Rule], tests: Iterable[str], knowledge: Knowledge) -> frozenset[str]:
    """Markers that these rules and these tests look at, with those that count as them."""
    wanted = {marker for rule in rules for marker in (*named(rule.spec), *named(rule.applies))}
    for test in tests:
        wanted.update(*knowledge.tests[test].done_by)
    wanted.update(key for key, marker in knowledge.markers.items() if marker.counts_as in wanted)
    return frozenset(wanted)
