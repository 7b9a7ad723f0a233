"""Bodies that nobody should send, by the million: no 5xx, no slow answer, no growth of memory.

    python -m tests.fuzz [--calls 500000] [--resources 500000] [--seed 1] [--processes 2]

A call is a valid one with a few resources, spoilt in one to three places: elements replaced, removed, doubled,
moved under another name, or bytes changed. A resource is spoilt in the same way and goes to the readers alone.
Every type that is read takes part. A body is remade from seed and number, so a failure is shown by both.
"""

from __future__ import annotations

import io
import json
import os
import random
import resource as resource_usage
import sys
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from copy import deepcopy
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any, TypeVar
from unittest.mock import patch

import click
from flask import Flask
from msgspec import Raw

from cds_service.app import create_app, settle_memory
from cds_service.cli_database import upgrade_database
from cds_service.feedback.store import open_store
from cds_service.fhir.reader import read_chart
from cds_service.hooks.discovery import SERVICES
from cds_service.hooks.prefetch import build_expected
from cds_service.knowledge.loader import load
from cds_service.scenarios.bundles import example_cases
from cds_service.scenarios.run import Runner
from cds_service.settings import Settings
from tests.conftest import NOON

T = TypeVar("T")

SLOW_MS = 500
TRIES = 3
GROWTH = 1.05
LOOKS = 1000
"""How often the memory is looked at during a run."""
FEWEST = 10
"""Looks in a fifth of a run, below which it says nothing about memory."""
STATM = Path("/proc/self/statm")
SERVER_ERROR = 500
PROPER = (b'{"cards":', b'{"resourceType":"OperationOutcome"')

SCALARS: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 7, 0.1, 1e308, 10**30, 5e-324),
    *("", " ", "zzz", "\0", "\ud800", "\U0001d4b3" * 9, "a" * 5000),
    *("2026-02-30", "0001-01-01", "9999-12-31T23:59:60Z", "2026-03-15T25:00:00", "2026-01"),
    *("final", "active", "entered-in-error", "male", "draft", "order", "next", "outcome"),
    *("<0.1", "> 150 ng/mL", "%", "mg/dL", "nmol/L", "4544-3", "2986-8", "http://loinc.org"),
    *("Patient/other", "Medication/x", "#x", "urn:uuid:0", "Bundle", "Observation", "OperationOutcome"),
)
NAMES = (
    *("resourceType", "id", "status", "code", "coding", "system", "value"),
    *("entry", "resource", "contained", "total", "link"),
)


def spoil(value: Any, chance: random.Random) -> Any:
    """A changed copy of one element, somewhere inside `value`."""
    owner, places = None, [value]
    place: Any = None
    while isinstance(places[-1], (dict, list)) and places[-1] and (owner is None or chance.random() < 0.9):
        owner = places[-1]
        place = chance.choice(list(owner) if isinstance(owner, dict) else range(len(owner)))
        places.append(owner[place])
    if owner is None:
        return anything(chance)
    action = chance.randrange(5)
    if action == 0:
        del owner[place]
    elif action == 1 and isinstance(owner, list):
        owner.insert(place, deepcopy(owner[place]))
    elif action == 2 and isinstance(owner, dict):
        owner[chance.choice(NAMES)] = owner.pop(place)
    elif action == 3:
        owner[place] = [owner[place]]
    else:
        owner[place] = anything(chance)
    return value


def anything(chance: random.Random, depth: int = 0) -> Any:
    """Any JSON, small."""
    kind = chance.random()
    if depth > 2 or kind < 0.7:
        return chance.choice(SCALARS)
    if kind < 0.85:
        return [anything(chance, depth + 1) for _ in range(chance.randrange(4))]
    return {chance.choice(NAMES): anything(chance, depth + 1) for _ in range(chance.randrange(4))}


def templates() -> list[tuple[str, dict[str, Any]]]:
    """Address and body of a call for every example patient."""
    runner = Runner(load())
    ids = {service.hook: service.id for service in SERVICES}
    return [(f"/cds-services/{ids[case.hook]}", json.loads(runner.body(case))) for case in example_cases()]


