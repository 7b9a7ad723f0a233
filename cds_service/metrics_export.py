"""The metrics of all workers of a service as one page for Prometheus; `metrics_page` serves it."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, make_wsgi_app
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector

from cds_service.metrics import BUCKETS, METRICS, Name, read

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

Counts = dict[Name, tuple[float, ...]]


class AllWorkers(Collector):
    """Adds up what the workers counted. A worker that is gone is counted once more and its files removed."""

    def __init__(self, folder: Path, labels: dict[str, str]) -> None:
        """`labels`: what is told of the service itself, e.g. its version."""
        self._folder = folder
        self._labels = labels
        self._lock = Lock()
        self._gone: Counts = {}

    def collect(self) -> Iterable[Family]:
        """One family for each metric, and those of the service itself."""
        with self._lock:
            total = dict(self._gone)
            living = 0
            for process in sorted(int(file.stem) for file in self._folder.glob("*.cells")):
                alive = _is_alive(process)  # asked first: what it counts until its end is read below
                living += alive
                _add(total, read(self._folder, process))
                if not alive:
                    _add(self._gone, read(self._folder, process))
                    for suffix in ("cells", "names"):
                        (self._folder / f"{process}.{suffix}").unlink()
        yield GaugeMetricFamily("cds_workers", "Worker processes that are alive", living)
        info = GaugeMetricFamily("cds_service_info", "Always 1; what runs here", labels=list(self._labels))
        info.add_metric(list(self._labels.values()), 1)
        yield info
        yield from _families(total)


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, PermissionError):  # of another user: the number has been given away
        return False
    return True


def _add(total: Counts, counted: Iterable[tuple[Name, tuple[float, ...]]]) -> None:
    for name, cells in counted:
        known = total.get(name)
        total[name] = tuple(map(sum, zip(known, cells, strict=True))) if known else cells


def _families(total: Counts) -> Iterable[Family]:
    """A family for each metric, also for those that have no count yet."""
    for metric, about in METRICS.items():
        values = [(list(name[1:]), cells) for name, cells in sorted(total.items()) if name[0] == metric]
        if about.kind == "count":
            counts = CounterMetricFamily(metric, about.words, labels=about.labels)
            for labels, cells in values:
                counts.add_metric(labels, cells[0])
            yield counts
        else:
            times = HistogramMetricFamily(metric, about.words, labels=about.labels)
            for labels, cells in values:
                times.add_metric(labels, _cumulated(cells), cells[-1])
            yield times


def _cumulated(cells: tuple[float, ...]) -> list[tuple[str, float]]:
    """Pairs of an upper bound and the number of durations up to it, as Prometheus wants them."""
    bounds = (*(repr(bound) for bound in BUCKETS), "+Inf")
    return [(bound, sum(cells[: index + 1])) for index, bound in enumerate(bounds)]


def page(folder: Path, labels: dict[str, str]) -> WSGIApplication:
    """The page as a WSGI application; the arguments as `AllWorkers` takes them."""
    registry = CollectorRegistry()
    registry.register(AllWorkers(folder, labels))
    application: WSGIApplication = make_wsgi_app(registry)
    return application
