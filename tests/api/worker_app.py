"""A WSGI application that does what the worker's tests need: refuse, read, stream, wait, and tell what happened.

Run by gunicorn in test_worker.py; it knows none of the product but the parts that belong to the worker.
"""

from __future__ import annotations

import collections
import itertools
import os
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import parse_qsl

import gevent
import gevent.event

from ollama_proxy.errors import ProxyError
from ollama_proxy.server.disconnect import ClientGone, DisconnectWatch, watch_client
from ollama_proxy.web.request_body import read_body

#: Things that happened, by name, so that a test can wait for them.
HAPPENED: dict[str, gevent.event.Event] = collections.defaultdict(gevent.event.Event)

#: Numbers the things that happen, so that a test can tell what came first.
NUMBER = itertools.count(1)

BODY_TIMEOUT_SECONDS = 0.5
BODY_LIMIT_BYTES = 1_000_000


class Lines:
    """`count` lines, one every `gap` seconds, with a watch on the client. A drain ends it with a line that says so."""

    def __init__(self, name: str, count: int, gap: float, size: int, watch: DisconnectWatch | None) -> None:
        self._name, self._gap, self._watch = name, gap, watch
        self._left = iter(range(count))
        self._padding = b"x" * size
        self._over = False

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        if self._over:
            raise StopIteration
        try:
            number = next(self._left)
            gevent.sleep(self._gap)
        except ClientGone:
            HAPPENED[f"{self._name} gone"].set()
            raise
        except gevent.GreenletExit:
            self._over = True
            return b"error: shutting down\n"
        return b"line %d%s\n" % (number, self._padding)

    def close(self) -> None:
        if self._watch is not None:
            self._watch.stop()
        HAPPENED[f"{self._name} closed"].set()


def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
    """Answers, and tells a client whose request the worker ends before its answer."""
    try:
        return _answered(environ, start_response)
    except ClientGone:
        raise
    except gevent.GreenletExit:
        start_response("503 Service Unavailable", [("Content-Length", "0")], sys.exc_info())
        return []


def _answered(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
    query = dict(parse_qsl(environ["QUERY_STRING"]))
    status, answer = "200 OK", b""
    match environ["PATH_INFO"]:
        case "/refuse":
            status = "401 Unauthorized"
        case "/pid":
            answer = str(os.getpid()).encode()
        case "/count":
            answer = str(next(NUMBER)).encode()
        case "/spin":
            _work(float(query["seconds"]))
        case "/read-slowly":
            _work(float(query["seconds"]))
            body = read_body(environ, limit_bytes=BODY_LIMIT_BYTES, timeout_seconds=60)
            answer = b"%d %d" % (next(NUMBER), len(body))
        case "/burst":
            _work(float(query["seconds"]))
            start_response("200 OK", [("Content-Type", "text/plain")])
            return _numbers(int(query["count"]))
        case "/raise":
            raise RuntimeError("an error in the application")
        case "/read":
            try:
                body = read_body(environ, limit_bytes=BODY_LIMIT_BYTES, timeout_seconds=BODY_TIMEOUT_SECONDS)
                answer = str(len(body)).encode()
            except ProxyError as error:
                status, answer = f"{error.status} No", error.message.encode()
        case "/await":
            status = "200 OK" if HAPPENED[query["name"]].wait(5) else "404 Not Found"
        case "/wait":
            _wait(environ, query["name"])
        case "/stream":
            name = query["name"]
            watch = watch_client(environ)
            start_response("200 OK", [("Content-Type", "text/plain")])
            HAPPENED[f"{name} begun"].set()
            return Lines(name, int(query["count"]), float(query["gap"]), int(query.get("size", 0)), watch)
        case _:
            answer = environ["PATH_INFO"].encode()
    start_response(status, [("Content-Length", str(len(answer)))])
    return [answer]


def _work(seconds: float) -> None:
    """Hold the processor, while what clients send gathers in the sockets."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        pass


def _numbers(count: int) -> Iterator[bytes]:
    """Lines that are all there at once; the last one is a number of NUMBER."""
    for _ in range(count):
        yield b"line\n"
    yield b"%d" % next(NUMBER)


def _wait(environ: dict[str, Any], name: str) -> None:
    """What a request does before the first token."""
    watch = watch_client(environ)
    HAPPENED[f"{name} begun"].set()
    try:
        gevent.sleep(30)
    except ClientGone:
        HAPPENED[f"{name} gone"].set()
        raise
    finally:
        if watch is not None:
            watch.stop()
