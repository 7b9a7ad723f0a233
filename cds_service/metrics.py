"""What the service counts and times, cheaply enough for every call; `metrics_export` shows it to Prometheus.

Each worker adds to cells of its own, in a file mapped into memory: that needs no thread, and what a killed
worker counted stays. Beside the cells stands a list of their names. Both lie in the private folder that
`cds-service serve` makes and names in the environment.

A label's value comes from this service: hooks, phases, rule ids, prefetch keys, reasons; never from a request.
"""

from __future__ import annotations

import mmap
import os
from bisect import bisect_left
from collections.abc import Iterator, Mapping
from pathlib import Path
from threading import Lock
from time import perf_counter
from typing import Any, Literal, NamedTuple

import msgspec

FOLDER = "CDS_METRICS_FOLDER"
"""Environment variable through which the workers learn where to count; set by `cds-service serve` alone."""

BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
"""Upper bounds in seconds of a time's buckets; above the last one there is one more."""

CELLS = 8192
"""Cells of a worker: several times what all labels together can need."""
CELL_BYTES = 8

Kind = Literal["count", "time"]
WIDTH: Mapping[Kind, int] = {"count": 1, "time": len(BUCKETS) + 2}
"""Cells of one name: a count; or a count for each bucket, then the sum of all seconds."""
SPARE = CELLS - max(WIDTH.values())
"""First of the cells that nobody reads: of a name for which there is no room. A lost count beats a failed call."""


class Metric(NamedTuple):
    """One thing that is counted or timed, and the names of its labels."""

    kind: Kind
    labels: tuple[str, ...]
    words: str


METRICS: Mapping[str, Metric] = {
    "cds_call_seconds": Metric(
        "time", ("hook", "phase"), "Time of a call: decode, fetch, judge and render are parts of whole"
    ),
    "cds_calls": Metric("count", ("hook", "status"), "Requests answered, by hook or other address, and status"),
    "cds_cards": Metric("count", ("hook",), "Cards shown"),
    "cds_rule_outcomes": Metric(
        "count", ("rule", "outcome"), "How rules ended, those that were fine or did not apply left out"
    ),
    "cds_refusals": Metric("count", ("reason",), "Requests whose caller was refused, by reason"),
    "cds_would_refuse": Metric("count", ("reason",), "Requests that report_only let through, by reason"),
    "cds_prefetch_gaps": Metric("count", ("key", "kind"), "Prefetch keys that could not be used as they came"),
    "cds_fetch_seconds": Metric("time", ("outcome",), "Time of one fetch from the EHR's FHIR server"),
    "cds_feedback": Metric("count", ("outcome",), "Feedback entries taken in, repeated ones too"),
    "cds_records_dropped": Metric(
        "count", (), "Records of calls that were lost, since the database did not take them"
    ),
    "cds_log_lines_dropped": Metric("count", (), "Lines of the log that could not be written"),
}
"""What there is to count, by name without Prometheus' suffixes."""

OUTCOMES: Mapping[str, str] = {
    "rules": "finding",
    "snoozed": "snoozed",
    "silent": "silent",
    "unknown_rules": "unknown",
    "failed": "failed",
}
"""The facts of a call that name rules, and how those ended."""

Name = tuple[str, ...]
"""A metric and the values of its labels, e.g. `("cds_calls", "patient-view", "200")`."""


