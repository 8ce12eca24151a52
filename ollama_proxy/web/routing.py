"""Makes Flask's routing answer like Ollama's router (docs/contract.md, "Transport")."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from flask import Flask, Response, request
from werkzeug.exceptions import MethodNotAllowed
from werkzeug.routing import Rule

from ollama_proxy.access.pages import is_page
from ollama_proxy.errors import ProxyError
from ollama_proxy.web.error_rendering import ErrorForm, error_response


class ExactRule(Rule):
    """A rule that answers only the methods it names: werkzeug would add HEAD to every GET."""

    def __init__(self, string: str, **options: Any) -> None:
        wanted = {method.upper() for method in options.get("methods") or ()}
        super().__init__(string, **options)
        if self.methods is not None and wanted and "HEAD" not in wanted:
            self.methods.discard("HEAD")


def router_errors(app: Flask, pages: ErrorForm | None = None) -> None:
    """Answer unknown paths and wrong methods with the plain texts of Ollama's router; those of pages, if there are
    any, in the form `pages`.
    """

    def answer(status: int, text: str, words: str) -> Response:
        if pages is not None and is_page(request.path):
            return error_response(ProxyError(words, status=status), pages)
        return Response(text, status=status, content_type="text/plain")

    @app.errorhandler(404)
    def not_found(_: Exception) -> Response:
        return answer(404, "404 page not found", "there is no such page")

    @app.errorhandler(405)
    def wrong_method(error: MethodNotAllowed) -> Response:
        response = answer(405, "405 method not allowed", "this page cannot be asked in this way")
        response.headers["Allow"] = ", ".join(sorted(error.valid_methods or (), reverse=True))
        return response


class MergedSlashes:
    """A WSGI application that treats `//api/tags` as `/api/tags`, where Ollama's router would redirect.

    A base URL that ends in a slash is a common mistake in a client's settings, and not every client follows redirects.
    """

    def __init__(self, application: WSGIApplication) -> None:
        self._application = application

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if "//" in (path := environ["PATH_INFO"]):
            environ["PATH_INFO"] = re.sub("//+", "/", path)
        return self._application(environ, start_response)
