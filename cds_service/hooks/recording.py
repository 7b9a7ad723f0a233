"""What is kept of a call: which rules spoke in which cards, and what their suggestions order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from cds_service.feedback.records import Suggested, Told
from cds_service.hooks.cards import Card
from cds_service.hooks.suggestions import JSON, tests_of
from cds_service.knowledge.model import Rule
from cds_service.rules.outcome import Evaluation, Finding, Result
from cds_service.rules.snooze import grounds

FOUND: tuple[Result, ...] = ("finding", "suppressed", "snoozed", "silent")
"""Results of a rule that has found something."""


class Notes:
    """Takes down what the renderer tells of each card."""

    def __init__(self, silent: bool) -> None:
        """`silent`: the cards will not be shown."""
        self.cards: list[Told] = []
        self.suggestions: list[Suggested] = []
        self._silent = silent

    def take(self, uuid: str, card: Card, suggestions: list[JSON]) -> None:
        """A `Note` of the renderer."""
        for position, part in enumerate(card.parts or (card,)):
            self.cards.append(_told(uuid, part.rule, part.indicator, part.finding, position, silent=self._silent))
        told = tests_of(suggestions, card.tests)
        self.suggestions += [Suggested(each, uuid, tests) for each, tests in told]

    def unseen(self, evaluation: Evaluation, new_uuid: Callable[[], str]) -> None:
        """Take down the findings that have no card: those set aside, and those of silent rules."""
        for snoozed in evaluation.snoozed:
            finding = snoozed.finding
            self.cards.append(_told(new_uuid(), finding.rule, finding.indicator, finding, snoozed=True))
        for finding in evaluation.silent:
            self.cards.append(_told(new_uuid(), finding.rule, finding.indicator, finding, silent=True))


def _told(
    uuid: str, rule: Rule, indicator: str, finding: Finding | None, position: int = 0, **unseen: bool
) -> Told:
    return Told(
        uuid,
        rule.id,
        rule.version,
        indicator,
        position,
        tests=tuple(item.test for item in finding.due) if finding else (),
        basis=grounds(finding) if finding else (),
        **unseen,
    )


def results(evaluation: Evaluation) -> dict[str, int]:
    """How many rules ended how."""
    ended = Counter([outcome.result for outcome in evaluation.outcomes])
    return {
        "findings": sum([ended[result] for result in FOUND]),
        "fine": ended["fine"],
        "unknown": ended["unknown"],
        "not_applicable": ended["not applicable"],
        "failed": len([True for outcome in evaluation.outcomes if outcome.failed]),
    }
