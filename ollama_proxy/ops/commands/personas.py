"""`ollama-proxy personas`: the names that people gave to models, with system prompts and parameters of their own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO, TypeVar
from urllib.parse import quote

import click
from flask.cli import AppGroup

from ollama_proxy.modelfile.modelfile import Modelfile, ModelfileError
from ollama_proxy.modelfile.parameters import parameter_texts, parameter_value
from ollama_proxy.modelfile.parser import parse
from ollama_proxy.modelfile.writer import write
from ollama_proxy.ops.commands.asking import Asker, Stored, no_empty_name, server_options
from ollama_proxy.ops.commands.output import examples, json_option, print_json, print_table
from ollama_proxy.ops.status.name_states import one_persona
from ollama_proxy.ops.status.report import report
from ollama_proxy.ops.stored_personas import copy_stored, create_stored, remove_stored

Json = Mapping[str, Any]
F = TypeVar("F", bound=Callable[..., Any])

command = AppGroup(
    "personas",
    help="Models with a name and a system prompt of your own, as `ollama create` and `ollama cp` make them.",
    epilog=examples(
        "ollama-proxy personas list",
        "ollama-proxy personas create mario --from free --system 'You are Mario.'",
        "ollama-proxy personas copy glm-5.2:free gpt-4o",
    ),
)


def _name(parameter: str) -> Callable[[F], F]:
    return click.argument(parameter, callback=no_empty_name)


@command.command("list", with_appcontext=False, epilog=examples("ollama-proxy personas list"))
@server_options
@json_option
def list_personas(url: str | None, key: str | None, as_json: bool) -> None:
    """Print the personas, the last changed first, and what each means now."""
    found = Asker(url, key).get("/personas", lambda view: report(view, ("personas",)), member="personas")
    if as_json:
        print_json(found)
        return
    lines = [(one["name"], one["base"], _means(one), one["modified"]) for one in found["personas"]]
    if lines:
        print_table(("NAME", "MADE OF", "MEANS", "CHANGED"), lines)
    else:
        click.echo("there are none: see `ollama-proxy personas create --help`")


def _means(persona: Json) -> str:
    return persona["means"] or f"nothing: {persona['why']}"


@command.command("show", with_appcontext=False, epilog=examples("ollama-proxy personas show mario"))
@server_options
@json_option
@_name("name")
def show(url: str | None, key: str | None, as_json: bool, name: str) -> None:
    """Print what a persona says."""
    found = _one(Asker(url, key), name)
    if as_json:
        print_json(found)
        return
    for title, text in (("name", found["name"]), ("made of", found["base"]), ("means", _means(found))):
        click.echo(f"{title:<11}{text}")
    click.echo(f"{'changed':<11}{found['modified']}\n{'digest':<11}{found['digest'][:12]}")
    for option, text in parameter_texts(found["parameters"]):
        click.echo(f"{'parameter':<11}{option} {text}")
    if found["system"]:
        click.echo(f"\nsystem:\n{found['system']}")
    for message in found["messages"]:
        click.echo(f"\n{message['role']}:\n{message['content']}")


@command.command(
    "export",
    with_appcontext=False,
    epilog=examples("ollama-proxy personas export mario > Modelfile", "ollama-proxy personas export mario | less"),
)
@server_options
@_name("name")
def export(url: str | None, key: str | None, name: str) -> None:
    """Print a persona as a Modelfile, which `create` takes here and `ollama create` anywhere."""
    found = _one(Asker(url, key), name)
    messages = tuple((message["role"], message["content"]) for message in found["messages"])
    told = {part: found[part] for part in ("system", "template", "parameters", "renderer", "parser", "requires")}
    modelfile = Modelfile(base=found["base"], licenses=tuple(found["licenses"]), messages=messages, **told)
    click.echo(write(modelfile, found["name"]), nl=False)


def _one(asker: Asker, name: str) -> Json:
    path = f"/personas/{quote(name)}"
    found: Json = asker.get(path, lambda view: {"persona": one_persona(view, name)}, member="persona")["persona"]
    return found


@command.command(
    "create",
    with_appcontext=False,
    epilog=examples(
        "ollama-proxy personas create mario -f Modelfile",
        "ollama-proxy personas create mario --from free --system 'You are Mario.' --parameter temperature=0.6",
    ),
)
@server_options
@click.option("-f", "--file", "modelfile", type=click.File("r", "utf-8"), help="A Modelfile; - for the standard input.")
@click.option("--from", "base", metavar="MODEL", help="The model, or persona, that it is made of.")
@click.option("--system", metavar="TEXT", help="The system prompt.")
@click.option("--parameter", "parameters", multiple=True, metavar="NAME=VALUE", help="An option; may be repeated.")
@_name("name")
def create(
    url: str | None,
    key: str | None,
    modelfile: TextIO | None,
    base: str | None,
    system: str | None,
    parameters: Sequence[str],
    name: str,
) -> None:
    """Make a persona, or make one of that name anew.

    Without -f and --from the file Modelfile of this folder is read. The options go before what the file says.
    """
    text = _text_of(modelfile, base)
    try:
        said = Modelfile(base="") if text is None else parse(text)
        options = [_parameter(one) for one in parameters]
    except ModelfileError as error:
        raise click.ClickException(str(error)) from None
    if said.files:
        raise click.ClickException(f"{said.files[0][0].upper()} names a file: models cannot be uploaded")
    for warning in said.warnings:
        click.echo(warning, err=True)
    body = said.as_request(name) | {"stream": False}
    body |= {field: given for field, given in (("from", base), ("system", system)) if given}
    if options:
        body["parameters"] = {**said.parameters, **_joined(options)}
    _changed(Asker(url, key), "POST", "/api/create", body, lambda view: create_stored(view, body))
    click.echo(f"created: {name}")


def _text_of(modelfile: TextIO | None, base: str | None) -> str | None:
    """The text of the Modelfile; None if the options alone say it all. Raises ClickException."""
    try:
        if modelfile is not None:
            return modelfile.read()
        return None if base is not None else Path("Modelfile").read_text("utf-8")
    except FileNotFoundError:
        raise click.UsageError("what is it made of? Give --from MODEL, or a Modelfile with -f") from None
    except (OSError, ValueError) as error:
        raise click.ClickException(f"the Modelfile cannot be read: {error}") from None


def _parameter(text: str) -> tuple[str, Any]:
    option, _, value = text.partition("=")
    return option.strip(), parameter_value(option.strip(), value.strip())


def _joined(options: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """The options by name; several stop strings are one list."""
    joined: dict[str, Any] = {}
    for name, value in options:
        joined[name] = [*joined.get(name, ()), *value] if isinstance(value, list) else value
    return joined


@command.command("copy", with_appcontext=False, epilog=examples("ollama-proxy personas copy glm-5.2:free gpt-4o"))
@server_options
@_name("source")
@_name("destination")
def copy(url: str | None, key: str | None, source: str, destination: str) -> None:
    """Give a model or a persona another name, as `ollama cp` does."""
    body = {"source": source, "destination": destination}
    _changed(Asker(url, key), "POST", "/api/copy", body, lambda view: copy_stored(view, source, destination))
    click.echo(f"copied: {source} to {destination}")


@command.command("remove", with_appcontext=False, epilog=examples("ollama-proxy personas remove mario"))
@server_options
@_name("name")
def remove(url: str | None, key: str | None, name: str) -> None:
    """Remove a persona. What it was made of stays."""
    _changed(Asker(url, key), "DELETE", "/api/delete", {"model": name}, lambda view: remove_stored(view, name))
    click.echo(f"removed: {name}")


def _changed(asker: Asker, method: str, path: str, body: Json, stored: Stored) -> None:
    """Have the server change its personas, or change the database where none answers."""
    asker.get("/personas", stored, member="personas")
    if not asker.used_database:
        asker.change(method, path, body)