def make(template: dict[str, Any], chance: random.Random) -> bytes:
    """One body: a few of the template's resources, spoilt."""
    body: Any = {**template, "prefetch": {}}
    keys = chance.sample(list(template["prefetch"]), chance.randrange(1, 5))
    for key in keys:
        bundle = deepcopy(template["prefetch"][key])
        if isinstance(bundle, dict) and bundle.get("entry"):
            bundle["entry"] = deepcopy(chance.sample(bundle["entry"], min(2, len(bundle["entry"]))))
        body["prefetch"][key] = bundle
    body["context"] = deepcopy(template["context"])
    for _ in range(chance.randrange(1, 4)):
        part = chance.choice(["prefetch", "prefetch", "prefetch", "context", ""])
        if isinstance(body, dict) and part in body:
            body[part] = spoil(body[part], chance)
        else:
            body = spoil(body, chance)
    data = json.dumps(body).encode("utf-8", "surrogatepass")
    if chance.random() < 0.05:
        at = chance.randrange(len(data))
        data = data[:at] + bytes([chance.randrange(256)]) + data[at + chance.randrange(3) :]
    return data


def timed(work: Callable[[], T]) -> tuple[T, float]:
    """What `work` gives, and its milliseconds: the least of three if it was slow: the machine may have been."""
    times: list[float] = []
    while True:
        began = perf_counter()
        done = work()
        times.append((perf_counter() - began) * 1000)
        if times[-1] <= SLOW_MS or len(times) == TRIES:
            return done, min(times)


def ask(app: Flask, address: str, body: bytes) -> tuple[int, bytes]:
    """Status and body of the application's answer."""
    status: list[int] = []

    def start(line: str, _headers: Any, _error: Any = None) -> Any:
        status.append(int(line.split(maxsplit=1)[0]))

    environ = {
        **{"REQUEST_METHOD": "POST", "PATH_INFO": address, "SCRIPT_NAME": "", "QUERY_STRING": ""},
        **{"SERVER_NAME": "x", "SERVER_PORT": "80", "SERVER_PROTOCOL": "HTTP/1.1", "REMOTE_ADDR": "127.0.0.1"},
        **{"CONTENT_TYPE": "application/json", "CONTENT_LENGTH": str(len(body)), "wsgi.input": io.BytesIO(body)},
        **{"wsgi.version": (1, 0), "wsgi.errors": sys.stderr, "wsgi.url_scheme": "http"},
        **{"wsgi.multithread": False, "wsgi.multiprocess": True, "wsgi.run_once": False},
    }
    answer = b"".join(app.wsgi_app(environ, start))
    return status[-1], answer


def run(seed: int, numbers: range) -> tuple[Counter[int], list[tuple[str, str]]]:
    """How often each status was answered, and (kind, what happened) of each answer not proper or not in time.

    A thread that ends with an error is told too.
    """
    # What the calls leave behind goes where it does not count as this process's memory.
    with TemporaryDirectory() as folder, Path(os.devnull).open("w", encoding="utf-8") as log:
        settings = Settings(database_url=f"sqlite:///{folder}/records.sqlite3")
        upgrade_database(settings.database_url)
        store = open_store(settings)
        fallen: list[str] = []
        with patch.object(threading, "excepthook", lambda end: fallen.append(f"{end.thread}: {end.exc_value!r}")):
            statuses, found = _run(create_app(settings, clock=lambda: NOON, log=log, store=store), seed, numbers)
            store.close()
    return statuses, [*found, *(("thread", one) for one in fallen)]


def _run(app: Flask, seed: int, numbers: range) -> tuple[Counter[int], list[tuple[str, str]]]:
    calls = templates()
    statuses: Counter[int] = Counter()
    found: list[tuple[str, str]] = []
    memory = Growth(len(numbers))
    for done, number in enumerate(numbers):
        chance = random.Random(f"{seed} {number}")
        address, template = chance.choice(calls)
        body = make(template, chance)
        (status, answer), ms = timed(partial(ask, app, address, body))
        statuses[status] += 1
        name = f"seed {seed} number {number}"
        if status >= SERVER_ERROR or not answer.startswith(PROPER):
            found.append(("fault", f"{name}: {status} {answer[:200]!r}"))
        elif ms > SLOW_MS:
            found.append(("slow", f"{name}: {ms:.0f} ms for {len(body)} bytes"))
        memory.look(done)
    return statuses, found + memory.found()


