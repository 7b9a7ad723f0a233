"""When the sample of a result was taken (clinical reference 4.1.2)."""

from __future__ import annotations

from datetime import date
from typing import Literal

import msgspec

from cds_service.chart import When
from cds_service.fhir.dates import Calendar, add_days
from cds_service.fhir.resources import Observation

Dated = tuple[When | None, Literal["", "undated", "future"]]
"""When a sample was taken, if that can be told, and what is wrong with that ('' for nothing)."""


class Sampling:
    """The dates of the results of one chart."""

    def __init__(self, calendar: Calendar, as_of: date) -> None:
        """`as_of` is today at the site; what is dated after tomorrow lies in the future."""
        self._calendar = calendar
        self.latest = add_days(as_of, 1)
        self.seen: dict[str | None, Dated] = {}
        """What `dated` found, by `effectiveDateTime`: results of one sample share theirs."""

    def dated(self, observation: Observation) -> Dated:
        """The date of a result; one with a year alone is as good as none."""
        text = observation.effective_date_time
        read = self._calendar.when(text)
        when = read or self.when(observation)
        dated: Dated = (when, "")
        if when is None or when.precision == "year":
            dated = (None, "undated")
        elif when.day > self.latest:
            dated = (when, "future")
        if read is not None:
            self.seen[text] = dated
        return dated

    def when(self, observation: Observation) -> When | None:
        """Date of collection, else of issue. A year alone is a date of collection, only a useless one."""
        read = self._calendar.when
        when = read(observation.effective_date_time)
        if when is not None:
            return when
        period = observation.effective_period
        if period is not None:
            when = read(period.end) or read(period.start)
        when = when or read(observation.effective_instant)
        if when is None and (when := read(observation.issued)) is not None:
            when = msgspec.structs.replace(when, issued=True)
        return when
