"""The tables: one row a call, a card, a suggested test, a word of feedback; codes that no rule reads; tokens seen;
the key of the hashes.

A change here needs a migration (`migrations/versions/`) and its id as `REVISION`; a test compares the two. The
first two digits of an id are its generation: within one, a migration only adds what an older version of the service
can leave alone (a table, a column with a default, an index), so that old and new ones run on the same tables.
"""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    Date,
    DateTime,
    Dialect,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
)

REVISION = "0003"
"""The newest migration: what it leaves behind is these tables."""
GENERATION_DIGITS = 2


class Utc(TypeDecorator[datetime]):
    """An instant. Goes in with any zone and comes out in UTC; SQLite has no zones and keeps the UTC text."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """What the driver is given."""
        if value is None:
            return None
        instant = value.astimezone(UTC)
        return instant.replace(tzinfo=None) if dialect.name == "sqlite" else instant

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """What the caller gets."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


metadata = MetaData()

RESULTS = ("findings", "fine", "unknown", "not_applicable", "failed")
"""How a rule may end: how many did so is a column of `CALLS` each."""

CALLS = Table(
    "calls",
    metadata,
    Column("id", String(36), primary_key=True),  # of the answer's X-Request-Id
    Column("time", Utc, nullable=False),
    Column("service", String(80), nullable=False),
    Column("hook", String(40), nullable=False),
    Column("client", String(40), nullable=False),  # name in the settings; '' where nobody is asked for a token
    Column("patient", String(64), nullable=False),  # keyed hash
    Column("knowledge", String(80), nullable=False),  # version
    Column("ms", Float, nullable=False),
    *(Column(name, Integer, nullable=False) for name in RESULTS),
    Column("gaps", JSON, nullable=False),  # prefetch key -> kind of gap
    Column("unknown_rules", Text, nullable=False, server_default=""),  # could not be judged; blanks between
    Index("calls_time", "time"),
)

CARDS = Table(
    "cards",
    metadata,
    Column("uuid", String(36), primary_key=True),
    Column("rule", String(80), primary_key=True),  # a merged card tells several
    Column("call", String(36), nullable=False),
    Column("time", Utc, nullable=False),
    Column("client", String(40), nullable=False),
    Column("patient", String(64), nullable=False),
    Column("rule_version", Integer, nullable=False),
    Column("indicator", String(8), nullable=False),
    Column("position", Integer, nullable=False),  # of the rule in its card; 0 is the one that names it
    Column("silent", Boolean, nullable=False),  # judged, not shown: the rule or the service is silent
    Column("snoozed", Boolean, nullable=False),  # judged, not shown: a user had set it aside
    Column("tests", Text, nullable=False),  # keys of the tests that it tells as due, with blanks between
    Column("basis", Text, nullable=False),  # keyed hashes of what it rests on, with blanks between
    Index("cards_time", "time"),
)

SUGGESTIONS = Table(
    "suggestions",
    metadata,
    Column("uuid", String(36), primary_key=True),
    Column("test", String(80), primary_key=True),  # one suggestion may order several
    Column("card", String(36), nullable=False),
    Column("time", Utc, nullable=False),
    Index("suggestions_time", "time"),
)

FEEDBACK = Table(
    "feedback",
    metadata,
    Column("id", String(64), primary_key=True),  # digest of what makes two deliveries the same word of feedback
    Column("card", String(80), nullable=False),  # as reported; there may be no such row in `cards` (yet)
    Column("client", String(40), nullable=False),
    Column("service", String(80), nullable=False),
    Column("patient", String(64)),  # that of the card, once the card is known
    Column("outcome", String(10), nullable=False),  # accepted or overridden
    Column("reason_system", Text, nullable=False),
    Column("reason_code", Text, nullable=False),
    Column("comment", Text, nullable=False),  # a user's words: may hold anything, is never logged
    Column("outcome_at", Utc, nullable=False),  # when the user acted, by the EHR's clock
    Column("received_at", Utc, nullable=False),
    Index("feedback_card", "card"),
    Index("feedback_patient", "patient"),
    Index("feedback_received_at", "received_at"),
)

ACCEPTED = Table(
    "accepted",
    metadata,
    Column("feedback", String(64), ForeignKey("feedback.id", ondelete="CASCADE"), primary_key=True),
    Column("suggestion", String(80), primary_key=True),
)

CODES = Table(
    "codes",
    metadata,
    Column("day", Date, primary_key=True),  # in the site's time zone
    Column("client", String(40), primary_key=True),
    Column("system", String(120), primary_key=True),
    Column("code", String(120), primary_key=True),  # '': all those that were too many to be counted one by one
    Column("marker", String(40), primary_key=True),  # key of the marker that its name resembles
    Column("results", Integer, nullable=False),
)

REPLAYS = Table(
    "replays",
    metadata,
    Column("issuer", Text, primary_key=True),
    Column("jti", Text, primary_key=True),
    Column("expires", Utc, nullable=False),  # when the row may go: no token with this jti can be valid any more
    # Each call waits for its row here, so there is one tree to write and no second index; the rows are few.
    sqlite_with_rowid=False,
)

SECRETS = Table(
    "secrets",
    metadata,
    Column("name", String(40), primary_key=True),
    Column("value", LargeBinary, nullable=False),
)
