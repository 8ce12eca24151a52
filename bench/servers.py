"""What is measured: the proxy itself, and beside it nginx and LiteLLM in front of the same upstream."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.load import Generator, Load
from bench.processes import ROOT, Server, answers, free_port, running

LITELLM = ROOT / ".venv-peers" / "bin" / "litellm"


@dataclass(frozen=True, slots=True)
class Target:
    """A server that listens. `path` is where it takes OpenAI's chat completions, `model` what a request names."""

    server: Server
    port: int
    path: str
    model: str


@contextmanager
def upstream(folder: Path) -> Iterator[Target]:
    """The stand-in upstream."""
    port = free_port()
    server = Server([sys.executable, "-m", "bench.upstream", "--port", str(port)], folder=folder, name="upstream")
    with running(server, port):
        yield Target(server, port, "/api/v1/chat/completions", "bench/fast:free")


@contextmanager
def proxy(folder: Path, behind: Target, **settings: object) -> Iterator[Target]:
    """The proxy with its defaults (routing, failure memory, access, logs, metrics), on the loopback address.

    `settings` are environment variables in lower case. Its database is in `folder`, and is there for the next one.
    """
    port = free_port()
    environ = {
        "OPENROUTER_API_KEY": "sk-or-bench",
        "OPENROUTER_BASE_URL": f"http://127.0.0.1:{behind.port}/api/v1",
        "HOST": "127.0.0.1",
        "PORT": str(port),
        "DATABASE_URL": f"sqlite:///{folder / 'proxy.db'}",
        **{name.upper(): str(value) for name, value in settings.items()},
    }
    server = Server([sys.executable, "-m", "ollama_proxy"], folder=folder, name="proxy", environ=environ)
    with running(server, port, ready=lambda: _answered(port, "/api/tags")):
        yield Target(server, port, "/v1/chat/completions", "fast:free")


def _answered(port: int, path: str) -> bool:
    return not Generator(Load(port, path, requests_each=1, grace=2)).run().lost


@contextmanager
def nginx(folder: Path, behind: Target) -> Iterator[Target | None]:
    """nginx, one worker, passing bytes on as they come: the least that any proxy costs. None where it is missing."""
    program = shutil.which("nginx", path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin:/opt/homebrew/bin")
    if program is None:
        yield None
        return
    port = free_port()
    configuration = folder / "nginx.conf"
    configuration.write_text(_NGINX.format(folder=folder, port=port, upstream=behind.port))
    server = Server([program, "-e", "stderr", "-c", str(configuration)], folder=folder, name="nginx")
    with running(server, port):
        yield Target(server, port, behind.path, behind.model)


_NGINX = """
worker_processes 1; daemon off; pid {folder}/nginx.pid; error_log stderr; worker_rlimit_nofile 8192;
events {{ worker_connections 4096; }}
http {{
    access_log off; client_body_temp_path {folder}/nginx-body; proxy_temp_path {folder}/nginx-proxy;
    fastcgi_temp_path {folder}/nginx-1; uwsgi_temp_path {folder}/nginx-2; scgi_temp_path {folder}/nginx-3;
    keepalive_requests 1000000; client_body_buffer_size 1m;
    upstream stand_in {{ server 127.0.0.1:{upstream}; keepalive 1024; keepalive_requests 1000000; }}
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        location / {{
            proxy_pass http://stand_in; proxy_http_version 1.1; proxy_set_header Connection "";
            proxy_buffering off;
        }}
    }}
}}
"""


@contextmanager
def litellm(folder: Path, behind: Target) -> Iterator[Target | None]:
    """LiteLLM's proxy, one worker. None where `make bench-peers` has not installed it."""
    if not LITELLM.exists():
        yield None
        return
    port = free_port()
    configuration = folder / "litellm.yaml"
    configuration.write_text(_LITELLM.format(upstream=behind.port))
    command = [str(LITELLM), "--config", str(configuration), "--host", "127.0.0.1", "--port", str(port)]
    environ = {
        "LITELLM_LOG": "ERROR",
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        # It is reached from this machine only, and ends with the run.
        "LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY": "true",
    }
    server = Server([*command, "--telemetry", "False"], folder=folder, name="litellm", environ=environ)
    with running(server, port, ready=lambda: answers(port)):
        yield Target(server, port, "/v1/chat/completions", "fast")


_LITELLM = """
model_list:
  - model_name: fast
    litellm_params: {{model: openai/fast, api_base: "http://127.0.0.1:{upstream}/api/v1", api_key: none}}
"""
