"""From a call to its chart: what prefetch brought, and what was fetched because it did not come along.

read(call, …)   the chart of a call
Lately          the last charts for which something was fetched; another fetch could bring another chart
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from datetime import date, tzinfo
from functools import partial

import msgspec

from cds_service.chart import Chart
from cds_service.fhir.client import Client
from cds_service.fhir.completion import Grant, complete
from cds_service.fhir.expected import Expected
from cds_service.fhir.reader import read_chart
from cds_service.hooks.prefetch import worth_fetching
from cds_service.hooks.request import HookRequest
from cds_service.knowledge.model import Knowledge
from cds_service.metrics import Watch


class Reading(msgspec.Struct, frozen=True):
    """The chart of a call, and how it came about."""

    chart: Chart
    asked: bool = False
    """True if prefetch was not enough and there was somebody to ask."""
    fetched: Mapping[str, str] = {}
    """What the FHIR server was asked for: prefetch key -> `ok`, or the kind of gap that stays."""
    times: Sequence[tuple[str, float]] = ()
    """Of each thing that was asked for: `ok` or the kind of failure, and seconds."""


def read(  # noqa: PLR0913 - all that a chart depends on
    call: HookRequest,
    expected: tuple[Expected, ...],
    as_of: date,
    *,
    knowledge: Knowledge,
    zone: tzinfo,
    client: Client | None,
    watch: Watch,
) -> Reading:
    """The chart of a call on a day. `client` None: prefetch is all there is."""
    from_prefetch = partial(
        read_chart,
        patient_id=call.patient_id,
        knowledge=knowledge,
        as_of=as_of,
        zone=zone,
        draft_orders=call.draft_orders,
        selections=call.selections,
    )
    chart = from_prefetch(call.prefetch, expected)
    if not call.fhir_server or client is None or not worth_fetching(chart, call.hook):
        return Reading(chart)
    grant = Grant(call.fhir_server, call.authorization.token, call.patient_id, call.authorization.patient)
    watch.lap("decode")
    done = complete(chart, call.prefetch, expected, read=from_prefetch, client=client, grant=grant)
    watch.lap("fetch")
    return Reading(done.chart, True, done.outcomes, done.times)


class Lately:
    """The last readings with something fetched in them, by call and day. Safe to use from several threads."""

    MOST = 8

    def __init__(self) -> None:
        """Empty."""
        self._lock = threading.Lock()
        self._readings: OrderedDict[tuple[object, ...], Reading] = OrderedDict()

    def put(self, call: HookRequest, as_of: date, reading: Reading) -> None:
        """Keep a reading, and let the oldest go."""
        with self._lock:
            name = _name(call, as_of)
            self._readings[name] = reading
            self._readings.move_to_end(name)
            while len(self._readings) > self.MOST:
                self._readings.popitem(last=False)

    def find(self, call: HookRequest, as_of: date) -> Reading | None:
        """The reading of this very call; None if it is not there (any more), or was another process's."""
        with self._lock:
            return self._readings.get(_name(call, as_of))


def _name(call: HookRequest, as_of: date) -> tuple[object, ...]:
    return call.hook_instance, call.hook, call.fhir_server, call.patient_id, as_of
