"""Calls and gaps by client, by hand."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine

from cds_service.feedback.clients import ClientFigures, clients
from cds_service.feedback.database import connect
from cds_service.feedback.errors import UnreachableError
from cds_service.feedback.store import memory
from cds_service.feedback.tables import CALLS

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
LONG_AGO = NOW - timedelta(days=100)
SINCE = NOW - timedelta(days=90)
UNTIL = NOW + timedelta(seconds=1)


def call(number: int, **more: Any) -> dict[str, Any]:
    base = {"id": f"call-{number}", "time": NOW, "service": "s", "hook": "patient-view", "client": "epic"}
    counts = {"findings": 1, "fine": 1, "unknown": 0, "not_applicable": 0, "failed": 0}
    return base | counts | {"patient": "p", "knowledge": "k", "ms": 1.0, "gaps": {}} | more


@pytest.fixture
def empty() -> Iterator[Engine]:
    store = memory()  # its database ends with it
    yield store.engine
    store.close()


@pytest.fixture
def engine(empty: Engine) -> Engine:
    with empty.begin() as connection:
        connection.execute(
            CALLS.insert(),
            [
                call(1, gaps={"labs1": "absent"}, unknown=3),
                call(2, gaps={"labs1": "absent", "conditions": "truncated"}, unknown=1, failed=1),
                call(3),
                call(4, client="", gaps={"labs1": "null"}),
                call(5, time=LONG_AGO, gaps={"patient": "absent"}),
                call(6, time=UNTIL),  # not included
            ],
        )
    return empty


def test_calls_and_gaps_by_client(engine: Engine) -> None:
    assert clients(engine, since=SINCE, until=UNTIL) == (
        ClientFigures("", 1, 0, 0, (("labs1", "null", 1),)),
        ClientFigures("epic", 3, 2, 1, (("labs1", "absent", 2), ("conditions", "truncated", 1))),
    )


def test_nothing_recorded(empty: Engine) -> None:
    assert clients(empty, since=SINCE, until=UNTIL) == ()


def test_a_database_without_tables_is_an_error_of_ours() -> None:
    with pytest.raises(UnreachableError):
        clients(connect("sqlite://"), since=SINCE, until=UNTIL)
