"""The Ollama API's routes, as one table, and how its errors are answered.

Paths and methods are Ollama's (docs/contract.md, "Endpoints"): anything that is not in the table is a plain 404 or 405.
"""

from __future__ import annotations

from flask import Blueprint

from ollama_proxy.ollama import error_form
from ollama_proxy.ollama.views import account, chat, discovery, embed, library, personas
from ollama_proxy.web.error_rendering import ErrorForms, render_errors

blueprint = Blueprint("ollama", __name__)
render_errors(blueprint, ErrorForms(("", error_form)))

_ROUTES = (
    ("HEAD,GET", "/", discovery.alive),
    ("HEAD", "/api/hello", discovery.hello),
    ("HEAD,GET", "/api/version", discovery.version),
    ("HEAD,GET", "/api/tags", discovery.tags),
    ("GET", "/api/ps", discovery.ps),
    ("POST", "/api/show", discovery.show),
    ("POST", "/api/chat", chat.chat),
    ("POST", "/api/generate", chat.generate),
    ("POST", "/api/embed", embed.embed),
    ("POST", "/api/embeddings", embed.embeddings),
    ("POST", "/api/pull", library.pull),
    ("POST", "/api/push", library.push),
    ("POST", "/api/create", personas.create),
    ("POST", "/api/copy", personas.copy),
    ("DELETE", "/api/delete", personas.delete),
    ("POST", "/api/blobs/<digest>", library.blob),
    ("HEAD", "/api/blobs/<digest>", library.blob_exists),
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
