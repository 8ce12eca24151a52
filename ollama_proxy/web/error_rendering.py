"""Answers errors in the form of the API that was called: finds the form for a path, and installs it in a blueprint.

The APIs' own `error_form` modules write the JSON; they are passed in, so that this module knows none of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus
from typing import Protocol

import structlog
from flask import Blueprint, Response, request

from ollama_proxy.errors import ProxyError
from ollama_proxy.web.context import free_left, observation
from ollama_proxy.web.long_waits import waits_long

log = structlog.get_logger("ollama_proxy")


class ErrorForm(Protocol):
    """An API's `error_form` module.

    `STREAM_CONTENT_TYPE` is that of an error in place of a stream's first line. `LONG_RETRY_AFTER`: the API's clients
    are told of a wait that is longer than LONGEST_WAIT in a header; else only the text says it, and no SDK tries again.
    """

    CONTENT_TYPE: str
    STREAM_CONTENT_TYPE: str
    LONG_RETRY_AFTER: bool

    def error_body(self, error: ProxyError) -> bytes: ...


def rendered(form: ErrorForm, error: ProxyError, *, streamed: bool = False) -> tuple[list[tuple[str, str]], bytes]:
    """Headers and body of the response that tells `error`."""
    body = form.error_body(error)
    headers = [
        ("Content-Type", form.STREAM_CONTENT_TYPE if streamed else form.CONTENT_TYPE),
        ("Content-Length", str(len(body))),
    ]
    if waits_long(error) and not form.LONG_RETRY_AFTER:
        headers.append(("x-should-retry", "false"))  # the SDKs of OpenAI and Anthropic look for it
    elif error.retry_after is not None:
        headers.append(("Retry-After", str(error.retry_after)))
    return headers, body


class ErrorForms:
    """Maps paths to forms: the first form whose prefix fits is used. The last prefix is "", which fits every path."""

    def __init__(self, *forms: tuple[str, ErrorForm]) -> None:
        self._forms: Sequence[tuple[str, ErrorForm]] = forms

    def of(self, path: str) -> ErrorForm:
        """Return the form of the API that `path` belongs to."""
        return next(form for prefix, form in self._forms if path.startswith(prefix))


def error_response(error: ProxyError, form: ErrorForm) -> Response:
    """The response that tells `error` in that form, and notes it for the observers."""
    noted = observation()
    noted.error = error.reason
    headers, body = rendered(form, error, streamed=noted.streamed)
    return Response(body, status=error.status, headers=headers)


def render_errors(blueprint: Blueprint, forms: ErrorForms) -> None:
    """Let `blueprint` answer every error in its API's own form. An unexpected one is logged, not told."""

    @blueprint.errorhandler(ProxyError)
    def refused(error: ProxyError) -> Response:
        noted = observation()
        response = error_response(error, forms.of(request.path))
        if error.status == HTTPStatus.TOO_MANY_REQUESTS:
            response.headers.extend(free_left())
        if noted.exchange is not None:
            response.headers.extend(noted.exchange.left_headers)
            if chain := noted.exchange.chain:
                response.headers["X-Proxy-Chain"] = chain
        return response

    @blueprint.errorhandler(Exception)
    def unexpected(error: Exception) -> Response:
        noted = observation()
        log.error(
            "request failed",
            request_id=noted.request_id,
            **noted.who(),
            route=noted.route,
            error=type(error).__name__,
            exc_info=True,
        )
        return refused(ProxyError("internal error"))
