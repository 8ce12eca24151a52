"""Changes personas in the database, where no server runs that could (docs/contract.md, "Command line").

The rules are those of create, copy and delete. A server that shares the database knows of a change within a second.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from ollama_proxy.catalog.making import Draft, Origin, check_free, check_template, copied, made, origin_of, spelled
from ollama_proxy.catalog.names import without_source
from ollama_proxy.catalog.snapshot import Catalog
from ollama_proxy.errors import BadRequest, ModelNotFound, Unavailable
from ollama_proxy.ops.checks import find_catalog
from ollama_proxy.ops.status.views import View
from ollama_proxy.storage.persona_table import NoRoom


def create_stored(view: View, asked: Mapping[str, Any]) -> dict[str, Any]:
    """Do what POST /api/create does with the body `asked`. Raises ProxyError, StorageUnavailable."""
    catalog = _catalog(view)
    name = _free_name(asked["model"], catalog)
    draft = Draft(
        system=asked.get("system", ""),
        template=asked.get("template", ""),
        licenses=tuple(asked.get("license", ())),
        parameters=asked.get("parameters", {}),
        messages=tuple(asked.get("messages", ())),
        renderer=asked.get("renderer", ""),
        parser=asked.get("parser", ""),
        requires=asked.get("requires", ""),
    )
    if not asked.get("from"):
        raise BadRequest("neither 'from' or 'files' was specified")
    origin = _origin(asked["from"], catalog)
    check_template(draft.template)
    with _room():
        view.runtime.library.save(made(draft, origin, name, time.time()))
    return {"personas": []}


def copy_stored(view: View, source: str, destination: str) -> dict[str, Any]:
    """Do what POST /api/copy does. Raises ProxyError, StorageUnavailable."""
    catalog = _catalog(view)
    origin, name = _origin(source, catalog), _free_name(destination, catalog)
    with _room():
        view.runtime.library.save(copied(origin, name, time.time()))
    return {"personas": []}


def remove_stored(view: View, name: str) -> dict[str, Any]:
    """Do what DELETE /api/delete does. Raises ModelNotFound, BadRequest, StorageUnavailable."""
    library = view.runtime.library
    # A name with `:local` may have been stored by an earlier version.
    if not library.remove(name) and not library.remove(without_source(name)):
        raise ModelNotFound(f"no persona is called {name!r}")
    return {"personas": []}


def _catalog(view: View) -> Catalog:
    """The models and the personas that there are now. Raises Unavailable without a model list."""
    view.runtime.library.latest()
    catalog = find_catalog(view.runtime)
    if isinstance(catalog, str):
        raise Unavailable(f"there is no model list: {catalog}")
    return catalog


def _free_name(name: str, catalog: Catalog) -> str:
    asked, name = name, without_source(name)
    if not catalog.may_be_name(name):
        raise BadRequest(f"invalid model name: {asked!r}")
    check_free(name, catalog)
    return spelled(name, catalog.personas)


def _origin(name: str, catalog: Catalog) -> Origin:
    try:
        return origin_of(without_source(name), catalog)
    except ModelNotFound as error:
        raise ModelNotFound(f"no model is called {name!r}" + (f": {error.message}" if error.message else "")) from None


@contextmanager
def _room() -> Iterator[None]:
    try:
        yield
    except NoRoom as error:
        raise BadRequest(f"this server takes at most {error}: remove one first") from None
