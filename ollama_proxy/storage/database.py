"""Runs a function as one transaction, in SQLite or PostgreSQL.

Knows both databases, their time limits and how each works under gevent; knows nothing of what is stored. Nothing is
opened before the first transaction of a process, so a fork never shares a connection.
"""

from __future__ import annotations

import os
import sqlite3
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar, cast

from sqlalchemy import URL, Connection, Engine, Pool, QueuePool, create_engine, event, make_url
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, SQLAlchemyError
from sqlalchemy.sql import Insert

T = TypeVar("T")

SQLITE_BUSY_SECONDS: Final = 1.0
CONNECT_SECONDS: Final = 3
POOL_SECONDS: Final = 2.0
STATEMENT_MILLISECONDS: Final = 2000
# For a server that stops answering in the middle of a statement: it cannot keep a time limit itself.
TRANSACTION_SECONDS: Final = 5.0
# After a failure, background work leaves the database alone for so long: connecting to a dead one costs seconds.
REST_SECONDS: Final = 3.0

_ALLOWED: Final = "sqlite:///file.db or postgresql://user:password@host/name"


class StorageUnavailable(Exception):
    """The database is away, locked, full, read-only, damaged or not migrated. Its text is one line without a password.

    The caller goes on from memory (docs/contract.md, "Failures").
    """


class StatementRefused(StorageUnavailable):
    """The database works but will always refuse this write: it cannot hold a value, or a table's rule forbids it."""


def sqlalchemy_url(text: str, instance_path: str | Path) -> str:
    """Return the SQLAlchemy form of DATABASE_URL.

    Empty means a SQLite file in the instance folder; `postgres://` and `postgresql://` mean psycopg 3. A relative
    SQLite path counts from the working directory. Raises ValueError, with what is allowed and without the value.
    """
    if not text.strip():
        return URL.create("sqlite", database=str(Path(instance_path) / "ollama-proxy.db")).render_as_string()
    try:
        url = make_url(text.strip())
    except (SQLAlchemyError, ValueError):
        raise ValueError(f"allowed: {_ALLOWED}") from None
    if url.drivername in ("postgres", "postgresql"):
        url = url.set(drivername="postgresql+psycopg")
    # A database in memory would be a different one in each process.
    in_memory = url.database in (None, "", ":memory:")
    if url.get_backend_name() != "postgresql" and (url.get_backend_name() != "sqlite" or in_memory):
        raise ValueError(f"allowed: {_ALLOWED}")
    return url.render_as_string(hide_password=False)


def safe_url(url: URL) -> str:
    """Return the address for logs and error texts: without user, password and query."""
    return url.set(username=None, password=None, query={}).render_as_string()


def sqlite_file(url: URL) -> Path | None:
    """Return the database file (of a `file:` URI its path), None for PostgreSQL."""
    if url.get_backend_name() != "sqlite" or not url.database:
        return None
    return Path(url.database.removeprefix("file:"))


@contextmanager
def storage_errors(url: URL) -> Iterator[None]:
    """Turn every error of SQLAlchemy, the driver or the file system into StorageUnavailable, cause chained."""
    try:
        yield
    # Of the last two, the first is text with half a surrogate pair, the second a number of more than 64 bits.
    except (DataError, IntegrityError, UnicodeError, OverflowError) as error:
        raise StatementRefused(f"database {safe_url(url)}: {_one_line(error, url)}") from error
    # ImportError: the URL names a driver that is not installed.
    except (SQLAlchemyError, sqlite3.Error, OSError, ImportError) as error:
        raise StorageUnavailable(f"database {safe_url(url)}: {_one_line(error, url)}") from error


def _one_line(error: BaseException, url: URL) -> str:
    # The driver's own words: SQLAlchemy's add the statement and its parameters.
    source = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    text = " ".join(str(source).split()) or type(source).__name__
    if url.password:
        text = text.replace(str(url.password), "***")
    return text[:300]


def build_engine(
    url: URL,
    *,
    poolclass: type[Pool] = QueuePool,
    busy_seconds: float = SQLITE_BUSY_SECONDS,
    statement_milliseconds: int = STATEMENT_MILLISECONDS,
) -> Engine:
    """Make an engine with this project's time limits. It opens no connection yet."""
    sized = poolclass is QueuePool
    if url.get_backend_name() == "sqlite":
        # One connection is enough: transactions of a process run one after the other.
        pool_options: dict[str, Any] = {"pool_size": 1, "max_overflow": 0} if sized else {}
        connect_args: dict[str, Any] = {"timeout": busy_seconds, "check_same_thread": False}
        engine = create_engine(url, poolclass=poolclass, connect_args=connect_args, **pool_options)
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        return engine
    pool_options = {"pool_size": 5, "max_overflow": 5, "pool_timeout": POOL_SECONDS} if sized else {}
    given = url.query.get("options", "")
    options = given if isinstance(given, str) else " ".join(given)
    connect_args = {
        "connect_timeout": CONNECT_SECONDS,
        "options": f"{options} -c statement_timeout={statement_milliseconds}".strip(),
        "tcp_user_timeout": int(TRANSACTION_SECONDS * 1000),
        # Prepared statements break behind a pooler that hands every transaction another session.
        "prepare_threshold": None,
    }
    return create_engine(url, poolclass=poolclass, pool_pre_ping=True, connect_args=connect_args, **pool_options)


