"""what was measured of each model, so that all processes order the free models alike

Revision: 0004
Follows: 0003

Only adds a table, so servers of version 1.0.0 go on working with the database. They do not measure anything.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "model_scores",
        sa.Column("model", sa.Text(), primary_key=True),
        sa.Column("at", sa.Double(), nullable=False),
        sa.Column("ok", sa.Double(), nullable=False),
        sa.Column("failed", sa.Double(), nullable=False),
        sa.Column("timed", sa.Double(), nullable=False),
        sa.Column("waited", sa.Double(), nullable=False),
        sa.Column("tokens", sa.Double(), nullable=False),
        sa.Column("seconds", sa.Double(), nullable=False),
        sa.Column("since", sa.Double(), nullable=False),
        sa.Column("recent", sa.Text(), nullable=False),
    )


def downgrade() -> None:
    op.drop_table("model_scores")
