"""Errors in the form of the API that was spoken: which form belongs to a path, and how a blueprint answers with it.

The APIs' own `error_form` modules write the JSON; they are passed in, so that this module knows none of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import structlog
from flask import Blueprint, Response, request

from ollama_proxy.errors import ProxyError
from ollama_proxy.web.context import observation

log = structlog.get_logger("ollama_proxy")


class ErrorForm(Protocol):
    """An API's `errors` module."""

    CONTENT_TYPE: str

    def error_body(self, error: ProxyError) -> bytes: ...


class ErrorForms:
    """The form that belongs to a path: the first whose prefix fits. The last prefix is "", which fits every path."""

    def __init__(self, *forms: tuple[str, ErrorForm]) -> None:
        self._forms: Sequence[tuple[str, ErrorForm]] = forms

    def of(self, path: str) -> ErrorForm:
        """The form of the API that `path` belongs to."""
        return next(form for prefix, form in self._forms if path.startswith(prefix))


def render_errors(blueprint: Blueprint, form: ErrorForm, *, streamed_type: str | None = None) -> None:
    """Let `blueprint` answer every error in its API's own form; what nobody foresaw is logged and told as nothing.

    `streamed_type` is the Content-Type of an error in the place of a stream's first line, where that is another one.
    """

    @blueprint.errorhandler(ProxyError)
    def refused(error: ProxyError) -> Response:
        noted = observation()
        noted.error = error.reason if error.status >= 500 else ""
        content_type = streamed_type if streamed_type and noted.streamed else form.CONTENT_TYPE
        response = Response(form.error_body(error), status=error.status, content_type=content_type)
        if error.retry_after is not None:
            response.headers["Retry-After"] = str(error.retry_after)
        return response

    @blueprint.errorhandler(Exception)
    def unexpected(error: Exception) -> Response:
        log.error("request failed", path=request.path, error=type(error).__name__, exc_info=True)
        return refused(ProxyError("internal error"))
