"""How many calls a minute one client may make."""

from __future__ import annotations

import time
from collections.abc import Callable

Seconds = int


def make_limit(calls_per_minute: int) -> Callable[[str], Seconds]:
    """A function that counts a call of a client, by name or address, and says in how many seconds it may come back.

    0: this call is served. Each worker counts on its own: with n workers a client may make up to n times as many
    calls. `calls_per_minute` 0: nothing is counted.
    """
    if not calls_per_minute:
        return lambda _client: 0
    # Slow to load, and of no use where nothing is counted.
    from limits import RateLimitItemPerMinute
    from limits.storage import MemoryStorage
    from limits.strategies import FixedWindowRateLimiter

    item = RateLimitItemPerMinute(calls_per_minute)
    limiter = FixedWindowRateLimiter(MemoryStorage())

    def count(client: str) -> Seconds:
        if limiter.hit(item, client):
            return 0
        return max(1, round(limiter.get_window_stats(item, client).reset_time - time.time()))

    return count
