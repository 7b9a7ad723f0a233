"""What counting costs a call: `metrics.Tally` beside the client library in its own mode for several processes.

    python -m bench.tally

Both count the same: four times, a status, the cards, three rules and a gap.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from time import process_time

CALLS = 20_000
ROUNDS = 7
FACTS = {
    "hook": "patient-view",
    "phases": {"decode": 0.002, "judge": 0.001, "render": 0.0004},
    "cards": 2,
    "rules": ["A", "B"],
    "unknown_rules": ["C"],
    "failed": {},
    "gaps": {"labs1": "absent"},
}


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder
        contenders = {"tally": _tally(Path(folder)), "client library": _library()}
        best = dict.fromkeys(contenders, float("inf"))
        for _ in range(ROUNDS):
            for name, call in contenders.items():
                began = process_time()
                for _ in range(CALLS):
                    call()
                best[name] = min(best[name], (process_time() - began) / CALLS)
        for name, seconds in best.items():
            print(f"{name:<15}{seconds * 1e6:6.1f} us CPU a call (best of {ROUNDS} rounds of {CALLS})")


def _tally(folder: Path):
    from cds_service.metrics import Tally

    tally = Tally(folder)
    return lambda: tally.call("cds_hooks.call", FACTS, 200, 0.004)


def _library():
    from prometheus_client import CollectorRegistry, Counter, Histogram

    from cds_service.metrics import BUCKETS

    registry = CollectorRegistry()
    times = Histogram("seconds", "-", ["hook", "phase"], registry=registry, buckets=BUCKETS)
    children = {phase: times.labels("patient-view", phase) for phase in ("decode", "judge", "render", "whole")}
    counts = Counter("counts", "-", ["a", "b"], registry=registry)
    cells = [counts.labels("x", str(number)) for number in range(6)]

    def call() -> None:
        for child in children.values():
            child.observe(0.002)
        for cell in cells:
            cell.inc()

    return call


if __name__ == "__main__":
    main()
