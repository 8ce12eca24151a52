"""The shipped nginx configuration in the real nginx, between a client and the server.

Nothing of deploy/nginx.conf is changed but the two ports and where the logs are. Around it stands what nginx.conf of a
distribution has.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from simulator.process import Simulator
from tests.servers import PATIENCE, ROOT, ProxyServer, free_port, wait_for

MAIN = """
daemon off;
{user}
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log info;
events {{ worker_connections 512; }}
http {{
    access_log {folder}/access.log;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    # What Debian's nginx.conf sets, and what holds streams back where it is not turned off.
    gzip on;
    gzip_types *;
    include {folder}/site.conf;
}}
"""


class Nginx:
    """An nginx in `folder` that serves the shipped site in front of the server `upstream`."""

    def __init__(self, folder: Path, upstream: ProxyServer) -> None:
        program = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
        if program is None:
            pytest.skip("nginx is not installed (Debian: nginx-light)")
        folder.mkdir()
        self.kill_upstream = upstream.stop
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        site = (ROOT / "deploy" / "nginx.conf").read_text()
        site, listens = re.subn(r"(?m)^    listen 80;", f"    listen 127.0.0.1:{self.port};", site)
        site, servers = re.subn(r"server 127\.0\.0\.1:11434;", f"server 127.0.0.1:{upstream.port};", site)
        assert (listens, servers) == (1, 1)
        site, logs = re.subn(r"/var/log/nginx/", f"{folder}/", site)
        assert logs == 2
        (folder / "site.conf").write_text(site)
        # As root it would hand its work to a user who cannot enter this folder.
        user = "user root;" if os.geteuid() == 0 else ""
        (folder / "nginx.conf").write_text(MAIN.format(folder=folder, user=user))
        self._errors = folder / "error.log"
        self._process = subprocess.Popen([program, "-p", folder, "-c", folder / "nginx.conf", "-e", self._errors])
        wait_for(self._answers, what="nginx listens")

    def _answers(self) -> bool:
        assert self._process.poll() is None, self._errors.read_text()
        try:
            return requests.get(f"{self.url}/health", timeout=PATIENCE).ok
        except requests.ConnectionError:
            return False

    def chat(self, **fields: Any) -> requests.Response:
        """A streamed chat through nginx."""
        body = {"model": "free", "messages": [{"role": "user", "content": "hello"}], **fields}
        return requests.post(f"{self.url}/api/chat", json=body, stream=True, timeout=PATIENCE)

    def logs(self) -> str:
        """All that it has written."""
        return "".join(path.read_text() for path in self._errors.parent.glob("*.log"))

    def stop(self) -> None:
        """End it."""
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(10)


@pytest.fixture
def behind_nginx(tmp_path: Path, start_proxy: Callable[..., ProxyServer]) -> Iterator[Callable[..., Nginx]]:
    """Starts a proxy with the given settings and an nginx before it."""
    started: list[Nginx] = []

    def start(**settings: Any) -> Nginx:
        nginx = Nginx(tmp_path / "nginx", start_proxy(**settings))
        started.append(nginx)
        return nginx

    yield start
    for nginx in started:
        nginx.stop()


def test_a_slow_stream_arrives_token_by_token(behind_nginx: Callable[..., Nginx], simulator: Simulator) -> None:
    nginx = behind_nginx(trusted_proxies="127.0.0.1")
    simulator.scenario(tokens=3, reasoning=False, hold="gate", hold_at=[1, 2])
    answer = nginx.chat()
    lines = answer.iter_lines(chunk_size=None)
    # Each token is only sent once the one before has come out at this end.
    for number in range(3):
        assert json.loads(next(lines))["message"]["content"].strip() == f"t{number}"
        if number < 2:
            simulator.log(holding="gate", wait=PATIENCE)
            simulator.release("gate", 1)
    assert json.loads(list(lines)[-1])["done"] is True
    assert "Content-Encoding" not in answer.headers


def test_a_long_silence_is_filled_and_survives(behind_nginx: Callable[..., Nginx], simulator: Simulator) -> None:
    nginx = behind_nginx(trusted_proxies="127.0.0.1", heartbeat_seconds=0.2)
    simulator.scenario(text="at last", hold="gate", before_headers=True)
    answer = nginx.chat()
    lines = answer.iter_lines(chunk_size=None)
    beats = [json.loads(next(lines)) for _ in range(5)]
    assert all(beat["message"]["content"] == "" and not beat["done"] for beat in beats)
    simulator.release("gate")
    rest = [json.loads(line) for line in lines]
    assert "".join(line["message"]["content"] for line in rest) == "at last"
    assert rest[-1]["done"] is True


@pytest.mark.parametrize(
    "where", [{"before_headers": True}, {"hold_at": 2}], ids=["before the first token", "in the middle"]
)
def test_a_client_that_leaves_is_noticed_upstream(
    behind_nginx: Callable[..., Nginx], simulator: Simulator, where: dict[str, Any]
) -> None:
    nginx = behind_nginx(trusted_proxies="127.0.0.1", heartbeat_seconds=0.2)
    simulator.scenario(tokens=5, hold="gate", **where)
    answer = nginx.chat()
    lines = answer.iter_lines(chunk_size=None)
    next(lines)
    assert simulator.log(holding="gate", wait=PATIENCE)
    left = time.time()
    answer.close()
    [gone] = simulator.chats(outcome="client_gone", wait=PATIENCE)
    assert gone["t_end"] - left < 1.0


def test_the_client_behind_a_trusted_proxy_is_the_one_that_counts(behind_nginx: Callable[..., Nginx]) -> None:
    nginx = behind_nginx(trusted_proxies="127.0.0.1", allow_networks="127.0.0.0/8")
    assert requests.get(f"{nginx.url}/api/tags", timeout=PATIENCE).status_code == 200
    # Its own claims about where it comes from stand left of what nginx adds, and are not believed either way.
    claimed = {"X-Forwarded-For": "203.0.113.7"}
    assert requests.get(f"{nginx.url}/api/tags", headers=claimed, timeout=PATIENCE).status_code == 403


def test_without_a_trusted_proxy_a_forwarded_request_is_refused(behind_nginx: Callable[..., Nginx]) -> None:
    nginx = behind_nginx()
    answer = requests.get(f"{nginx.url}/api/tags", timeout=PATIENCE)
    assert answer.status_code == 403
    assert "TRUSTED_PROXIES" in answer.json()["error"]
    assert "PROXY_API_KEYS" in answer.json()["error"]


def test_a_body_over_the_limit_gets_the_servers_own_answer(behind_nginx: Callable[..., Nginx]) -> None:
    nginx = behind_nginx(trusted_proxies="127.0.0.1", max_body_mb=0.5)
    answer = requests.post(f"{nginx.url}/api/chat", data=b"x" * 600_000, timeout=PATIENCE)
    assert answer.status_code == 413
    assert "too large" in answer.json()["error"]


def test_a_key_in_the_path_reaches_the_server_and_no_log(behind_nginx: Callable[..., Nginx]) -> None:
    key = "a-plain-word-as-key"
    nginx = behind_nginx(trusted_proxies="127.0.0.1", proxy_api_keys=key, key_in_path="true", ready=False)
    spellings = ("/k/{}", "//k//{}", "/%6b/{}", "/%6B%2F{}", "/./k/{}", "/x/../k/{}", "/%2e/k/{}")
    wait_for(lambda: requests.get(f"{nginx.url}/k/{key}/api/tags", timeout=PATIENCE).ok, what="a catalogue")
    for spelling in spellings:
        for path in ("/api/version?a=b", "/no-such", ""):
            raw_request(nginx.port, spelling.format(key) + path)
    wait_for(lambda: nginx.logs().count("/k/***/api/version") >= len(spellings), what="all are logged")
    assert key not in nginx.logs()
    nginx.kill_upstream()
    assert raw_request(nginx.port, f"/k/{key}/api/version").startswith("HTTP/1.1 502")
    wait_for(lambda: '" 502 ' in nginx.logs(), what="it is logged")
    assert key not in nginx.logs()


def raw_request(port: int, path: str) -> str:
    """GET a path as it is written here: client libraries take dots and doubled slashes out."""
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        return connection.makefile("rb").read().decode("utf-8", "replace")
