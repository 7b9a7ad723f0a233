"""A long run at a steady rate: no error, no growth of memory, nothing acknowledged that is not kept.

    python -m tests.soak [--minutes 30] [--rate 0] [--workers 2]

The service runs as an operator starts it, with a client whose tokens it checks, SQLite and metrics. The callers
send whole calls, calls without the medications (which the service then fetches from a FHIR server on loopback),
feedback about the cards that they were shown, and discovery. Rate 0: four fifths of what the callers get out of it
without a pause. Callers and service share the machine, so that its other half is theirs.
"""

from __future__ import annotations

import http.client
import json
import sqlite3
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from statistics import median, quantiles
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

import click

from cds_service.app import now_utc
from cds_service.knowledge.loader import load
from cds_service.scenarios.bundles import example_cases
from cds_service.scenarios.run import Runner
from tests.fhir import fhir_server
from tests.operations.running import Running, get, serving
from tests.security import ehr

BASE = "https://cds.example.org"
DISCOVERY = "/cds-services"
VIEW = f"{DISCOVERY}/hormone-therapy-patient-view"
FEEDBACK = f"{VIEW}/feedback"
EXAMPLE = "hematocrit-high"
PATIENTS = 2000
CALLERS = 8
SHARE = 0.8
MEASURE_SECONDS = 10.0
SAMPLE_SECONDS = 1.0
GROWTH = 1.05
WARM, LATE = 0.3, 0.9
"""Memory of a worker: the middle of its sizes from WARM to the half is compared with that from LATE to the end."""
JUDGED_FROM_MINUTES = 2.0
"""A shorter run says nothing about memory."""
ROUND = ("discovery", "feedback", "fetching", "call", "call", "fetching", "call", "call", "feedback", "call")


class Bodies(NamedTuple):
    """A call of the example, whole and without its medications, and the Bundle that has those."""

    patient: str
    whole: bytes
    gap: bytes
    medications: bytes


def token(path: str) -> dict[str, str]:
    """A header with a new token for an address of the service."""
    now = int(time.time())
    return {"Authorization": f"Bearer {ehr.token(BASE + path, iat=now, exp=now + 300)}"}


def bodies(url: str, fhir: str) -> Bodies:
    """Made for the prefetch templates that the service at `url` publishes."""
    case = next(case for case in example_cases(now_utc().date()) if case.id == EXAMPLE)
    call = json.loads(Runner(load()).body(case)) | {"fhirServer": fhir}
    services = json.loads(get(url + DISCOVERY, headers=token(DISCOVERY))[1])["services"]
    templates = next(service["prefetch"] for service in services if VIEW.endswith(service["id"]))
    absent = [key for key, template in templates.items() if template.startswith("MedicationRequest?")]
    given = call["prefetch"]
    entries = [entry for key in absent for entry in given[key].get("entry", [])]
    bundle = fhir_server.bundle(*(entry["resource"] for entry in entries))
    gap = call | {"prefetch": {key: value for key, value in given.items() if key not in absent}}
    whole, short, served = (json.dumps(each).encode() for each in (call, gap, bundle))
    return Bodies(call["context"]["patientId"], whole, short, served)


