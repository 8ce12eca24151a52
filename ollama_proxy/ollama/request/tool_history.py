"""How Ollama's messages hold tool calls and their results, for the repair of a history (`bodies/tool_history.py`)."""

from __future__ import annotations

from collections.abc import Sequence

from ollama_proxy.bodies.tool_history import Named, ToolHistory
from ollama_proxy.ollama.request.messages import Message


class _OllamaForm:
    """See `bodies.tool_history.Form`."""

    def calls(self, message: Message) -> Sequence[Named]:
        return [Named(call.id, call.name) for call in message.calls] if message.calls else ()

    def result(self, message: Message) -> Named | None:
        return Named(message.tool_call_id, message.tool_name) if message.role == "tool" and not message.calls else None

    def is_assistant(self, message: Message) -> bool:
        return message.role == "assistant"

    def is_user(self, message: Message) -> bool:
        return message.role == "user"

    def joined(self, callers: Sequence[Message]) -> Message:
        return callers[0]._replace(
            text="\n".join(caller.text for caller in callers if caller.text),
            thinking="\n".join(caller.thinking for caller in callers if caller.thinking),
            calls=tuple(call for caller in callers for call in caller.calls),
        )

    def with_ids(self, caller: Message, ids: Sequence[str]) -> Message:
        calls = tuple(call._replace(id=call_id) for call, call_id in zip(caller.calls, ids, strict=True))
        return Message(caller.role, caller.text, caller.images, calls, caller.thinking)

    def answering(self, result: Message, call: Named) -> Message:
        return Message("tool", result.text, result.images, tool_name=call.name, tool_call_id=call.id)

    def placeholder(self, text: str) -> Message:
        return Message("tool", text)

    def as_user(self, result: Message) -> Message:
        name = f" of {result.tool_name}" if result.tool_name else ""
        return Message("user", f"Tool result{name}:\n{result.text}", result.images)


_HISTORY = ToolHistory(_OllamaForm())


def repair(messages: list[Message]) -> list[Message]:
    """Return the same conversation, in which each call is followed by its result, with equal, unique ids."""
    if not any(message.calls or message.role == "tool" for message in messages):
        return messages
    return _HISTORY.repair(messages)
