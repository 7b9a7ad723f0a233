"""Words of feedback: kept once each, all of one delivery or none.

The key of a row is a digest of its client and all that the word says, so that it cannot be there twice, however
often and at how many workers it arrives.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from datetime import UTC, datetime
from functools import cache
from importlib import import_module
from typing import Any, Literal

import msgspec
from sqlalchemy import Connection, Engine, Table, select
from sqlalchemy.exc import SQLAlchemyError

from cds_service.feedback.bounded import bounded
from cds_service.feedback.database import writing
from cds_service.feedback.errors import DatabaseError
from cds_service.feedback.tables import ACCEPTED, CARDS, FEEDBACK


class Entry(msgspec.Struct, frozen=True):
    """One element of `feedback`, checked (CDS Hooks 3.0, Feedback)."""

    card: str
    outcome: Literal["accepted", "overridden"]
    at: datetime
    """`outcomeTimestamp`: when the user acted, by the EHR's clock."""
    accepted: tuple[str, ...] = ()
    """Ids of the accepted suggestions."""
    reason_system: str = ""
    reason_code: str = ""
    comment: str = ""
    """The user's words. They may name a patient: they are kept, and never logged."""


def keep(engine: Engine, entries: Iterable[Entry], *, client: str, service: str, now: datetime) -> int:
    """Store the entries; how many were new. They are committed when this returns.

    Raises DatabaseError; nothing is kept then, unless a database that did not answer in time kept it after all. An
    entry that is sent again is counted once.
    """

    def write() -> int:
        with writing(engine, durable=True) as connection:
            return sum(_keep(connection, entry, client, service, now) for entry in entries)

    try:
        return bounded(engine, write)
    except SQLAlchemyError as error:
        raise DatabaseError("database: feedback cannot be stored") from error


def _keep(connection: Connection, entry: Entry, client: str, service: str, now: datetime) -> bool:
    number = _digest(entry, client)
    # None as long as the card is not known: it may be written a moment later, and then says so (`records.py`).
    patient = connection.execute(
        select(CARDS.c.patient).where(CARDS.c.uuid == entry.card, CARDS.c.client == client, CARDS.c.position == 0)
    ).scalar()
    row = {
        "id": number,
        "card": entry.card,
        "client": client,
        "service": service,
        "patient": patient,
        "outcome": entry.outcome,
        "reason_system": entry.reason_system,
        "reason_code": entry.reason_code,
        "comment": entry.comment,
        "outcome_at": entry.at,
        "received_at": now,
    }
    if not insert_new(connection, FEEDBACK, [row]):
        return False
    insert_new(
        connection, ACCEPTED, [{"feedback": number, "suggestion": one} for one in sorted(set(entry.accepted))]
    )
    return True


def _digest(entry: Entry, client: str) -> str:
    said = msgspec.structs.replace(entry, at=entry.at.astimezone(UTC), accepted=tuple(sorted(set(entry.accepted))))
    return hashlib.sha256(msgspec.json.encode((client, said))).hexdigest()


def insert_new(connection: Connection, table: Table, rows: list[dict[str, Any]]) -> int:
    """Insert the rows whose key is not there yet; for one row, 1 if it was inserted."""
    if not rows:
        return 0
    insert = new_only(table, connection.dialect.name)
    return connection.execute(insert, rows if len(rows) > 1 else rows[0]).rowcount


def new_only(table: Table, dialect: str) -> Any:
    """The INSERT of a database by name, of rows whose key is not there yet."""
    return _insert_of(dialect)(table).on_conflict_do_nothing()


@cache
def _insert_of(dialect: str) -> Any:
    """The INSERT of a database that knows ON CONFLICT. The other database's is slow to load and is let be."""
    return import_module(f"sqlalchemy.dialects.{dialect}").insert
