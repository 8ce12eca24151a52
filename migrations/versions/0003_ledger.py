"""the ledger: requests, what was used by the hour, requests under way, the account's quota; and leases

Revision: 0003
Follows: 0002

Only adds tables, so servers of the versions before go on working with the database. What they serve is not recorded.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "request_log",
        sa.Column("id", sa.Text(), primary_key=True),
        sa.Column("ended_at", sa.Double(), nullable=False),
        sa.Column("caller", sa.Text(), nullable=False),
        sa.Column("api", sa.Text(), nullable=False),
        sa.Column("route", sa.Text(), nullable=False),
        sa.Column("asked", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=True),
        sa.Column("chain", sa.Text(), nullable=False),
        sa.Column("free_attempts", sa.Integer(), nullable=False),
        sa.Column("first_token_seconds", sa.Double(), nullable=True),
        sa.Column("seconds", sa.Double(), nullable=False),
        sa.Column("prompt_tokens", sa.BigInteger(), nullable=True),
        sa.Column("completion_tokens", sa.BigInteger(), nullable=True),
        sa.Column("cost", sa.BigInteger(), nullable=True),
        sa.Column("status", sa.Integer(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("streamed", sa.Integer(), nullable=False),
        sa.Column("error", sa.Text(), nullable=False),
    )
    op.create_table(
        "usage_hourly",
        sa.Column("hour", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("caller", sa.Text(), primary_key=True),
        sa.Column("model", sa.Text(), primary_key=True),
        sa.Column("requests", sa.Integer(), nullable=False),
        sa.Column("whole", sa.Integer(), nullable=False),
        sa.Column("failed", sa.Integer(), nullable=False),
        sa.Column("broken", sa.Integer(), nullable=False),
        sa.Column("left", sa.Integer(), nullable=False),
        sa.Column("refused", sa.Integer(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("free_attempts", sa.Integer(), nullable=False),
        sa.Column("tokens_in", sa.BigInteger(), nullable=False),
        sa.Column("tokens_out", sa.BigInteger(), nullable=False),
        sa.Column("microusd", sa.BigInteger(), nullable=False),
        sa.Column("first_token_0", sa.Integer(), nullable=False),
        sa.Column("first_token_1", sa.Integer(), nullable=False),
        sa.Column("first_token_2", sa.Integer(), nullable=False),
        sa.Column("first_token_3", sa.Integer(), nullable=False),
        sa.Column("first_token_4", sa.Integer(), nullable=False),
        sa.Column("first_token_5", sa.Integer(), nullable=False),
        sa.Column("first_token_6", sa.Integer(), nullable=False),
        sa.Column("first_token_7", sa.Integer(), nullable=False),
        sa.Column("first_token_8", sa.Integer(), nullable=False),
        sa.Column("first_token_9", sa.Integer(), nullable=False),
        sa.Column("first_token_10", sa.Integer(), nullable=False),
        sa.Column("first_token_11", sa.Integer(), nullable=False),
    )
    op.create_table(
        "attempt_failures_hourly",
        sa.Column("hour", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("model", sa.Text(), primary_key=True),
        sa.Column("blame", sa.Text(), primary_key=True),
        sa.Column("count", sa.Integer(), nullable=False),
    )
    op.create_table(
        "in_flight",
        sa.Column("process", sa.Text(), primary_key=True),
        sa.Column("id", sa.Text(), primary_key=True),
        sa.Column("began_at", sa.Double(), nullable=False),
        sa.Column("seen_at", sa.Double(), nullable=False),
        sa.Column("caller", sa.Text(), nullable=False),
        sa.Column("api", sa.Text(), nullable=False),
        sa.Column("route", sa.Text(), nullable=False),
        sa.Column("asked", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("streamed", sa.Integer(), nullable=False),
    )
    op.create_table(
        "leases",
        sa.Column("name", sa.Text(), primary_key=True),
        sa.Column("holder", sa.Text(), nullable=False),
        sa.Column("until", sa.Double(), nullable=False),
    )
    op.create_table(
        "account",
        sa.Column("name", sa.Text(), primary_key=True),
        sa.Column("key_state", sa.Text(), nullable=False),
        sa.Column("key_state_at", sa.Double(), nullable=False),
        sa.Column("counted_at", sa.Double(), nullable=False),
        sa.Column("free_used", sa.BigInteger(), nullable=True),
        sa.Column("free_limit", sa.BigInteger(), nullable=True),
        sa.Column("sent_then", sa.BigInteger(), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.Column("looked_at", sa.Double(), nullable=False),
    )
    op.create_table(
        "free_attempts",
        sa.Column("seconds", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("begins", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("count", sa.BigInteger(), nullable=False),
    )
    op.create_index("request_log_by_time", "request_log", ["ended_at"])


def downgrade() -> None:
    for table in (
        "free_attempts",
        "account",
        "leases",
        "in_flight",
        "attempt_failures_hourly",
        "usage_hourly",
        "request_log",
    ):
        op.drop_table(table)
