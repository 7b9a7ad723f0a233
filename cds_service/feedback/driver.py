"""The database past SQLAlchemy, for the two statements that each call makes: what is remembered, and a token's id.

    rows = driver.run(lambda connection: connection.execute(sql, values).fetchall())

What SQLAlchemy adds to such a statement, and the lending of a connection for it, cost more than the statement does.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import closing
from functools import partial
from typing import Any, TypeVar
from weakref import WeakSet

from sqlalchemy import Engine, PoolProxiedConnection, event
from sqlalchemy.exc import SQLAlchemyError

from cds_service.feedback.bounded import SECONDS, bounded
from cds_service.feedback.database import is_in_memory
from cds_service.feedback.errors import UnreachableError

T = TypeVar("T")


class _Own(threading.local):
    """The connection that one thread keeps; it goes back to the pool when the thread ends."""

    lent: PoolProxiedConnection | None = None


class Driver:
    """Runs statements of the driver's own language. Safe to use from several threads; each keeps a connection."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._faults = (SQLAlchemyError, engine.dialect.loaded_dbapi.Error)
        self.is_sqlite = engine.dialect.name == "sqlite"
        self._keeps = self.is_sqlite and not is_in_memory(engine.url)
        self._own = _Own()
        self._lent: WeakSet[PoolProxiedConnection] = WeakSet()
        event.listen(engine, "engine_disposed", self._close)

    def run(self, work: Callable[[Any], T], seconds: float = SECONDS) -> T:
        """What `work` gives for a connection of the driver; what it wrote is committed.

        Raises UnreachableError if the database cannot be used, or does not answer in `seconds`.
        """
        try:
            if self._keeps:
                return self._run_on_own(work)
            return bounded(self.engine, partial(self._run_on_lent, work), seconds)
        except self._faults as error:
            raise UnreachableError("database: cannot be used") from error

    def _run_on_own(self, work: Callable[[Any], T]) -> T:
        lent = self._own.lent
        if lent is None or not lent.is_valid:
            lent = self._own.lent = self.engine.raw_connection()
            self._lent.add(lent)
        try:
            return work(lent.driver_connection)  # in which each statement is a transaction of its own
        except self._faults:
            lent.invalidate()
            raise

    def _run_on_lent(self, work: Callable[[Any], T]) -> T:
        with closing(self.engine.raw_connection()) as connection:
            answer = work(connection.driver_connection)
            connection.commit()
            return answer

    def _close(self, _engine: Engine) -> None:
        for lent in list(self._lent):
            if lent.is_valid:
                lent.invalidate()
