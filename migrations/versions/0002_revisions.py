"""what processes know of each other's changes: one number for each kind of shared state

Revision: 0002
Follows: 0001

Only adds a table, so servers of version 1.0.0 go on working with the database. They do not raise the numbers.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "revisions",
        sa.Column("name", sa.Text(), primary_key=True),
        sa.Column("revision", sa.BigInteger(), nullable=False),
    )


def downgrade() -> None:
    op.drop_table("revisions")
