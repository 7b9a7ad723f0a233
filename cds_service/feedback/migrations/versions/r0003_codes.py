"""Result codes that no rule reads are counted."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """A table of its own: earlier versions leave it alone."""
    op.create_table(
        "codes",
        sa.Column("day", sa.Date, primary_key=True),
        sa.Column("client", sa.String(40), primary_key=True),
        sa.Column("system", sa.String(120), primary_key=True),
        sa.Column("code", sa.String(120), primary_key=True),
        sa.Column("marker", sa.String(40), primary_key=True),
        sa.Column("results", sa.Integer, nullable=False),
    )
