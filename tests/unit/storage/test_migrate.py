"""Migrations: the tables they make, any number of processes at once, databases of other versions."""

from __future__ import annotations

import fcntl
import logging
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, MetaData, Table, make_url, select, text

from ollama_proxy.ops.keys.management import DEFAULTS
from ollama_proxy.storage import migrate
from ollama_proxy.storage.catalog_table import CatalogTable
from ollama_proxy.storage.database import Database, StorageUnavailable, sqlalchemy_url
from ollama_proxy.storage.failure_table import FailureTable
from ollama_proxy.storage.key_table import Event, KeyTable
from ollama_proxy.storage.ledger_table import HourlyUsage, LedgerTable
from ollama_proxy.storage.migrate import current, head, history, upgrade
from ollama_proxy.storage.quota_table import QuotaTable
from ollama_proxy.storage.tables import all_tables
from tests.postgres import new_database, postgres_url
from tests.servers import wait_for
from tests.version_1_0_0 import FAIL, LIMIT, READ, SAVE_LIST, SAVE_MODEL

__all__ = ["postgres_url"]

ROOT = Path(__file__).parents[3]

#: What a server of this version adds to an hour's sums.
USED = HourlyUsage(7200, "key 1", "a/b:free", requests=1)


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a database without any table."""
    if request.param == "sqlite":
        return sqlalchemy_url("", tmp_path / "instance")
    return sqlalchemy_url(new_database(request.getfixturevalue("postgres_url")), tmp_path)


def migrate_to(url: str, revision: str) -> None:
    """Make the tables of an older version."""
    if url.startswith("sqlite"):
        Path(str(make_url(url).database)).parent.mkdir(parents=True)

    def run(connection: Connection) -> None:
        config = migrate._config()
        config.attributes["connection"] = connection
        command.upgrade(config, revision)

    database = Database(url)
    database.run(run, write=True)
    database.dispose()


def test_upgrade_makes_the_tables_once(empty_url: str) -> None:
    database = Database(empty_url)
    assert upgrade(empty_url) is True
    assert upgrade(empty_url) is False
    assert current(database) == head() == history()[-1].id
    assert FailureTable(database).load() == []
    database.dispose()


def test_a_migration_s_file_its_docstring_and_its_id_agree() -> None:
    """They are written by hand, and several branches may add one at a time: the file's number is what people see."""
    scripts = sorted(migrate._scripts().walk_revisions(), key=lambda script: script.revision)
    assert len(scripts) > 7
    for script, before in zip(scripts, ["nothing", *(script.revision for script in scripts)], strict=False):
        assert (script.down_revision or "nothing") == before
        assert Path(script.path).name.startswith(f"{script.revision}_"), script.path
        said = [line for line in script.longdoc.splitlines() if line.startswith(("Revision:", "Follows:"))]
        assert said == [f"Revision: {script.revision}", f"Follows: {before}"], script.path


def test_the_migrations_make_what_the_tables_say(empty_url: str) -> None:
    upgrade(empty_url)
    database = Database(empty_url)
    options = {"compare_type": True, "compare_server_default": True}
    context = lambda connection: MigrationContext.configure(connection, opts=options)  # noqa: E731
    assert database.run(lambda connection: compare_metadata(context(connection), all_tables())) == []
    database.dispose()


def test_a_filled_database_of_version_1_0_0_is_migrated_while_a_server_of_that_version_works(empty_url: str) -> None:
    """Migrations only add, so that servers can be replaced one after the other (docs/development.md, "Database")."""
    migrate_to(empty_url, "0001")
    old, over = Database(empty_url), threading.Event()
    now = 1_800_000_000.0

    def transaction(connection: Connection, number: int) -> None:
        values = {"model": f"m/{number % 7}", "now": now + number}
        for statement in (FAIL, LIMIT, SAVE_LIST, SAVE_MODEL, READ):
            connection.execute(text(statement), values)

    def serve() -> int:
        numbers = iter(range(1_000_000))
        while not over.is_set():
            old.run(partial(transaction, number=next(numbers)), write=True)
        return next(numbers)

    with ThreadPoolExecutor(1) as server:
        served = server.submit(serve)
        try:
            wait_for(lambda: FailureTable(old).load(), what="it is filled")
            assert upgrade(empty_url) is True
            revision = CatalogTable(old).revision()
            for number in range(10):
                values = {**DEFAULTS, "name": "k", "folded": f"k{number}", "sha256": f"{number}", "prefix": ""}
                KeyTable(old).add({**values, "created": 1.0}, Event(1.0, "command line", "", "added", "k"))
                old.run(LedgerTable(old).record([], usage=lambda _: [USED], failures=[]), write=True)
                old.run(QuotaTable(old).write({"free_used": 3}, {(60, 60): 1}), write=True)
            wait_for(lambda: CatalogTable(old).revision() > revision + 10, what="it goes on")
        finally:
            over.set()
        transactions = served.result()  # raises what one of them has raised
    assert current(old) == head()
    assert [row.requests for row in LedgerTable(old).usage(0)] == [10], "beside it, a server of this version works"
    assert QuotaTable(old).load([(60, 60)])[1] == {(60, 60): 10}
    assert sum(row.count for row in FailureTable(old).load()) == transactions
    assert [row.reason for row in FailureTable(old).limits()] == ["per minute"]
    stored = CatalogTable(old).load()
    assert stored is not None
    assert (stored.chat, stored.revision) == ([{"id": "a/b:free"}], transactions)
    old.dispose()


