"""What somebody should look at in the knowledge of a site, although nothing is wrong with it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date, timedelta
from decimal import Decimal

from cds_service.knowledge.limits import RuleLimit, limits_of
from cds_service.knowledge.model import Change, Knowledge, Rule
from cds_service.knowledge.overlay import in_force
from cds_service.knowledge.voice import Voice

KINDS = (
    *("guideline", "switches", "switch", "rules", "rule", "result code", "results", "order code", "orders"),
    *("unit spelling", "units", "drug words", "drug code", "drugs", "route code", "routes", "concepts", "concept"),
    *("override reason", "reasons"),
)
"""First words of `Change.what`."""
SOON = timedelta(days=30)
"""How long before its end a change of the overlay is told."""


def warnings(knowledge: Knowledge, today: date, voice: Voice | None = None) -> list[str]:
    """Lapsed reviews, changes of the overlay that have ended or end soon, and words that a change left behind.

    `voice` None: in the words of the service.
    """
    voice = voice or Voice()
    return [*_lapsed(knowledge, today, voice), *_ending(knowledge, today, voice), *_left_behind(knowledge, voice)]


def what_in_words(what: str, voice: Voice) -> str:
    """What a change is about, `rule HCT-2: above`, with its kind in the words of a site."""
    kind = next((one for one in KINDS if what == one or what.startswith(f"{one} ")), "")
    return voice.say(kind) + what[len(kind) :] if kind else what


def _lapsed(knowledge: Knowledge, today: date, voice: Voice) -> Iterator[str]:
    for rule in knowledge.rules:
        if rule.status == "active" and rule.review_by < today:
            yield voice.say("{rule}: review was due by {day}", rule=rule.id, day=rule.review_by)


def _ending(knowledge: Knowledge, today: date, voice: Voice) -> Iterator[str]:
    for change in knowledge.changes:
        told = {"what": what_in_words(change.what, voice), "who": change.who, "day": change.until}
        if change.expired:
            text = "{place}: {what}: ended on {day} ({who}); what was shipped holds"
            yield voice.say(text, place=change.place, **told)
        elif change.until < today + SOON:
            yield voice.say("{place}: {what}: ends on {day} ({who})", place=change.place, **told)


def _left_behind(knowledge: Knowledge, voice: Voice) -> Iterator[str]:
    """Texts of rules about a marker that still say the shipped number of a limit that the site has changed."""
    for change in in_force(knowledge.changes):
        if not re.fullmatch(r"-?\d+(\.\d+)?", change.shipped):
            continue
        subjects = {limit.subject for rule in knowledge.rules for limit in limits_of(rule) if _is_of(limit, change)}
        for rule in knowledge.rules:
            if rule.status == "active" and subjects & rule.markers:
                for field, text in _texts(rule):
                    if _says(text, change.shipped):
                        yield voice.say(
                            "{rule}: its {field} says the shipped {shipped}; {place} has made {what} {here}",
                            rule=rule.id,
                            field=voice.say(field),
                            shipped=change.shipped,
                            place=change.place,
                            what=what_in_words(change.what, voice),
                            here=change.here,
                        )


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
