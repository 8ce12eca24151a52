"""Turns event payloads of OpenRouter's `/messages` into the event stream of a Messages client.

Bytes in, bytes out, no sockets. Payloads are passed on as they are; their `type` becomes the name in the `event:` line;
the events of a burst go out in one piece. Form: https://docs.anthropic.com/en/docs/build-with-claude/streaming. Errors,
early ends and whole messages: docs/contract.md, "Streams".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ollama_proxy.anthropic.error_form import error_event
from ollama_proxy.errors import ProxyError, UpstreamFailed
from ollama_proxy.openrouter.answers.chunks import MalformedChunk, dump_payload, parse_payload, passable
from ollama_proxy.openrouter.answers.events import DONE
from ollama_proxy.openrouter.answers.messages_dialect import kind_of, stop_reason_of, usage_of
from ollama_proxy.openrouter.errors.failure import Failure, FailureKind

PING = b'event: ping\ndata: {"type": "ping"}\n\n'

_STOP = b'event: message_stop\ndata: {"type":"message_stop"}\n\n'

#: Blocks whose text comes in deltas: the delta's type, and the key of the text in both block and delta.
_SPOKEN = {"text": ("text_delta", "text"), "thinking": ("thinking_delta", "thinking")}


class MessageStream:
    """One streamed answer, an `EventStream`. `failure` is set if upstream ended it with an error; then nothing is
    written.
    """

    satisfied = False

    def __init__(self) -> None:
        self.failure: Failure | None = None
        #: The token counts known so far, under their upstream names.
        self.usage: Mapping[str, Any] = {}
        self._stop_reason: str | None = None
        self._stopped = False

    @property
    def whole(self) -> bool:
        """True once the message has said how it ended: the client has all of it, so a later failure does not matter."""
        return self._stopped or self._stop_reason is not None

    def heartbeat(self) -> bytes:
        """The event that breaks a silence."""
        return PING

    def accepted(self, at_ns: int | None) -> None:
        """Nothing is timed."""

    def feed(self, burst: Sequence[bytes]) -> list[bytes]:
        """What goes to the client for the payloads that one read brought."""
        written = []
        for payload in burst:
            if self._stopped or self.failure is not None or payload == DONE:
                break
            try:
                written.append(self._event(payload))
            except MalformedChunk as error:
                self.failure = Failure(FailureKind.MALFORMED, 200, detail=str(error))
        data = b"".join(written)
        return [data] if data else []

    def end(self) -> list[bytes]:
        """The last event of a whole message; nothing if it has been passed on already."""
        if self._stopped:
            return []
        self._stopped = True
        return [_STOP]

    def failed(self, error: ProxyError) -> bytes:
        """Return the event for which SDKs raise an error."""
        return error_event(error)

    def _event(self, payload: bytes) -> bytes:
        """The event for one payload. Raises MalformedChunk."""
        payload = passable(payload)
        kind = kind_of(payload)
        match kind:
            case "message_start" | "message_delta":
                self._note(parse_payload(payload))
            case "message_stop":
                self._stopped = True
            case "message":
                return self._told(parse_payload(payload))
            case "error" | "":
                return self._failed(parse_payload(payload))
        return _framed(kind, payload)

    def _note(self, payload: Mapping[str, Any]) -> None:
        known = {name: count for name, count in usage_of(payload).items() if count is not None}
        self.usage = {**self.usage, **known}
        if payload.get("type") == "message_delta":
            self._stop_reason = stop_reason_of(payload) or self._stop_reason

    def _failed(self, payload: Mapping[str, Any]) -> bytes:
        """Note an error. A payload without a type is dropped, because no client could read it."""
        if not payload.get("error") and payload.get("type") != "error":
            return b""
        if self.whole:
            # The message was complete: some providers report a reached token limit once more, as an error.
            return b"".join(self.end())
        self.failure = Failure(FailureKind.EVENT, 200, body=payload)
        return b""

    def _told(self, message: Mapping[str, Any]) -> bytes:
        self._stopped = True
        self.usage = usage_of(message)
        return b"".join(_framed(event["type"], dump_payload(event)) for event in events_of(message))


def _framed(kind: str, payload: bytes) -> bytes:
    if b"\n" in payload:
        payload = payload.replace(b"\n", b"\ndata: ")
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), payload)


def with_content(body: bytes) -> bytes:
    """Return a whole message unchanged, but with a list as `content` if it has none: SDKs iterate over it.

    Raises UpstreamFailed for a body that cannot be read.
    """
    try:
        message = parse_payload(body)
        return body if isinstance(message.get("content"), list) else dump_payload({**message, "content": []})
    except MalformedChunk as error:
        raise UpstreamFailed(f"upstream error: the answer could not be read ({error})") from error


def events_of(message: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the events of a whole message, because upstream may answer a streamed call with one."""
    usage = usage_of(message)
    started = {**message, "content": [], "stop_reason": None, "stop_sequence": None}
    yield {"type": "message_start", "message": {**started, "usage": {**usage, "output_tokens": 0}}}
    content = message.get("content")
    blocks = [block for block in content if isinstance(block, dict)] if isinstance(content, list) else []
    for index, block in enumerate(blocks):
        begun, deltas = _begun(block)
        yield {"type": "content_block_start", "index": index, "content_block": begun}
        for delta in deltas:
            yield {"type": "content_block_delta", "index": index, "delta": delta}
        yield {"type": "content_block_stop", "index": index}
    end = {"stop_reason": message.get("stop_reason"), "stop_sequence": message.get("stop_sequence")}
    yield {"type": "message_delta", "delta": end, "usage": usage}
    yield {"type": "message_stop"}


def _begun(block: dict[str, Any]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return a block as it begins and the deltas that complete it. A block of a type without deltas comes whole."""
    kind = block.get("type")
    if isinstance(kind, str) and kind in _SPOKEN:
        delta, key = _SPOKEN[kind]
        begun = {**block, key: ""}
        deltas: list[dict[str, Any]] = [{"type": delta, key: block.get(key) or ""}]
        if kind == "thinking":
            begun["signature"] = ""
        if block.get("signature"):
            deltas.append({"type": "signature_delta", "signature": block["signature"]})
        if isinstance(citations := block.get("citations"), list) and citations:
            begun["citations"] = []
            deltas += [{"type": "citations_delta", "citation": citation} for citation in citations]
        return begun, deltas
    if "input" in block:
        text = dump_payload(block["input"]).decode()
        return {**block, "input": {}}, [{"type": "input_json_delta", "partial_json": text}]
    return block, []
