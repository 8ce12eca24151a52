"""Finds the model that a request of the Ollama API means, or refuses it in Ollama's words.

Each route has its own words for the same mistake, and clients match them. Pure: names and a catalogue in, models out.
It does not decide who answers in a model's place (docs/contract.md, "Names").
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from ollama_proxy.catalog.names import tagged
from ollama_proxy.catalog.records import Model
from ollama_proxy.catalog.snapshot import Catalog, NameKind
from ollama_proxy.errors import BadRequest, ModelNotFound
from ollama_proxy.fallback.candidates import asked_model, embedding_candidates


@dataclass(frozen=True, slots=True)
class Meant:
    """What a name means: a model, or with None the virtual model `free`. `name` is the name for finding candidates."""

    name: str
    model: Model | None

    @property
    def embeds(self) -> bool:
        """True for an embedding model, which cannot chat."""
        return self.model is not None and self.model.is_embedding


def chat_model(asked: str, catalog: Catalog, *, strict: bool) -> Meant:
    """Return what `asked` means to chat and generate. An embedding model is found too, because it may be unloaded.

    Raises BadRequest for a text that cannot be a name, ModelNotFound for an unknown name. In free mode an unknown name
    means `free`, unless `strict` is set or it names a model of ollama.com: the CLI asks for `x:cloud` if it found no
    `x`, and after an answer it would ask for a sign-in.
    """
    name = without_source(asked)
    resolution = catalog.resolve(name)
    if resolution.kind is NameKind.EMBEDDING_ON_CHAT:
        return Meant(name, resolution.model)
    strict = strict or _is_cloud(name)
    return Meant(name, asked_model(resolution, asked, free_mode=catalog.free_mode, strict=strict))


def shown_model(asked: str, catalog: Catalog, *, strict: bool) -> Meant:
    """Return what `asked` means to show: the same as to chat.

    A refusal names the tag, because Ollama's does on this route and on no other.
    """
    try:
        return chat_model(asked, catalog, strict=strict)
    except ModelNotFound as error:
        unqualified = f"model '{asked}' not found"
        raise ModelNotFound(error.message.replace(unqualified, f"model '{tagged(asked.strip())}' not found")) from None


def embedding_model(asked: str, catalog: Catalog) -> Meant:
    """Return the embedding model that `asked` means; no other ever answers for it. Raises BadRequest, ModelNotFound."""
    name = without_source(asked)
    return Meant(name, embedding_candidates(name, catalog).models[0])


def listed_model(asked: str, catalog: Catalog) -> Meant | None:
    """Return the model that is listed under `asked`, of any kind, or None. Raises BadRequest if it cannot be a name."""
    name = without_source(asked)
    resolution = catalog.resolve(name)
    if resolution.kind is NameKind.INVALID:
        raise BadRequest("invalid model name")
    if resolution.kind is NameKind.FREE:
        return Meant(name, None) if catalog.free else None
    return Meant(name, resolution.model) if resolution.kind in (NameKind.MODEL, NameKind.EMBEDDING_ON_CHAT) else None


def check_name(asked: str, catalog: Catalog) -> None:
    """Raise BadRequest if `asked` cannot be a name, known or not."""
    if catalog.resolve(without_source(asked)).kind is NameKind.INVALID:
        raise BadRequest("invalid model name")


def _is_cloud(name: str) -> bool:
    """Return True if Ollama would look for the name at ollama.com: `x:cloud`, `x:20b-cloud`."""
    return re.search(r":(?:[^:/]*-)?cloud$", name, re.IGNORECASE) is not None


def without_source(asked: str) -> str:
    """Return the name without Ollama's `:local`, which means a model on this machine.

    `:cloud` means a model of ollama.com; it stays, and so the name is unknown in this catalogue. Raises BadRequest if
    the name has both.
    """
    name = asked.strip()
    words = name.lower().split(":")[1:]
    if "local" in words and "cloud" in words:
        raise BadRequest(f'use either :local or :cloud, not both: "{asked}"')
    return name[: -len(":local")] if words and words[-1] == "local" else name
