"""The Ollama API's routes, as one table, and how its errors are answered.

Paths and methods are Ollama's (docs/contract.md, "Endpoints"): what is not in the table is a plain 404 or 405.
"""

from __future__ import annotations

import structlog
from flask import Blueprint, Response, request

from ollama_proxy.errors import ProxyError
from ollama_proxy.ollama import account, catalogue, chatting, embedding, library
from ollama_proxy.ollama.errors import error_body
from ollama_proxy.ollama.served import JSON, STREAM_JSON, observation

log = structlog.get_logger("ollama_proxy")
blueprint = Blueprint("ollama", __name__)

_ROUTES = (
    ("HEAD,GET", "/", catalogue.alive),
    ("HEAD,GET", "/api/version", catalogue.version),
    ("HEAD,GET", "/api/tags", catalogue.tags),
    ("GET", "/api/ps", catalogue.ps),
    ("POST", "/api/show", catalogue.show),
    ("POST", "/api/chat", chatting.chat),
    ("POST", "/api/generate", chatting.generate),
    ("POST", "/api/embed", embedding.embed),
    ("POST", "/api/embeddings", embedding.embeddings),
    ("POST", "/api/pull", library.pull),
    ("POST", "/api/push", library.push),
    ("POST", "/api/create", library.create),
    ("POST", "/api/copy", library.copy),
    ("DELETE", "/api/delete", library.delete),
    ("POST,HEAD", "/api/blobs/<digest>", library.blob),
    ("GET", "/api/status", account.status),
    ("POST", "/api/me", account.me),
    ("POST", "/api/signout", account.signout),
    ("DELETE", "/api/user/keys/<key>", account.signout),
    ("POST", "/api/experimental/web_search", account.web_search),
    ("POST", "/api/experimental/web_fetch", account.web_fetch),
    ("GET", "/api/experimental/model-recommendations", account.recommendations),
)

for _methods, _path, _view in _ROUTES:
    _endpoint = f"{_view.__name__}_{_path.count('<')}"
    blueprint.add_url_rule(_path, _endpoint, _view, methods=_methods.split(","))


@blueprint.errorhandler(ProxyError)
def _proxy_error(error: ProxyError) -> Response:
    noted = observation()
    noted.error = error.message if error.status >= 500 else ""
    # An error that takes the place of a stream's first line has Ollama's other spelling of the type.
    response = Response(error_body(error), status=error.status, content_type=STREAM_JSON if noted.streamed else JSON)
    if error.retry_after is not None:
        response.headers["Retry-After"] = str(error.retry_after)
    return response


@blueprint.errorhandler(Exception)
def _unexpected(error: Exception) -> Response:
    log.error("request failed", path=request.path, error=type(error).__name__, exc_info=True)
    return _proxy_error(ProxyError("internal error"))
