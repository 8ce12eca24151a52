"""Makes HTML of templates and values. Pure: it knows no Flask, no request and no clock.

Autoescape is on for every template, and an undefined value is an error: what a name holds never becomes markup.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from ollama_proxy.access.pages import PAGES
from ollama_proxy.ui import words
from ollama_proxy.ui.static_files import static_name

_TEMPLATES = Path(__file__).parent / "templates"


def render(template: str, **values: Any) -> str:
    """Return the HTML of the template of that name in templates/. Raises jinja2.TemplateError for a mistake in it."""
    return _environment().get_template(template).render(values)


def static_url(path: str) -> str:
    """Return the address of a file in static/, such as "page.css". Raises KeyError if there is none."""
    return f"{PAGES}/static/{static_name(path)}"


@cache
def _environment() -> Environment:
    found = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.globals |= {"static": static_url, "ui": PAGES}
    found.filters |= words.FILTERS
    return found
