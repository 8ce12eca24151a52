"""/api/tags: how a model is listed. Pure: from the catalogue's models to Ollama's objects.

If one of these fields is missing, some client fails on the whole list (docs/contract.md, "Endpoints").
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from ollama_proxy.catalog.names import bare
from ollama_proxy.catalog.persona import Persona, layers
from ollama_proxy.catalog.virtual import VirtualModel
from ollama_proxy.ollama.timestamps import rfc3339

STUB_BYTES = 384
"""The size of every model: as with Ollama's own cloud models, what is stored here is a note of a few hundred bytes."""

_OLLAMA_CONTEXT = 4096  # Ollama's own default, for a model whose window is unknown
_CAPABILITY_ORDER = ("completion", "vision", "tools", "thinking")


class Listed(Protocol):
    """What a listed model must tell: a model of the catalogue, a virtual one, or a persona (`Listed…`)."""

    @property
    def name(self) -> str:
        """The listed name, with its tag."""

    @property
    def title(self) -> str:
        """The name shown to people."""

    @property
    def created(self) -> float:
        """Epoch seconds."""

    @property
    def context_length(self) -> int:
        """The usable window in tokens, 0 if unknown."""

    @property
    def digest(self) -> str:
        """64 hex digits."""

    @property
    def family(self) -> str:
        """One word without a dot."""

    @property
    def parameter_size(self) -> str:
        """Such as `70B`, or ""."""

    @property
    def capabilities(self) -> list[str]:
        """The capabilities in Ollama's words."""


@dataclass(frozen=True, slots=True)
class ListedVirtual:
    """A virtual model as it is listed: like a model, with what its candidates can do."""

    name: str
    title: str
    created: float
    context_length: int
    capabilities: list[str]
    digest: str
    family: str
    parameter_size: str = ""


@dataclass(frozen=True, slots=True)
class ListedPersona:
    """A persona as it is listed: it can do what its `base` can, and has a name, a digest and a time of its own."""

    persona: Persona
    base: Listed

    @property
    def name(self) -> str:
        return self.persona.name

    @property
    def title(self) -> str:
        return bare(self.persona.name)

    @property
    def created(self) -> float:
        return self.persona.modified

    @property
    def context_length(self) -> int:
        return self.base.context_length

    @property
    def digest(self) -> str:
        """Another name for a model has that model's, as a copy has in Ollama."""
        return self.base.digest if self.persona.says_nothing else self.persona.digest

    @property
    def family(self) -> str:
        return self.base.family

    @property
    def parameter_size(self) -> str:
        return self.base.parameter_size

    @property
    def capabilities(self) -> list[str]:
        return self.base.capabilities

    @property
    def size(self) -> int:
        """Bytes of all layers, the base's among them."""
        return STUB_BYTES + sum(layer.size for layer in layers(self.persona))


def listed_virtual(virtual: VirtualModel, free: Sequence[Listed]) -> ListedVirtual:
    """Returns a virtual model over these free ones: it can do what any of them can, in the largest of their windows."""
    known = {word for model in free for word in model.capabilities} | {"completion"}
    capabilities = [word for word in _CAPABILITY_ORDER if word in known]
    context_length = max((model.context_length for model in free), default=0)
    fingerprint = f"{virtual.name} {context_length} {' '.join(capabilities)}"
    return ListedVirtual(
        name=virtual.name,
        title=virtual.title,
        created=max((model.created for model in free), default=0),
        context_length=context_length,
        capabilities=capabilities,
        digest=hashlib.sha256(fingerprint.encode()).hexdigest(),
        family=virtual.name.partition(":")[0],
    )


def tags(models: Iterable[Listed]) -> dict[str, Any]:
    """Return the whole answer of /api/tags, in the given order."""
    return {"models": [tag(model) for model in models]}


def tag(model: Listed) -> dict[str, Any]:
    """Return a model's entry in /api/tags."""
    return {
        "name": model.name,
        "model": model.name,
        "modified_at": modified_at(model),
        "size": size(model),
        "digest": model.digest,
        "details": {**details(model), "context_length": context_length(model)},
        "capabilities": list(model.capabilities),
    }


def details(model: Listed) -> dict[str, Any]:
    """Return the six classic keys of `details`; some clients fail if there are more of them where they do not expect
    it.

    "clip" among the families tells older clients that a model sees images.
    """
    families = [model.family, "clip"] if "vision" in model.capabilities else [model.family]
    return {
        "parent_model": "",
        "format": "gguf",
        "family": model.family,
        "families": families,
        "parameter_size": model.parameter_size,
        "quantization_level": "",
    }


def size(model: Listed) -> int:
    """Return what is stored here of a model, in bytes."""
    return model.size if isinstance(model, ListedPersona) else STUB_BYTES


def modified_at(model: Listed) -> str:
    """Return the time at which the model appeared at OpenRouter, or the persona was made."""
    return rfc3339(round(model.created * 1_000_000) * 1_000)


def context_length(model: Listed) -> int:
    """Return the model's window in tokens, always a positive number."""
    return model.context_length or _OLLAMA_CONTEXT
