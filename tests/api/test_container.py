"""The container files, without a container engine: each step of the Dockerfile is run in a directory tree.

What an engine adds (layers, namespaces) is not tested here; what this project says in these files is.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path

import pytest
import requests
import yaml

from simulator.process import Simulator
from tests.servers import ROOT, free_port, wait_for

Step = tuple[str, str]


def steps() -> list[Step]:
    """The Dockerfile's instructions: (name, rest)."""
    text = "\n".join(line for line in (ROOT / "Dockerfile").read_text().splitlines() if not line.startswith("#"))
    joined = text.replace("\\\n", " ")
    return [(name, rest.strip()) for name, _, rest in (line.partition(" ") for line in joined.splitlines() if line)]


def is_ignored(path: str) -> bool:
    """Whether .dockerignore keeps `path` (within the project) out of the build: the last line that matches wins."""
    ignored = False
    parts = path.split("/")
    names = ["/".join(parts[: count + 1]) for count in range(len(parts))]
    for line in (ROOT / ".dockerignore").read_text().splitlines():
        pattern = line.strip().removeprefix("!")
        if not pattern or pattern.startswith("#"):
            continue
        anywhere = pattern.removeprefix("**/")
        if any(fnmatch(n, pattern) or (anywhere != pattern and fnmatch(n.split("/")[-1], anywhere)) for n in names):
            ignored = not line.startswith("!")
    return ignored


def base_python() -> tuple[str, bool]:
    """A Python to build on, and whether processes can be run as the container's user: root's own cannot be."""
    if os.geteuid() != 0:
        return sys.executable, False
    for python in (sys.executable, "/usr/bin/python3"):
        test = [python, "-c", "import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))"]
        try:
            if subprocess.run(test, user=10001, group=10001, extra_groups=[], check=False).returncode == 0:
                return python, True
        except OSError:
            continue
    return sys.executable, False


@dataclass
class Image:
    """The directory tree that stands for the container's file system, and what the Dockerfile set for its process."""

    root: Path
    environment: dict[str, str] = field(default_factory=dict)
    user: int = 0
    as_user: bool = False
    directory: str = "/"
    healthcheck: list[str] = field(default_factory=list)
    command: list[str] = field(default_factory=list)

    def inside(self, text: str) -> str:
        """`text` with the container's folders turned into ours."""
        return re.sub(r"(?<![\w.])/(app|data)\b", lambda found: f"{self.root}/{found[1]}", text)

    def build(self) -> None:
        for name, rest in steps():
            getattr(self, f"_{name.lower()}")(rest)

    def _from(self, rest: str) -> None:
        assert rest.startswith("python:3.")
        python, self.as_user = base_python()
        subprocess.run([python, "-m", "venv", self.root / "usr"], check=True)
        self.environment["PATH"] = f"{self.root / 'usr' / 'bin'}:/usr/bin:/bin"

    def _env(self, rest: str) -> None:
        self.environment |= dict(pair.split("=", 1) for pair in shlex.split(self.inside(rest)))

    def _copy(self, rest: str) -> None:
        *sources, target = rest.split()
        for source in sources:
            assert not is_ignored(source), f"{source} is kept out by .dockerignore"
            place = Path(self.inside(target)) / source if target.endswith("/") else Path(self.inside(target))
            place.parent.mkdir(parents=True, exist_ok=True)
            if (ROOT / source).is_dir():
                shutil.copytree(ROOT / source, place, ignore=self._left_out)
            else:
                shutil.copy(ROOT / source, place)

    def _left_out(self, folder: str, names: list[str]) -> list[str]:
        inside = Path(folder).relative_to(ROOT)
        return [name for name in names if is_ignored(str(inside / name))]

    def _run(self, rest: str) -> None:
        command = self.inside(rest)
        if os.geteuid() != 0:
            command = re.sub(r"-o \d+ -g \d+ ", "", command)  # only root can give files away
        # Downloads that this machine has made before are not made again.
        command = command.replace("--no-cache-dir ", "")
        done = subprocess.run(command, shell=True, env=self._shell(), capture_output=True, text=True, check=False)
        if "pip install" in command and "NewConnectionError" in done.stderr:
            pytest.skip("the package index cannot be reached")
        assert done.returncode == 0, done.stderr

    def _shell(self) -> dict[str, str]:
        index = {
            name: value for name, value in os.environ.items() if name.startswith("PIP_") or "PROXY" in name.upper()
        }
        return {**index, "HOME": os.environ.get("HOME", "/"), **self.environment}

    def _user(self, rest: str) -> None:
        self.user = int(rest.split(":")[0])

    def _workdir(self, rest: str) -> None:
        self.directory = self.inside(rest)

    def _healthcheck(self, rest: str) -> None:
        self.healthcheck = json.loads(rest[rest.index("CMD ") + 4 :])

    def _cmd(self, rest: str) -> None:
        self.command = json.loads(rest)

    def _volume(self, rest: str) -> None:
        assert Path(self.inside(rest)).is_dir()

    def _expose(self, rest: str) -> None:
        assert rest == "11434"

    def start(self, command: list[str], **variables: str) -> subprocess.Popen[str]:
        """Run a command as the container would."""
        account = {"user": self.user, "group": self.user, "extra_groups": []} if self.as_user else {}
        return subprocess.Popen(  # type: ignore[call-overload, no-any-return]
            command,
            cwd=self.directory,
            env={**self.environment, **variables},
            executable=shutil.which(command[0], path=self.environment["PATH"]),
            stderr=subprocess.PIPE,
            text=True,
            **account,
        )


