"""Result codes that no rule reads although their name looks like one of our markers: candidates for the overlay.

    add(connection, met)                 counts what calls have met; the recorder's part
    codes(engine, since=…, until=…)      the figures over all processes

A row holds a code, its system and our key of the marker that it resembles: never the name that the EHR gave it,
which may be about a patient, and nothing of a result.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from datetime import date

import msgspec
from sqlalchemy import Connection, Engine, func, select
from sqlalchemy.exc import SQLAlchemyError

from cds_service.feedback.errors import UnreachableError
from cds_service.feedback.tables import CODES

MOST = 500
"""Different codes of one client that are counted on one day; what comes after them is only counted together."""

Code = tuple[str, str, str]
"""System ('' if there is none), code, key of the marker that it resembles."""
OTHERS: Code = ("", "", "")
"""Stands for all codes beyond `MOST`."""


class CodeFigures(msgspec.Struct, frozen=True):
    """A code of one client; `code` '' for all that were beyond `MOST`."""

    client: str
    system: str
    code: str
    marker: str
    results: int
    """Results with this code that came with calls, one that came twice counted twice."""
    first: date
    last: date
    """Days on which it was met, within the period."""


def add(connection: Connection, met: Mapping[tuple[date, str], Counter[Code]]) -> None:
    """Add what was met by day and client. Only within `database.writing`: nobody else counts meanwhile."""
    c = CODES.c
    for (day, client), codes in met.items():
        here = (c.day == day) & (c.client == client)
        known = {tuple(row) for row in connection.execute(select(c.system, c.code, c.marker).where(here))}
        counts: Counter[Code] = Counter()
        for code, number in codes.items():
            room = len((known | counts.keys()) - {OTHERS}) < MOST
            counts[code if code in known or room else OTHERS] += number
        for code, number in counts.items():
            system, name, marker = code
            row = {"day": day, "client": client, "system": system, "code": name, "marker": marker}
            if code in known:
                same = here & (c.system == system) & (c.code == name) & (c.marker == marker)
                connection.execute(CODES.update().where(same).values(results=c.results + number))
            else:
                connection.execute(CODES.insert().values(**row, results=number))


def codes(engine: Engine, *, since: date, until: date) -> tuple[CodeFigures, ...]:
    """The codes that were met from `since` to `until`, both included, most results first.

    Raises UnreachableError.
    """
    c = CODES.c
    wanted = (
        select(c.client, c.system, c.code, c.marker, func.sum(c.results), func.min(c.day), func.max(c.day))
        .where(c.day >= since, c.day <= until)
        .group_by(c.client, c.system, c.code, c.marker)
        .order_by(func.sum(c.results).desc(), c.client, c.system, c.code, c.marker)
    )
    try:
        with engine.connect() as connection:
            return tuple(CodeFigures(*row) for row in connection.execute(wanted))
    except SQLAlchemyError as error:
        raise UnreachableError("database: cannot be read") from error


def gathered(records: list[tuple[date, str, Mapping[Code, int]]]) -> dict[tuple[date, str], Counter[Code]]:
    """The codes of several calls, each with its day and client, as `add` takes them."""
    met: dict[tuple[date, str], Counter[Code]] = defaultdict(Counter)
    for day, client, found in records:
        met[day, client].update(found)
    return met
