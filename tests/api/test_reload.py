"""SIGHUP: the server reads `.env` again, and no mistake in it can end a server that runs."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable
from pathlib import Path

import certifi

from tests.servers import ProxyServer, free_port, wait_for

Start = Callable[..., ProxyServer]


def version(server: ProxyServer) -> str:
    return str(server.get("/api/version").json()["version"])


def reload(server: ProxyServer, **variables: object) -> None:
    """Write `.env`, send SIGHUP, and wait until only the workers that it started are left."""
    before = workers(server)
    server.write_env_file(**variables)
    server.signal(signal.SIGHUP)
    wait_for(lambda: workers(server) and not workers(server) & before, what="new workers in the place of the old")


def workers(server: ProxyServer) -> set[int]:
    """The process ids of the workers that run."""
    children = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children").read_text().split()
    return {int(pid) for pid in re.findall(r"Booting worker with pid: (\d+)", server.log()) if pid in children}


def test_a_reload_takes_what_dotenv_says_now(start_proxy: Start) -> None:
    server = start_proxy(env_file=("OLLAMA_VERSION",), ollama_version="9.9.1")
    assert version(server) == "9.9.1"
    reload(server, OLLAMA_VERSION="9.9.2", WEB_CONCURRENCY=2)
    wait_for(lambda: len(workers(server)) == 2, what="a second worker")
    assert {version(server) for _ in range(10)} == {"9.9.2"}
    reload(server)
    assert {version(server) for _ in range(10)} == {"0.32.7"}, "a line that is gone leaves nothing behind"
    wait_for(lambda: len(workers(server)) == 1, what="one worker, as by default")
    assert server.chat().status_code == 200


def test_the_environment_still_goes_before_dotenv_after_a_reload(start_proxy: Start) -> None:
    server = start_proxy(ollama_version="9.9.1", ready=False)
    reload(server, OLLAMA_VERSION="9.9.2")
    assert version(server) == "9.9.1"


def test_a_file_that_cannot_be_used_changes_nothing_even_if_a_worker_dies(start_proxy: Start) -> None:
    server = start_proxy(env_file=("OLLAMA_VERSION",), ollama_version="9.9.1")
    server.write_env_file(OLLAMA_VERSION="9.9.2", MAX_ATTEMPTS="many")
    server.signal(signal.SIGHUP)
    wait_for(lambda: "Not reloaded" in server.log(), what="the reload is refused")
    assert "MAX_ATTEMPTS='many'" in server.log()
    before = workers(server)
    for pid in before:
        os.kill(pid, signal.SIGKILL)
    wait_for(lambda: workers(server) - before, what="a worker in its place")
    assert version(server) == "9.9.1"
    assert server.chat().status_code == 200


def test_certificates_that_are_gone_at_a_reload_change_nothing(start_proxy: Start, tmp_path: Path) -> None:
    bundle = tmp_path / "ca.pem"
    bundle.write_bytes(Path(certifi.where()).read_bytes())
    server = start_proxy(requests_ca_bundle=bundle)
    bundle.unlink()
    server.signal(signal.SIGHUP)
    wait_for(lambda: "Not reloaded" in server.log(), what="the reload is refused")
    assert server.chat().status_code == 200


def test_what_is_written_between_two_reloads_does_not_count(start_proxy: Start) -> None:
    server = start_proxy(env_file=("OLLAMA_VERSION",), ollama_version="9.9.1", ready=False)
    server.write_env_file(OLLAMA_VERSION="9.9.2")
    before = workers(server)
    for pid in before:
        os.kill(pid, signal.SIGKILL)
    wait_for(lambda: workers(server) - before, what="a worker in its place")
    assert version(server) == "9.9.1"


def test_host_and_port_stay_until_a_restart(start_proxy: Start) -> None:
    server = start_proxy(env_file=("HOST", "PORT"))
    reload(server, HOST="0.0.0.0", PORT=free_port(), OLLAMA_VERSION="9.9.2")
    assert f"the server still listens on 127.0.0.1, port {server.port}" in server.log()
    assert version(server) == "9.9.2"


def test_a_reload_reads_the_files_of_secrets_and_says_who_is_served(start_proxy: Start, tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.write_text("first-s3cret\n")
    server = start_proxy(proxy_api_keys_file=keys, ready=False)

    def status(key: str) -> int:
        return server.get("/api/tags", headers={"Authorization": f"Bearer {key}"}).status_code

    assert (status("first-s3cret"), status("second-s3cret")) == (200, 401)
    keys.write_text("second-s3cret\nthird-s3cret\n")
    reload(server)
    assert (status("first-s3cret"), status("second-s3cret"), status("third-s3cret")) == (401, 200, 200)
    assert server.log().count("serves whoever has the key") == 1
    assert server.log().count("serves whoever has one of the 2 keys") == 1
    assert "s3cret" not in server.log()


def test_a_reload_migrates_the_database_that_it_names(start_proxy: Start, tmp_path: Path) -> None:
    server = start_proxy(env_file=("DATABASE_URL",))
    reload(server, DATABASE_URL=f"sqlite:///{tmp_path / 'other.db'}")
    wait_for(lambda: server.get("/health/ready").json()["status"] == "ready", what="the new worker is ready")
    assert server.get("/health/ready").json()["database"] == "ok"
    assert (tmp_path / "other.db").is_file()
    assert "could not be migrated" not in server.log()


def test_misspelt_names_are_told_at_the_start_and_at_a_reload(start_proxy: Start) -> None:
    server = start_proxy(env_file=("PROXY_API_KEY",), proxy_api_key="s3cret", ready=False)
    assert server.log().count(".env: PROXY_API_KEY is not a setting: did you mean PROXY_API_KEYS?") == 1
    reload(server, TRUSTED_PROXY="s3cret", POSTGRES_PASSWORD="s3cret", PGPORT=5432)
    told = re.findall(r"(?:\.env|environment): (\w+) is not a setting", server.log())
    assert told == ["PROXY_API_KEY", "TRUSTED_PROXY"]
    assert "s3cret" not in server.log()
