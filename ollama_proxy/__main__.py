"""`python -m ollama_proxy`: the same server as `gunicorn wsgi:app`, with its main settings on the command line.

It only sets the environment and becomes gunicorn. Nothing else is imported here: gevent must patch the process before
`requests` is loaded, which gunicorn.conf.py does first thing.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def parser() -> argparse.ArgumentParser:
    """The command line: each option overrides the environment variable of its name."""
    commands = argparse.ArgumentParser(
        prog="python -m ollama_proxy",
        description="Ollama's API on port 11434, answered by OpenRouter's models.",
        epilog="Everything else is set by environment variables or .env, see docs/configuration.md.",
    )
    commands.add_argument("--api-key", metavar="KEY", help="the OpenRouter key (OPENROUTER_API_KEY)")
    commands.add_argument("--host", help="the address to listen on (HOST, default 0.0.0.0)")
    commands.add_argument("--port", help="the port to listen on (PORT, default 11434)")
    commands.add_argument("--models-filter", metavar="FILE", help="the model filter file (MODELS_FILTER)")
    return commands


def main(arguments: list[str] | None = None) -> None:
    """Become gunicorn. Does not return."""
    given = parser().parse_args(arguments)
    for variable, value in (
        ("OPENROUTER_API_KEY", given.api_key),
        ("HOST", given.host),
        ("PORT", given.port),
        ("MODELS_FILTER", given.models_filter),
    ):
        if value is not None:
            os.environ[variable] = value
            # The variable that names a file would be a second value beside this one.
            os.environ.pop(f"{variable}_FILE", None)
    # The working directory stays the user's: .env and the filter files are read from there.
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    gunicorn = [sys.executable, "-m", "gunicorn", "--config", str(ROOT / "gunicorn.conf.py"), "wsgi:app"]
    os.execv(sys.executable, gunicorn)


if __name__ == "__main__":
    main()
