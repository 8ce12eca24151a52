"""POST /api/create and /api/copy, DELETE /api/delete: names that users give to models (docs/contract.md, "Personas").

What is written is known to this process at once, to all others within a second. The checks stand in Ollama's order.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from flask import Response

from ollama_proxy.catalog.making import (
    Origin,
    check_free,
    check_template,
    copied,
    made,
    origin_of,
    spelled,
    stored_layers,
)
from ollama_proxy.catalog.names import name_key, without_source
from ollama_proxy.catalog.persona import Persona
from ollama_proxy.catalog.snapshot import Catalog, NameKind
from ollama_proxy.errors import BadRequest, DatabaseAway, ModelNotFound, NotImplementedHere
from ollama_proxy.gojson.text import quote
from ollama_proxy.ollama.models.lookup import NO_MANIFEST
from ollama_proxy.ollama.request.create_body import CreateRequest, read_create
from ollama_proxy.ollama.request.library_bodies import CopyRequest, DeleteRequest, read_copy, read_delete
from ollama_proxy.ollama.views.replies import STREAM_JSON, json_reply, status_lines
from ollama_proxy.ollama.views.state import running
from ollama_proxy.storage.database import StorageUnavailable
from ollama_proxy.storage.persona_table import NoRoom
from ollama_proxy.web.context import asked_for, observation, request_body, runtime
from ollama_proxy.web.permission import check_may_change


def create() -> Response:
    """POST /api/create."""
    check_may_change()
    return create_as_asked(read_create(request_body()))


def create_as_asked(asked: CreateRequest, origin: Origin | None = None) -> Response:
    """Make the persona, and answer as POST /api/create. Raises ProxyError in Ollama's words.

    `origin` is what to make it from instead of the name in `asked.base`: a persona keeps a base that is gone, and
    that no name means any more.
    """
    asked_for(asked.asked)
    asked.check_files()
    name = _valid(asked.asked)
    catalog = _catalog()
    check_free(name, catalog)
    observation().streamed = True  # what is found wrong from here on is an event of the stream in Ollama
    base = _valid(asked.base) if asked.base and origin is None else ""
    asked.check_remote()
    try:
        origin = origin_of(base, catalog) if base else origin
    except ModelNotFound as error:
        return _not_pulled(asked, NO_MANIFEST + (f" ({error.message})" if error.message else ""))
    asked.check_source(has_base=origin is not None)
    assert origin is not None
    return _created(asked, origin, name, catalog)


def _valid(asked: str) -> str:
    """The name without `:local`. Raises BadRequest if it cannot be a name."""
    try:
        name = without_source(asked)
    except BadRequest:
        name = ""
    if not runtime().backend.catalog().may_be_name(name):
        raise BadRequest("invalid model name")
    return name


def _not_pulled(asked: CreateRequest, error: str) -> Response:
    """Ollama pulls a base that is not there, and then says so behind the 200."""
    if not asked.stream:
        raise BadRequest(error)
    observation().error = error
    return status_lines([{"status": "pulling manifest"}, {"error": error}])


def _created(asked: CreateRequest, origin: Origin, name: str, catalog: Catalog) -> Response:
    check_template(asked.template)
    asked.check_end()
    draft = asked.draft()
    persona = made(draft, origin, spelled(name, catalog.personas), time.time())
    layers = stored_layers(persona, draft, catalog.personas)
    with _storing():
        runtime().library.save(persona)
    if not asked.stream:
        return json_reply({"status": "success"}, content_type=STREAM_JSON)
    return status_lines(
        [
            *({"status": f"using existing layer sha256:{digest}"} for digest in _digests_of_base(origin, catalog)),
            *({"status": _layer_status(layer.digest, existed=layer.existed)} for layer in layers),
            {"status": "writing manifest"},
            {"status": "success"},
        ]
    )


def _layer_status(digest: str, *, existed: bool) -> str:
    return f"{'using existing' if existed else 'creating new'} layer sha256:{digest}"


def _digests_of_base(origin: Origin, catalog: Catalog) -> list[str]:
    """The digest of the model itself, whose layer `pull` names; none if its base is a virtual model, or gone."""
    model = catalog.resolve_base(origin.base).model
    return [] if model is None else [model.digest]


def copy() -> Response:
    """POST /api/copy: of a persona, or of any name that means a model, which then has another name."""
    check_may_change()
    return copy_as_asked(read_copy(request_body()))


def copy_as_asked(asked: CopyRequest) -> Response:
    """Copy, and answer as POST /api/copy. Raises ProxyError in Ollama's words."""
    asked_for(asked.source)
    source, destination = _copyable("source", asked.source), _copyable("destination", asked.destination)
    catalog = _catalog()
    origin = _source(source, asked.source, catalog)
    if name_key(source) != name_key(destination):
        check_free(destination, catalog)
        with _storing():
            runtime().library.save(copied(origin, spelled(destination, catalog.personas), time.time()))
    return _nothing()


