"""The server seen from outside: health, metrics of several workers, the start's checks, the doctor."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import requests

from ollama_proxy.version import __version__
from simulator.process import Simulator
from tests.servers import PATIENCE, ROOT, ProxyServer, free_port, wait_for

BEST = "nimbus/cirrus-ultra:free"


def sample(server: ProxyServer, name: str, *labels: str) -> float:
    """The value of `ollama_proxy_NAME{... each of labels ...}`; 0 if there is none."""
    for line in server.get("/metrics").text.splitlines():
        found = re.fullmatch(rf"ollama_proxy_{name}(?:{{(.*)}})? (\S+)", line)
        if found and all(label in (found[1] or "").split(",") for label in labels):
            return float(found[2])
    return 0.0


def test_the_counts_of_all_workers_add_up(start_proxy: Callable[..., ProxyServer], simulator: Simulator) -> None:
    server = start_proxy(web_concurrency=2)
    labels = ('route="/api/chat"', 'method="POST"', 'status="200"')
    simulator.queue(BEST, {"error_name": "pool_429"}, {})
    for _ in range(12):
        assert server.chat().status_code == 200
        server.get(f"/nothing/{os.urandom(4).hex()}")
        requests.request("MAKEUP", f"{server.url}/api/chat", timeout=PATIENCE)
    wait_for(lambda: sample(server, "requests_total", *labels) == 12, what="all chats are counted")
    assert sample(server, "first_token_seconds_count") == 12
    assert sample(server, "tokens_total", 'direction="in"') > 0
    assert sample(server, "tokens_total", 'direction="out"') > 12
    assert sample(server, "upstream_errors_total", 'blame="model rate limit"') == 1
    assert sample(server, "cooling_models") == 1
    assert sample(server, "account_limit_until_timestamp_seconds") == 0
    # What clients make up is no label.
    assert sample(server, "requests_total", 'route="none"', 'method="GET"', 'status="404"') == 12
    assert sample(server, "requests_total", 'method="other"') == 12


def test_open_streams_are_counted_while_they_are_open(
    start_proxy: Callable[..., ProxyServer], simulator: Simulator
) -> None:
    server = start_proxy(web_concurrency=2)
    simulator.scenario(tokens=4, reasoning=False, hold="gate", hold_at=2)
    answers = [server.chat(stream=True) for _ in range(3)]
    assert sample(server, "open_streams") == 3
    answers.pop().close()
    wait_for(lambda: sample(server, "open_streams") == 2, what="the client that left is not counted")
    simulator.release("gate")
    for answer in answers:
        assert json.loads(list(answer.iter_lines())[-1])["done"] is True
    wait_for(lambda: sample(server, "open_streams") == 0, what="the end of both")


def test_health_and_readiness(proxy: ProxyServer) -> None:
    answer = proxy.get("/health")
    assert answer.json() == {"status": "ok", "name": "ollama-proxy", "version": __version__}
    assert answer.headers["Server"] == f"ollama-proxy/{__version__}"
    report = proxy.get("/health/ready").json()
    assert (report["status"], report["database"], report["key"]) == ("ready", "ok", "valid")
    assert report["catalog"]["models"] > 0
    assert requests.head(f"{proxy.url}/health", timeout=PATIENCE).status_code == 200
    for path, allowed in (("/health", "HEAD, GET"), ("/health/ready", "HEAD, GET"), ("/metrics", "GET")):
        wrong = proxy.post(path)
        assert (wrong.status_code, wrong.headers["Allow"]) == (405, allowed)


def test_without_a_model_list_it_is_alive_but_not_ready(
    start_proxy: Callable[..., ProxyServer], simulator: Simulator
) -> None:
    simulator.control("down", {"all": "refuse"})
    server = start_proxy(ready=False)
    assert server.get("/health").status_code == 200
    unready = server.get("/health/ready")
    assert unready.status_code == 503
    assert unready.json()["status"] == "unready"
    assert unready.json()["key"] == "unknown"


def start(folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """A start that is expected to end by itself."""
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "OPENROUTER_API_KEY": "sk-or-x"}
    environment |= {"HOST": "127.0.0.1", "PORT": str(free_port()), "TMPDIR": str(folder)} | variables
    command = [sys.executable, "-m", "ollama_proxy"]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=30)


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        pytest.param(
            {"OPENROUTER_API_KEY": "sk-or-bad-s3cret"}, ["OPENROUTER_API_KEY", "401"], id="a key that is refused"
        ),
        pytest.param(
            {"DATABASE_URL": "mysql://u:s3cret@h/d"}, ["DATABASE_URL", "postgresql://"], id="another database"
        ),
        pytest.param({"DATABASE_URL": "s3cret"}, ["DATABASE_URL", "sqlite://"], id="no database URL at all"),
        pytest.param({"MODELS_FILTER": "nowhere.txt"}, ["MODELS_FILTER", "nowhere.txt"], id="a filter that is missing"),
        pytest.param({"HOST": "host.invalid"}, ["HOST", "host.invalid", "0.0.0.0"], id="a host that is none"),
        pytest.param({"HOST": "192.0.2.1"}, ["HOST", "192.0.2.1", "0.0.0.0"], id="another machine's address"),
        pytest.param({"HOST": "a..b"}, ["HOST", "a..b", "0.0.0.0"], id="a name that no host can have"),
    ],
)
def test_what_cannot_work_ends_the_start_with_one_line(
    tmp_path: Path, simulator: Simulator, variables: dict[str, str], words: list[str]
) -> None:
    ended = start(tmp_path, OPENROUTER_BASE_URL=simulator.url, **variables)
    assert ended.returncode == 1
    [line] = (ended.stdout + ended.stderr).splitlines()
    assert all(word in line for word in words)
    assert "s3cret" not in line
    assert not list(tmp_path.glob("ollama-proxy-metrics-*"))


def test_the_start_says_once_who_is_served(start_proxy: Callable[..., ProxyServer]) -> None:
    server = start_proxy(web_concurrency=2, proxy_api_keys="s3cret-key", ready=False)
    assert server.log().count("serves whoever has the key") == 1
    assert "s3cret" not in server.log()


def test_a_given_metrics_folder_loses_earlier_counts_and_nothing_else(
    start_proxy: Callable[..., ProxyServer], tmp_path: Path
) -> None:
    folder = tmp_path / "metrics"
    folder.mkdir()
    for name in ("counter_1.db", "gauge_livesum_1.db", "mine.db"):
        (folder / name).write_bytes(b"")
    start_proxy(prometheus_multiproc_dir=folder, ready=False)
    assert not (folder / "counter_1.db").exists()
    assert not (folder / "gauge_livesum_1.db").exists()
    assert (folder / "mine.db").exists()


def doctor(folder: Path, upstream: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": os.environ["PATH"], "OPENROUTER_API_KEY": "sk-or-s3cret", "OPENROUTER_BASE_URL": upstream}
    environment |= {"HOST": "127.0.0.1", "LOG_LEVEL": "error", **variables}
    command = [sys.executable, "-m", "flask", "--app", str(ROOT / "wsgi"), "doctor"]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60)


def test_the_doctor_finds_nothing_beside_a_running_server(
    start_proxy: Callable[..., ProxyServer], simulator: Simulator, tmp_path: Path
) -> None:
    server = start_proxy()
    found = doctor(tmp_path, simulator.url, PORT=str(server.port), DATABASE_URL=f"sqlite:///{tmp_path / 'proxy.db'}")
    assert found.returncode == 0, found.stdout + found.stderr
    assert f"held by ollama-proxy {__version__}" in found.stdout
    assert "of 50 free requests used" in found.stdout
    assert "s3cret" not in found.stdout + found.stderr


def test_the_doctor_names_everything_that_is_wrong(simulator: Simulator, tmp_path: Path) -> None:
    simulator.control("key", {"invalid": True})
    (tmp_path / "models-filter.txt").write_text("no-such-model\n*\n")
    url = f"sqlite:///{tmp_path / 'other.db'}"
    # The simulator stands for another program on our port.
    found = doctor(tmp_path, simulator.url, PORT=str(simulator.port), DATABASE_URL=url)
    assert found.returncode == 1
    wrong = [line.split()[1] for line in found.stdout.splitlines() if line.startswith("WRONG")]
    assert wrong == ["key", "database", "filters", "port"]
    assert "no-such-model" in found.stdout
    assert "db upgrade" in found.stdout
    assert "s3cret" not in found.stdout + found.stderr


@pytest.mark.parametrize("stream", [True, False])
def test_what_a_provider_says_goes_to_the_client_and_not_into_the_log(
    simulator: Simulator, start_proxy: Callable[..., ProxyServer], stream: bool
) -> None:
    """A provider may quote the prompt in its error."""
    proxy = start_proxy(free_mode=False)
    simulator.scenario("tidal/ember-4", status=502, body={"error": {"code": 502, "message": "no to sesame"}})
    answer = proxy.chat("ember-4", text="sesame", stream=stream)
    assert answer.status_code == 502
    assert "no to sesame" in answer.json()["error"]
    wait_for(lambda: '"status":502' in proxy.log(), what="the log line")
    assert "sesame" not in proxy.log()
