"""Migrates the database: Alembic without its command line, one process at a time.

Knows where the migrations are and how to keep processes apart; knows no table. Alembic is imported where it is used:
that takes a fifth of a second, and the processes that serve never migrate.
"""

from __future__ import annotations

import fcntl
import io
import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sqlalchemy import URL, Connection, NullPool, event, func, make_url, select

from ollama_proxy.storage.database import (
    Database,
    StorageUnavailable,
    build_engine,
    safe_url,
    sqlite_file,
    storage_errors,
    use_wal,
)

if TYPE_CHECKING:
    from alembic.config import Config
    from alembic.script import ScriptDirectory

LOCK_SECONDS: Final = 30.0
MIGRATIONS: Final = Path(__file__).resolve().parents[2] / "migrations"
# Any number will do, as long as all versions of this program use the same one.
ADVISORY_LOCK: Final = 0x6F6C6C616D61


class NewerDatabase(StorageUnavailable):
    """A newer version has migrated the database. This version can use it all the same: migrations only add."""


@dataclass(frozen=True, slots=True)
class Migration:
    """One migration: its id, the id it follows (None for the first) and what it does."""

    id: str
    follows: str | None
    summary: str


def upgrade(url: str) -> bool:
    """Migrate the database at SQLAlchemy URL `url` to the newest version. Returns True if there was anything to do.

    May be called by any number of processes at once: one works, the others wait at most 30 s. A database that is
    current is only read. A missing SQLite folder is made. Raises StorageUnavailable, and NewerDatabase for one that
    a newer version has migrated further.
    """
    target = make_url(url)
    with storage_errors(target):
        file = sqlite_file(target)
        if file is not None:
            file.parent.mkdir(parents=True, exist_ok=True)
        engine = build_engine(target, poolclass=NullPool, busy_seconds=LOCK_SECONDS, statement_milliseconds=0)
        with engine.connect() as connection, connection.begin():
            if _at_head(connection, target):
                return False
        if file is not None:
            with _file_lock(file, target):
                event.listen(engine, "connect", use_wal)
                with engine.connect().execution_options(writes=True) as connection, connection.begin():
                    return _upgrade_to_head(connection, target)
        with engine.connect() as connection, connection.begin():
            limit = f"{int(LOCK_SECONDS * 1000)}ms"
            connection.execute(select(func.set_config("lock_timeout", limit, True)))
            # Held until the end of this transaction, whatever happens to the process.
            connection.execute(select(func.pg_advisory_xact_lock(ADVISORY_LOCK)))
            return _upgrade_to_head(connection, target)


def current(database: Database) -> str | None:
    """Return the id of the migration the database is at, None before the first. Raises StorageUnavailable."""
    return database.run(_migrated_to)


@lru_cache(maxsize=1)
def head() -> str | None:
    """Return the id of the newest migration this version knows."""
    return _scripts().get_current_head()


def behind_text(database: Database, at: str | None) -> str:
    """What to do about a `database` that is at migration `at`, and not at the newest one."""
    return f"{database.label} is at {at or 'nothing yet'}, not at {head()}: run `ollama-proxy db upgrade`"


def history() -> list[Migration]:
    """Return all migrations, oldest first."""
    found = [Migration(s.revision, _one(s.down_revision), s.doc) for s in _scripts().walk_revisions()]
    return found[::-1]


def _config() -> Config:
    from alembic.config import Config

    config = Config(stdout=io.StringIO())
    # "%" starts an interpolation in Alembic's settings.
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    return config


def _scripts() -> ScriptDirectory:
    from alembic.script import ScriptDirectory

    return ScriptDirectory.from_config(_config())


def _one(revision: str | tuple[str, ...] | list[str] | None) -> str | None:
    return revision if isinstance(revision, str) or revision is None else ", ".join(revision)


def _migrated_to(connection: Connection) -> str | None:
    from alembic.runtime.migration import MigrationContext

    with _quiet():
        return MigrationContext.configure(connection).get_current_revision()


def _at_head(connection: Connection, url: URL) -> bool:
    revision = _migrated_to(connection)
    if revision is not None and revision not in {known.id for known in history()}:
        raise NewerDatabase(
            f"database {safe_url(url)}: a newer version of ollama-proxy has migrated it (revision {revision} is "
            "unknown here); update this program, or give it another DATABASE_URL"
        )
    return revision == head()


def _upgrade_to_head(connection: Connection, url: URL) -> bool:
    from alembic import command
    from alembic.util import CommandError

    # Asked again behind the lock: another process may just have done it.
    if _at_head(connection, url):
        return False
    config = _config()
    config.attributes["connection"] = connection
    try:
        with _quiet():
            command.upgrade(config, "head")
    except CommandError as error:
        raise StorageUnavailable(f"database {safe_url(url)}: {error}") from error
    return True


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Alembic's steps, which it logs at INFO, out of the server's log."""
    logger = logging.getLogger("alembic")
    before = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(before)


@contextmanager
def _file_lock(file: Path, url: URL) -> Iterator[None]:
    # The lock file stays: removing it would let two processes each hold the lock of another file.
    descriptor = os.open(file.with_name(file.name + ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        give_up = time.monotonic() + LOCK_SECONDS
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > give_up:
                    text = f"database {safe_url(url)}: another process has been migrating it for {LOCK_SECONDS:g} s"
                    raise StorageUnavailable(text) from None
                time.sleep(0.05)
        yield
    finally:
        os.close(descriptor)
