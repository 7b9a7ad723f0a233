"""Calls say which rules could not be judged."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Of calls before this one, nobody knows."""
    op.add_column("calls", sa.Column("unknown_rules", sa.Text, nullable=False, server_default=""))
