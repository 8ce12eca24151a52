"""A real PostgreSQL for the tests: started on first use, on a free port of 127.0.0.1, stopped at the end.

`from tests.postgres import postgres_url` in a test module brings the fixture in. Where the server's programs are
missing the tests that need it are skipped.
"""

from __future__ import annotations

import atexit
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import uuid
from functools import lru_cache
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import make_url

START_SECONDS = 30


def binaries() -> Path | None:
    """The folder with `initdb` and `postgres`; Debian keeps them out of PATH."""
    folders = [Path(found).parent for found in [shutil.which("initdb")] if found]
    pg_config = shutil.which("pg_config")
    if pg_config:
        folders.append(Path(subprocess.run([pg_config, "--bindir"], capture_output=True, text=True).stdout.strip()))
    folders += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next((f for f in folders if (f / "initdb").exists() and (f / "postgres").exists()), None)


@lru_cache(maxsize=1)
def start() -> str:
    """Start the server once per test process and return its URL. Raises RuntimeError with the reason if it cannot."""
    folder = binaries()
    if folder is None:
        raise RuntimeError("no PostgreSQL server programs (Debian: postgresql)")
    account: dict[str, object] = {}
    if os.geteuid() == 0:
        # initdb refuses root.
        try:
            owner = pwd.getpwnam("postgres")
        except KeyError:
            raise RuntimeError("running as root, and there is no user postgres to run the server") from None
        account = {"user": owner.pw_uid, "group": owner.pw_gid, "extra_groups": []}
    home = Path(tempfile.mkdtemp(prefix="pg-"))
    if account:
        os.chown(home, owner.pw_uid, owner.pw_gid)
    data, log = home / "data", home / "log"
    initdb = [folder / "initdb", "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"]
    done = subprocess.run(initdb, cwd=home, capture_output=True, text=True, **account)  # type: ignore[call-overload]
    if done.returncode:
        shutil.rmtree(home, ignore_errors=True)
        raise RuntimeError(f"initdb: {done.stderr.strip()[-300:]}")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [folder / "postgres", "-D", data, "-h", "127.0.0.1", "-p", str(port), "-k", home, "-F"]
    command += ["-c", "synchronous_commit=off", "-c", "full_page_writes=off", "-c", "max_connections=40"]
    with log.open("wb") as output:
        server = subprocess.Popen(command, cwd=home, stdout=output, stderr=output, **account)  # type: ignore[call-overload]
    atexit.register(_stop, server, home)
    url = f"postgresql://postgres@127.0.0.1:{port}/postgres"
    give_up = time.monotonic() + START_SECONDS
    while True:
        try:
            psycopg.connect(url, connect_timeout=2).close()
            return url
        except psycopg.OperationalError:
            if server.poll() is not None or time.monotonic() > give_up:
                raise RuntimeError(f"postgres did not start: {log.read_text()[-300:]}") from None
            time.sleep(0.05)


def _stop(server: subprocess.Popen[bytes], home: Path) -> None:
    if server.poll() is None:
        server.send_signal(signal.SIGINT)  # "fast": ends the sessions that are left
        try:
            server.wait(10)
        except subprocess.TimeoutExpired:
            server.kill()
    shutil.rmtree(home, ignore_errors=True)


def new_database(url: str) -> str:
    """An empty database on the server of `url`."""
    name = f"test_{uuid.uuid4().hex}"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(psycopg.sql.SQL("CREATE DATABASE {}").format(psycopg.sql.Identifier(name)))
    return make_url(url).set(database=name).render_as_string(hide_password=False)


@pytest.fixture(scope="session")
def postgres_url() -> str:
    """`postgresql://…` of a running server; its database is shared by all tests of the session."""
    try:
        return start()
    except RuntimeError as reason:
        pytest.skip(str(reason))
