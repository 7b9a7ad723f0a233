"""What holds at a site and differs from what is shipped, with who decided it, why, and until when."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from cds_service.knowledge.model import Knowledge, Rule
from cds_service.knowledge.texts import NAME, read_texts, texts_of
from cds_service.knowledge.yaml_file import KnowledgeError, Problem, dotted

WORDS = ("title", "advice", "differs", "evidence")


class Difference(msgspec.Struct, frozen=True):
    """One line of `cds-service knowledge diff`; all texts."""

    what: str
    shipped: str
    here: str
    who: str
    why: str
    until: str
    place: str
    """File and line of the overlay, '' for what a guideline brings with it."""


def differences(shipped: Knowledge, here: Knowledge) -> list[Difference]:
    """Everything that differs: by the overlay first, in its order, then by the guidelines that were chosen."""
    by_overlay = [
        Difference(
            change.what,
            change.shipped,
            change.here,
            change.who,
            change.why,
            f"{change.until}",
            change.place,
        )
        for change in here.changes
        if not change.expired
    ]
    told = {difference.what for difference in by_overlay}
    return [*by_overlay, *(one for one in _by_profile(shipped, here) if one.what not in told)]


def _by_profile(shipped: Knowledge, here: Knowledge) -> Iterator[Difference]:
    chosen = ", ".join(
        f"{name} {here.switches[name]}" for name in here.presets if here.switches[name] != shipped.switches[name]
    )
    for name, value in here.switches.items():
        if value != shipped.switches[name]:
            what = "guideline" if name == "guideline" else f"switch {name}"
            yield _preset(what, shipped.switches[name], value, chosen)
    old = {rule.id: rule for rule in shipped.rules}
    for rule in here.rules:
        for field in WORDS:
            before, after = getattr(old[rule.id], field), getattr(rule, field)
            if before != after:
                yield _preset(f"rule {rule.id}: {field}", _short(before, old[rule.id]), _short(after, rule), chosen)


def reworded(shipped: Knowledge, folder: Path | None) -> list[Difference]:
    """Texts that the folder of the site's own words puts in other words. Raises KnowledgeError."""
    problems: list[Problem] = []
    told = read_texts(shipped, folder, problems)
    if problems:
        raise KnowledgeError(problems)
    before = texts_of(shipped)
    return [
        Difference(dotted(place), before[place], text, "settings", "words.folder", "", NAME)
        for place, text in told.items()
        if text != before[place]
    ]


def _preset(what: str, before: Any, after: Any, chosen: str) -> Difference:
    return Difference(what, _text(before), _text(after), "settings", f"profile {chosen}", "", "")


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else "null" if value is None else str(value)


def _short(value: Any, rule: Rule) -> str:
    """Words as they are; of the evidence the sources."""
    return ", ".join(one.source for one in rule.evidence) if isinstance(value, tuple) else str(value)
