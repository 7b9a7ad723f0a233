"""Statements past SQLAlchemy: what was written is there, and a connection that failed is not used again."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from cds_service.feedback.database import connect
from cds_service.feedback.driver import Driver
from cds_service.feedback.errors import UnreachableError

MAKE = "CREATE TABLE words (word VARCHAR(9))"


def identity(connection: Any) -> int:
    return id(connection)


@pytest.fixture
def in_file(tmp_path: Path) -> Iterator[Engine]:
    engine = connect(f"sqlite:///{tmp_path}/records.sqlite3")
    yield engine
    engine.dispose()


def test_what_was_written_is_seen_by_others(empty: Engine):
    driver, other = Driver(empty), Driver(empty)
    driver.run(lambda connection: connection.execute(MAKE))
    assert driver.run(lambda connection: connection.execute("INSERT INTO words VALUES ('due')").rowcount) == 1
    assert other.run(lambda connection: connection.execute("SELECT word FROM words").fetchall()) == [("due",)]


def test_threads_share_a_database_in_memory(request: pytest.FixtureRequest):
    engine = connect("sqlite://")
    request.addfinalizer(engine.dispose)
    Driver(engine).run(lambda connection: connection.execute(MAKE))
    found: list[Any] = []
    thread = threading.Thread(
        target=lambda: found.extend(
            Driver(engine).run(lambda c: c.execute("SELECT count(*) FROM words").fetchone())
        )
    )
    thread.start()
    thread.join()
    assert found == [0]


def test_a_thread_keeps_its_connection_and_the_next_thread_gets_it(in_file: Engine):
    driver = Driver(in_file)
    mine = driver.run(identity)
    theirs: list[int] = []

    def ask_twice() -> None:
        theirs.extend((driver.run(identity), driver.run(identity)))

    for _ in range(2):
        thread = threading.Thread(target=ask_twice)
        thread.start()
        thread.join()
    assert driver.run(identity) == mine
    assert len(set(theirs)) == 1
    assert mine not in theirs


def test_a_connection_that_failed_is_closed_and_not_used_again(in_file: Engine):
    driver = Driver(in_file)
    kept: list[Any] = []

    def fail(connection: Any) -> None:
        kept.append(connection)
        connection.execute("SELECT word FROM words")

    with pytest.raises(UnreachableError):
        driver.run(fail)
    driver.run(lambda connection: connection.execute(MAKE))
    assert driver.run(lambda connection: connection.execute("SELECT word FROM words").fetchall()) == []
    with pytest.raises(in_file.dialect.loaded_dbapi.ProgrammingError, match="closed"):
        kept[0].execute("SELECT 1")


def test_the_connections_of_an_engine_end_with_it(in_file: Engine):
    driver = Driver(in_file)
    kept = driver.run(lambda connection: connection)
    for _ in range(2):  # the second finds nothing to end
        in_file.dispose()
    with pytest.raises(in_file.dialect.loaded_dbapi.ProgrammingError, match="closed"):
        kept.execute("SELECT 1")
    assert driver.run(identity) != id(kept)


def test_a_database_that_is_not_there(tmp_path: Path):
    driver = Driver(connect(f"sqlite:///{tmp_path}/no/folder.sqlite3"))
    for _ in range(2):
        with pytest.raises(UnreachableError, match="database: cannot be used"):
            driver.run(identity)
