"""Reads a Modelfile by the grammar of Ollama's command line, and refuses it in its words (docs/contract.md).

Linear in the length of the text, and bounded in the number of commands. More tolerant in one point: there may be
several blanks before a parameter's name.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice
from typing import Any, NamedTuple

from ollama_proxy.modelfile.modelfile import ROLES, Modelfile, ModelfileError
from ollama_proxy.modelfile.parameters import DEPRECATED, parameter_value

#: Room for all messages and licences that a persona may have, and for many stop strings. Ollama has no such limit.
MOST_COMMANDS = 2000

_COMMANDS = frozenset(
    [
        "from",
        "license",
        "template",
        "system",
        "adapter",
        "draft",
        "renderer",
        "parser",
        "parameter",
        "message",
        "requires",
    ]
)
_NOT_A_COMMAND = (
    'command must be one of "from", "license", "template", "system", "adapter", "draft", "renderer", "parser", '
    '"parameter", "message", or "requires"'
)
_NOT_A_ROLE = 'message role must be one of "system", "user", or "assistant"'
_EOF = "unexpected EOF"

_BETWEEN = re.compile(r"(?:[ \t\r\n]|#[^\r\n]*)*")
_NAME = re.compile(r".[A-Za-z]*", re.DOTALL)
_BLANKS = re.compile(r"[ \t]*")
_PARAMETER = re.compile(r"[A-Za-z0-9_]*")
_ROLE = re.compile(r"[A-Za-z]*")
_LINE_END = re.compile(r"[\r\n]|\Z")
#: Marks that end their line: nothing but white space stands behind them.
_CLOSING = {marks: re.compile(marks + r"[^\S\r\n]*(?=[\r\n]|\Z)") for marks in ('"', '"""')}
_SEMANTIC_VERSION = re.compile(r"[0-9]{1,9}(?:\.[0-9]{1,9}){0,2}(?:-[0-9A-Za-z.-]{1,100})?(?:\+[0-9A-Za-z.-]{1,100})?")


class _Command(NamedTuple):
    """A command; `subject` is a parameter's name or a message's role, "" for the others."""

    name: str
    subject: str
    value: str


def parse(text: str) -> Modelfile:
    """Return what `text` says. Raises ModelfileError."""
    texts: dict[str, str] = {}
    licenses: list[str] = []
    messages: list[tuple[str, str]] = []
    files: list[tuple[str, str]] = []
    parameters: dict[str, Any] = {}
    warnings: list[str] = []
    commands = list(islice(_commands(text.removeprefix("\ufeff")), MOST_COMMANDS + 1))
    if len(commands) > MOST_COMMANDS:
        raise ModelfileError(f"too many commands: at most {MOST_COMMANDS} are taken")
    for name, subject, value in commands:
        if name == "license":
            licenses.append(value)
        elif name == "message":
            messages.append((subject, value))
        elif name in ("adapter", "draft"):
            files.append((name, value))
        elif name != "parameter":
            texts[name] = value
        elif subject in DEPRECATED:
            warnings.append(f"warning: parameter {subject} is deprecated")
        else:
            _add_parameter(parameters, subject, parameter_value(subject, value))
    if "from" not in texts:
        raise ModelfileError("no FROM line")
    if texts.get("requires") and _SEMANTIC_VERSION.fullmatch(texts["requires"]) is None:
        raise ModelfileError("requires must be a valid semver (e.g. 0.14.0)")
    return Modelfile(
        base=texts.pop("from"),
        licenses=tuple(licenses),
        parameters=parameters,
        messages=tuple(messages),
        files=tuple(files),
        warnings=tuple(warnings),
        **texts,
    )


def _add_parameter(parameters: dict[str, Any], name: str, value: Any) -> None:
    known = parameters.get(name)
    if isinstance(known, list):
        known.extend(value)
    else:
        parameters[name] = value


def _commands(text: str) -> Iterator[_Command]:
    position = 0
    while (position := _end(_BETWEEN, text, position)) < len(text):
        end = _end(_NAME, text, position)
        name = text[position:end].lower()
        if end == len(text):
            raise ModelfileError(_EOF)
        if text[end] not in " \t" or name not in _COMMANDS:
            raise _at_line(text, end, _NOT_A_COMMAND)
        position, subject = end + 1, ""
        if name in ("parameter", "message"):
            position = _end(_BLANKS, text, position)
            end = _end(_PARAMETER if name == "parameter" else _ROLE, text, position)
            subject = text[position:end]
            if text[end : end + 1] not in (" ", "\t"):
                raise ModelfileError(_EOF)
            if name == "message" and subject not in ROLES:
                raise _at_line(text, end, _NOT_A_ROLE)
            position = end + 1
        value, position = _value(text, _end(_BLANKS, text, position))
        yield _Command(name, subject, value)


def _value(text: str, start: int) -> tuple[str, int]:
    """The value that begins at `start`, and where it ends: with its line, unless it begins with quotation marks.

    Such a one ends with the first line that ends with the same marks.
    """
    marks = '"""' if text.startswith('"""', start) else '"' if text.startswith('"', start) else ""
    if not marks:
        found = _LINE_END.search(text, start)
        assert found is not None
        return text[start : found.start()].strip(), found.start()
    content = start + len(marks)
    closing = _CLOSING[marks].search(text, content)
    if closing is None:
        raise ModelfileError(_EOF)
    return text[content : closing.start()], closing.end()


def _end(pattern: re.Pattern[str], text: str, position: int) -> int:
    found = pattern.match(text, position)
    return found.end() if found else position


def _at_line(text: str, position: int, message: str) -> ModelfileError:
    """The error for what was read up to `position`, that character included. CR and LF together end one line."""
    read = text[: position + 1].replace("\r\n", "\n").replace("\r", "\n")
    return ModelfileError(f"(line {read.count(chr(10)) + 1}): {message}")
