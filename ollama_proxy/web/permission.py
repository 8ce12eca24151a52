"""Who may change what all clients of this server share, beside the rules of access (docs/contract.md, "Personas")."""

from __future__ import annotations

from flask import request

from ollama_proxy.errors import Forbidden, NeedsAdmin
from ollama_proxy.web.context import caller, runtime


def check_may_change() -> None:
    """Raise Forbidden if the caller holds a key that is no admin's, or is a web page that is not trusted with this.

    Trusted are this server's own pages, and those whose origin stands in OLLAMA_ORIGINS without a `*`.
    """
    key = caller().holds
    if key is not None and not key.admin:
        raise NeedsAdmin
    if not runtime().access.is_trusted_page(request.environ):
        raise Forbidden("forbidden: only a page of this server, or one that OLLAMA_ORIGINS names in full, may do that")
