"""Predicate trees as functions: made once for a tree, and what two of them ask alike is asked once a chart.

An evaluation asks some hundred trees, most of which say the same: this therapy, that sex, this protocol. A node is
told from others by what it says; the first answer to it is kept in the context for the rest of the evaluation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date
from itertools import count
from typing import Any

import msgspec

from cds_service.chart import Chart, Patient
from cds_service.knowledge.model import Knowledge
from cds_service.rules.context import Context, names
from cds_service.rules.outcome import Doubt, Fact


class Truth(msgspec.Struct, frozen=True, gc=False):
    """Answer of a predicate: `holds` True, False or None (cannot be known, see `doubts`).

    With None there is always a doubt: where answers are combined, it is the doubts that keep them open.
    """

    holds: bool | None
    facts: tuple[Fact, ...] = ()
    doubts: tuple[Doubt, ...] = ()


SITE = frozenset({"switch", "site_codes"})
"""Leaves that ask nothing of the chart."""

NUMBERS = count()
"""Numbers of questions: those of one knowledge base, made anew, are never taken for what they were before."""

COURSE = frozenset({"key", "form", "not_form", "agent"})
CONCEPT = frozenset({"concept"})
NAMING = {"therapy": COURSE, "draft": COURSE, "condition": CONCEPT, "procedure": CONCEPT}
"""Leaves that are given sets where a tree may say one name or several: the fields in question."""

YES = Truth(True)
NO = Truth(False)

Question = Callable[[Context], Truth]
Leaf = Callable[[Any, Context], Truth]


def always(_: Context) -> Truth:
    """The question of no tree at all."""
    return YES


def never(_: Context) -> Truth:
    """The question that nobody fits."""
    return NO


class Questions:
    """The questions of one knowledge base. `leaves` are looked up when they are asked, not before."""

    def __init__(self, knowledge: Knowledge, leaves: Mapping[str, Leaf]) -> None:
        self.knowledge = knowledge
        self._leaves = leaves
        self._nobody = Context(Chart(Patient("")), knowledge, date.min, "")
        """Whom the questions are put to that ask nothing of a chart."""
        self._numbers: dict[str, int] = {}
        self._of_tree: dict[int, tuple[Any, Question]] = {}
        self._protocols: dict[str, Question] = {}

    def of(self, tree: Any) -> Question:
        """The question that a tree asks."""
        if tree is None:
            return always
        found = self._of_tree.get(id(tree))
        if found is None:  # the tree is kept beside its question, so that its id stays its own
            found = self._of_tree[id(tree)] = (tree, self._make(tree))
        return found[1]

    def _make(self, tree: Any) -> Question:
        ((name, spec),) = tree.items() if len(tree) == 1 else (("all", [{k: v} for k, v in tree.items()]),)
        if name == "protocol":
            return self._any_protocol(spec)
        if name in SITE:
            return always if self._leaf(name, spec)(self._nobody).holds else never
        asked = self._combined(name, spec) or self._leaf(name, spec)
        return asked if asked in (always, never) else _asked_once(self._number(name, spec), asked)

    def _combined(self, name: str, spec: Any) -> Question | None:
        if name == "all":
            return _all([self._make(part) for part in spec])
        if name == "any":
            return _any([self._make(part) for part in spec])
        if name == "not":
            return _not(self._make(spec))
        return _certain(self._make(spec)) if name == "certain" else None

    def _leaf(self, name: str, spec: Any) -> Question:
        leaves = self._leaves
        if name in NAMING:
            spec = {field: names(value) if field in NAMING[name] else value for field, value in spec.items()}
        return lambda ctx: leaves[name](spec, ctx)

    def _number(self, name: str, spec: Any) -> int:
        return self._numbers.setdefault(f"{name} {spec!r}", next(NUMBERS))

    def _any_protocol(self, spec: Any) -> Question:
        """One of these protocols applies; `any`: one that is for somebody and not for everybody."""
        if isinstance(spec, str) and spec != "any":
            return self.protocol(spec)
        keys = spec
        if spec == "any":
            keys = [protocol.key for protocol in self.knowledge.protocols if protocol.applies]
        return _kept(self._number("protocols", keys), _any([self.protocol(key) for key in keys]))

    def protocol(self, key: str) -> Question:
        """The question whether a protocol applies; its answer is kept, traced or not."""
        found = self._protocols.get(key)
        if found is None:
            tree = next(protocol.applies for protocol in self.knowledge.protocols if protocol.key == key)
            found = self._protocols[key] = _kept(self._number("protocol", key), self.of(tree))
        return found


def _kept(number: int, ask: Question) -> Question:
    def question(ctx: Context) -> Truth:
        found = ctx.truths.get(number)
        if found is None:
            found = ctx.truths[number] = ask(ctx)
        truth: Truth = found
        return truth

    return question


def _asked_once(number: int, ask: Question) -> Question:
    """As `_kept`, but a traced evaluation asks again, so that each rule shows all of its working."""

    def question(ctx: Context) -> Truth:
        if ctx.steps is not None:
            return ask(ctx)
        found = ctx.truths.get(number)
        if found is None:
            found = ctx.truths[number] = ask(ctx)
        truth: Truth = found
        return truth

    return question


# -- Kleene's logic ------------------------------------------------------------------------------------


def _all(parts: list[Question]) -> Question:
    parts = [part for part in parts if part is not always]
    if parts[:1] == [never]:
        return never

    def question(ctx: Context) -> Truth:
        facts: tuple[Fact, ...] = ()
        doubts: tuple[Doubt, ...] = ()
        for ask in parts:
            truth = ask(ctx)
            if truth.holds is False:
                return NO
            facts += truth.facts
            if truth.holds is None:
                doubts += truth.doubts
        return Truth(None, facts, doubts) if doubts else Truth(True, facts)

    return question


def _any(parts: list[Question]) -> Question:
    parts = [part for part in parts if part is not never]
    if not parts:
        return never

    def question(ctx: Context) -> Truth:
        found = False
        facts: tuple[Fact, ...] = ()
        doubts: tuple[Doubt, ...] = ()
        for ask in parts:
            truth = ask(ctx)
            if truth.holds:
                found = True
                facts += truth.facts
            elif truth.holds is None:
                doubts += truth.doubts
        if found:
            return Truth(True, facts)
        return Truth(None, (), doubts) if doubts else NO

    return question


def _not(part: Question) -> Question:
    if part in (always, never):
        return never if part is always else always

    def question(ctx: Context) -> Truth:
        truth = part(ctx)
        return truth if truth.holds is None else Truth(not truth.holds)

    return question


def _certain(part: Question) -> Question:
    """What cannot be known counts as no."""

    def question(ctx: Context) -> Truth:
        truth = part(ctx)
        return truth if truth.holds else NO

    return question
