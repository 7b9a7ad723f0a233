"""Findings become cards (CDS Hooks, sections Card Attributes, Source, Suggestion, Override Reasons).

At most five cards, critical first; what is too many is merged, information first. All that stayed unknown is one
quiet card.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import msgspec

from cds_service.chart import Chart, Condition, Draft, Measurement, Order, Procedure, Therapy
from cds_service.hooks.suggestions import JSON, suggest
from cds_service.hooks.wording import Wording
from cds_service.hooks.words import Own, Words
from cds_service.knowledge.model import Knowledge, Rule
from cds_service.knowledge.needs import named
from cds_service.knowledge.vocabulary import Source, Test
from cds_service.rules.lines import doubt_lines
from cds_service.rules.outcome import Doubt, Evaluation, Finding

MOST_CARDS = 5
URGENCY = ("info", "warning", "critical")


class Renderer(Protocol):
    """What `make_renderer` makes."""

    def __call__(
        self, evaluation: Evaluation, chart: Chart, new_uuid: Callable[[], str], note: Note = ..., /
    ) -> list[JSON]:
        """Card JSON of an evaluation; `note` is told of each card what may be kept of it."""
        ...


class Card(msgspec.Struct, frozen=True):
    """A card before it is JSON: rendered words, and what the JSON is made of."""

    rule: Rule
    indicator: str
    summary: str
    detail: str
    source: Source
    tests: tuple[Test, ...] = ()
    topic: str = ""
    finding: Finding | None = None
    """None: the quiet card of all that is unknown, or several cards in one."""
    parts: tuple[Card, ...] = ()
    """The cards that were merged into this one, most urgent first."""


Note = Callable[[str, Card, list[JSON]], None]
"""Told the uuid of a card, the card, and its suggestions as JSON."""


def _forget(_uuid: str, _card: Card, _suggestions: list[JSON]) -> None:
    pass


def make_renderer(
    knowledge: Knowledge,
    profile: str = "generic",
    wording: Wording | None = None,
    *,
    launch_url: str = "",
    words: Words | None = None,
) -> Renderer:
    """Compile the words once; the function that comes back turns an evaluation into card JSON.

    `profile` is `generic` or `epic`; `wording` None: the words as they are shipped; `launch_url` is where an EHR
    launches the chart page, '' without one. `words`: those that somebody has compiled already, which takes long.
    """
    words = words or Words(knowledge, wording)
    sexed = frozenset(rule.id for rule in knowledge.rules if _rests_on_sex(rule, knowledge))

    def render(
        evaluation: Evaluation, chart: Chart, new_uuid: Callable[[], str], note: Note = _forget
    ) -> list[JSON]:
        cards, doubts = [], list(evaluation.doubts)
        for finding in evaluation.findings:
            sex_source = chart.patient.sex_source if finding.rule.id in sexed else ""
            try:
                cards.append(card_of(finding, evaluation, words, sex_source))
            except Exception:  # law 1: a card that cannot be worded is told, and takes no other card down
                doubts.append(Doubt("rule_failed", finding.rule.id, {"title": finding.rule.title}))
        if doubts:
            cards.append(quiet_card(tuple(doubts), words))
        context: dict[str, Any] = {"patient_id": chart.patient.id, "as_of": evaluation.as_of, "profile": profile}
        shown = []
        for card in _at_most(cards, MOST_CARDS, words):
            uuid, suggestions = new_uuid(), suggest(card.tests, say=words.say, new_uuid=new_uuid, **context)
            note(uuid, card, suggestions)
            links = _links(card, words, launch_url) if launch_url else {}
            shown.append({**_json(card, suggestions, words, uuid), **links})
        return shown

    return render


def _rests_on_sex(rule: Rule, knowledge: Knowledge) -> bool:
    """True if the rule or its protocol asks for the sex: its cards then say where that was read."""
    protocols = set(named(rule.applies, ("protocol",)))
    trees = (rule.applies, rule.spec, *(p.applies for p in knowledge.protocols if p.key in protocols))
    return any(True for tree in trees for _ in named(tree, ("sex", "by_sex")))


def card_of(finding: Finding, evaluation: Evaluation, words: Words, sex_from: str) -> Card:
    """The card of one finding; `sex_from`: where the sex was read, '' if the rule does not ask for it."""
    rule, knowledge = finding.rule, words.knowledge
    facts = finding.facts
    results = [fact for fact in facts if isinstance(fact, Measurement)]
    courses = [fact for fact in facts if isinstance(fact, Therapy)]
    shown = [finding.result, *results] if finding.result else results
    values: dict[str, Any] = {
        **_footer(rule, words, finding.profile),
        "f": finding,
        "as_of": evaluation.as_of,
        "lines": list(dict.fromkeys(words.line(line) for line in finding.lines)),
        "adjusted": _adjusted_for(finding),
        "courses": courses,
        "course": courses[0] if courses else None,
        "conditions": [fact for fact in facts if isinstance(fact, Condition)],
        "procedures": [fact for fact in facts if isinstance(fact, Procedure)],
        "drafts": [fact for fact in facts if isinstance(fact, Draft)],
        "orders": [fact for fact in facts if isinstance(fact, Order)],
        "results": results,
        "due": [(knowledge.tests[item.test], item) for item in finding.due],
        "late": sum(item.overdue for item in finding.due),
        "ordered": [(knowledge.tests[test], order) for test, order in finding.ordered],
        "switches": knowledge.switches,
        "sources": list(dict.fromkeys(result.source for result in shown)),
        "sex_from": sex_from,
        **finding.values,
    }
    conditions = values["conditions"]
    concept = knowledge.concepts.get(str(finding.values.get("concept", "")))
    values["condition"] = words.sentence(concept.name) if concept else ""
    values["onset"] = words.onset(conditions[0]) if conditions else ""
    return Card(
        rule=rule,
        indicator=finding.indicator,
        summary=words.summary(rule.template, rule.spec.get("summary", ""), values),
        detail=words.detail(rule.template, values),
        source=knowledge.sources[words.evidence(rule, finding.profile)[0].source],
        tests=tuple(knowledge.tests[test] for test in finding.tests),
        topic=rule.topic,
        finding=finding,
    )


def _adjusted_for(finding: Finding) -> str:
    """Agent for which the result was multiplied ('' if it was not; a baseline may have been)."""
    lines = (line.values for line in finding.lines if line.message == "adjusted")
    therapies = (values["therapy"] for values in lines if values["result"] is finding.result)
    return next((therapy.agent for therapy in therapies if isinstance(therapy, Therapy)), "")


def _footer(rule: Rule, words: Words, profile: str = "") -> dict[str, Any]:
    basis = words.basis(rule, profile)
    return {"rule": rule, "advice": Own(rule.advice), "basis": basis, "sources": [], "sex_from": ""}


def quiet_card(doubts: tuple[Doubt, ...], words: Words) -> Card:
    """The quiet card: topic is the data-quality rule if all doubts are its, else UNKNOWN (0.4.4)."""
    speakers = {doubt.rule or "UNKNOWN" for doubt in doubts}
    rules = {rule.id: rule for rule in words.knowledge.rules}
    rule = rules[speakers.pop() if len(speakers) == 1 else "UNKNOWN"]
    values = {
        **_footer(rule, words),
        "lines": list(dict.fromkeys(words.line(line) for line in doubt_lines(grouped(doubts, words)))),
        "areas": list(dict.fromkeys(words.name(doubt.area) for doubt in doubts)),
    }
    return Card(
        rule=rule,
        indicator="info",
        summary=words.summary("unknown", "", values),
        detail=words.detail("unknown", values),
        source=words.knowledge.sources[rule.evidence[0].source],
        topic=rule.topic,
    )


def grouped(doubts: tuple[Doubt, ...], words: Words) -> tuple[Doubt, ...]:
    """Doubts with one cause, a prefetch key or an entry, become one that names all that it would have brought."""
    grouped: dict[tuple[object, ...], list[Doubt]] = {}
    for doubt in doubts:
        cause = doubt.values.get("key") or doubt.values.get("source")
        grouped.setdefault((doubt.message, cause) if cause else doubt.key(), []).append(doubt)
    return tuple(
        msgspec.structs.replace(same[0], area=Own(", ".join(dict.fromkeys(words.name(d.area) for d in same))))
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
            cards = [*rest[:place], merged_card(same, words), *rest[place:]]
    return cards


def merged_card(cards: list[Card], words: Words) -> Card:
    """Several cards in one, with the urgency of the first."""
    values = {"cards": [(card.summary, card.detail) for card in cards], "count": len(cards)}
    tests = tuple({test.key: test for card in cards for test in card.tests}.values())
    return msgspec.structs.replace(
        cards[0],
        summary=words.summary("merged", "", values),
        detail=words.detail("merged", values),
        tests=tests,
        finding=None,
        parts=tuple(cards),
    )


def _json(card: Card, suggestions: list[JSON], words: Words, uuid: str) -> JSON:
    rule, source, knowledge = card.rule, card.source, words.knowledge
    topic = {"system": knowledge.code_system, "code": card.topic, "display": rule.title}
    card_json: JSON = {
        "uuid": uuid,
        "summary": card.summary,
        "detail": f"{card.detail} {words.say('closing')}",
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


def _links(card: Card, words: Words, launch_url: str) -> JSON:
    """The link to the chart page (CDS Hooks 3.0, Link); none on the quiet card, which is about no marker."""
    finding = (card.parts or (card,))[0].finding
    if finding is None:
        return {}
    about = {"rule": finding.rule.id, **({"marker": finding.marker} if finding.marker else {})}
    link = {"label": str(words.say("chart_link")), "url": launch_url, "type": "smart"}
    return {"links": [{**link, "appContext": msgspec.json.encode(about).decode()}]}
