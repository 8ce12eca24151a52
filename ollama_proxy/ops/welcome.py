"""What a start says to a person: few lines, where the log would go to a terminal. Pure but for the last function.

Elsewhere the same news are lines of the log (`starting.announce`). No line holds a key.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence

from ollama_proxy.access.policy import describe_access
from ollama_proxy.access.register import NO_KEYS, Register
from ollama_proxy.catalog.snapshot import Catalog
from ollama_proxy.config import PRIVATE_NETWORKS, Settings
from ollama_proxy.ledger.quota import Quota
from ollama_proxy.openrouter.errors.retry_times import in_words
from ollama_proxy.ops.address import is_unspecified, lan_address, local_url
from ollama_proxy.ops.moments import local_time
from ollama_proxy.ops.terminal import Palette, has_colour
from ollama_proxy.runtime import Runtime
from ollama_proxy.version import __version__

#: Seconds that a worker waits for its first model list before it says so.
PATIENCE = 60.0
#: Seconds that it then waits for what OpenRouter says of the quota. If another worker has asked, that is written within
#: two seconds and read within one.
QUOTA_PATIENCE = 5.0

_CHAT = '{"model": "free", "messages": [{"role": "user", "content": "Why is the sky blue?"}]}'


def welcome_lines(
    settings: Settings,
    *,
    lan: str | None,
    warnings: Sequence[str],
    paint: Palette,
    register: Register | None = NO_KEYS,
) -> list[str]:
    """Version, who may call, the addresses, and what to try. `lan` is this machine's address in its network."""
    who, *doubts = describe_access(settings, register)
    mode = "free models only" if settings.free_mode else "all models, which cost money"
    here = _here(settings)
    addresses = [here]
    if lan is not None and is_unspecified(settings.host):
        addresses.append(f"http://{lan}:{settings.port}")
    needs_key = settings.proxy_api_keys or register is None or register.required
    key = " -H 'Authorization: Bearer KEY'" if needs_key else ""
    return [
        f"{paint('ollama-proxy', bold=True)} {__version__}: {mode}",
        _who(settings, who),
        "",
        *(f"  {paint(address, 'cyan')}" for address in addresses),
        "",
        f"  OLLAMA_HOST={here} ollama run free",
        f"  curl{key} {here}/api/chat -d '{_CHAT}'",
        "",
        *(paint(f"warning: {warning}", "yellow") for warning in [*doubts, *warnings]),
    ]


def _who(settings: Settings, line: str) -> str:
    """Who may call, shorter than in the log's `line`."""
    who = line.partition(": ")[2]
    if settings.allow_networks == PRIVATE_NETWORKS:
        who = who.replace(", ".join(map(str, PRIVATE_NETWORKS)), "private networks")
    return who


def _here(settings: Settings) -> str:
    """The address for programs on this machine."""
    if is_unspecified(settings.host) or settings.host == "127.0.0.1":
        return f"http://localhost:{settings.port}"
    return local_url(settings.host, settings.port)


def models_line(catalog: Catalog | None, error: str | None, paint: Palette) -> str:
    """How many models there are, and which is tried first."""
    if catalog is None:
        return paint(f"no models yet: {error}", "yellow")
    if not catalog.models:
        return paint("no models: filters and modes leave nothing to serve", "yellow")
    first = f"; {paint(catalog.free[0].name, bold=True)} is tried first" if catalog.free else ""
    count = len(catalog.models)
    return f"{count} {'model' if count == 1 else 'models'}{first}"


def quota_line(quota: Quota, now: float, paint: Palette) -> str | None:
    """How many free requests are left today; None if nobody knows."""
    left = quota.free_left
    if left is None:
        return None
    text = (
        f"{left} of {quota.free_limit} free requests left today" if quota.free_limit else "no free requests left today"
    )
    if not left:
        again = local_time(quota.resets_at, now)
        text += f"; free models answer again at {again}, in {in_words(quota.resets_at - now)}"
    return paint(text, "green" if left else "red")


def say(lines: Sequence[str]) -> None:
    """Write `lines` to the terminal, as one write: workers and their master share it."""
    sys.stderr.write("".join(f"{line}\n" for line in lines))
    sys.stderr.flush()


def greet(settings: Settings, warnings: Sequence[str], register: Register | None = NO_KEYS) -> None:
    """Say the first lines."""
    lan = lan_address() if is_unspecified(settings.host) else None
    paint = Palette(colour=has_colour(sys.stderr))
    say(welcome_lines(settings, lan=lan, warnings=warnings, paint=paint, register=register))


def tell_when_known(runtime: Runtime) -> None:
    """Wait for the first model list, then say what there is. Needs a greenlet or thread of its own."""
    keeper, paint = runtime.backend.keeper, Palette(colour=has_colour(sys.stderr))
    keeper.wait_ready(PATIENCE)
    lines = [models_line(keeper.current(), keeper.last_error, paint)]
    deadline = time.monotonic() + QUOTA_PATIENCE
    while runtime.quota.now().free_left is None and time.monotonic() < deadline:
        time.sleep(0.1)
        runtime.revisions.freshen()  # no request has come yet that would bring in what another worker was told
    if runtime.settings.free_mode and (quota := quota_line(runtime.quota.now(), time.time(), paint)) is not None:
        lines.append(quota)
    say(lines)
