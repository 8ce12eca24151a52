"""Alembic's entry: runs the migrations on the connection it is given, inside that connection's transaction."""

from __future__ import annotations

from alembic import context

from ollama_proxy.storage.tables import all_tables

connection = context.config.attributes.get("connection")
if connection is None:
    raise SystemExit("migrations run through `flask db upgrade` or at the start of the server, not by alembic itself")
# SQLite can hardly alter a table: batch mode copies it.
context.configure(
    connection=connection,
    target_metadata=all_tables(),
    render_as_batch=connection.dialect.name == "sqlite",
)
with context.begin_transaction():
    context.run_migrations()
