"""How many calls a minute one client may make. By hand: docs/decisions/0023."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from math import ceil

Seconds = int
Ticks = Callable[[], float]
"""Seconds on a clock that is never set."""

WINDOW_SECONDS = 60


def make_limit(calls_per_minute: int, ticks: Ticks = time.monotonic) -> Callable[[str], Seconds]:
    """A function that counts a call of a client, by name or address, and says in how many seconds it may come back.

    0: this call is served. The minute is the same for all: when it is over, all counts are forgotten. Each worker
    counts on its own: with n workers a client may make up to n times as many calls. `calls_per_minute` 0: nothing
    is counted. The function is safe to use from several threads.
    """
    if not calls_per_minute:
        return lambda _client: 0
    lock = threading.Lock()
    counts: Counter[str] = Counter()
    end = ticks()

    def count(client: str) -> Seconds:
        nonlocal end
        with lock:
            now = ticks()
            if now >= end:
                counts.clear()
                end = now + WINDOW_SECONDS
            counts[client] += 1
            return 0 if counts[client] <= calls_per_minute else ceil(end - now)

    return count
