"""A PostgreSQL of one test's own, which can be killed: the fixture `postgres`.

`from tests.own_postgres import postgres` in a test module brings it in. Others take tests/postgres.py.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.postgres import binaries
from tests.servers import PATIENCE, free_port, wait_for


class Postgres:
    """A PostgreSQL of one test's own, which can be killed and started again."""

    def __init__(self) -> None:
        programs = binaries()
        if programs is None:
            pytest.skip("no PostgreSQL server programs (Debian: postgresql)")
        self._programs = programs
        self._home = Path(tempfile.mkdtemp(prefix="pg-"))
        self._account: dict[str, Any] = {}
        if os.geteuid() == 0:  # initdb refuses root
            owner = pwd.getpwnam("postgres")
            self._account = {"user": owner.pw_uid, "group": owner.pw_gid, "extra_groups": []}
            os.chown(self._home, owner.pw_uid, owner.pw_gid)
        self._port = free_port()
        self.url = f"postgresql://postgres@127.0.0.1:{self._port}/postgres"
        initdb = [programs / "initdb", "-D", self._home / "data", "-U", "postgres", "-A", "trust", "--no-sync"]
        subprocess.run(initdb, cwd=self._home, check=True, capture_output=True, **self._account)
        self.start()

    def start(self) -> None:
        """Start it, and wait until it answers."""
        command = [self._programs / "postgres", "-D", self._home / "data", "-h", "127.0.0.1", "-p", str(self._port)]
        command += ["-k", self._home, "-F"]
        self._server = subprocess.Popen(command, cwd=self._home, stdout=-3, stderr=-3, **self._account)
        wait_for(self._answers, what="PostgreSQL answers")

    def _answers(self) -> bool:
        try:
            psycopg.connect(self.url, connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    def ask(self, query: str) -> list[tuple[Any, ...]]:
        """The rows of a query."""
        with psycopg.connect(self.url) as connection:
            return connection.execute(query.encode()).fetchall()

    def kill(self) -> None:
        """End it at once, without a word to its clients."""
        self._server.send_signal(signal.SIGQUIT)
        self._server.wait(PATIENCE)

    def remove(self) -> None:
        """End it, and delete its files."""
        self.kill()
        shutil.rmtree(self._home, ignore_errors=True)


@pytest.fixture
def postgres() -> Iterator[Postgres]:
    cluster = Postgres()
    yield cluster
    cluster.remove()
