"""The routes that change the collection of models: all are refused, because OpenRouter's models cannot be changed.

Pulling a model that would answer succeeds at once, because several clients pull a model before they use it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

from flask import Response

from ollama_proxy.errors import BadRequest, ModelNotFound, NotImplementedHere, ProxyError
from ollama_proxy.ollama.answer import lines
from ollama_proxy.ollama.models.lookup import check_name, pulled_target, stands_in
from ollama_proxy.ollama.models.tags import STUB_BYTES, Listed
from ollama_proxy.ollama.request.library_bodies import read_copy, read_create, read_delete, read_pull, read_push
from ollama_proxy.ollama.views.replies import NDJSON, STREAM_JSON, json_reply
from ollama_proxy.ollama.views.state import listing
from ollama_proxy.web.context import asked_for, observation, request_body, runtime

_SUCCESS = "success"
_STANDS_IN = "there is no model of this name: the free models answer in its place"
_DIGEST = re.compile(r"sha256[:-][0-9a-fA-F]{64}")
_WHY = "the models of this server are OpenRouter's"


def pull() -> Response:
    """POST /api/pull: succeeds for every name with which a chat or an embedding would be answered."""
    asked = read_pull(request_body())
    asked_for(asked.asked)
    catalog = runtime().backend.catalog()
    try:
        target = pulled_target(asked.asked, catalog, strict=runtime().settings.strict_models)
    except ModelNotFound as error:
        raise _refused(error.message) from error
    if not asked.stream:
        return json_reply({"status": _SUCCESS}, content_type=STREAM_JSON)
    return _status_lines(_pulled(listing().listed(catalog, target), stands_in=stands_in(target)))


def _pulled(model: Listed, *, stands_in: bool) -> Iterator[dict[str, Any]]:
    """The lines of a pull, with one layer, which is complete."""
    yield {"status": "pulling manifest"}
    digest, size = model.digest, STUB_BYTES
    yield {"status": f"pulling {digest[:12]}", "digest": f"sha256:{digest}", "total": size, "completed": size}
    yield {"status": "verifying sha256 digest"}
    yield {"status": "writing manifest"}
    if stands_in:
        yield {"status": _STANDS_IN}
    yield {"status": _SUCCESS}


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


def _status_lines(statuses: Iterable[dict[str, Any]]) -> Response:
    observation().streamed = True
    return Response(b"".join(lines.json_line(status) + b"\n" for status in statuses), content_type=NDJSON)
