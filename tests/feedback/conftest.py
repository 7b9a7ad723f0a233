"""The databases of the tests: each test that asks for one runs on SQLite and on PostgreSQL."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import Engine, select, text

from cds_service.app import create_app
from cds_service.feedback.database import connect, upgrade, writing
from cds_service.feedback.store import Store
from cds_service.feedback.tables import SECRETS, metadata
from cds_service.knowledge.model import Knowledge
from cds_service.settings import Settings
from tests.feedback.postgres import ACCOUNT, binaries, server

NOW = datetime(2026, 3, 15, 12, 0, tzinfo=UTC)
KINDS = ["sqlite", "postgresql"]


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """Address of a PostgreSQL server that lives as long as the tests."""
    programs = binaries()
    if programs is None:
        words = "PostgreSQL is not installed (Debian: apt-get install postgresql)"
        if os.environ.get("CI") == "true":
            pytest.fail(words)
        pytest.skip(words)
    with server(programs) as address:
        yield address


@contextmanager
def an_empty_database(request: pytest.FixtureRequest, folder: Path) -> Iterator[str]:
    """URL of a new database of the kind that the fixture is asked for."""
    if request.param == "sqlite":
        yield f"sqlite:///{folder}/records.sqlite3"
        return
    address, name = request.getfixturevalue("postgres"), f"test_{uuid4().hex}"
    url = f"postgresql+psycopg://{ACCOUNT}@{address}/"
    admin = connect(f"{url}postgres").execution_options(isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
        yield f"{url}{name}"
        connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
    admin.dispose()


@pytest.fixture(params=KINDS)
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """URL of a database without tables that no other test sees."""
    with an_empty_database(request, tmp_path) as url:
        yield url


@pytest.fixture
def empty(database_url: str) -> Iterator[Engine]:
    """A database without tables."""
    engine = connect(database_url)
    yield engine
    engine.dispose()


@pytest.fixture
def fresh(empty: Engine) -> Engine:
    """A database with the tables of this version, for tests that change the tables."""
    upgrade(empty)
    return empty


@pytest.fixture(scope="session", params=KINDS)
def shared_store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with an_empty_database(request, tmp_path_factory.mktemp("shared")) as url:
        engine = connect(url)
        upgrade(engine)
        store = Store(engine)
        yield store
        store.close()


@pytest.fixture(scope="session")
def shared_app(shared_store: Store, knowledge: Knowledge, stream: io.StringIO) -> Flask:
    return create_app(Settings(), knowledge=knowledge, clock=lambda: NOW, log=stream, store=shared_store)


@pytest.fixture
def store(shared_store: Store) -> Store:
    """A store without rows."""
    assert shared_store.recorder.drain()
    with writing(shared_store.engine) as connection:
        for table in reversed(metadata.sorted_tables):
            if table is not SECRETS:
                connection.execute(table.delete())
    shared_store.blind = False  # a test before may have taken its tables away
    return shared_store


@pytest.fixture
def engine(store: Store) -> Engine:
    """Its database."""
    return store.engine


@pytest.fixture
def client(shared_app: Flask, store: Store, log: io.StringIO) -> FlaskClient:
    """The service on that store; its clock stands at noon of 2026-03-15, UTC."""
    return shared_app.test_client()


@pytest.fixture
def rows(store: Store) -> Callable[..., list[Any]]:
    """All rows of a table, or some columns of them."""

    def read(table, *columns) -> list[Any]:
        with store.engine.connect() as connection:
            found = connection.execute(select(*([table.c[name] for name in columns] or [table])))
            return [tuple(row) for row in found]

    return read
