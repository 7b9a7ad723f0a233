"""Kinds `precondition` and `interaction`: something about the patient that matters for a therapy or an order.

Both speak when their predicate tree `when` holds. They differ in what they are about: a precondition
concerns an order or the scope of the service, an interaction concerns what another therapy does to a result.
"""

from __future__ import annotations

import msgspec

from cds_service.chart import Condition, Measurement
from cds_service.knowledge.model import Indicator, Rule
from cds_service.knowledge.needs import fields_of, named
from cds_service.rules.context import Context
from cds_service.rules.lines import about_facts, about_result
from cds_service.rules.outcome import Finding, Line, Outcome
from cds_service.rules.predicates import holds, urgency
from cds_service.rules.questions import Truth

MONTHS = frozenset({"within_months", "before_months"})


def evaluate(rule: Rule, truth: Truth, ctx: Context) -> Outcome:
    """Speak if `when` holds; unknown if that cannot be known."""
    answer = holds(rule.spec.get("when"), ctx)
    if answer.holds is None:
        return Outcome(rule.id, "unknown", "condition not known", answer.doubts)
    if not answer.holds:
        return Outcome(rule.id, "fine", "condition does not hold")
    facts = (*truth.facts, *(fact for fact in answer.facts if fact not in truth.facts))
    conditions = [fact for fact in answer.facts if isinstance(fact, Condition)]
    wanted = set(named(rule.spec.get("when")))
    lines = [line for fact in facts if isinstance(fact, Measurement) for line in about_result(fact, ctx.knowledge)]
    dated = bool(conditions) and ctx.once(rule, _asks_when)
    lines.extend(line for condition in conditions for line in _about_condition(condition, dated))
    results = [fact for fact in answer.facts if isinstance(fact, Measurement)]
    finding = Finding(
        rule=rule,
        indicator=indicator_for(rule, conditions, ctx),
        marker=results[0].marker if results else wanted.pop() if len(wanted) == 1 else "",
        result=results[0] if results else None,
        facts=facts,
        lines=(*lines, *about_facts(facts)),
        values={"concept": _concept(conditions, rule)},
    )
    return Outcome(rule.id, "finding", "condition holds", finding=finding)


def indicator_for(rule: Rule, conditions: list[Condition], ctx: Context) -> Indicator:
    """The rule's urgency for this patient; unconfirmed diagnoses downgrade critical to warning (2.4)."""
    indicator = urgency(rule, ctx)
    if indicator == "critical" and conditions and all(condition.uncertain for condition in conditions):
        certain = tuple(condition for condition in ctx.chart.conditions if not condition.uncertain)
        chart = msgspec.structs.replace(ctx.chart, conditions=certain)
        without = Context(chart, ctx.knowledge, ctx.as_of, ctx.hook)
        return indicator if holds(rule.spec.get("when"), without).holds else "warning"
    return indicator


def _concept(conditions: list[Condition], rule: Rule) -> str:
    """The concept by which the first condition met the rule ('' without one)."""
    wanted = set(named(rule.spec.get("when"), ("concept",)))
    return min(conditions[0].concepts & wanted, default="") if conditions else ""


def _asks_when(rule: Rule, _: Context) -> bool:
    """True if the rule depends on when a condition began."""
    return not MONTHS.isdisjoint(fields_of(rule.spec.get("when")))


def _about_condition(condition: Condition, dated: bool) -> list[Line]:
    values = {"condition": condition}
    lines = []
    if condition.uncertain:
        lines.append(Line("condition_uncertain", values))
    if dated:
        if condition.onset is None:
            lines.append(Line("onset_from_recorded", values))
        elif condition.onset.day != condition.onset.last_day:
            lines.append(Line("onset_partial", values))
    return lines
