"""Checks a template of Go's text/template without executing it: what Go's parser would refuse, in its words.

Nothing here uses a template: OpenRouter has the models' own ones. But Ollama refuses a bad one when a model is created,
and who wrote one wants to know. Pure, linear, without recursion: blocks and parentheses may be nested as deep as the
text is long (docs/contract.md, "Personas").
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field

from ollama_proxy.modelfile.template_tokens import (
    ASSIGN,
    BOOLEAN,
    CHAR,
    CLOSE,
    DECLARE,
    DOT,
    EOF,
    FIELD,
    IDENTIFIER,
    KEYWORD,
    LEFT,
    NIL,
    NUMBER,
    OPEN,
    PIPE,
    RIGHT,
    SPACE,
    TEXT_CONSTANT,
    VARIABLE,
    TemplateError,
    Token,
    tokens,
)

# Go's own functions and Ollama's.
_FUNCTIONS = frozenset(
    [
        "and",
        "call",
        "eq",
        "ge",
        "gt",
        "html",
        "index",
        "js",
        "le",
        "len",
        "lt",
        "ne",
        "not",
        "or",
        "print",
        "printf",
        "println",
        "slice",
        "urlquery",
        "json",
        "currentDate",
        "yesterday",
        "toTypeScriptType",
    ]
)
_CONSTANTS = frozenset({BOOLEAN, DOT, NIL, NUMBER, TEXT_CONSTANT})
_OPERANDS = _CONSTANTS | {FIELD, IDENTIFIER, VARIABLE, OPEN}
_SHOWN = 10  # characters of a token in an error


def template_error(template: str) -> str | None:
    """Return what Go says of `template`, such as `template: :1: unclosed action`; None if it can be parsed."""
    try:
        _Parser(template).parse()
    except TemplateError as error:
        return f"template: :{error.line}: {error}"
    return None


@dataclass(slots=True)
class _Block:
    """An open block: its keyword, whether its `else` has come, how many variables were known before it, and how many
    blocks its `end` ends: `else if` opens one that has no `end` of its own.
    """

    keyword: str
    variables: int
    has_else: bool = False
    ends: int = 1


@dataclass(slots=True)
class _Pipeline:
    """An open pipeline: the one of an action, or one in parentheses. `operands` are those of the command it is at."""

    context: str
    operands: int = 0
    commands: int = 0


@dataclass(slots=True)
class _Parser:
    """Reads a template action by action: `blocks` are the open ones, `variables` those that are known where it is."""

    template: str
    blocks: list[_Block] = field(default_factory=list)
    variables: list[str] = field(default_factory=lambda: ["$"])
    #: How often each of them is among the known ones.
    known: Counter[str] = field(default_factory=lambda: Counter(["$"]))

    def parse(self) -> None:
        """Raises TemplateError."""
        action: list[Token] = []
        for token in tokens(self.template):
            if token.kind == LEFT:
                action = []
            elif token.kind == EOF:
                if self.blocks:
                    raise TemplateError("unexpected EOF", token.line)
            else:
                action.append(token)
                if token.kind == RIGHT:
                    self._action(action)

    def _action(self, action: list[Token]) -> None:
        """Check one action; its last token is RIGHT."""
        at = 1 if action[0].kind == SPACE else 0
        first = action[at]
        if first.kind != KEYWORD:
            self._pipeline(action[at:], "command")
            return
        rest = action[at + 1 :]
        match first.text:
            case "end":
                self._end(first, rest)
            case "else":
                self._else(first, rest)
            case "if" | "range" | "with":
                self._open(first.text)
                self._pipeline(rest, first.text)
            case "define" | "block" | "template":
                self._named(first, rest)
            case _:
                _expect_right(rest, f"{{{{{first.text}}}}}")
                if not any(block.keyword == "range" for block in self.blocks):
                    raise TemplateError(f"{{{{{first.text}}}}} outside {{{{range}}}}", first.line)

    def _open(self, keyword: str, ends: int = 1) -> None:
        self.blocks.append(_Block(keyword, len(self.variables), ends=ends))

    def _close(self) -> _Block:
        block = self.blocks.pop()
        self.known.subtract(self.variables[block.variables :])
        del self.variables[block.variables :]
        return block

    def _end(self, first: Token, rest: list[Token]) -> None:
        _expect_right(rest, "end")
        if not self.blocks:
            raise TemplateError("unexpected {{end}}", first.line)
        for _ in range(self.blocks[-1].ends):
            self._close()

    def _else(self, first: Token, rest: list[Token]) -> None:
        words = [token for token in rest if token.kind != SPACE]
        chained = words[0].text if words[0].kind == KEYWORD and words[0].text in ("if", "with") else ""
        if not chained:
            _expect_right(rest, "else")
        if not self.blocks:
            raise TemplateError("unexpected {{else}}", first.line)
        block = self.blocks[-1]
        if block.keyword in ("define", "block"):
            raise TemplateError(f"unexpected {{{{else}}}} in {block.keyword} clause", first.line)
        if block.has_else:
            raise TemplateError("expected end; found {{else}}", first.line)
        block.has_else = True
        if chained and block.keyword == chained:
            self._open(chained, block.ends + 1)
            self._pipeline(rest[rest.index(words[0]) + 1 :], chained)
        elif chained:
            raise TemplateError(f"unexpected <{chained}> in input", first.line)

    def _named(self, first: Token, rest: list[Token]) -> None:
        """The actions with a template's name behind the keyword: define, block, template."""
        if first.text == "define" and self.blocks:
            raise TemplateError("unexpected <define> in command", first.line)
        at = 1 if rest[0].kind == SPACE else 0
        if rest[at].kind != TEXT_CONSTANT:
            raise _unexpected(rest[at], f"{first.text} clause")
        rest = rest[at + 1 :]
        if first.text != "template":
            self._open(first.text)
        if first.text == "define":
            _expect_right(rest, "define clause")
        elif first.text == "block" or not _is_right(rest):
            self._pipeline(rest, f"{first.text} clause")

    def _pipeline(self, given: list[Token], context: str) -> None:
        """Check a pipeline, with its declarations and all that stand in parentheses in it."""
        start = self._declarations(given, context)
        open_ones = [_Pipeline(context)]
        for position in range(start, len(given)):
            token, here = given[position], open_ones[-1]
            before = given[position - 1] if position else None
            joined = before is not None and before.kind not in (SPACE, OPEN, PIPE) and position > start
            if token.kind == SPACE:
                continue
            if token.kind in (RIGHT, CLOSE):
                if not here.operands:
                    raise TemplateError(f"missing value for {here.context}", token.line)
                if token.kind == CLOSE:
                    open_ones.pop()
            elif token.kind == PIPE:
                if not here.operands:
                    raise _unexpected(token, here.context)
                here.commands, here.operands = here.commands + 1, 0
            elif token.kind not in _OPERANDS:
                raise _unexpected(token, "operand" if joined else here.context)
            elif token.kind == FIELD and joined:
                if before is not None and before.kind in _CONSTANTS:
                    raise TemplateError(f"unexpected . after term {json.dumps(before.text)}", token.line)
            elif joined:
                raise _unexpected(token, "operand")
            else:
                self._operand(token, here)
                here.operands += 1
                if token.kind == OPEN:
                    open_ones.append(_Pipeline("parenthesized pipeline"))

    def _operand(self, token: Token, here: _Pipeline) -> None:
        if token.kind == IDENTIFIER and token.text not in _FUNCTIONS:
            raise TemplateError(f"function {json.dumps(token.text)} not defined", token.line)
        if token.kind == VARIABLE and not self.known[token.text]:
            raise TemplateError(f"undefined variable {json.dumps(token.text)}", token.line)
        if here.commands and not here.operands and token.kind in _CONSTANTS:
            stage = here.commands + 1
            raise TemplateError(f"non executable command in pipeline stage {stage}", token.line)

    def _declarations(self, given: list[Token], context: str) -> int:
        """Where the pipeline begins behind `$x :=`, `$x =` or, for range, `$i, $x :=`, which it makes known."""
        words = [(at, token) for at, token in enumerate(given) if token.kind != SPACE][:5]
        kinds = [token.kind for _, token in words]
        if kinds[:2] in ([VARIABLE, DECLARE], [VARIABLE, ASSIGN]):
            names, sign = [words[0][1]], words[1]
        elif kinds[:2] == [VARIABLE, CHAR] and words[1][1].text == ",":
            if context != "range" or kinds[2:3] != [VARIABLE]:
                raise TemplateError(f"too many declarations in {context}", words[1][1].line)
            if kinds[3:4] not in ([DECLARE], [ASSIGN]):
                raise _unexpected(words[3][1], context)
            names, sign = [words[0][1], words[2][1]], words[3]
        else:
            return 0
        for name in names:
            if sign[1].kind == DECLARE:
                self.variables.append(name.text)
                self.known[name.text] += 1
            elif not self.known[name.text]:
                raise TemplateError(f"undefined variable {json.dumps(name.text)}", name.line)
        return sign[0] + 1


def _is_right(rest: list[Token]) -> bool:
    return [token.kind for token in rest if token.kind != SPACE] == [RIGHT]


def _expect_right(rest: list[Token], context: str) -> None:
    if not _is_right(rest):
        raise _unexpected(next(token for token in rest if token.kind != SPACE), context)


def _unexpected(token: Token, context: str) -> TemplateError:
    text = token.text
    if token.kind == KEYWORD:
        shown = f"<{text}>"
    else:
        shown = json.dumps(text[:_SHOWN], ensure_ascii=False) + ("..." if len(text) > _SHOWN else "")
    return TemplateError(f"unexpected {shown} in {context}", token.line)
