"""What a rule saw, as plain data: results with their conversion, courses, orders, comparisons, schedules."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from cds_service.chart import Condition, Draft, Measurement, Order, Procedure, Therapy, When
from cds_service.knowledge.limits import limits_of, node_at
from cds_service.knowledge.model import Knowledge, Rule
from cds_service.knowledge.units import display_text, normalise_unit
from cds_service.knowledge.voice import Voice
from cds_service.rules.outcome import Compared, Fact, Timetable

Data = dict[str, Any]


def day_of(when: When | None, voice: Voice) -> str:
    """An ISO date with the precision in which it was written; '' for none."""
    if when is None:
        return ""
    if when.precision == "period":
        return f"{when.day}/{when.last_day}"
    length = {"year": 4, "month": 7}.get(when.precision, 10)
    clock = "" if when.hour is None else f" {when.hour:02d}:{when.minute or 0:02d}"
    return when.day.isoformat()[:length] + clock + (f" {voice.say('(issued)')}" if when.issued else "")


def result(measurement: Measurement, knowledge: Knowledge) -> Data:
    """A laboratory result: as reported, as compared, and how the one became the other."""
    marker = knowledge.markers[measurement.marker]
    unit, voice = marker.unit_display, knowledge.voice
    shown = "" if measurement.value is None else voice.shown(display_text(marker, measurement.value))
    found: Data = {
        "kind": "result",
        "marker": measurement.marker,
        "name": marker.name,
        "value": f"{measurement.comparator}{shown} {unit}".strip() if shown else "",
        "reported": f"{measurement.reported} {measurement.reported_unit}".strip(),
        "conversion": conversion(measurement, knowledge),
        "date": day_of(measurement.when, voice),
        "source": measurement.source,
        "code": measurement.code,
        "status": measurement.status,
    }
    if measurement.problem:
        found["problem"] = voice.say(measurement.problem.replace("_", " "))
    if measurement.conflict:
        found["conflict"] = voice.say("another value of the same sample was set aside")
    return found


def conversion(measurement: Measurement, knowledge: Knowledge) -> str:
    """How the reported value became the compared one: `0.552 L/L x 100 = 55.2 %`; '' if it is the same."""
    marker = knowledge.markers[measurement.marker]
    if measurement.value is None:
        return ""
    ucum = knowledge.spellings.get(normalise_unit(measurement.reported_unit), "")
    factor, offset = marker.factors.get(ucum, (Decimal(1), Decimal(0)))
    voice, shown = knowledge.voice, display_text(marker, measurement.value)
    parts = []
    if measurement.unit_inferred:
        value = f"{voice.shown(measurement.value)} {marker.unit_display}"
        parts.append(voice.say("reported without a unit, read as {value}", value=value))
    elif (factor, offset) != (Decimal(1), Decimal(0)):
        shift = f" {'+' if offset > 0 else '-'} {voice.shown(abs(offset))}" if offset else ""
        reported = f"{measurement.reported} {measurement.reported_unit}".strip()
        value = voice.shown(_plain(measurement.value))
        parts.append(f"{reported} x {voice.shown(factor)}{shift} = {value} {marker.unit_display}")
    if Decimal(shown) != measurement.value:
        parts.append(voice.say("rounded to {value}", value=shown))
    return ", ".join(parts)


def _plain(value: Decimal) -> str:
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def therapy(course: Therapy, voice: Voice) -> Data:
    """A course, with everything that decides on rules."""
    return {
        "kind": "therapy",
        "key": course.key,
        "agent": course.agent,
        "form": _form(course.form, voice),
        "start": course.start.isoformat() if course.start else "",
        "end": course.end.isoformat() if course.end and not course.unsure else "",
        "current": course.current,
        "unsure": course.unsure,
        "on_hold": course.on_hold,
        "dose_changed": course.dose_changed.isoformat() if course.dose_changed else "",
        "recognised": voice.recognised(course.recognised),
        "sources": list(course.sources),
    }


def _form(form: str, voice: Voice) -> str:
    """A dose form in words; `unknown` stays, for whoever asks."""
    return form if form == "unknown" else voice.say(form)


def fact(one: Fact, knowledge: Knowledge) -> Data:
    """Any fact on which a finding rests."""
    voice = knowledge.voice
    if isinstance(one, Measurement):
        return result(one, knowledge)
    if isinstance(one, Therapy):
        return therapy(one, voice)
    if isinstance(one, Condition):
        certain = "active" if one.active else "past"
        uncertain = "active, not confirmed" if one.active else "past, not confirmed"
        if one.end_unknown:
            certain, uncertain = "active or past", "active or past, not confirmed"
        return {
            "kind": "condition",
            "name": one.name,
            "code": one.code,
            "concepts": sorted(one.concepts),
            "state": voice.say(uncertain if one.uncertain else certain),
            "date": day_of(one.onset or one.recorded, voice),
            "source": one.source,
        }
    if isinstance(one, Draft):
        return {
            "kind": "draft",
            "key": one.key,
            "agent": one.agent,
            "form": _form(one.form, voice),
            "recognised": voice.recognised(one.recognised),
            "selected": one.selected,
            "source": one.source,
        }
    if isinstance(one, Order):
        drafted = voice.say("drafted" if one.drafted else "ordered")
        date = day_of(one.authored, voice)
        return {"kind": "order", "name": one.name, "state": drafted, "date": date, "source": one.source}
    return procedure(one, voice)


def procedure(one: Procedure, voice: Voice) -> Data:
    """A procedure or device."""
    concepts = sorted(one.concepts)
    return {
        "kind": "procedure",
        "name": one.name,
        "concepts": concepts,
        "date": day_of(one.when, voice),
        "source": one.source,
    }


def facts(found: Iterable[Fact], knowledge: Knowledge) -> list[Data]:
    """Facts, each once, in their order."""
    listed = [fact(one, knowledge) for one in found]
    return [one for place, one in enumerate(listed) if one not in listed[:place]]


def comparison(step: Compared, rule: Rule, knowledge: Knowledge) -> Data:
    """One comparison of a rule with a limit."""
    voice = knowledge.voice
    unit = knowledge.markers[step.subject].unit_display if step.subject in knowledge.markers else ""
    found: Data = {
        "limit_field": _place_of(step, rule),
        "subject": step.subject if unit else voice.say(step.subject),
        "value": f"{voice.shown(step.value)} {unit}".strip(),
        "operator": step.operator,
        "limit": f"{voice.shown(step.limit)} {unit}".strip(),
        "passed": step.passed,
    }
    if step.own_range:
        found["limit_of"] = voice.say("the laboratory's own range")
    if step.factor != 1:
        found["factor"] = voice.shown(step.factor)
    if step.result is not None:
        found["result"] = result(step.result, knowledge)
    return found


def _place_of(step: Compared, rule: Rule) -> str:
    """Where the limit stands in the rule's data; '' for one of the protocol's population."""
    holders = {id(node_at(rule, limit.holder)): limit.holder for limit in limits_of(rule)}
    field = holders.get(id(step.holder))
    return "" if field is None else ".".join(map(str, (*field, step.word)))


def timetable(step: Timetable, knowledge: Knowledge) -> Data:
    """The arithmetic of a schedule."""
    found: Data = {"profile": step.profile, "day": step.day, "milestone": step.milestone}
    for name in ("start", "opens", "target", "overdue_from"):
        day = getattr(step, name)
        found[name] = day.isoformat() if day else ""
    if step.again is not None:
        found["again"] = {"due_after_days": step.again[0], "overdue_after_days": step.again[1]}
    if step.anchor is not None:
        found["anchor"] = therapy(step.anchor, knowledge.voice)
    found["tests"] = [
        {
            "test": state.test,
            "name": knowledge.tests[state.test].name,
            "state": state.state,
            "day": state.day.isoformat() if state.day else "",
            "order": state.order,
        }
        for state in step.tests
    ]
    return found


def whole(mapping: Mapping[str, Any]) -> Data:
    """The mapping without what is empty; false and zero say something."""
    return {name: value for name, value in mapping.items() if value not in ("", [], {}, None)}
