"""A persona: a name that a user gave to a model together with a system prompt, parameters and messages.

It is what Ollama's create and copy make (docs/contract.md, "Personas"). A value: whoever holds it is not disturbed when
it is changed or deleted.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple


@dataclass(frozen=True, slots=True)
class Persona:
    """One persona, flattened: what it inherited from another persona is already in it.

    `name` is its name as shown, with its tag; `base` the id of an OpenRouter model, or a virtual model's listed name.
    `parameters` are Ollama's options, `messages` `{"role", "content"}` objects in order, `licenses` texts. `digest` is
    64 hexadecimal digits over all of it. `created` and `modified` are UTC epoch seconds. `template`, `licenses`,
    `renderer`, `parser` and `requires` are only shown.
    """

    name: str
    base: str
    system: str
    template: str
    licenses: tuple[str, ...]
    parameters: Mapping[str, Any]
    messages: tuple[Mapping[str, Any], ...]
    digest: str
    created: float
    modified: float
    renderer: str = ""
    parser: str = ""
    requires: str = ""
    #: Kept by `layers`, because lists ask for their sizes at each call.
    _layers: tuple[Layer, ...] | None = field(default=None, init=False, repr=False, compare=False)

    @property
    def says_nothing(self) -> bool:
        """It is another name for its base, and nothing more."""
        texts = (self.system, self.template, self.renderer, self.parser, self.requires)
        return not any((*texts, self.licenses, self.parameters, self.messages))


class Layer(NamedTuple):
    """A part of a persona as Ollama stores it: what it is (`template`, `system`, `license`, `params`, `messages`), the
    64 hex digits of the SHA-256 of its bytes, and how many these are.
    """

    kind: str
    digest: str
    size: int


def layers(persona: Persona) -> Sequence[Layer]:
    """Return the parts of a persona that it has, in Ollama's order. Worked out once for each persona."""
    if persona._layers is None:
        object.__setattr__(persona, "_layers", tuple(_layers_of(persona)))  # two threads would set the same
        assert persona._layers is not None
    return persona._layers


def _layers_of(persona: Persona) -> list[Layer]:
    parts = [("template", persona.template), ("system", persona.system)]
    parts += [("license", text) for text in persona.licenses]
    parts += [("params", canonical(persona.parameters)), ("messages", canonical(persona.messages))]
    found = []
    for kind, text in parts:
        if text and text not in ("{}", "[]"):
            data = text.encode()
            found.append(Layer(kind, hashlib.sha256(data).hexdigest(), len(data)))
    return found


def persona_digest(persona: Persona) -> str:
    """Return 64 hex digits over all that a persona says, and its base: not its name, not its times."""
    whole = {
        "base": persona.base,
        "layers": [[layer.kind, layer.digest] for layer in layers(persona)],
        "config": [persona.renderer, persona.parser, persona.requires],
    }
    return hashlib.sha256(canonical(whole).encode()).hexdigest()


def canonical(value: Any) -> str:
    """Return a JSON value as text, the same for the same value."""
    plain = dict(value) if isinstance(value, Mapping) else value
    return json.dumps(plain, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
