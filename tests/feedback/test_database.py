"""The database opens, is brought up to date once, and lets one writer in at a time."""

from __future__ import annotations

import multiprocessing
import os
import sqlite3
import threading
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, func, inspect, select, text
from sqlalchemy.exc import OperationalError

from cds_service.feedback import database, entries
from cds_service.feedback.database import check, connect, patient_key, upgrade, writing
from cds_service.feedback.errors import DatabaseError
from cds_service.feedback.store import Store
from cds_service.feedback.tables import REPLAYS, REVISION, SECRETS, metadata


def test_upgrade_makes_all_tables_and_a_second_one_finds_nothing_to_do(empty: Engine):
    assert upgrade(empty) is True
    assert set(metadata.tables) < set(inspect(empty).get_table_names())
    assert upgrade(empty) is False
    check(empty)


def test_the_migrations_make_the_tables_that_the_code_describes(engine: Engine):
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []


def test_the_newest_migration_is_the_one_that_the_code_expects():
    config = Config()
    config.set_main_option("script_location", str(database.MIGRATIONS))
    assert ScriptDirectory.from_config(config).get_heads() == [REVISION]


def test_a_database_without_tables_is_refused_with_the_way_out(empty: Engine):
    with pytest.raises(DatabaseError, match=r"has no tables yet.*cds-service database upgrade"):
        check(empty)


def test_a_database_of_a_later_version_is_neither_used_nor_changed(fresh: Engine):
    with writing(fresh) as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(DatabaseError, match="later version"):
        upgrade(fresh)
    with pytest.raises(DatabaseError, match="revision 9999"):
        check(fresh)


def _upgrade_at_once(url: str, start: threading.Barrier, answers: multiprocessing.Queue) -> None:
    start.wait()
    try:
        answers.put(upgrade(connect(url)))
    except Exception as error:
        answers.put(repr(error))


def test_replicas_that_start_at_once_migrate_once_and_share_one_key(database_url: str):
    spawn = multiprocessing.get_context("spawn")
    start, answers = spawn.Barrier(3), spawn.Queue()
    replicas = [spawn.Process(target=_upgrade_at_once, args=(database_url, start, answers)) for _ in range(3)]
    for replica in replicas:
        replica.start()
    assert sorted(answers.get(timeout=60) for _ in replicas) == [False, False, True]
    for replica in replicas:
        replica.join()
    engine = connect(database_url)
    with engine.connect() as connection:
        assert connection.execute(select(func.count()).select_from(SECRETS)).scalar() == 1
    engine.dispose()


def test_the_key_is_random_and_kept_unless_the_settings_give_one(engine: Engine, tmp_path: Path):
    key = patient_key(engine, "")
    assert len(key) == 32
    assert patient_key(engine, "") == key
    assert patient_key(engine, "a secret of the site") == b"a secret of the site"
    other = connect(f"sqlite:///{tmp_path}/other.sqlite3")
    upgrade(other)
    assert patient_key(other, "") != key
    other.dispose()


def test_writers_take_turns(fresh: Engine):
    """Each reads a number and writes it back one higher: without turns some of the steps would be lost."""
    with writing(fresh) as connection:
        connection.execute(text("CREATE TABLE numbers (number INTEGER)"))
        connection.execute(text("INSERT INTO numbers VALUES (0)"))

    def count() -> None:
        for _ in range(20):
            with writing(fresh) as connection:
                number = connection.execute(text("SELECT number FROM numbers")).scalar_one()
                connection.execute(text("UPDATE numbers SET number = :next"), {"next": number + 1})

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with fresh.connect() as connection:
        assert connection.execute(text("SELECT number FROM numbers")).scalar() == 80


def test_nothing_is_kept_of_a_transaction_that_fails(engine: Engine):
    when = datetime(2026, 3, 1, tzinfo=UTC)

    def interrupted() -> None:
        with writing(engine) as connection:
            connection.execute(REPLAYS.insert().values(issuer="ehr", jti="1", expires=when))
            raise KeyError

    with pytest.raises(KeyError):
        interrupted()
    with engine.connect() as connection:
        assert connection.execute(select(REPLAYS)).all() == []


def test_an_instant_comes_back_in_utc(engine: Engine):
    written = datetime(2026, 3, 1, 0, 30, 15, 123456, tzinfo=timezone(timedelta(hours=5, minutes=30)))
    with writing(engine) as connection:
        connection.execute(REPLAYS.insert().values(issuer="ehr", jti="1", expires=written))
    with engine.connect() as connection:
        found = connection.execute(select(REPLAYS.c.expires)).scalar_one()
    assert found == datetime(2026, 2, 28, 19, 0, 15, 123456, tzinfo=UTC)
    assert found.utcoffset() == timedelta(0)


def test_sqlite_is_opened_with_a_log_that_readers_do_not_wait_for(tmp_path: Path):
    engine = connect(f"sqlite:///{tmp_path}/records.sqlite3")
    with engine.connect() as connection:
        pragmas = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "busy_timeout", "cache_size", "foreign_keys")
        }
    engine.dispose()
    assert pragmas == {
        "journal_mode": "wal",
        "synchronous": 1,
        "busy_timeout": 5000,
        "cache_size": -256,
        "foreign_keys": 1,
    }


