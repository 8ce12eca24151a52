"""Answers about an account at ollama.com. There is none, so each answer is one that Ollama's clients can handle."""

from __future__ import annotations

from typing import NoReturn

from flask import Response

from ollama_proxy.errors import Forbidden, NotImplementedHere, Unauthorized
from ollama_proxy.ollama.models.recommended import recommended
from ollama_proxy.ollama.request.library_bodies import read_web
from ollama_proxy.ollama.views.replies import json_reply
from ollama_proxy.ollama.views.state import listing
from ollama_proxy.web.context import catalog, request_body


def status() -> Response:
    """GET /api/status: says that there are no models of ollama.com, so that launchers offer none."""
    return json_reply({"cloud": {"disabled": True, "source": "config"}})


def me() -> NoReturn:
    """POST /api/me. Not 401 as in Ollama: the CLI turns any 401 into "sign in to Ollama", which is impossible here."""
    raise NotImplementedHere("this server has no accounts at ollama.com, and its models need none")


def signout(**_key: str) -> NoReturn:
    """POST /api/signout, and its older form DELETE /api/user/keys/:key, whatever the key."""
    raise Unauthorized("you are not currently signed in")


def web_search() -> NoReturn:
    """POST /api/experimental/web_search."""
    read_web(request_body())
    raise Forbidden("ollama cloud is disabled: web search is unavailable")


def web_fetch() -> NoReturn:
    """POST /api/experimental/web_fetch."""
    read_web(request_body())
    raise Forbidden("ollama cloud is disabled: web fetch is unavailable")


def recommendations() -> Response:
    """GET /api/experimental/model-recommendations."""
    models = catalog()
    return json_reply(recommended(models, listing().virtual(models)))
