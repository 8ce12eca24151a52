"""`ollama-proxy doctor`: what the running server finds, and what only this machine can (`ops.checks`)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import click

from ollama_proxy.config import load_settings
from ollama_proxy.ops.checks import findings_without_server
from ollama_proxy.ops.commands.asking import Asker, server_options
from ollama_proxy.ops.commands.output import examples, json_option, print_json
from ollama_proxy.ops.findings import Finding, Grade, findings_as_json, findings_from_json
from ollama_proxy.ops.machine_checks import look_at_clock, look_at_env_file, look_at_port


@click.command("doctor", epilog=examples("ollama-proxy doctor", "ollama-proxy doctor --json"))
@server_options
@json_option
def command(url: str | None, key: str | None, as_json: bool) -> None:
    """Check key, quota, clock, database, models, filters and port. Exit code 1 if something is wrong.

    It asks the server that runs, and looks at this machine. It changes nothing, spends no free request, and prints
    neither keys nor the database's password.
    """
    asker = Asker(url, key)
    found = asker.get("/doctor", lambda view: findings_as_json(findings_without_server(view)), member="findings")
    findings = [*findings_from_json(found)]
    if not asker.used_database and asker.server.is_own:
        findings += _machine()
    if as_json:
        report: dict[str, Any] = findings_as_json(findings)
        print_json(report)
        wrong = report["wrong"]
    else:
        wrong = print_findings(findings, click.echo)
    if wrong:
        raise SystemExit(1)


def _machine() -> Iterator[Finding]:
    """What the server cannot see."""
    settings = load_settings()
    yield from look_at_port(settings)
    yield from look_at_env_file(Path.cwd())
    yield from look_at_clock(settings)


def print_findings(findings: Iterable[Finding], echo: Callable[[str], object]) -> int:
    """Print each as it comes, as some take seconds. Returns how many are WRONG."""
    wrong = 0
    for finding in findings:
        wrong += finding.grade is Grade.WRONG
        echo(f"{finding.grade:5}  {finding.subject:10}  {finding.text}")
    echo("everything is fine" if not wrong else "1 thing is wrong" if wrong == 1 else f"{wrong} things are wrong")
    return wrong
