"""Connect: what to enter in each client, with this server's address filled in, and which ones have been here."""

from __future__ import annotations

import re
from itertools import groupby
from typing import Final

from flask import Response, request

from ollama_proxy.access.policy import is_loopback_bind
from ollama_proxy.clients.cards import cards
from ollama_proxy.clients.user_agents import KNOWN
from ollama_proxy.ops.moments import moment
from ollama_proxy.storage.database import StorageUnavailable
from ollama_proxy.ui.page import Page, Route, shown
from ollama_proxy.web.context import caller, runtime

#: A name or an address and perhaps a port (RFC 3986, 3.2.2): nothing else is put into lines for a shell.
_HOST: Final = re.compile(r"[A-Za-z0-9._-]{1,253}(?::\d{1,5})?|\[[0-9A-Fa-f:.]{2,45}\](?::\d{1,5})?")


def connect() -> Response:
    """GET /ui/connect."""
    settings = runtime().settings
    try:
        seen = {name: moment(at) for name, at in runtime().clients.last_seen().items()}
        is_known = True
    except StorageUnavailable:
        seen, is_known = {}, False
    return shown(
        "connect.html",
        address=own_address(request.scheme, request.environ.get("HTTP_HOST", ""), settings.port),
        groups=[(name, list(found)) for name, found in groupby(cards(), key=lambda card: card.group)],
        count=len(cards()),
        seen=seen,
        can_be_told=KNOWN if is_known else frozenset(),
        needs_key=caller().holds is not None,
        is_local_only=is_loopback_bind(settings.host),
    )


def own_address(scheme: str, host: str, port: int) -> str:
    """Return this server's address as the viewer reached it; where the Host is none, that of its own machine."""
    return f"{scheme}://{host}" if _HOST.fullmatch(host) else f"http://localhost:{port}"


page = Page("Connect", (Route("/connect", connect),))
