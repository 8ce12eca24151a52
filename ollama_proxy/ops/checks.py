"""The doctor looks at everything that is usually wrong, and says what to do about it (`ollama-proxy doctor`).

It changes nothing (but fetches a model list where there is none), spends no free request, and prints neither keys nor
the database's password.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from enum import StrEnum
from typing import Any

import requests

from ollama_proxy.access.policy import describe_access
from ollama_proxy.catalog.fetch import FetchFailed
from ollama_proxy.catalog.snapshot import Catalog
from ollama_proxy.config import Settings, missing_key_text
from ollama_proxy.fallback.cooldown import all_believed
from ollama_proxy.openrouter.errors.retry_times import in_words
from ollama_proxy.ops.key_check import REFUSED_TEXT, KeyState, check_key
from ollama_proxy.runtime import Runtime
from ollama_proxy.storage import migrate
from ollama_proxy.storage.database import StorageUnavailable
from ollama_proxy.version import __version__

#: A clock that is wrong by more than this many seconds makes limits lift too early or too late.
WRONG_CLOCK = 30.0

_LOCAL_SECONDS = 2.0
_UPSTREAM_SECONDS = 5.0


class Grade(StrEnum):
    """How a finding is printed. Only WRONG changes the exit code."""

    FINE = "ok"
    NOTE = "note"
    WRONG = "WRONG"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line: how it is, what was looked at, and the words."""

    grade: Grade
    subject: str
    text: str


def examine(runtime: Runtime) -> Iterator[Finding]:
    """All findings, in the order in which to read them."""
    settings = runtime.settings
    yield Finding(Grade.FINE, "version", f"ollama-proxy {__version__}")
    yield from look_at_key(runtime)
    yield from look_at_clock(settings)
    yield from look_at_database(runtime)
    catalog = find_catalog(runtime)
    if isinstance(catalog, str):
        yield Finding(Grade.WRONG, "models", f"there is no model list: {catalog}")
    else:
        yield from look_at_models(catalog)
        yield from look_at_filters(runtime, catalog)
    yield from look_at_limits(runtime, time.time())
    yield from look_at_port(settings)
    who, *warnings = describe_access(settings)
    yield Finding(Grade.FINE, "access", who)
    yield from (Finding(Grade.NOTE, "access", warning) for warning in warnings)


def look_at_key(runtime: Runtime) -> Iterator[Finding]:
    """Is there a key, is it accepted, and what is left on it?"""
    if not runtime.settings.openrouter_api_key:
        yield Finding(Grade.WRONG, "key", missing_key_text())
        return
    checked = check_key(runtime.backend.client)
    if checked.state is KeyState.REFUSED:
        yield Finding(Grade.WRONG, "key", REFUSED_TEXT)
    elif checked.state is KeyState.UNKNOWN:
        yield Finding(Grade.WRONG, "key", f"could not be checked: {checked.reason}")
    else:
        yield Finding(Grade.FINE, "key", "accepted by OpenRouter")
        yield from look_at_credits(checked.limits)


def look_at_credits(limits: Mapping[str, Any]) -> Iterator[Finding]:
    """What `GET /key` says is left: credits in dollars, and the free requests of the day."""
    left, limit = _number(limits.get("limit_remaining")), _number(limits.get("limit"))
    if limit is None or left is None:
        yield Finding(Grade.FINE, "credits", "the key has no credit limit of its own")
    else:
        text = f"${left:.2f} of the key's limit of ${limit:.2f} are left"
        yield Finding(Grade.FINE if left > 0 else Grade.NOTE, "credits", text)
    free = limits.get("free_model_daily_requests")
    if isinstance(free, Mapping) and (most := _number(free.get("limit"))) is not None:
        used = _number(free.get("used")) or 0
        text = f"{used:g} of {most:g} free requests used today (OpenRouter's count lags by a minute or more)"
        if used >= most:
            text += "; free models answer again after midnight UTC"
        elif limits.get("is_free_tier") is True:
            text += "; an account that once bought $10 of credits has 1000 a day"
        yield Finding(Grade.FINE if used < most else Grade.WRONG, "free quota", text)


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


