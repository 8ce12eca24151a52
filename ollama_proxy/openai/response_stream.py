"""Passes OpenRouter's streamed responses on to an OpenAI client: events without names in, events with names out.

OpenRouter leaves the `event:` lines out and ends with `[DONE]`; OpenAI and Ollama do the opposite. Payloads are passed
on as they are. Pure: knows no sockets and no HTTP (docs/contract.md, "Streams";
https://platform.openai.com/docs/api-reference/responses-streaming).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ollama_proxy.errors import ProxyError
from ollama_proxy.openai.response_error_form import error_object, failed_response
from ollama_proxy.openai.stream import KEEP_ALIVE, event
from ollama_proxy.openai.tool_forms import Original, ToolForms, custom_input
from ollama_proxy.openrouter.answers import chunks
from ollama_proxy.openrouter.answers.events import DONE
from ollama_proxy.openrouter.answers.responses_dialect import response_error
from ollama_proxy.openrouter.errors.failure import Failure, FailureKind

_TYPE_FIRST = b'{"type":"'
_CREATED = "response.created"
_LAST = ("response.completed", "response.incomplete")

#: Payloads of these types are parsed, and those whose type is not the first field. All others are passed on unparsed.
_SPECIAL = frozenset(name.encode() for name in (*_LAST, _CREATED, "response.failed", "error"))


class ResponseStream:
    """The events of /responses, an `EventStream`."""

    satisfied = False

    def __init__(self, forms: ToolForms | None = None) -> None:
        """`forms` are tools of the request that went up as functions: their calls get the client's form back."""
        self._restorer = None if forms is None else CallRestorer(forms)
        self._last = b""
        self._created: Mapping[str, Any] | None = None
        self._whole = False
        self.failure: Failure | None = None
        self.usage: Mapping[str, Any] = {}

    @property
    def whole(self) -> bool:
        return self._whole

    def heartbeat(self) -> bytes:
        return KEEP_ALIVE

    def accepted(self, at_ns: int | None) -> None:
        """Nothing is timed."""

    def feed(self, burst: Sequence[bytes]) -> list[bytes]:
        out: list[bytes] = []
        for payload in burst:
            if payload == DONE:
                if not self._whole:
                    self.failure = Failure(
                        FailureKind.EARLY_CLOSE, 200, detail="the response has not said how it ended"
                    )
                break
            try:
                out.append(self._event(payload))
            except chunks.MalformedChunk as error:
                self.failure = Failure(FailureKind.MALFORMED, 200, detail=str(error))
            if self.failure is not None:
                break
            self._last = payload
        data = b"".join(out)
        return [data] if data else []

    def _event(self, payload: bytes) -> bytes:
        """Return the event for one payload. Raises MalformedChunk."""
        sound = chunks.passable(payload)
        if self._restorer is not None and b"function_call" in sound:
            return b"".join([self._plain(changed) for changed in self._restorer.restored(sound)])
        return self._plain(sound)

    def _plain(self, sound: bytes) -> bytes:
        kind = sound[9 : sound.find(b'"', 9)] if sound.startswith(_TYPE_FIRST) else b""
        if kind and kind not in _SPECIAL and b"\n" not in sound:
            return b"event: %b\ndata: %b\n\n" % (kind, sound)
        return self._special(sound)

    def end(self) -> list[bytes]:
        return []

    def failed(self, error: ProxyError) -> bytes:
        """Return the response as failed, which agents read, then the error event, for which the SDKs raise an error."""
        number = _sequence_number(self._last) + 1
        told = failed_response(error)
        response = {**(self._created or {"object": "response", "output": []}), "status": "failed", "error": told}
        return _named("response.failed", {"response": response, "sequence_number": number}) + _named(
            "error", {**told, "param": None, "sequence_number": number + 1, "error": error_object(error)}
        )

    def _special(self, payload: bytes) -> bytes:
        parsed = chunks.parse_payload(payload)
        if response_error(parsed) is not None:
            self.failure = Failure(FailureKind.EVENT, 200, body=parsed)
            return b""
        name, response = parsed.get("type"), parsed.get("response")
        before = b""
        if isinstance(response, dict) and name == _CREATED:
            chunks.dump_payload(response)  # as `failed` may have to do
            self._created = response
        elif isinstance(response, dict) and name in _LAST:
            before = b"" if self._created else b"".join(_as_events(response))
            self._whole = True
            if isinstance(usage := response.get("usage"), dict):
                self.usage = usage
        if before:
            return before + _named(str(name), {**parsed, "sequence_number": before.count(b"\n\n")})
        named = b"event: %b\n" % name.encode() if isinstance(name, str) and name.isprintable() else b""
        return named + event(payload)


