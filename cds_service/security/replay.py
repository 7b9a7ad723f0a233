"""Each token once: its issuer and jti are kept in the database, which all workers and replicas share."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime

from cds_service.feedback.driver import Driver
from cds_service.feedback.errors import DatabaseError
from cds_service.security.tokens import LEEWAY_SECONDS

MARGIN_SECONDS = LEEWAY_SECONDS + 600
"""How long after `exp` a jti is kept: past the leeway, and past the clock of any replica that tidies up early."""
TIDY_SECONDS = 600
"""How often each worker removes what may go."""

_INSERT = "INSERT INTO replays (issuer, jti, expires) VALUES ({0}, {0}, {0}) ON CONFLICT DO NOTHING"
_DELETE = "DELETE FROM replays WHERE expires < {0}"


class Replays:
    """The tokens that were used. Safe to use from several threads and processes."""

    def __init__(self, driver: Driver, clock: Callable[[], datetime]) -> None:
        self._driver = driver
        self._clock = clock
        mark = "?" if self._driver.is_sqlite else "%s"
        self._insert, self._delete = (text.format(mark) for text in (_INSERT, _DELETE))
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
        count: int = self._driver.run(lambda connection: connection.execute(statement, values).rowcount)
        return count

    def _instant(self, seconds: float) -> object:
        """As SQLAlchemy's Utc type stores it."""
        instant = datetime.fromtimestamp(seconds, UTC)
        return instant.replace(tzinfo=None).isoformat(" ", "microseconds") if self._driver.is_sqlite else instant
