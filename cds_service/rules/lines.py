"""Sentences that a card owes its reader about the basis it stands on: how sure, from where, with what doubts."""

from __future__ import annotations

from cds_service.chart import Draft, Measurement, Therapy
from cds_service.knowledge.model import Knowledge, Note, Rule
from cds_service.rules.context import Context, supplies_on
from cds_service.rules.outcome import Doubt, Fact, Line
from cds_service.rules.predicates import QUESTIONS
from cds_service.rules.questions import Question, never


def about_result(measurement: Measurement, knowledge: Knowledge) -> list[Line]:
    """What must be said of one result: inferred unit, date of issue, point-of-care method, alarm flag."""
    lines = []
    if measurement.unit_inferred:
        lines.append(Line("unit_inferred", {"result": measurement}))
    if measurement.when and measurement.when.issued:
        lines.append(Line("date_issued", {"result": measurement}))
    if measurement.when and measurement.when.precision == "month":
        lines.append(Line("month_only", {"result": measurement}))
    for trait in ("estimated", "calculated"):
        if trait in measurement.traits:
            lines.append(Line(f"result_{trait}", {"result": measurement}))
    if measurement.conflict:
        lines.append(Line("conflict", {"result": measurement}))
    if measurement.interpretation in knowledge.alarms:
        lines.append(Line("lab_alarm", {"result": measurement, "flag": measurement.interpretation}))
    return lines


def about_facts(facts: tuple[Fact, ...], result: Measurement | None = None) -> list[Line]:
    """What must be said of therapies: recognised from text, on hold, start unknown, changed since the result."""
    lines = []
    for fact in facts:
        if isinstance(fact, (Therapy, Draft)) and fact.from_text:
            lines.append(Line("from_text", {"therapy": fact}))
        if isinstance(fact, Therapy):
            if fact.start is None:
                lines.append(Line("start_unknown", {"therapy": fact}))
            if fact.on_hold:
                lines.append(Line("on_hold", {"therapy": fact}))
            if result is not None:
                lines.extend(_changed_since(result, fact))
    return lines


def _changed_since(result: Measurement, course: Therapy) -> list[Line]:
    """A dose or product that changed after the sample: the result tells of what was taken before."""
    changed = course.dose_changed
    if changed is None or result.when is None or result.when.last_day >= changed:
        return []
    now = course.supplies[0]
    taken = supplies_on(course, result.when.day)[0]
    before = None if (taken.agent, taken.form) == (now.agent, now.form) else taken
    return [Line("changed_since", {"therapy": course, "day": changed, "before": before})]


def about_rule(rule: Rule, ctx: Context) -> list[Line]:
    """The notes of the rule that hold for this patient."""
    return [line for question, line in ctx.once(rule.notes, _notes) if question(ctx).holds]


def _notes(notes: tuple[Note, ...], ctx: Context) -> list[tuple[Question, Line]]:
    """The notes that may be said at this site."""
    questions = QUESTIONS.of(ctx.knowledge)
    asked = [(questions.of(note.when), Line(note.message, note.values, note.text)) for note in notes]
    return [(question, line) for question, line in asked if question is not never]


def newer_not_comparable(measurement: Measurement, ctx: Context) -> list[Line]:
    """A later result of the same marker that could not be compared does not hide this one, but is told."""
    series = ctx.series(measurement.marker)
    newer = series[: series.index(measurement)] if measurement in series else ()
    return [
        Line("newer_not_comparable", {"result": other}) for other in newer if other.value is None or other.problem
    ][:1]


def with_doubts(lines: tuple[Line, ...], doubts: tuple[Doubt, ...]) -> tuple[Line, ...]:
    """Lines of a card and its doubts; a conflict of two values is told once, with the value that is used."""
    conflicts = [doubt.values["result"] for doubt in doubts if doubt.message == "dq_conflict"]
    kept = tuple(line for line in lines if line.message != "conflict" or line.values["result"] not in conflicts)
    return (*kept, *doubt_lines(doubts))


def doubt_lines(doubts: tuple[Doubt, ...]) -> list[Line]:
    """Doubts as lines of a card."""
    return [Line(doubt.message, {**doubt.values, "area": doubt.area}) for doubt in doubts]
