"""Playground: a chat with any listed model. It is an ordinary chat of the Ollama API, at an address of its own.

A browser does not send the key of a page to /api/chat, and other pages may call that: only this server's own page may
post here (`access/pages.py`). Nothing of a chat is kept but what the ledger has of every request.
"""

from __future__ import annotations

from typing import Any, Final

import orjson
from flask import Response, request

from ollama_proxy.access.pages import PAGES
from ollama_proxy.catalog.virtual import VIRTUAL_MODELS
from ollama_proxy.errors import Unavailable
from ollama_proxy.ollama import error_form
from ollama_proxy.ollama.views import chat, discovery
from ollama_proxy.ops.status.request_states import NoSuchRequest, one_request
from ollama_proxy.storage.database import StorageUnavailable
from ollama_proxy.ui.page import Page, Route, look, shown
from ollama_proxy.web.context import MEGABYTE, observation, runtime
from ollama_proxy.web.query import text_of

#: Where the page's script asks, and the form of errors there: it reads JSON.
ASKED_BY_SCRIPT: Final = (f"{PAGES}/playground/", error_form)

Json = dict[str, Any]


def playground() -> Response:
    """GET /ui/playground; `model` in the query is the one that is chosen first."""
    try:
        models, why_empty = _chatting(), ""
    except Unavailable as error:
        models, why_empty = [], error.message
    groups = (
        ("The best free model", [model for model in models if model["name"] in VIRTUAL_MODELS]),
        ("One model", [model for model in models if model["name"] not in VIRTUAL_MODELS]),
    )
    return shown(
        "playground.html",
        groups=[(title, found) for title, found in groups if found],
        why_empty=why_empty,
        chosen=request.args.get("model", ""),
        titles={name: model.title for name, model in VIRTUAL_MODELS.items()},
        most_bytes=int(runtime().settings.max_body_mb * MEGABYTE),
    )


def ask() -> Response:
    """POST /ui/playground/chat: the body and the answer are those of POST /api/chat."""
    # It is counted with the API that answers; the route tells the two apart.
    observation().api = "ollama"
    return chat.chat()


def answered(request_id: str) -> Response:
    """GET /ui/playground/answered/ID: {"request": what the log has of a chat}, null while it is not written."""
    try:
        found = one_request(look(), text_of("id", request_id))
    except (NoSuchRequest, StorageUnavailable):
        found = {"request": None}
    response = Response(orjson.dumps(found), content_type=error_form.CONTENT_TYPE)
    response.headers["Cache-Control"] = "no-store"
    return response


def _chatting() -> list[Json]:
    """The models that chat, as the viewer's programs get them from /api/tags. Raises Unavailable without a list."""
    listed: list[Json] = orjson.loads(discovery.tags().get_data())["models"]
    return [
        {
            "name": model["name"],
            "sees": "vision" in model["capabilities"],
            "thinks": "thinking" in model["capabilities"],
            "window": model["details"]["context_length"],
        }
        for model in listed
        if "completion" in model["capabilities"]
    ]


page = Page(
    "Playground",
    (
        Route("/playground", playground),
        Route("/playground/chat", ask, "POST"),
        Route("/playground/answered/<request_id>", answered),
    ),
)
