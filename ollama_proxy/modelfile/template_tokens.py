"""Splits a template of Go's text/template into texts and the tokens of its actions. Pure and linear.

Source of the rules and of the error texts: https://pkg.go.dev/text/template, package text/template/parse.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

LEFT, RIGHT, SPACE, PIPE, ASSIGN, DECLARE = "{{", "}}", "space", "|", "=", ":="
OPEN, CLOSE, CHAR, TEXT_CONSTANT, NUMBER = "(", ")", "char", "string", "number"
VARIABLE, FIELD, DOT, IDENTIFIER, KEYWORD, BOOLEAN, NIL, EOF = (
    *("variable", "field", ".", "identifier", "keyword", "bool", "nil", "EOF"),
)
KEYWORDS: Final = frozenset(["block", "break", "continue", "define", "else", "end", "if", "range", "template", "with"])

_TOKEN = re.compile(
    r"(?P<right>(?:[ \t\r\n]-)?\}\})"
    r"|(?P<space>(?:(?![ \t\r\n]-\}\})[ \t\r\n])+)"
    r"|(?P<declare>:=?)"
    r'|(?P<string>"(?:[^"\\\n]|\\[^\n])*")'
    r"|(?P<raw>`[^`]*`)"
    r"|(?P<constant>'(?:[^'\\\n]|\\[^\n])*')"
    r"|(?P<number>[+-]?\.?[0-9][\w.]*(?:(?<=[eEpP])[+-][0-9_]+)?i?)"
    r"|(?P<field>\.\w+)"
    r"|(?P<variable>\$\w*)"
    r"|(?P<word>\w+)"
    r"|(?P<char>.)",
    re.DOTALL,
)
_NUMBER = re.compile(
    r"[+-]?(?:0[xX][0-9a-fA-F_]*(?:\.[0-9a-fA-F_]*)?(?:[pP][+-]?[0-9_]+)?|0[oO][0-7_]+|0[bB][01_]+"
    r"|[0-9][0-9_]*(?:\.[0-9_]*)?(?:[eE][+-]?[0-9_]+)?|\.[0-9][0-9_]*(?:[eE][+-]?[0-9_]+)?)i?"
)
_COMMENT_END = re.compile(r"\*/(?P<end>(?:[ \t\r\n]-)?\}\})?")
_ENDS_A_WORD = frozenset(" \t\r\n.,|:)(")


class TemplateError(ValueError):
    """What Go says of a template, without the place."""

    def __init__(self, message: str, line: int) -> None:
        super().__init__(message)
        self.line = line


class Token(NamedTuple):
    """A token of an action: its kind (a constant of this module), its text, and its line, from 1 on."""

    kind: str
    text: str
    line: int


def tokens(template: str) -> Iterator[Token]:
    """Yield the tokens of all actions, LEFT and RIGHT included, and EOF last. Raises TemplateError."""
    position, line = 0, 1
    while (start := template.find(LEFT, position)) >= 0:
        line += template.count("\n", position, start)
        inside = start + 2
        if template[inside : inside + 1] == "-" and template[inside + 1 : inside + 2] in tuple(" \t\r\n"):
            line += template[inside + 1] == "\n"
            inside += 2
        if template.startswith("/*", inside):
            position = _after_comment(template, inside, line)
            line += template.count("\n", inside, position)
            continue
        yield Token(LEFT, LEFT, line)
        nested = 0
        while True:
            token, position = _token(template, inside, line)
            nested += (token.kind == OPEN) - (token.kind == CLOSE)
            if nested < 0:
                raise TemplateError("unexpected right paren", line)
            if nested and token.kind == RIGHT:
                raise TemplateError("unclosed left paren", line)
            yield token
            line += template.count("\n", inside, position)
            inside = position
            if token.kind == RIGHT:
                break
    yield Token(EOF, "EOF", line + template.count("\n", position))


def _after_comment(template: str, start: int, line: int) -> int:
    found = _COMMENT_END.search(template, start + 2)
    if found is None:
        raise TemplateError("unclosed comment", line)
    if found["end"] is None:
        raise TemplateError("comment ends before closing delimiter", line)
    return found.end()


def _token(template: str, start: int, line: int) -> tuple[Token, int]:
    found = _TOKEN.match(template, start)
    if found is None:
        raise TemplateError("unclosed action", line)
    kind, text, end = str(found.lastgroup), found[0], found.end()
    match kind:
        case "right" | "space":
            kind = {"right": RIGHT, "space": SPACE}[kind]
        case "declare":
            if text == ":":
                raise TemplateError("expected :=", line)
            kind = DECLARE
        case "raw" | "string":
            kind = TEXT_CONSTANT
        case "number":
            # Go reads as much as is a number; a letter or a digit behind it is an error.
            number = _NUMBER.match(template, start)
            if number is None or template[number.end() : number.end() + 1].isalnum():
                raise TemplateError(f'bad number syntax: "{text[:40]}"', line)
            kind, text, end = NUMBER, number[0], number.end()
        case "constant":
            kind = NUMBER
        case "field" | "variable" | "word":
            _check_end(template, end, line)
            kind = _kind_of_word(text) if kind == "word" else {"field": FIELD, "variable": VARIABLE}[kind]
        case _:
            kind = _kind_of_character(template, start, line)
    return Token(kind, text, line), end


def _kind_of_word(word: str) -> str:
    if word in KEYWORDS:
        return KEYWORD
    return {"true": BOOLEAN, "false": BOOLEAN, "nil": NIL}.get(word, IDENTIFIER)


def _kind_of_character(template: str, start: int, line: int) -> str:
    char = template[start]
    if char in "\"`'":
        name = {'"': "quoted string", "`": "raw quoted string", "'": "character constant"}[char]
        raise TemplateError(f"unterminated {name}", line)
    if char == ".":
        _check_end(template, start + 1, line)
        return DOT
    if char in "|=()":
        return {"|": PIPE, "=": ASSIGN, "(": OPEN, ")": CLOSE}[char]
    if char.isascii() and char.isprintable():
        return CHAR
    raise TemplateError(f"unrecognized character in action: {_unicode(char)}", line)


def _check_end(template: str, end: int, line: int) -> None:
    """Raise TemplateError if a word, a field or a variable ends with what cannot stand behind one."""
    if end < len(template) and template[end] not in _ENDS_A_WORD and not template.startswith(RIGHT, end):
        raise TemplateError(f"bad character {_unicode(template[end])}", line)


def _unicode(char: str) -> str:
    """A character as Go's %#U prints it."""
    return f"U+{ord(char):04X}" + (f" '{char}'" if char.isprintable() else "")
