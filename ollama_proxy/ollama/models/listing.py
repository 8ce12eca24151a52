"""Keeps the replies about the catalogue, made once per catalogue, because clients ask for them often.

Many clients ask for all of them at every start, and some at every turn.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ollama_proxy.catalog.snapshot import Catalog
from ollama_proxy.ollama.answer.lines import json_line
from ollama_proxy.ollama.models.show import basenames, show
from ollama_proxy.ollama.models.tags import Listed, free_alias, tags


@dataclass(slots=True)
class _Replies:
    catalog: Catalog
    tags: bytes
    listed: dict[str, Listed]
    basenames: dict[str, str]
    show: dict[tuple[str, str], bytes] = field(default_factory=dict)


class Listing:
    """Replies of `/api/tags` and `/api/show` for the current catalogue. One per process."""

    def __init__(self) -> None:
        self._replies: _Replies | None = None

    def tags(self, catalog: Catalog) -> bytes:
        """Return the body of `/api/tags`."""
        return self._for(catalog).tags

    def alias(self, catalog: Catalog) -> Listed:
        """Return the entry that represents the virtual model `free`."""
        return self._for(catalog).listed["free:latest"]

    def show(self, catalog: Catalog, model: Listed, requested: str, *, copilot: bool, system: str) -> bytes:
        """Return the body of `/api/show` for `model`, which the client called `requested`."""
        replies = self._for(catalog)
        key = (model.name, requested if copilot else "")
        if system:
            return self._show(replies, model, requested, copilot=copilot, system=system)
        if (body := replies.show.get(key)) is None:
            body = self._show(replies, model, requested, copilot=copilot, system="")
            if len(replies.show) < 4096:  # clients choose the names, so the memory for them needs a limit
                replies.show[key] = body
        return body

    def _show(self, replies: _Replies, model: Listed, requested: str, *, copilot: bool, system: str) -> bytes:
        reply = show(
            model,
            requested,
            basename=replies.basenames.get(model.name),
            user_agent="GitHubCopilotChat/" if copilot else "",
            system=system,
        )
        return json_line(reply)

    def _for(self, catalog: Catalog) -> _Replies:
        replies = self._replies
        if replies is None or replies.catalog is not catalog:
            replies = self._replies = _replies(catalog)
        return replies


def _replies(catalog: Catalog) -> _Replies:
    alias: Any = free_alias(catalog.free)
    listed: list[Listed] = [*catalog.models, *catalog.embeddings]
    if catalog.free_mode and catalog.free:
        listed.insert(0, alias)
    return _Replies(
        catalog=catalog,
        tags=json_line(tags(listed)),
        listed={model.name: model for model in [*listed, alias]},
        basenames=basenames(listed),
    )
