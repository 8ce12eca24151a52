"""The blueprint of /ui: all pages of the navigation, the files that they load, and who may see them.

That only this server's own pages may send anything here is decided at the front door (`access/pages.py`).
"""

from __future__ import annotations

from flask import Blueprint, Response

from ollama_proxy.access.pages import PAGES
from ollama_proxy.errors import Forbidden, Unavailable
from ollama_proxy.storage.database import StorageUnavailable
from ollama_proxy.ui import error_form
from ollama_proxy.ui.page import NAVIGATION_KEY, PageNotFound, takes_gzip
from ollama_proxy.ui.static_files import static_files
from ollama_proxy.ui.views import NAVIGATION
from ollama_proxy.ui.views.playground import ASKED_BY_SCRIPT
from ollama_proxy.web.context import caller
from ollama_proxy.web.error_rendering import ErrorForms, error_response, render_errors

_YEAR = 31_536_000


def ui_blueprint() -> Blueprint:
    """Return the routes of all pages."""
    blueprint = Blueprint("ui", __name__, url_prefix=PAGES, static_folder=None)
    render_errors(blueprint, ErrorForms(ASKED_BY_SCRIPT, ("", error_form)))
    blueprint.before_request(_may_look)
    blueprint.record(lambda state: state.app.extensions.update({NAVIGATION_KEY: NAVIGATION}))

    @blueprint.errorhandler(StorageUnavailable)
    def away(_: StorageUnavailable) -> Response:
        text = "the database does not answer now, and this page is made from it: try again in some seconds"
        return error_response(Unavailable(text, retry_after=5), error_form)

    for page in NAVIGATION:
        for number, route in enumerate(page.routes):
            endpoint = f"{page.name.lower()}_{number}"
            blueprint.add_url_rule(route.path or "/", endpoint, route.view, methods=[route.method])
    blueprint.add_url_rule("/static/<name>", "static_file", static_file, methods=["GET"])
    return blueprint


def _may_look() -> None:
    """Where keys are set, the pages are for admins: they show what all callers do. Raises Forbidden."""
    holds = caller().holds
    if holds is not None and not holds.admin:
        raise Forbidden("forbidden: the pages need the key of an admin. Close the browser to sign in with another key")


def static_file(name: str) -> Response:
    """GET /ui/static/NAME: a file that pages load; whoever has it keeps it for good, as its name holds its hash."""
    found = static_files().get(name)
    if found is None:
        raise PageNotFound("there is no such file: load the page again")
    response = Response(content_type=found.content_type)
    response.cache_control.public, response.cache_control.immutable = True, True
    response.cache_control.max_age = _YEAR
    response.headers["Vary"] = "Accept-Encoding"
    if takes_gzip():
        response.headers["Content-Encoding"] = "gzip"
        response.set_data(found.gzipped)
    else:
        response.set_data(found.content)
    return response
