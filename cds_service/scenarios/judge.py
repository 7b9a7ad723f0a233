"""Compares an answer with what a case expects, and says every difference in a sentence."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from cds_service.knowledge.model import Knowledge
from cds_service.rules.outcome import Outcome
from cds_service.scenarios.dates import resolve
from cds_service.scenarios.facts import Case, ExpectedCard
from cds_service.scenarios.run import Answer

Card = Mapping[str, Any]

SILENT = ("fine", "not applicable", "suppressed")
"""How a rule may end that has nothing to say."""

_ESCAPED = re.compile(r"\\([!-/:-@\[-`{-~])")
_SPACES = re.compile(r"\s+")


def differences(case: Case, answer: Answer, knowledge: Knowledge) -> list[str]:
    """Return what is not as expected; an empty list if all is."""
    if answer.status != case.expect.status:
        return [f"HTTP status {answer.status}, expected {case.expect.status}"]
    found = list(_cards(case, answer.cards, knowledge))
    found += [f"{rule}: has a card and should be silent" for rule in case.expect.silent if rule in _topics(answer)]
    if answer.evaluation is not None:
        outcomes = {outcome.rule: outcome for outcome in answer.evaluation.outcomes}
        found += _outcomes(case, outcomes, knowledge)
        found += _next_due(case, outcomes, knowledge)
    return found


def topic(card: Card) -> str:
    """Code of the card's topic: the rule that speaks; '' if it has none."""
    return str(card.get("source", {}).get("topic", {}).get("code", ""))


def plain(text: str) -> str:
    """Markdown without the escapes, and every run of white space as one blank."""
    return _SPACES.sub(" ", _ESCAPED.sub(r"\1", text)).strip()


def suggested_codes(card: Card) -> dict[tuple[str, str], str]:
    """Codes of the orders that the card suggests, with their names."""
    codings = (
        coding
        for suggestion in card.get("suggestions", ())
        for action in suggestion.get("actions", ())
        for coding in action.get("resource", {}).get("code", {}).get("coding", ())[:1]
    )
    return {(coding["system"], coding["code"]): coding.get("display", coding["code"]) for coding in codings}


def _topics(answer: Answer) -> list[str]:
    return [topic(card) for card in answer.cards]


def _cards(case: Case, cards: tuple[Card, ...], knowledge: Knowledge) -> Iterator[str]:
    expected = list(case.expect.cards)
    got = [f"{card['indicator']} {topic(card)}" for card in cards]
    wanted = [f"{card.indicator} {card.rule}" for card in expected]
    if case.expect.others == "allowed":
        got = [one for one in got if one in wanted]
    if got != wanted:
        yield f"cards: {_list(got)}; expected: {_list(wanted)}"
    rest = list(cards)
    for one in expected:
        match = next((card for card in rest if topic(card) == one.rule), None)
        if match is not None:
            rest.remove(match)  # Two protocols can have a card of one topic each.
            yield from _one_card(one, match, knowledge)


def _list(cards: list[str]) -> str:
    return ", ".join(cards) or "none"


def _one_card(expected: ExpectedCard, card: Card, knowledge: Knowledge) -> Iterator[str]:
    summary, detail = plain(card["summary"]), plain(card.get("detail", ""))
    if expected.summary and summary != expected.summary:
        yield f"{expected.rule}: summary {summary!r}; expected {expected.summary!r}"
    for text in expected.says:
        if text.casefold() not in detail.casefold():
            yield f"{expected.rule}: the detail lacks {text!r}: {detail}"
    for text in expected.not_says:
        if text.casefold() in f"{summary} {detail}".casefold():
            yield f"{expected.rule}: says {text!r}: {summary} / {detail}"
    if expected.tests is not None:
        yield from _suggestions(expected.rule, expected.tests, suggested_codes(card), knowledge)


def _suggestions(
    rule: str, tests: Iterable[str], got: Mapping[tuple[str, str], str], knowledge: Knowledge
) -> Iterator[str]:
    """Compared are codes: two tests of the knowledge base can be one order."""
    unknown = [key for key in tests if key not in knowledge.tests]
    if unknown:
        yield f"{rule}: there is no test {', '.join(unknown)}"
    known = [knowledge.tests[key] for key in tests if key in knowledge.tests]
    wanted = {(test.order_system, test.order_code): test.order_display for test in known}
    if got.keys() != wanted.keys():
        yield f"{rule}: suggests {_list(list(got.values()))}; expected {_list(list(wanted.values()))}"


def _outcomes(case: Case, outcomes: Mapping[str, Outcome], knowledge: Knowledge) -> Iterator[str]:
    for names, allowed in ((case.expect.silent, SILENT), (case.expect.unknown, ("unknown",))):
        for name in names:
            rules = [rule.id for rule in knowledge.rules if name in (rule.id, rule.topic)]
            ended = [outcomes[rule] for rule in rules if rule in outcomes]
            if not rules:
                yield f"{name}: there is no such rule"
            if not ended and allowed != SILENT:
                yield f"{name}: does not run in this hook; expected {' or '.join(allowed)}"
            if allowed != SILENT and any(outcome.result in allowed for outcome in ended):
                continue  # Of several rules of one topic those of other protocols do not apply here.
            for outcome in ended:
                if outcome.result not in allowed:
                    got = f"{outcome.result} ({outcome.reason})"
                    yield f"{outcome.rule}: ended in {got}; expected {' or '.join(allowed)}"


def _next_due(case: Case, outcomes: Mapping[str, Outcome], knowledge: Knowledge) -> Iterator[str]:
    for protocol, words in case.expect.next_due.items():
        rules = [rule.id for rule in knowledge.rules if rule.protocol == protocol and rule.kind == "schedule"]
        days = sorted(
            str(outcomes[rule].next_due) for rule in rules if rule in outcomes and outcomes[rule].next_due
        )
        wanted = resolve(words, case.as_of)
        if days[:1] != [wanted]:
            yield f"next test of {protocol} due {days[0] if days else 'never'}; expected {wanted}"
