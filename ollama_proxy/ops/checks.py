"""The doctor looks at everything that is usually wrong, and says what to do about it (`ollama-proxy doctor`).

Here is what a server and its database can tell; what only the machine can is in `machine_checks.py`. It changes nothing
(but fetches a model list where there is none), spends no free request, and prints neither keys nor the database's
password.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import Any

from ollama_proxy.access.policy import describe_access
from ollama_proxy.catalog.fetch import FetchFailed
from ollama_proxy.catalog.snapshot import Catalog
from ollama_proxy.config import missing_key_text
from ollama_proxy.ledger.key_check import REFUSED_TEXT, KeyState, check_key
from ollama_proxy.ledger.quota import Quota
from ollama_proxy.openrouter.errors.retry_times import in_words
from ollama_proxy.ops.findings import Finding, Grade
from ollama_proxy.ops.machine_checks import look_at_clock, look_at_env_file, look_at_port
from ollama_proxy.ops.status.account_states import KEY_TEXTS
from ollama_proxy.ops.status.name_states import meaning, persona_states
from ollama_proxy.ops.status.views import View
from ollama_proxy.runtime import Runtime
from ollama_proxy.storage import migrate
from ollama_proxy.storage.database import StorageUnavailable
from ollama_proxy.version import __version__

#: A limit that holds for longer than this many seconds is no hiccup: something is used up, or wrong.
LONG_LIMIT = 120.0

#: So many personas are named by the doctor.
_MOST_NAMED = 10

#: What clients are answered while a limit of requests holds; any other status means that the account is in trouble.
_TOO_MANY_REQUESTS = 429


def findings_of_server(view: View) -> Iterator[Finding]:
    """What the server itself finds, in the order in which to read it: /api/proxy/doctor."""
    yield _version(view)
    yield from look_at_quota(view.quota, view.now)
    yield from look_at_database(view.runtime)
    yield from look_at_models(view)
    yield from look_at_filters(view)
    yield from look_at_names(view)
    yield from look_at_limits(view)
    yield from look_at_access(view.runtime)


def findings_that_matter(view: View) -> list[Finding]:
    """What the server finds wrong, or worth a note, without asking the database: for whoever looks often."""
    found = chain(
        look_at_quota(view.quota, view.now),
        look_at_models(view),
        look_at_filters(view),
        look_at_limits(view),
        look_at_access(view.runtime),
    )
    return sorted((one for one in found if one.grade is not Grade.FINE), key=lambda one: one.grade is not Grade.WRONG)


def findings_without_server(view: View) -> Iterator[Finding]:
    """What can be found where no server answers, from this machine's settings and database."""
    yield Finding(Grade.FINE, "version", f"ollama-proxy {__version__}")
    yield from look_at_key(view.runtime)
    yield from look_at_clock(view.runtime.settings)
    yield from look_at_database(view.runtime)
    catalog = find_catalog(view.runtime)
    if isinstance(catalog, str):
        yield Finding(Grade.WRONG, "models", f"there is no model list: {catalog}")
    else:
        yield from look_at_models(view)
        yield from look_at_filters(view)
        yield from look_at_names(view)
    yield from look_at_limits(view)
    yield from look_at_port(view.runtime.settings)
    yield from look_at_env_file(Path.cwd())
    yield from look_at_access(view.runtime)


def _version(view: View) -> Finding:
    since = view.runtime.serving_since
    served = "" if since is None else f", serving for {in_words(view.now - since)}"
    return Finding(Grade.FINE, "version", f"ollama-proxy {__version__}{served}")


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


def look_at_quota(quota: Quota, now: float) -> Iterator[Finding]:
    """What the server knows of its key, from OpenRouter and from what requests met, and what is left of the account."""
    if (text := KEY_TEXTS.get(quota.key_state)) is not None:
        yield Finding(Grade.WRONG, "key", text)
    elif quota.key_state is KeyState.UNKNOWN:
        yield Finding(Grade.NOTE, "key", "OpenRouter has not told yet whether it accepts the key")
    else:
        yield Finding(Grade.FINE, "key", "accepted by OpenRouter")
    if quota.credits_limit is not None and quota.credits_left is not None:
        text = f"${quota.credits_left:.2f} of the key's limit of ${quota.credits_limit:.2f} are left"
        yield Finding(Grade.FINE if quota.credits_left > 0 else Grade.NOTE, "credits", text)
    if quota.free_left is None:
        return
    text = f"{quota.free_used} of {quota.free_limit} free requests used today"
    if quota.free_limit is None:
        text = "the day's free requests are used up"
    if not quota.free_left:
        text += f"; free models answer again in {in_words(quota.resets_at - now)}, at midnight UTC"
    elif quota.is_free_tier:
        text += "; an account that once bought $10 of credits has 1000 a day"
    yield Finding(Grade.FINE if quota.free_left else Grade.WRONG, "free quota", text)


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
        yield Finding(Grade.WRONG, "database", migrate.behind_text(runtime.database, at))