def _copyable(field: str, asked: str) -> str:
    try:
        return _valid(asked)
    except BadRequest:
        raise BadRequest(f"{field} {quote(asked)} is invalid") from None


def _source(name: str, asked: str, catalog: Catalog) -> Origin:
    try:
        return origin_of(name, catalog)
    except ModelNotFound as error:
        more = f": {error.message}" if error.message else ""
        raise ModelNotFound(f'model "{asked}" not found{more}') from None


def delete() -> Response:
    """DELETE /api/delete: of personas. OpenRouter's models and the server's own can only be hidden."""
    check_may_change()
    return delete_as_asked(read_delete(request_body()))


def delete_as_asked(asked: DeleteRequest) -> Response:
    """Delete the persona, and answer as DELETE /api/delete. Raises ProxyError in Ollama's words."""
    asked_for(asked.asked)
    if not asked.asked.strip():
        raise BadRequest("model is required")
    name = without_source(asked.asked)
    if not runtime().backend.catalog().may_be_name(name):
        raise BadRequest(f"name {quote(asked.asked)} is invalid")
    catalog = _catalog()
    # A name with `:local` may have been stored by an earlier version.
    persona = catalog.personas.get(name_key(asked.asked)) or catalog.personas.get(name_key(name))
    if persona is None:
        raise _not_deletable(name, asked.asked, catalog)
    _remove(persona, asked.asked)
    return _nothing()


def _remove(persona: Persona, asked: str) -> None:
    with _storing():
        was_there = runtime().library.remove(persona.name)
    running().unload(persona.name)
    if not was_there:
        raise ModelNotFound(f"model '{asked}' not found")


def _not_deletable(name: str, asked: str, catalog: Catalog) -> NotImplementedHere | ModelNotFound:
    meaning = catalog.resolve_exactly(name)
    if meaning.virtual is not None:
        return NotImplementedHere(f"{meaning.virtual.name} is this server's own: it cannot be deleted")
    if meaning.kind in (NameKind.MODEL, NameKind.EMBEDDING_ON_CHAT):
        return NotImplementedHere(f"{name} is OpenRouter's: hide it with a filter", reason="not a persona")
    return ModelNotFound(f"model '{asked}' not found")


def _catalog() -> Catalog:
    """The catalogue with the personas as of now: another process may have changed one a moment ago.

    Raises DatabaseAway: what cannot be read cannot be written.
    """
    with _storing():
        runtime().library.latest()
    return runtime().backend.catalog()


@contextmanager
def _storing() -> Iterator[None]:
    """Raises DatabaseAway if the database does not answer, BadRequest if there is no room. Nothing is written then."""
    try:
        yield
    except StorageUnavailable as error:
        raise DatabaseAway from error
    except NoRoom as error:
        raise BadRequest(f"this server takes at most {error}: delete one first") from error


def _nothing() -> Response:
    """A 200 without a body, and without a type: so does Ollama."""
    response = Response(b"")
    del response.headers["Content-Type"]
    return response
