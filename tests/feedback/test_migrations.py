"""From every earlier revision, with data in it, to the tables of today."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import Script, ScriptDirectory
from sqlalchemy import (
    JSON,
    Boolean,
    Date,
    DateTime,
    Engine,
    Float,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    inspect,
    select,
    text,
)

from cds_service.feedback import database
from cds_service.feedback.audit import records
from cds_service.feedback.database import check, upgrade, writing
from cds_service.feedback.driver import Driver
from cds_service.feedback.entries import Entry, keep
from cds_service.feedback.errors import DatabaseError
from cds_service.feedback.memory import Memory
from cds_service.feedback.report import purge, report
from cds_service.feedback.tables import REVISION, metadata
from cds_service.knowledge.model import Knowledge


def script() -> Config:
    config = Config()
    config.set_main_option("script_location", str(database.MIGRATIONS))
    return config


STEPS = list(ScriptDirectory.from_config(script()).walk_revisions())
REVISIONS = [step.revision for step in STEPS]
SAMPLES: list[tuple[type, Any]] = [
    (Boolean, True),
    (Integer, 3),
    (Float, 2.5),
    (Date, date(2026, 3, 1)),
    (DateTime, datetime(2026, 3, 1, 12, 0, tzinfo=UTC)),
    (LargeBinary, b"bytes"),
    (JSON, {"labs": "absent"}),
]


def sample(column: Any) -> Any:
    """A value that the column can hold."""
    if column.foreign_keys:
        return sample(next(iter(column.foreign_keys)).column)
    return next((value for kind, value in SAMPLES if isinstance(column.type, kind)), "text")


def tables_of(engine: Engine, revision: str) -> list[Table]:
    """Bring an empty database to a revision; the tables as the version of the service at that time knew them."""
    with writing(engine) as connection:
        config = script()
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
    old = MetaData()
    old.reflect(engine)
    return [table for table in old.sorted_tables if table.name != "alembic_version"]


def fill(engine: Engine, tables: list[Table], **values: Any) -> dict[str, dict[str, Any]]:
    """One row in every table, with `values` in columns of these names; what was put in."""
    rows: dict[str, dict[str, Any]] = {}
    with engine.begin() as connection:
        for table in tables:
            row = {column.name: values.get(column.name, sample(column)) for column in table.columns}
            if engine.dialect.name == "sqlite":
                row = {
                    name: value.replace(tzinfo=None) if isinstance(value, datetime) else value
                    for name, value in row.items()
                }
            connection.execute(table.insert().values(row))
            rows[table.name] = row
    return rows


@pytest.mark.parametrize("revision", REVISIONS)
def test_an_upgrade_keeps_every_row_and_every_value(empty: Engine, revision: str):
    kept = fill(empty, tables_of(empty, revision))
    assert upgrade(empty) is (revision != REVISION)
    check(empty)
    with empty.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
        for name, row in kept.items():
            table = Table(name, MetaData(), autoload_with=empty)
            found = connection.execute(select(*(table.c[column] for column in row))).mappings().all()
            assert row in [dict(one) for one in found], name


# -- two versions beside each other ------------------------------------------------------------------


@pytest.mark.parametrize("revision", REVISIONS[1:])
def test_a_version_that_is_still_running_goes_on_writing_and_reading(
    empty: Engine, revision: str, knowledge: Knowledge
):
    """The old replica's statements name the old columns only; the new one makes sense of its rows."""
    old = tables_of(empty, revision)
    assert upgrade(empty)
    written = fill(empty, old, position=0)
    with empty.connect() as connection:
        for table in old:
            found = [dict(one) for one in connection.execute(select(table)).mappings()]
            assert written[table.name] in found
    month = datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 4, 1, tzinfo=UTC)
    assert report(empty, knowledge, since=month[0], until=month[1]).calls == 1
    (record,) = records(empty, *month)
    assert record["rules"]
    assert Memory(Driver(empty)).recall("text", 1) != []
    word = Entry("other", "overridden", month[0])
    assert keep(empty, [word], client="ehr", service="text", now=month[0]) == 1
    assert purge(empty, month[1]) > 0


