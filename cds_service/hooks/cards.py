"""Findings become cards (CDS Hooks, sections Card Attributes, Source, Suggestion, Override Reasons).

At most five cards, critical first; what is too many is merged, information first. All that stayed unknown is one
quiet card.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from cds_service.chart import Chart, Condition, Draft, Measurement, Therapy
from cds_service.hooks.suggestions import JSON, suggest
from cds_service.hooks.words import Own, Words
from cds_service.knowledge.model import Knowledge, Rule, Test
from cds_service.rules.lines import doubt_lines
from cds_service.rules.outcome import Doubt, Evaluation, Finding

MOST_CARDS = 5
URGENCY = ("info", "warning", "critical")

Renderer = Callable[[Evaluation, Chart, Callable[[], str]], list[JSON]]


class Card(msgspec.Struct, frozen=True):
    """A card before it is JSON: rendered words, and what the JSON is made of."""

    rule: Rule
    indicator: str
    summary: str
    detail: str
    tests: tuple[Test, ...] = ()
    topic: str = ""


def make_renderer(knowledge: Knowledge, profile: str = "generic", folder: Path | None = None) -> Renderer:
    """Compile the words once; the function that comes back turns an evaluation into card JSON.

    `profile` is `generic` or `epic`; `folder` replaces the shipped `cards_templates/`.
    """
    words = Words(knowledge, folder)

    def render(evaluation: Evaluation, chart: Chart, new_uuid: Callable[[], str]) -> list[JSON]:
        cards = [_card(finding, evaluation, words) for finding in evaluation.findings]
        if evaluation.doubts:
            cards.append(_quiet(evaluation.doubts, words))
        context: dict[str, Any] = {"patient_id": chart.patient.id, "as_of": evaluation.as_of, "profile": profile}
        return [
            _json(card, suggest(card.tests, say=words.say, new_uuid=new_uuid, **context), knowledge, new_uuid())
            for card in _at_most(cards, MOST_CARDS, words)
        ]

    return render


def _card(finding: Finding, evaluation: Evaluation, words: Words) -> Card:
    rule, knowledge = finding.rule, words.knowledge
    values: dict[str, Any] = {
        **_basis(rule, words),
        "f": finding,
        "as_of": evaluation.as_of,
        "lines": list(dict.fromkeys(words.line(line) for line in finding.lines)),
        "course": next((fact for fact in finding.facts if isinstance(fact, Therapy)), None),
        "conditions": [fact for fact in finding.facts if isinstance(fact, Condition)],
        "drafts": [fact for fact in finding.facts if isinstance(fact, Draft)],
        "results": [fact for fact in finding.facts if isinstance(fact, Measurement)],
        "due": [(knowledge.tests[item.test], item) for item in finding.due],
        "ordered": [(knowledge.tests[test], order) for test, order in finding.ordered],
        "switches": knowledge.switches,
        **finding.values,
    }
    conditions = values["conditions"]
    concept = knowledge.concepts.get(str(finding.values.get("concept", "")))
    values["condition"] = Own(words.sentence(concept.name)) if concept else ""
    values["onset"] = words.onset(conditions[0]) if conditions else ""
    return Card(
        rule=rule,
        indicator=finding.indicator,
        summary=words.summary(rule.template, rule.spec.get("summary", ""), values),
        detail=words.detail(rule.template, values),
        tests=tuple(knowledge.tests[test] for test in finding.tests),
        topic=rule.topic,
    )


def _basis(rule: Rule, words: Words) -> dict[str, Any]:
    return {"rule": rule, "advice": Own(rule.advice), "basis": words.basis(rule)}


def _quiet(doubts: tuple[Doubt, ...], words: Words) -> Card:
    """The quiet card: topic is the data-quality rule if all doubts are its, else UNKNOWN (0.4.4)."""
    doubts = _by_key(doubts, words)
    speakers = {doubt.rule or "UNKNOWN" for doubt in doubts}
    rules = {rule.id: rule for rule in words.knowledge.rules}
    rule = rules[speakers.pop() if len(speakers) == 1 else "UNKNOWN"]
    lines = list(dict.fromkeys(words.line(line) for line in doubt_lines(doubts)))
    values = {
        **_basis(rule, words),
        "lines": lines,
        "areas": list(dict.fromkeys(str(words.name(doubt.area)) for doubt in doubts)),
    }
    return Card(
        rule, "info", words.summary("unknown", "", values), words.detail("unknown", values), topic=rule.topic
    )


def _by_key(doubts: tuple[Doubt, ...], words: Words) -> tuple[Doubt, ...]:
    """Doubts about one prefetch key become one that names all that the key would have brought."""
    grouped: dict[tuple[object, ...], list[Doubt]] = {}
    for doubt in doubts:
        key = doubt.values.get("key")
        grouped.setdefault((doubt.message, key) if key else (doubt.key(),), []).append(doubt)
    return tuple(
        msgspec.structs.replace(same[0], area=", ".join(dict.fromkeys(words.name(doubt.area) for doubt in same)))
        for same in grouped.values()
    )


def _at_most(cards: list[Card], most: int, words: Words) -> list[Card]:
    """Merge cards of one urgency, the least urgent first, until no more than `most` are left (0.4.20)."""
    for indicator in URGENCY:
        if len(cards) <= most:
            break
        same = [card for card in cards if card.indicator == indicator]
        if len(same) > 1:
            place = cards.index(same[0])
            rest = [card for card in cards if card.indicator != indicator]
            cards = [*rest[:place], _merged(same, words), *rest[place:]]
    return cards


def _merged(cards: list[Card], words: Words) -> Card:
    values = {"cards": [(Own(card.summary), Own(card.detail)) for card in cards], "count": len(cards)}
    tests = tuple({test.key: test for card in cards for test in card.tests}.values())
    return msgspec.structs.replace(
        cards[0],
        summary=words.summary("merged", "", values),
        detail=words.detail("merged", values),
        tests=tests,
    )


def _json(card: Card, suggestions: list[JSON], knowledge: Knowledge, uuid: str) -> JSON:
    rule = card.rule
    source = knowledge.sources[rule.evidence[0].source]
    topic = {"system": knowledge.code_system, "code": card.topic, "display": rule.title}
    card_json: JSON = {
        "uuid": uuid,
        "summary": card.summary,
        "detail": card.detail,
        "indicator": card.indicator,
        "source": {"label": source.label, **({"url": source.url} if source.url else {}), "topic": topic},
    }
    if suggestions:
        card_json["suggestions"] = suggestions
        card_json["selectionBehavior"] = "any"
    reasons = [knowledge.reasons[reason] for reason in rule.reasons]
    if reasons:
        card_json["overrideReasons"] = [
            {"code": reason.code, "system": reason.system, "display": reason.display} for reason in reasons
        ]
    return card_json
