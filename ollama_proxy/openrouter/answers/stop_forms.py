"""How the payloads of each endpoint hold the text in which stop strings are looked for: see `stop_cutter.StopForm`.

Pure. Thinking, refusals and tool calls are not searched, as at OpenAI and Anthropic
(https://platform.openai.com/docs/api-reference/chat/create, https://docs.anthropic.com/en/api/messages).
"""

from __future__ import annotations

from collections.abc import Mapping
from operator import is_not
from typing import Any

from ollama_proxy.openrouter.answers import chunks, messages_dialect
from ollama_proxy.openrouter.answers.events import DONE
from ollama_proxy.openrouter.answers.stop_cutter import Counted, StopForm
from ollama_proxy.openrouter.answers.stop_finder import StopFinder

Json = dict[str, Any]

#: What the chunks of an answer have in common.
_ENVELOPE = ("id", "provider", "model", "object", "created", "system_fingerprint")


def _shorter(text: str, finder: StopFinder) -> str | None:
    """Return the text up to the first stop string, None if it has none."""
    finder.restart()
    found = finder.find(text)
    return None if found is None else text[: found[0] - len(found[1])]


class _ChatForm:
    """/chat/completions. A whole answer to a streamed call is one chunk here (`chunks.as_chunk`)."""

    def whole(self, payload: Json) -> bool:
        return False

    def cut_whole(self, payload: Json, finder: StopFinder) -> Json | None:
        choices = payload.get("choices")
        if not isinstance(choices, list):
            return None
        kept = [self._cut_choice(choice, finder) for choice in choices]
        return {**payload, "choices": kept} if any(map(is_not, kept, choices)) else None

    def _cut_choice(self, choice: Any, finder: StopFinder) -> Any:
        text = self._text_of(choice) if isinstance(choice, dict) else ""
        short = _shorter(text, finder) if text else None
        if short is None:
            return choice
        return {**self._with_text(choice, short), "finish_reason": "stop", "native_finish_reason": "stop"}

    def text(self, payload: Json) -> str:
        choice = chunks.choice_of(payload)
        return self._text_of(choice) if choice is not None else ""

    def counts(self, payload: Json) -> bool:
        return chunks.is_useful(payload)

    def ends(self, payload: Json) -> bool:
        return chunks.finish_of(payload) is not None or chunks.error_of(payload) is not None

    def usage(self, payload: Json) -> Mapping[str, Any] | None:
        return chunks.usage_of(payload)

    def with_text(self, payload: Json, text: str) -> Json:
        choice = chunks.choice_of(payload) or {}
        rest = {name: value for name, value in payload.items() if name != "usage"}
        return {**rest, "choices": [{**self._with_text(choice, text), "finish_reason": None}]}

    def ending(self, payload: Json, stop: str, usage: Mapping[str, Any] | None, counted: Counted) -> list[bytes]:
        total = counted.prompt + counted.completion
        counts = {"prompt_tokens": counted.prompt, "completion_tokens": counted.completion, "total_tokens": total}
        envelope = {name: payload[name] for name in _ENVELOPE if name in payload}
        last = {"index": 0, **self._nothing(), "finish_reason": "stop", "native_finish_reason": "stop"}
        return [chunks.dump_payload({**envelope, "choices": [last], "usage": usage or counts}), DONE]

    def _text_of(self, choice: Json) -> str:
        content = chunks.delta_of(choice).get("content")
        return content if isinstance(content, str) else ""

    def _with_text(self, choice: Json, text: str) -> Json:
        name = "delta" if choice.get("delta") else "message"
        cut = {**choice, name: {**chunks.delta_of(choice), "content": text}}
        if choice.get("logprobs"):
            cut["logprobs"] = _logprobs_for(choice["logprobs"], len(text))
        return cut

    def _nothing(self) -> Json:
        return {"delta": {}}


class _CompletionForm(_ChatForm):
    """/completions: a text in the place of a delta."""

    def counts(self, payload: Json) -> bool:
        return bool(self.text(payload))

    def _text_of(self, choice: Json) -> str:
        text = choice.get("text")
        return text if isinstance(text, str) else ""

    def _with_text(self, choice: Json, text: str) -> Json:
        return {**choice, "text": text}

    def _nothing(self) -> Json:
        return {"text": ""}


def _logprobs_for(logprobs: Any, characters: int) -> Any:
    """Return the entries of the tokens that lie within the first `characters`."""
    entries = logprobs.get("content") if isinstance(logprobs, dict) else None
    if not isinstance(entries, list):
        return logprobs
    kept, length = [], 0
    for entry in entries:
        token = entry.get("token") if isinstance(entry, dict) else None
        length += len(token) if isinstance(token, str) else 0
        if length > characters:
            break
        kept.append(entry)
    return {**logprobs, "content": kept}


class _MessagesForm:
    """/messages: events, or a whole message."""

    def whole(self, payload: Json) -> bool:
        return payload.get("type") == "message"

    def cut_whole(self, payload: Json, finder: StopFinder) -> Json | None:
        blocks = payload.get("content")
        listed = blocks if isinstance(blocks, list) else []
        for number, block in enumerate(listed):
            text = block.get("text") if isinstance(block, dict) and block.get("type") == "text" else None
            if not isinstance(text, str):
                continue
            finder.restart()
            if (found := finder.find(text)) is not None:
                place, stop = found
                kept = [*listed[:number], {**block, "text": text[: place - len(stop)]}]
                return {**payload, "content": kept, "stop_reason": "stop_sequence", "stop_sequence": stop}
        return None

    def text(self, payload: Json) -> str:
        delta = payload.get("delta")
        if payload.get("type") != "content_block_delta" or not isinstance(delta, dict):
            return ""
        text = delta.get("text") if delta.get("type") == "text_delta" else None
        return text if isinstance(text, str) else ""

    def counts(self, payload: Json) -> bool:
        return payload.get("type") == "content_block_delta" and messages_dialect.is_useful(payload)

    def ends(self, payload: Json) -> bool:
        return payload.get("type") in ("content_block_stop", "message_delta", "message_stop", "error")

    def usage(self, payload: Json) -> Mapping[str, Any] | None:
        return messages_dialect.usage_of(payload) if payload.get("type") == "message_delta" else None

    def with_text(self, payload: Json, text: str) -> Json:
        return {**payload, "delta": {**payload["delta"], "text": text}}

    def ending(self, payload: Json, stop: str, usage: Mapping[str, Any] | None, counted: Counted) -> list[bytes]:
        counts = {"input_tokens": counted.prompt, "output_tokens": counted.completion}
        delta = {"stop_reason": "stop_sequence", "stop_sequence": stop}
        return [
            chunks.dump_payload(event)
            for event in (
                {"type": "content_block_stop", "index": payload.get("index", 0)},
                {"type": "message_delta", "delta": delta, "usage": usage or counts},
                {"type": "message_stop"},
            )
        ]


CHAT: StopForm = _ChatForm()
COMPLETIONS: StopForm = _CompletionForm()
MESSAGES: StopForm = _MessagesForm()
