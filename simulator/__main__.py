"""Starts the simulator: `python -m simulator --port 9999`. It ends on SIGTERM, on SIGINT, or with its parent."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import signal
import ssl
import sys
import tempfile
from pathlib import Path
from typing import Any

from simulator.openapi import open_document
from simulator.scenarios import parse
from simulator.server import BASE, StandIn
from simulator.wire import Connection


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m simulator", description="A stand-in OpenRouter.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=9999, help="0 takes a free port")
    parser.add_argument("--models", type=Path, help='a JSON file {"data": [...]} in place of the invented models')
    parser.add_argument("--tls", action="store_true", help="speak TLS with a certificate made at the start")
    parser.add_argument("--ca-file", type=Path, help="where to write the certificate authority (with --tls)")
    parser.add_argument("--scenario", default="{}", help="members of the scenario for all requests, as JSON")
    parser.add_argument("--until-stdin-closes", action="store_true", help="end when the parent is gone")
    return parser.parse_args()


def _tls(ca_file: Path) -> ssl.SSLContext:
    import trustme

    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(ca_file))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost", "127.0.0.1", "::1").configure_cert(context)
    return context


def _raise_file_limit() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


async def _serve(arguments: argparse.Namespace) -> None:
    records: list[Any] | None = None
    if arguments.models:
        records = json.loads(arguments.models.read_text())["data"]
    simulator = StandIn(records, parse(json.loads(arguments.scenario)), open_document())
    context, ca_note = None, ""
    if arguments.tls:
        ca_file = arguments.ca_file or Path(tempfile.mkdtemp(prefix="simulator-")) / "ca.pem"
        context, ca_note = _tls(ca_file), f" ca-file {ca_file}"
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    if arguments.until_stdin_closes:
        loop.add_reader(sys.stdin.fileno(), lambda: None if os.read(sys.stdin.fileno(), 4096) else ended.set())
    server = await loop.create_server(
        lambda: Connection(simulator.handle, simulator.connections),
        arguments.host,
        arguments.port,
        ssl=context,
        backlog=2048,
    )
    port = server.sockets[0].getsockname()[1]
    scheme = "https" if context else "http"
    print(f"simulator listening on {scheme}://{arguments.host}:{port}{BASE}{ca_note}", flush=True)
    await ended.wait()
    server.close()


def main() -> None:
    _raise_file_limit()
    asyncio.run(_serve(_arguments()))


if __name__ == "__main__":
    main()
