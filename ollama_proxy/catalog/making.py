"""Makes personas of what create and copy ask for: what may be made, what is inherited, and how much is taken.

Pure: a Draft, the catalogue and its personas in, a Persona or a refusal out (docs/contract.md, "Personas").
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

from ollama_proxy import limits
from ollama_proxy.catalog.names import name_key, tagged
from ollama_proxy.catalog.persona import Layer, Persona, canonical, layers, persona_digest
from ollama_proxy.catalog.snapshot import Catalog, NameKind
from ollama_proxy.catalog.virtual import is_reserved
from ollama_proxy.errors import BadRequest, ModelNotFound
from ollama_proxy.modelfile.parameters import plain
from ollama_proxy.modelfile.template_syntax import template_error

#: Bytes of all texts of one persona together: books fit in, and every process holds all personas.
MOST_BYTES = 1024 * 1024
MOST_MESSAGES = 1000
MOST_LICENSES = 100

#: Characters. Those of Ollama's library have some thousands; a check takes up to 25 ms for so many.
MOST_TEMPLATE = 16 * 1024

#: A view looks at the template before it looks at the rest, as Ollama does, and `made` looks at all.
_template_error = lru_cache(4)(template_error)

_MODELS = (NameKind.MODEL, NameKind.EMBEDDING_ON_CHAT)
_PARTS = re.compile(r"(?P<path>.*/)?(?P<model>[^:]*)(?P<tag>:.*)?", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """What is asked for, beside name and base. "" and empty ones mean: as in the base. `licenses` are added."""

    system: str = ""
    template: str = ""
    licenses: tuple[str, ...] = ()
    parameters: Mapping[str, Any] = field(default_factory=dict)
    messages: tuple[Mapping[str, Any], ...] = ()
    renderer: str = ""
    parser: str = ""
    requires: str = ""


@dataclass(frozen=True, slots=True)
class Origin:
    """What a persona is made from: the `base` (see `Persona.base`), and what it inherits, if it is a persona's name."""

    base: str
    persona: Persona | None = None


def origin_of(name: str, catalog: Catalog) -> Origin:
    """Return what `name` means as a base: never the free models for an unknown name.

    Raises BadRequest for a text that cannot be a name, ModelNotFound for one that means nothing here; the text of the
    latter is empty or says what the name could mean.
    """
    meaning = catalog.resolve(name)
    if meaning.persona is not None:
        return Origin(meaning.persona.base, meaning.persona)
    if meaning.kind in _MODELS and meaning.model is not None:
        return Origin(meaning.model.id)
    if meaning.virtual is not None:
        return Origin(meaning.virtual.name)
    if meaning.kind is NameKind.INVALID:
        raise BadRequest("invalid model name")
    if meaning.kind is NameKind.AMBIGUOUS:
        meant = " or ".join(f"'{text}'" for text in meaning.candidates_text)
        raise ModelNotFound(f"say which one you mean, {meant}")
    raise ModelNotFound("")


def check_free(name: str, catalog: Catalog) -> None:
    """Raise BadRequest if `name`, which is a name, cannot be a persona's: it means a listed model today.

    A persona's own name can be used again, though a model of that name has appeared since.
    """
    key = name_key(name)
    if key in catalog.personas:
        return
    if is_reserved(key):
        raise BadRequest(f'"{name}" is this server\'s own: choose another name')
    for spelling in {name, key.removesuffix(":latest")}:
        meaning = catalog.resolve_exactly(spelling)
        if meaning.persona is None and (meaning.kind in _MODELS or meaning.virtual is not None):
            raise BadRequest(f'"{name}" is OpenRouter\'s model: choose another name')


