"""The rules as FHIR R4 artefacts: what another engine, or a reviewer's tool, can read without ours.

    protocol  -> PlanDefinition (an action a rule: trigger = hook, conditions, evidence) and Library (metadata)
    test      -> ActivityDefinition (a ServiceRequest)

A condition is FHIRPath where codes can say it (`fhirpath.py`), evaluated on a Bundle with the patient's resources
and, in the order hooks, the drafts; else it is a sentence (`text/plain`). All conditions of an action must hold.
Suppressions and merges of cards are not in it, nor are drugs and units in free text: the service knows more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from cds_service.knowledge.fhirpath import NotSayableError, threshold
from cds_service.knowledge.fhirpath_who import condition
from cds_service.knowledge.in_words import in_words
from cds_service.knowledge.model import Item, Knowledge, Milestone, Protocol, Rule, Schedule
from cds_service.knowledge.rule_words import item_in_words, milestone_in_words, needed_in_words, rule_in_words
from cds_service.knowledge.systems import UCUM
from cds_service.knowledge.vocabulary import Evidence, Test

Resource = dict[str, Any]

BASE = "urn:cds-service"
PLAN_TYPES = "http://terminology.hl7.org/CodeSystem/plan-definition-type"
LIBRARY_TYPES = "http://terminology.hl7.org/CodeSystem/library-type"
FHIRPATH = "text/fhirpath"
WORDS = "text/plain"


def resources(knowledge: Knowledge, base: str = BASE) -> Iterator[Resource]:
    """All artefacts: for each protocol a PlanDefinition and a Library, and an ActivityDefinition for each test.

    `base` begins their canonical addresses: a URL (`https://…`) or a URN.
    """
    maker = _Maker(knowledge, base)
    for protocol in knowledge.protocols:
        yield maker.plan(protocol)
        yield maker.library(protocol)
    for test in knowledge.tests.values():
        yield maker.activity(test)


def conditions(rule: Rule, knowledge: Knowledge) -> list[tuple[str, str, str]]:
    """(description, language, expression) of what must hold: to whom the rule applies, and when it speaks."""
    who = ", ".join([in_words(rule.applies, knowledge), *needed_in_words(rule, knowledge)])
    when = rule_in_words(rule, knowledge)
    return [
        (f"To whom: {who}", *_said(who, lambda: _applies(rule, knowledge))),
        (f"When: {when}", *_said(when, lambda: _speaks(rule, knowledge))),
    ]


def _said(words: str, say: Callable[[], str]) -> tuple[str, str]:
    try:
        return FHIRPATH, say()
    except NotSayableError as reason:
        return WORDS, f"{words} (no FHIRPath: {reason})"


def _applies(rule: Rule, knowledge: Knowledge) -> str:
    """The population, and what of the patient has to be known before the rule runs at all (2.3, 0.4.19)."""
    adult = {"age": {"min": {"switch": "min_age"}}}
    needs: list[dict[str, Any]] = []
    if "minor" in rule.runs_without:
        needs.append({"known": "birth date"})
    else:
        needs.append(
            {"any": [{"not": {"known": "birth date"}}, adult]} if "birth date" in rule.runs_without else adult
        )
        needs += [] if "sex" in rule.runs_without else [{"known": "sex"}]
    return condition({"all": [*needs, *([rule.applies] if rule.applies else [])]}, knowledge)


def _speaks(rule: Rule, knowledge: Knowledge) -> str:
    if rule.kind == "threshold":
        return threshold(rule.spec, knowledge)
    if rule.kind in ("precondition", "interaction"):
        return condition(rule.spec["when"], knowledge)
    raise NotSayableError(f"the kind `{rule.kind}` computes over several results")


class _Maker:
    def __init__(self, knowledge: Knowledge, base: str) -> None:
        self._knowledge = knowledge
        self._base = base
        self._mark = ":" if base.startswith("urn:") else "/"

    def plan(self, protocol: Protocol) -> Resource:
        """The PlanDefinition of a protocol."""
        rules = [rule for rule in self._knowledge.rules if rule.protocol == protocol.key]
        return {
            **self._head("PlanDefinition", protocol.key, protocol.name),
            "type": {"coding": [{"system": PLAN_TYPES, "code": "eca-rule"}]},
            "description": f"Applies to: {in_words(protocol.applies, self._knowledge)}.",
            "usage": "Supports, does not replace, clinical judgement.",
            "relatedArtifact": self._citations(self._evidence(protocol)),
            "library": [self._address("Library", protocol.key)],
            "action": [self._action(rule, protocol) for rule in rules],
        }

    def library(self, protocol: Protocol) -> Resource:
        """The Library of a protocol: what it rests on, and which results it reads."""
        rules = [rule for rule in self._knowledge.rules if rule.protocol == protocol.key]
        markers = sorted(frozenset().union(*(rule.markers for rule in rules)) & self._knowledge.markers.keys())
        library = {
            **self._head("Library", protocol.key, protocol.name),
            "type": {"coding": [{"system": LIBRARY_TYPES, "code": "logic-library"}]},
            "description": f"Evidence and data of the rules for {protocol.name}.",
            "relatedArtifact": self._citations(self._evidence(protocol)),
            "dataRequirement": [self._data(marker) for marker in markers],
        }
        return {name: value for name, value in library.items() if value != []}

    def activity(self, test: Test) -> Resource:
        """The ActivityDefinition of a test."""
        codings = [(test.order_system, test.order_code, test.order_display)]
        codings += [(local.system, local.code, local.display) for local in test.local_orders]
        return {
            **self._head("ActivityDefinition", test.key, test.name),
            **({"description": test.note} if test.note else {}),
            "kind": "ServiceRequest",
            "intent": "order",
            "code": {
                "coding": [{"system": system, "code": code, "display": text} for system, code, text in codings],
                "text": test.name,
            },
        }

    # -- parts ---------------------------------------------------------------------------------------

    def _head(self, kind: str, key: str, title: str) -> Resource:
        return {
            "resourceType": kind,
            "id": _id(key),
            "url": self._address(kind, key),
            "version": self._knowledge.version,
            "name": _name(key),
            "title": title[:1].upper() + title[1:],
            "status": "active",
            "experimental": True,
        }

    def _address(self, kind: str, key: str) -> str:
        return self._mark.join((self._base, kind, _id(key)))

    def _action(self, rule: Rule, protocol: Protocol) -> Resource:
        facts = (
            f"Rule {rule.id}, version {rule.version}, {rule.status}; {rule.indicator}; review by {rule.review_by}."
        )
        action = {
            "prefix": rule.id,
            "title": rule.title,
            "description": f"{rule.advice} {facts}".strip(),
            "code": [{"coding": [{"system": self._knowledge.code_system, "code": rule.id, "display": rule.title}]}],
            "documentation": self._citations(rule.evidence),
            "trigger": [{"type": "named-event", "name": hook} for hook in sorted(rule.hooks)],
            "condition": [
                {
                    "kind": "applicability",
                    "expression": {"description": text, "language": language, "expression": expression},
                }
                for text, language, expression in conditions(rule, self._knowledge)
            ],
            "action": [*self._due(rule, protocol), *(self._order(Item(test)) for test in rule.tests)],
        }
        return {name: value for name, value in action.items() if value != []}

    def _due(self, rule: Rule, protocol: Protocol) -> list[Resource]:
        """For a rule of due tests: an action for each milestone of each schedule."""
        if rule.kind != "schedule":
            return []
        return [
            self._milestone(milestone, schedule)
            for schedule in protocol.schedules.values()
            for milestone in _milestones(rule, schedule)
        ]

    def _milestone(self, milestone: Milestone, schedule: Schedule) -> Resource:
        action: Resource = {
            "title": f"{milestone.name} ({schedule.profile})",
            "description": milestone_in_words(milestone),
            "action": [self._order(item) for item in milestone.items],
        }
        if not milestone.after_last:
            days = {"system": UCUM, "code": "d", "unit": "d"}
            ends = {"low": milestone.opens, "high": milestone.overdue_after}
            action["timingRange"] = {end: {"value": value, **days} for end, value in ends.items()}
        return action

    def _order(self, item: Item) -> Resource:
        action: Resource = {
            "title": item_in_words(item, self._knowledge),
            "definitionCanonical": self._address("ActivityDefinition", item.test),
        }
        if item.when is not None:
            text = in_words(item.when, self._knowledge)
            language, expression = _said(text, lambda: condition(item.when, self._knowledge))
            said = {"description": text, "language": language, "expression": expression}
            action["condition"] = [{"kind": "applicability", "expression": said}]
        return action

    def _evidence(self, protocol: Protocol) -> list[Evidence]:
        rules = [rule for rule in self._knowledge.rules if rule.protocol == protocol.key]
        plans = [evidence for schedule in protocol.schedules.values() for evidence in schedule.evidence]
        return list(dict.fromkeys([*plans, *(evidence for rule in rules for evidence in rule.evidence)]))

    def _citations(self, evidence: Iterable[Evidence]) -> list[Resource]:
        found = []
        for one in evidence:
            source = self._knowledge.sources[one.source]
            citation = f"{source.label}, {one.section} (strength: {one.strength}; {one.mark})"
            found.append(
                {
                    "type": "citation",
                    "label": one.source,
                    "display": source.label,
                    "citation": citation,
                    **({"url": source.url} if source.url else {}),
                }
            )
        return found

    def _data(self, marker: str) -> Resource:
        codes = [(key, code) for key, code in self._knowledge.codes.items() if code.marker == marker]
        codings = [{"system": system, "code": code, "display": known.name} for (system, code), known in codes]
        return {"type": "Observation", "codeFilter": [{"path": "code", "code": codings}]}


def _milestones(rule: Rule, schedule: Schedule) -> tuple[Milestone, ...]:
    """What a rule of due tests tells: the baseline, a row beside the schedule, or the schedule."""
    if rule.spec.get("milestone") == "baseline":
        return tuple(milestone for milestone in schedule.milestones if milestone.look_back)
    if "row" in rule.spec:
        row = schedule.beside.get(rule.spec["row"])
        return row.milestones if row else ()
    return schedule.milestones


def _id(key: str) -> str:
    """A FHIR id: no underscores."""
    return key.replace("_", "-")


def _name(key: str) -> str:
    """A name that programs can use: `male_trt` becomes `MaleTrt`, `FT3_RT3` stays."""
    parts = key.replace("-", "_").split("_")
    return "".join(part[:1].upper() + part[1:] for part in parts)
