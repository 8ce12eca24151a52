"""Keys: who may call, for which models, how much, and what each has used. Keys are made, changed and removed here.

By an admin who has shown a key, never by somebody who has shown none: to those the page only explains.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlencode

from flask import Response, request

from ollama_proxy.access.key_texts import folded, keys_of_settings
from ollama_proxy.errors import BadRequest, DatabaseAway, ProxyError, Unavailable
from ollama_proxy.ops.keys.management import Actor, KeyManagement, KeyNotFound, unmatched_lines
from ollama_proxy.ops.keys.overview import KeyWithUse, all_keys
from ollama_proxy.ops.keys.routes import management
from ollama_proxy.storage.database import StorageUnavailable
from ollama_proxy.ui.key_form import EMPTY, LABELS, form_of, in_words, merged, overtaken, sent, shown_before, wishes
from ollama_proxy.ui.page import Page, Route, form, shown, went_to
from ollama_proxy.web.context import caller, runtime
from ollama_proxy.web.query import number_of

#: How many events a page shows.
_ROWS: Final = 50
#: Bytes of the form: two hundred lines of models, escaped, twice: as they are wished for, and as they were shown.
_MOST_BYTES: Final = 512 * 1024
_DONE: Final = {
    "changed": "It is changed. All parts of the server follow within a second.",
    "disabled": "It is disabled: whoever calls with it is refused.",
    "enabled": "It is enabled: it counts again.",
    "removed": "The key is removed, with what was recorded of it.",
}


class _ChangedMeanwhile(ProxyError):
    """Somebody else has changed the same fields of the key since the form was opened."""

    status = 409

    def __init__(self, labels: list[str]) -> None:
        super().__init__(
            f"somebody else has changed this meanwhile: {', '.join(labels)}. The key as it is now is above; below is "
            "what you wrote. Save again to have it so all the same"
        )


def keys() -> Response:
    """GET /ui/keys: all keys, or how the first one is made."""
    if caller().holds is None:
        return shown("keys_off.html")
    found = all_keys(runtime(), management(), time.time())
    return shown("keys.html", found=found, of_settings=_names_of_settings(), done=_done())


def new() -> Response:
    """GET /ui/keys/new: the form of a new key."""
    management()
    return _form_of_new("", EMPTY)


def add() -> Response:
    """POST /ui/keys/new: makes the key, and shows it in this answer only."""
    operations, fields = management(), form(most_bytes=_MOST_BYTES)
    name, texts = fields.get("name", "").strip(), sent(fields)
    try:
        made = operations.add(name, wishes(texts), Actor.calling(caller()))
    except (ProxyError, StorageUnavailable) as error:
        return _form_of_new(name, texts, error)
    return shown("key_made.html", key=made, unmatched=_unmatched(made))


def _form_of_new(name: str, texts: Mapping[str, str], error: Exception | None = None) -> Response:
    return shown("key_new.html", name=name, status=_status(error), **_form_values(texts, error))


def one() -> Response:
    """GET /ui/keys/key: the key `name`, with a form to change it."""
    key = _one(management(), _asked("name"))
    return _shown_key(key, form_of(key.told))


def change() -> Response:
    """POST /ui/keys/key: changes what the form says otherwise than it has shown; not what others changed meanwhile."""
    operations, fields = management(), form(most_bytes=_MOST_BYTES)
    key = _one(operations, fields.get("name", ""))
    now = form_of(key.told)
    before = shown_before(fields, now)
    texts = sent(fields, before)
    try:
        if labels := overtaken(texts, before, now):
            raise _ChangedMeanwhile(labels)
        if wished := wishes(texts, before):
            operations.change(key.told["name"], wished, Actor.calling(caller()))
    except (ProxyError, StorageUnavailable) as error:
        return _shown_key(key, merged(texts, before, now), error)
    return went_to(f"/keys/key?{urlencode({'name': key.told['name'], 'done': 'changed'})}")


def _shown_key(key: KeyWithUse, texts: Mapping[str, str], error: Exception | None = None) -> Response:
    values = _form_values(texts, error)
    unmatched = _unmatched(key.told)
    told = {"key": key, "was": form_of(key.told), "unmatched": unmatched, "done": _done()}
    return shown("key.html", status=_status(error), **told, **values)


def switch() -> Response:
    """POST /ui/keys/switch: disables the key `name`, or enables it (`to`)."""
    operations, fields = management(), form()
    done = fields.get("to", "")
    if done not in ("disabled", "enabled"):
        raise BadRequest("to: disabled or enabled")
    key = operations.change(fields.get("name", ""), {"disabled": done == "disabled"}, Actor.calling(caller()))
    return went_to(f"/keys/key?{urlencode({'name': key['name'], 'done': done})}")


def ask_removal() -> Response:
    """GET /ui/keys/remove: what goes with the key `name`."""
    return shown("key_remove.html", key=_one(management(), _asked("name")))


def remove() -> Response:
    """POST /ui/keys/remove: the key `name` and what is recorded of it."""
    management().remove(form().get("name", ""), Actor.calling(caller()))
    return went_to("/keys?done=removed")


def events() -> Response:
    """GET /ui/keys/events: who did what to which key, below the number `before`."""
    before = number_of("before")
    found = management().events(_ROWS, before=None if before is None else int(before))
    return shown("key_events.html", **found, before=before)


def _one(operations: KeyManagement, name: str) -> KeyWithUse:
    """The key of that name. Raises KeyNotFound."""
    wanted = folded(name.strip())
    found = all_keys(runtime(), operations, time.time()).keys
    key = next((key for key in found if folded(key.told["name"]) == wanted), None)
    if key is None:
        raise KeyNotFound("there is no key of that name")
    return key


def _form_values(texts: Mapping[str, str], error: Exception | None) -> dict[str, Any]:
    """What the template of the form needs: its texts, and what is wrong with which field."""
    if isinstance(error, StorageUnavailable):
        error = DatabaseAway()
    wrong, words = in_words(error.message) if isinstance(error, ProxyError) else ("", "")
    return {"form": texts, "labels": LABELS, "wrong": wrong, "error": words}


def _status(error: Exception | None) -> int:
    if error is None:
        return 200
    return error.status if isinstance(error, ProxyError) else DatabaseAway.status


def _unmatched(key: Mapping[str, Any]) -> list[str]:
    """The lines of its models that match none: most likely typing errors. No line while there is no catalogue."""
    try:
        return unmatched_lines(key["models"], runtime().backend.catalog(), free_only=key["free_only"])
    except Unavailable:
        return []


def _names_of_settings() -> list[str]:
    """The names of the keys of PROXY_API_KEYS, each once."""
    return list(dict.fromkeys(one.key.name for one in keys_of_settings(runtime().settings.proxy_api_keys)))


def _asked(name: str) -> str:
    return request.args.get(name, "")


def _done() -> str:
    """What was done just now, in words, as the address says it."""
    return _DONE.get(_asked("done"), "")


page = Page(
    "Keys",
    (
        Route("/keys", keys),
        Route("/keys/new", new),
        Route("/keys/new", add, "POST"),
        Route("/keys/key", one),
        Route("/keys/key", change, "POST"),
        Route("/keys/switch", switch, "POST"),
        Route("/keys/remove", ask_removal),
        Route("/keys/remove", remove, "POST"),
        Route("/keys/events", events),
    ),
)
