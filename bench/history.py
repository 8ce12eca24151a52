"""What a coding agent sends after an hour: 400 messages in Ollama's form, with tool calls and their results."""

from __future__ import annotations

from typing import Any

_TEXT = "The function reads the file line by line and keeps what it has seen in a table, so that it can tell the user "
_FILE = "def parse(line):\n    name, _, value = line.partition('=')\n    return name.strip(), value.strip()\n" * 5


def messages(count: int = 399) -> list[dict[str, Any]]:
    """A system prompt, then turns of a question, a tool call, its result and an answer."""
    made: list[dict[str, Any]] = [{"role": "system", "content": "You are a coding agent. " + _TEXT * 8}]
    while len(made) < count:
        turn = len(made)
        call = {"function": {"name": "read_file", "arguments": {"path": f"src/module_{turn}.py", "from": 1, "to": 40}}}
        made += [
            {"role": "user", "content": f"Look at module {turn} and say what it does. {_TEXT}"},
            {"role": "assistant", "content": "", "tool_calls": [call]},
            {"role": "tool", "tool_name": "read_file", "content": _FILE},
            {"role": "assistant", "content": f"Module {turn}: {_TEXT * 3}"},
        ]
    return made[:count]


def tools() -> list[dict[str, Any]]:
    """The tools that the agent has."""
    return [_tool(name) for name in ("read_file", "write_file", "run", "search", "list_files")]


def _tool(name: str) -> dict[str, Any]:
    properties = {
        "path": {"type": "string", "description": "Where"},
        "from": {"type": "integer"},
        "to": {"type": "integer"},
    }
    parameters = {"type": "object", "properties": properties, "required": ["path"]}
    description = f"{name}: does to a file what the name says"
    return {"type": "function", "function": {"name": name, "description": description, "parameters": parameters}}
