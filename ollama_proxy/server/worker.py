"""gunicorn's gevent worker, for streams that last minutes and clients that misbehave.

It closes connections after unread bodies, disconnects clients that send a request's head too slowly, and on SIGTERM
lets running answers finish. It knows no Flask: any WSGI application runs under it (docs/contract.md, "Transport").

On SIGTERM (and for the old workers on SIGHUP): no new connections; idle ones close at once; running answers have
DRAIN_SECONDS, then GreenletExit is raised in them: the application may turn it into a last line or into a 503. On
SIGQUIT the same, without the DRAIN_SECONDS. SIGINT is the master's business: Ctrl-C reaches every process of a
terminal's group. The exit code is 0.
"""

from __future__ import annotations

import ctypes
import errno
import os
import resource
import signal
import socket
import time
from collections.abc import Iterable
from contextlib import suppress
from functools import partial
from typing import Any

import gevent
import gevent.select
from gevent.pool import Pool
from gunicorn import util
from gunicorn.http import errors as http_errors
from gunicorn.http import wsgi
from gunicorn.workers.ggevent import GeventWorker

from ollama_proxy.config import load_settings
from ollama_proxy.server.answer_writer import AnswerWriter
from ollama_proxy.server.held_bodies import HELD_BODY, held_bytes, most_held_bytes
from ollama_proxy.server.listener import Listener
from ollama_proxy.server.parser import ProxyParser, close_after_answer, unread_bytes
from ollama_proxy.server.turns import Turn
from ollama_proxy.version import SERVER

#: Time for the complete head of a new connection's first request; later requests have gunicorn's `keepalive` setting,
#: which includes the idle time. Each waiting connection takes a slot, so the wait must end.
FIRST_HEAD_SECONDS = 30
#: After the listener is closed, connections made just before may still send their request.
ARRIVING_SECONDS = 0.1
#: How long an answer that was cut short has to write its last line; and where everything is to end at once.
LAST_LINE_SECONDS = 2.0
HURRIED_LAST_LINE_SECONDS = 0.5
#: A peer that acknowledges or reads nothing for so long counts as gone (tcp(7), TCP_USER_TIMEOUT).
DEAD_PEER_SECONDS = 120

# gunicorn drops the application's own `Server` header and sends this name instead.
wsgi.SERVER = SERVER

_MOST_FILES = 1 << 20
_TICK_SECONDS = 1.0
#: A drain looks so often whether it has to hurry: waiting for greenlets does not end when a signal comes.
_DRAIN_TICK_SECONDS = 0.1
#: So much less of bodies than a second ago, and memory is given back to the system.
_MUCH_BYTES = 32 << 20
_GONE = frozenset(
    {
        errno.EPIPE,
        errno.ECONNRESET,
        errno.ENOTCONN,
        errno.ECONNABORTED,
        errno.EBADF,
        errno.ETIMEDOUT,
        errno.EHOSTUNREACH,
    }
)
_STATUS = {
    http_errors.LimitRequestLine: (414, "URI Too Long"),
    http_errors.LimitRequestHeaders: (431, "Request Header Fields Too Large"),
    http_errors.ExpectationFailed: (417, "Expectation Failed"),
    http_errors.UnsupportedTransferCoding: (501, "Not Implemented"),
}


