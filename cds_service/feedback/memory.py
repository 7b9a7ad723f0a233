"""What is remembered of a patient when a chart is opened: one indexed read, made into a `Past` for the rules.

`recall` is the part that a call waits for; for most patients there is nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime, tzinfo
from typing import Any

from sqlalchemy import Select, bindparam, select

from cds_service.chart import Chart, Past, SetAside
from cds_service.feedback.driver import Driver
from cds_service.feedback.hashes import Ground, fact_hash
from cds_service.feedback.tables import ACCEPTED, CARDS, FEEDBACK, SUGGESTIONS
from cds_service.knowledge.model import Knowledge, Rule

MOST_WORDS = 500
"""Words of feedback about one patient that are looked at, the newest."""

PATIENT = "patient"

Row = tuple[Any, ...]

_QUERY = (
    select(
        FEEDBACK.c.outcome,
        FEEDBACK.c.reason_system,
        FEEDBACK.c.reason_code,
        FEEDBACK.c.outcome_at,
        FEEDBACK.c.received_at,
        CARDS.c.rule,
        CARDS.c.rule_version,
        CARDS.c.indicator,
        CARDS.c.tests,
        CARDS.c.basis,
        SUGGESTIONS.c.test,
    )
    .join(CARDS, (CARDS.c.uuid == FEEDBACK.c.card) & (CARDS.c.position == 0))
    .outerjoin(ACCEPTED, ACCEPTED.c.feedback == FEEDBACK.c.id)
    .outerjoin(SUGGESTIONS, (SUGGESTIONS.c.uuid == ACCEPTED.c.suggestion) & (SUGGESTIONS.c.card == FEEDBACK.c.card))
    .where(FEEDBACK.c.patient == bindparam(PATIENT))
    .order_by(FEEDBACK.c.received_at.desc())
    .limit(MOST_WORDS)
)

_ANY = select(FEEDBACK.c.id).where(FEEDBACK.c.patient == bindparam(PATIENT)).limit(1)


class Memory:
    """Reads what is remembered. Safe to use from several threads."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self._any, self._all = (_Statement(query, driver) for query in (_ANY, _QUERY))

    def recall(self, patient: str, seconds: float) -> list[Row]:
        """What users said about cards of this patient, newest first; most have none.

        Raises UnreachableError, also if the answer takes more than so many seconds.
        """

        def ask(connection: Any) -> list[Row]:
            if self._any.execute(connection, patient).fetchone() is None:  # a third of what the whole costs
                return []
            return list(self._all.execute(connection, patient).fetchall())

        return self._driver.run(ask, seconds)


class _Statement:
    """A query about a patient in the driver's own language."""

    def __init__(self, query: Select[Any], driver: Driver) -> None:
        compiled = query.compile(driver.engine)
        self._sql = str(compiled)
        self._values = compiled.construct_params({PATIENT: ""})
        self._order = compiled.positiontup
        """Names of the values in their order; None where the driver takes them by name."""

    def execute(self, connection: Any, patient: str) -> Any:
        """The cursor of the driver with what there is about a patient."""
        named = {**self._values, PATIENT: patient}
        values = named if self._order is None else [named[name] for name in self._order]
        return connection.execute(self._sql, values)


def past_of(rows: Iterable[Row], chart: Chart, knowledge: Knowledge, key: bytes, zone: tzinfo, as_of: date) -> Past:
    """What the rules are told: overrides of their present versions, and tests whose order was accepted.

    What users did after `as_of` is left out: nobody knew of it on that day.
    """
    reasons = {(reason.system, reason.code): name for name, reason in knowledge.reasons.items()}
    rules = {(rule.id, rule.version): rule for rule in knowledge.rules}
    facts = _Facts(chart, key)
    set_aside: dict[str, list[SetAside]] = {}
    accepted: dict[str, date] = {}
    for outcome, system, code, at, received, name, version, indicator, tests, basis, test in rows:
        # A clock of the EHR that is ahead must not make a snooze longer.
        on = min(_instant(at), _instant(received)).astimezone(zone).date()
        if on > as_of:
            continue
        rule = rules.get((name, version))
        if outcome == "accepted" and test:
            accepted[test] = max(on, accepted.get(test, on))
        elif outcome == "overridden" and rule is not None:
            known = facts.among(rule, basis.split())
            reason = reasons.get((system, code), "")
            aside = SetAside(
                on, reason if reason in rule.reasons else "", indicator, frozenset(tests.split()), known
            )
            set_aside.setdefault(name, []).append(aside)
    newest_first = {
        name: tuple(sorted(asides, key=lambda one: one.on, reverse=True)) for name, asides in set_aside.items()
    }
    return Past(newest_first, accepted)


class _Facts:
    """The facts of a chart by their hash; those of a rule are hashed when it is asked for."""

    def __init__(self, chart: Chart, key: bytes) -> None:
        self._chart = chart
        self._key = key
        self._hashed: dict[str, Mapping[str, Ground]] = {}

    def among(self, rule: Rule, basis: list[str]) -> tuple[Ground, ...]:
        """The facts with one of these hashes."""
        if rule.id not in self._hashed:
            chart = self._chart
            results = [m for marker in sorted(rule.markers) for m in chart.measurements.get(marker, ())]
            facts: tuple[Ground, ...] = (*results, *chart.conditions, *chart.procedures)
            self._hashed[rule.id] = {fact_hash(self._key, fact): fact for fact in facts}
        return tuple(fact for number in basis if (fact := self._hashed[rule.id].get(number)) is not None)


def _instant(value: Any) -> datetime:
    """As the driver gives it: SQLite's text is UTC."""
    if isinstance(value, str):
        return datetime.fromisoformat(value).replace(tzinfo=UTC)
    instant: datetime = value
    return instant
