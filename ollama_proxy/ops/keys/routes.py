"""/api/proxy/keys: an admin's; and /api/proxy/me: for whoever holds a key (docs/contract.md, "Keys").

Who may call what is decided in `ops/status/routes.py`, with all of /api/proxy/*. But keys are never made or shown to
somebody who has shown none: without keys everybody near may call, and whoever came first would own the server.
"""

from __future__ import annotations

import time
from typing import Any, Final

import orjson
from flask import Response, request

from ollama_proxy.access.keys import Key
from ollama_proxy.errors import BadRequest, Forbidden
from ollama_proxy.ops.keys.management import Actor, KeyManagement, limits_of
from ollama_proxy.ops.keys.use import left_of, recorded_of, used_by
from ollama_proxy.ops.moments import moment_or_none
from ollama_proxy.web.context import caller, request_body, runtime

#: The most bytes of a body about a key.
_MOST_BYTES: Final = 65_536

#: How many events a page has if nobody says, and at most.
_PAGE, _MOST = 50, 500


def management() -> KeyManagement:
    """Return the operations on keys for this process. Raises Forbidden for a caller who is no admin by a key."""
    key = caller().holds
    if key is None or not key.admin:
        raise Forbidden("forbidden: this needs an admin key; the first one is made with `ollama-proxy keys add`")
    parts = runtime()
    return KeyManagement(parts.key_table, parts.ledger, taken=parts.access.key_names)


def keys() -> Response:
    """GET /api/proxy/keys: all keys, without their texts."""
    return _json(management().all())


def one_key(name: str) -> Response:
    """GET /api/proxy/keys/NAME."""
    return _json(management().one(name))


def add_key() -> Response:
    """POST /api/proxy/keys: `name`, and the fields of the key. The answer has the key itself, this once."""
    operations, wishes = management(), _wishes()
    name = wishes.pop("name", None)
    if not isinstance(name, str):
        raise BadRequest("name: the new key needs one")
    return _json(operations.add(name, wishes, _actor()), status=201)


def change_key(name: str) -> Response:
    """PATCH /api/proxy/keys/NAME: the fields that change."""
    return _json(management().change(name, _wishes(), _actor()))


def remove_key(name: str) -> Response:
    """DELETE /api/proxy/keys/NAME: the key, and what is recorded of it."""
    return _json(management().remove(name, _actor()))


def key_events() -> Response:
    """GET /api/proxy/keys/events: who did what to which key, the newest first."""
    numbers = {name: request.args.get(name, "") for name in ("limit", "before")}
    if bad := [name for name, text in numbers.items() if text and not (text.isdecimal() and 0 < int(text) < 10**15)]:
        raise BadRequest(f"{bad[0]} takes a whole number, 1 or more")
    before = int(numbers["before"]) if numbers["before"] else None
    return _json(management().events(min(int(numbers["limit"] or _PAGE), _MOST), before=before))


def me() -> Response:
    """GET /api/proxy/me: what the caller's key allows, what of it is used, and what is left. Anybody may ask."""
    asker, key, parts = caller(), caller().holds, runtime()
    if key is None:
        return _json({"name": asker.name, "key": False})
    return _json(
        {
            "name": key.name,
            "key": True,
            "admin": key.admin,
            "metrics": key.admin or key.metrics,
            "models": list(key.models),
            "free_only": key.free_only or parts.settings.free_mode,
            **limits_of(key),
            "expires": moment_or_none(key.expires),
            **_use_of(key),
        }
    )


def _use_of(key: Key) -> dict[str, Any]:
    parts, now = runtime(), time.time()
    if key.id is None:
        return {"used": recorded_of(parts, key.name, now), "left": {}}
    return {"used": used_by(parts, key.id, now), "left": left_of(parts, key.id, key.limits, now)}


def _actor() -> Actor:
    return Actor.calling(caller())


def _wishes() -> dict[str, Any]:
    """Return the object in the request's body. Raises BadRequest, BodyTooLarge."""
    try:
        found = orjson.loads(request_body(most_bytes=_MOST_BYTES))
    except orjson.JSONDecodeError:
        raise BadRequest("the body must be a JSON object") from None
    if not isinstance(found, dict):
        raise BadRequest("the body must be a JSON object")
    return found


def _json(value: dict[str, Any], *, status: int = 200) -> Response:
    response = Response(orjson.dumps(value), status=status, content_type="application/json; charset=utf-8")
    response.headers["Cache-Control"] = "no-store"
    return response


#: Method, path below /api/proxy, and function. `me` is open to every holder of a key.
ROUTES: Final = (
    ("GET", "/me", me),
    ("GET", "/keys", keys),
    ("POST", "/keys", add_key),
    ("GET", "/keys/events", key_events),
    ("GET", "/keys/<name>", one_key),
    ("PATCH", "/keys/<name>", change_key),
    ("DELETE", "/keys/<name>", remove_key),
)
