"""Answers errors in the form of the API that was called: finds the form for a path, and installs it in a blueprint.

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
    """An API's `error_form` module."""

    CONTENT_TYPE: str

    def error_body(self, error: ProxyError) -> bytes: ...


class ErrorForms:
    """Maps paths to forms: the first form whose prefix fits is used. The last prefix is "", which fits every path."""

    def __init__(self, *forms: tuple[str, ErrorForm]) -> None:
        self._forms: Sequence[tuple[str, ErrorForm]] = forms

    def of(self, path: str) -> ErrorForm:
        """Return the form of the API that `path` belongs to."""
        return next(form for prefix, form in self._forms if path.startswith(prefix))


def render_errors(blueprint: Blueprint, form: ErrorForm, *, streamed_type: str | None = None) -> None:
    """Make `blueprint` answer every error in its API's own form. An unexpected error is logged; the client gets no
    details.

    `streamed_type` is the Content-Type of an error that takes the place of a stream's first line, if it differs.
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
