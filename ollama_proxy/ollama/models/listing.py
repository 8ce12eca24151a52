"""Keeps the replies about the catalogue, made once per catalogue, because clients ask for them often.

Many clients ask for all of them at every start, and some at every turn.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from weakref import WeakKeyDictionary

from ollama_proxy.catalog.persona import Persona
from ollama_proxy.catalog.snapshot import Catalog
from ollama_proxy.catalog.target import Target, models_beside, persona_targets
from ollama_proxy.catalog.virtual import VIRTUAL_MODELS
from ollama_proxy.ollama.answer.lines import json_line
from ollama_proxy.ollama.models.show import basenames, show, show_persona
from ollama_proxy.ollama.models.tags import Listed, ListedPersona, listed_virtual, tags


def base_name(persona: Persona, catalog: Catalog) -> str:
    """Return the listed name of what the persona is made of.

    A base that is gone is called as it was: the free models that stand in for it are not what it was made of.
    """
    base = catalog.resolve_base(persona.base)
    if base.virtual is not None:
        return base.virtual.name
    return persona.base if base.model is None else base.model.name


@dataclass(slots=True)
class _Replies:
    virtual: dict[str, Listed]
    basenames: dict[str, str]
    tags: bytes | None = None
    show: dict[tuple[str, str, int | None], bytes] = field(default_factory=dict)


class Listing:
    """Replies of `/api/tags` and `/api/show` for each catalogue: the whole, and what keys see of it.

    One per process.
    """

    def __init__(self) -> None:
        # A key's scope makes a catalogue of its own. What is kept for one goes when the catalogue goes.
        self._replies: WeakKeyDictionary[Catalog, _Replies] = WeakKeyDictionary()

    def tags(self, catalog: Catalog, *, strict: bool) -> bytes:
        """Return the body of `/api/tags`: virtual models, personas with the last changed first, then the models."""
        replies = self._for(catalog)
        if replies.tags is None:
            targets = persona_targets(catalog, strict=strict)
            personas = (self.listed(catalog, target) for target in targets)
            virtual = replies.virtual.values() if catalog.free_mode and catalog.free else ()
            replies.tags = json_line(tags([*virtual, *personas, *models_beside(targets, catalog)]))
        return replies.tags

    def listed(self, catalog: Catalog, target: Target) -> Listed:
        """What a Target is listed as: its model, the virtual model with what its candidates can do, or its persona."""
        if target.virtual is not None:
            found = self._for(catalog).virtual[target.virtual.name]
        else:
            assert target.model is not None
            found = target.model
        return found if target.persona is None else ListedPersona(target.persona, found)

    def virtual(self, catalog: Catalog) -> list[Listed]:
        """The virtual models as they are listed, the best first."""
        return list(self._for(catalog).virtual.values())

    def show(
        self, catalog: Catalog, model: Listed, requested: str, *, copilot: bool, system: str, width: int | None
    ) -> bytes:
        """Return the body of `/api/show` for `model`, which the client called `requested`.

        `width` is the length of its vectors, if it is known.
        """
        agent = "GitHubCopilotChat/" if copilot else ""
        if isinstance(model, ListedPersona):
            name = base_name(model.persona, catalog)
            return json_line(show_persona(model, name, requested, user_agent=agent, system=system, width=width))
        replies = self._for(catalog)
        key = (model.name, requested if copilot else "", width)
        body = None if system else replies.show.get(key)
        if body is None:
            body = json_line(
                show(
                    model,
                    requested,
                    basename=replies.basenames.get(model.name),
                    user_agent=agent,
                    system=system,
                    width=width,
                )
            )
            if not system and len(replies.show) < 4096:  # clients choose the names, so the memory needs a limit
                replies.show[key] = body
        return body

    def _for(self, catalog: Catalog) -> _Replies:
        replies = self._replies.get(catalog)
        if replies is None:
            replies = self._replies[catalog] = _replies(catalog)
        return replies


def _replies(catalog: Catalog) -> _Replies:
    virtual: dict[str, Listed] = {name: listed_virtual(model, catalog.free) for name, model in VIRTUAL_MODELS.items()}
    listed: list[Listed] = [*catalog.models, *catalog.embeddings]
    if catalog.free_mode and catalog.free:
        listed = [*virtual.values(), *listed]
    return _Replies(
        virtual=virtual,
        basenames=basenames(listed),
    )
