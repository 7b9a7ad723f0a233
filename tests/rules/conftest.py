"""Builders: a chart in a few words. Days are counted back from `TODAY`; a date may stand in their place."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import msgspec

from cds_service.chart import (
    Chart,
    Condition,
    Draft,
    Gap,
    Measurement,
    Order,
    Patient,
    Procedure,
    Supply,
    Therapy,
    When,
)
from cds_service.knowledge.model import Item, Knowledge, Milestone, Schedule
from cds_service.rules.context import Context
from cds_service.rules.engine import evaluate
from cds_service.rules.outcome import Evaluation, Finding, Outcome

TODAY = date(2026, 11, 22)
BORN = date(1980, 5, 1)

Day = date | int


def back(day: Day) -> date:
    """`day` days before today; a date stays."""
    return day if isinstance(day, date) else TODAY - timedelta(days=day)


def when(day: Day, time: str = "") -> When:
    """A day, with the hour as written where `time` is given (`07:30`)."""
    if not time:
        return When(back(day), back(day))
    hour, minute = time.split(":")
    return When(back(day), back(day), "time", hour=int(hour), minute=int(minute))


def month(first: date) -> When:
    """The month that begins on `first`."""
    following = (first.replace(day=28) + timedelta(days=4)).replace(day=1)
    return When(first, following - timedelta(days=1), "month")


def measurement(
    marker: str, value: str | Decimal | None, on: Day = 0, *, time: str = "", **fields: Any
) -> Measurement:
    """A final result; `value` in the canonical unit, with its comparator (`<0.1`)."""
    match = re.fullmatch(r"(<=|>=|<|>|ad ?)?(.*)", "" if value is None else str(value))
    assert match
    comparator, number = (match[1] or "").strip(), match[2]
    given: dict[str, Any] = {
        "when": when(on, time),
        "status": "final",
        "source": f"Observation/{marker}-{back(on)}-{number}",
        "code": "code",
        "reported": f"{comparator}{number}",
        "comparator": comparator,
    }
    return Measurement(marker=marker, value=Decimal(number) if number else None, **(given | fields))


def supply(
    form: str = "injection",
    agent: str = "testosterone cypionate",
    start: Day | None = None,
    end: Day | None = None,
    **fields: Any,
) -> Supply:
    """A product of a course."""
    began, ended = (None if day is None else back(day) for day in (start, end))
    return Supply(agent=agent, form=form, start=began, end=ended, **fields)  # type: ignore[arg-type]


def course(
    key: str = "TESTOSTERONE",
    start: Day | None = 100,
    end: Day | None = None,
    *,
    supplies: Sequence[Supply] = (),
    form: str = "injection",
    agent: str = "",
    **fields: Any,
) -> Therapy:
    """A course; one product for its whole length, unless `supplies` says otherwise (newest first)."""
    agent = agent or {"TESTOSTERONE": "testosterone cypionate", "FIVE_ARI": "finasteride"}.get(key, key.lower())
    only = supply(form, agent, start, end)
    given: dict[str, Any] = {"recognised": "RxNorm product 1", "current": end is None}
    return Therapy(key=key, start=only.start, end=only.end, supplies=tuple(supplies) or (only,), **(given | fields))


def draft(key: str = "TESTOSTERONE", **fields: Any) -> Draft:
    """A drafted order that the call is about."""
    given: dict[str, Any] = {
        "agent": "testosterone cypionate",
        "form": "injection",
        "source": f"MedicationRequest/{key}",
        "selected": True,
        "recognised": "RxNorm product 1",
    }
    return Draft(key=key, **(given | fields))


def condition(concept: str, *, onset: Day | When | None = None, **fields: Any) -> Condition:
    """An active, confirmed diagnosis."""
    given: dict[str, Any] = {"active": True, "uncertain": False, "name": concept, "source": f"Condition/{concept}"}
    began = onset if onset is None or isinstance(onset, When) else when(onset)
    return Condition(concepts=frozenset([concept]), onset=began, **(given | fields))


def procedure(concept: str) -> Procedure:
    """A completed procedure."""
    return Procedure(concepts=frozenset([concept]), name=concept, source=f"Procedure/{concept}")


def order(*markers: str, authored: Day | None = 1, drafted: bool = False, **fields: Any) -> Order:
    """An open order that will bring these markers."""
    return Order(
        markers=frozenset(markers),
        name="+".join(markers),
        source=f"ServiceRequest/{'-'.join(markers)}",
        drafted=drafted,
        authored=None if authored is None else when(authored),
        **fields,
    )


def gap(*covers: str, kind: str = "absent", complete_since: Day | None = None) -> Gap:
    """Something that the EHR did not bring."""
    since = None if complete_since is None else back(complete_since)
    return Gap("key", kind, "", frozenset(covers), since)  # type: ignore[arg-type]


def chart(
    *results: Measurement,
    therapies: Iterable[Therapy] = (),
    sex: str | None = "male",
    birth: date | When | None = BORN,
    patient: dict[str, Any] | None = None,
    **parts: Any,
) -> Chart:
    """A chart of a man of 46, results newest first as the reader gives them."""
    series: dict[str, list[Measurement]] = {}
    for result in sorted(results, key=lambda m: (m.day or date.min, str(m.when and m.when.hour)), reverse=True):
        series.setdefault(result.marker, []).append(result)
    born = When(birth, birth) if isinstance(birth, date) else birth
    source = "recorded gender" if sex else ""
    who = Patient("p", birth=born, sex=sex, sex_source=source, **(patient or {}))  # type: ignore[arg-type]
    return Chart(
        who,
        measurements={marker: tuple(found) for marker, found in series.items()},
        therapies=tuple(therapies),
        **{name: tuple(value) for name, value in parts.items()},  # type: ignore[arg-type]
    )


def on_testosterone(*results: Measurement, start: Day | None = 100, **parts: Any) -> Chart:
    """The same man on injected testosterone cypionate."""
    return chart(*results, therapies=(course(start=start), *parts.pop("therapies", ())), **parts)


def ctx(patient: Chart, knowledge: Knowledge, hook: str = "patient-view", **more: Any) -> Context:
    """What the rules see of the chart today."""
    return Context(patient, knowledge, TODAY, hook, **more)


def judge(patient: Chart, knowledge: Knowledge, hook: str = "patient-view", **more: Any) -> Evaluation:
    """The evaluation of today."""
    return evaluate(patient, knowledge, as_of=TODAY, hook=hook, **more)


def outcome(patient: Chart, knowledge: Knowledge, rule: str, hook: str = "patient-view") -> Outcome:
    """How one rule ended today."""
    return next(o for o in judge(patient, knowledge, hook).outcomes if o.rule == rule)


def result_of(patient: Chart, knowledge: Knowledge, rule: str, hook: str = "patient-view") -> str:
    """The word in which one rule ended today."""
    return outcome(patient, knowledge, rule, hook).result


def found(patient: Chart, knowledge: Knowledge, rule: str, hook: str = "patient-view") -> Finding:
    """The finding of one rule, before suppressions and merges."""
    finding = outcome(patient, knowledge, rule, hook).finding
    assert finding is not None, f"{rule} did not speak"
    return finding


def cards(evaluation: Evaluation) -> list[tuple[str, str]]:
    """(rule, indicator) of the findings that become cards, in their order."""
    return [(finding.rule.id, finding.indicator) for finding in evaluation.findings]


def card(evaluation: Evaluation, rule: str) -> Finding:
    """The finding of one rule as its card shows it."""
    return next(finding for finding in evaluation.findings if finding.rule.id == rule)


def messages(finding: Finding) -> list[str]:
    """Ids of the sentences in a card, in order, without the notes of the rule."""
    return [line.message for line in finding.lines if line.message]


def switched(knowledge: Knowledge, **switches: Any) -> Knowledge:
    """The knowledge of a site that has made other choices."""
    assert switches.keys() <= knowledge.switches.keys()
    return msgspec.structs.replace(knowledge, switches={**knowledge.switches, **switches})


def with_site_codes(knowledge: Knowledge, *concepts: str) -> Knowledge:
    """The knowledge of a site that has given codes for these concepts."""
    given = {name: msgspec.structs.replace(knowledge.concepts[name], snomed=frozenset(["1"])) for name in concepts}
    return msgspec.structs.replace(knowledge, concepts={**knowledge.concepts, **given})


def with_rule(knowledge: Knowledge, name: str, **fields: Any) -> Knowledge:
    """The knowledge with one rule changed."""
    rules = tuple(msgspec.structs.replace(rule, **fields) if rule.id == name else rule for rule in knowledge.rules)
    return msgspec.structs.replace(knowledge, rules=rules)


def scheduled(knowledge: Knowledge, *milestones: Milestone, **fields) -> Knowledge:
    """The knowledge with other milestones for men on testosterone."""
    plan = Schedule("seed", ("TESTOSTERONE",), milestones, (Item("TT"),), 365, 395, (), **fields)
    protocols = tuple(
        msgspec.structs.replace(p, schedules={"seed": plan}, variants=()) if p.key == "male_trt" else p
        for p in knowledge.protocols
    )
    return msgspec.structs.replace(knowledge, protocols=protocols)