def told_to_be(engine: Engine, revision: str) -> None:
    with writing(engine) as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = :revision"), {"revision": revision})


def test_tables_that_a_later_version_only_added_to_serve_this_one_too(fresh: Engine):
    """What an old replica meets once the first new one has started: it stays ready and may be restarted."""
    later = f"{int(REVISION) + 1:04}"
    mine = MetaData()
    mine.reflect(fresh)
    with writing(fresh) as connection:
        connection.execute(text("ALTER TABLE calls ADD COLUMN later TEXT NOT NULL DEFAULT ''"))
    told_to_be(fresh, later)
    check(fresh)
    assert upgrade(fresh) is False
    with fresh.connect() as connection:
        assert connection.execute(text("SELECT version_num FROM alembic_version")).scalar() == later
    assert "calls" in fill(fresh, [mine.tables["calls"]])


@pytest.mark.parametrize("revision", ["0100", "9999"])
def test_tables_of_another_generation_are_refused(fresh: Engine, revision: str):
    told_to_be(fresh, revision)
    with pytest.raises(DatabaseError, match=f"revision {revision}"):
        check(fresh)
    with pytest.raises(DatabaseError, match="later version"):
        upgrade(fresh)


def test_tables_of_an_earlier_version_are_not_used(empty: Engine):
    tables_of(empty, REVISIONS[-1])
    with pytest.raises(DatabaseError, match=f"revision {REVISIONS[-1]}.*cds-service database upgrade"):
        check(empty)


def test_ids_are_four_digits_and_grow():
    assert all(len(revision) == 4 and revision.isdecimal() for revision in REVISIONS)
    assert sorted(REVISIONS, reverse=True) == REVISIONS


ADDS = {"create_table", "add_column", "create_index"}


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.revision)
def test_a_migration_within_a_generation_only_adds(step: Script):
    source = Path(step.path).read_text(encoding="utf-8")
    if step.down_revision is None or str(step.down_revision)[:2] != step.revision[:2]:
        return
    assert set(re.findall(r"\bop\.(\w+)", source)) <= ADDS
    for column in re.findall(r"op\.add_column\(.*\)", source):
        assert "nullable=True" in column or "server_default=" in column, column


def test_every_revision_has_its_migration_from_nothing(empty: Engine):
    assert REVISIONS[0] == REVISION
    assert len(set(REVISIONS)) == len(REVISIONS)
    upgrade(empty)
    assert set(metadata.tables) <= set(inspect(empty).get_table_names())


def shape(engine: Engine) -> dict[str, list[str]]:
    """Of every table all that the database tells of it, as text."""
    look = inspect(engine)
    return {
        name: [
            *(f"{column['name']} {column['type']} {column['nullable']} {column['default']}" for column in columns),
            str(look.get_pk_constraint(name)),
            *sorted(map(str, look.get_foreign_keys(name))),
            *sorted(map(str, look.get_indexes(name))),
        ]
        for name in look.get_table_names()
        for columns in [look.get_columns(name)]
    }


def test_a_new_database_gets_at_once_what_all_migrations_make(empty: Engine):
    tables_of(empty, REVISION)
    by_migrations = shape(empty)
    everything = MetaData()
    everything.reflect(empty)
    everything.drop_all(empty)
    upgrade(empty)
    assert shape(empty) == by_migrations


def test_a_table_of_somebody_else_is_not_taken_for_ours(empty: Engine):
    with writing(empty) as connection:
        connection.execute(text("CREATE TABLE calls (number INTEGER)"))
    with pytest.raises(DatabaseError, match="calls"):
        upgrade(empty)
    assert inspect(empty).get_table_names() == ["calls"]
