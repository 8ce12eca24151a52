"""A persona: a name that a user gave to a model together with a system prompt, parameters and messages.

It is what Ollama's create and copy make (docs/contract.md, "Personas"). A value: whoever holds it is not disturbed when
it is changed or deleted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


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
