"""The cards of the clients, and that the document and the list of User-Agents agree with them."""

from __future__ import annotations

import pytest

from ollama_proxy.clients.cards import Block, Card, Span, cards, read_cards, slug_of
from ollama_proxy.clients.user_agents import KNOWN, client_of
from scripts.clients import DOCUMENT, SOURCE, with_copy

TEXT = """## Editors

### One Editor

Set *Address* to
`http://localhost:11434/v1`, see [there](there.md).

- It is `a * b`.
- With a key: `KEY`
  and nothing else.

```sh
export HOST=http://SERVER:11434

run -- "a"
```

Then go on.

### Two

Nothing.

## Others

### Three
"""


def plain(text: str) -> Span:
    return Span("text", text)


def test_a_text_is_read_as_cards() -> None:
    one, two, three = read_cards(TEXT)
    assert (one.slug, one.name, one.group) == ("one-editor", "One Editor", "Editors")
    assert [(card.slug, card.group) for card in (two, three)] == [("two", "Editors"), ("three", "Others")]
    assert three.blocks() == ()
    assert one.blocks("https://box:8443") == (
        Block(
            (
                (
                    plain("Set "),
                    Span("emphasis", "Address"),
                    plain(" to "),
                    Span("code", "https://box:8443/v1"),
                    plain(", see "),
                    plain("there"),
                    plain("."),
                ),
            )
        ),
        Block(
            (
                (plain("It is "), Span("code", "a * b"), plain(".")),
                (plain("With a key: "), Span("code", "KEY"), plain(" and nothing else.")),
            ),
            is_list=True,
        ),
        Block(code='export HOST=https://box:8443\n\nrun -- "a"'),
        Block(((plain("Then go on."),),)),
    )


def test_an_address_is_put_in_as_it_is() -> None:
    card = Card("x", "X", "G", "http://localhost:11434 http://localhost:114345 http://host.docker.internal:11434\n")
    (block,) = card.blocks(r"http://\1:80")
    assert block.lines[0][0].text == r"http://\1:80 http://localhost:114345 http://host.docker.internal:11434"


@pytest.mark.parametrize(
    ("name", "slug"), [("VS Code Copilot Chat", "vs-code-copilot-chat"), ("n8n", "n8n"), ("A & B", "a-b")]
)
def test_slugs(name: str, slug: str) -> None:
    assert slug_of(name) == slug


def test_the_cards_of_the_program() -> None:
    slugs = [card.slug for card in cards()]
    assert len(slugs) == len(set(slugs)) > 25
    assert all(card.blocks() and card.name and card.group for card in cards())
    assert set(slugs) >= KNOWN, "who can be recognised has a card"


def test_every_card_can_be_used_with_another_address() -> None:
    """The one example that may stay is the server's own machine, where that is what the sentence is about."""
    for card in cards():
        for block in card.blocks("http://box:1"):
            text = block.code or " ".join(span.text for line in block.lines for span in line)
            assert ":11434" not in text.replace("http://host.docker.internal:11434", ""), card.name


def test_the_document_holds_the_same_text() -> None:
    """If it does not: `make clients`."""
    document = DOCUMENT.read_text()
    assert with_copy(document, SOURCE.read_text()) == document


@pytest.mark.parametrize(
    ("user_agent", "client"),
    [
        ("ollama/0.9.1 (amd64 linux) Go/go1.24", "ollama"),
        ("ollama-python/0.6.3 (x86_64 linux) Python/3.11", "ollama-for-python"),
        ("curl/8.5.0", "curl"),
        ("claude-cli/2.1 (external, cli)", "claude-code"),
        ("OpenAI/Python 3.54.0", "openai-sdks"),
        ("AsyncAnthropic/Python 2.12.0", "anthropic-sdks"),
        ("GitHubCopilotChat/0.38.0", "vs-code-copilot-chat"),
        ("", ""),
        ("Mozilla/5.0 curl/8", ""),
        ("CURL/8", ""),
        ("<script>alert(1)</script>" * 1000, ""),
    ],
)
def test_clients_are_recognised_by_how_they_begin(user_agent: str, client: str) -> None:
    assert client_of(user_agent) == client
