"""CPU, latency and throughput of one patient-view, beside baselines, in rounds within one run.

    python -m bench [--sizes 10,50,200,1000] [--baselines floor,typed,express] [--rounds 2]

Each server runs alone on one core (with taskset), the callers on the others. Of all rounds the best counts: what
else runs on the machine can only add. Trust the ratios; the figures themselves move with the machine.
"""

from __future__ import annotations

import os
import platform
import random
import tempfile
from datetime import UTC, date, datetime
from pathlib import Path
from statistics import fmean

import click
import msgspec
from rich.console import Console
from rich.table import Table

from bench.bodies import build
from bench.load import Figures, measure, resident_mb, running, settle
from bench.servers import SERVERS, Server, SkippedError, environment
from bench.tokens import checking_us
from cds_service.hooks.prefetch import build_expected
from cds_service.knowledge.loader import load

FLOOR = "floor"
VARIANTS = 4
"""Bodies of each size."""
SMALL = "50"
"""Observations of the body that the growth is told from."""
NAMES = ",".join(server.name for server in SERVERS if server.name != "service")


class Result(msgspec.Struct):
    """The best of all rounds of one server."""

    name: str
    about: str
    start_ms: float
    start_cpu_ms: float
    resident_mb: float
    figures: dict[str, Figures]
    """By number of Observations."""


@click.command()
@click.option("--sizes", default="10,50,200,1000", show_default=True, help="Observations in the body.")
@click.option("--baselines", default=NAMES, show_default=True, help="Beside the service.")
@click.option("--rounds", default=2, show_default=True)
@click.option("--seconds", default=1.0, show_default=True, help="For each measurement.")
@click.option("--callers", default=8, show_default=True, help="At once, for the throughput.")
@click.option("--out", default="bench.json", show_default=True, type=click.Path(path_type=Path), help="JSON.")
def main(sizes: str, baselines: str, rounds: int, seconds: float, callers: int, out: Path) -> None:
    """Print the figures of the service and of the baselines, and their ratios to the floor."""
    bodies = make_bodies([int(size) for size in sizes.split(",")])
    wanted = {"service", FLOOR, *baselines.split(",")}
    pinned = settle()
    results: dict[str, Result] = {}
    skipped: dict[str, str] = {}
    console = Console(stderr=True)
    for number in range(rounds):
        chosen = [server for server in SERVERS if server.name in wanted and server.name not in skipped]
        for server in random.sample(chosen, len(chosen)):
            console.print(f"round {number + 1} of {rounds}: {server.name}", style="dim")
            try:
                result = run(server, bodies, seconds, callers, pinned)
            except SkippedError as reason:
                skipped[server.name] = str(reason)
                continue
            results[server.name] = better(result, results.get(server.name))
    show(results, list(bodies))
    for name, reason in skipped.items():
        click.echo(f"{name} skipped: {reason}")
    for algorithm in sorted(
        {server.algorithm for server in SERVERS if server.name in results and server.algorithm}
    ):
        with tempfile.TemporaryDirectory() as folder:
            signature, rest = checking_us(algorithm, Path(folder))
        click.echo(
            f"{algorithm}: {signature:.0f} us CPU for the signature, {rest:.0f} us to check all else of a token"
        )
    out.write_bytes(msgspec.json.format(msgspec.json.encode(document(results, skipped, bodies)), indent=1))
    click.echo(f"written to {out}")


def make_bodies(sizes: list[int]) -> dict[str, list[bytes]]:
    """Several bodies for each number of Observations."""
    expected, today = build_expected(load(), "patient-view"), date.today()
    return {str(size): [build(expected, size, today, variant) for variant in range(VARIANTS)] for size in sizes}


def run(server: Server, bodies: dict[str, list[bytes]], seconds: float, callers: int, pinned: list[str]) -> Result:
    """Start a server, call it with each body, stop it."""
    smallest = min(bodies.values(), key=lambda same: len(same[0]))
    with (
        tempfile.TemporaryDirectory() as scratch,
        running(server, smallest, environment(server, Path(scratch)), pinned) as started,
    ):
        figures = {size: measure(started, same, seconds, callers) for size, same in bodies.items()}
        memory = resident_mb(started.process.pid)
        start = (started.start_ms, started.start_cpu_ms)
        return Result(server.name, server.about, *start, memory, figures)


def better(new: Result, old: Result | None) -> Result:
    """Of each figure the better one; of memory the larger one."""
    if old is None:
        return new
    return Result(
        new.name,
        new.about,
        min(new.start_ms, old.start_ms),
        min(new.start_cpu_ms, old.start_cpu_ms),
        max(new.resident_mb, old.resident_mb),
        {size: _better(new.figures[size], old.figures[size]) for size in new.figures},
    )


def _better(new: Figures, old: Figures) -> Figures:
    return Figures(
        min(new.cpu_us, old.cpu_us),
        min(new.p50_ms, old.p50_ms),
        min(new.p99_ms, old.p99_ms),
        max(new.per_second, old.per_second),
        new.cards,
    )


def show(results: dict[str, Result], sizes: list[str]) -> None:
    """One table a size, and one of what does not depend on it."""
    console = Console(width=100)
    for size in sizes:
        floor = results[FLOOR].figures[size]
        table = Table("", "CPU us", "x floor", "p50 ms", "x floor", "p99 ms", "per s", "x floor", "cards")
        table.title = f"{size} Observations"
        for name in (server.name for server in SERVERS if server.name in results):
            own = results[name].figures[size]
            table.add_row(
                name,
                f"{own.cpu_us:.0f}",
                f"{own.cpu_us / floor.cpu_us:.2f}",
                f"{own.p50_ms:.2f}",
                f"{own.p50_ms / floor.p50_ms:.2f}",
                f"{own.p99_ms:.2f}",
                f"{own.per_second:.0f}",
                f"{own.per_second / floor.per_second:.2f}",
                str(own.cards),
            )
        console.print(table)
    few, many = SMALL if SMALL in sizes else sizes[0], sizes[-1]
    table = Table("", "start ms", "CPU of it ms", "resident MB", f"CPU({many})/CPU({few})")
    for name in (server.name for server in SERVERS if server.name in results):
        result = results[name]
        growth = result.figures[many].cpu_us / result.figures[few].cpu_us
        start = (f"{result.start_ms:.0f}", f"{result.start_cpu_ms:.0f}")
        table.add_row(name, *start, f"{result.resident_mb:.0f}", f"{growth:.1f}")
    console.print(table)


def document(
    results: dict[str, Result], skipped: dict[str, str], bodies: dict[str, list[bytes]]
) -> dict[str, object]:
    """Everything as data, with what is needed to compare it with another run."""
    floor = results[FLOOR].figures
    ratios = {
        name: {size: own.cpu_us / floor[size].cpu_us for size, own in result.figures.items()}
        for name, result in results.items()
    }
    return {
        "when": datetime.now(UTC),
        "machine": {"system": platform.platform(), "cores": os.cpu_count(), "python": platform.python_version()},
        "load": fmean(os.getloadavg()),
        "bytes": {size: len(same[0]) for size, same in bodies.items()},
        "cpu_ratio_to_floor": ratios,
        "results": results,
        "skipped": skipped,
    }


if __name__ == "__main__":
    main()
