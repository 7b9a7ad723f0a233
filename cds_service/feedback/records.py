"""What is written of a call: one `CallRecord`, put on a list by the call and written by a thread a moment later.

    recorder.put(record)      the call's part: it neither waits nor fails
    recorder.drain()          writes what is on the list; the thread does so ten times a second
    recorder.close()          at the end of the process: writes the rest

While the database is locked, full or gone, records stay on the list and are tried again; when the list is full,
further ones are counted and dropped. So is a record that is at fault itself.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime
from functools import lru_cache
from operator import itemgetter
from time import monotonic
from typing import Any

import msgspec
from sqlalchemy import Connection, Dialect, Engine, Table, bindparam, select
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, SQLAlchemyError, StatementError

from cds_service.feedback.codes import Code, add, gathered
from cds_service.feedback.database import writing
from cds_service.feedback.entries import new_only
from cds_service.feedback.errors import DatabaseError
from cds_service.feedback.hashes import Ground, fact_hash
from cds_service.feedback.tables import CALLS, CARDS, FEEDBACK, RESULTS, SUGGESTIONS

CAPACITY = 20_000
"""Calls that wait to be written, at most: some ten megabytes."""
BATCH = 500
PERIOD_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 10.0
CLOSING_SECONDS = 3.0


class Told(msgspec.Struct, frozen=True):
    """A rule that spoke in one card, or would have."""

    uuid: str
    rule: str
    rule_version: int
    indicator: str
    position: int = 0
    """Of the rule in its card: 0 is the one whose topic the card bears."""
    silent: bool = False
    snoozed: bool = False
    tests: tuple[str, ...] = ()
    basis: tuple[Ground, ...] = ()
    """Facts that it rests on; only their keyed hashes are written."""


class Suggested(msgspec.Struct, frozen=True):
    """The tests that one suggestion of a card orders."""

    uuid: str
    card: str
    tests: tuple[str, ...]


class CallRecord(msgspec.Struct, frozen=True):
    """One call, without a name, an id or a value."""

    id: str
    time: datetime
    service: str
    hook: str
    client: str
    patient: str
    knowledge: str
    ms: float
    results: dict[str, int]
    """Rules by how they ended."""
    gaps: dict[str, str]
    unknown: tuple[str, ...] = ()
    """Rules that could not be judged."""
    cards: tuple[Told, ...] = ()
    suggestions: tuple[Suggested, ...] = ()
    day: date = date.min
    """That of the call in the site's time zone; only codes have it."""
    codes: Mapping[Code, int] = {}
    """Codes that no rule reads, and how many results had them."""


class Recorder:
    """The list of records to be written, and the thread that writes them."""

    def __init__(self, engine: Engine, key: Callable[[], bytes]) -> None:
        """`key` gives that of the hashes; it raises DatabaseError."""
        self.report: Callable[[str, int], None] = lambda _event, _waiting: None
        """Is told when records cannot be written and when they are again, and of one that never can be, with the
        number of those that wait."""
        self.lost: Callable[[int], None] = lambda _number: None
        """Is told the number of records that were dropped."""
        self.dropped = 0
        """Records that were not kept: at fault, or the list was full, or the process ended without the database."""
        self.failing = False
        """True while the database does not take what is written."""
        self._engine = engine
        self._key = key
        self._waiting: deque[CallRecord] = deque()
        self._turn = threading.Lock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, record: CallRecord) -> bool:
        """Take a record; False if it is dropped because too many wait."""
        if len(self._waiting) >= CAPACITY:
            self.drop(1)
            return False
        self._waiting.append(record)
        # Made here and not before: a server may fork after the application is built. One that fell has a follower.
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._work, name="recorder", daemon=True)
            self._thread.start()
        return True

    def drain(self) -> bool:
        """Write what waits; False if the database did not take it.

        A batch that is at fault itself is written one by one, and a record that is, is dropped: it would not get
        better, and the others would wait behind it.
        """
        single = 0
        with self._turn:
            while batch := self._oldest(1 if single else BATCH):
                try:
                    write(self._engine, self._key(), batch)
                except Exception as error:
                    if _is_of_the_database(error):
                        if not self.failing:
                            self.failing = True
                            self.report("records cannot be written", len(self._waiting))
                        return False
                    if len(batch) > 1:
                        single = len(batch)
                        continue
                    self.drop(1)
                    self.report("a record is at fault", len(self._waiting) - 1)
                for _ in batch:
                    self._waiting.popleft()
                single = max(0, single - 1)
                if self.failing:
                    self.failing = False
                    self.report("records are written again", len(self._waiting))
            return True

    def _oldest(self, most: int) -> list[CallRecord]:
        """By their places, for an iterator fails once another thread has added a record."""
        return [self._waiting[place] for place in range(min(most, len(self._waiting)))]

    def close(self) -> None:
        """Write the rest, for as long as the end of a process may take; what then waits is dropped."""
        self._stop.set()
        until = monotonic() + CLOSING_SECONDS
        while not self.drain() and monotonic() < until:
            self._stop.wait(PERIOD_SECONDS)
        with self._turn:  # not from under the thread's last batch
            self.drop(len(self._waiting))
            self._waiting.clear()

    def drop(self, number: int) -> None:
        """Count records that are not kept."""
        self.dropped += number
        self.lost(number)

    def _work(self) -> None:
        pause = PERIOD_SECONDS
        while not self._stop.wait(pause):
            pause = PERIOD_SECONDS if self.drain() else min(pause * 2, LONGEST_PAUSE_SECONDS)


