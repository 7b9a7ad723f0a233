"""The database: opened, brought up to date, written by one at a time.

    engine = connect(settings.database_url)      no file is opened yet
    upgrade(engine)                              before the workers start; safe if several start at once
    check(engine)                                in each worker: DatabaseError if the tables are not ours
    with writing(engine) as connection: ...      committed at the end; one writer at a time

SQLite by default, in a file with a write-ahead log beside it: readers do not wait for the writer, and what was
committed outlives the process. Only the service's own user may open a file that it made. `sqlite://` is a database
in memory that ends with the process. PostgreSQL through psycopg, with the URL `postgresql+psycopg://…`.
"""

from __future__ import annotations

import os
import secrets
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, inspect, select, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError
from sqlalchemy.pool import QueuePool

from cds_service.feedback.errors import DatabaseError, UnreachableError
from cds_service.feedback.tables import GENERATION_DIGITS, REVISION, SECRETS, metadata

DEFAULT_URL = "sqlite:///cds-service.sqlite3"
MIGRATIONS = Path(__file__).with_name("migrations")
PATIENT_KEY = "patient key"
KEY_BYTES = 32
OWNER_ONLY = 0o600
"""Mode of SQLite's file: the keys of hashes and users' comments are in it."""

_QUICK, _SAFE = "NORMAL", "FULL"
"""How SQLite commits: what a power cut may undo, and what it may not."""
_BUSY_MS = 5000
"""How long SQLite waits for another writer."""
_CACHE_KIB = 256
"""Pages that a connection to SQLite keeps: each thread has one, and SQLite's own measure is eight times that."""
_CONNECT_SECONDS = 2
_STATEMENT_MS = 2000
_LIVELY = {"keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3, "tcp_user_timeout": 20_000}
"""A connection whose other end is gone without a word breaks within half a minute."""
_LOCK = 5_028_911_402_773_310_481
"""Any number: the lock of PostgreSQL that all writers of this service take."""


def connect(url: str, *, hurried: bool = True) -> Engine:
    """The engine of a database; '' is the file `cds-service.sqlite3` in the working directory.

    `hurried` False: a statement may take its time, since no call waits for it. Nothing is opened yet. Raises
    DatabaseError if the URL cannot be read or its driver is not installed.
    """
    try:
        parsed = make_url(url or DEFAULT_URL)
        if parsed.get_backend_name() == "sqlite":
            return _sqlite(parsed)
        return create_engine(
            parsed,
            pool_pre_ping=True,
            hide_parameters=True,
            connect_args={
                "connect_timeout": _CONNECT_SECONDS,
                "options": f"-c statement_timeout={_STATEMENT_MS if hurried else 0}",
                **_LIVELY,
            },
        )
    except ModuleNotFoundError as error:
        raise DatabaseError(f"database url: needs {error.name}; install cds-service[postgres]") from error
    except ArgumentError as error:
        raise DatabaseError("database url: cannot be read") from error


def is_in_memory(url: URL) -> bool:
    """True for an SQLite database without a file: it is its one connection, which all threads then use in turn."""
    return url.get_backend_name() == "sqlite" and url.database in (None, "", ":memory:")


def _sqlite(url: URL) -> Engine:
    alone = is_in_memory(url)
    engine = create_engine(
        "sqlite://" if alone else url,
        poolclass=QueuePool,
        connect_args={"check_same_thread": False, "timeout": _BUSY_MS / 1000},
        hide_parameters=True,
        pool_size=1 if alone else 0,  # 0: no limit, for each thread keeps one (`driver.py`)
        max_overflow=0,
    )
    if not alone:
        event.listen(engine, "do_connect", _make_file)
    event.listen(engine, "connect", _prepare)
    event.listen(engine, "begin", _begin)
    return engine


def _make_file(_dialect: Any, _record: Any, arguments: list[Any], options: dict[str, Any]) -> None:
    # SQLite gives the files beside it the same mode. A file that is there is not touched: to open and close it
    # would end the locks that this process has on it. What is wrong SQLite tells.
    if not options.get("uri"):
        with suppress(OSError):
            os.close(os.open(os.path.realpath(arguments[0]), os.O_RDWR | os.O_CREAT | os.O_EXCL, OWNER_ONLY))


def _prepare(connection: Any, _record: Any) -> None:
    # The driver's own idea of when a transaction begins would leave DDL and reads outside; `_begin` says it.
    connection.isolation_level = None
    cursor = connection.cursor()
    for pragma in (
        "journal_mode=WAL",
        f"synchronous={_QUICK}",
        f"busy_timeout={_BUSY_MS}",
        f"cache_size={-_CACHE_KIB}",
        "foreign_keys=ON",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin(connection: Connection) -> None:
    # A transaction that reads first and writes then cannot wait for another writer: it must say so at once.
    # Outside of `writing` each statement is its own transaction, and costs no more than it must.
    if connection.get_execution_options().get("writes"):
        connection.exec_driver_sql("BEGIN IMMEDIATE")


@contextmanager
def writing(engine: Engine, *, durable: bool = False) -> Iterator[Connection]:
    """A transaction that writes, one at a time over all processes; committed at the end, rolled back on error.

    `durable`: what was committed outlives a power cut, too, as PostgreSQL's always does. SQLite then waits for the
    disk, which is much to ask of each call and little of each word of feedback.
    """
    with engine.connect().execution_options(writes=True) as connection:
        waits = durable and connection.dialect.name == "sqlite"
        if waits:
            _synchronise(connection, _SAFE)
        try:
            with connection.begin():
                if connection.dialect.name == "postgresql":
                    connection.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": _LOCK})
                yield connection
        finally:
            if waits:
                _synchronise(connection, _QUICK)


def _synchronise(connection: Connection, how: str) -> None:
    # Past SQLAlchemy, which would begin a transaction first: inside of one this cannot be changed.
    driver: Any = connection.connection.driver_connection
    with suppress(sqlite3.Error):  # of a file that is broken the transaction itself tells
        driver.execute(f"PRAGMA synchronous={how}")


def upgrade(engine: Engine) -> bool:
    """Bring the tables up to date; True if anything was to do. Raises DatabaseError.

    Tables of a later version that this one can work on are left as they are: two versions then run side by side.
    Several processes may do so at once: the first one works, the others wait for it and find nothing to do.
    """
    try:
        with writing(engine) as connection:
            if connection.dialect.name == "postgresql":
                connection.execute(text("SET LOCAL statement_timeout = 0"))  # a migration may take its time
            found = _revision(connection)
            if _serves(found):
                return False
            if found:
                _migrate(connection)
                _make_key(connection)
            else:
                _make_tables(connection)
            return True
    except (SQLAlchemyError, OSError) as error:
        raise DatabaseError(f"database: cannot be opened or changed ({_reason(error)})") from error


def create(engine: Engine) -> None:
    """Make the tables in a database that nobody will ever migrate, one in memory."""
    with writing(engine) as connection:
        _make_tables(connection)


def check(engine: Engine) -> None:
    """Raise DatabaseError if this version cannot work on the tables, UnreachableError if nobody can tell."""
    try:
        with engine.connect() as connection:
            found = _revision(connection)
    except (SQLAlchemyError, OSError) as error:
        raise UnreachableError(f"database: cannot be read ({_reason(error)})") from error
    if not _serves(found):
        raise DatabaseError(
            f"database: has {f'the tables of revision {found}' if found else 'no tables yet'}, this version of the "
            f"service needs {REVISION}: run cds-service database upgrade"
        )


def patient_key(engine: Engine, given: str) -> bytes:
    """The key of the hashes that stand for patients: `given`, or if that is '' the one made with the tables.

    Raises UnreachableError.
    """
    if given:
        return given.encode()
    try:
        with engine.connect() as connection:
            wanted = select(SECRETS.c.value).where(SECRETS.c.name == PATIENT_KEY)
            key: bytes = connection.execute(wanted).scalar_one()
    except SQLAlchemyError as error:
        raise UnreachableError(f"database: cannot be read ({_reason(error)})") from error
    return key


def _revision(connection: Connection) -> str:
    """Id of the migration that the tables have; '' if there are none."""
    if not inspect(connection).has_table("alembic_version"):
        return ""
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar() or ""


def _serves(revision: str) -> bool:
    """True for the tables of this version, and for those of a later one that only added to them (`tables.py`)."""
    return revision >= REVISION and revision[:GENERATION_DIGITS] == REVISION[:GENERATION_DIGITS]


def _make_tables(connection: Connection) -> None:
    """What all migrations one after the other would make. A table of such a name that is not ours is an error."""
    metadata.create_all(connection, checkfirst=False)
    connection.execute(
        text(
            "CREATE TABLE alembic_version "
            "(version_num VARCHAR(32) NOT NULL CONSTRAINT alembic_version_pkc PRIMARY KEY)"
        )
    )
    connection.execute(text("INSERT INTO alembic_version VALUES (:revision)"), {"revision": REVISION})
    _make_key(connection)


def _migrate(connection: Connection) -> None:
    # Alembic is a tenth of a second of start-up, and seldom there is anything to do.
    from alembic import command
    from alembic.config import Config
    from alembic.util import CommandError

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, "head")
    except CommandError as error:
        raise DatabaseError("database: its tables are of a later version of this service") from error


def _make_key(connection: Connection) -> None:
    known = connection.execute(select(SECRETS.c.name).where(SECRETS.c.name == PATIENT_KEY)).first()
    if known is None:
        connection.execute(SECRETS.insert().values(name=PATIENT_KEY, value=secrets.token_bytes(KEY_BYTES)))


def _reason(error: Exception) -> str:
    """What the driver says, without the statement and its values; no URL, which may hold a password."""
    origin = getattr(error, "orig", None) or error
    words = str(origin).strip() if origin is not error else ""
    return words.splitlines()[0] if words else type(origin).__name__
