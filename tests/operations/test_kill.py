"""A server that is killed at any moment has lost no feedback that it had acknowledged."""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import threading
from contextlib import closing
from http.client import HTTPException
from pathlib import Path

import pytest

from tests.operations.running import Running, get, serving

FEEDBACK = "/cds-services/hormone-therapy-patient-view/feedback"
SENDERS = 3

pytestmark = pytest.mark.slow


def load(running: Running, round_: int, acknowledged: list[str], stop: threading.Event) -> list[threading.Thread]:
    """Threads that send two entries at a time until the server is gone, and note those that it took."""

    def send(sender: int) -> None:
        number = 0
        while not stop.is_set():
            cards = [f"{round_}-{sender}-{number}-{half}" for half in (0, 1)]
            entries = [
                {"card": card, "outcome": "overridden", "outcomeTimestamp": "2026-03-15T11:59:30Z"}
                for card in cards
            ]
            try:
                status, _ = get(running.url + FEEDBACK, json.dumps({"feedback": entries}).encode())
            except (OSError, HTTPException):  # killed: before it answered, or in the middle of that
                return
            if status == 200:
                acknowledged.extend(cards)
            number += 1

    threads = [threading.Thread(target=send, args=(sender,)) for sender in range(SENDERS)]
    for thread in threads:
        thread.start()
    return threads


def kill(running: Running) -> None:
    """As the kernel does it: nobody gets to write anything more."""
    for process in (running.process.pid, *running.workers()):
        os.kill(process, signal.SIGKILL)
    running.process.wait()


def stored(file: Path) -> list[str]:
    with closing(sqlite3.connect(file)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        return [card for (card,) in connection.execute("SELECT card FROM feedback")]


def test_no_acknowledged_feedback_is_lost_and_none_is_half_kept(tmp_path: Path):
    acknowledged: list[str] = []
    file = tmp_path / "service" / "cds-service.sqlite3"
    for round_ in range(4):
        with serving(tmp_path / "service") as running:
            stop = threading.Event()
            threads = load(running, round_, acknowledged, stop)
            threading.Event().wait(random.uniform(0.2, 1.5))
            kill(running)
            stop.set()
            for thread in threads:
                thread.join()
        kept = stored(file)
        assert set(acknowledged) <= set(kept)
        assert len(kept) == len(set(kept))
        halves = {card.rpartition("-")[0] for card in kept}
        assert len(kept) == 2 * len(halves)
    assert len(acknowledged) > 20
