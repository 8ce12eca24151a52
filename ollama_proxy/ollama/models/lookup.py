"""Which model a request of the Ollama API means, and the refusal in Ollama's words if it means none.

Each route has its own words for the same mistake, and clients match on them. Pure: names and a catalogue in, models
out; who answers in a model's place is not decided here (docs/contract.md, "Names").
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
    """What a name means: a model, or with None the virtual model `free`. `name` is the name to ask others for."""

    name: str
    model: Model | None

    @property
    def embeds(self) -> bool:
        """It cannot chat."""
        return self.model is not None and self.model.is_embedding


def chat_model(asked: str, catalog: Catalog, *, strict: bool) -> Meant:
    """What `asked` means to chat and generate; an embedding model is found too, for it may be unloaded.

    Raises BadRequest for what is no name, ModelNotFound for an unknown one, which in free mode means `free` unless
    `strict` or it names a model of ollama.com: the CLI asks for `x:cloud` when it found no `x`, and then for a sign-in.
    """
    name = without_source(asked)
    resolution = catalog.resolve(name)
    if resolution.kind is NameKind.EMBEDDING_ON_CHAT:
        return Meant(name, resolution.model)
    strict = strict or _is_cloud(name)
    return Meant(name, asked_model(resolution, asked, free_mode=catalog.free_mode, strict=strict))


def shown_model(asked: str, catalog: Catalog, *, strict: bool) -> Meant:
    """What `asked` means to show: as for chat. Its refusal names the tag, as Ollama's does here and only here."""
    try:
        return chat_model(asked, catalog, strict=strict)
    except ModelNotFound as error:
        unqualified = f"model '{asked}' not found"
        raise ModelNotFound(error.message.replace(unqualified, f"model '{tagged(asked.strip())}' not found")) from None


def embedding_model(asked: str, catalog: Catalog) -> Meant:
    """The embedding model that `asked` means; nothing ever stands in for one. Raises BadRequest, ModelNotFound."""
    name = without_source(asked)
    return Meant(name, embedding_candidates(name, catalog).models[0])


def listed_model(asked: str, catalog: Catalog) -> Meant | None:
    """The model that is listed under `asked`, of any kind; None where there is none. Raises BadRequest for no name."""
    name = without_source(asked)
    resolution = catalog.resolve(name)
    if resolution.kind is NameKind.INVALID:
        raise BadRequest("invalid model name")
    if resolution.kind is NameKind.FREE:
        return Meant(name, None) if catalog.free else None
    return Meant(name, resolution.model) if resolution.kind in (NameKind.MODEL, NameKind.EMBEDDING_ON_CHAT) else None


def check_name(asked: str, catalog: Catalog) -> None:
    """Raises BadRequest if `asked` cannot be a name, known or not."""
    if catalog.resolve(without_source(asked)).kind is NameKind.INVALID:
        raise BadRequest("invalid model name")


def _is_cloud(name: str) -> bool:
    """Whether Ollama takes the name for one of a model at ollama.com: `x:cloud`, `x:20b-cloud`."""
    return re.search(r":(?:[^:/]*-)?cloud$", name, re.IGNORECASE) is not None


def without_source(asked: str) -> str:
    """The name without Ollama's `:local`, "the one on this machine". Raises BadRequest if it says `:cloud` as well.

    `:cloud` means a model of ollama.com; it is left as it is and so names no model of this catalogue.
    """
    name = asked.strip()
    words = name.lower().split(":")[1:]
    if "local" in words and "cloud" in words:
        raise BadRequest(f'use either :local or :cloud, not both: "{asked}"')
    return name[: -len(":local")] if words and words[-1] == "local" else name
