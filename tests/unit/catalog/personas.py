"""Personas for tests."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ollama_proxy.catalog.names import name_key
from ollama_proxy.catalog.persona import Persona


def persona(name: str = "mario:latest", base: str = "a/note:free", **changes: Any) -> Persona:
    """A persona that says nothing but what `changes` say."""
    given: dict[str, Any] = {
        "name": name,
        "base": base,
        "system": "",
        "template": "",
        "licenses": (),
        "parameters": {},
        "messages": (),
        "digest": "0" * 64,
        "created": 0.0,
        "modified": 0.0,
    }
    return Persona(**given | changes)


def library(*personas: Persona) -> Mapping[str, Persona]:
    """The personas as the catalogue wants them: by `name_key`."""
    return {name_key(one.name): one for one in personas}
