"""What became of the cards of a period: the figures for those who decide which rules stay.

report(engine, knowledge, since=…, until=…) -> Report
purge(engine, before) -> number of rows removed
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Literal

import msgspec
from sqlalchemy import ColumnElement, Connection, Engine, Select, Table, delete, func, select, tuple_
from sqlalchemy.exc import SQLAlchemyError

from cds_service.feedback.database import writing
from cds_service.feedback.errors import DatabaseError, UnreachableError
from cds_service.feedback.tables import CALLS, CARDS, CODES, FEEDBACK, REPLAYS, SUGGESTIONS
from cds_service.knowledge.model import Knowledge

NO_REASON = "no reason"
OTHER_REASON = "other reason"
LEAST_FIRED = 5
"""A rule that fired less often than this is too rare to compare two periods by."""
BATCH = 10_000
"""Rows that are removed at once."""
TIMES = 3
"""A rule is told that fires so many times as often as before."""


class Line(msgspec.Struct):
    """One rule in the period. A card counts once however often it was reported."""

    rule: str
    shown: int = 0
    """Cards that bear its name."""
    merged: int = 0
    """Shown inside a card that bears another rule's name."""
    accepted: int = 0
    """Cards of which a suggestion was taken."""
    overridden: dict[str, int] = {}
    """Cards by the reason of their last override: key of reasons.yaml, `no reason`, `other reason`."""
    ignored: int = 0
    """Cards of which nobody said anything."""
    snoozed: int = 0
    """Not shown because a user had set it aside."""
    silent: int = 0
    """Not shown because the rule or the service is silent."""
    unknown: int = 0
    """Calls in which the rule could not be judged."""

    @property
    def fired(self) -> int:
        """How often the rule had something to say."""
        return self.shown + self.merged + self.snoozed + self.silent


class Turn(msgspec.Struct, frozen=True):
    """A rule whose firing rate changed much since the period before."""

    rule: str
    kind: Literal["stopped", "tripled"]
    before: float
    """Times that it fired in 100 calls."""
    now: float


class Report(msgspec.Struct, frozen=True):
    """The figures of one period, with the turns since the period of the same length before it."""

    since: datetime
    until: datetime
    calls: int
    cards: int
    """Cards shown."""
    silent: int
    """Cards kept back because their rule or the service is silent; what users would have seen besides."""
    strangers: int
    """Words of feedback about cards that are not known here."""
    lines: tuple[Line, ...]
    """Of each rule that fired or could not be judged, most cards first."""
    turns: tuple[Turn, ...]

    @property
    def cards_per_100_calls(self) -> float:
        """0 if there was no call."""
        return _rate(self.cards, self.calls)

    @property
    def silent_per_100_calls(self) -> float:
        """0 if there was no call."""
        return _rate(self.silent, self.calls)


def report(engine: Engine, knowledge: Knowledge, *, since: datetime, until: datetime) -> Report:
    """The figures from `since` up to, not including, `until`. Raises UnreachableError."""
    reasons = {(reason.system, reason.code): name for name, reason in knowledge.reasons.items()}
    try:
        with engine.connect() as connection:
            calls, lines = _period(connection, since, until)
            number, silent = (connection.execute(_cards(since, until, each)).scalar_one() for each in (False, True))
            _outcomes(connection, lines, reasons, since, until)
            before, earlier = _period(connection, since - (until - since), since)
            strangers = connection.execute(_strangers(since, until)).scalar_one()
    except SQLAlchemyError as error:
        raise UnreachableError("database: cannot be read") from error
    ordered = sorted(lines.values(), key=lambda line: (-line.shown, -line.fired, line.rule))
    turns = tuple(_turns(lines, calls, earlier, before))
    return Report(since, until, calls, number, silent, strangers, tuple(ordered), turns)


def _period(connection: Connection, since: datetime, until: datetime) -> tuple[int, dict[str, Line]]:
    """Number of calls, and what fired or was unknown, by rule; nothing yet of what users did."""
    lines: dict[str, Line] = {}
    number = 0
    unknown = select(CALLS.c.unknown_rules, func.count()).where(CALLS.c.time >= since, CALLS.c.time < until)
    for names, count in connection.execute(unknown.group_by(CALLS.c.unknown_rules)):
        number += count
        for name in names.split():
            lines.setdefault(name, Line(name)).unknown += count
    merged = CARDS.c.position > 0
    fired = select(CARDS.c.rule, merged, CARDS.c.silent, CARDS.c.snoozed, func.count())
    fired = fired.where(CARDS.c.time >= since, CARDS.c.time < until)
    for name, inside, silent, snoozed, count in connection.execute(
        fired.group_by(CARDS.c.rule, merged, CARDS.c.silent, CARDS.c.snoozed)
    ):
        line = lines.setdefault(name, Line(name))
        if silent:
            line.silent += count
        elif snoozed:
            line.snoozed += count
        elif inside:
            line.merged += count
        else:
            line.shown += count
    return number, lines


