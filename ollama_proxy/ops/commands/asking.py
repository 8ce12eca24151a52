"""How the commands get what they print: from the server that runs, and from the database where none answers.

Only the server knows what it remembers and does now; the database next to a command may belong to another
installation (docs/contract.md, "Report").
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import click
import requests
from flask.cli import ScriptInfo

from ollama_proxy.config import SettingsError, environment, load_settings
from ollama_proxy.errors import ProxyError
from ollama_proxy.ops.address import NAME, OLLAMA, holder, session
from ollama_proxy.ops.commands.server_to_ask import ServerToAsk, find_server
from ollama_proxy.ops.status.views import StoredView
from ollama_proxy.runtime import Runtime
from ollama_proxy.storage import migrate
from ollama_proxy.storage.database import StorageUnavailable

F = TypeVar("F", bound=Callable[..., Any])

#: Seconds to connect, and to wait for the answer.
_PATIENCE = (2.0, 15.0)

Stored = Callable[[StoredView], dict[str, Any]]


class Unanswered(Exception):
    """Nobody answers at the address who could tell. The text is one line that says who answers there, if anybody."""


def server_options(command: F) -> F:
    """The options of every command that asks a server."""
    for option in (
        click.option("--key", metavar="KEY", help="A key of that server (OLLAMA_API_KEY)."),
        click.option("--url", metavar="URL", help="The server to ask (default: HOST and PORT, or OLLAMA_HOST)."),
    ):
        command = option(command)
    return command


def no_empty_name(_: click.Context, parameter: click.Parameter, name: str | None) -> str | None:
    """The callback of an argument or option that takes a name. Raises BadParameter for one that means nothing.

    An empty name is what a script gives whose variable is empty; without a name all are meant. Of a path, as a model's
    id is one, no part may be empty or dots: an address cannot hold it.
    """
    if name is not None and not {"", ".", ".."}.isdisjoint(name.split("/")):
        raise click.BadParameter(f"{name!r} is no name: leave it out to mean all", param=parameter)
    return name


class Asker:
    """Asks one server, or reads the database in its place. Made from the options of a command."""

    def __init__(self, url: str | None, key: str | None) -> None:
        """Raises ClickException for settings that cannot be read, if `url` does not say which server is meant."""
        try:
            settings, variables = load_settings(), environment()
        except SettingsError as error:
            if url is None:
                raise click.ClickException(str(error)) from None
            settings, variables = None, dict(os.environ)
        self.server: ServerToAsk = find_server(url, key, settings, variables)
        #: Whether no server answered.
        self.used_database = False

    def get(self, path: str, stored: Stored, *, member: str, **params: object) -> dict[str, Any]:
        """What /api/proxy`path` answers, an object with `member`; else what `stored` makes of the database.

        A parameter that is None or False is not sent. Raises ClickException.
        """
        return self._ask("GET", path, stored, member, params)

    def delete(self, path: str, stored: Stored, *, member: str, **params: object) -> dict[str, Any]:
        """What a DELETE answers, else what `stored` does to the database."""
        return self._ask("DELETE", path, stored, member, params)

    def change(self, method: str, path: str, body: Mapping[str, Any]) -> None:
        """Have the server do what a request of Ollama's API asks for, such as POST /api/copy. Raises ClickException.

        Only behind a `get` that the server has answered: at this address may be a real Ollama.
        """
        try:
            answer = _answer(self.server, method, path, json=body)
        except Unanswered as why:
            raise click.ClickException(str(why)) from None
        if answer.status_code != 200:
            raise click.ClickException(str(_refusal(self.server, answer, _object_of(answer))))

    def _ask(self, method: str, path: str, stored: Stored, member: str, params: Mapping[str, object]) -> dict[str, Any]:
        try:
            return ask(self.server, method, path, member, params)
        except Unanswered as why:
            if not self.server.is_own:
                raise click.ClickException(str(why)) from None
            return self._from_database(str(why), stored)

    def _from_database(self, why: str, stored: Stored) -> dict[str, Any]:
        runtime = runtime_of_command()
        if not self.used_database:
            click.echo(f"{why}: this is about the database {runtime.database.label}", err=True)
            self.used_database = True
        try:
            return stored(StoredView(runtime, time.time()))
        except ProxyError as error:
            raise click.ClickException(error.message) from None
        except StorageUnavailable as error:
            raise click.ClickException(_not_migrated(runtime) or str(error)) from None


def runtime_of_command() -> Runtime:
    """The parts of the application that the command works on; it is made now, if nobody has yet needed it."""
    app = click.get_current_context().ensure_object(ScriptInfo).load_app()
    runtime: Runtime = app.extensions["ollama_proxy"]
    return runtime


def _not_migrated(runtime: Runtime) -> str | None:
    """What to do about a database that has not the tables of this version; None if it has, or is away."""
    try:
        at = migrate.current(runtime.database)
    except StorageUnavailable:
        return None
    return None if at == migrate.head() else migrate.behind_text(runtime.database, at)


def ask(server: ServerToAsk, method: str, path: str, member: str, params: Mapping[str, object]) -> dict[str, Any]:
    """The object with `member` that the server answers. Raises Unanswered, or ClickException for what it refuses."""
    sent = {name: _text(value) for name, value in params.items() if value is not None and value is not False}
    answer = _answer(server, method, f"/api/proxy{path}", params=sent)
    body = _object_of(answer)
    if answer.status_code == 200 and body is not None and member in body:
        return body
    raise _refusal(server, answer, body)


def _answer(server: ServerToAsk, method: str, path: str, **request: Any) -> requests.Response:
    """What the server answers, whatever it is. Raises Unanswered, or ClickException for what cannot be sent."""
    headers = {"Authorization": f"Bearer {server.key}"} if server.key else {}
    try:
        with session() as asked:
            return asked.request(
                method, f"{server.url}{path}", headers=headers, timeout=_PATIENCE, allow_redirects=False, **request
            )
    except requests.exceptions.SSLError:
        raise Unanswered(f"{server.url} has no certificate that can be trusted, or speaks no TLS") from None
    except requests.RequestException as error:
        why = " in time" if isinstance(error, requests.Timeout) else ""
        raise Unanswered(f"no server answers{why} at {server.url}") from None
    except ValueError:  # a key or an address that cannot be sent
        raise click.ClickException(f"{server.url} cannot be asked: the address or the key is not one") from None


def _refusal(server: ServerToAsk, answer: requests.Response, body: dict[str, Any] | None) -> Exception:
    """What to raise for an answer that is no report."""
    url, status = server.url, answer.status_code
    said = body.get("error") if body is not None else None
    if status == 401:
        what = "does not accept this key" if server.key else "needs a key"
        return click.ClickException(f"{url} {what}: give one with --key or OLLAMA_API_KEY")
    if status == 403:
        return click.ClickException(f"{url} refuses this: {said if isinstance(said, str) else 'status 403'}")
    if isinstance(said, str):
        return click.ClickException(said)
    found = holder(url)
    if found.name == NAME and status in (404, 405):
        return Unanswered(f"{found} at {url} is too old to be asked (status {status})")
    if found.name == OLLAMA:
        return Unanswered(f"a real Ollama answers at {url}, not ollama-proxy")
    kind = answer.headers.get("Content-Type", "nothing").partition(";")[0][:40]
    return Unanswered(f"no ollama-proxy answers at {url}, but something else (status {status}, {kind})")


def _object_of(answer: requests.Response) -> dict[str, Any] | None:
    try:
        body = answer.json()
    except ValueError:
        return None
    return body if isinstance(body, dict) else None


def _text(value: object) -> str:
    return "1" if value is True else str(value)
