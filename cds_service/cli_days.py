"""The day that a command is asked for, which all of them take in the same words."""

from __future__ import annotations

from datetime import date, tzinfo

import click

from cds_service.app import now_utc


def day_of(words: str, zone: tzinfo) -> date:
    """What `--as-of` names; `today` is that of the site's time zone, as it is for a running service.

    Raises click.UsageError.
    """
    if words == "today":
        return now_utc().astimezone(zone).date()
    try:
        return date.fromisoformat(words)
    except ValueError:
        raise click.UsageError(f"--as-of: {words!r} is neither 'today' nor a date such as 2026-11-22") from None