def test_the_way_back_leaves_no_table(empty_url: str) -> None:
    upgrade(empty_url)
    database = Database(empty_url)

    def downgrade(connection: object) -> None:
        config = migrate._config()
        config.attributes["connection"] = connection
        command.downgrade(config, "base")

    database.run(downgrade, write=True)
    assert current(database) is None
    assert upgrade(empty_url) is True
    database.dispose()


def test_four_processes_at_once(empty_url: str) -> None:
    script = """
import sys
from ollama_proxy.storage.migrate import upgrade
print("ready", flush=True)
sys.stdin.readline()
print(upgrade(sys.argv[1]))
"""
    command_line = [sys.executable, "-c", script, empty_url]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    processes = [subprocess.Popen(command_line, cwd=ROOT, text=True, **pipes) for _ in range(4)]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    ends = [process.communicate(timeout=30) for process in processes]
    assert sorted(output for output, _ in ends) == ["False\n"] * 3 + ["True\n"], ends
    assert [errors for _, errors in ends] == [""] * 4
    database = Database(empty_url)
    assert current(database) == head()
    database.dispose()


def test_in_a_process_that_gevent_has_patched(empty_url: str) -> None:
    script = """
import gevent.monkey
gevent.monkey.patch_all()
import sys
from ollama_proxy.storage.migrate import upgrade
assert upgrade(sys.argv[1])
"""
    done = subprocess.run([sys.executable, "-c", script, empty_url], cwd=ROOT, capture_output=True, timeout=30)
    assert (done.returncode, done.stderr) == (0, b"")


def test_a_database_of_a_newer_version_is_refused_in_words(empty_url: str) -> None:
    upgrade(empty_url)
    database = Database(empty_url)
    version = database.run(lambda connection: Table("alembic_version", MetaData(), autoload_with=connection))
    database.run(lambda connection: connection.execute(version.update().values(version_num="9999")), write=True)
    with pytest.raises(migrate.NewerDatabase, match=r"newer version .* \(revision 9999 is unknown here\)"):
        upgrade(empty_url)
    assert database.run(lambda connection: connection.execute(select(version)).all()) == [("9999",)]
    database.dispose()


def test_a_current_sqlite_file_is_not_written(tmp_path: Path) -> None:
    url = sqlalchemy_url("", tmp_path)
    upgrade(url)
    file, lock = tmp_path / "ollama-proxy.db", tmp_path / "ollama-proxy.db.lock"
    before = (file.read_bytes(), file.stat().st_mtime_ns)
    lock.unlink()
    assert upgrade(url) is False
    assert (file.read_bytes(), file.stat().st_mtime_ns) == before
    assert not lock.exists(), "a database that is current needs no lock"


def test_an_upgrade_that_breaks_off_leaves_nothing_half_done(empty_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from alembic import op

    made: list[str] = []
    original = op.create_table

    def breaks(name: str, *columns: object) -> object:
        made.append(name)
        if len(made) == 3:
            raise OSError("disk full")
        return original(name, *columns)

    monkeypatch.setattr(op, "create_table", breaks)
    with pytest.raises(StorageUnavailable, match="disk full"):
        upgrade(empty_url)
    monkeypatch.undo()
    assert upgrade(empty_url) is True


@pytest.mark.parametrize("blocked", ["folder is a file", "lock is a folder"])
def test_a_place_that_cannot_be_written_is_storage_unavailable(tmp_path: Path, blocked: str) -> None:
    folder = tmp_path / "instance"
    if blocked == "folder is a file":
        folder.write_text("")
    else:
        (folder / "ollama-proxy.db.lock").mkdir(parents=True)
    with pytest.raises(StorageUnavailable, match=r"ollama-proxy\.db"):
        upgrade(sqlalchemy_url("", folder))


def test_a_migration_that_never_ends_elsewhere_is_waited_for_only_so_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migrate, "LOCK_SECONDS", 0.1)
    with (tmp_path / "ollama-proxy.db.lock").open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(StorageUnavailable, match="another process"):
            upgrade(sqlalchemy_url("", tmp_path))


def test_postgresql_waits_only_so_long_for_the_lock(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from sqlalchemy import func

    url = sqlalchemy_url(new_database(postgres_url), "")
    monkeypatch.setattr(migrate, "LOCK_SECONDS", 0.1)
    other = Database(url)

    def while_locked(connection: object) -> None:
        connection.execute(select(func.pg_advisory_xact_lock(migrate.ADVISORY_LOCK)))  # type: ignore[attr-defined]
        with pytest.raises(StorageUnavailable, match="lock timeout"):
            upgrade(url)

    other.run(while_locked)
    assert upgrade(url) is True
    other.dispose()


def test_alembic_says_nothing_in_the_log(empty_url: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        upgrade(empty_url)
    assert caplog.records == []


def test_history_is_one_line_from_the_first_to_the_newest() -> None:
    found = history()
    assert found[0].follows is None
    assert [r.follows for r in found[1:]] == [r.id for r in found[:-1]]
    assert all(r.summary for r in found)