class Soak:
    """Callers of one service, and what they saw."""

    def __init__(self, service: Running, made: Bodies) -> None:
        self.outcomes: Counter[str] = Counter()
        self.errors: list[str] = []
        self.seconds: dict[str, list[float]] = {kind: [] for kind in ROUND}
        self.kept: list[str] = []
        """Cards whose feedback was acknowledged."""
        self._service, self._made = service, made
        self._cards: list[str] = []
        self._number = 0
        self._lock = threading.Lock()

    def run(self, seconds: float, rate: float) -> float:
        """Call for so long, `rate` times a second (0: without a pause); how many answers came a second."""
        before, began = self.outcomes.total(), time.monotonic()
        first = self._number
        threads = [
            threading.Thread(target=self._caller, args=(began, seconds, rate, first)) for _ in range(CALLERS)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return (self.outcomes.total() - before) / (time.monotonic() - began)

    def _caller(self, began: float, seconds: float, rate: float, first: int) -> None:
        with closing(http.client.HTTPConnection("127.0.0.1", self._service.port, timeout=60)) as connection:
            while True:
                with self._lock:
                    number = self._number
                    at = began + (number - first) / rate if rate else time.monotonic()
                    if at >= began + seconds:
                        return
                    self._number += 1
                time.sleep(max(0.0, at - time.monotonic()))
                self._one(connection, number)

    def _one(self, connection: http.client.HTTPConnection, number: int) -> None:
        kind = ROUND[number % len(ROUND)]
        card = self._card(number) if kind == "feedback" else ""
        method, path, body = self._request(kind, number, card)
        headers = {"Content-Type": "application/json"} | token(path)
        before = time.perf_counter()
        try:
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            answer = response.read()
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            self.errors.append(f"{kind}: {error!r}")
            return
        self.seconds[kind].append(time.perf_counter() - before)
        self._note(kind, response.status, answer, card)

    def _card(self, number: int) -> str:
        with self._lock:
            return self._cards.pop() if self._cards else f"nobody's {number} {uuid4()}"

    def _request(self, kind: str, number: int, card: str) -> tuple[str, str, bytes | None]:
        if kind == "discovery":
            return "GET", DISCOVERY, None
        if kind == "feedback":
            entry = {"card": card, "outcome": "overridden", "outcomeTimestamp": now_utc().isoformat()}
            return "POST", FEEDBACK, json.dumps({"feedback": [entry]}).encode()
        body = self._made.gap if kind == "fetching" else self._made.whole
        patient = f"soak-{number % PATIENTS}"
        return "POST", VIEW, body.replace(self._made.patient.encode(), patient.encode())

    def _note(self, kind: str, status: int, answer: bytes, card: str) -> None:
        self.outcomes[kind] += 1
        if status != http.client.OK:
            self.errors.append(f"{kind}: {status} {answer[:200]!r}")
        elif kind == "feedback":
            self.kept.append(card)
        elif kind != "discovery":
            cards = json.loads(answer)["cards"]
            with self._lock:
                self._cards = [*self._cards[-CALLERS:], *(one["uuid"] for one in cards[:1])]


class Sizes:
    """Resident memory of each worker in KiB, once a second."""

    def __init__(self, service: Running) -> None:
        self.of: dict[int, list[int]] = {worker: [] for worker in service.workers()}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Sizes:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(SAMPLE_SECONDS):
            for worker, sizes in self.of.items():
                status = Path(f"/proc/{worker}/status").read_text(encoding="ascii")
                sizes.append(int(status.partition("VmRSS:")[2].split()[0]))

    def grown(self) -> dict[int, float]:
        """How many times as large each worker was late as when it was warm."""
        parts = {
            worker: (sizes[int(len(sizes) * WARM) : len(sizes) // 2], sizes[int(len(sizes) * LATE) :])
            for worker, sizes in self.of.items()
        }
        return {worker: median(late) / median(warm) for worker, (warm, late) in parts.items() if warm and late}


@contextmanager
def fhir(made: list[Bodies]) -> Iterator[str]:
    """A FHIR server that has the medications of any patient who is asked for; its address."""

    def medications(handler: Any) -> None:
        asked = parse_qs(urlsplit(handler.path).query)
        patient = next(value for name in ("patient", "subject") for value in asked.get(name, []))
        body = made[0].medications.replace(made[0].patient.encode(), patient.rpartition("/")[2].encode())
        fhir_server.send(handler, body)

    with fhir_server.serving() as server:
        server.on["MedicationRequest"] = medications
        yield server.url


@contextmanager
def started(folder: Path, workers: int) -> Iterator[tuple[Running, Bodies]]:
    """The service, with a client whose keys are in a file and a FHIR server that it may call."""
    (folder / "keys.json").write_bytes(ehr.key_set())
    site, made = folder / "site.toml", list[Bodies]()
    with fhir(made) as server:
        site.write_text(
            f'[server]\npublic_url = "{BASE}"\ncalls_per_minute = 0\n'
            f'[clients.ehr]\nissuer = "{ehr.ISSUER}"\njwks_file = "{folder}/keys.json"\n'
            f'[[fhir.servers]]\nurl = "{server}"\nallow_http = true\nallow_private = true\n',
            encoding="utf-8",
        )
        with serving(folder / "service", "--workers", str(workers), CDS_CONFIG=str(site)) as service:
            made.append(bodies(service.url, server))
            yield service, made[0]


def lost(folder: Path, soak: Soak) -> list[str]:
    """What was answered with 200 and is not in the database, once the service has ended."""
    with closing(sqlite3.connect(folder / "service" / "cds-service.sqlite3")) as database:
        kept = {card for (card,) in database.execute("SELECT card FROM feedback")}
        (calls,) = database.execute("SELECT count(*) FROM calls").fetchone()
    missing = [f"acknowledged feedback that was not kept: {card}" for card in soak.kept if card not in kept]
    judged = soak.outcomes["call"] + soak.outcomes["fetching"]
    return missing if calls >= judged else [*missing, f"{judged} calls were answered, {calls} recorded"]


def report(soak: Soak, sizes: Sizes, counted: dict[str, float]) -> None:
    for kind, number in sorted(soak.outcomes.items()):
        cuts = quantiles(soak.seconds[kind], n=100)
        click.echo(f"{kind:<10}{number:>8} answers   p50 {cuts[49] * 1000:.1f} ms   p99 {cuts[98] * 1000:.1f} ms")
    fetches = {name.partition("=")[2]: int(n) for name, n in counted.items() if "cds_fetch_seconds_count" in name}
    click.echo(f"fetches by outcome: {fetches}")
    for worker, each in sizes.of.items():
        tenths = [round(each[len(each) * part // 10] / 1024) for part in range(10)] + [round(each[-1] / 1024)]
        click.echo(f"worker {worker}: MiB over time {tenths}")


def soaked(folder: Path, minutes: float, rate: float, workers: int) -> list[str]:
    """Run it and print what was seen; every fault."""
    with started(folder, workers) as (service, made):
        soak = Soak(service, made)
        if not rate:
            capacity = soak.run(MEASURE_SECONDS, 0)
            rate = SHARE * capacity
            click.echo(f"capacity {capacity:.0f} requests a second with {workers} workers and {CALLERS} callers")
            soak.seconds = {kind: [] for kind in ROUND}
        before = set(service.workers())
        with Sizes(service) as sizes:
            reached = soak.run(minutes * 60, rate)
        click.echo(f"asked for {rate:.1f} requests a second, {reached:.1f} answered, for {minutes:g} minutes")
        counted = service.metrics()
        faults = [] if set(service.workers()) == before else ["a worker died"]
        if service.stop() != 0:
            faults.append("the service did not end with 0")
    report(soak, sizes, counted)
    if counted.get("cds_records_dropped_total", 0.0):
        faults.append("records were dropped")
    if minutes >= JUDGED_FROM_MINUTES:
        faults += [
            f"worker {worker}: {by:.2f} times as large" for worker, by in sizes.grown().items() if by > GROWTH
        ]
    return [*soak.errors, *faults, *lost(folder, soak)]


@click.command()
@click.option("--minutes", default=30.0, show_default=True)
@click.option("--rate", default=0.0, show_default=True, help="Requests a second; 0: 80 % of the measured capacity.")
@click.option("--workers", default=2, show_default=True)
def main(minutes: float, rate: float, workers: int) -> None:
    """Call the service for a long time; exit with 1 on any error, loss, or growth of memory."""
    with tempfile.TemporaryDirectory(prefix="cds-soak-") as folder:
        faults = soaked(Path(folder), minutes, rate, workers)
    for fault in faults[:20]:
        click.echo(f"fault: {fault}")
    click.echo(f"{len(faults)} faults")
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
