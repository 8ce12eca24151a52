"""What the Ollama API keeps per process: the catalogue's replies, and which models count as loaded."""

from __future__ import annotations

from typing import cast

from flask import current_app

from ollama_proxy.ollama.models.listing import Listing
from ollama_proxy.ollama.models.running import Running


def listing() -> Listing:
    """The catalogue's replies, made once per catalogue."""
    return cast(Listing, current_app.extensions.setdefault("ollama_proxy.listing", Listing()))


def running() -> Running:
    """The models that count as loaded in this process."""
    return cast(Running, current_app.extensions.setdefault("ollama_proxy.running", Running()))
