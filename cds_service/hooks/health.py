"""Is the process alive, and can it answer calls: asked by whoever watches the service, without a token.

    GET  /healthz   200 once the process answers: its knowledge is loaded
    GET  /readyz    200 if the database can be read too and has the tables of this version; else 503

An answer names each check and says `ok` or `failed`, no more; why stands in the log. Of the log it says whether
the last line could be written; calls are answered either way, so that this does not make the service unready.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock, Thread
from time import monotonic

import msgspec
from flask import Flask, Response
from sqlalchemy import Engine

from cds_service import __version__
from cds_service.feedback.database import check
from cds_service.feedback.errors import DatabaseError, UnreachableError
from cds_service.log import Logger

ENDPOINTS = frozenset({"health", "ready"})
"""Neither logged nor counted: they are asked every few seconds."""
FRESH_SECONDS = 1.0
"""An answer about the database holds for so long, however often it is asked for."""
PATIENCE_SECONDS = 0.5
"""A database that takes longer is not ready. The process has calls to answer meanwhile."""


class Probe:
    """Asks a question that may take long in a thread of its own, and keeps the answer for a moment."""

    def __init__(self, question: Callable[[], bool]) -> None:
        self._question = question
        self._lock = Lock()
        self._thread: Thread | None = None
        self._asked = float("-inf")
        self._good = False

    def good(self) -> bool:
        """The answer; False while there is none yet."""
        with self._lock:
            if (self._thread is None or not self._thread.is_alive()) and monotonic() - self._asked > FRESH_SECONDS:
                self._asked = monotonic()
                self._thread = Thread(target=self._ask, name="readiness", daemon=True)
                self._thread.start()
            thread = self._thread
        if thread is not None:
            thread.join(PATIENCE_SECONDS)
        return self._good and not (thread is not None and thread.is_alive())

    def _ask(self) -> None:
        self._good = False  # if the question cannot even be asked
        self._good = self._question()


def add_health(app: Flask, knowledge_version: str, engine: Engine, logger: Logger) -> None:
    """The two addresses."""
    alive = msgspec.json.encode({"status": "ok", "version": __version__, "knowledge": knowledge_version})
    database = Probe(_database_question(engine, logger))

    @app.get("/healthz")
    def health() -> Response:
        return Response(alive, mimetype="application/json")

    @app.get("/readyz")
    def ready() -> Response:
        good = database.good()
        checks = {
            "knowledge": "ok",
            "database": "ok" if good else "failed",
            "log": "ok" if logger.works else "failed",
        }
        body = msgspec.json.encode({"status": "ready" if good else "not ready", "checks": checks})
        return Response(body, 200 if good else 503, mimetype="application/json")


def _database_question(engine: Engine, logger: Logger) -> Callable[[], bool]:
    """Can the database be read, and are its tables ours? A change of the answer goes to the log."""
    last = ""

    def ask() -> bool:
        nonlocal last
        try:
            check(engine)
            now = "ok"
        except UnreachableError:
            now = "unreachable"
        except DatabaseError:
            now = "other revision"
        if now != last and (last or now != "ok"):
            logger.warning("database", state=now)
        last = now
        return now == "ok"

    return ask