def look_at_database(runtime: Runtime) -> Iterator[Finding]:
    """Can it be reached, and has it the tables of this version?"""
    label = runtime.database.label
    try:
        at = migrate.current(runtime.database)
    except StorageUnavailable as error:
        text = f"{error}. The server runs without it, but forgets failures when it ends: see DATABASE_URL"
        yield Finding(Grade.WRONG, "database", text)
        return
    if at == migrate.head():
        yield Finding(Grade.FINE, "database", f"{label} is at {at}")
    else:
        text = f"{label} is at {at or 'nothing yet'}, not at {migrate.head()}: run `ollama-proxy db upgrade`"
        yield Finding(Grade.WRONG, "database", text)


def look_at_models(catalog: Catalog) -> Iterator[Finding]:
    """Is anything left to serve?"""
    age = in_words(max(time.time() - catalog.fetched_at, 0))
    text = f"{len(catalog.models)} listed, {len(catalog.free)} of them free; the list is {age} old"
    grade = Grade.FINE
    if not catalog.models:
        grade, text = Grade.WRONG, text + ". Filters and modes leave nothing to serve"
    yield Finding(grade, "models", text)


def look_at_filters(runtime: Runtime, catalog: Catalog) -> Iterator[Finding]:
    """Lines that match nothing are typing errors, or models that are gone."""
    names = [(model.name, model.id) for model in catalog.known()]
    filters = runtime.filters.current()
    missed = filters.unmatched(names, free_mode=runtime.settings.free_mode)
    if missed:
        shown = ", ".join(line[:80] for line in missed[:10]) + (", ..." if len(missed) > 10 else "")
        yield Finding(Grade.WRONG, "filters", f"{len(missed)} lines match no model: {shown}")
    elif filters.names or filters.parts:
        yield Finding(Grade.FINE, "filters", f"{len(filters.names) + len(filters.parts)} lines, each matches a model")
    else:
        yield Finding(Grade.FINE, "filters", "none")


def look_at_limits(runtime: Runtime, now: float) -> Iterator[Finding]:
    """Limits and failures that the servers on this database remember."""
    try:
        limits = [limit for limit in all_believed(runtime.failures.limits(), now) if limit.until > now]
        cooling = sum(row.until > now for row in all_believed(runtime.failures.load(), now))
    except StorageUnavailable:
        return
    for limit in limits:
        yield Finding(Grade.NOTE, "limit", f"{limit.reason}; lifts in {in_words(limit.until - now)}")
    if cooling:
        yield Finding(Grade.NOTE, "failures", f"{cooling} models cool down: `ollama-proxy models` tells why")


def look_at_port(settings: Settings) -> Iterator[Finding]:
    """Who has our port: nobody, a server of ours, or a real Ollama?"""
    if _is_free(settings.host, settings.port):
        yield Finding(Grade.FINE, "port", f"{settings.port} is free (the server is not running)")
        return
    holder = _holder(settings)
    if holder.startswith("ollama-proxy"):
        yield Finding(Grade.FINE, "port", f"{settings.port} is held by {holder}")
    elif holder == "Ollama":
        text = (
            f"{settings.port} is held by a real Ollama: stop it (`systemctl stop ollama`, or quit its app), or give "
            "this server another PORT and let clients know (OLLAMA_HOST)"
        )
        yield Finding(Grade.WRONG, "port", text)
    else:
        yield Finding(Grade.WRONG, "port", f"{settings.port} is held by another program: stop it, or set PORT")


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


def _holder(settings: Settings) -> str:
    """Who answers on our port: `ollama-proxy VERSION`, `Ollama`, or an empty text for anybody else."""
    host = settings.host.strip("[]")
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)
    with requests.Session() as session:
        session.trust_env = False  # a proxy has no business here

        def get(path: str) -> requests.Response:
            return session.get(f"http://{host}:{settings.port}{path}", timeout=_LOCAL_SECONDS)

        try:
            body = _json_of(get("/health"))
            if body.get("name") == "ollama-proxy":
                return f"ollama-proxy {str(body.get('version'))[:20]}"
            return "Ollama" if get("/").text.strip() == "Ollama is running" else ""
        except requests.RequestException:
            return ""


def _json_of(answer: requests.Response) -> Mapping[str, Any]:
    try:
        body = answer.json()
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def find_catalog(runtime: Runtime) -> Catalog | str:
    """The stored list, else a fetched one; or why there is none."""
    keeper = runtime.backend.keeper
    if not keeper.load_stored():
        try:
            keeper.refresh_if_due()
        except FetchFailed as error:
            return str(error)
    return keeper.current() or keeper.last_error or "no reason is known"


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