def _cards(since: datetime, until: datetime, silent: bool) -> Select[int]:
    """How many cards, each by the rule whose name it bears: those shown, or those kept silent."""
    period = (CARDS.c.time >= since, CARDS.c.time < until)
    kind = (CARDS.c.silent == silent, ~CARDS.c.snoozed, CARDS.c.position == 0)
    return select(func.count()).select_from(CARDS).where(*period, *kind)


def _outcomes(
    connection: Connection,
    lines: dict[str, Line],
    reasons: Mapping[tuple[str, str], str],
    since: datetime,
    until: datetime,
) -> None:
    """Add what users did with the cards that were shown in the period, whenever they did it."""
    said = (
        select(CARDS.c.rule, CARDS.c.uuid, FEEDBACK.c.outcome, FEEDBACK.c.reason_system, FEEDBACK.c.reason_code)
        .join(FEEDBACK, (FEEDBACK.c.card == CARDS.c.uuid) & (FEEDBACK.c.client == CARDS.c.client))
        .where(CARDS.c.time >= since, CARDS.c.time < until, CARDS.c.position == 0)
        .order_by(FEEDBACK.c.outcome_at)
    )
    accepted: set[tuple[str, str]] = set()
    overridden: dict[tuple[str, str], str] = {}
    for rule, card, outcome, system, code in connection.execute(said):
        if outcome == "accepted":
            accepted.add((rule, card))
        else:
            unnamed = OTHER_REASON if code else NO_REASON
            overridden[rule, card] = reasons.get((system, code), unnamed)
    for rule, _ in accepted:
        lines[rule].accepted += 1
    for (rule, _), reason in overridden.items():
        lines[rule].overridden[reason] = lines[rule].overridden.get(reason, 0) + 1
    heard = Counter(rule for rule, _ in accepted | overridden.keys())
    for line in lines.values():
        line.ignored = line.shown - heard[line.rule]


def _strangers(since: datetime, until: datetime) -> Select[int]:
    known = (CARDS.c.uuid == FEEDBACK.c.card) & (CARDS.c.client == FEEDBACK.c.client)
    return (
        select(func.count())
        .select_from(FEEDBACK.outerjoin(CARDS, known))
        .where(FEEDBACK.c.received_at >= since, FEEDBACK.c.received_at < until, CARDS.c.uuid.is_(None))
    )


def _turns(lines: Mapping[str, Line], calls: int, earlier: Mapping[str, Line], before: int) -> Iterator[Turn]:
    if not calls or not before:
        return
    for name in sorted(lines.keys() | earlier.keys()):
        then, now = (period[name].fired if name in period else 0 for period in (earlier, lines))
        rates = (_rate(then, before), _rate(now, calls))
        if now == 0 and then >= LEAST_FIRED:
            yield Turn(name, "stopped", *rates)
        elif then and now >= LEAST_FIRED and now * before >= TIMES * then * calls:
            yield Turn(name, "tripled", *rates)


def _rate(number: int, calls: int) -> float:
    return number * 100 / calls if calls else 0.0


def purge(engine: Engine, before: datetime) -> int:
    """Remove the records of calls, cards, feedback and codes from before an instant; how many rows that were.

    Raises DatabaseError; what was removed by then stays removed.
    """
    ages = (
        *((table, table.c.time) for table in (SUGGESTIONS, CARDS, CALLS)),
        (FEEDBACK, FEEDBACK.c.received_at),
        (REPLAYS, REPLAYS.c.expires),
        (CODES, CODES.c.day),
    )
    removed = 0
    try:
        for table, age in ages:
            old = age < (before.date() if table is CODES else before)
            while gone := _remove_some(engine, table, old):
                removed += gone
    except SQLAlchemyError as error:
        raise DatabaseError("database: records cannot be removed") from error
    return removed


def _remove_some(engine: Engine, table: Table, old: ColumnElement[bool]) -> int:
    """Remove a batch of rows, in a transaction of its own: a service at work waits for no more than that."""
    key = tuple(table.primary_key.columns)
    some = select(*key).where(old).limit(BATCH)
    with writing(engine) as connection:
        return connection.execute(delete(table).where(tuple_(*key).in_(some))).rowcount
