"""As a platform runs it: the Procfile's commands as they are written, PORT, DATABASE_URL, a read-only disk, SIGTERM."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
import requests

from simulator.process import Simulator
from tests.postgres import new_database, postgres_url  # noqa: F401 - a fixture
from tests.servers import PATIENCE, ROOT, ProxyServer, free_port, wait_for

#: Debian's user without rights.
NOBODY = 65534


def procfile() -> dict[str, list[str]]:
    """The commands by their names, with the programs of the Python that runs the tests."""
    lines = (line.partition(":") for line in (ROOT / "Procfile").read_text().splitlines())
    return {name: [sys.executable, "-m", *shlex.split(command)] for name, _, command in lines}


@pytest.fixture
def slug() -> Iterator[Path]:
    """A copy of what a platform would deploy, in a folder that nobody may write to."""
    folder = Path(tempfile.mkdtemp(prefix="slug-"))
    for name in ("ollama_proxy", "migrations"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("wsgi.py", "gunicorn.conf.py", "Procfile"):
        shutil.copy(ROOT / name, folder / name)
    folders = [folder, *(path for path in folder.rglob("*") if path.is_dir())]
    for path in folders:
        path.chmod(0o555)
    yield folder
    for path in folders:
        path.chmod(0o755)
    shutil.rmtree(folder)


def run(command: list[str], slug: Path, **variables: str) -> subprocess.Popen[bytes]:
    """Run a command as the platform does, without rights where that is possible."""
    account = {"user": NOBODY, "group": NOBODY, "extra_groups": []} if _can_drop_rights() else {}
    environment = {"PATH": os.environ["PATH"], "OPENROUTER_API_KEY": "sk-or-x", "HOST": "127.0.0.1", **variables}
    return subprocess.Popen(command, cwd=slug, env=environment, stdout=-1, stderr=-1, **account)  # type: ignore[call-overload, no-any-return]


def _can_drop_rights() -> bool:
    if os.geteuid() != 0:
        return False
    try:
        return subprocess.run([sys.executable, "-c", ""], user=NOBODY, group=NOBODY, check=False).returncode == 0
    except OSError:
        return False


def chat(url: str) -> str:
    asked = {"model": "free", "messages": [{"role": "user", "content": "hello"}], "stream": False}
    answer = requests.post(f"{url}/api/chat", json=asked, timeout=PATIENCE)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["message"]["content"])


def ready(url: str) -> dict[str, object] | None:
    """What readiness says, once it is positive."""
    try:
        answer = requests.get(f"{url}/health/ready", timeout=PATIENCE)
    except requests.ConnectionError:
        return None
    return dict(answer.json()) if answer.ok else None


def test_release_migrates_and_web_serves_from_postgres(slug: Path, simulator: Simulator, postgres_url: str) -> None:  # noqa: F811
    database = new_database(postgres_url).replace("postgresql://", "postgres://")
    port = str(free_port())
    variables = {"PORT": port, "DATABASE_URL": database, "OPENROUTER_BASE_URL": simulator.url}
    release = run(procfile()["release"], slug, **variables)
    output, errors = release.communicate(timeout=PATIENCE)
    assert release.returncode == 0, errors.decode()
    assert b"migrated" in output
    web = run(procfile()["web"], slug, **variables)
    try:
        url = f"http://127.0.0.1:{port}"
        report = wait_for(lambda: ready(url), what="web is ready")
        assert (report["status"], report["database"]) == ("ready", "ok")
        assert chat(url).endswith("You said: hello")
        with psycopg.connect(database) as connection:
            assert connection.execute("SELECT count(*) FROM catalog_models").fetchone() != (0,)
    finally:
        web.terminate()
        log = web.communicate(timeout=PATIENCE)[1]
    assert web.returncode == 0, log.decode()


def test_on_a_read_only_disk_it_serves_from_memory(slug: Path, simulator: Simulator) -> None:
    port = str(free_port())
    # The file cannot be made, whoever runs this.
    variables = {"DATABASE_URL": "sqlite:////proc/none/proxy.db", "OPENROUTER_BASE_URL": simulator.url, "PORT": port}
    web = run(procfile()["web"], slug, **variables)
    try:
        url = f"http://127.0.0.1:{port}"
        report = wait_for(lambda: ready(url), what="web is ready")
        assert (report["status"], report["database"]) == ("degraded", "degraded")
        simulator.scenario("nimbus/cirrus-ultra:free", error_name="pool_429", times=1)
        assert "nimbus/cirrus-ultra:free" not in chat(url)
        assert chat(url).endswith("You said: hello")
    finally:
        web.terminate()
        log = web.communicate(timeout=PATIENCE)[1].decode()
    assert web.returncode == 0, log
    assert "Traceback" not in log


def test_sigterm_lets_an_answer_finish_within_drain_seconds(
    start_proxy: Callable[..., ProxyServer], simulator: Simulator
) -> None:
    proxy = start_proxy(drain_seconds=20)
    simulator.scenario(tokens=4, reasoning=False, hold="gate", hold_at=2)
    answer = proxy.chat(stream=True)
    lines = answer.iter_lines(chunk_size=None)
    assert json.loads(next(lines))["done"] is False
    proxy.signal(signal.SIGTERM)
    wait_for(lambda: _refuses(proxy), what="new connections are refused")
    simulator.release("gate")
    rest = [json.loads(line) for line in lines]
    assert rest[-1]["done"] is True
    assert "".join(line["message"]["content"] for line in rest).strip() == "t1 t2 t3"
    assert proxy.process.wait(PATIENCE) == 0


def test_sigterm_ends_what_is_longer_with_an_error_line(
    start_proxy: Callable[..., ProxyServer], simulator: Simulator
) -> None:
    proxy = start_proxy(drain_seconds=0.3)
    simulator.scenario(tokens=4, reasoning=False, hold="gate", hold_at=2)
    lines = proxy.chat(stream=True).iter_lines(chunk_size=None)
    assert json.loads(next(lines))["done"] is False
    proxy.signal(signal.SIGTERM)
    rest = [json.loads(line) for line in lines]
    assert list(rest[-1]) == ["error"]
    assert "shutting down" in rest[-1]["error"]
    assert proxy.process.wait(PATIENCE) == 0
    assert simulator.chats(outcome="client_gone", wait=PATIENCE)


def _refuses(proxy: ProxyServer) -> bool:
    try:
        requests.get(proxy.url, timeout=PATIENCE)
    except requests.ConnectionError:
        return True
    return False
