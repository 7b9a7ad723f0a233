"""From every earlier revision, with data in it, to the tables of today."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Boolean, DateTime, Engine, Float, Integer, LargeBinary, MetaData, Table, inspect, select

from cds_service.feedback import database
from cds_service.feedback.database import check, upgrade, writing
from cds_service.feedback.tables import REVISION, metadata


def script() -> Config:
    config = Config()
    config.set_main_option("script_location", str(database.MIGRATIONS))
    return config


REVISIONS = [step.revision for step in ScriptDirectory.from_config(script()).walk_revisions()]
SAMPLES: list[tuple[type, Any]] = [
    (Boolean, True),
    (Integer, 3),
    (Float, 2.5),
    (DateTime, datetime(2026, 3, 1, 12, 0, tzinfo=UTC)),
    (LargeBinary, b"bytes"),
]


def sample(column: Any) -> Any:
    """A value that the column can hold."""
    if column.foreign_keys:
        return sample(next(iter(column.foreign_keys)).column)
    return next((value for kind, value in SAMPLES if isinstance(column.type, kind)), "text")


def fill(engine: Engine) -> dict[str, list[str]]:
    """One row in every table there is; the names of its columns."""
    old = MetaData()
    old.reflect(engine)
    tables = [table for table in old.sorted_tables if table.name != "alembic_version"]
    with engine.begin() as connection:
        for table in tables:
            row = {column.name: sample(column) for column in table.columns}
            if engine.dialect.name == "sqlite":
                row = {
                    name: value.replace(tzinfo=None) if isinstance(value, datetime) else value
                    for name, value in row.items()
                }
            connection.execute(table.insert().values(row))
    return {table.name: [column.name for column in table.columns] for table in tables}


@pytest.mark.parametrize("revision", REVISIONS)
def test_an_upgrade_keeps_every_row(empty: Engine, revision: str):
    with writing(empty) as connection:
        config = script()
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
    kept = fill(empty)
    assert upgrade(empty) is (revision != REVISION)
    check(empty)
    with empty.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
        for name, columns in kept.items():
            table = Table(name, MetaData(), autoload_with=empty)
            still = [table.c[column] for column in columns if column in table.c]
            assert len(connection.execute(select(*still)).all()) >= 1, name


def test_every_revision_has_its_migration_from_nothing(empty: Engine):
    assert REVISIONS[0] == REVISION
    assert len(set(REVISIONS)) == len(REVISIONS)
    upgrade(empty)
    assert set(metadata.tables) <= set(inspect(empty).get_table_names())
