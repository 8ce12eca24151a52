"""The client of OpenRouter's HTTP API: sends prepared bodies, hands back open answers.

It knows addresses, headers, connections and time-outs; it does not know what a model is, nor what an answer means.
Facts about the API: https://openrouter.ai/docs/api-reference.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import urlencode

import orjson
import requests
import urllib3.exceptions

from ollama_proxy.openrouter.errors.failure import Failure, FailureKind
from ollama_proxy.openrouter.http.answer_body import Body, BodyBroken, body_of
from ollama_proxy.openrouter.http.direct import BadHead, DirectPost, pool_of
from ollama_proxy.openrouter.http.framing import FramingError
from ollama_proxy.openrouter.http.transport import (
    CONNECT_TIMEOUT,
    Transport,
    describe,
    exhausted,
    is_not_http,
    proxies_for,
    stale,
    was_sent,
)

#: An error's body longer than this is a page, not an error.
LONGEST_ERROR = 256 * 1024

#: Seconds for the small documents: the key's limits.
SMALL_TIMEOUT = 3.0

#: Seconds for a catalogue, some 700 kB.
CATALOGUE_TIMEOUT = 30.0

#: The most bytes of a document: parsing and holding a larger one would keep all clients of the process waiting.
LONGEST_DOCUMENT = 16 * 1024 * 1024

#: Calls to whole-answer endpoints read at most this many bytes.
LONGEST_ANSWER = 64 * 1024 * 1024


class UpstreamError(Exception):
    """A call failed. `failure` is what `classify` takes."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(f"{failure.kind}: {failure.detail}")
        self.failure = failure


@dataclass(slots=True)
class UpstreamAnswer:
    """An answer whose headers have come and whose body is still open."""

    status: int
    headers: Mapping[str, str]
    body: Body

    @property
    def is_stream(self) -> bool:
        return self.headers.get("Content-Type", "").lower().startswith("text/event-stream")

    @property
    def is_json(self) -> bool:
        return "json" in self.headers.get("Content-Type", "").lower()

    def close(self) -> None:
        self.body.close()

    def read_all(self, *, timeout: float, limit: int = LONGEST_ANSWER) -> bytes:
        """The whole body, within `timeout` seconds. Raises UpstreamError."""
        deadline = time.monotonic() + timeout
        parts: list[bytes] = []
        size = 0
        try:
            while size <= limit:
                data = self.body.read(max(deadline - time.monotonic(), 0.001))
                # A reader that cannot wait for less than the library's time-out may be late with some data.
                if data is None or time.monotonic() > deadline:
                    raise UpstreamError(Failure(FailureKind.TOTAL_TIMEOUT, detail="the answer did not arrive in time"))
                if not data:
                    return b"".join(parts)
                parts.append(data)
                size += len(data)
        except BodyBroken as error:
            raise UpstreamError(Failure(FailureKind.EARLY_CLOSE, detail=str(error))) from error
        finally:
            self.close()
        said = f"the answer is longer than {limit // 1024} KiB"
        raise UpstreamError(Failure(FailureKind.MALFORMED, detail=said))


