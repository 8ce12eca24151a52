"""Takes a key out of the front of a path, `/k/KEY/api/chat`, before anything else looks at the request.

For programs that can be given an address but no header (docs/contract.md, "Keys in the path"). Whether the key counts
is for `access/policy.py` to say; here it is only moved out of every form of the path, so that no log, error or metric
can hold it. Where KEY_IN_PATH is off, such a path is an unknown one, and what may be a key in it is gone all the same.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final
from urllib.parse import quote
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from ollama_proxy.access.policy import PATH_KEY

_MARK: Final = "/k/"
#: The path of a request whose path may hold a key and means nothing here: no route has it.
_NOWHERE: Final = "/k/***"
#: The other forms of the path in the environment, which gunicorn and other servers set.
_RAW_FORMS: Final = ("RAW_URI", "REQUEST_URI")


class KeyInPath:
    """A WSGI application around the front door. It stands inside `MergedSlashes`: `//k//KEY//api` is the same to it."""

    def __init__(self, application: WSGIApplication, *, is_on: bool) -> None:
        self._application = application
        self._is_on = is_on

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if environ["PATH_INFO"].startswith(_MARK):
            _cut(environ, is_on=self._is_on)
        return self._application(environ, start_response)


def _cut(environ: WSGIEnvironment, *, is_on: bool) -> None:
    """Move the key from the path to PATH_KEY. A second one behind it is part of an unknown path."""
    key, _, rest = environ["PATH_INFO"].removeprefix(_MARK).partition("/")
    path = f"/{rest}"
    if is_on:
        environ[PATH_KEY] = key
    if not is_on or path.startswith(_MARK):
        path = _NOWHERE
    environ["PATH_INFO"] = path
    raw = quote(path.encode("latin-1"), safe="/:@!$&'()*+,;=~")
    query = environ.get("QUERY_STRING", "")
    for name in _RAW_FORMS:
        if name in environ:
            environ[name] = f"{raw}?{query}" if query else raw
