"""How the rules of one hook are gone through: worked out once for a knowledge base, for each hook and silence.

Most rules are not about a patient, and many of those begin with the same question: this therapy, that protocol.
Rules that do stand together, so that a *no* to their first question ends all of them at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from cds_service.knowledge.kept import Kept
from cds_service.knowledge.model import Knowledge, Rule
from cds_service.rules.context import Context
from cds_service.rules.outcome import Outcome
from cds_service.rules.predicates import QUESTIONS
from cds_service.rules.questions import Question, Truth, never


class Asked(msgspec.Struct, frozen=True):
    """A rule with the question whether it is about a patient."""

    rule: Rule
    question: Question
    outside: Outcome
    """How it ends for a patient whom it is not about."""
    place: int
    """Its place among the rules that are judged."""


class Group(msgspec.Struct, frozen=True):
    """Rules that ask the same at first."""

    first: Question
    rules: tuple[Asked, ...]


class Plan(msgspec.Struct, frozen=True):
    """The active rules of a hook."""

    judged: tuple[Asked, ...]
    """Those that judge, in their order."""
    quality: tuple[Rule, ...]
    """Those that look for results that cannot be judged."""
    groups: tuple[Group, ...]
    """Those of `judged` that are about somebody at this site, by what they ask at first."""
    outside: tuple[Outcome, ...]
    """How each of `judged` ends for a patient whom none of them is about."""
    silent: tuple[Asked, ...]
    """Those that are judged and not told."""


class Plans:
    """The plans of one knowledge base."""

    def __init__(self, knowledge: Knowledge) -> None:
        self._rules = [rule for rule in knowledge.rules if rule.status == "active"]
        self._questions = QUESTIONS.of(knowledge)
        self._made: dict[tuple[str, frozenset[str], bool], Plan] = {}
        self.protocols = [(p.key, self._question(p.applies)) for p in knowledge.protocols if p.schedules]
        """Protocols that have a schedule, with the question whether they apply."""

    def of(self, hook: str, silent: frozenset[str], *, minor: bool) -> Plan:
        """The plan of a hook where these rules are silent; for minors, whom only some are about."""
        key = (hook, silent, minor)
        found = self._made.get(key)
        if found is None:
            rules = [rule for rule in self._rules if hook in rule.hooks]
            asked = [rule for rule in rules if "minor" in rule.runs_without] if minor else rules
            found = self._made[key] = self._plan(asked, silent)
        return found

    def _plan(self, rules: list[Rule], silent: frozenset[str]) -> Plan:
        aloud = [rule for rule in rules if rule.id not in silent]
        judged = self._asked(rule for rule in aloud if rule.kind != "quality")
        groups: dict[str, list[Asked]] = {}
        for asked in judged:
            if asked.question is never:
                continue
            groups.setdefault(repr(first(asked.rule.applies)), []).append(asked)
        return Plan(
            judged,
            tuple(rule for rule in aloud if rule.kind == "quality"),
            tuple(Group(self._question(first(group[0].rule.applies)), tuple(group)) for group in groups.values()),
            tuple(asked.outside for asked in judged),
            self._asked(rule for rule in rules if rule.id in silent),
        )

    def _asked(self, rules: Iterable[Rule]) -> tuple[Asked, ...]:
        return tuple(
            Asked(rule, self._question(rule.applies), outside(rule), place) for place, rule in enumerate(rules)
        )

    def _question(self, tree: Any) -> Question:
        """The question of a tree; one that cannot be made fails where it is asked, and fails that rule alone."""
        try:
            return self._questions.of(tree)
        except Exception as error:
            return _failing(error)


def _failing(error: Exception) -> Question:
    def question(_: Context) -> Truth:
        raise error

    return question


def first(tree: Any) -> Any:
    """The question that decides first: a *no* to it is a *no* to the tree."""
    while isinstance(tree, Mapping) and len(tree) == 1 and tree.get("all"):
        tree = tree["all"][0]
    return tree


def outside(rule: Rule) -> Outcome:
    """How a rule ends for a patient whom it is not about."""
    return Outcome(rule.id, "not applicable", "does not apply to this patient", applies=False)


PLANS = Kept(Plans)
