"""What a server of version 1.0.0 does to a database that newer servers share: its statements, shortened, as SQL.

It knows no table `revisions`. The statements are the same for SQLite and PostgreSQL.
"""

from __future__ import annotations

#: A failure that counts (parameters: model, now), as one statement.
FAIL = """
INSERT INTO model_failures AS old (model, blame, count, failed_at, until, reason, record_digest)
VALUES (:model, 'model failing', 1, :now, :now + 300, '502', NULL)
ON CONFLICT (model) DO UPDATE SET count = old.count + 1, failed_at = :now, until = :now + 300 * (old.count + 1)
"""

#: A limit of the account (parameters: now).
LIMIT = """
INSERT INTO account_limits (scope, until, reason, message, updated_at, status)
VALUES ('free', :now + 60, 'per minute', 'message', :now, 429)
ON CONFLICT (scope) DO UPDATE SET until = :now + 60, updated_at = :now
"""

#: The model list, with one model that costs nothing (parameters: now).
SAVE_MODEL = """
INSERT INTO catalog_models (id, kind, position, record) VALUES ('a/b:free', 'chat', 0, '{"id": "a/b:free"}')
ON CONFLICT (id, kind) DO UPDATE SET position = 0
"""
SAVE_LIST = """
INSERT INTO catalog_state AS old (name, fetched_at, source, lease_holder, lease_until, revision)
VALUES ('models', :now, '/models', '', 0, 1)
ON CONFLICT (name) DO UPDATE SET fetched_at = :now, revision = old.revision + 1
"""

#: What it reads.
READ = "SELECT model, blame, count, failed_at, until, reason, record_digest FROM model_failures ORDER BY model"
