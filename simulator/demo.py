"""`python -m simulator.demo`: this simulator and the server, without a key or a network (`make demo`).

Lists the models, streams one chat, and stays up until Ctrl-C or SIGTERM. The server is a process of its own: nothing of
it is imported here.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time

import requests

from simulator.process import ROOT, Simulator

PORT = os.environ.get("PORT", "11434")
URL = f"http://127.0.0.1:{PORT}"
QUESTION = "Say hello to whoever runs this demo."
CHAT = {"model": "free", "messages": [{"role": "user", "content": QUESTION}]}


def start_server(upstream: str, directory: str) -> subprocess.Popen[bytes]:
    """The proxy itself, as `make run` starts it, with the simulator for OpenRouter.

    It runs in `directory`, so that neither `.env` nor a model filter of the project counts, and without the settings of
    this shell, but for HOST, PORT and LOG_LEVEL.
    """
    environment = {
        **{name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR", "LANG") if name in os.environ},
        "PYTHONPATH": str(ROOT),
        "OPENROUTER_API_KEY": "sk-or-demo",
        "OPENROUTER_BASE_URL": upstream,
        "HOST": os.environ.get("HOST", "127.0.0.1"),
        "PORT": PORT,
        "DATABASE_URL": f"sqlite:///{directory}/demo.db",
        "LOG_LEVEL": os.environ.get("LOG_LEVEL", "WARNING"),
    }
    # A group of its own: Ctrl-C then reaches the demo alone, which ends the server with SIGTERM, so that it drains.
    return subprocess.Popen([sys.executable, "-m", "ollama_proxy"], cwd=directory, env=environment, process_group=0)


def wait_until_ready(server: subprocess.Popen[bytes]) -> None:
    """Returns when the server has its model list. Ends the demo if it does not come up."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and server.poll() is None:
        try:
            if requests.get(f"{URL}/api/tags", timeout=5).ok:
                return
        except requests.ConnectionError:
            pass
        time.sleep(0.1)
    raise SystemExit(f"the server did not start on port {PORT}: is something else (a real Ollama?) using it?")


def list_models() -> None:
    """Print each model of `/api/tags` with its context length and what it can do."""
    print(f"\nModels ({URL}/api/tags):")
    for model in requests.get(f"{URL}/api/tags", timeout=10).json()["models"]:
        print(f"  {model['name']:<28} {model['details']['context_length']:>9}  {' '.join(model['capabilities'])}")


def stream_chat() -> None:
    """Print a chat's answer as it comes, and which model gave it."""
    print(f"\nA chat ({URL}/api/chat):\n  > {QUESTION}\n  < ", end="", flush=True)
    with requests.post(f"{URL}/api/chat", json=CHAT, stream=True, timeout=30) as response:
        for line in response.iter_lines():
            chunk = json.loads(line)
            print(chunk["message"]["content"], end="", flush=True)
            if chunk["done"]:
                print(f"\n  ({chunk['eval_count']} tokens, answered by {response.headers['X-OpenRouter-Model']})")


def main() -> None:
    """Run the demo. Ends with the server, on Ctrl-C, or on SIGTERM."""
    with tempfile.TemporaryDirectory() as directory, Simulator(scenario={"token_delay": 0.05}) as simulator:
        server = start_server(simulator.url, directory)
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        try:
            wait_until_ready(server)
            list_models()
            stream_chat()
            print(f"\nThe server stays up on {URL}, answered by the simulator. Try:")
            print(f"  curl {URL}/api/chat -d '{json.dumps(CHAT)}'")
            print("Ctrl-C ends it.", flush=True)
            server.wait()
        except KeyboardInterrupt:
            print()
        finally:
            if server.poll() is None:
                server.terminate()
                server.wait(30)


if __name__ == "__main__":
    main()
