"""The parts `personas` and `aliases` of a report: what the names that people made mean now."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ollama_proxy.catalog.names import bare, name_key
from ollama_proxy.catalog.persona import Persona
from ollama_proxy.catalog.snapshot import Catalog, NameKind, Resolution
from ollama_proxy.errors import ModelNotFound
from ollama_proxy.ops.moments import moment
from ollama_proxy.ops.status.views import View

_NO_LIST = "there is no model list"


def persona_states(view: View) -> list[dict[str, Any]]:
    """All personas, the last changed first. Raises StorageUnavailable from a StoredView."""
    found = sorted(_personas(view).values(), key=lambda one: (-one.modified, one.name))
    return _seen(view, [_state(view, persona) for persona in found])


def one_persona(view: View, name: str) -> dict[str, Any]:
    """One persona, with all that it says. Raises ModelNotFound, and StorageUnavailable from a StoredView."""
    persona = _personas(view).get(name_key(name))
    if persona is None:
        raise ModelNotFound(f"no persona is called {name!r}")
    return _state(view, persona) | {
        "system": persona.system,
        "template": persona.template,
        "licenses": list(persona.licenses),
        "parameters": dict(persona.parameters),
        "messages": list(persona.messages),
        "renderer": persona.renderer,
        "parser": persona.parser,
        "requires": persona.requires,
    }


def _personas(view: View) -> Mapping[str, Persona]:
    library = view.runtime.library
    if not view.is_live and view.has_tables:
        library.reload()
    return library.current()


def _state(view: View, persona: Persona) -> dict[str, Any]:
    catalog = view.catalog
    means, why = (None, _NO_LIST) if catalog is None else meaning(catalog.resolve_base(persona.base))
    return {
        "name": persona.name,
        "base": persona.base,
        "means": means,
        "why": why,
        "shadows": None if catalog is None else shadowed(catalog, persona.name),
        "digest": persona.digest,
        "modified": moment(persona.modified),
    }


def alias_states(view: View) -> list[dict[str, Any]]:
    """What MODEL_ALIASES says, in the order in which it is looked at, and what it means."""
    catalog = view.catalog
    states = []
    for pattern, target in view.runtime.settings.model_aliases:
        means, why = (None, _NO_LIST) if catalog is None else meaning(catalog.resolve_exactly(target))
        states.append({"pattern": pattern, "target": target, "means": means, "why": why})
    return _seen(view, states)


def _seen(view: View, states: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Those that whoever asks may know of: for a key that is no admin's what means nothing here is not there."""
    return states if view.only is None else [state for state in states if state["means"] is not None]


def meaning(resolution: Resolution) -> tuple[str | None, str | None]:
    """The id of the model, or the virtual model's name, that is meant; else None, and why in words."""
    match resolution.kind:
        case NameKind.FILTERED:
            return None, "a filter keeps the model out"
        case NameKind.AMBIGUOUS:
            return None, f"several models are called so: {', '.join(resolution.candidates_text)}"
        case NameKind.UNKNOWN | NameKind.INVALID:
            return None, "no model here is called so"
    if resolution.virtual is not None:
        return resolution.virtual.name, None
    return (None if resolution.model is None else resolution.model.id), None


def shadowed(catalog: Catalog, name: str) -> str | None:
    """The id of the listed model that would be meant by `name` if no persona had it; None if there is none."""
    found = catalog.with_personas({}).resolve_exactly(bare(name))
    return found.model.id if found.model is not None and found.kind is not NameKind.FILTERED else None