def read(seed: int, numbers: range) -> tuple[Counter[int], list[tuple[str, str]]]:
    """How many resources were used (1) and refused (0), and what went wrong with the readers."""
    knowledge = load()
    expected = {each.key: each for each in build_expected(knowledge, "patient-view")}
    calls = [body for _, body in templates()]
    samples = [
        (key, resource, body["context"]["patientId"])
        for body in calls
        for key, answer in body["prefetch"].items()
        if key in expected and answer
        for resource in [entry["resource"] for entry in answer.get("entry", ())] or [answer]
    ]
    ended: Counter[int] = Counter()
    found: list[tuple[str, str]] = []
    memory = Growth(len(numbers))
    for done, number in enumerate(numbers):
        chance = random.Random(f"{seed} resource {number}")
        key, sample, patient = chance.choice(samples)
        resource: Any = deepcopy(sample)
        for _ in range(chance.randrange(1, 4)):
            resource = spoil(resource, chance)
        page = {"resourceType": "Bundle", "type": "searchset", "entry": [{"resource": resource}]}
        data = json.dumps(page).encode("utf-8", "surrogatepass")
        name = f"seed {seed} resource {number}"
        reader = partial(read_chart, {key: Raw(data)}, (expected[key],), patient_id=patient, knowledge=knowledge)
        try:
            chart, ms = timed(partial(reader, as_of=NOON.date(), zone=NOON.tzinfo or UTC))
        except Exception as error:  # it must not, whatever is sent
            found.append(("fault", f"{name}: {error!r}"))
            continue
        if ms > SLOW_MS:
            found.append(("slow", f"{name}: {ms:.0f} ms for {len(data)} bytes"))
        whole = [refused for refused in chart.refused if not refused.part]
        if chart.resources_in != chart.resources_used + len(whole) or any(r.reason == "failed" for r in whole):
            found.append(("fault", f"{name}: {chart.resources_in} came in, {chart.resources_used} used, {whole}"))
        ended[chart.resources_used] += 1
        memory.look(done)
    return ended, found + memory.found()


class Growth:
    """Whether this process takes more memory at the end than in the middle of its first bodies."""

    def __init__(self, bodies: int) -> None:
        self._every = max(1, bodies // LOOKS)
        self._sizes: list[int] = []

    def look(self, done: int) -> None:
        """After each body."""
        if done % self._every == 0:
            self._sizes.append(resident_pages())

    def found(self) -> list[tuple[str, str]]:
        """What there is to complain of."""
        part = len(self._sizes) // 5
        if part < FEWEST:
            return []
        early, late = median(self._sizes[part : 2 * part]), median(self._sizes[-part:])
        words = f"{late / early:.2f} times as much in the last fifth of the bodies as in the second"
        return [("memory", words)] if late / early > GROWTH else []


def resident_pages() -> int:
    """Memory of this process now; where the system does not tell, the most that it ever was."""
    if STATM.exists():
        return int(STATM.read_text().split()[1])
    return resource_usage.getrusage(resource_usage.RUSAGE_SELF).ru_maxrss


@click.command()
@click.option("--calls", default=500_000, show_default=True, help="Whole calls, answered by the application.")
@click.option("--resources", default=500_000, show_default=True, help="Resources, given to the readers.")
@click.option("--seed", default=1, show_default=True)
@click.option("--processes", default=2, show_default=True)
def main(calls: int, resources: int, seed: int, processes: int) -> None:
    """Send spoilt bodies; exit with 1 if one did not get a proper answer in time, or memory grew."""
    faults = 0
    for work, number, words in ((read, resources, "resources, used or not"), (run, calls, "calls, answered")):
        share = number // processes
        began = datetime.now(UTC)
        with ProcessPoolExecutor(processes, initializer=settle_memory) as pool:
            parts = [range(each * share, (each + 1) * share) for each in range(processes)]
            results = list(pool.map(work, [seed] * processes, parts))
        found = [one for _, part in results for one in part]
        for kind, told in found:
            click.echo(f"{kind}: {told}")
        faults += len(found)
        ended = sum((each for each, _ in results), Counter[int]())
        seconds = int((datetime.now(UTC) - began).total_seconds())
        click.echo(f"{ended.total()} {words} {dict(ended)} in {seconds} s")
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
