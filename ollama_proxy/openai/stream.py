"""Passes OpenRouter's streamed completions on to an OpenAI client: bursts of payloads in, bytes of events out.

Only the few payloads that need a change are encoded again; the others are searched for the words that mark such a
payload, and looked at whether they are JSON at all. Pure: knows no sockets and no HTTP (docs/contract.md, "Streams";
https://platform.openai.com/docs/api-reference/chat-streaming).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from operator import is_
from typing import Any

from ollama_proxy.errors import ProxyError
from ollama_proxy.openai.error_form import error_event
from ollama_proxy.openrouter.answers import chunks
from ollama_proxy.openrouter.answers.events import DONE
from ollama_proxy.openrouter.answers.repeats import are_alike_and_sound
from ollama_proxy.openrouter.errors.failure import Failure, FailureKind

#: A comment: it keeps the connection busy, and clients skip it (WHATWG HTML 9.2.6).
KEEP_ALIVE = b": keep-alive\n\n"

#: The bytes between two payloads in a stream of unnamed events.
_BETWEEN = b"\n\ndata: "

#: A payload without any of these is passed on as it is. Quotes inside a JSON string are escaped, so texts never match.
_SPECIAL = (b'"usage"', b'"error"', b'"finish_reason":"', b'"finish_reason": "')


def event(payload: bytes) -> bytes:
    """Return an event without a name."""
    return b"data: " + _one_line(payload) + b"\n\n"


def _one_line(payload: bytes) -> bytes:
    """Return the payload as the `data:` lines of one event (WHATWG HTML 9.2.6: each line of data needs its own)."""
    return payload.replace(b"\n", b"\ndata: ") if b"\n" in payload else payload


def _plain_at_start(burst: Sequence[bytes]) -> tuple[int, bytes]:
    """Return how many payloads at the start of `burst` need no change, and these as they stand in the stream.

    Special ones mostly come at the end. All are searched at once, which is three times as fast as one after the other.
    """
    whole = len(burst) - 1 if burst and burst[-1] == DONE else len(burst)
    block = _BETWEEN.join(burst[:whole])
    if not whole or block.count(b"\n") != 2 * (whole - 1):
        return 0, b""  # some payload has several lines
    found = [at for word in _SPECIAL if (at := block.find(word)) >= 0]
    if not found:
        return whole, block
    plain = block.count(_BETWEEN, 0, min(found))
    return plain, _BETWEEN.join(burst[:plain])


class CompletionStream:
    """The events of /chat/completions and /completions, an `EventStream`.

    OpenRouter sends the usage with a choice that repeats the finish. A client gets each finish once, and the usage only
    if it asked for it: in a chunk of its own, with empty `choices`, before the end.
    """

    satisfied = False

    def __init__(self, *, include_usage: bool) -> None:
        """`include_usage` comes from the client's `stream_options`."""
        self._include_usage = include_usage
        self._finished: set[int] = set()
        self._usage_event = b""
        self._done = False
        self.failure: Failure | None = None
        self.usage: Mapping[str, Any] = {}

    @property
    def whole(self) -> bool:
        return self._done or bool(self._finished)

    def heartbeat(self) -> bytes:
        return KEEP_ALIVE

    def accepted(self, at_ns: int | None) -> None:
        """Nothing is timed."""

    def feed(self, burst: Sequence[bytes]) -> list[bytes]:
        out: list[bytes] = []
        plain, block = _plain_at_start(burst)
        try:
            if plain > 1 and are_alike_and_sound(burst[:plain], block, _BETWEEN):
                out.append(b"data: " + block + b"\n\n")
            else:
                for payload in burst[:plain]:
                    out.append(event(chunks.passable(payload)))  # noqa: PERF401 - what came before a broken one stays
            for payload in burst[plain:]:
                if payload == DONE:
                    out += self.end()
                elif any([word in payload for word in _SPECIAL]):  # noqa: C419 - a list is faster for four
                    out.append(self._special(payload))
                else:
                    out.append(event(chunks.passable(payload)))
                if self.failure is not None:
                    break
        except chunks.MalformedChunk as error:
            if not self._finished:  # else the answer is whole: what nobody can read behind it is left out
                self.failure = Failure(FailureKind.MALFORMED, 200, detail=str(error))
        data = b"".join(out)
        return [data] if data else []

    def end(self) -> list[bytes]:
        if self._done:
            return []
        self._done = True
        return [self._usage_event + event(DONE)]

    def failed(self, error: ProxyError) -> bytes:
        return error_event(error)

    def _special(self, payload: bytes) -> bytes:
        chunk = chunks.parse_payload(payload)
        late_limit = False
        if chunks.error_of(chunk) is not None:
            late_limit = chunks.is_late_limit(chunk, finished=bool(self._finished))
            if not late_limit:
                self.failure = Failure(FailureKind.EVENT, 200, body=chunk)
                return b""
        usage = chunks.usage_of(chunk)
        choices = chunk.get("choices")
        given = choices if isinstance(choices, list) else []
        kept = [self._first_finish(choice) for choice in given]
        if usage is None and not late_limit and all(map(is_, kept, given)):
            return event(chunks.passable(payload))
        rest = {name: value for name, value in chunk.items() if name not in ("usage", "error")}
        if usage is not None:
            self.usage = usage
            if self._include_usage:
                self._usage_event = event(chunks.dump_payload({**rest, "choices": [], "usage": usage}))
        kept = [choice for choice in kept if _carries(choice)]
        return event(chunks.dump_payload({**rest, "choices": kept})) if kept else b""

    def _first_finish(self, choice: Any) -> Any:
        """Return the choice, without its finish reason if that has been passed on before."""
        finish = choice.get("finish_reason") if isinstance(choice, dict) else None
        if not finish:
            return choice
        index = given if isinstance(given := choice.get("index"), int) else 0
        if index in self._finished:
            return {**choice, "finish_reason": None}
        self._finished.add(index)
        return choice


def _carries(choice: Any) -> bool:
    """Return True if the choice holds anything that the client does not know yet."""
    if not isinstance(choice, dict) or choice.get("finish_reason"):
        return True
    delta = choice.get("delta")
    if isinstance(delta, dict) and any(value for name, value in delta.items() if name != "role"):
        return True
    return bool(choice.get("text") or choice.get("logprobs"))
