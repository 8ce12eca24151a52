"""Answers what there is: the liveness text, the version, the models listed, shown and loaded. All from memory."""

from __future__ import annotations

from flask import Response, request

from ollama_proxy.errors import BadRequest, ProxyError
from ollama_proxy.ollama.models.lookup import shown_target
from ollama_proxy.ollama.models.show import UNKNOWN_WIDTH
from ollama_proxy.ollama.models.tags import Listed
from ollama_proxy.ollama.request.library_bodies import read_show
from ollama_proxy.ollama.views.replies import json_reply
from ollama_proxy.ollama.views.state import listing, running
from ollama_proxy.web.context import catalog, has_scope, newest_catalog, request_body, runtime
from ollama_proxy.web.embedding import widths

#: How the User-Agent of Ktor begins, with which koog asks: it fails on the whole list if one model tells no width.
_NEEDS_WIDTH = "ktor"


def alive() -> Response:
    """HEAD, GET /: the first thing that clients ask."""
    return Response("Ollama is running", content_type="text/plain; charset=utf-8")


def hello() -> Response:
    """HEAD /api/hello: with it Claude Code sees whether its server is there."""
    return Response(content_type="text/plain; charset=utf-8")


def version() -> Response:
    """HEAD, GET /api/version: one key and no other, because some clients fail on more."""
    return json_reply({"version": runtime().settings.ollama_version})


def tags() -> Response:
    """HEAD, GET /api/tags."""
    return json_reply(listing().tags(catalog(), strict=runtime().settings.strict_models))


def ps() -> Response:
    """GET /api/ps."""
    loaded = running().entries(_seen) if has_scope() else running().entries()
    return json_reply({"models": loaded})


def _seen(model: Listed) -> Listed | None:
    """What the caller may see of a model that is loaded, for whomever: what its name means in the caller's scope."""
    models = catalog()
    try:
        return listing().listed(models, shown_target(model.name, models, strict=True))
    except ProxyError:
        return None


def show() -> Response:
    """POST /api/show."""
    asked = read_show(request_body())
    if not asked.asked.strip():
        raise BadRequest("model is required")
    models = catalog()
    target = shown_target(asked.asked, models, strict=runtime().settings.strict_models, newer=newest_catalog)
    shown = listing().listed(models, target)
    agent = request.headers.get("User-Agent", "")
    copilot = agent.startswith("GitHubCopilotChat/")
    width = widths().get(target.model.id) if target.model is not None else None
    if agent.lower().startswith(_NEEDS_WIDTH):
        width = width or UNKNOWN_WIDTH
    return json_reply(listing().show(models, shown, asked.asked, copilot=copilot, system=asked.system, width=width))
