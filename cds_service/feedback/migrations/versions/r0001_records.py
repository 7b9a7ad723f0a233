"""Calls, cards, suggestions, feedback, tokens seen, and the key of the hashes."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make all tables."""
    instant = sa.DateTime(timezone=True)
    op.create_table(
        "calls",
        sa.Column("id", sa.String(36), primary_key=True),
        sa.Column("time", instant, nullable=False),
        sa.Column("service", sa.String(80), nullable=False),
        sa.Column("hook", sa.String(40), nullable=False),
        sa.Column("client", sa.String(40), nullable=False),
        sa.Column("patient", sa.String(64), nullable=False),
        sa.Column("knowledge", sa.String(80), nullable=False),
        sa.Column("ms", sa.Float, nullable=False),
        *(
            sa.Column(name, sa.Integer, nullable=False)
            for name in ("findings", "fine", "unknown", "not_applicable", "failed")
        ),
        sa.Column("gaps", sa.JSON, nullable=False),
    )
    op.create_table(
        "cards",
        sa.Column("uuid", sa.String(36), primary_key=True),
        sa.Column("rule", sa.String(80), primary_key=True),
        sa.Column("call", sa.String(36), nullable=False),
        sa.Column("time", instant, nullable=False),
        sa.Column("client", sa.String(40), nullable=False),
        sa.Column("patient", sa.String(64), nullable=False),
        sa.Column("rule_version", sa.Integer, nullable=False),
        sa.Column("indicator", sa.String(8), nullable=False),
        sa.Column("position", sa.Integer, nullable=False),
        sa.Column("silent", sa.Boolean, nullable=False),
        sa.Column("snoozed", sa.Boolean, nullable=False),
        sa.Column("tests", sa.Text, nullable=False),
        sa.Column("basis", sa.Text, nullable=False),
    )
    op.create_table(
        "suggestions",
        sa.Column("uuid", sa.String(36), primary_key=True),
        sa.Column("test", sa.String(80), primary_key=True),
        sa.Column("card", sa.String(36), nullable=False),
        sa.Column("time", instant, nullable=False),
    )
    op.create_table(
        "feedback",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("card", sa.String(80), nullable=False),
        sa.Column("client", sa.String(40), nullable=False),
        sa.Column("service", sa.String(80), nullable=False),
        sa.Column("patient", sa.String(64)),
        sa.Column("outcome", sa.String(10), nullable=False),
        *(sa.Column(name, sa.Text, nullable=False) for name in ("reason_system", "reason_code", "comment")),
        sa.Column("outcome_at", instant, nullable=False),
        sa.Column("received_at", instant, nullable=False),
    )
    op.create_table(
        "accepted",
        sa.Column("feedback", sa.String(64), sa.ForeignKey("feedback.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("suggestion", sa.String(80), primary_key=True),
    )
    op.create_table(
        "replays",
        sa.Column("issuer", sa.Text, primary_key=True),
        sa.Column("jti", sa.Text, primary_key=True),
        sa.Column("expires", instant, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "secrets",
        sa.Column("name", sa.String(40), primary_key=True),
        sa.Column("value", sa.LargeBinary, nullable=False),
    )
    indexes = (
        *(("calls", "time"), ("cards", "time"), ("suggestions", "time")),
        *(("feedback", "card"), ("feedback", "patient"), ("feedback", "received_at")),
    )
    for table, column in indexes:
        op.create_index(f"{table}_{column}", table, [column])
