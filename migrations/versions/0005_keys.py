"""clients' keys, whether keys are required, and who changed what of them

Revision: 0005
Follows: 0004

Only adds tables, so servers of version 1.0.0 go on working with the database. They know no keys but PROXY_API_KEYS.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "api_keys",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("folded", sa.Text(), nullable=False, unique=True),
        sa.Column("sha256", sa.Text(), nullable=False, unique=True),
        sa.Column("prefix", sa.Text(), nullable=False),
        sa.Column("models", sa.Text(), nullable=False),
        sa.Column("free_only", sa.Integer(), nullable=False),
        sa.Column("per_minute", sa.BigInteger()),
        sa.Column("parallel", sa.BigInteger()),
        sa.Column("free_per_day", sa.BigInteger()),
        sa.Column("microusd_per_day", sa.BigInteger()),
        sa.Column("microusd_per_month", sa.BigInteger()),
        sa.Column("expires", sa.Double()),
        sa.Column("disabled", sa.Integer(), nullable=False),
        sa.Column("admin", sa.Integer(), nullable=False),
        sa.Column("metrics", sa.Integer(), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("created", sa.Double(), nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "key_requirement",
        sa.Column("name", sa.Text(), primary_key=True),
        sa.Column("required", sa.Integer(), nullable=False),
    )
    op.create_table(
        "key_events",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("at", sa.Double(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sqlite_autoincrement=True,
    )


def downgrade() -> None:
    for table in ("key_events", "key_requirement", "api_keys"):
        op.drop_table(table)
