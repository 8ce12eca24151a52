"""Builds the answer to `"stream": false`: collects the pieces of an answer into one object.

Takes the same pieces as `lines.LineWriter`; knows nothing of OpenRouter's chunks, nor of bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ollama_proxy.ollama.answer.lines import joined


class Collector:
    """Collects the pieces of an answer, and writes no lines."""

    def __init__(self) -> None:
        self._content: list[str] = []
        self._thinking: list[str] = []
        self._tool_calls: list[Mapping[str, Any]] = []
        self._images: list[str] = []
        self._logprobs: list[dict[str, Any]] = []

    def begin(self) -> None:
        """Do nothing: bursts do not matter here."""

    def take(self) -> list[bytes]:
        """Return no writes."""
        return []

    def content(self, text: str, logprobs: list[dict[str, Any]] | None = None) -> None:
        """Add text of the answer."""
        self._content.append(text)
        self._logprobs += logprobs or ()

    def plain_content(self, literal: bytes) -> None:
        """Add text of the answer that is already a JSON string of plain ASCII."""
        self._content.append(literal[1:-1].decode())

    def thinking(self, text: str) -> None:
        """Add text of the thinking."""
        self._thinking.append(text)

    def tool_call(self, call: Mapping[str, Any]) -> None:
        """Add one complete tool call."""
        self._tool_calls.append(call)

    def image(self, image: str) -> None:
        """Add one image, in base64."""
        self._images.append(image)

    def empty(self) -> None:
        """Do nothing: no heartbeat is sent before the result."""

    def end_texts(self) -> None:
        """Do nothing: no text is held back here."""

    def last(self, closing: Mapping[str, Any]) -> None:
        """Do nothing: `chat` and `generate` build the object."""

    def chat(self, closing: Mapping[str, Any]) -> dict[str, Any]:
        """Return the whole object of /api/chat; `closing` is the object of the last line."""
        message: dict[str, Any] = {"role": "assistant", "content": joined(self._content)}
        if self._thinking:
            message["thinking"] = joined(self._thinking)
        if self._images:
            message["images"] = self._images
        if self._tool_calls:
            message["tool_calls"] = self._tool_calls
        return _inserted({**closing, "message": message}, "done_reason", self._with_logprobs())

    def generate(self, closing: Mapping[str, Any]) -> dict[str, Any]:
        """Return the whole object of /api/generate; `closing` is the object of the last line."""
        thinking = {"thinking": joined(self._thinking)} if self._thinking else {}
        whole = _inserted({**closing, "response": joined(self._content)}, "response", thinking)
        tool_calls = {"tool_calls": self._tool_calls} if self._tool_calls else {}
        return {**whole, **tool_calls, **self._with_logprobs()}

    def _with_logprobs(self) -> dict[str, Any]:
        return {"logprobs": self._logprobs} if self._logprobs else {}


def _inserted(whole: Mapping[str, Any], after: str, added: Mapping[str, Any]) -> dict[str, Any]:
    """Return `whole` with `added` behind the key `after`, to keep Ollama's order of keys."""
    result: dict[str, Any] = {}
    for key, value in whole.items():
        result[key] = value
        if key == after:
            result.update(added)
    return result
