"""Findings become cards (CDS Hooks, sections Card Attributes, Source, Suggestion, Override Reasons).

At most five cards, critical first; what is too many is merged, information first. All that stayed unknown is one
quiet card.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, get_args

import msgspec

from cds_service.chart import Chart, Condition, Draft, Measurement, Order, Procedure, Therapy
from cds_service.hooks.suggestions import JSON, make_suggest
from cds_service.hooks.wording import Wording
from cds_service.hooks.words import Own, Words
from cds_service.knowledge.model import Knowledge, Rule
from cds_service.knowledge.needs import named
from cds_service.knowledge.vocabulary import Source, Test
from cds_service.rules.lines import doubt_lines
from cds_service.rules.outcome import Doubt, Evaluation, Fact, Finding

MOST_CARDS = 5
FACTS = get_args(Fact)
URGENCY = ("info", "warning", "critical")


class Renderer(Protocol):
    """What `make_renderer` makes."""

    def __call__(
        self,
        evaluation: Evaluation,
        chart: Chart,
        new_uuid: Callable[[], str],
        note: Note = ...,
        failed: dict[str, str] | None = ...,
        /,
    ) -> list[JSON]:
        """Card JSON of an evaluation; `note` is told of each card what may be kept of it.

        `failed` takes the rules whose card could not be worded: id -> exception type.
        """
        ...


class Card(msgspec.Struct, frozen=True):
    """A card before it is JSON: rendered words, and what the JSON is made of."""

    rule: Rule
    indicator: str
    summary: str
    detail: str
    source: Source
    tests: tuple[Test, ...] = ()
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
    suggest, to_json = make_suggest(knowledge.tests, words.say, profile), _make_json(words)
    sexed = frozenset(rule.id for rule in knowledge.rules if _rests_on_sex(rule, knowledge))

    def render(
        evaluation: Evaluation,
        chart: Chart,
        new_uuid: Callable[[], str],
        note: Note = _forget,
        failed: dict[str, str] | None = None,
    ) -> list[JSON]:
        cards, doubts = [], list(evaluation.doubts)
        for finding in evaluation.findings:
            sex_source = chart.patient.sex_source if finding.rule.id in sexed else ""
            try:
                cards.append(card_of(finding, evaluation, words, sex_source))
            except Exception as error:  # law 1: a card that cannot be worded is told, and takes no other card down
                doubts.append(Doubt("rule_failed", finding.rule.id, {"title": finding.rule.title}))
                if failed is not None:
                    failed[finding.rule.id] = type(error).__name__
        if doubts:
            cards.append(quiet_card(tuple(doubts), words))
        shown = []
        for card in _at_most(cards, MOST_CARDS, words):
            uuid = new_uuid()
            suggestions = suggest(card.tests, chart.patient.id, evaluation.as_of, new_uuid)
            note(uuid, card, suggestions)
            card_json = to_json(card, suggestions, uuid)
            if launch_url:
                card_json |= _links(card, words, launch_url)
            shown.append(card_json)
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
    facts: dict[type, list[Any]] = {kind: [] for kind in FACTS}
    for fact in {id(fact): fact for fact in finding.facts}.values():  # several conditions may rest on one
        facts[type(fact)].append(fact)
    results, courses, conditions = facts[Measurement], facts[Therapy], facts[Condition]
    shown = [finding.result, *results] if finding.result else results
    tests = knowledge.tests
    due = [(tests[item.test], item) for item in finding.due]
    concept = knowledge.concepts.get(str(finding.values.get("concept", "")))
    values: dict[str, Any] = {
        **_footer(rule, words, finding.profile),
        "f": finding,
        "as_of": evaluation.as_of,
        "lines": list(dict.fromkeys([words.line(line) for line in finding.lines])),
        "adjusted": _adjusted_for(finding),
        "courses": courses,
        "course": _named_course(courses, rule),
        "conditions": conditions,
        "procedures": facts[Procedure],
        "drafts": facts[Draft],
        "orders": facts[Order],
        "results": results,
        "due": due,
        "names": [test.name for test, _ in due],
        "late": sum([item.overdue for item in finding.due]),
        "ordered": [(tests[test], order) for test, order in finding.ordered],
        "switches": knowledge.switches,
        "sources": list(dict.fromkeys([result.source for result in shown])),
        "sex_from": sex_from,
        "condition": words.sentence(concept.name) if concept else "",
        "onset": words.onset(conditions[0]) if conditions else "",
        **finding.values,
    }
    return Card(
        rule=rule,
        indicator=finding.indicator,
        summary=words.summary(rule.template, rule.spec.get("summary", ""), values),
        detail=words.detail(rule.template, values),
        source=knowledge.sources[words.evidence(rule, finding.profile)[0].source],
        tests=tuple([tests[test] for test in finding.tests]),
        finding=finding,
    )


def _named_course(courses: list[Therapy], rule: Rule) -> Therapy | None:
    """The course that a summary names: of the therapy that the rule watches, the first where it names none."""
    watched = rule.spec.get("therapy", ())
    return next((course for course in courses if course.key in watched), courses[0] if courses else None)


def _adjusted_for(finding: Finding) -> str:
    """Agent for which the result was multiplied ('' if it was not; a baseline may have been)."""
    for line in finding.lines:
        if line.message == "adjusted" and line.values["result"] is finding.result:
            therapy = line.values["therapy"]
            if isinstance(therapy, Therapy):
                return therapy.agent
    return ""


def _footer(rule: Rule, words: Words, profile: str = "") -> dict[str, Any]:
    basis = words.basis(rule, profile)
    return {"rule": rule, "advice": Own(rule.advice), "basis": basis, "sources": [], "sex_from": ""}


def quiet_card(doubts: tuple[Doubt, ...], words: Words) -> Card:
    """The quiet card: topic is the data-quality rule if all doubts are its, else UNKNOWN (0.4.4)."""
    speakers = {doubt.rule or "UNKNOWN" for doubt in doubts}
    rule = words.rules[speakers.pop() if len(speakers) == 1 else "UNKNOWN"]
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
    """Merge the last cards of one urgency, the least urgent first, until no more than `most` are left (0.4.20)."""
    for indicator in URGENCY:
        surplus = len(cards) - most
        if surplus <= 0:
            break
        places = [place for place, card in enumerate(cards) if card.indicator == indicator][-surplus - 1 :]
        if len(places) > 1:
            first, end = places[0], places[-1] + 1
            cards = [*cards[:first], merged_card(cards[first:end], words), *cards[end:]]
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


def _make_json(words: Words) -> Callable[[Card, list[JSON], str], JSON]:
    """What makes JSON of a card, its suggestions and its uuid; what the rule alone decides is made here, once."""
    knowledge, closing = words.knowledge, words.say("closing")
    sources: dict[str, JSON] = {
        key: {"label": source.label, **({"url": source.url} if source.url else {})}
        for key, source in knowledge.sources.items()
    }
    topics = {
        rule.id: {"topic": {"system": knowledge.code_system, "code": rule.topic, "display": rule.title}}
        for rule in knowledge.rules
    }
    reasons = {rule.id: _reasons(rule, knowledge) for rule in knowledge.rules}

    def to_json(card: Card, suggestions: list[JSON], uuid: str) -> JSON:
        card_json: JSON = {
            "uuid": uuid,
            "summary": card.summary,
            "detail": f"{card.detail} {closing}",
            "indicator": card.indicator,
            "source": sources[card.source.key] | topics[card.rule.id],
        }
        if suggestions:
            card_json["suggestions"] = suggestions
            card_json["selectionBehavior"] = "any"
        if reasons[card.rule.id]:
            card_json["overrideReasons"] = reasons[card.rule.id]
        return card_json

    return to_json


def _reasons(rule: Rule, knowledge: Knowledge) -> list[JSON]:
    given = (knowledge.reasons[key] for key in rule.reasons)
    return [{"code": reason.code, "system": reason.system, "display": reason.display} for reason in given]


def _links(card: Card, words: Words, launch_url: str) -> JSON:
    """The link to the chart page (CDS Hooks 3.0, Link); none on the quiet card, which is about no marker."""
    finding = (card.parts or (card,))[0].finding
    if finding is None:
        return {}
    about = {"rule": finding.rule.id, **({"marker": finding.marker} if finding.marker else {})}
    link = {"label": str(words.say("chart_link")), "url": launch_url, "type": "smart"}
    return {"links": [{**link, "appContext": msgspec.json.encode(about).decode()}]}
