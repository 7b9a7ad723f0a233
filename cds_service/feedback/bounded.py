"""A database on another machine may hang: it takes what is sent and never answers. No call waits for that for long.

    answer = bounded(engine, work)      what `work()` gives or raises, or UnreachableError when it takes too long

SQLite gives up by itself after some seconds (`database._BUSY_MS`), so there the work is done where it stands. For
PostgreSQL it is done in a thread of its own: the driver has no limit for an answer that does not come. A thread
that hangs is left behind, and is of use again when the server answers or its connection breaks.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, TypeVar

from sqlalchemy import Engine

from cds_service.feedback.errors import UnreachableError

T = TypeVar("T")

SECONDS = 2.5
"""Longer than PostgreSQL's own limit for a statement, which tells more."""
MOST = 32
"""Threads that may hang at once; with so many, nobody waits for another."""


class _Job:
    """Something to do, and how it ended."""

    def __init__(self, work: Callable[[], Any]) -> None:
        self.work = work
        self.ended = threading.Event()
        self.answer: Any = None
        self.error: Exception | None = None

    def run(self) -> None:
        try:
            self.answer = self.work()
        except Exception as error:  # raised again where it was asked for
            self.error = error
        self.ended.set()


class _Pool:
    """Threads that wait for jobs, made when none is idle."""

    def __init__(self) -> None:
        self._jobs: SimpleQueue[_Job] = SimpleQueue()
        self._lock = threading.Lock()
        self._idle = 0
        self._threads = 0

    def take(self, job: _Job) -> bool:
        """Have a job done; False if all threads hang."""
        with self._lock:
            if self._idle:
                self._idle -= 1
            elif self._threads < MOST:
                self._threads += 1
                threading.Thread(target=self._work, name="database", daemon=True).start()
            else:
                return False
        self._jobs.put(job)
        return True

    def _work(self) -> None:
        while True:
            self._jobs.get().run()
            with self._lock:
                self._idle += 1


_POOL = _Pool()


def bounded(engine: Engine, work: Callable[[], T], seconds: float = SECONDS) -> T:
    """What `work` gives or raises. Raises UnreachableError if it has not ended after `seconds`."""
    if engine.dialect.name == "sqlite":
        return work()
    job = _Job(work)
    if not _POOL.take(job) or not job.ended.wait(seconds):
        raise UnreachableError("database: does not answer")
    if job.error is not None:
        raise job.error
    answer: T = job.answer
    return answer
