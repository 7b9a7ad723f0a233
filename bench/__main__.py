"""CPU per request of one patient-view, beside Flask + orjson that judges nothing, in rounds within one run.

    python -m bench [--observations 200] [--requests 300] [--rounds 3]

Each server runs alone, one granian worker, one caller on a kept-alive connection. CPU is user + system time of the
server's processes, read from the kernel before and after. Trust the ratio; the figures themselves move with the
machine.
"""

from __future__ import annotations

import http.client
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path

import click
import orjson

from bench.bodies import build
from cds_service.hooks.prefetch import build_expected
from cds_service.knowledge.loader import load

PORT = 8765
START_SECONDS = 20
TICKS = os.sysconf("SC_CLK_TCK")
SERVERS = {"floor": "bench.floor:app", "service": "cds_service.wsgi:app"}
PATH = "/cds-services/hormone-therapy-patient-view"


@contextmanager
def serving(target: str) -> Iterator[subprocess.Popen[bytes]]:
    """A granian server of one worker for the WSGI application `module:name`."""
    command = [
        sys.executable,
        "-m",
        "granian",
        "--interface",
        "wsgi",
        "--port",
        str(PORT),
        "--no-access-log",
        target,
    ]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(timeout=START_SECONDS)


def connect(process: subprocess.Popen[bytes], body: bytes) -> http.client.HTTPConnection:
    """A connection on which the server has answered once with 200."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise click.ClickException("the server did not start")
        connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=START_SECONDS)
        try:
            call(connection, body)
        except ConnectionError:
            time.sleep(0.05)
        else:
            return connection
    raise click.ClickException("the server did not answer in time")


def call(connection: http.client.HTTPConnection, body: bytes) -> bytes:
    """One hook call; the body of its answer."""
    connection.request("POST", PATH, body, {"Content-Type": "application/json"})
    answer = connection.getresponse()
    content = answer.read()
    if answer.status != http.client.OK:
        raise click.ClickException(f"answer {answer.status}: {content[:300]!r}")
    return content


def cpu_seconds(process: subprocess.Popen[bytes]) -> float:
    """User and system time of a process and its children so far."""
    pids = [process.pid]
    for pid in pids:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text()
        pids.extend(int(child) for child in children.split())
    total = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total / TICKS


def measure(target: str, body: bytes, requests: int) -> tuple[float, int]:
    """CPU in microseconds per request, and the number of cards in the answer."""
    with serving(target) as process:
        connection = connect(process, body)
        for _ in range(requests // 5):
            call(connection, body)
        before = cpu_seconds(process)
        for _ in range(requests):
            content = call(connection, body)
        used = cpu_seconds(process) - before
    return used / requests * 1e6, len(orjson.loads(content)["cards"])


@click.command()
@click.option("--observations", default=200, show_default=True)
@click.option("--requests", default=300, show_default=True)
@click.option("--rounds", default=3, show_default=True)
def main(observations: int, requests: int, rounds: int) -> None:
    """Print CPU per request of the service and of the baseline, least of all rounds, and their ratio."""
    knowledge = load()
    body = build(knowledge, build_expected(knowledge, "patient-view"), observations, date.today())
    click.echo(f"{observations} Observations, {len(body)} bytes")
    best: dict[str, float] = {}
    for _ in range(rounds):
        for name, target in SERVERS.items():
            used, cards = measure(target, body, requests)
            best[name] = min(used, best.get(name, used))
            click.echo(f"  {name:8} {used:8.0f} us CPU a request, {cards} card(s)")
    click.echo(f"service / floor = {best['service'] / best['floor']:.2f}")


if __name__ == "__main__":
    main()
