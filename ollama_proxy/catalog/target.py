"""What a client's model name means, found once for each request: a Target.

A Target is a value that the routes hand down; nothing below them asks again what a name means. Pure: a name and a
catalogue in, a Target or a refusal out. The wording of a refusal may be changed by a route whose API has another one
(docs/contract.md, "Names").
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from ollama_proxy.catalog.names import name_key
from ollama_proxy.catalog.persona import Persona
from ollama_proxy.catalog.records import Model
from ollama_proxy.catalog.snapshot import Catalog, NameKind, Resolution
from ollama_proxy.catalog.virtual import FREE, VirtualModel
from ollama_proxy.errors import BadRequest, ModelNotFound, ProxyError

#: Gives the catalogue with all personas that there are now. Raises ProxyError while nobody knows them.
Newer = Callable[[], Catalog]


@dataclass(frozen=True, slots=True)
class Target:
    """What a name means: a `model`, or a `virtual` model; one of the two is None.

    `name` is the client's own word for it, for texts. `order` names the order of the free models that may answer; None
    for a named model and for an unknown name, where FREE_ORDER says it. `persona` is set if the name is a persona's:
    `model` or `virtual` is then what its base means.
    """

    name: str
    model: Model | None = None
    virtual: VirtualModel | None = None
    order: str | None = None
    persona: Persona | None = None

    @property
    def embeds(self) -> bool:
        """It is an embedding model: it cannot chat, and no other model stands in for it."""
        return self.model is not None and self.model.is_embedding


def chat_target(
    name: str, catalog: Catalog, *, strict: bool, may_embed: bool = False, newer: Newer | None = None
) -> Target:
    """What `name` means on a route that chats.

    In free mode an unknown name means the free models, unless `strict`; so does a persona whose base is gone or costs
    money now: what it says goes along to whoever answers. `newer` is asked before a name is called unknown: another
    process may have made a persona of that name a moment ago, and its system prompt must not be missing.

    Raises BadRequest for a text that cannot be a name and, unless `may_embed`, for an embedding model; ModelNotFound
    for any other name that means nothing here; what `newer` raises.
    """
    resolution = catalog.resolve(name)
    persona = resolution.persona
    match resolution.kind:
        case NameKind.MODEL:
            return Target(name, resolution.model, persona=persona)
        case NameKind.EMBEDDING_ON_CHAT if may_embed:
            return Target(name, resolution.model, persona=persona)
        case NameKind.VIRTUAL if resolution.virtual is not None:
            return Target(name, None, resolution.virtual, resolution.virtual.order, persona)
        case NameKind.UNKNOWN if newer is not None and persona is None:
            return chat_target(name, newer(), strict=strict, may_embed=may_embed)
        case NameKind.UNKNOWN if catalog.free_mode and not strict:
            return Target(name, virtual=FREE, persona=persona)
        case NameKind.EMBEDDING_ON_CHAT:
            raise BadRequest(f'"{name}" does not support chat')
        case NameKind.AMBIGUOUS:
            raise _which(name, resolution)
        case NameKind.INVALID:
            raise _invalid()
        case _:
            raise ModelNotFound(f"model '{name}' not found{_why(resolution)}")


def embedding_target(name: str, catalog: Catalog) -> Target:
    """The embedding model that `name` means. Raises BadRequest, ModelNotFound."""
    resolution = catalog.resolve(name, embedding=True)
    match resolution.kind:
        case NameKind.MODEL:
            return Target(name, resolution.model, persona=resolution.persona)
        case NameKind.CHAT_ON_EMBEDDING:
            raise BadRequest(f'"{name}" does not support embeddings')
        case NameKind.AMBIGUOUS:
            raise _which(name, resolution)
        case NameKind.INVALID:
            raise _invalid()
        case _:
            raise ModelNotFound(f'model "{name}" not found{_why(resolution) or ", try pulling it first"}')


def served_target(name: str, catalog: Catalog, *, strict: bool, newer: Newer | None = None) -> Target:
    """What `name` means to those who ask before they chat or embed: the model of any kind that would answer.

    Raises as `chat_target` does, and ModelNotFound too where the free models are meant and there is none.
    """
    target = chat_target(name, catalog, strict=strict, may_embed=True, newer=newer)
    if target.virtual is not None and not catalog.free:
        raise ModelNotFound(f"model '{name}' not found")
    return target


def persona_targets(catalog: Catalog, *, strict: bool) -> list[Target]:
    """What each persona means here, in the order in which to list them: the last changed first, as in Ollama.

    Left out are those that nobody would answer for: a filter keeps the base out, or it is gone.
    """
    found = []
    for persona in sorted(catalog.personas.values(), key=lambda one: (-one.modified, one.name)):
        try:
            found.append(served_target(persona.name, catalog, strict=strict))
        except ProxyError:
            continue
    return found


def models_beside(personas: Iterable[Target], catalog: Catalog) -> list[Model]:
    """The models to list behind these personas: without those whose listed name one of them has.

    Such a model appeared later. It can be asked for by its full id.
    """
    taken = {name_key(target.name) for target in personas}
    models = (*catalog.models, *catalog.embeddings)
    return [model for model in models if name_key(model.name) not in taken] if taken else list(models)


def _why(resolution: Resolution) -> str:
    """What else there is to say of a name that means nothing here."""
    if resolution.persona is None or resolution.kind is not NameKind.UNKNOWN:
        return ""
    return f": its base '{resolution.persona.base}' is gone"


def _invalid() -> ProxyError:
    return BadRequest("invalid model name")


def _which(name: str, resolution: Resolution) -> ProxyError:
    meant = " or ".join(f"'{text}'" for text in resolution.candidates_text)
    return ModelNotFound(f"model '{name}' not found: say which one you mean, {meant}")
