"""Pulling, pushing and uploading: the models are OpenRouter's, so nothing comes here and nothing goes away.

Pulling a model that would answer succeeds at once, because several clients pull a model before they use it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NoReturn

from flask import Response

from ollama_proxy.errors import BadRequest, ModelNotFound, NotImplementedHere, ProxyError
from ollama_proxy.gojson.text import quote
from ollama_proxy.ollama.models.lookup import pulled_target, stands_in
from ollama_proxy.ollama.models.tags import Listed, size
from ollama_proxy.ollama.request.library_bodies import read_pull, read_push
from ollama_proxy.ollama.views.replies import STREAM_JSON, json_reply, status_lines
from ollama_proxy.ollama.views.state import listing
from ollama_proxy.web.context import asked_for, catalog, newest_catalog, observation, request_body, runtime

_SUCCESS = "success"
_STANDS_IN = "there is no model of this name: the free models answer in its place"
_DIGEST = re.compile(r"sha256[:-][0-9a-fA-F]{64}")
_WHY = "the models of this server are OpenRouter's"


def pull() -> Response:
    """POST /api/pull: succeeds for every name with which a chat or an embedding would be answered."""
    asked = read_pull(request_body())
    asked_for(asked.asked)
    models = catalog()
    try:
        target = pulled_target(asked.asked, models, strict=runtime().settings.strict_models, newer=newest_catalog)
    except ModelNotFound as error:
        raise _refused(error.message) from error
    if not asked.stream:
        return json_reply({"status": _SUCCESS}, content_type=STREAM_JSON)
    return status_lines(_pulled(listing().listed(models, target), stands_in=stands_in(target)))


def _pulled(model: Listed, *, stands_in: bool) -> Iterator[dict[str, Any]]:
    """The lines of a pull, with one layer, which is complete."""
    yield {"status": "pulling manifest"}
    digest, total = model.digest, size(model)
    yield {"status": f"pulling {digest[:12]}", "digest": f"sha256:{digest}", "total": total, "completed": total}
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


def blob(digest: str) -> NoReturn:
    """POST /api/blobs/:digest. The body, which may have gigabytes, is not read."""
    _check_digest(digest)
    raise NotImplementedHere(f"files cannot be uploaded: {_WHY}")


def blob_exists(digest: str) -> NoReturn:
    """HEAD /api/blobs/:digest: none does. Older command lines ask this first, and learn why when they upload."""
    _check_digest(digest)
    raise ModelNotFound(f"blob {quote(digest)} not found")


def _check_digest(digest: str) -> None:
    if _DIGEST.fullmatch(digest) is None:
        raise BadRequest("invalid digest format")


def _refused(text: str) -> ProxyError:
    """Return a 501 for a route that answers in lines of status."""
    observation().streamed = True
    return NotImplementedHere(text)