class Client:
    """One per process. Safe for use from many greenlets or threads."""

    def __init__(
        self,
        base_url: str,
        api_key: str,
        *,
        pool_size: int = 100,
        read_timeout: float = 120,
        app_url: str = "",
        app_title: str = "",
    ) -> None:
        """`base_url` ends in `/api/v1` or the like. `app_url` and `app_title` are OpenRouter's attribution headers."""
        self._base_url = base_url.rstrip("/")
        self._read_timeout = read_timeout
        self._transport = Transport(pool_size=pool_size)
        self._proxies = proxies_for(self._base_url)
        self._public = {"User-Agent": "ollama-proxy", "Accept": "*/*", "Connection": "keep-alive"}
        if app_url:
            self._public["HTTP-Referer"] = app_url
        if app_title:
            self._public["X-Title"] = app_title
        self._private = {**self._public, **({"Authorization": f"Bearer {api_key}"} if api_key else {})}
        self._posts: dict[str, requests.PreparedRequest] = {}
        self._directs: dict[str, DirectPost | None] = {}

    def post(self, path: str, body: bytes, headers: Mapping[str, str] | None = None) -> UpstreamAnswer:
        """POST a JSON `body` to `path` (such as "/chat/completions") and wait for the answer's headers.

        `headers` are added to the request. Raises UpstreamError (NETWORK, READ_TIMEOUT or NOT_HTTP) if no answer comes;
        `Failure.sent` says whether the body had been handed over whole by then. Only if it had not, and a kept-alive
        connection was closed, it is sent again on another one.
        """
        if (direct := self._direct(path)) is not None:
            sent = partial(direct.send, body, headers or {}, read_timeout=self._read_timeout)
            return self._answer(lambda: UpstreamAnswer(*sent()))
        call = self._prepared(path).copy()
        call.headers.update(headers or {})
        call.headers["Content-Length"] = str(len(body))
        call.body = body
        return self._send(call, read_timeout=self._read_timeout)

    def _direct(self, path: str) -> DirectPost | None:
        if path not in self._directs:
            request = self._prepared(path)
            pool = pool_of(self._transport, request, self._proxies)
            self._directs[path] = None if pool is None else DirectPost(pool, request)
        return self._directs[path]

    def _prepared(self, path: str) -> requests.PreparedRequest:
        """The request to `path` without a body, made once: preparing costs more than sending."""
        if (request := self._posts.get(path)) is None:
            # A stream must not be compressed: a compressor holds tokens back.
            headers = {**self._private, "Content-Type": "application/json", "Accept-Encoding": "identity"}
            request = requests.Request("POST", self._base_url + path, headers=headers).prepare()
            self._posts[path] = request
        return request

    def _send(self, request: requests.PreparedRequest, *, read_timeout: float) -> UpstreamAnswer:
        timeout = (CONNECT_TIMEOUT, read_timeout)

        def send() -> UpstreamAnswer:
            response = self._transport.send(request, stream=True, timeout=timeout, proxies=self._proxies)
            try:
                return UpstreamAnswer(response.status_code, response.headers, body_of(response))
            except FramingError as error:
                response.close()
                raise BadHead(str(error)) from error

        return self._answer(send)

    def _answer(self, send: Callable[[], UpstreamAnswer]) -> UpstreamAnswer:
        for attempt in (1, 2, 3):
            try:
                return send()
            except (requests.exceptions.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
                # Two connections in a row can have idled away, hence a third attempt.
                if attempt < 3 and stale(error):
                    continue
                raise UpstreamError(_failure_of(error)) from error
        raise AssertionError("unreachable")

    def get(self, path: str, *, timeout: float = CATALOGUE_TIMEOUT, with_key: bool = True) -> tuple[int, Any]:
        """GET a JSON document: its status and its parsed body (None if it is not JSON).

        Raises UpstreamError, also for one of more than `LONGEST_DOCUMENT` bytes.
        """
        headers = {**(self._private if with_key else self._public), "Accept-Encoding": "gzip"}
        request = requests.Request("GET", self._base_url + path, headers=headers).prepare()
        answer = self._send(request, read_timeout=timeout)
        try:
            return answer.status, orjson.loads(answer.read_all(timeout=timeout, limit=LONGEST_DOCUMENT))
        except orjson.JSONDecodeError:
            return answer.status, None

    def key_info(self) -> tuple[int, Any]:
        """`GET /key`: status and the limits of our key. Raises UpstreamError."""
        return self.get("/key", timeout=SMALL_TIMEOUT)

    def generation(self, generation: str) -> tuple[int, Any]:
        """`GET /generation`: status and what OpenRouter knows of an earlier answer, 404 for minutes. Raises
        UpstreamError.
        """
        return self.get(f"/generation?{urlencode({'id': generation})}", timeout=SMALL_TIMEOUT)

    def close(self) -> None:
        """Close the pooled connections."""
        self._transport.close()


def _failure_of(error: Exception) -> Failure:
    """What `error`, raised in place of an answer, means."""
    if not was_sent(error):
        if lacking := exhausted(error):
            return Failure(FailureKind.OUT_OF_RESOURCES, detail=lacking, sent=False)
        return Failure(FailureKind.NETWORK, detail=describe(error), sent=False)
    if isinstance(error, (requests.exceptions.ReadTimeout, TimeoutError)):
        return Failure(FailureKind.READ_TIMEOUT, detail="no answer in time")
    if isinstance(error, BadHead):
        return Failure(FailureKind.MALFORMED, detail=str(error))
    return Failure(FailureKind.NOT_HTTP if is_not_http(error) else FailureKind.NETWORK, detail=describe(error))