def look_at_models(view: View) -> Iterator[Finding]:
    """Is anything left to serve?"""
    catalog, keeper = view.catalog, view.runtime.backend.keeper
    if catalog is None:
        yield Finding(Grade.WRONG, "models", f"there is no model list: {keeper.last_error}")
        return
    age = in_words(max(view.now - catalog.fetched_at, 0))
    text = f"{len(catalog.models)} listed, {len(catalog.free)} of them free; the list is {age} old"
    grade = Grade.FINE
    if not catalog.models:
        grade, text = Grade.WRONG, text + ". Filters and modes leave nothing to serve"
    elif view.is_live and keeper.last_error is not None:
        grade, text = Grade.NOTE, f"{text}; no newer one: {keeper.last_error}"
    yield Finding(grade, "models", text)


def look_at_filters(view: View) -> Iterator[Finding]:
    """Lines that match nothing are typing errors, or models that are gone."""
    if view.catalog is None:
        return
    names = [(model.name, model.id) for model in view.catalog.known()]
    filters = view.runtime.filters.current()
    missed = filters.unmatched(names, free_mode=view.runtime.settings.free_mode)
    if missed:
        shown = ", ".join(line[:80] for line in missed[:10]) + (", ..." if len(missed) > 10 else "")
        yield Finding(Grade.WRONG, "filters", f"{len(missed)} lines match no model: {shown}")
    elif filters.names or filters.parts:
        yield Finding(Grade.FINE, "filters", f"{len(filters.names) + len(filters.parts)} lines, each matches a model")
    else:
        yield Finding(Grade.FINE, "filters", "none")


def look_at_names(view: View) -> Iterator[Finding]:
    """Aliases and personas that mean nothing any more, or that stand in the way of a model."""
    catalog = view.catalog
    if catalog is None:
        return
    for alias in catalog.aliases:
        means, why = meaning(catalog.resolve_exactly(alias.target))
        if means is None:
            text = f"{alias.pattern}={alias.target} in MODEL_ALIASES means nothing: {why}"
            yield Finding(Grade.WRONG, "aliases", text)
        elif alias.is_exact and meaning(catalog.resolve_exactly(alias.pattern))[0] is not None:
            text = f"{alias.pattern}={alias.target} is not used: a model or a persona has that name, and goes first"
            yield Finding(Grade.NOTE, "aliases", text)
    try:
        personas = persona_states(view)
    except StorageUnavailable:
        return
    told = [_of_persona(state) for state in personas]
    lines = [text for text in told if text is not None]
    yield from (Finding(Grade.NOTE, "personas", text) for text in lines[:_MOST_NAMED])
    if len(lines) > _MOST_NAMED:
        yield Finding(Grade.NOTE, "personas", f"and {len(lines) - _MOST_NAMED} more (`ollama-proxy personas list`)")
    if personas and not lines:
        yield Finding(Grade.FINE, "personas", f"{len(personas)}, each of a model that is here")


def _of_persona(state: Mapping[str, Any]) -> str | None:
    """What is to be said of a persona, or None."""
    if state["means"] is None:
        return f"{state['name']} is made of {state['base']}, but {state['why']}"
    if state["shadows"] is not None:
        return f"{state['name']} has the name of {state['shadows']}, which is listed now: the persona answers for it"
    return None


def look_at_limits(view: View) -> Iterator[Finding]:
    """The limits and failures that requests met. A limit that will last is wrong, and so is a refused account."""
    try:
        remembered = view.remembered
    except StorageUnavailable:
        return
    for limit in remembered.holding(view.now):
        lasts = limit.until - view.now > LONG_LIMIT or limit.status != _TOO_MANY_REQUESTS
        text = f"{limit.reason}; lifts in {in_words(limit.until - view.now)}"
        yield Finding(Grade.WRONG if lasts else Grade.NOTE, "limit", text)
    cooling = sum(row.until > view.now for row in remembered.failures.values())
    if cooling:
        yield Finding(Grade.NOTE, "failures", f"cooling down: {cooling} (`ollama-proxy models` tells why)")


def look_at_access(runtime: Runtime) -> Iterator[Finding]:
    """Who may call, and where strangers could."""
    if runtime.register.known is None:
        with suppress(StorageUnavailable):
            runtime.register.reload()
    who, *warnings = describe_access(runtime.settings, runtime.register.known)
    yield Finding(Grade.FINE, "access", who)
    yield from (Finding(Grade.NOTE, "access", warning) for warning in warnings)


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
