"""Kind `quality`: results that cannot be judged (DQ-1 to DQ-5), of the markers that running rules need (0.4.4)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from cds_service.chart import Measurement
from cds_service.knowledge.model import Knowledge, Rule
from cds_service.rules.context import Context
from cds_service.rules.index import INDEX
from cds_service.rules.outcome import Doubt, Outcome


def evaluate(rules: Sequence[Rule], ctx: Context, needed: frozenset[str]) -> list[Outcome]:
    """Look at the newest result of each needed marker for the problems that the rules tell."""
    told: dict[str, list[Doubt]] = {rule.id: [] for rule in rules}
    logged: dict[str, list[str]] = {rule.id: [] for rule in rules}
    max_age = ctx.days(None)
    for marker in sorted(needed & ctx.chart.measurements.keys()):
        for newest in _newest(marker, max_age, ctx):
            problem = "conflict" if newest.conflict and not newest.problem else newest.problem
            if "silent" in newest.traits:  # done, and not meant to be compared (SHBG by mass)
                problem = ""
            for rule in rules if problem or newest.traits else ():
                if problem in rule.spec["problems"]:
                    speaker = "" if rule.topic == "UNKNOWN" else rule.topic
                    told[rule.id].append(Doubt(f"dq_{problem}", marker, {"result": newest}, speaker))
                if rule.spec.get("log_trait") in newest.traits:
                    logged[rule.id].append(marker)
    return [_outcome(rule, tuple(told[rule.id]), logged[rule.id]) for rule in rules]


def _outcome(rule: Rule, doubts: tuple[Doubt, ...], logged: list[str]) -> Outcome:
    areas = ", ".join((*(doubt.area for doubt in doubts), *logged))
    why = "{areas}" if areas else ""
    return Outcome(rule.id, "unknown" if doubts else "fine", why, doubts, values={"areas": areas})


def _newest(marker: str, max_age: int, ctx: Context) -> list[Measurement]:
    """The newest final result, and any without a date: it has no place in the order, so it may be the newest."""
    series = ctx.series(marker)
    undated = [m for m in series if m.when is None or m.problem == "undated"]
    dated = next((m for m in series if m.when is not None and m.problem != "undated"), None)
    recent = dated is not None and dated.day is not None and ctx.recent(dated.day, max_age)
    return [*undated[:1], *((dated,) if dated and recent else ())]


def needed_by(rules: Iterable[Rule], tests: Iterable[str], knowledge: Knowledge) -> frozenset[str]:
    """Markers that these rules and these tests look at, with those that count as them."""
    index = INDEX.of(knowledge)
    wanted = frozenset[str]().union(*[rule.markers for rule in rules], *[index.shown_by[test] for test in tests])
    return index.with_counted(wanted)
