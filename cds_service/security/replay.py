"""Each token once: its issuer and jti are kept in the database, which all workers and replicas share."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from cds_service.feedback.bounded import bounded
from cds_service.feedback.errors import DatabaseError
from cds_service.security.tokens import LEEWAY_SECONDS

MARGIN_SECONDS = LEEWAY_SECONDS + 600
"""How long after `exp` a jti is kept: past the leeway, and past the clock of any replica that tidies up early."""
TIDY_SECONDS = 600
"""How often each worker removes what may go."""

_INSERT = "INSERT INTO replays (issuer, jti, expires) VALUES ({0}, {0}, {0}) ON CONFLICT DO NOTHING"
_DELETE = "DELETE FROM replays WHERE expires < {0}"


class Replays:
    """The tokens that were used. Safe to use from several threads and processes.

    Speaks to the driver itself: what SQLAlchemy adds to a statement would cost more than the statement.
    """

    def __init__(self, engine: Engine, clock: Callable[[], datetime]) -> None:
        self._engine = engine
        self._clock = clock
        self._of_driver = engine.dialect.loaded_dbapi.Error
        self._is_sqlite = engine.dialect.name == "sqlite"
        self._insert, self._delete = (text.format("?" if self._is_sqlite else "%s") for text in (_INSERT, _DELETE))
        self._tidy_at = clock().timestamp() + TIDY_SECONDS

    def first_use(self, issuer: str, jti: str, exp: float) -> bool:
        """Keep the token's id until no token with it can be valid; True if it was not there. One atomic statement.

        `exp` in seconds since 1970. Raises DatabaseError if nobody can tell.
        """
        added = self._run(self._insert, issuer, jti, self._instant(exp + MARGIN_SECONDS)) == 1
        now = self._clock().timestamp()
        if now >= self._tidy_at:
            self._tidy_at = now + TIDY_SECONDS
            threading.Thread(target=self._tidy_quietly, name="replays", daemon=True).start()
        return added

    def tidy(self) -> int:
        """Remove what may go; how many that were. Raises DatabaseError."""
        return self._run(self._delete, self._instant(self._clock().timestamp()))

    def _tidy_quietly(self) -> None:
        try:
            self.tidy()
        except DatabaseError:
            return  # the next call finds out too, and refuses

    def _run(self, statement: str, *values: object) -> int:
        def run() -> int:
            with closing(self._engine.raw_connection()) as connection:
                count: int = connection.driver_connection.execute(statement, values).rowcount  # type: ignore[union-attr]
                connection.commit()
                return count

        try:
            return bounded(self._engine, run)
        except (SQLAlchemyError, self._of_driver) as error:
            raise DatabaseError("database: cannot keep the ids of tokens") from error

    def _instant(self, seconds: float) -> object:
        """As SQLAlchemy's Utc type stores it."""
        instant = datetime.fromtimestamp(seconds, UTC)
        return instant.replace(tzinfo=None).isoformat(" ", "microseconds") if self._is_sqlite else instant
