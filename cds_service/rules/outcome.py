"""What an evaluation says: one `Outcome` for each rule, and the `Finding`s that become cards."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from typing import Any, Literal

import msgspec

from cds_service.chart import Condition, Draft, Measurement, Order, Procedure, SetAside, Therapy
from cds_service.knowledge.model import Indicator, Rule

Fact = Measurement | Therapy | Condition | Draft | Order | Procedure
Result = Literal["finding", "fine", "unknown", "not applicable", "suppressed", "snoozed", "silent"]
ROUTE_UNKNOWN = "route_unknown"
"""Message of the doubt about a drug that is there, but in which form is not known."""
ROUTE_UNKNOWN_RESULT = "route_unknown_result"
"""The same of a result that would matter in one form of the drug."""
RANK: Mapping[str, int] = {"critical": 0, "warning": 1, "info": 2}
"""Indicators, the most urgent first."""


class Doubt(msgspec.Struct, frozen=True):
    """Why something could not be known: a message id with its variables, and what it touches."""

    message: str
    area: str
    """Marker key, one of the areas that a `Gap` covers (`patient`, `drafts`, …), or a rule id."""
    values: Mapping[str, object] = {}
    rule: str = ""
    """Data-quality rule that speaks here (`DQ-1`, …); '' for UNKNOWN."""

    def key(self) -> tuple[str, str, str]:
        """Tell equal doubts of several rules apart from different ones."""
        return (self.message, self.area, repr(sorted(self.values.items(), key=lambda pair: pair[0])))


class Line(msgspec.Struct, frozen=True):
    """A sentence inside a card: a message id with variables, or (id '') the text of a rule's note."""

    message: str
    values: Mapping[str, object] = {}
    text: str = ""


class Due(msgspec.Struct, frozen=True):
    """A test that is missing at a milestone."""

    test: str
    overdue: bool
    last: date | None
    """Day of the last result, None if none is in the chart."""
    preliminary: date | None = None
    target: date | None = None
    """Day for which it is meant, where the test has days of its own; None: that of the milestone."""


class Finding(msgspec.Struct, frozen=True):
    """A rule that spoke, with everything its card needs."""

    rule: Rule
    indicator: Indicator
    marker: str = ""
    result: Measurement | None = None
    value: Decimal | None = None
    """The value that was compared, canonical unit, display precision."""
    limit: Decimal | None = None
    operator: str = ""
    earlier: tuple[Measurement, ...] = ()
    facts: tuple[Fact, ...] = ()
    lines: tuple[Line, ...] = ()
    values: Mapping[str, object] = {}
    due: tuple[Due, ...] = ()
    ordered: tuple[tuple[str, Order], ...] = ()
    """(test, order) pairs of tests that are missing but already ordered."""
    doubts: tuple[Doubt, ...] = ()
    tests: tuple[str, ...] = ()
    """Tests that the card suggests to order."""
    profile: str = ""
    """Profile of the schedule that it rests on, '' for rules without one."""


class Compared(msgspec.Struct, frozen=True):
    """One comparison that a rule made with a limit, kept for `explain` and for the coverage of limits."""

    holder: Mapping[str, Any]
    """The part of the rule's data in which the limit stands."""
    word: str
    """Its name there: `above`, `outside[1]`, `min`."""
    subject: str
    """Marker, `age` or `weekly dose`."""
    value: Decimal
    operator: str
    limit: Decimal
    passed: bool | None
    """None: it cannot be told."""
    result: Measurement | None = None
    factor: Decimal = Decimal(1)
    """What the result was multiplied by because of another drug."""
    own_range: bool = False
    """True if the limit is that of the laboratory for this result."""


class TestState(msgspec.Struct, frozen=True):
    """How one test stands at a milestone."""

    __test__ = False  # no test of pytest's

    test: str
    state: Literal["done", "due", "overdue", "ordered", "unknown"]
    day: date | None = None
    """Day of the result that counts, else of the last one before the window, else None."""
    order: str = ""
    """Source of the order that will bring it."""


class Timetable(msgspec.Struct, frozen=True):
    """The arithmetic of a schedule, kept for `explain`."""

    profile: str
    anchor: Therapy | None
    start: date | None
    """Day 0; None if it is not known (annual rule)."""
    day: int | None
    """Today, counted from the start."""
    milestone: str = ""
    """Name of the open milestone, '' if none is open or the annual rule holds."""
    opens: date | None = None
    target: date | None = None
    overdue_from: date | None = None
    again: tuple[int, int] | None = None
    """Days after the last result of each test from which it is due, and after which it is overdue."""
    tests: tuple[TestState, ...] = ()


Step = Compared | Timetable


class Outcome(msgspec.Struct, frozen=True):
    """How one rule ended, for `explain` and for the metrics."""

    rule: str
    result: Result
    why: str = ""
    """A phrase of `cards_templates/phrases.yaml`; `values` go into its braces."""
    doubts: tuple[Doubt, ...] = ()
    finding: Finding | None = None
    next_due: date | None = None
    failed: str = ""
    """Name of the exception type if the rule raised."""
    applies: bool = True
    """False if the rule is not about this patient at all."""
    trace: tuple[Step, ...] = ()
    """What the rule computed on the way; empty unless the evaluation was traced."""
    values: Mapping[str, object] = {}

    @property
    def reason(self) -> str:
        """Why it ended so, in the words of the service."""
        return self.why.format_map(self.values)


class Snoozed(msgspec.Struct, frozen=True):
    """A finding that has no card because a user set the rule's card aside for a while."""

    finding: Finding
    by: SetAside
    until: date
    """First day on which it speaks again."""


class Evaluation(msgspec.Struct, frozen=True):
    """All outcomes of one call.

    `findings` are the ones that become cards, suppressions and merges done, most urgent first. `doubts` are
    what stayed unknown and is told in the quiet card.
    """

    hook: str
    as_of: date
    outcomes: tuple[Outcome, ...]
    findings: tuple[Finding, ...]
    doubts: tuple[Doubt, ...] = ()
    protocols: tuple[str, ...] = ()
    """Keys of the protocols that apply."""
    snoozed: tuple[Snoozed, ...] = ()
    silent: tuple[Finding, ...] = ()
    """Findings of rules that are judged and recorded only."""
