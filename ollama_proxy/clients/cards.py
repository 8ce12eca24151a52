"""What to enter in each client: `clients.md`, read as cards, with a server's own address in the place of the example's.

The file is the one source: docs/clients.md holds the same text (`scripts/clients.py` copies it there, a test compares).
It knows a small part of Markdown: headings, paragraphs, lists with `-`, fences, and in a line `code`, *emphasis*,
[links](#). Pure, but for reading that file.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

SOURCE: Final = Path(__file__).with_name("clients.md")

#: How the text names this server: as seen from its own machine, and from another.
_EXAMPLES: Final = re.compile(r"http://(?:localhost|SERVER):11434\b")

_SPAN: Final = re.compile(r"`(?P<code>[^`]+)`|\*(?P<emphasis>[^*]+)\*|\[(?P<text>[^\]]+)\]\((?P<link>[^)]+)\)")
_BULLET: Final = "- "
_FENCE: Final = "```"


@dataclass(frozen=True, slots=True)
class Span:
    """A part of a line. `kind` is "text", "code" or "emphasis"."""

    kind: str
    text: str


Line = tuple[Span, ...]


@dataclass(frozen=True, slots=True)
class Block:
    """A part of a card: a paragraph (one line), a list (a line for each point), or text to paste (`code`)."""

    lines: tuple[Line, ...] = ()
    is_list: bool = False
    code: str = ""


@dataclass(frozen=True, slots=True)
class Card:
    """One client. `slug` is its name in addresses and commands, `group` the heading above it."""

    slug: str
    name: str
    group: str
    text: str

    def blocks(self, address: str = "") -> tuple[Block, ...]:
        """The parts of its text, with `address` (such as `http://10.0.0.7:11434`) in the place of the example's."""
        text = _EXAMPLES.sub(lambda _: address, self.text) if address else self.text
        return tuple(_blocks(text))


@cache
def cards() -> tuple[Card, ...]:
    """All cards, in the order of the file."""
    return tuple(read_cards(SOURCE.read_text(encoding="utf-8")))


def read_cards(text: str) -> Iterator[Card]:
    """The cards of a text: `## GROUP`, then `### CLIENT` and what stands below it."""
    for part in re.split(r"^## ", text, flags=re.MULTILINE)[1:]:
        group, *sections = re.split(r"^### ", part, flags=re.MULTILINE)
        for section in sections:
            name, _, body = section.partition("\n")
            yield Card(slug_of(name), name.strip(), group.strip(), body.strip() + "\n")


def slug_of(name: str) -> str:
    """A name in small letters, digits and hyphens: `VS Code Copilot Chat` is `vs-code-copilot-chat`."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def _blocks(text: str) -> Iterator[Block]:
    """A card's text in parts. A line that begins neither a part nor a point goes on with the one above it."""
    parts: list[str] = []
    lines = iter(text.splitlines())
    for line in lines:
        if line.startswith(_FENCE):
            yield from _prose(parts)
            parts = []
            code = list(iter(lambda: next(lines, _FENCE), _FENCE))
            yield Block(code="\n".join(code))
        elif not line.strip():
            yield from _prose(parts)
            parts = []
        elif not parts or line.startswith(_BULLET):
            parts.append(line)
        else:
            parts[-1] += " " + line.strip()
    yield from _prose(parts)


def _prose(parts: list[str]) -> Iterator[Block]:
    """The block that these parts make: paragraphs have one, lists a part for each point."""
    if parts:
        is_list = parts[0].startswith(_BULLET)
        lines = tuple(_spans(part.removeprefix(_BULLET)) for part in parts)
        yield Block(lines, is_list)


def _spans(text: str) -> Line:
    spans: list[Span] = []
    at = 0
    for found in _SPAN.finditer(text):
        if found.start() > at:
            spans.append(Span("text", text[at : found.start()]))
        kind = found.lastgroup or "text"
        # What a link points to is another page of the documents, which a server does not have.
        spans.append(Span("text", found["text"]) if kind == "link" else Span(kind, found[kind]))
        at = found.end()
    if at < len(text):
        spans.append(Span("text", text[at:]))
    return tuple(spans)