class CallRestorer:
    """Gives calls of functions that stand for other tools the client's form, event by event.

    The input of a custom tool is a text, but comes as JSON in pieces: it is told at once when it is whole. The
    arguments of a search or a command are told with the item only.
    """

    def __init__(self, forms: ToolForms) -> None:
        self._forms = forms
        self._open: dict[Any, Original] = {}  # by the place in the output

    def restored(self, payload: bytes) -> list[bytes]:
        """Return the payloads in the place of one that has to do with a call. Raises MalformedChunk."""
        parsed = chunks.parse_payload(payload)
        name, item, place = parsed.get("type"), parsed.get("item"), parsed.get("output_index")
        if isinstance(item, dict):
            if (original := self._forms.original_of(item)) is None:
                return [payload]
            if isinstance(place, int):
                self._open[place] = original
            return [chunks.dump_payload({**parsed, "item": self._forms.restored(item)})]
        if isinstance(response := parsed.get("response"), dict):
            return [chunks.dump_payload({**parsed, "response": self._forms.restored_response(response)})]
        called = self._open.get(place) if isinstance(place, int) else None
        if called is None or called.kind == "function":
            return [payload]
        if called.kind == "custom" and name == "response.function_call_arguments.done":
            text = custom_input(parsed)
            told = {key: value for key, value in parsed.items() if key not in ("arguments", "name")}
            return [
                chunks.dump_payload({**told, "type": "response.custom_tool_call_input.delta", "delta": text}),
                chunks.dump_payload({**told, "type": "response.custom_tool_call_input.done", "input": text}),
            ]
        return []


def restored_body(body: bytes, forms: ToolForms) -> bytes:
    """Return a whole response with the calls in the client's form. What cannot be read stays as it is."""
    try:
        response = chunks.parse_payload(body)
        restored = forms.restored_response(response)
        return body if restored is response else chunks.dump_payload(restored)
    except chunks.MalformedChunk:
        return body


def _named(name: str, payload: Mapping[str, Any]) -> bytes:
    return b"event: %b\n" % name.encode() + event(chunks.dump_payload({"type": name, **payload}))


def _sequence_number(payload: bytes) -> int:
    try:
        number = chunks.parse_payload(payload).get("sequence_number")
    except chunks.MalformedChunk:
        return -1
    return number if isinstance(number, int) else -1


def _as_events(response: Mapping[str, Any]) -> Iterator[bytes]:
    """Yield the events before the last one for a response that upstream sent whole: clients collect its items there."""
    begun = {**response, "status": "in_progress", "output": [], "usage": None}
    yield _named(_CREATED, {"sequence_number": 0, "response": begun})
    number = 1
    output = response.get("output")
    items = [item for item in output if isinstance(item, dict)] if isinstance(output, list) else []
    for index, item in enumerate(items):
        content = item.get("content")
        for name, more in (
            ("response.output_item.added", {"item": {**item, "content": []} if content else item}),
            *_text_deltas(item.get("id"), content),
            ("response.output_item.done", {"item": item}),
        ):
            yield _named(name, {"sequence_number": number, "output_index": index, **more})
            number += 1


def _text_deltas(item_id: Any, content: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    for index, part in enumerate(content if isinstance(content, list) else []):
        if isinstance(part, dict) and part.get("type") == "output_text":
            place = {"item_id": item_id, "content_index": index}
            yield "response.content_part.added", {**place, "part": {**part, "text": ""}}
            yield "response.output_text.delta", {**place, "delta": part.get("text") or "", "logprobs": []}
            yield "response.output_text.done", {**place, "text": part.get("text") or "", "logprobs": []}
            yield "response.content_part.done", {**place, "part": part}
