"""What a page is: its name in the navigation, its address and its routes; and how a view answers. Knows Flask."""

from __future__ import annotations

import gzip
import time
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from typing import Any
from urllib.parse import parse_qsl

from flask import Response, current_app, request
from werkzeug.exceptions import HTTPException
from werkzeug.formparser import FormDataParser

from ollama_proxy.access.pages import PAGES
from ollama_proxy.errors import BadRequest, ProxyError
from ollama_proxy.ops.status.views import LiveView
from ollama_proxy.ui.rendering import render
from ollama_proxy.version import __version__
from ollama_proxy.web.context import caller, request_body, runtime

View = Callable[..., Response]

#: Where the application keeps the pages of the navigation.
NAVIGATION_KEY = "ollama_proxy.ui"

#: Below this many bytes compressing saves nothing.
_WORTH_GZIP = 700
#: Quick: a page is made for every look, and a poll comes every few seconds.
_LEVEL = 5
#: Bytes of a form, and how many fields it may have, if a view does not say more.
_LONGEST_FORM, _MOST_FIELDS = 64 * 1024, 100
#: The type of a form that uploads files.
_WITH_FILES = "multipart/form-data"


@dataclass(frozen=True, slots=True)
class Route:
    """One address of a page: `path` behind /ui, the method, and the view that answers."""

    path: str
    view: View
    method: str = "GET"


@dataclass(frozen=True, slots=True)
class Page:
    """A page of the navigation. `name` is its text there; the first of `routes` is where it leads."""

    name: str
    routes: tuple[Route, ...]

    @property
    def url(self) -> str:
        """The address of the page."""
        return PAGES + self.routes[0].path


def look() -> LiveView:
    """Return the view of this moment, for the parts of a report."""
    return LiveView(runtime(), time.time())


def shown(template: str, *, status: int = 200, **values: Any) -> Response:
    """Answer with a template and its values. Every template knows `nav` (the pages), `here` (the path), `version`, and
    `who` (the name of the key with which the viewer signed in, "" without one).
    """
    nav = current_app.extensions[NAVIGATION_KEY]
    here = PAGES + request.path.removeprefix(PAGES).rstrip("/")
    return html(render(template, nav=nav, here=here, version=__version__, who=caller().key, **values), status=status)


def fragment(template: str, **values: Any) -> Response:
    """Answer a poll with a template that is a part of a page."""
    return html(render(template, **values))


def html(text: str, *, status: int = 200) -> Response:
    """Answer with HTML, compressed if the client takes that, and never kept by anybody."""
    body = text.encode()
    response = Response(content_type="text/html; charset=utf-8", status=status)
    response.headers["Cache-Control"] = "no-store"
    response.headers["Vary"] = "Accept-Encoding"
    if len(body) >= _WORTH_GZIP and takes_gzip():
        body = gzip.compress(body, _LEVEL, mtime=0)
        response.headers["Content-Encoding"] = "gzip"
    response.set_data(body)
    return response


def takes_gzip() -> bool:
    """Return True if the client takes an answer that is compressed with gzip."""
    return request.accept_encodings["gzip"] > 0


def form(*, most_bytes: int = _LONGEST_FORM, most_fields: int = _MOST_FIELDS) -> dict[str, str]:
    """Return the fields of the form that was sent, the last one of each name, an uploaded file as its text.

    Raises ProxyError for one that is too long, has too many fields, or does not arrive. Line ends are LF: browsers send
    CR and LF (https://html.spec.whatwg.org/#constructing-the-form-data-set).
    """
    body = request_body(most_bytes=most_bytes)
    try:
        if request.mimetype == _WITH_FILES:
            fields = _fields_with_files(body, most_fields)
        else:
            fields = dict(parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=most_fields))
    except (ValueError, HTTPException):
        raise BadRequest("this form cannot be read") from None
    return {name: text.replace("\r\n", "\n") for name, text in fields.items()}


def _fields_with_files(body: bytes, most_fields: int) -> dict[str, str]:
    """The fields of a form that may upload files (RFC 7578). A file that was not chosen is "".

    Raises ValueError, HTTPException.
    """
    parser = FormDataParser(max_form_memory_size=len(body), max_form_parts=most_fields, silent=False)
    _, fields, files = parser.parse(BytesIO(body), _WITH_FILES, len(body), request.mimetype_params)
    return {name: values[-1] for name, values in fields.lists()} | {
        name: file.read().decode() for name, file in files.items()
    }


class PageNotFound(ProxyError):
    """There is nothing at this address."""

    status = 404


def went_to(path: str) -> Response:
    """Answer a form: the browser goes on to a page, whose `path` stands behind /ui (RFC 9110, 15.4.4)."""
    response = Response(status=303)
    response.headers["Location"] = PAGES + path
    response.autocorrect_location_header = False
    return response
