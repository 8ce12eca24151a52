"""`make demo`: simulator and server, without a key or a network. Lists the models, streams one chat, stays up."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import requests

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from ollama_proxy.config import VARIABLES  # noqa: E402
from simulator.process import Simulator  # noqa: E402

PORT = os.environ.get("PORT", "11434")
URL = f"http://127.0.0.1:{PORT}"
CHAT = {"model": "free", "messages": [{"role": "user", "content": "Say hello to whoever runs this demo."}]}


def start_server(upstream: str, directory: str) -> subprocess.Popen[bytes]:
    """The proxy itself, as `make run` starts it, with the simulator for OpenRouter.

    It runs in `directory`, so that neither `.env` nor a model filter of the project counts, and without the settings of
    this shell, but for HOST, PORT and LOG_LEVEL.
    """
    environment = {
        **{name: value for name, value in os.environ.items() if name not in VARIABLES},
        "PYTHONPATH": str(ROOT),
        "OPENROUTER_API_KEY": "sk-or-demo",
        "OPENROUTER_BASE_URL": upstream,
        "HOST": os.environ.get("HOST", "127.0.0.1"),
        "PORT": PORT,
        "DATABASE_URL": f"sqlite:///{directory}/demo.db",
        "LOG_LEVEL": os.environ.get("LOG_LEVEL", "WARNING"),
    }
    return subprocess.Popen([sys.executable, "-m", "ollama_proxy"], cwd=directory, env=environment)


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
    print(f"\nModels ({URL}/api/tags):")
    for model in requests.get(f"{URL}/api/tags", timeout=10).json()["models"]:
        print(f"  {model['name']:<28} {model['details']['context_length']:>9}  {' '.join(model['capabilities'])}")


def stream_chat() -> None:
    print(f"\nA chat ({URL}/api/chat):\n  > {CHAT['messages'][0]['content']}\n  < ", end="", flush=True)  # type: ignore[index]
    with requests.post(f"{URL}/api/chat", json=CHAT, stream=True, timeout=30) as response:
        for line in response.iter_lines():
            chunk = json.loads(line)
            print(chunk["message"]["content"], end="", flush=True)
            if chunk["done"]:
                print(f"\n  ({chunk['eval_count']} tokens, answered by {response.headers['X-OpenRouter-Model']})")


def main() -> None:
    with tempfile.TemporaryDirectory() as directory, Simulator(scenario={"token_delay": 0.05}) as simulator:
        server = start_server(simulator.url, directory)
        # Ctrl-C reaches the whole group; the server drains, and the demo waits for it below.
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