class Tally:
    """The counts of one process. Safe for several threads.

    Making one raises OSError if the folder takes no files; afterwards a name that cannot be written down is
    not counted until it can be.
    """

    def __init__(self, folder: Path) -> None:
        self._lock = Lock()
        self._names = folder / f"{os.getpid()}.names"
        self._names.write_bytes(b"")
        cells = folder / f"{os.getpid()}.cells"
        with cells.open("wb+") as file:
            file.write(bytes(CELLS * CELL_BYTES))  # truncated only, a disk that fills up would kill the process
            file.flush()
            self._cells = memoryview(mmap.mmap(file.fileno(), 0)).cast("d")
        self._first: dict[Name, int] = {}
        self._free = 0
        self._end = 0

    def count(self, *name: str, by: int = 1) -> None:
        """Add `by` to a count."""
        with self._lock:
            self._count(name, by)

    def time(self, seconds: float, *name: str) -> None:
        """Add one duration to a time."""
        with self._lock:
            self._time(name, seconds)

    def call(self, endpoint: str, facts: Mapping[str, Any], status: int, seconds: float) -> None:
        """Add what is known of one answered request: the facts that the log is told, too.

        `endpoint` is Flask's name for the address; '' if there is nothing at that address.
        """
        last = endpoint.rpartition(".")[2]
        hook = facts.get("hook", "none") if last in ("", "call") else last
        with self._lock:
            self._count(("cds_calls", hook, str(status)))
            if "phases" in facts:
                self._time(("cds_call_seconds", hook, "whole"), seconds)
                for phase, part in facts["phases"].items():
                    self._time(("cds_call_seconds", hook, phase), part)
                self._count(("cds_cards", hook), facts["cards"])
            for fact, outcome in OUTCOMES.items():
                for rule in facts.get(fact, ()):
                    self._count(("cds_rule_outcomes", rule, outcome))
            for key, kind in facts.get("gaps", {}).items():
                self._count(("cds_prefetch_gaps", key, kind))
            for outcome, part in facts.get("fetch_times", ()):
                self._time(("cds_fetch_seconds", outcome), part)
            for outcome, number in facts.get("outcomes", {}).items():
                self._count(("cds_feedback", outcome), number)
            if "refusal" in facts:
                self._count(("cds_refusals", facts["refusal"]))
            if "would_refuse" in facts:
                self._count(("cds_would_refuse", facts["would_refuse"]))

    def _count(self, name: Name, by: int = 1) -> None:
        first = self._first.get(name)
        self._cells[self._new(name) if first is None else first] += by

    def _time(self, name: Name, seconds: float) -> None:
        first = self._first.get(name)
        if first is None:
            first = self._new(name)
        self._cells[first + bisect_left(BUCKETS, seconds)] += 1
        self._cells[first + len(BUCKETS) + 1] += seconds

    def _new(self, name: Name) -> int:
        """First cell of a name that was not met before. Raises KeyError for a metric that there is not."""
        width = WIDTH[METRICS[name[0]].kind]
        first = self._free
        if first + width > SPARE:  # cannot be with the labels that there are
            return SPARE
        line = msgspec.json.encode(name) + b"\n"
        try:
            with self._names.open("rb+") as names:
                names.seek(self._end)  # over what a full disk may have left of a line
                names.write(line)
                names.truncate()
        except OSError:
            return SPARE
        self._first[name] = first
        self._end += len(line)
        self._free += width
        return first


class Watch:
    """Times the parts of one call; `phases` holds their seconds."""

    def __init__(self) -> None:
        self.phases: dict[str, float] = {}
        self._since = perf_counter()

    def lap(self, phase: str) -> None:
        """The time since the last lap belongs to `phase`."""
        now = perf_counter()
        self.phases[phase] = self.phases.get(phase, 0.0) + now - self._since
        self._since = now


def tally_of(environ: Mapping[str, str]) -> Tally | None:
    """Where this process counts; None if nobody asked for metrics, or they cannot be kept."""
    folder = environ.get(FOLDER, "")
    try:
        return Tally(Path(folder)) if folder else None
    except OSError:  # the calls can be answered all the same; the metrics tell of a worker less
        return None


def read(folder: Path, process: int) -> Iterator[tuple[Name, tuple[float, ...]]]:
    """What the process of this id has counted so far: each name with its cells."""
    names = (folder / f"{process}.names").read_bytes().splitlines(keepends=True)
    cells = memoryview((folder / f"{process}.cells").read_bytes()).cast("d")
    first = 0
    for line in names:
        if not line.endswith(b"\n"):  # being written
            return
        name = msgspec.json.decode(line, type=Name)
        width = WIDTH[METRICS[name[0]].kind]
        yield name, tuple(cells[first : first + width])
        first += width
