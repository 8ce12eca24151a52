"""The model list of the OpenAI API, made once per catalogue (https://platform.openai.com/docs/api-reference/models)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import orjson

from ollama_proxy.catalog.names import tagged
from ollama_proxy.catalog.persona import Persona
from ollama_proxy.catalog.records import Model
from ollama_proxy.catalog.snapshot import Catalog
from ollama_proxy.catalog.target import Newer, models_beside, persona_targets, served_target
from ollama_proxy.catalog.virtual import VIRTUAL_MODELS
from ollama_proxy.errors import ModelNotFound

#: The owner that is named for models without a vendor in their id.
_FREE_OWNER = "openrouter"
#: The owner of personas: Ollama names it for models without a namespace.
_LIBRARY = "library"


@dataclass(slots=True)
class _Replies:
    models: bytes
    virtual: dict[str, dict[str, Any]]


class ModelList:
    """Replies of `/v1/models` for each catalogue: the whole, and what keys see of it.

    One per process.
    """

    def __init__(self) -> None:
        # A key's scope makes a catalogue of its own. What is kept for one goes when the catalogue goes.
        self._replies: WeakKeyDictionary[Catalog, _Replies] = WeakKeyDictionary()

    def models(self, catalog: Catalog, *, strict: bool) -> bytes:
        """Return the body of `/v1/models`: the names of `/api/tags`, in the same order."""
        return self._for(catalog, strict).models

    def model(self, catalog: Catalog, name: str, *, strict: bool, newer: Newer | None = None) -> bytes:
        """Return the body of `/v1/models/NAME`, which repeats the name. Raises ModelNotFound, BadRequest.

        Programs ask before they chat, so there is an answer for every name that a chat is answered for.
        """
        try:
            target = served_target(name, catalog, strict=strict, newer=newer)
        except ModelNotFound as error:
            asked = f"model '{name}' not found"
            raise ModelNotFound(error.message.replace(asked, f"model '{tagged(name)}' not found")) from None
        if target.persona is not None:
            entry = _persona_entry(target.persona)
        elif target.model is not None:
            entry = _entry(target.model)
        else:
            assert target.virtual is not None
            entry = self._for(catalog, strict).virtual[target.virtual.name]
        return orjson.dumps({**entry, "id": name})

    def _for(self, catalog: Catalog, strict: bool) -> _Replies:
        replies = self._replies.get(catalog)
        if replies is None:
            replies = self._replies[catalog] = _replies(catalog, strict=strict)
        return replies


def _replies(catalog: Catalog, *, strict: bool) -> _Replies:
    created = max((model.created for model in catalog.free), default=0)
    virtual = {
        name: {"id": name, "object": "model", "created": created, "owned_by": _FREE_OWNER} for name in VIRTUAL_MODELS
    }
    targets = persona_targets(catalog, strict=strict)
    data = [_persona_entry(target.persona) for target in targets if target.persona is not None]
    data += [_entry(model) for model in models_beside(targets, catalog)]
    if catalog.free_mode and catalog.free:
        data = [*virtual.values(), *data]
    return _Replies(orjson.dumps({"object": "list", "data": data}), virtual)


def _entry(model: Model) -> dict[str, Any]:
    vendor, slash, _ = model.id.partition("/")
    return {
        "id": model.name,
        "object": "model",
        "created": model.created,
        "owned_by": vendor if slash else _FREE_OWNER,
    }


def _persona_entry(persona: Persona) -> dict[str, Any]:
    return {"id": persona.name, "object": "model", "created": int(persona.modified), "owned_by": _LIBRARY}
