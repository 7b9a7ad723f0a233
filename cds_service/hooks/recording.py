"""What is kept of a call: which rules spoke in which cards, and what their suggestions order."""

from __future__ import annotations

from cds_service.chart import Condition, Measurement, Procedure
from cds_service.feedback.hashes import Ground
from cds_service.feedback.records import Suggested, Told
from cds_service.hooks.cards import Card
from cds_service.hooks.suggestions import JSON, tests_of
from cds_service.rules.outcome import Evaluation, Finding


class Notes:
    """Takes down what the renderer tells of each card."""

    def __init__(self) -> None:
        self.cards: list[Told] = []
        self.suggestions: list[Suggested] = []

    def take(self, uuid: str, card: Card, suggestions: list[JSON]) -> None:
        """A `Note` of the renderer."""
        for position, part in enumerate(card.parts or (card,)):
            self.cards.append(
                Told(
                    uuid,
                    part.rule.id,
                    part.rule.version,
                    part.indicator,
                    position,
                    tests=tuple(item.test for item in part.finding.due) if part.finding else (),
                    basis=grounds(part.finding) if part.finding else (),
                )
            )
        told = tests_of(suggestions, card.tests)
        self.suggestions.extend(Suggested(each, uuid, tests) for each, tests in told)


def grounds(finding: Finding) -> tuple[Ground, ...]:
    """The facts of the chart that a finding rests on."""
    found: list[Ground] = [finding.result] if finding.result else []
    found.extend(fact for fact in finding.facts if isinstance(fact, Measurement | Condition | Procedure))
    return tuple(found)


def results(evaluation: Evaluation) -> dict[str, int]:
    """How many rules ended how."""
    counts = dict.fromkeys(("findings", "fine", "unknown", "not_applicable", "failed"), 0)
    for outcome in evaluation.outcomes:
        counts["findings" if outcome.finding else outcome.result.replace(" ", "_")] += 1
        counts["failed"] += bool(outcome.failed)
    return counts