def test_what_must_outlive_a_power_cut_waits_for_the_disk_and_nothing_else_does(tmp_path: Path):
    engine = connect(f"sqlite:///{tmp_path}/records.sqlite3")
    upgrade(engine)

    def level(durable: bool) -> int:
        with writing(engine, durable=durable) as connection:
            return int(connection.exec_driver_sql("PRAGMA synchronous").scalar_one())

    assert [level(durable) for durable in (False, True, False, True)] == [1, 2, 1, 2]
    engine.dispose()


def test_feedback_must_outlive_a_power_cut(store: Store, monkeypatch: pytest.MonkeyPatch):
    asked: list[bool] = []

    def writing_(engine: Engine, *, durable: bool = False) -> AbstractContextManager[Connection]:
        asked.append(durable)
        return writing(engine, durable=durable)

    monkeypatch.setattr(entries, "writing", writing_)
    entry = entries.Entry("card", "accepted", datetime(2026, 3, 1, tzinfo=UTC))
    entries.keep(store.engine, [entry], client="ehr", service="view", now=datetime(2026, 3, 1, tzinfo=UTC))
    assert asked == [True]


def test_a_database_in_memory_is_one_database_for_all_threads():
    engine = connect("sqlite://")
    upgrade(engine)
    found = []
    thread = threading.Thread(target=lambda: found.append(patient_key(engine, "")))
    thread.start()
    thread.join()
    assert found == [patient_key(engine, "")]
    engine.dispose()


def test_no_url_is_the_file_in_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    engine = connect("")
    upgrade(engine)
    engine.dispose()
    assert (tmp_path / "cds-service.sqlite3").is_file()


def test_only_the_service_s_own_user_may_open_its_file(tmp_path: Path):
    """The keys of hashes and users' comments are in it, and in the files beside it."""
    known = tmp_path / "known.sqlite3"
    known.touch(mode=0o640)
    before = os.umask(0)
    try:
        for name in ("new", "known"):
            engine = connect(f"sqlite:///{tmp_path}/{name}.sqlite3")
            upgrade(engine)
            with engine.connect():
                found = {
                    file.name.removeprefix(name): file.stat().st_mode & 0o777 for file in tmp_path.glob(f"{name}*")
                }
            engine.dispose()
            mode = 0o600 if name == "new" else 0o640
            assert found == {".sqlite3": mode, ".sqlite3-wal": mode, ".sqlite3-shm": mode}
    finally:
        os.umask(before)


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("sqlite:////no/such/folder/records.sqlite3", "unable to open database file"),
        ("postgresql+psycopg://user:hunter2hunter2@127.0.0.1:1/records", "connection"),
    ],
)
def test_a_database_that_cannot_be_reached_is_told_in_a_sentence_without_its_password(url: str, told: str):
    engine = connect(url)
    for act in (upgrade, check):
        with pytest.raises(DatabaseError, match=told) as caught:
            act(engine)
        assert "hunter2" not in str(caught.value)
        assert "\n" not in str(caught.value)


def test_a_file_that_is_no_database_is_told(tmp_path: Path):
    (tmp_path / "records.sqlite3").write_text("no database at all, but text " * 50)
    with pytest.raises(DatabaseError, match="file is not a database"):
        upgrade(connect(f"sqlite:///{tmp_path}/records.sqlite3"))


def test_a_missing_driver_is_told_with_the_way_out(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(__import__("sys").modules, "psycopg", None)
    with pytest.raises(DatabaseError, match=r"psycopg; install cds-service\[postgres\]"):
        connect("postgresql+psycopg://127.0.0.1/records")


def test_a_locked_database_is_waited_for(tmp_path: Path):
    file = tmp_path / "records.sqlite3"
    engine = connect(f"sqlite:///{file}")
    upgrade(engine)
    other = sqlite3.connect(file, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    timer = threading.Timer(0.3, lambda: other.execute("COMMIT"))
    timer.start()
    with writing(engine) as connection:
        connection.execute(REPLAYS.insert().values(issuer="ehr", jti="1", expires=datetime(2026, 3, 1, tzinfo=UTC)))
    timer.join()
    other.close()
    engine.dispose()


@pytest.mark.parametrize(
    ("said", "told"), [("", "Error"), ("  \n", "Error"), ("disk I/O error\nmore", "disk I/O error")]
)
def test_a_driver_that_says_nothing_is_told_by_the_kind_of_its_error(
    monkeypatch: pytest.MonkeyPatch, said: str, told: str
):
    def fail(_: Connection) -> str:
        raise OperationalError("SELECT 1", {}, sqlite3.Error(said))

    monkeypatch.setattr(database, "_revision", fail)
    with pytest.raises(DatabaseError, match=rf"cannot be read \({told}\)$"):
        check(connect("sqlite://"))
