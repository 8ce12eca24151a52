"""A start in a terminal: what it says to a person, Ctrl-C at every moment, a port that is taken."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ollama_proxy.version import __version__
from simulator.process import Simulator
from tests.neighbours import OTHER_JSON, REAL_OLLAMA, Pages, serving
from tests.servers import PATIENCE, ROOT, ProxyServer, free_port

_ESCAPE = re.compile(r"\x1b\[[0-9;]*m")


class Terminal:
    """A process whose terminal is a pseudo-terminal, as pty(7) has it."""

    def __init__(self, words: list[str], folder: Path, **variables: str) -> None:
        self._controller, its_end = pty.openpty()
        environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "TERM": "xterm", **variables}
        self.process = subprocess.Popen(
            [sys.executable, *words],
            cwd=folder,
            env=environment,
            stdin=its_end,
            stdout=its_end,
            stderr=its_end,
            start_new_session=True,
        )
        os.close(its_end)
        self.said = ""

    def read_until(self, words: str) -> str:
        """All that it has written, once `words` are in it."""
        deadline = time.monotonic() + PATIENCE
        while words not in self.said:
            assert time.monotonic() < deadline, self.said
            assert self._read(), self.said
        return self.said

    def end(self) -> tuple[int, str]:
        """Wait for its end: the exit code, and all that it has written."""
        deadline = time.monotonic() + PATIENCE
        while self._read():
            assert time.monotonic() < deadline, self.said  # what is watched writes for ever
        return self.process.wait(PATIENCE), self.said

    def _read(self) -> bool:
        ready, _, _ = select.select([self._controller], [], [], PATIENCE)
        assert ready, self.said
        try:
            data = os.read(self._controller, 65536)
        except OSError:  # nobody has the other end open any longer
            return False
        self.said += data.decode(errors="replace")
        return bool(data)

    def close(self) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(5)
        os.close(self._controller)


@pytest.fixture
def terminal(tmp_path: Path, simulator: Simulator) -> Iterator[Callable[..., Terminal]]:
    """Starts the server in a terminal; options are environment variables."""
    opened: list[Terminal] = []

    def start(**variables: str) -> Terminal:
        given = {
            "OPENROUTER_API_KEY": "sk-or-s3cret",
            "OPENROUTER_BASE_URL": simulator.url,
            "DATABASE_URL": f"sqlite:///{tmp_path / 'proxy.db'}",
            "PORT": str(free_port()),
        }
        opened.append(Terminal(["-m", "ollama_proxy"], tmp_path, **given | variables))
        return opened[-1]

    yield start
    for one in opened:
        one.close()


def test_a_start_says_what_a_person_wants_to_know(terminal: Callable[..., Terminal], simulator: Simulator) -> None:
    port = str(free_port())
    started = terminal(PORT=port, HOST="0.0.0.0", WEB_CONCURRENCY="2")
    said = started.read_until("free requests left today")
    plain = _ESCAPE.sub("", said).replace("\r\n", "\n")
    assert said != plain, "colours"
    assert plain.startswith(
        f"ollama-proxy {__version__}: free models only\nserves, without a key, addresses in private"
    )
    for line in (
        f"  http://localhost:{port}\n",
        f"  OLLAMA_HOST=http://localhost:{port} ollama run free\n",
        f'  curl http://localhost:{port}/api/chat -d \'{{"model": "free", ',
        "warning: without PROXY_API_KEYS",
        "10 models; cirrus-ultra:free is tried first\n50 of 50 free requests left today",
    ):
        assert line in plain
    for noise in ("Starting gunicorn", "Listening at", "Booting worker", "Z info", "s3cret"):
        assert noise not in plain
    assert re.search(r"^\d\d:\d\d:\d\d \[info +\] catalog\.", plain, re.MULTILINE)
    assert plain.count("is tried first") == 1, "the first worker says it, and no other"
    started.process.send_signal(signal.SIGINT)
    code, said = started.end()
    assert code == 0
    assert "Traceback" not in said


@pytest.mark.parametrize("variable", [{"NO_COLOR": "1"}, {"TERM": "dumb"}], ids=["NO_COLOR", "TERM=dumb"])
def test_no_colours_where_none_are_wanted(terminal: Callable[..., Terminal], variable: dict[str, str]) -> None:
    started = terminal(HOST="127.0.0.1", PROXY_API_KEYS="s3cret", **variable)
    said = started.read_until("is tried first")
    assert "\x1b" not in said
    assert "serves whoever has the key" in said
    assert "-H 'Authorization: Bearer KEY' http://localhost" in said
    assert "s3cret" not in said


def test_programs_read_json_in_a_terminal_too(terminal: Callable[..., Terminal]) -> None:
    said = terminal(HOST="127.0.0.1", LOG_FORMAT="json").read_until("catalog.")
    assert all(line.startswith("{") for line in said.splitlines())


@pytest.mark.parametrize("module", ["click", "gunicorn.app.wsgiapp", "gunicorn.arbiter", "gevent.monkey"])
def test_ctrl_c_during_the_start_ends_it_without_a_word(
    terminal: Callable[..., Terminal], tmp_path: Path, module: str
) -> None:
    """Ctrl-C comes while the module is imported, whatever process of the start that is in."""
    hooks = tmp_path / "hooks"
    hooks.mkdir()
    (hooks / "sitecustomize.py").write_text(
        "import os, signal, sys\n"
        "class Finder:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name == {module!r}:\n"
        "            os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.meta_path.insert(0, Finder())\n"
    )
    code, said = terminal(PYTHONPATH=f"{hooks}{os.pathsep}{ROOT}").end()
    assert (code, said) == (-signal.SIGINT, "")


@pytest.mark.parametrize(
    ("pages", "said"),
    [
        pytest.param(REAL_OLLAMA, "taken by a real Ollama: stop it (`systemctl stop ollama`", id="a real Ollama"),
        pytest.param(OTHER_JSON, "taken by another program: stop it, or set another PORT", id="another program"),
    ],
)
def test_a_port_that_is_taken_is_one_line_that_says_by_whom(
    terminal: Callable[..., Terminal], pages: Pages, said: str
) -> None:
    with serving(pages) as port:
        code, line = terminal(HOST="127.0.0.1", PORT=str(port)).end()
    assert code == 1
    assert line.startswith(f"PORT={port} is {said}")
    assert len(line.splitlines()) == 1


def test_a_server_that_runs_already_is_named(terminal: Callable[..., Terminal], proxy: ProxyServer) -> None:
    code, line = terminal(HOST="127.0.0.1", PORT=str(proxy.port)).end()
    assert code == 1
    taken = f"PORT={proxy.port} is taken by ollama-proxy {__version__}, which is running already"
    assert line.strip() == f"{taken}: stop it, or set another PORT"


def test_the_status_is_drawn_anew_and_leaves_the_terminal_as_it_was(proxy: ProxyServer, tmp_path: Path) -> None:
    watching = Terminal(["-m", "ollama_proxy", "status", "--watch", "--url", proxy.url], tmp_path)
    try:
        watching.read_until("quota")
        watching.said = ""
        said = watching.read_until("free requests used today")
        assert "\x1b[H" in said
        watching.process.send_signal(signal.SIGINT)
        code, said = watching.end()
    finally:
        watching.close()
    assert code == 0
    assert "Traceback" not in said
    assert said.rstrip().endswith("\x1b[?7h\x1b[?25h")
