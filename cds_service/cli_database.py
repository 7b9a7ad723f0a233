"""The commands `cds-service database …`: the tables of what is kept."""

from __future__ import annotations

import os

import click

from cds_service.settings import load


@click.group()
def database() -> None:
    """The database of cards shown and of what users did with them."""


@database.command()
def upgrade() -> None:
    """Make the tables, or bring those of an earlier version up to date; `serve` does so by itself."""
    changed = upgrade_database(load(os.environ).database_url)
    click.echo("the tables were brought up to date" if changed else "the tables were up to date")


def upgrade_database(url: str) -> bool:
    """Bring the tables of the database up to date; True if anything was to do. Raises DatabaseError."""
    from cds_service.feedback.database import connect, upgrade  # slow to load; most commands need no database

    engine = connect(url)
    try:
        return upgrade(engine)
    finally:
        engine.dispose()
