"""which kinds of clients have called, and when last

Revision: 0008
Follows: 0007

Only adds a table, so servers of version 1.0.0 go on working with the database. They note no clients.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "clients_seen",
        sa.Column("name", sa.Text(), primary_key=True),
        sa.Column("last_at", sa.Double(), nullable=False),
    )


def downgrade() -> None:
    op.drop_table("clients_seen")
