"""What may hang is waited for, for so long."""

from __future__ import annotations

import threading
import time

import pytest
from sqlalchemy import create_engine

from cds_service.feedback import bounded as module
from cds_service.feedback.bounded import bounded
from cds_service.feedback.errors import DatabaseError, UnreachableError

# Only asked for its dialect: nothing is opened.
POSTGRESQL = create_engine("postgresql+psycopg://nobody@127.0.0.1:1/none")
SQLITE = create_engine("sqlite://")


@pytest.fixture(autouse=True)
def pool(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_POOL", module._Pool())


def test_the_answer_comes_back():
    assert [bounded(engine, lambda: 7) for engine in (SQLITE, POSTGRESQL)] == [7, 7]


def test_what_goes_wrong_is_raised_where_it_was_asked_for():
    def fail() -> None:
        raise DatabaseError("broken")

    for engine in (SQLITE, POSTGRESQL):
        with pytest.raises(DatabaseError, match="broken"):
            bounded(engine, fail)


def test_sqlite_is_asked_in_the_thread_of_the_call():
    assert bounded(SQLITE, threading.get_ident) == threading.get_ident()
    assert bounded(POSTGRESQL, threading.get_ident) != threading.get_ident()


def test_one_thread_serves_calls_that_come_after_each_other():
    def done() -> int:
        number = bounded(POSTGRESQL, threading.get_ident)
        time.sleep(0.05)  # it has to say that it is idle
        return number

    assert len({done() for _ in range(5)}) == 1


def test_nobody_waits_longer_and_nobody_waits_where_all_hang(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "MOST", 2)
    end = threading.Event()
    for _ in range(2):
        began = time.monotonic()
        with pytest.raises(UnreachableError):
            bounded(POSTGRESQL, end.wait, 0.3)
        assert 0.3 <= time.monotonic() - began < 5
    began = time.monotonic()
    with pytest.raises(UnreachableError):
        bounded(POSTGRESQL, lambda: 7, 60)
    assert time.monotonic() - began < 5
    end.set()
    for _ in range(100):  # the threads are of use again
        time.sleep(0.02)
        try:
            assert bounded(POSTGRESQL, lambda: 7, 60) == 7
        except UnreachableError:
            continue
        return
    pytest.fail("the threads that hung are not of use again")