@pytest.fixture(scope="module")
def image() -> Iterator[Image]:
    """The built tree. Not in pytest's folders: those can only be entered by the user who runs the tests."""
    root = Path(tempfile.mkdtemp(prefix="image-"))
    root.chmod(0o755)
    try:
        built = Image(root)
        built.build()
        yield built
    finally:
        shutil.rmtree(root, ignore_errors=True)


def test_the_container_serves_a_chat_and_keeps_its_state_in_data(image: Image, simulator: Simulator) -> None:
    assert image.user != 0
    port = str(free_port())
    data = Path(image.directory)
    (data / "models-filter").mkdir(exist_ok=True)
    (data / "models-filter" / "filter").write_text("!cirrus-ultra\n")
    settings = {"OPENROUTER_API_KEY": "sk-or-x", "OPENROUTER_BASE_URL": simulator.url, "PORT": port}
    server = image.start(image.command, **settings)
    url = f"http://127.0.0.1:{port}"
    try:
        wait_for(lambda: server.poll() is not None or _is_ready(url), what="the container is ready")
        assert server.poll() is None, server.communicate()[1]
        asked = {"model": "free", "messages": [{"role": "user", "content": "hello"}], "stream": False}
        answer = requests.post(f"{url}/api/chat", json=asked, timeout=10)
        assert answer.json()["message"]["content"].endswith("You said: hello")
        assert "cirrus-ultra" not in requests.get(f"{url}/api/tags", timeout=10).text
        assert (data / "ollama-proxy.db").is_file()
        assert image.start(image.healthcheck, PORT=port).wait(20) == 0
    finally:
        server.terminate()
        ended = server.wait(30)
        server.communicate()
    assert ended == 0
    assert image.start(image.healthcheck, PORT=port).wait(20) != 0


def _is_ready(url: str) -> bool:
    try:
        return requests.get(f"{url}/health/ready", timeout=5).ok
    except requests.ConnectionError:
        return False


@pytest.mark.parametrize(
    "path", [".env", ".env.local", ".git/config", "instance/x.db", ".venv/bin/python", "tests/a.py"]
)
def test_secrets_and_state_stay_out_of_the_image(path: str) -> None:
    assert is_ignored(path)


def test_compose_publishes_on_this_machine_only_and_waits_for_running_answers() -> None:
    service = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]["ollama-proxy"]
    assert service["ports"] == ["${BIND_ADDRESS:-127.0.0.1}:${PUBLISHED_PORT:-11434}:11434"]
    assert service["environment"]["PORT"] == "11434"
    assert "./models-filter:/data/models-filter:ro" in service["volumes"]
    assert service["env_file"] == ".env"
    # DRAIN_SECONDS is 20, and gunicorn gives the workers 5 more.
    assert int(service["stop_grace_period"].removesuffix("s")) > 25
