"""`cds-service audit`: who called, about whom, by which rules, with what outcome; one JSON line a call."""

from __future__ import annotations

import os
from datetime import datetime

import click
import msgspec

from cds_service import __version__
from cds_service.settings import Settings, load


@click.command()
@click.option("--since", help="From this day or time on, e.g. 2026-11-01 or 2026-11-01T08:00:00+01:00.")
@click.option("--until", help="Before this day or time.")
@click.option("--fhir", is_flag=True, help="As FHIR R4 AuditEvent resources.")
def audit(since: str | None, until: str | None, fhir: bool) -> None:
    """Print the audit trail, oldest first, as JSON lines."""
    settings = load(os.environ)
    bounds = begin, end = _instant(since, "--since", settings), _instant(until, "--until", settings)
    if begin and end and begin >= end:
        raise click.UsageError("--since: expected a moment before --until")
    from cds_service.feedback.audit import audit_event, records  # slow to load
    from cds_service.feedback.database import check, connect

    engine = connect(settings.database_url, hurried=False)
    try:
        check(engine)
        for record in records(engine, *bounds):
            click.echo(msgspec.json.encode(audit_event(record, __version__) if fhir else record))
    finally:
        engine.dispose()


def _instant(words: str | None, option: str, settings: Settings) -> datetime | None:
    """A day or time in words, in the site's time zone unless it has one of its own."""
    if words is None:
        return None
    try:
        given = datetime.fromisoformat(words)
    except ValueError:
        expected = "a day or time such as 2026-11-01 or 2026-11-01T08:00:00+01:00"
        raise click.UsageError(f"{option}: {words!r} is not {expected}") from None
    return given if given.tzinfo else given.replace(tzinfo=settings.zone)
