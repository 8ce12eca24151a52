"""Requests as people read them: the rows of `ollama-proxy log`, one request in full, one that is under way. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ollama_proxy.catalog.names import without_vendor
from ollama_proxy.openrouter.errors.retry_times import in_words
from ollama_proxy.ops.moments import epoch, local_time

HEADS = ("ID", "TIME", "CALLER", "API", "ASKED -> ANSWERED", "FIRST", "TOTAL", "TOKENS", "OUTCOME", "TRIED")

Request = Mapping[str, Any]


def request_rows(requests: Sequence[Request], now: float) -> list[tuple[str, ...]]:
    """A row for each request, in the columns of HEADS."""
    return [_row(one, now) for one in requests]


def _row(one: Request, now: float) -> tuple[str, ...]:
    ended = epoch(one["ended_at"])
    tried = chain_text(one["chain"]) if any(step["reason"] for step in one["chain"]) else ""
    return (
        one["id"][:8],
        "" if ended is None else local_time(ended, now, precise=True),
        one["caller"],
        one["api"],
        asked_text(one),
        seconds_text(one["first_token_seconds"]),
        seconds_text(one["seconds"]),
        tokens_text(one),
        one["outcome"] if one["status"] < 400 else f"{one['outcome']} {one['status']}",
        tried,
    )


def asked_text(one: Request) -> str:
    """ "free -> glm-5.2:free", or one name where both are the same. Vendors are left out."""
    asked, model = without_vendor(one["asked"] or ""), without_vendor(one["model"] or "")
    return f"{asked} -> {model}" if asked and model and asked != model else asked or model


def chain_text(chain: Sequence[Mapping[str, Any]]) -> str:
    """Who was tried: "a (rate limited) > b (empty) > c". Vendors are left out."""
    steps = [(without_vendor(step["model"]), step["reason"]) for step in chain]
    return " > ".join(f"{model} ({reason})" if reason else model for model, reason in steps)


def tokens_text(one: Request) -> str:
    """Tokens of prompt and answer, "12+340"; "" if nobody counted."""
    counts = (one["prompt_tokens"], one["completion_tokens"])
    return "" if counts == (None, None) else "+".join(str(count or 0) for count in counts)


def seconds_text(seconds: float | None) -> str:
    """ "0.82 s", "12.3 s"; from two minutes on in words; "" for none."""
    if seconds is None:
        return ""
    return f"{seconds:.3g} s" if 1 <= seconds < 100 else f"{seconds:.2f} s" if seconds < 1 else in_words(seconds)


def in_flight_line(one: Request, now: float) -> str:
    """A request that is under way, and for how long."""
    began = epoch(one["began_at"])
    since = "" if began is None else in_words(now - began)
    return f"{since:>8}  {one['caller']}  {one['api']}  {asked_text(one)}"


def request_lines(one: Request, now: float) -> Iterator[str]:
    """Everything about one request."""
    ended = epoch(one["ended_at"])
    cost = one["cost"]
    facts = (
        ("id", one["id"]),
        ("ended", "" if ended is None else local_time(ended, now, precise=True)),
        ("caller", one["caller"]),
        ("route", f"{one['route']} ({one['api']}{', streamed' if one['streamed'] else ''})"),
        ("asked", one["asked"]),
        ("answered", one["model"]),
        ("outcome", f"{one['outcome']}, status {one['status']}"),
        ("error", one["error"]),
        ("first token", seconds_text(one["first_token_seconds"])),
        ("total", seconds_text(one["seconds"])),
        ("tokens", tokens_text(one)),
        ("cost", f"${cost:.6f}" if cost else ""),
    )
    yield from (f"{name:12} {value}" for name, value in facts if value)
    for number, step in enumerate(one["chain"], 1):
        how = f"{step['reason'] or 'answered'} ({seconds_text(step['seconds'])})"
        yield f"{f'attempt {number}':12} {step['model']}: {how}"