def raise_file_limit() -> int:
    """Raise the soft limit of open files to the hard one, as each stream needs two. Returns the limit that now holds.

    Call it in the master process before it forks. If the system refuses, the limit stays as it was.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, _MOST_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        except (ValueError, OSError):
            return soft
        return wanted
    return soft


class ProxyWorker(GeventWorker):  # type: ignore[misc]
    """The worker, see the module. It speaks HTTP/1.1 without TLS: a reverse proxy does TLS and HTTP/2."""

    alive: bool
    _hurries = False

    def init_process(self) -> None:
        """Run the worker. gunicorn calls this in the worker process; it returns when the process ends."""
        # A handler inherited from the master would lose a signal that comes before the worker has its own.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, self.handle_exit)
        signal.signal(signal.SIGQUIT, self.handle_quit)
        #: Greenlets that wait for a request's head, with their sockets: a drain may end these at once.
        self._waiting: dict[Any, Any] = {}
        self._drain_seconds = load_settings().drain_seconds
        # The application logs requests itself; gunicorn would spend a tenth of a short request on a line nobody reads.
        self.log.access = lambda *_: None
        super().init_process()

    def init_signals(self) -> None:
        """Set gunicorn's signal handlers, but ignore SIGINT."""
        super().init_signals()
        signal.signal(signal.SIGINT, signal.SIG_IGN)

    def handle_quit(self, sig: int, frame: Any) -> None:
        """SIGQUIT: drain, and end what runs at once. (gunicorn's own raises SystemExit wherever it happens to be.)"""
        self._hurries = True
        self.alive = False

    def run(self) -> None:
        """Serve until told to stop, then drain."""
        servers, pools = [], []
        for listener in self.sockets:
            listener.setblocking(True)
            _notice_dead_peers(listener)
            pool = Pool(self.worker_connections)
            handle = partial(self.handle, listener.getsockname())
            server = Listener(listener, handle=handle, spawn=pool, warn=self.log.warning)
            if self.cfg.workers > 1:
                server.max_accept = 1
            server.start()
            servers.append(server)
            pools.append(pool)
        while self.alive:
            self.notify()
            self._wait_for_signal()
            if most_held_bytes() - held_bytes() >= _MUCH_BYTES:
                # In a thread: it takes a tenth of a millisecond for each megabyte.
                gevent.get_hub().threadpool.spawn(_give_memory_back)
        for server in servers:
            server.close()
        self._drain(pools)

    def handle(self, listener_name: Any, client: Any, addr: Any) -> None:
        """Serve one connection until it closes."""
        req, refused = None, False
        try:
            client.setblocking(True)
            parser = ProxyParser(self.cfg, client, addr, is_stopping=lambda: not self.alive)
            while (req := self._next_request(parser, client)) is not None:
                self.handle_request(listener_name, req, client, addr)
                parser.turn.offer()
        except (StopIteration, http_errors.NoMoreData, gevent.GreenletExit):
            pass  # the answer said so, the client left, or a drain ends
        except OSError as error:
            if error.errno not in _GONE:
                self.log.exception("Socket error")
        except http_errors.ParseException as error:
            refused = True
            self._refuse(client, error)
        except Exception as error:  # noqa: BLE001 - whatever an application raises must not end the worker
            if req is not None:
                req.uri = "(a path may hold a key)"  # gunicorn would log it as the client sent it
            self.handle_error(req, client, addr, error)
        finally:
            try:
                if refused or (req is not None and unread_bytes(req) > 0):
                    close_after_answer(client)
            finally:
                util.close(client)

    def handle_request(self, listener_name: Any, req: Any, sock: Any, addr: Any) -> None:
        """Answer one request. Raises StopIteration if the connection must not go on after it.

        The gevent worker's own method swallows GreenletExit and keeps the connection after a cut answer. Its base class
        writes the head in a separate write and prepares an access log, where ours has more to say. So neither is used.
        """
        response, environ = wsgi.create(req, sock, addr, listener_name, self.cfg, response_class=AnswerWriter)
        environ["wsgi.multithread"] = True
        # Whoever asks for another protocol gets a plain answer in this one (RFC 9110 section 7.8), as from Ollama.
        environ.pop("HTTP_UPGRADE", None)
        self.nr += 1
        if self.nr >= self.max_requests and self.alive:
            self.log.info("Autorestarting worker after current request.")
            self.alive = False
        if not self.alive:
            response.force_close()
        try:
            self._answer(response, environ, req.unreader.turn)
        except (StopIteration, OSError, gevent.GreenletExit):
            raise
        except Exception:
            if not response.headers_sent:
                raise
            # Part of the answer is sent: the client must see that the rest is missing.
            self.log.exception("Error handling request")
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            raise StopIteration from None
        if response.should_close():
            raise StopIteration

    def _answer(self, response: AnswerWriter, environ: dict[str, Any], turn: Turn) -> None:
        body: Iterable[bytes] = ()
        try:
            body = self.wsgi(environ, response.start_response)
            for data in body:
                response.write(data)
                turn.offer()
            response.close()
        finally:
            if hasattr(body, "close"):
                body.close()
            if held := environ.pop(HELD_BODY, None):
                held.release()

    def _next_request(self, parser: ProxyParser, client: Any) -> Any:
        """Return the next request, or None if its head is not complete in time."""
        seconds = self.cfg.keepalive if parser.req_count else FIRST_HEAD_SECONDS
        current = gevent.getcurrent()
        self._waiting[current] = client
        try:
            with gevent.Timeout(seconds):
                return next(parser)
        except gevent.Timeout:
            return None
        finally:
            del self._waiting[current]

    def _refuse(self, client: Any, error: http_errors.ParseException) -> None:
        """Answer bytes that are not HTTP. They are neither logged nor sent back, because they may hold a key."""
        status, reason = _STATUS.get(type(error), (400, "Bad Request"))
        self.log.info("Refused a request that is not HTTP: %s", type(error).__name__)
        try:
            util.write_error(client, status, reason, type(error).__name__)
        except OSError:
            self.log.debug("The client of a refused request has gone")

    def _wait_for_signal(self) -> None:
        """Sleep for a tick, or until a signal comes: Python then writes a byte to gunicorn's pipe."""
        readable, _, _ = gevent.select.select([self.PIPE[0]], [], [], _TICK_SECONDS)
        if readable:
            os.read(self.PIPE[0], 4096)

    def _drain(self, pools: list[Pool]) -> None:
        """Let the running answers end within DRAIN_SECONDS, then end them."""
        deadline = time.monotonic() + self._drain_seconds
        gevent.sleep(ARRIVING_SECONDS)
        self._join(pools, deadline)
        running = [greenlet for pool in pools for greenlet in pool.greenlets]
        if running:
            why = "" if self._hurries else " that did not finish within DRAIN_SECONDS"
            self.log.warning("Ending %d answers%s", len(running), why)
            # Twice: the first kill lets an answer write its last line, the second ends it if the client does not read.
            for _ in range(2):
                for greenlet in running:
                    greenlet.kill(block=False)
                self._join(pools, time.monotonic() + LAST_LINE_SECONDS / 2, HURRIED_LAST_LINE_SECONDS / 2)

    def _join(self, pools: list[Pool], deadline: float, hurried_seconds: float = 0.0) -> None:
        """Wait until nothing runs or `deadline`; if it has to be quick, for `hurried_seconds` at most."""
        began = time.monotonic()
        while running := [greenlet for pool in pools for greenlet in pool.greenlets]:
            until = min(deadline, began + hurried_seconds) if self._hurries else deadline
            if (left := until - time.monotonic()) <= 0:
                return
            self.notify()
            self._end_idle()
            gevent.joinall(running, timeout=min(_DRAIN_TICK_SECONDS, left))

    def _end_idle(self) -> None:
        """Close the connections that serve no request, except those whose next request has just come in."""
        for greenlet, client in list(self._waiting.items()):
            if not _has_data(client):
                gevent.kill(greenlet)


def _give_memory_back() -> None:
    """Have the C library give freed memory back to the system (malloc_trim(3); glibc only).

    By itself it keeps blocks of up to 32 MB: after some requests with images, hundreds of megabytes that nobody uses.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def _has_data(client: Any) -> bool:
    try:
        return bool(client._sock.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT))
    except OSError:
        return False


def _notice_dead_peers(listener: Any) -> None:
    """Make the kernel detect peers that vanished without closing. Accepted sockets inherit these options (tcp(7))."""
    if listener.family not in (socket.AF_INET, socket.AF_INET6):
        return
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (
        ("TCP_KEEPIDLE", DEAD_PEER_SECONDS // 2),
        ("TCP_KEEPINTVL", DEAD_PEER_SECONDS // 8),
        ("TCP_USER_TIMEOUT", DEAD_PEER_SECONDS * 1000),
    ):
        if hasattr(socket, name):
            listener.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
