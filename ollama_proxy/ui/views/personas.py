"""Personas: models with a name, a system prompt and parameters of one's own; and the aliases.

They are made, copied and deleted as by POST /api/create and /api/copy and DELETE /api/delete, with the same functions.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlencode

import orjson
from flask import Response, request

from ollama_proxy.catalog.making import Origin
from ollama_proxy.catalog.names import name_key, without_source
from ollama_proxy.catalog.persona import Persona
from ollama_proxy.errors import BadRequest, DatabaseAway, ProxyError, Unavailable
from ollama_proxy.modelfile.modelfile import ROLES
from ollama_proxy.modelfile.parameters import DEPRECATED
from ollama_proxy.modelfile.writer import write
from ollama_proxy.ollama.models.listing import base_name
from ollama_proxy.ollama.models.lookup import NO_MANIFEST
from ollama_proxy.ollama.models.show import modelfile_of
from ollama_proxy.ollama.request.create_body import read_create
from ollama_proxy.ollama.request.library_bodies import CopyRequest, DeleteRequest
from ollama_proxy.ollama.views import discovery
from ollama_proxy.ollama.views.personas import copy_as_asked, create_as_asked, delete_as_asked
from ollama_proxy.ops.status.report import report
from ollama_proxy.storage.database import StorageUnavailable
from ollama_proxy.ui.page import Page, PageNotFound, Route, form, look, shown, went_to
from ollama_proxy.ui.persona_form import (
    MOST_CHARACTERS,
    PersonaForm,
    create_body,
    form_of,
    modelfile_body,
    says,
    sent,
)
from ollama_proxy.web.context import MEGABYTE, runtime

#: Bytes of a form: a persona may say a megabyte, and a browser writes up to three for one.
_MOST_BYTES: Final = 4 * MEGABYTE
#: Bytes of the form of a Modelfile, which is sent as it is: the text in the field, an uploaded one, and what is around.
_MOST_BYTES_OF_FILES: Final = 2 * MOST_CHARACTERS + 64 * 1024
#: Fields of a form: role and text of a thousand messages, and the others.
_MOST_FIELDS: Final = 2100
#: So many messages more are asked for by the button "More messages".
_MORE_ROWS: Final = 3
_DONE: Final = {
    "created": "It is made. Programs find it in their list of models.",
    "changed": "It is changed: the next request is asked with it.",
    "deleted": "The persona is deleted.",
}

#: What goes wrong when a persona is written.
_REFUSALS: Final = (ProxyError, StorageUnavailable)


class _ChangedMeanwhile(ProxyError):
    """Somebody else has made the persona anew since the form was opened."""

    status = 409

    def __init__(self) -> None:
        super().__init__(
            "somebody else has changed this persona meanwhile. Below is what you wrote: save again to have it so all "
            "the same, or open the persona to see what is new"
        )


def personas() -> Response:
    """GET /ui/personas: all personas, the last changed first, and the aliases."""
    library = _known()
    found = report(look(), ("personas", "aliases"))
    rows = [(state, library.get(name_key(state["name"]))) for state in found["personas"]]
    told = [(state, says(persona)) for state, persona in rows if persona is not None]
    return shown("personas.html", personas=told, aliases=found["aliases"], done=_done())


def one() -> Response:
    """GET /ui/personas/persona: all that the persona `name` says."""
    persona = _asked()
    states = report(look(), ("personas",))["personas"]
    return shown(
        "persona.html",
        persona=persona,
        told=next((state for state in states if state["name"] == persona.name), None),
        form=form_of(persona, _base_name(persona)),
        modelfile=_modelfile(persona),
        left_out=[name for name in request.args.get("left_out", "").split(",") if name in DEPRECATED],
        done=_done(),
    )


def new() -> Response:
    """GET /ui/personas/new: the form of a new persona, made of the model `base` if the query names one."""
    return _shown_form(PersonaForm(base=request.args.get("base", "")))


def create() -> Response:
    """POST /ui/personas/new: makes a persona; with `more` it only shows the form with more messages."""
    return _saved(_form(), None)


def edit() -> Response:
    """GET /ui/personas/edit: the form with the persona `name`."""
    persona = _asked()
    return _shown_form(form_of(persona, _base_name(persona)), kept=persona)


def change() -> Response:
    """POST /ui/personas/edit: makes the persona `name` anew; what the form does not show stays.

    `digest` is that of the persona when the form was opened: it is refused once if that is another by now.
    """
    fields = _form()
    return _saved(fields, _persona(fields.get("name", "")))


def _saved(fields: Mapping[str, str], kept: Persona | None) -> Response:
    asked, seen = sent(fields), fields.get("digest", "")
    if "more" in fields:
        return _shown_form(asked, kept=kept, seen=seen, more=_MORE_ROWS)
    try:
        if kept is None:
            _check_new(asked.name)
        else:
            _check_same(kept, seen)
        _make(create_body(asked, kept), kept)
    except _REFUSALS as error:
        return _shown_form(asked, kept=kept, seen=_seen(seen, error), error=error)
    return _went_to_persona(asked.name, "created" if kept is None else "changed")


def _make(body: Mapping[str, Any], kept: Persona | None) -> None:
    """Make the persona that a body of POST /api/create asks for. `kept`, the persona as it was, keeps its base if the
    body names it: also one that is gone since, or whose name another persona has taken. Raises what _REFUSALS has.
    """
    origin = Origin(kept.base) if kept is not None and body["from"] == _base_name(kept) else None
    try:
        create_as_asked(read_create(orjson.dumps(body)), origin)
    except BadRequest as error:
        if not error.message.startswith(NO_MANIFEST):
            raise
        more = error.message.removeprefix(NO_MANIFEST)
        raise BadRequest(f'no model is called "{body["from"]}" here{more}') from None


def _shown_form(
    asked: PersonaForm, *, kept: Persona | None = None, seen: str = "", more: int = 0, error: Exception | None = None
) -> Response:
    values: dict[str, Any] = {"form": asked.with_rows(more), "kept": kept, "digest": _digest(kept, seen)}
    return shown("persona_form.html", **values, roles=ROLES, bases=_listed_names(), **_told(error))


def modelfile() -> Response:
    """GET /ui/personas/modelfile: a field for a Modelfile; of the persona `name`, if the query names one."""
    if not request.args.get("name"):
        return _shown_modelfile("", "", None)
    persona = _asked()
    return _shown_modelfile(persona.name, _modelfile(persona), persona)


def create_from_modelfile() -> Response:
    """POST /ui/personas/modelfile: makes a persona of a Modelfile, or with `anew` the persona `name` anew."""
    fields = form(most_bytes=_MOST_BYTES_OF_FILES)
    name, uploaded = fields.get("name", "").strip(), fields.get("file", "")
    text = uploaded if uploaded.strip() else fields.get("modelfile", "")
    kept, seen = _persona(name) if fields.get("anew") == "1" else None, fields.get("digest", "")
    try:
        if kept is None:
            _check_new(name)
        else:
            _check_same(kept, seen)
        body, warnings = modelfile_body(text, name)
        _make(body, kept)
    except _REFUSALS as error:
        return _shown_modelfile(name, text, kept, seen=_seen(seen, error), error=error)
    return _went_to_persona(name, "created" if kept is None else "changed", warnings)


def _shown_modelfile(
    name: str, text: str, kept: Persona | None, *, seen: str = "", error: Exception | None = None
) -> Response:
    values: dict[str, Any] = {"name": name, "text": text, "kept": kept, "digest": _digest(kept, seen)}
    return shown("persona_modelfile.html", **values, **_told(error))


def download() -> Response:
    """GET /ui/personas/download: the Modelfile of the persona `name`."""
    response = Response(_modelfile(_asked()), content_type="text/plain; charset=utf-8")
    response.headers["Content-Disposition"] = 'attachment; filename="Modelfile"'
    response.headers["Cache-Control"] = "no-store"
    return response


def ask_copy() -> Response:
    """GET /ui/personas/copy: a form that gives the model or persona `source` another name."""
    return _shown_copy(request.args.get("source", ""), "")


def copy() -> Response:
    """POST /ui/personas/copy: `source` as `destination`."""
    fields = _form()
    source, destination = (fields.get(name, "").strip() for name in ("source", "destination"))
    try:
        _check_new(destination)
        copy_as_asked(CopyRequest(source=source, destination=destination))
    except _REFUSALS as error:
        return _shown_copy(source, destination, error)
    return _went_to_persona(destination, "created")


def _shown_copy(source: str, destination: str, error: Exception | None = None) -> Response:
    bases = _listed_names()
    return shown("persona_copy.html", source=source, destination=destination, bases=bases, **_told(error))


def ask_deletion() -> Response:
    """GET /ui/personas/delete: whether to delete the persona `name`."""
    persona = _asked()
    return shown("persona_delete.html", persona=persona, base=_base_name(persona), says=says(persona))


def delete() -> Response:
    """POST /ui/personas/delete."""
    delete_as_asked(DeleteRequest(model=_form().get("name", "")))
    return went_to("/personas?done=deleted")


def _form() -> dict[str, str]:
    return form(most_bytes=_MOST_BYTES, most_fields=_MOST_FIELDS)


def _asked() -> Persona:
    """The persona that the query names. Raises PageNotFound."""
    return _persona(request.args.get("name", ""))


def _known() -> Mapping[str, Persona]:
    """The personas as of now: another process may have made one a moment ago, and sent the browser here."""
    try:
        return runtime().library.latest()
    except StorageUnavailable:
        return runtime().library.current()


def _persona(name: str) -> Persona:
    found = _known().get(name_key(name))
    if found is None:
        raise PageNotFound("there is no persona of that name")
    return found


def _check_new(name: str) -> None:
    """Raise BadRequest if there is a persona of that name: nobody is to change one who wants to make one.

    Raises StorageUnavailable.
    """
    if name_key(without_source(name)) in runtime().library.latest():
        raise BadRequest(f'there is a persona called "{name}": change that one, or choose another name')


def _check_same(persona: Persona, seen: str) -> None:
    """Raise _ChangedMeanwhile if the form was made of another state of the persona. "": it does not say of which."""
    if seen and seen != persona.digest:
        raise _ChangedMeanwhile


def _seen(seen: str, error: Exception) -> str:
    """The digest that the form holds when it is shown again: who was told of a change may replace it."""
    return "" if isinstance(error, _ChangedMeanwhile) else seen


def _digest(kept: Persona | None, seen: str) -> str:
    """The digest that the form holds: of the persona as it was `seen`; as it is, if the form was not open before."""
    return "" if kept is None else seen or kept.digest


def _base_name(persona: Persona) -> str:
    """What the persona is made of, by its listed name; by its id while there is no list."""
    try:
        return base_name(persona, runtime().backend.catalog())
    except Unavailable:
        return persona.base


def _modelfile(persona: Persona) -> str:
    return write(modelfile_of(persona, _base_name(persona)), persona.name)


def _listed_names() -> list[str]:
    """All names of /api/tags; none while there is no list."""
    try:
        return [model["name"] for model in orjson.loads(discovery.tags().get_data())["models"]]
    except Unavailable:
        return []


def _told(error: Exception | None) -> dict[str, Any]:
    """What a template needs to show what went wrong, and the status of the answer."""
    if error is None:
        return {"error": "", "status": 200}
    told = error if isinstance(error, ProxyError) else DatabaseAway()
    return {"error": told.message, "status": told.status}


def _went_to_persona(name: str, done: str, warnings: tuple[str, ...] = ()) -> Response:
    words = [word for warning in warnings for word in warning.split() if word in DEPRECATED]
    more = {"left_out": ",".join(dict.fromkeys(words))} if words else {}
    return went_to(f"/personas/persona?{urlencode({'name': without_source(name), 'done': done, **more})}")


def _done() -> str:
    """What was done just now, in words, as the address says it."""
    return _DONE.get(request.args.get("done", ""), "")


page = Page(
    "Personas",
    (
        Route("/personas", personas),
        Route("/personas/persona", one),
        Route("/personas/new", new),
        Route("/personas/new", create, "POST"),
        Route("/personas/edit", edit),
        Route("/personas/edit", change, "POST"),
        Route("/personas/modelfile", modelfile),
        Route("/personas/modelfile", create_from_modelfile, "POST"),
        Route("/personas/download", download),
        Route("/personas/copy", ask_copy),
        Route("/personas/copy", copy, "POST"),
        Route("/personas/delete", ask_deletion),
        Route("/personas/delete", delete, "POST"),
    ),
)
