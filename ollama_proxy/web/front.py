"""The front door: a WSGI middleware around the Flask application.

It checks access before anything else is done, gives each request its id, and makes sure that observers are told once
when the request ends, however the response ends.
"""

from __future__ import annotations

import secrets
import sys
from collections.abc import Callable, Iterable, Iterator
from http import HTTPStatus
from typing import Any

from gevent import GreenletExit

from ollama_proxy.access.caller import CALLER_KEY
from ollama_proxy.access.policy import AccessPolicy, Decision
from ollama_proxy.clients.user_agents import client_of
from ollama_proxy.errors import ProxyError, ShuttingDown
from ollama_proxy.observation import ENVIRON_KEY, Observation, Observer
from ollama_proxy.server.disconnect import ClientGone
from ollama_proxy.version import SERVER
from ollama_proxy.web.error_rendering import ErrorForms, rendered

StartResponse = Callable[..., Any]
Environ = dict[str, Any]
Application = Callable[[Environ, StartResponse], Iterable[bytes]]


class Front:
    """The application as the server calls it: checks access, then calls Flask, and tells the observer what happens."""

    def __init__(
        self,
        application: Application,
        access: AccessPolicy,
        observer: Observer,
        *,
        error_forms: ErrorForms,
        first_request: Callable[[], None],
    ) -> None:
        """`first_request` is called once, by the first request of the development server, which has no start hook."""
        self._application = application
        self._access = access
        self._observer = observer
        self._error_forms = error_forms
        self._first_request: Callable[[], None] | None = first_request

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        if self._first_request is not None and "werkzeug.socket" in environ:
            first_request, self._first_request = self._first_request, None
            first_request()
        observation = Observation(secrets.token_hex(8), environ["REQUEST_METHOD"], environ.get("PATH_INFO", ""))
        environ[ENVIRON_KEY] = observation
        extra = [("X-Request-Id", observation.request_id), ("Server", SERVER)]

        def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            observation.status = int(status[:3])
            self._observer.answering(observation)
            return start_response(status, headers + extra, exc_info)

        self._observer.began(observation)
        # From here on whatever happens ends it: what began and never ends stays under way for ever.
        try:
            decision = self._access.check(environ)
            caller = environ[CALLER_KEY] = decision.caller
            observation.caller, observation.address, observation.key = caller.name, caller.address, caller.key
            observation.client = client_of(environ.get("HTTP_USER_AGENT", ""))
            extra[:0] = decision.headers
            if decision.allowed:
                body = self._application(environ, start)
            else:
                body = self._refuse(decision, environ, start)
        except ClientGone:
            observation.left = True
            self._observer.ended(observation)
            raise
        except GreenletExit:
            body = self._tell(ShuttingDown(), environ, start)
        except BaseException:
            observation.error = observation.error or "failed"
            self._observer.ended(observation)
            raise
        return ObservedBody(body, observation, self._observer)

    def _refuse(self, decision: Decision, environ: Environ, start: StartResponse) -> Iterable[bytes]:
        if decision.error is not None:
            return self._tell(decision.error, environ, start)
        assert decision.status is not None
        environ[ENVIRON_KEY].error = decision.reason
        start(_status_line(decision.status), [] if decision.status == 204 else [("Content-Length", "0")])
        return []

    def _tell(self, error: ProxyError, environ: Environ, start: StartResponse) -> Iterable[bytes]:
        """Answer with `error`, in the form of the API that was asked."""
        observation: Observation = environ[ENVIRON_KEY]
        observation.error = error.reason
        form = self._error_forms.of(observation.path)
        headers, body = rendered(form, error, streamed=observation.streamed)
        start(_status_line(error.status), headers, sys.exc_info() if sys.exc_info()[0] is not None else None)
        return [body]


def _status_line(status: int) -> str:
    return f"{status} {HTTPStatus(status).phrase}"


class ObservedBody:
    """A response's body that tells the observer when it ends.

    Iterating returns the body's own iterator, so that observing costs nothing per write.
    """

    def __init__(self, body: Iterable[bytes], observation: Observation, observer: Observer) -> None:
        self._body = body
        self._observation = observation
        self._observer = observer
        self._closed = False

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._body)

    def close(self) -> None:
        """Close the body and tell the observer. The server calls this after the last write, or instead of it.
        Idempotent.
        """
        if self._closed:
            return
        self._closed = True
        try:
            close = getattr(self._body, "close", None)
            if close is not None:
                close()
        finally:
            self._observer.ended(self._observation)
