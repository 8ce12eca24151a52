"""How much of each thing a request may hold: the numbers of docs/contract.md, "Limits", and the refusals.

They lie far over what any client sends (agents send four hundred messages, two hundred tools, pictures of ten
megabytes), and so low that no request keeps the others waiting. What is merely passed on has no limit of its own.
"""

from __future__ import annotations

from ollama_proxy.errors import BadRequest

#: Characters of a model's name. OpenRouter's longest id has some sixty.
NAME = 512
#: Characters of a duration such as `1h30m`.
KEEP_ALIVE = 64
#: Characters of a template.
TEMPLATE = 64 * 1024

#: Members and elements in a body. Each costs microseconds on its way through; requests have some thousands.
VALUES = 100_000
#: Objects and lists in a body: each costs more than a plain value.
CONTAINERS = 50_000
#: Commas in a body, those of its texts included: no model's window has so many tokens.
COMMAS = 2_000_000
#: Backslashes in a body that the fast parser refused.
ESCAPES = 2_000_000

MESSAGES = 10_000
TOOLS = 2_000
#: In all messages together.
TOOL_CALLS = 10_000
IMAGES = 1_000
OPTIONS = 1_000
STOPS = 1_000
#: In all stop strings together: a table of them is made for each request that has any.
STOP_CHARACTERS = 10_000


def check_count(count: int, most: int, what: str) -> None:
    """Raises BadRequest if there are more than `most`."""
    if count > most:
        raise BadRequest(f"too many {what}: {count}, and at most {most} are taken")


def check_name(name: str) -> None:
    """Raises BadRequest for what is too long for a model's name, before anybody looks at it."""
    if len(name) > NAME:
        raise BadRequest("invalid model name")
