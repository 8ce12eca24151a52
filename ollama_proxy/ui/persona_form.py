"""The form of a persona: texts of its fields, and the body of POST /api/create that they mean. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import orjson

from ollama_proxy.catalog.making import MOST_BYTES, MOST_MESSAGES
from ollama_proxy.catalog.persona import Persona
from ollama_proxy.errors import BadRequest
from ollama_proxy.modelfile.modelfile import ROLES, Modelfile, ModelfileError
from ollama_proxy.modelfile.parameters import DEPRECATED, KNOWN, parameter_value, plain
from ollama_proxy.modelfile.parser import parse
from ollama_proxy.ui.words import plural

#: Characters of a Modelfile: what a persona may say, and its commands.
MOST_CHARACTERS: Final = MOST_BYTES + 100 * 1024
#: Lines of the field of parameters. A persona has some dozens.
_MOST_LINES: Final = 1000

#: How many messages without a text a form offers, beside those with one.
_BLANK_ROWS: Final = 2


@dataclass(frozen=True, slots=True)
class PersonaForm:
    """What the form shows. `parameters` is a text with one on each line, `messages` pairs of role and text."""

    name: str = ""
    base: str = ""
    system: str = ""
    parameters: str = ""
    messages: tuple[tuple[str, str], ...] = ()

    def with_rows(self, more: int = 0) -> PersonaForm:
        """The same with messages to fill in behind the others, of user and assistant in turn: two, and `more`."""
        said = len(self.messages)
        while said and not self.messages[said - 1][1].strip():
            said -= 1
        rows = min(max(said + _BLANK_ROWS, len(self.messages) + more), MOST_MESSAGES)
        messages = list(self.messages)
        while len(messages) < rows:
            messages.append(("assistant" if messages and messages[-1][0] == "user" else "user", ""))
        return replace(self, messages=tuple(messages))


def form_of(persona: Persona, base_name: str) -> PersonaForm:
    """Return what the form shows of a persona that is made of what is listed as `base_name`."""
    messages = tuple((str(one["role"]), str(one["content"])) for one in persona.messages)
    return PersonaForm(persona.name, base_name, persona.system, parameters_text(persona.parameters), messages)


def sent(fields: Mapping[str, str]) -> PersonaForm:
    """Return the form as it was sent: the fields of `PersonaForm`, and `role_N` and `text_N` for each message."""
    numbers = (int(name[5:]) for name in fields if name.startswith("text_") and _is_number(name[5:]))
    messages = tuple((fields.get(f"role_{n}", "user"), fields[f"text_{n}"]) for n in sorted(set(numbers)))
    name, base = (fields.get(field, "").strip() for field in ("name", "base"))
    return PersonaForm(name, base, fields.get("system", ""), fields.get("parameters", ""), messages)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= 4 and text == str(int(text))


def create_body(form: PersonaForm, kept: Persona | None = None) -> dict[str, Any]:
    """Return the body of POST /api/create that makes the persona. Raises BadRequest for parameters or roles that
    are none.

    `kept` is the persona as it was: what the form does not show of it stays.
    """
    roles = {*ROLES, *(() if kept is None else (one["role"] for one in kept.messages))}
    if any(role not in roles for role, text in form.messages if text.strip()):
        raise BadRequest('message role must be one of "system", "user", or "assistant"')
    body: dict[str, Any] = {
        "model": form.name,
        "from": form.base,
        "system": form.system,
        "parameters": read_parameters(form.parameters, () if kept is None else kept.parameters),
        "messages": [{"role": role, "content": text} for role, text in form.messages if text.strip()],
        "stream": False,
    }
    if kept is not None:
        body["license"] = list(kept.licenses)
        body |= {name: getattr(kept, name) for name in ("template", "renderer", "parser", "requires")}
    return body


def modelfile_body(text: str, name: str) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return the body of POST /api/create for a Modelfile, and what the command line of Ollama would warn of.

    Raises BadRequest in its words, and for one that is longer than any persona may be.
    """
    if len(text) > MOST_CHARACTERS:
        raise BadRequest(f"the Modelfile is too long: at most {MOST_CHARACTERS // 1024} KB are taken")
    try:
        said: Modelfile = parse(text)
    except ModelfileError as error:
        raise BadRequest(str(error)) from None
    if said.files:
        raise BadRequest(f"{said.files[0][0].upper()} names a file: models cannot be uploaded")
    return said.as_request(name) | {"stream": False}, said.warnings


def parameters_text(parameters: Mapping[str, Any]) -> str:
    """Return parameters as the form shows them: `name value`, a text in quotation marks with the escapes of JSON."""
    return "\n".join(f"{name} {json.dumps(value, ensure_ascii=False)}" for name, value in _lines(parameters))


def _lines(parameters: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name in sorted(parameters):
        value = plain(parameters[name])
        yield from ((name, item) for item in (value if name in KNOWN and isinstance(value, list) else [value]))


def read_parameters(text: str, kept: Mapping[str, Any] | tuple[()] = ()) -> dict[str, Any]:
    """Return the parameters of a text as `parameters_text` writes it; a text needs no marks, and PARAMETER may stand
    in front, as in a Modelfile. Several lines of one name are a list.

    Names are those of a Modelfile, and those that are `kept`. Raises BadRequest in the words of Ollama's command line,
    and for more than a thousand lines.
    """
    if text.count("\n") >= _MOST_LINES:
        raise BadRequest(f"too many parameters: at most {_MOST_LINES} lines are taken")
    found: dict[str, Any] = {}
    for line in text.split("\n"):
        words = line.split(None, 1)
        if words and words[0].lower() == "parameter":
            words = "".join(words[1:]).split(None, 1)
        if not words:
            continue
        value = _value(words[0], words[1].strip() if len(words) > 1 else "", kept)
        known = found.get(words[0])
        if isinstance(known, list) and isinstance(value, list):
            known.extend(value)
        else:
            found[words[0]] = value
    return found


def _value(name: str, text: str, kept: Mapping[str, Any] | tuple[()]) -> Any:
    if not text:
        raise BadRequest(f"parameter {name[:40]} has no value")
    if name in DEPRECATED:
        raise BadRequest(f"parameter {name} is deprecated: leave it out")
    if name not in KNOWN and name in kept:
        return _json(text)
    whole = _json(text) if text.startswith('"') else text
    try:
        return parameter_value(name, whole if isinstance(whole, str) else text)
    except ModelfileError as error:
        raise BadRequest(str(error)[:300]) from None


def _json(text: str) -> Any:
    """The JSON that `text` is; else, and if it cannot be sent as a part of a body, the text itself."""
    try:
        value = json.loads(text)
        orjson.dumps({"parameters": {"": value}})  # refuses numbers over 64 bits, halves of characters, deep nesting
    except (ValueError, TypeError, RecursionError):
        return text
    return value


def says(persona: Persona) -> list[str]:
    """Return what a persona sets, in words: "system prompt", "2 parameters"; nothing for another name of its base."""
    counted = {
        "parameter": len(persona.parameters),
        "message": len(persona.messages),
        "licence": len(persona.licenses),
    }
    words = ["system prompt"] if persona.system else []
    words += [plural(count, noun) for noun, count in counted.items() if count]
    return words + [name for name in ("template", "renderer", "parser", "requires") if getattr(persona, name)]
