"""What is said of a tool that a server must run, where none may be run: in words, never as if it had been run. Pure."""

from __future__ import annotations

from typing import Any

#: How the type of a tool begins, and what it does.
_WHAT = (
    ("web_search", "Web search"),
    ("openrouter:web_search", "Web search"),
    ("web_fetch", "Fetching of web pages"),
    ("openrouter:web_fetch", "Fetching of web pages"),
    ("code_", "Running of code"),
    ("file_search", "File search"),
    ("image_generation", "Making of images"),
    ("openrouter:image_generation", "Making of images"),
    ("mcp", "An MCP server that OpenRouter calls"),
)

#: Characters of a query. It is the client's own text.
_LONGEST_QUERY = 400


def refusal(kind: str) -> str:
    """Return the sentence for a user or a model that waits for what a tool of this type would bring."""
    what = next((words for start, words in _WHAT if kind.strip().lower().startswith(start)), "This tool")
    return (
        f"{what} is not available: this server runs in free mode, and OpenRouter charges for tools that it runs. "
        "Nothing was looked up or run."
    )


def query_of(text: Any) -> str:
    """Return what was to be looked for, as far as it is known: the user's last text, shortened."""
    return text.strip()[:_LONGEST_QUERY] if isinstance(text, str) else ""
