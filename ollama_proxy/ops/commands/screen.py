"""What `ollama-proxy status` shows: lines made from a report. Pure: the report, the time and the colours come in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ollama_proxy.openrouter.errors.retry_times import in_words
from ollama_proxy.ops.commands.output import table_lines
from ollama_proxy.ops.commands.request_lines import in_flight_line, request_rows, seconds_text
from ollama_proxy.ops.moments import epoch, left, local_time
from ollama_proxy.ops.terminal import Palette

#: How many characters the quota's bar has.
BAR = 30
#: Of each list so many lines are shown.
MOST_LINES = 10

_LABEL = 11


def status_lines(report: Mapping[str, Any], now: float, paint: Palette) -> list[str]:
    """The whole screen. A part that is missing or None is left out: the server cannot tell it now."""
    lines = [*_server(report, now, paint), ""]
    for part in (_quota, _account, _database, _catalog, _usage):
        lines += part(report, now, paint)
    for section in (_in_flight, _cooling, _newest):
        lines += section(report, now, paint)
    return lines


def _server(report: Mapping[str, Any], now: float, paint: Palette) -> Iterator[str]:
    server = report.get("server")
    if server is None:
        yield paint("no server answers", "red", bold=True)
        return
    since = epoch(server["since"])
    up = "" if since is None else f", up {in_words(now - since)}"
    workers = _count(server["workers"], "worker")
    mode = "free models only" if server["mode"] == "free" else "all models"
    yield f"{paint(server['name'], bold=True)} {server['version']}{up}, {workers}, {mode}"
    yield server["access"]


def _quota(report: Mapping[str, Any], now: float, paint: Palette) -> Iterator[str]:
    quota = report.get("quota")
    if not quota:
        return
    used, limit = quota["free_used"], quota["free_limit"]
    if used is None or not limit:
        yield _row("quota", "unknown: OpenRouter has not told it yet")
    else:
        yield _row("quota", f"{quota_bar(used, limit, paint)} {used} of {limit} free requests used today")
        resets = epoch(quota["resets_at"])
        when = "" if resets is None else f"; resets at {local_time(resets, now)}, in {in_words(resets - now)}"
        yield _row("", f"{max(limit - used, 0)} left{when}")
    if quota["minute_limit"]:
        yield _row("", f"{quota['minute_used']} of {quota['minute_limit']} a minute")
    if money := _money(quota):
        yield _row("credits", money)


def _money(quota: Mapping[str, Any]) -> str:
    """What the key may still spend, and what it has spent; "" if it has no limit and spent nothing."""
    parts = []
    if quota["credits_limit"] is not None and quota["credits_left"] is not None:
        parts.append(f"${quota['credits_left']:.2f} of ${quota['credits_limit']:.2f} left")
    if quota["usage_monthly"]:
        parts.append(f"${quota['usage_daily'] or 0:.2f} spent today, ${quota['usage_monthly']:.2f} this month")
    return ", ".join(parts)


def quota_bar(used: int, limit: int, paint: Palette) -> str:
    """A bar that fills up: green, yellow from 80 %, red when nothing is left. `limit` is more than 0."""
    share = min(max(used / limit, 0.0), 1.0)
    # It only looks empty, or full, if it is.
    filled = min(max(round(share * BAR), int(used > 0)), BAR - int(used < limit))
    colour = "red" if share >= 1 else "yellow" if share >= 0.8 else "green"
    return f"[{paint('#' * filled, colour)}{'.' * (BAR - filled)}]"


def _account(report: Mapping[str, Any], now: float, paint: Palette) -> Iterator[str]:
    key = report.get("key")
    limits = report.get("limits") or []
    if key is not None:
        words = {"valid": "OpenRouter accepts the key", "unknown": "OpenRouter has not told whether it accepts the key"}
        yield _row("account", paint(key["reason"], "red") if key["reason"] else words.get(key["state"], key["state"]))
    for limit in limits:
        text = f"limit ({limit['scope']}): {limit['reason']}, lifts in {left(limit['until'], now)}"
        yield _row("" if key is not None else "account", paint(text, "red"))


def _database(report: Mapping[str, Any], _: float, paint: Palette) -> Iterator[str]:
    database = report.get("database")
    if database is None:
        return
    state = paint(database["state"], None if database["state"] == "ok" else "yellow")
    lost = sum(database["dropped"].values())
    were = "was" if lost == 1 else "were"
    more = f"; {_count(lost, 'write')} {were} lost" if lost else ""
    yield _row("database", f"{state}, {database['label']}{more}")


def _catalog(report: Mapping[str, Any], now: float, paint: Palette) -> Iterator[str]:
    catalog = report.get("catalog")
    if catalog is None:
        return
    fetched = epoch(catalog["fetched_at"])
    if fetched is None:
        yield _row("catalogue", paint(f"none: {catalog['error']}", "red"))
        return
    text = f"{_count(catalog['models'], 'model')}, {catalog['free']} free; {in_words(now - fetched)} old"
    yield _row("catalogue", text)
    if catalog["error"] and report.get("server") is not None:
        yield _row("", paint(f"no newer one: {catalog['error']}", "yellow"))


def _usage(report: Mapping[str, Any], _: float, paint: Palette) -> Iterator[str]:
    usage = report.get("usage")
    if usage is None:
        return
    if not usage["requests"]:
        yield _row("24 hours", "no requests")
        return
    share = usage["failed_share"] * 100
    failed = paint(f"{share:.1f} % failed", "red" if share >= 10 else "yellow" if share >= 1 else "green")
    requests, attempts = _count(usage["requests"], "request"), _count(usage["attempts"], "attempt")
    yield _row("24 hours", f"{requests}, {failed}; {attempts}")
    p50, p95 = usage["first_token"]["p50"], usage["first_token"]["p95"]
    if p50 is not None:
        yield _row("", f"first token: half within {seconds_text(p50)}, 95 % within {seconds_text(p95)}")
    cost = f", ${usage['cost']:.4f}" if usage["cost"] else ""
    yield _row("", f"{_count(usage['tokens_in'], 'token')} in, {usage['tokens_out']} out{cost}")


def _in_flight(report: Mapping[str, Any], now: float, paint: Palette) -> Iterator[str]:
    flying = report.get("in_flight")
    if flying:
        yield from ("", paint(f"in flight: {len(flying)}", bold=True))
        yield from (f"  {in_flight_line(one, now)}" for one in flying[:MOST_LINES])


def _cooling(report: Mapping[str, Any], now: float, paint: Palette) -> Iterator[str]:
    cooling = [row for row in report.get("failures") or [] if row["state"] == "cooling"]
    if cooling:
        yield from ("", paint(f"cooling down: {len(cooling)}", bold=True))
        rows = [(row["name"] or row["id"], row["reason"], f"{left(row['until'], now)} left") for row in cooling]
        yield from (f"  {line}" for line in table_lines(rows[:MOST_LINES]))


def _newest(report: Mapping[str, Any], now: float, paint: Palette) -> Iterator[str]:
    if newest := report.get("requests"):
        yield from ("", paint("newest requests", bold=True))
        yield from (f"  {line}" for line in table_lines(request_rows(newest[:MOST_LINES], now)))


def _count(number: int, noun: str) -> str:
    """The number and what it counts: "1 request", "2 requests"."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _row(label: str, text: str) -> str:
    return f"{label:{_LABEL}}{text}"
