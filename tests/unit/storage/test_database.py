"""One transaction at a time, every error as StorageUnavailable, and the process that goes on whatever happens."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import make_url, select

from ollama_proxy.storage.database import Database, StatementRefused, StorageUnavailable, sqlalchemy_url
from ollama_proxy.storage.failure_table import MODEL_FAILURES, FailureTable
from ollama_proxy.storage.migrate import upgrade
from tests.postgres import new_database, postgres_url
from tests.storage_databases import database, record_failure

__all__ = ["database", "postgres_url"]


def record(found: Database, model: str = "a/b") -> None:
    record_failure(found, model, began_at=1, now=2)


@pytest.mark.parametrize(
    ("text", "url"),
    [
        pytest.param("", "sqlite:////srv/instance/ollama-proxy.db", id="nothing: a file in the instance folder"),
        pytest.param("  ", "sqlite:////srv/instance/ollama-proxy.db", id="blanks: the same"),
        pytest.param("sqlite:///some/file.db", "sqlite:///some/file.db", id="relative SQLite path"),
        pytest.param("sqlite:////some/file.db", "sqlite:////some/file.db", id="absolute SQLite path"),
        pytest.param("postgres://u:p@h:5/n", "postgresql+psycopg://u:p@h:5/n", id="postgres:// is psycopg 3"),
        pytest.param(
            "postgresql://u:p@h/n?sslmode=require", "postgresql+psycopg://u:p@h/n?sslmode=require", id="query"
        ),
        pytest.param("postgresql://u:p%40%2F@h/n", "postgresql+psycopg://u:p%40%2F@h/n", id="escaped password"),
        pytest.param("postgresql+psycopg://u@h/n", "postgresql+psycopg://u@h/n", id="already named"),
    ],
)
def test_sqlalchemy_url(text: str, url: str) -> None:
    assert sqlalchemy_url(text, "/srv/instance") == url


@pytest.mark.parametrize(
    "text", ["mysql://u:geheim@h/n", "geheim", "sqlite://", "sqlite:///:memory:", "postgres://h:geheim/"]
)
def test_other_urls_are_refused_without_repeating_them(text: str) -> None:
    with pytest.raises(ValueError, match="allowed: sqlite:///") as caught:
        sqlalchemy_url(text, "/srv/instance")
    assert "geheim" not in str(caught.value)


def test_an_instance_folder_with_odd_characters(tmp_path: Path) -> None:
    folder = tmp_path / "my files %20 ?#ö"
    url = sqlalchemy_url("", folder)
    upgrade(url)
    record(Database(url))
    assert (folder / "ollama-proxy.db").stat().st_size > 0


def test_nothing_is_opened_before_the_first_transaction(tmp_path: Path) -> None:
    Database(f"sqlite:///{tmp_path}/a.db")
    assert list(tmp_path.iterdir()) == []


def test_an_error_rolls_the_whole_transaction_back(database: Database) -> None:
    def fails(connection: Any) -> None:
        connection.execute(
            MODEL_FAILURES.insert().values(model="a", blame="", count=1, failed_at=1, until=1, reason="")
        )
        raise LookupError("not the database's fault")

    with pytest.raises(LookupError):
        database.run(fails, write=True)
    assert database.run(lambda connection: connection.execute(select(MODEL_FAILURES)).all()) == []


def test_sqlite_uses_wal_and_waits_for_locks(tmp_path: Path) -> None:
    url = sqlalchemy_url("", tmp_path)
    upgrade(url)

    def pragmas(connection: Any) -> list[Any]:
        names = ("journal_mode", "synchronous", "busy_timeout", "foreign_keys")
        return [connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in names]

    assert Database(url).run(pragmas) == ["wal", 1, 1000, 1]


def test_a_reader_is_not_stopped_by_a_writer(tmp_path: Path) -> None:
    url = sqlalchemy_url("", tmp_path)
    upgrade(url)
    writer = sqlite3.connect(tmp_path / "ollama-proxy.db", isolation_level=None)
    writer.execute("BEGIN IMMEDIATE")
    assert FailureTable(Database(url)).load() == []
    writer.close()


def _read_only(folder: Path) -> str:
    upgrade(sqlalchemy_url("", folder))
    return f"sqlite:///file:{folder}/ollama-proxy.db?mode=ro&uri=true"


def _directory(folder: Path) -> str:
    (folder / "ollama-proxy.db").mkdir()
    return sqlalchemy_url("", folder)


def _corrupt(folder: Path) -> str:
    (folder / "ollama-proxy.db").write_bytes(b"this is no database " * 500)
    return sqlalchemy_url("", folder)


@pytest.mark.parametrize(
    ("prepare", "words"),
    [
        pytest.param(_read_only, "readonly", id="read-only file"),
        pytest.param(_directory, "unable to open", id="a folder in its place"),
        pytest.param(_corrupt, "not a database", id="damaged file"),
        pytest.param(lambda folder: sqlalchemy_url("", folder), "no such table", id="not migrated"),
        pytest.param(lambda folder: sqlalchemy_url("", folder / "missing"), "unable to open", id="no folder"),
        pytest.param(lambda _: "postgresql+psycopg://u:geheim@127.0.0.1:1/n", "refused", id="PostgreSQL is away"),
        pytest.param(lambda _: "postgresql+pg8000://u:geheim@127.0.0.1:1/n", "pg8000", id="driver not installed"),
    ],
)
def test_whatever_goes_wrong_is_storage_unavailable(prepare: Callable[[Path], str], words: str, tmp_path: Path) -> None:
    found = Database(prepare(tmp_path))
    with pytest.raises(StorageUnavailable, match=words) as caught:
        record(found)
    text = str(caught.value)
    assert caught.value.__cause__ is not None
    assert "\n" not in text
    assert "geheim" not in text
    assert "INSERT" not in text


def test_a_full_disk_is_storage_unavailable(tmp_path: Path) -> None:
    url = sqlalchemy_url("", tmp_path)
    upgrade(url)
    found = Database(url)
    pages = found.run(lambda connection: connection.exec_driver_sql("PRAGMA page_count").scalar())
    found.run(lambda connection: connection.exec_driver_sql(f"PRAGMA max_page_count={pages}").scalar())
    with pytest.raises(StorageUnavailable, match="full"):
        record(found, "a model name that needs pages of its own" * 1000)


@pytest.mark.parametrize(
    "values",
    [
        pytest.param({"model": None}, id="a rule of the table"),
        pytest.param({"reason": "half of a pair \ud800"}, id="text that is no Unicode"),
        pytest.param({"count": 2**63}, id="a number of more than 64 bits"),
    ],
)
def test_what_the_database_cannot_hold_is_refused_and_the_database_is_not_away(
    database: Database, values: dict[str, Any]
) -> None:
    row = {"model": "a", "blame": "", "count": 1, "failed_at": 1, "until": 1, "reason": ""} | values
    with pytest.raises(StatementRefused):
        database.run(lambda connection: connection.execute(MODEL_FAILURES.insert().values(row)), write=True)
    assert not database.degraded


def test_a_read_only_database_can_still_be_read(tmp_path: Path) -> None:
    url = sqlalchemy_url("", tmp_path)
    upgrade(url)
    writer = Database(url)
    record(writer)
    found = Database(_read_only(tmp_path))
    assert [row.model for row in FailureTable(found).load()] == ["a/b"]


def test_one_warning_until_the_database_is_back(tmp_path: Path) -> None:
    folder = tmp_path / "later"
    warnings: list[str] = []
    found = Database(sqlalchemy_url("", folder), on_warning=warnings.append)
    for _ in range(3):
        with pytest.raises(StorageUnavailable):
            record(found)
    assert len(warnings) == 1
    assert found.degraded
    upgrade(found.url)
    record(found)
    assert not found.degraded
    shutil.rmtree(folder)
    found.dispose()
    with pytest.raises(StorageUnavailable):
        record(found)
    assert len(warnings) == 2


def test_reading_and_writing_that_fail_alike_are_one_warning(tmp_path: Path) -> None:
    warnings: list[str] = []
    found = Database(sqlalchemy_url("", tmp_path / "none"), on_warning=warnings.append)
    with pytest.raises(StorageUnavailable):
        FailureTable(found).load()
    with pytest.raises(StorageUnavailable):
        record(found)
    assert len(warnings) == 1


def test_a_read_that_works_does_not_hide_that_writing_fails(tmp_path: Path) -> None:
    warnings: list[str] = []
    found = Database(_read_only(tmp_path), on_warning=warnings.append)
    for _ in range(2):
        with pytest.raises(StorageUnavailable):
            record(found)
        FailureTable(found).load()
    assert found.degraded
    assert len(warnings) == 1


def test_postgresql_time_limits(postgres_url: str) -> None:
    url = sqlalchemy_url(postgres_url + "?options=-c%20work_mem%3D1234kB", "")
    found = Database(url)

    def settings(connection: Any) -> list[Any]:
        return [connection.exec_driver_sql(f"SHOW {name}").scalar() for name in ("statement_timeout", "work_mem")]

    assert found.run(settings) == ["2s", "1234kB"], "our limit is added to the options of the URL"
    found.dispose()


def test_postgresql_text_without_password(postgres_url: str) -> None:
    url = make_url(postgres_url).set(username="nobody", password="geheim")
    with pytest.raises(StorageUnavailable, match=r"127\.0\.0\.1") as caught:
        record(Database(sqlalchemy_url(url.render_as_string(hide_password=False), "")))
    assert "geheim" not in str(caught.value)


def test_postgresql_sessions_that_were_ended_are_replaced(postgres_url: str) -> None:
    fresh = new_database(postgres_url)
    url = sqlalchemy_url(fresh, "")
    upgrade(url)
    found = Database(url)
    record(found)
    with psycopg.connect(postgres_url, autocommit=True) as admin:
        admin.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [make_url(fresh).database]
        )
    record(found)
    found.dispose()


def test_a_fork_opens_its_own_connections(database: Database) -> None:
    record(database)
    child = os.fork()
    if child == 0:
        try:
            record(database, "child")
            os._exit(0)
        except BaseException:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    record(database, "parent")
    assert [row.model for row in FailureTable(database).load()] == ["a/b", "child", "parent"]
