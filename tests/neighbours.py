"""Servers that are not ours, for tests of who answers at an address."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

#: What is answered to a path: status, content type, body. "" stands for every other path.
Pages = dict[str, tuple[int, str, str]]

REAL_OLLAMA: Pages = {
    "/": (200, "text/plain; charset=utf-8", "Ollama is running"),
    "": (404, "text/plain", "404 page not found"),
}
OLD_PROXY: Pages = REAL_OLLAMA | {
    "/health": (200, "application/json", '{"status": "ok", "name": "ollama-proxy", "version": "1.0.0"}')
}
REVERSE_PROXY: Pages = {"": (502, "text/html", "<html><h1>502 Bad Gateway</h1></html>")}
LOGIN_PAGE: Pages = {"": (200, "text/html", "<html>Please log in</html>")}
OTHER_JSON: Pages = {"": (200, "application/json", '{"hello": "world"}')}


@contextmanager
def serving(pages: Pages) -> Iterator[int]:
    """A server of `pages`; the value is its port on 127.0.0.1."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, kind, body = pages.get(self.path.partition("?")[0], pages[""])
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body.encode())

        do_DELETE = do_GET  # noqa: N815

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
