"""Calls by client, and what each EHR did not bring. Counts only; `report.py` has those of the rules."""

from __future__ import annotations

from collections import Counter, defaultdict
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Connection, Engine, String, case, cast, func, select
from sqlalchemy.exc import SQLAlchemyError

from cds_service.feedback.errors import UnreachableError
from cds_service.feedback.tables import CALLS


class ClientFigures(msgspec.Struct, frozen=True):
    """Calls of one EHR ('' where nobody is asked for a token)."""

    client: str
    calls: int
    unknown: int
    """Calls in which at least one rule ended in *unknown*."""
    failed: int
    """Calls in which at least one rule failed."""
    gaps: tuple[tuple[str, str, int], ...] = ()
    """Prefetch key, kind of gap, calls; most frequent first."""


def clients(engine: Engine, *, since: datetime, until: datetime) -> tuple[ClientFigures, ...]:
    """The figures from `since` up to, not including, `until`, by name. Raises UnreachableError."""
    try:
        with engine.connect() as connection:
            return _clients(connection, (CALLS.c.time >= since) & (CALLS.c.time < until))
    except SQLAlchemyError as error:
        raise UnreachableError("database: cannot be read") from error


def _clients(connection: Connection, recent: ColumnElement[bool]) -> tuple[ClientFigures, ...]:
    calls = CALLS.c
    text = cast(calls.gaps, String)  # PostgreSQL cannot group by JSON
    gaps: dict[str, Counter[tuple[str, str]]] = defaultdict(Counter)
    for client, found, count in connection.execute(
        select(calls.client, text, func.count()).where(recent).group_by(calls.client, text)
    ):
        for key, kind in msgspec.json.decode(found or "{}", type=dict[str, str]).items():
            gaps[client][key, kind] += count
    rows = connection.execute(
        select(calls.client, func.count(), _number(calls.unknown > 0), _number(calls.failed > 0))
        .where(recent)
        .group_by(calls.client)
        .order_by(calls.client)
    )
    return tuple(
        ClientFigures(client, count, unknown, failed, tuple((*gap, n) for gap, n in gaps[client].most_common()))
        for client, count, unknown, failed in rows
    )


def _number(condition: ColumnElement[bool]) -> Any:
    """How many rows fulfil the condition."""
    return func.sum(case((condition, 1), else_=0))
