"""Reads the values of a query or a form, with the checks that all routes of reports and pages share. Knows Flask."""

from __future__ import annotations

import math

from flask import request

from ollama_proxy.errors import BadRequest


def text_of(name: str, text: str) -> str:
    """Return `text`. Raises BadRequest for one with a NUL: PostgreSQL takes none, and nothing stored has one."""
    if "\0" in text:
        raise BadRequest(f"{name} must not hold a NUL character")
    return text


def is_set(name: str) -> bool:
    """Return whether the query says yes to `name`."""
    return request.args.get(name, "") in ("1", "true")


def number_of(name: str, most: float = 1e12) -> float | None:
    """Return a number of the query, None if it is not given. Raises BadRequest for anything else or over `most`."""
    text = request.args.get(name)
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value <= most:
        raise BadRequest(f"{name} takes a number, more than 0 and at most {most:g}")
    return value
