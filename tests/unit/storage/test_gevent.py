"""The database in a process that gevent has patched: nobody waits for it but the greenlet that asked."""

from __future__ import annotations

import socket
import sqlite3
import subprocess
import sys
from pathlib import Path

from ollama_proxy.storage.database import Database, sqlalchemy_url
from ollama_proxy.storage.migrate import upgrade
from tests.postgres import new_database, postgres_url
from tests.storage_databases import database

__all__ = ["database", "postgres_url"]

ROOT = Path(__file__).parents[3]

GEVENT = """
import gevent.monkey
gevent.monkey.patch_all()
import os, sys, time
import gevent
from ollama_proxy.storage import database
from ollama_proxy.storage.database import Database, StorageUnavailable
from ollama_proxy.storage.failure_table import FailureTable
from ollama_proxy.storage.migrate import upgrade
from tests.storage_databases import record_failure

url = sys.argv[1]
ticks = []

def tick():
    while True:
        ticks.append(time.monotonic())
        gevent.sleep(0.01)

def longest_pause():
    return max(b - a for a, b in zip(ticks, ticks[1:]))

def record(database, model="a/b"):
    return record_failure(database, model, began_at=3, now=2)

ticker = gevent.spawn(tick)
gevent.sleep(0.02)
"""


def gevent_process(url: str, script: str) -> None:
    """Run `script` in a process of its own that gevent has patched first."""
    command = [sys.executable, "-c", GEVENT + script, url]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""


def test_many_greenlets_and_a_fork(database: Database) -> None:
    gevent_process(
        database.url,
        """
upgrade(url)
database = Database(url)
jobs = [gevent.spawn(record, database) for _ in range(30)]
gevent.joinall(jobs, raise_error=True)
assert FailureTable(database).load()[0].count == 30
child = os.fork()
if child == 0:
    record(database)
    os._exit(0)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
assert record(database).count == 32
database.dispose()
assert record(database).count == 33
""",
    )


def test_a_locked_sqlite_stops_nobody(tmp_path: Path) -> None:
    url = sqlalchemy_url("", tmp_path)
    upgrade(url)
    other = sqlite3.connect(tmp_path / "ollama-proxy.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    gevent_process(
        url,
        """
database = Database(url)
began = time.monotonic()
try:
    record(database)
except StorageUnavailable as error:
    assert "locked" in str(error), error
else:
    raise SystemExit("the lock was ignored")
assert time.monotonic() - began > 0.9
gevent.sleep(0.02)
assert longest_pause() < 0.5, longest_pause()
""",
    )
    other.close()


SLOW = """
from sqlalchemy import text
sleep = gevent.monkey.get_original("time", "sleep")
database.TRANSACTION_SECONDS = 0.3
database = Database(url)

def add(connection, seconds=0.0):
    connection.execute(text("INSERT INTO revisions (name, revision) VALUES ('r', 1) "
        "ON CONFLICT (name) DO UPDATE SET revision = revisions.revision + 1"))
    sleep(seconds)

def total():
    return database.run(lambda connection: connection.scalar(text("SELECT revision FROM revisions")))

database.run(add, write=True)
"""


def test_a_sqlite_transaction_that_is_given_up_is_not_committed_behind_our_back(tmp_path: Path) -> None:
    """Whoever hears that it failed makes it again: what it adds would be added twice."""
    url = sqlalchemy_url("", tmp_path)
    upgrade(url)
    gevent_process(
        url,
        SLOW
        + """
try:
    database.run(lambda connection: add(connection, 0.45), write=True)
except StorageUnavailable as error:
    assert "no answer in 0.3 s" in str(error), error
else:
    raise SystemExit("no limit")
assert total() == 1, total()
database.run(add, write=True)
assert total() == 2, total()
job = gevent.spawn(database.run, lambda connection: add(connection, 0.1), write=True)
gevent.sleep(0.05)
job.kill()
assert total() == 2, total()
assert not database.degraded
""",
    )


def test_a_sqlite_transaction_that_is_being_committed_when_its_time_is_up_counts(tmp_path: Path) -> None:
    url = sqlalchemy_url("", tmp_path)
    upgrade(url)
    gevent_process(
        url,
        SLOW
        + """
from sqlalchemy import event

@event.listens_for(database._current().engine, "commit")
def slow_commit(connection):
    sleep(0.45)

database.run(add, write=True)
assert total() == 2, total()
""",
    )


def test_a_killed_greenlet_leaves_the_database_usable(database: Database) -> None:
    gevent_process(
        database.url,
        """
database = Database(url)
for _ in range(20):
    jobs = [gevent.spawn(record, database) for _ in range(3)]
    gevent.sleep(0.001)
    gevent.killall(jobs)
assert record(database).model == "a/b"
assert not database.degraded
""",
    )


def test_a_server_that_never_answers_is_given_up(postgres_url: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"postgresql+psycopg://u@127.0.0.1:{silent.getsockname()[1]}/n"
        gevent_process(
            url,
            """
database.TRANSACTION_SECONDS = 0.3
began = time.monotonic()
try:
    record(Database(url))
except StorageUnavailable as error:
    assert "no answer in 0.3 s" in str(error), error
assert time.monotonic() - began < 2
""",
        )


def test_a_slow_statement_is_cut_off_and_its_session_dropped(postgres_url: str) -> None:
    url = sqlalchemy_url(new_database(postgres_url), "")
    upgrade(url)
    gevent_process(
        url,
        """
database.TRANSACTION_SECONDS = 0.3
from sqlalchemy import func, select
database = Database(url)
for _ in range(12):
    try:
        database.run(lambda connection: connection.execute(select(func.pg_sleep(1.5))))
    except StorageUnavailable as error:
        assert "no answer" in str(error), error
    else:
        raise SystemExit("no limit")
    database.TRANSACTION_SECONDS = 0.05
database.TRANSACTION_SECONDS = 5
assert record(database).count == 1
gevent.sleep(0.02)
assert longest_pause() < 0.5, longest_pause()
""",
    )
