"""What somebody should look at in the knowledge of a site, although nothing is wrong with it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date, timedelta
from decimal import Decimal

from cds_service.knowledge.limits import RuleLimit, limits_of
from cds_service.knowledge.model import Change, Knowledge, Rule
from cds_service.knowledge.overlay import in_force

SOON = timedelta(days=30)
"""How long before its end a change of the overlay is told."""


def warnings(knowledge: Knowledge, today: date) -> list[str]:
    """Lapsed reviews, changes of the overlay that have ended or end soon, and words that a change left behind."""
    return [*_lapsed(knowledge, today), *_ending(knowledge, today), *_left_behind(knowledge)]


def _lapsed(knowledge: Knowledge, today: date) -> Iterator[str]:
    for rule in knowledge.rules:
        if rule.status == "active" and rule.review_by < today:
            yield f"{rule.id}: review was due by {rule.review_by}"


def _ending(knowledge: Knowledge, today: date) -> Iterator[str]:
    for change in knowledge.changes:
        if change.expired:
            yield f"{change.place}: {change.what}: ended on {change.until} ({change.who}); what was shipped holds"
        elif change.until < today + SOON:
            yield f"{change.place}: {change.what}: ends on {change.until} ({change.who})"


def _left_behind(knowledge: Knowledge) -> Iterator[str]:
    """Texts of rules about a marker that still say the shipped number of a limit that the site has changed."""
    for change in in_force(knowledge.changes):
        if not re.fullmatch(r"-?\d+(\.\d+)?", change.shipped):
            continue
        subjects = {limit.subject for rule in knowledge.rules for limit in limits_of(rule) if _is_of(limit, change)}
        for rule in knowledge.rules:
            if rule.status == "active" and subjects & rule.markers:
                for field, text in _texts(rule):
                    if _says(text, change.shipped):
                        made = f"{change.place} has made {change.what} {change.here}"
                        yield f"{rule.id}: its {field} says the shipped {change.shipped}; {made}"


def _is_of(limit: RuleLimit, change: Change) -> bool:
    return change.what in (f"switch {limit.switch}", f"rule {limit.rule}: {limit.path}")


def _texts(rule: Rule) -> Iterator[tuple[str, str]]:
    yield "title", rule.title
    yield "advice", rule.advice
    yield "summary", str(rule.spec.get("summary", ""))


def _says(text: str, number: str) -> bool:
    """True if the number stands in the text, with any zeros after the point."""
    found = re.findall(r"(?<![\w.])-?\d+(?:\.\d+)?(?!\w)", text)
    return any(Decimal(one) == Decimal(number) for one in found)
