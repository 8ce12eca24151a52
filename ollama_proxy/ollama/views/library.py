"""The routes that change the collection of models: all are refused, because OpenRouter's models cannot be changed.

Pulling a listed model succeeds at once, because several clients pull a model before they use it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from flask import Response

from ollama_proxy.errors import BadRequest, NotImplementedHere, ProxyError
from ollama_proxy.ollama.answer import lines
from ollama_proxy.ollama.models.lookup import check_name, listed_model
from ollama_proxy.ollama.request.library_bodies import read_copy, read_create, read_delete, read_pull, read_push
from ollama_proxy.ollama.views.replies import NDJSON, STREAM_JSON, json_reply
from ollama_proxy.web.context import asked_for, observation, request_body, runtime

_PULLED = ("pulling manifest", "verifying sha256 digest", "writing manifest", "success")
_DIGEST = re.compile(r"sha256[:-][0-9a-fA-F]{64}")
_WHY = "the models of this server are OpenRouter's"


def pull() -> Response:
    """POST /api/pull. The refusal is Ollama's own for a model that its registry does not have: the CLI looks for it."""
    asked = read_pull(request_body())
    asked_for(asked.asked)
    if listed_model(asked.asked, runtime().backend.catalog()) is None:
        raise _refused("pull model manifest: file does not exist")
    if asked.stream:
        return _status_lines(_PULLED)
    return json_reply({"status": _PULLED[-1]}, content_type=STREAM_JSON)


def push() -> Response:
    """POST /api/push."""
    asked = read_push(request_body())
    if not asked.asked.strip():
        raise BadRequest("model is required")
    raise _refused(f"models cannot be pushed: {_WHY}")


def create() -> Response:
    """POST /api/create."""
    asked = read_create(request_body())
    check_name(asked.asked, runtime().backend.catalog())
    raise _refused(f"models cannot be created: {_WHY}")


def copy() -> Response:
    """POST /api/copy."""
    asked = read_copy(request_body())
    for field, name in (("source", asked.source), ("destination", asked.destination)):
        _check(name, f'{field} "{name}" is invalid')
    raise NotImplementedHere(f"models cannot be copied: {_WHY}")


def delete() -> Response:
    """DELETE /api/delete."""
    asked = read_delete(request_body())
    if not asked.asked.strip():
        raise BadRequest("model is required")
    _check(asked.asked, f'name "{asked.asked}" is invalid')
    raise NotImplementedHere(f"models cannot be deleted: {_WHY}; a filter file hides the ones you do not want")


def blob(digest: str) -> Response:
    """POST, HEAD /api/blobs/:digest. The body, which may have gigabytes, is not read."""
    if _DIGEST.fullmatch(digest) is None:
        raise BadRequest("invalid digest format")
    raise NotImplementedHere(f"files cannot be uploaded: {_WHY}")


def _check(name: str, text: str) -> None:
    try:
        check_name(name, runtime().backend.catalog())
    except BadRequest as error:
        raise BadRequest(text) from error


def _refused(text: str) -> ProxyError:
    """Return a 501 for a route that answers in lines of status."""
    observation().streamed = True
    return NotImplementedHere(text)


def _status_lines(statuses: Iterable[str]) -> Response:
    observation().streamed = True
    return Response(b"".join(lines.json_line({"status": text}) + b"\n" for text in statuses), content_type=NDJSON)