def _is_of_the_database(error: Exception) -> bool:
    """False for an error that the values of the records cause, which would come again however often it is tried.

    A value that the database refuses, one that breaks a rule of a table, one that cannot be made into the
    database's own kind, or a fault of ours.
    """
    if isinstance(error, DataError | IntegrityError):
        return False
    if isinstance(error, StatementError) and not isinstance(error, DBAPIError):
        return False
    return isinstance(error, SQLAlchemyError | DatabaseError)


def write(engine: Engine, key: bytes, records: Sequence[CallRecord]) -> None:
    """Write records in one transaction; those that are there already stay as they are. Raises SQLAlchemyError."""
    calls, cards, suggestions = (_insert(table, engine.dialect) for table in (CALLS, CARDS, SUGGESTIONS))
    rows: dict[str, list[dict[str, Any]]] = {"calls": [], "cards": [], "suggestions": []}
    for record in records:
        time = calls.values["time"](record.time)  # the same in all rows of a call
        rows["calls"].append({**_call(record), "time": time, "gaps": calls.values["gaps"](record.gaps)})
        rows["cards"].extend([_card(record, card, time, key) for card in record.cards])
        rows["suggestions"].extend(
            {"uuid": one.uuid, "test": test, "card": one.card, "time": time}
            for one in record.suggestions
            for test in one.tests
        )
    with writing(engine) as connection:
        add(connection, gathered(_new_codes(connection, records)))
        calls.run(connection, rows["calls"])
        cards.run(connection, rows["cards"])
        suggestions.run(connection, rows["suggestions"])
        # Feedback that came before its card was written learns now whose it is.
        shown = [row for row in rows["cards"] if row["position"] == 0 and not (row["silent"] or row["snoozed"])]
        if shown:
            connection.execute(_CLAIM, [{"of": r["patient"], "uuid": r["uuid"], "by": r["client"]} for r in shown])


class _Insert:
    """Inserts rows that are not there yet; in the driver's language, for a call has some fifteen of them.

    Whoever makes the rows turns what the driver does not take as it is, by column, with `values`.
    """

    def __init__(self, table: Table, dialect: Dialect) -> None:
        compiled = new_only(table, dialect.name).compile(dialect=dialect)
        self._sql = str(compiled)
        self._in_order = itemgetter(*compiled.positiontup) if compiled.positiontup else None
        """The values of a row for a driver that takes them by their place."""
        turned = {column.name: column.type.dialect_impl(dialect).bind_processor(dialect) for column in table.c}
        self.values: Mapping[str, Callable[[Any], Any]] = {name: turn or _as_it_is for name, turn in turned.items()}

    def run(self, connection: Connection, rows: list[dict[str, Any]]) -> None:
        """Insert the rows."""
        if rows:
            connection.exec_driver_sql(self._sql, list(map(self._in_order, rows)) if self._in_order else rows)


@lru_cache(maxsize=16)
def _insert(table: Table, dialect: Dialect) -> _Insert:
    return _Insert(table, dialect)


def _as_it_is(value: Any) -> Any:
    return value


def _new_codes(connection: Connection, records: Sequence[CallRecord]) -> list[tuple[date, str, Mapping[Code, int]]]:
    """The codes of the calls that are not written yet: a batch may come again after all, and is counted once."""
    told = {record.id: (record.day, record.client, record.codes) for record in records if record.codes}
    if not told:
        return []
    written = connection.execute(select(CALLS.c.id).where(CALLS.c.id.in_(told))).scalars()
    for known in written.all():
        del told[known]
    return list(told.values())


_CLAIM = (
    FEEDBACK.update()
    .where(FEEDBACK.c.card == bindparam("uuid"), FEEDBACK.c.client == bindparam("by"), FEEDBACK.c.patient.is_(None))
    .values(patient=bindparam("of"))
)


def _call(record: CallRecord) -> dict[str, Any]:
    names = ("id", "service", "hook", "client", "patient", "knowledge", "ms")
    return {
        **{name: getattr(record, name) for name in names},
        **{name: record.results.get(name, 0) for name in RESULTS},
        "unknown_rules": " ".join(record.unknown),
    }


def _card(record: CallRecord, card: Told, time: Any, key: bytes) -> dict[str, Any]:
    return {
        **msgspec.structs.asdict(card),
        "tests": " ".join(card.tests),
        "basis": " ".join(fact_hash(key, fact) for fact in card.basis),
        "call": record.id,
        "time": time,
        "client": record.client,
        "patient": record.patient,
    }
