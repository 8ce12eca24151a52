"""what each key has used in each window, what its requests hold in reserve, and costs that are not known yet

Revision: 0006
Follows: 0005

Only adds tables, so servers of version 1.0.0 go on working with the database. They know no keys of this kind.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "key_usage",
        sa.Column("key_id", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("period", sa.Text(), primary_key=True),
        sa.Column("requests", sa.BigInteger(), nullable=False),
        sa.Column("free_requests", sa.BigInteger(), nullable=False),
        sa.Column("tokens_in", sa.BigInteger(), nullable=False),
        sa.Column("tokens_out", sa.BigInteger(), nullable=False),
        sa.Column("microusd", sa.BigInteger(), nullable=False),
        sa.Column("estimated", sa.BigInteger(), nullable=False),
    )
    op.create_table(
        "reservations",
        sa.Column("id", sa.Text(), primary_key=True),
        sa.Column("key_id", sa.BigInteger(), nullable=False),
        sa.Column("period", sa.Text(), nullable=False),
        sa.Column("microusd", sa.BigInteger(), nullable=False),
        sa.Column("free", sa.Integer(), nullable=False),
        sa.Column("until", sa.Double(), nullable=False),
    )
    op.create_index("reservations_by_key", "reservations", ["key_id", "until"])
    op.create_table(
        "awaited_costs",
        sa.Column("id", sa.Text(), primary_key=True),
        sa.Column("key_id", sa.BigInteger(), nullable=False),
        sa.Column("period", sa.Text(), nullable=False),
        sa.Column("generation", sa.Text(), nullable=False),
        sa.Column("microusd", sa.BigInteger(), nullable=False),
        sa.Column("due", sa.Double(), nullable=False),
        sa.Column("looked", sa.Integer(), nullable=False),
    )
    op.create_index("awaited_costs_by_due", "awaited_costs", ["due"])


def downgrade() -> None:
    op.drop_table("awaited_costs")
    op.drop_table("reservations")
    op.drop_table("key_usage")