def _prepare_sqlite(connection: sqlite3.Connection, _record: object) -> None:
    # The driver's own implicit BEGIN leaves schema changes outside the transaction; `_begin_sqlite` does it instead.
    connection.isolation_level = None
    connection.execute("PRAGMA foreign_keys=ON")
    connection.execute("PRAGMA synchronous=NORMAL")


def _begin_sqlite(connection: Connection) -> None:
    # Without it, a transaction that reads first and then writes fails at once when there is another writer.
    writes = connection.get_execution_options().get("writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def use_wal(connection: sqlite3.Connection, _record: object) -> None:
    """Switch the file to WAL, so that readers and a writer work side by side. The file keeps this."""
    # It is asked first: setting it again would need a lock that readers hold.
    if connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
        connection.execute("PRAGMA journal_mode=WAL")


def upsert(connection: Connection, table: Any) -> Any:
    """Return the dialect's INSERT, which has `on_conflict_do_update` in both databases."""
    insert: Insert
    if connection.dialect.name == "postgresql":
        from sqlalchemy.dialects.postgresql import insert as postgresql_insert

        insert = postgresql_insert(table)
    else:
        from sqlalchemy.dialects.sqlite import insert as sqlite_insert

        insert = sqlite_insert(table)
    return insert


def _patched_by_gevent() -> bool:
    # gevent is not imported here: the command line and most tests do without. While another thread is importing it,
    # its functions may be missing; then it has patched nothing yet.
    is_patched = getattr(sys.modules.get("gevent.monkey"), "is_module_patched", None)
    return is_patched is not None and bool(is_patched("threading"))


@dataclass(frozen=True, slots=True)
class _Process:
    """What belongs to one process: the engine, and for SQLite what keeps its transactions one after the other."""

    pid: int
    engine: Engine
    lock: AbstractContextManager[object]
    native: Any = None  # gevent's thread pool of one thread


class Database:
    """One database. Safe to share between threads, greenlets and forked processes.

    `on_warning` gets one line when the database goes away, and nothing more until it has come back.
    """

    def __init__(self, url: str, *, on_warning: Callable[[str], None] | None = None) -> None:
        self._url = make_url(url)
        self._on_warning = on_warning
        self._process: _Process | None = None
        self._starting = threading.Lock()
        # Kept so that they are never closed: an inherited connection belongs to the parent process.
        self._inherited: list[_Process] = []
        self._failing: set[bool] = set()

    @property
    def url(self) -> str:
        """The SQLAlchemy URL, password included: not for logs (see `label`)."""
        return self._url.render_as_string(hide_password=False)

    @property
    def label(self) -> str:
        """The address for logs: no user, no password."""
        return safe_url(self._url)

    @property
    def dialect(self) -> str:
        """`sqlite` or `postgresql`."""
        return self._url.get_backend_name()

    @property
    def is_missing(self) -> bool:
        """True if it is a SQLite file, and nothing of that name is there. One `lstat`.

        False where that is not certain: for PostgreSQL, a `file:` URI, a folder that may not be read, and a link that
        leads nowhere, as to a disk that is not mounted.
        """
        file = sqlite_file(self._url)
        if file is None or str(self._url.database).startswith("file:"):
            return False
        try:
            file.lstat()
        except (FileNotFoundError, NotADirectoryError):
            return True
        except OSError:
            pass
        return False

    @property
    def degraded(self) -> bool:
        """True if the last read or the last write failed. For readiness; costs nothing."""
        return bool(self._failing)

    def run(self, fn: Callable[[Connection], T], *, write: bool = False) -> T:
        """Run `fn(connection)` as one transaction: committed when it returns, rolled back when it raises.

        With `write` a SQLite transaction takes the write lock at its start. Under gevent the whole of a SQLite
        transaction runs in one native thread, so `fn` must neither use gevent nor call `run`: a greenlet that yielded
        while it holds SQLite's write lock would let another's busy wait stop the process.
        A SQLite transaction whose time is up, or whose greenlet is ended, is rolled back: it can be made again.
        Raises StorageUnavailable for whatever the database does wrong, StatementRefused (one kind of it) if the
        database is well but cannot hold what `fn` gives it.
        """
        try:
            with storage_errors(self._url), self._deadline() as limit:
                process = self._current()
                if process.native is None:
                    result = _transaction(process, fn, write)
                else:
                    result = _in_native_thread(process, fn, write, limit)
        except StatementRefused:
            raise
        except StorageUnavailable as error:
            self._warn(write, str(error))
            raise
        if self._failing:
            # A database that can be read may still refuse to be written.
            self._failing -= {write, False}
        return result

    def dispose(self) -> None:
        """Close this process's connections. The next `run` opens new ones."""
        process, self._process = self._process, None
        if process is None:
            return
        if process.pid != os.getpid():
            self._inherited.append(process)
        elif process.native is None:
            process.engine.dispose()
        else:
            process.native.spawn(_caught, process.engine.dispose).get()
            process.native.kill()

    def _current(self) -> _Process:
        process = self._process
        if process is not None and process.pid == os.getpid():
            return process
        with self._starting:
            process = self._process
            if process is not None and process.pid != os.getpid():
                self._inherited.append(process)
                process = None
            if process is None:
                process = self._process = _start(self._url)
        return process

    def _warn(self, write: bool, text: str) -> None:
        known = bool(self._failing)
        self._failing.add(write)
        if not known and self._on_warning is not None:
            self._on_warning(text)

    @contextmanager
    def _deadline(self) -> Iterator[BaseException | None]:
        if not _patched_by_gevent():
            yield None
            return
        from gevent import Timeout

        # gevent's Timeout is a BaseException, so SQLAlchemy drops the connection: nobody knows its state.
        limit = Timeout(TRANSACTION_SECONDS)
        try:
            with limit:
                yield limit
        except Timeout as expired:
            if expired is not limit:
                raise
            raise StorageUnavailable(f"database {self.label}: no answer in {TRANSACTION_SECONDS:g} s") from expired


def _start(url: URL) -> _Process:
    if url.get_backend_name() != "sqlite":
        return _Process(os.getpid(), build_engine(url), nullcontext())
    engine = build_engine(url)
    event.listen(engine, "connect", use_wal)
    if not _patched_by_gevent():
        return _Process(os.getpid(), engine, threading.Lock())
    from gevent.threadpool import ThreadPool

    return _Process(os.getpid(), engine, nullcontext(), ThreadPool(1))


class _Abandoned(Exception):
    """Nobody waits for this transaction any more: it is rolled back."""


def _in_native_thread(process: _Process, fn: Callable[[Connection], T], write: bool, limit: BaseException | None) -> T:
    """Run the transaction in the native thread. `limit` is what is raised in this greenlet when the time is up.

    Either the thread commits and the outcome is returned, or nothing is committed: whoever is first takes the only item
    of a list, which is atomic also between a greenlet and a native thread. Else what is given up here could be
    committed there all the same, and be made a second time.
    """
    from gevent import Timeout

    last_word = [True]
    running = process.native.spawn(_caught, _transaction, process, fn, write, last_word)
    try:
        pair = running.get()
    except BaseException as stopped:
        if _took(last_word) or stopped is not limit:
            raise
        # It is being committed: that takes milliseconds.
        try:
            pair = running.get(timeout=TRANSACTION_SECONDS)
        except Timeout:
            raise stopped from None
    return cast(T, _outcome(pair))


def _took(last_word: list[bool]) -> bool:
    try:
        return last_word.pop()
    except IndexError:
        return False


def _transaction(
    process: _Process, fn: Callable[[Connection], T], write: bool, last_word: list[bool] | None = None
) -> T:
    with process.lock:
        try:
            with process.engine.connect() as connection:
                if write:
                    connection.execution_options(writes=True)
                with connection.begin():
                    result = fn(connection)
                    if last_word is not None and not _took(last_word):
                        raise _Abandoned
                    return result
        except (SQLAlchemyError, sqlite3.Error):
            if process.engine.dialect.name == "sqlite":
                # The file may have been replaced or moved: the next transaction opens what is there then.
                process.engine.dispose()
            raise


def _caught(fn: Callable[..., T], *args: Any) -> tuple[T | None, BaseException | None]:
    # An error that leaves the pool's thread would be printed by gevent as if nobody handled it.
    try:
        return fn(*args), None
    except BaseException as error:  # noqa: BLE001
        return None, error


def _outcome(pair: tuple[Any, BaseException | None]) -> Any:
    result, error = pair
    if error is not None:
        raise error
    return result
