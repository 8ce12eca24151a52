"""What the doctor can only find on the machine where it runs: the clock, the port, `.env`."""

from __future__ import annotations

import socket
import stat
import time
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from pathlib import Path

import requests

from ollama_proxy.config import Settings, misspelt_names
from ollama_proxy.openrouter.errors.retry_times import in_words
from ollama_proxy.ops.address import NAME, holder, local_url, port_is_taken_text
from ollama_proxy.ops.findings import Finding, Grade

#: A clock that is wrong by more than this many seconds makes limits lift too early or too late.
WRONG_CLOCK = 30.0

_UPSTREAM_SECONDS = 5.0


def look_at_env_file(directory: Path) -> Iterator[Finding]:
    """Which `.env` is read, who else can read it, and which names in it and in the environment look misspelt."""
    file = directory / ".env"
    try:
        mode = file.stat().st_mode
    except OSError:
        yield Finding(Grade.FINE, ".env", f"there is none in {directory}")
    else:
        yield Finding(Grade.FINE, ".env", f"{file} is read")
        if mode & (stat.S_IRGRP | stat.S_IROTH):
            yield Finding(Grade.NOTE, ".env", "other users of this machine can read it: chmod 600 .env")
    yield from (Finding(Grade.NOTE, ".env", warning) for warning in misspelt_names())


def look_at_clock(settings: Settings) -> Iterator[Finding]:
    """Compare this machine's clock with the `Date` of an answer of OpenRouter's, which needs no key."""
    try:
        answer = requests.head(f"{settings.openrouter_base_url.rstrip('/')}/models/count", timeout=_UPSTREAM_SECONDS)
    except requests.RequestException as error:
        yield Finding(Grade.NOTE, "clock", f"could not be compared: {type(error).__name__}")
        return
    wrong_by = clock_error(answer.headers.get("Date", ""), time.time())
    if wrong_by is None:
        yield Finding(Grade.NOTE, "clock", "could not be compared: the answer has no date")
    elif abs(wrong_by) > WRONG_CLOCK:
        which = "ahead" if wrong_by > 0 else "behind"
        text = f"this machine's clock is {in_words(abs(wrong_by))} {which}: limits lift at the wrong time"
        yield Finding(Grade.WRONG, "clock", text)
    else:
        yield Finding(Grade.FINE, "clock", "right")


def clock_error(date: str, now: float) -> float | None:
    """Seconds that `now` is ahead of an HTTP date; None for what is no date."""
    try:
        return now - parsedate_to_datetime(date).timestamp()
    except (TypeError, ValueError):
        return None


def look_at_port(settings: Settings) -> Iterator[Finding]:
    """Who has our port: nobody, a server of ours, or somebody else?"""
    if _is_free(settings.host, settings.port):
        yield Finding(Grade.FINE, "port", f"{settings.port} is free (the server is not running)")
        return
    found = holder(local_url(settings.host, settings.port))
    if found.name == NAME:
        yield Finding(Grade.FINE, "port", f"{settings.port} is held by {found}")
    else:
        text = port_is_taken_text(settings.host, settings.port)
        yield Finding(Grade.WRONG, "port", f"{settings.port} is {text}")


def _is_free(host: str, port: int) -> bool:
    host = host.strip("[]")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True
