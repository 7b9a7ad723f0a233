"""The commands `cds-service report` and `cds-service purge`: what is kept of cards and what users did with them."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import click
from rich.console import Console
from rich.table import Table

from cds_service.app import knowledge_of, now_utc
from cds_service.settings import Settings, load

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from cds_service.feedback.codes import CodeFigures
    from cds_service.feedback.report import Line, Report

DAY = click.DateTime(["%Y-%m-%d"])
PERIOD_DAYS = 30
COLUMNS = ("shown", "merged", "accepted", "ignored", "snoozed", "silent", "unknown")


@click.command(short_help="What became of the cards, by rule.")
@click.option("--since", type=DAY, help="First day (default: 30 days before the end).")
@click.option("--until", type=DAY, help="Last day (default: up to now).")
@click.option(
    "--csv", "file", type=click.Path(dir_okay=False, path_type=Path), help="Write a table to this file too."
)
def report(since: datetime | None, until: datetime | None, file: Path | None) -> None:
    """Tell by rule how many cards were shown, accepted, overridden (and why), ignored and kept back.

    Then the codes of results that no rule reads although their name looks like one of its markers.
    """
    from cds_service.feedback.codes import codes
    from cds_service.feedback.report import report as figures_of  # slow to load; most commands need no database

    settings = load(os.environ)
    now = now_utc()
    end = _midnight(until.date() + timedelta(days=1), settings.zone) if until else now
    first = since.date() if since else end.astimezone(settings.zone).date() - timedelta(days=PERIOD_DAYS)
    begin = _midnight(first, settings.zone)
    if begin >= end:
        raise click.UsageError("--since: expected a day before the end of the period")
    knowledge = knowledge_of(settings, now.astimezone(settings.zone).date())
    last = (end - timedelta(microseconds=1)).astimezone(settings.zone).date()
    with _records(settings) as engine:
        figures = figures_of(engine, knowledge, since=begin, until=end)
        unmapped = codes(engine, since=first, until=last)
    if file is not None:
        with file.open("w", encoding="utf-8", newline="") as target:
            csv.writer(target).writerows(rows(figures))
    console = Console(markup=False, emoji=False)  # codes come from callers and may look like markup
    _print(figures, settings.zone, console)
    if unmapped:
        _print_codes(unmapped, console)


@contextmanager
def _records(settings: Settings) -> Iterator[Engine]:
    """The site's database, where a command may take its time. Raises DatabaseError."""
    from cds_service.feedback.database import check, connect

    engine = connect(settings.database_url, hurried=False)
    try:
        check(engine)
        yield engine
    finally:
        engine.dispose()


def _midnight(day: date, zone: ZoneInfo) -> datetime:
    return datetime.combine(day, time(), zone)


def reasons_of(lines: Iterable[Line]) -> list[str]:
    """Every reason that was given, in the order of the alphabet."""
    return sorted({reason for line in lines for reason in line.overridden})


def rows(figures: Report) -> Iterable[list[str | int]]:
    """The figures as a table: a head, then a row for each rule."""
    reasons = reasons_of(figures.lines)
    yield ["rule", *COLUMNS, *(f"overridden: {reason}" for reason in reasons)]
    for line in figures.lines:
        counts = [getattr(line, name) for name in COLUMNS]
        yield [line.rule, *counts, *(line.overridden.get(reason, 0) for reason in reasons)]


def _print(figures: Report, zone: ZoneInfo, console: Console) -> None:
    since, until = (moment.astimezone(zone) for moment in (figures.since, figures.until))
    console.print(f"{since:%Y-%m-%d %H:%M} to {until:%Y-%m-%d %H:%M}: {figures.calls} calls, {figures.cards} cards")
    console.print(f"{figures.cards_per_100_calls:.1f} cards in 100 calls")
    if figures.silent:
        burden = f"{figures.silent_per_100_calls:.1f} in 100 calls"
        console.print(f"{figures.silent} cards kept silent, {burden}: what users would have seen besides")
    if figures.strangers:
        console.print(f"{figures.strangers} words of feedback about cards that are not known here")
    table = Table()
    for name in ("rule", *COLUMNS, "overridden"):
        table.add_column(name, justify="left" if name == "rule" else "right", no_wrap=name == "rule")
    for line in figures.lines:
        counts = [*(getattr(line, name) for name in COLUMNS), sum(line.overridden.values())]
        table.add_row(line.rule, *map(str, counts))
    console.print(table)
    for line in figures.lines:
        if line.overridden:
            why = ", ".join(f"{reason} {count}" for reason, count in sorted(line.overridden.items()))
            console.print(f"{line.rule} overridden: {why}", soft_wrap=True)
    for turn in figures.turns:
        words = "speaks no more" if turn.kind == "stopped" else "speaks at least three times as often"
        console.print(f"{turn.rule} {words}: {turn.before:.1f} in 100 calls before, {turn.now:.1f} now")


def _print_codes(unmapped: Iterable[CodeFigures], console: Console) -> None:
    console.print("Result codes that no rule reads, and the marker that their name looks like:")
    table = Table()
    for name in ("client", "system", "code", "looks like", "results", "first met", "last met"):
        table.add_column(name, justify="right" if name == "results" else "left", overflow="fold")
    for one in unmapped:
        named = (one.system, one.code, one.marker) if one.code else ("", "all others", "")
        table.add_row(one.client, *named, str(one.results), one.first.isoformat(), one.last.isoformat())
    console.print(table)


@click.command(short_help="Remove old records.")
@click.option("--days", type=click.IntRange(1), help="Keep so many days (default: keep_days of the settings).")
def purge(days: int | None) -> None:
    """Remove the records of calls, cards, feedback and codes that are older than the site keeps them."""
    from cds_service.feedback.report import purge as remove

    settings = load(os.environ)
    before = now_utc() - timedelta(days=days or settings.keep_days)
    with _records(settings) as engine:
        removed = remove(engine, before)
    click.echo(f"{removed} rows from before {before:%Y-%m-%d %H:%M} UTC were removed")