def spelled(name: str, personas: Mapping[str, Persona]) -> str:
    """Return `name` with its tag, each part of it spelled as in a persona that has the same part in another case.

    Ollama does so, because two names that differ in nothing but case are one (`getExistingName`).
    """
    parts = _PARTS.fullmatch(tagged(name.strip()))
    assert parts is not None
    known: dict[tuple[str, str], str] = {}
    for key in sorted(personas):
        theirs = _PARTS.fullmatch(personas[key].name)
        if theirs is not None:
            for part, text in theirs.groupdict("").items():
                known.setdefault((part, text.lower()), text)
    return "".join(known.get((part, text.lower()), text) for part, text in parts.groupdict("").items())


def check_template(template: str) -> None:
    """Raise BadRequest if it is too long, or if Go could not parse it."""
    if len(template) > MOST_TEMPLATE:
        raise BadRequest(f"the template is too long: at most {MOST_TEMPLATE} characters are taken")
    if (error := _template_error(template)) is not None:
        raise BadRequest(f"template error: {error}")


def made(draft: Draft, origin: Origin, name: str, now: float) -> Persona:
    """Return the persona of that name: what the draft says over what it inherits.

    Raises BadRequest if it says too much, or if Go could not parse its template.
    """
    check_template(draft.template)
    parent = origin.persona or Persona(name, origin.base, "", "", (), {}, (), "", now, now)
    given = {key: plain(value) for key, value in draft.parameters.items() if value is not None}
    messages = draft.messages or parent.messages
    licenses = (*parent.licenses, *draft.licenses)
    limits.check_count(len(messages), MOST_MESSAGES, "messages")
    limits.check_count(len(licenses), MOST_LICENSES, "licenses")
    persona = Persona(
        name=name,
        base=origin.base,
        system=_text(draft.system) or parent.system,
        template=_text(draft.template) or parent.template,
        licenses=tuple(map(_text, licenses)),
        parameters={**parent.parameters, **given},
        messages=messages,
        digest="",
        created=now,
        modified=now,
        renderer=_text(draft.renderer) or parent.renderer,
        parser=_text(draft.parser) or parent.parser,
        requires=_text(draft.requires) or parent.requires,
    )
    _check_size(persona)
    return replace(persona, digest=persona_digest(persona))


def copied(origin: Origin, name: str, now: float) -> Persona:
    """Return what is copied under another name: it has the same digest if it was a persona."""
    return made(Draft(), origin, name, now)


@dataclass(frozen=True, slots=True)
class StoredLayer:
    """A layer of a new persona, and whether it existed before."""

    digest: str
    existed: bool


def stored_layers(persona: Persona, draft: Draft, personas: Mapping[str, Persona]) -> list[StoredLayer]:
    """Return the layers of a persona in the order in which Ollama names them: inherited ones, then those of the draft.

    A layer of the draft existed before if any persona has the same.
    """
    given = {
        "template": draft.template,
        "system": draft.system,
        "params": draft.parameters,
        "messages": draft.messages,
    }
    own = layers(persona)
    added = len(draft.licenses)
    licenses = [layer for layer in own if layer.kind == "license"]
    new = [layer for layer in own if given.get(layer.kind)] + licenses[len(licenses) - added :]
    new.sort(key=own.index)
    inherited = [layer for layer in own if layer not in new]
    known = _known(new, personas)
    return [
        *(StoredLayer(layer.digest, existed=True) for layer in inherited),
        *(StoredLayer(layer.digest, existed=layer.digest in known) for layer in new),
    ]


def _known(new: list[Layer], personas: Mapping[str, Persona]) -> set[str]:
    if not new:
        return set()
    return {layer.digest for persona in personas.values() for layer in layers(persona)}


def _check_size(persona: Persona) -> None:
    texts = (persona.system, persona.template, persona.renderer, persona.parser, persona.requires, *persona.licenses)
    size = sum(len(text.encode()) for text in texts)
    size += len(canonical(persona.parameters).encode()) + len(canonical(persona.messages).encode())
    if size > MOST_BYTES:
        raise BadRequest(
            f"the model is too large: {size // 1024} KB of text, and at most {MOST_BYTES // 1024} are taken"
        )


def _text(text: str) -> str:
    """`text` as any database takes it: PostgreSQL takes no NUL."""
    return text.replace("\0", "")
