"""`ollama-proxy doctor`: prints what `ops.checks` finds."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import click
from flask.cli import with_appcontext

from ollama_proxy.ops.checks import Finding, Grade, examine
from ollama_proxy.ops.commands.output import current_runtime, examples, json_option, print_json


@click.command("doctor", epilog=examples("ollama-proxy doctor", "ollama-proxy doctor --json"))
@json_option
@with_appcontext
def command(as_json: bool) -> None:
    """Check key, quota, clock, database, models, filters and port. Exit code 1 if something is wrong.

    It changes nothing, spends no free request, and prints neither keys nor the database's password.
    """
    findings = examine(current_runtime())
    if as_json:
        report = findings_as_json(findings)
        print_json(report)
        wrong = report["wrong"]
    else:
        wrong = print_findings(findings, click.echo)
    if wrong:
        raise SystemExit(1)


def findings_as_json(findings: Iterable[Finding]) -> dict[str, object]:
    """What `doctor --json` prints: the findings in their order, and how many of them are wrong."""
    found = [{"grade": finding.grade.lower(), "subject": finding.subject, "text": finding.text} for finding in findings]
    return {"findings": found, "wrong": sum(one["grade"] == Grade.WRONG.lower() for one in found)}


def print_findings(findings: Iterable[Finding], echo: Callable[[str], object]) -> int:
    """Print each as it comes, as some take seconds. Returns how many are WRONG."""
    wrong = 0
    for finding in findings:
        wrong += finding.grade is Grade.WRONG
        echo(f"{finding.grade:5}  {finding.subject:10}  {finding.text}")
    echo("everything is fine" if not wrong else f"{wrong} things are wrong")
    return wrong
