"""The knowledge of a site in the making: copies of what its overlay changes, and a list of the changes."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any

import msgspec

from cds_service.knowledge.limits import Field
from cds_service.knowledge.model import Change, Knowledge, Rule
from cds_service.knowledge.yaml_file import Document, Problem


class Entry(msgspec.Struct, frozen=True):
    """One entry of `changes` in an overlay."""

    place: int
    who: str
    why: str
    until: date


class Site:
    """What the handlers of an overlay's sections work on."""

    def __init__(self, base: Knowledge, document: Document, problems: list[Problem]) -> None:
        """`base` is what holds without the overlay; what is wrong with `document` goes to `problems`."""
        self.base = base
        self.rules: dict[str, Rule] = {rule.id: rule for rule in base.rules}
        self._document = document
        self._problems = problems
        self._parts: dict[str, Any] = {}
        self._changes: list[Change] = []
        self._taken: dict[str, str] = {}

    def part(self, name: str) -> dict[Any, Any]:
        """A mapping of the knowledge, to be changed."""
        if name not in self._parts:
            self._parts[name] = dict(getattr(self.base, name))
        found: dict[Any, Any] = self._parts[name]
        return found

    def now(self, name: str) -> Mapping[Any, Any]:
        """A mapping of the knowledge as it is so far."""
        found: Mapping[Any, Any] = self._parts.get(name, getattr(self.base, name))
        return found

    def put(self, name: str, value: tuple[Any, ...]) -> None:
        """Put a sequence in the place of one of the knowledge."""
        self._parts[name] = value

    def sequence(self, name: str) -> tuple[Any, ...]:
        """A sequence of the knowledge as it is so far."""
        found: tuple[Any, ...] = self._parts.get(name, getattr(self.base, name))
        return found

    def refuse(self, entry: Entry, field: Field, expected: str) -> None:
        """Tell that a field of the entry is wrong."""
        self._problems.append(self._document.problem(("changes", entry.place, *field), expected))

    def note(self, entry: Entry, field: Field, what: str, shipped: str, here: str, *, rule: str = "") -> bool:
        """Book a change; False, with a problem, if another entry has changed the same thing."""
        problem = self._document.problem(("changes", entry.place, *field), "")
        place = f"{problem.file}:{problem.line}"
        if what in self._taken:
            self.refuse(entry, field, f"one change of {what}; {self._taken[what]} has it already")
            return False
        self._taken[what] = place
        self._changes.append(Change(what, shipped, here, entry.who, entry.why, entry.until, place, rule=rule))
        return True

    def expire(self, entry: Entry, what: str) -> None:
        """Book an entry whose day is past."""
        problem = self._document.problem(("changes", entry.place), "")
        place = f"{problem.file}:{problem.line}"
        self._changes.append(Change(what, "", "", entry.who, entry.why, entry.until, place, expired=True))

    def knowledge(self) -> Knowledge:
        """The knowledge with all that was changed."""
        rules = tuple(self.rules[rule.id] for rule in self.base.rules)
        return msgspec.structs.replace(self.base, rules=rules, changes=tuple(self._changes), **self._parts)
