"""`python -m bench`: measure the rows, print the table, write JSON and a plot to bench/results."""

from __future__ import annotations

import argparse
import sys
import tempfile
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path

from bench import report, servers
from bench.rows import ROWS, Line, Stage
from bench.servers import Target


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m bench", description="How fast the server is.")
    parser.add_argument("--rows", default=",".join(ROWS), help=f"of {', '.join(ROWS)} (default: all)")
    parser.add_argument("--seconds", type=float, default=3.0, help="for each figure (default 3, at most 30)")
    parser.add_argument("--streams", type=int, default=1000, help="open at once in the row of that name (at most 4000)")
    parser.add_argument("--workers", type=int, default=1, help="the proxy's worker processes (default 1)")
    parser.add_argument("--no-peers", action="store_true", help="measure the proxy alone")
    given = parser.parse_args()
    unknown = set(given.rows.split(",")) - set(ROWS)
    if unknown or not 0.3 <= given.seconds <= 30 or not 1 <= given.streams <= 4000 or not 1 <= given.workers <= 16:
        parser.error(f"no such row: {', '.join(sorted(unknown))}" if unknown else "out of bounds")
    return given


def measure(given: argparse.Namespace, folder: Path) -> list[Line]:
    """The lines of the rows asked for. A row that breaks says why and does not end the others."""
    lines: list[Line] = []
    with ExitStack() as stack:
        upstream = stack.enter_context(servers.upstream(folder))
        nginx = litellm = None
        if not given.no_peers:
            nginx = _peer(stack, servers.nginx(folder, upstream))
            litellm = _peer(stack, servers.litellm(folder, upstream))
        proxy = stack.enter_context(servers.proxy(folder, upstream, web_concurrency=given.workers))
        stage = Stage(folder, upstream, proxy, nginx, litellm, given.seconds, given.streams)
        for name in given.rows.split(","):
            print(f"{name} ...", file=sys.stderr, flush=True)
            try:
                lines += ROWS[name](stage)
            except (RuntimeError, OSError) as error:
                print(f"  cannot be measured: {error}", file=sys.stderr)
    return lines


def _peer(stack: ExitStack, starting: AbstractContextManager[Target | None]) -> Target | None:
    """The server, or None if it is not there or does not start: the others are measured all the same."""
    try:
        return stack.enter_context(starting)
    except RuntimeError as error:
        print(f"  left out: {error}", file=sys.stderr)
        return None


def main() -> int:
    """Exit code 0 if everything asked for could be measured; whether goals are reached does not matter to it."""
    given = arguments()
    before = report.machine()
    with tempfile.TemporaryDirectory(prefix="ollama-proxy-bench-") as folder:
        lines = measure(given, Path(folder))
    print(f"\n{before['cores']} cores ({before['cpu']}), load average before {before['load_average_before']}")
    print(
        "CPU is the server's own, user and system, of its whole process tree; \"direct\" is the stand-in upstream's.\n"
    )
    print(report.table(lines))
    for path in report.save(lines, before):
        print(f"written: {path}")
    return 0 if all(line.figures.get("proxy") is not None for line in lines) else 1


if __name__ == "__main__":
    sys.exit(main())
