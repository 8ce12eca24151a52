"""Turns OpenRouter's answer into Ollama's: payloads of an event stream into NDJSON lines, or into one object.

Pure: no sockets, no HTTP; the clocks are passed in. One object serves one attempt. It knows nothing of other attempts,
and does not decide what a failure means (docs/contract.md, "Streams").
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ollama_proxy.errors import ProxyError
from ollama_proxy.ollama.answer.lines import CHAT_LINE, GENERATE_LINE, LineShape, LineWriter, error_line, json_line
from ollama_proxy.ollama.answer.logprobs import logprobs_of
from ollama_proxy.ollama.answer.timings import Stopwatch, timings
from ollama_proxy.ollama.answer.tool_calls import BrokenToolCall, ToolCallAssembler
from ollama_proxy.ollama.answer.whole import Collector
from ollama_proxy.ollama.timestamps import rfc3339
from ollama_proxy.openrouter.answers.chunks import (
    MalformedChunk,
    choice_of,
    delta_of,
    error_of,
    is_late_limit,
    parse_payload,
    reasoning_of,
    usage_of,
)
from ollama_proxy.openrouter.answers.events import DONE
from ollama_proxy.openrouter.answers.repeats import RepeatedDelta
from ollama_proxy.openrouter.errors.failure import Failure, FailureKind

_OTHER_PARTS = ("reasoning", "reasoning_details", "refusal", "images", "tool_calls")
_LIMIT_REASONS = frozenset({"length", "max_output_tokens", "max_tokens"})
_CUT_OFF = "upstream error: the model's tool call was cut off by the token limit; allow more tokens (num_predict)"


#: Bytes of the events of an answer that must be held in memory: one that is not streamed, or a tool call. As many as
#: of an answer that comes as one body; a hundred thousand tokens take some 30 MB.
MOST_HELD_BYTES = 64 * 1024 * 1024


class OllamaAnswer:
    """One answer, while it comes in.

    `feed` takes the payloads of one burst and returns the writes for it; `end` ends the answer. `failure` is set
    when the upstream sent an error, ended early, or a tool call cannot be used: then no last line was made, and it is
    for the caller to try another model or to send `failed`. With `collect` no lines are made and `body` gives the
    object.

    `hide_thinking` is for `think: false` with a model whose thinking cannot be switched off. `started_ns` is a reading
    of `monotonic`. `prompt_tokens` is an estimate, used if upstream sends no usage.
    """

    satisfied = False
    _shape: LineShape

    def __init__(
        self,
        model: str,
        *,
        started_ns: int,
        tool_names: Mapping[str, str] = {},
        want_logprobs: bool = False,
        hide_thinking: bool = False,
        collect: bool = False,
        prompt_tokens: int = 0,
        clock: Callable[[], int] = time.time_ns,
        monotonic: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self.failure: Failure | None = None
        self.has_output = False
        self.finish_reason: str | None = None
        self.usage: Mapping[str, Any] = {}
        self._model = model
        self._want_logprobs = want_logprobs
        self._hide_thinking = hide_thinking
        self._prompt_tokens = prompt_tokens
        self._clock = clock
        self._stopwatch = Stopwatch(started_ns, monotonic)
        self._calls = ToolCallAssembler(tool_names)
        self._collector = Collector() if collect else None
        self._out: Collector | LineWriter = self._collector or LineWriter(self._shape, model, clock)
        self._native_finish: str | None = None
        self._done = False  # True after [DONE]
        self._closing: dict[str, Any] | None = None
        self._deltas = 0
        self._held = 0
        self._repeats = RepeatedDelta()

    def accepted(self, at: int | None = None) -> None:
        """Note the time at which upstream accepted the request. Without this call the first payloads set the time."""
        self._stopwatch.accepted(at)

    def feed(self, payloads: Sequence[bytes]) -> list[bytes]:
        """Return the writes for the payloads of one burst: whole lines, at most 1300 bytes unless one line is longer.

        Payloads after a failure or `[DONE]` are ignored; lines made before the failure are returned.
        """
        self._stopwatch.accepted()
        out, repeated = self._out, self._repeats.content_of
        out.begin()
        for payload in payloads:
            if self._done or self.failure is not None:
                break
            if (literal := repeated(payload)) is not None:
                out.plain_content(literal)
                self._deltas += 1
                continue
            if payload == DONE:
                self._done = True
                break
            try:
                chunk = parse_payload(payload)
            except MalformedChunk as error:
                if self.finish_reason is None:
                    self.failure = Failure(FailureKind.MALFORMED, 200, detail=str(error))
                break
            if self._take(chunk) and (content := self._only_content(chunk)):
                self._repeats.learn(payload, content)
        if self._collector is not None or self._calls:
            self._held += sum(map(len, payloads))
            if self._held > MOST_HELD_BYTES and self.failure is None:
                self.failure = Failure(FailureKind.MALFORMED, 200, detail="the answer is too long")
        return out.take()

    def heartbeat(self) -> bytes:
        """Return a line with empty content, which tells the client that the request is still alive."""
        self._out.begin()
        self._out.empty()
        return b"".join(self._out.take())

    @property
    def whole(self) -> bool:
        """Whether the answer has said how it ended."""
        return self._done or self.finish_reason is not None

    def end(self) -> list[bytes]:
        """Returns the last writes: what was held back, the tool calls and exactly one `done: true` line.

        If the stream ended early or a tool call cannot be used, `failure` is set and that line is not made. A second
        call returns nothing.
        """
        if self.failure is not None or self._closing is not None:
            return []
        if self.finish_reason is None and not self._done:
            self.failure = Failure(FailureKind.EARLY_CLOSE, 200, detail="the stream ended without a finish reason")
            return []
        self._out.begin()
        self._out.end_texts()
        try:
            for call in self._calls.rest():
                self._out.tool_call(call)
        except BrokenToolCall as error:
            self.failure = self._tool_call_failure(error)
            return self._out.take()
        self._closing = self._last_line()
        self._out.last(self._closing)
        return self._out.take()

    def failed(self, error: ProxyError) -> bytes:
        """Returns the line that ends an answer which failed after it began."""
        return error_line(error.message)

    def body(self) -> bytes:
        """Returns the whole answer as one JSON object; needs `collect=True` and an `end` without failure."""
        if self._collector is None or self._closing is None:
            raise RuntimeError("body() needs collect=True and an end() without failure")
        return json_line(self._collected(self._collector, self._closing))

    def _take(self, chunk: Mapping[str, Any]) -> bool:
        """Read one chunk: error, usage, delta and finish reason, each of which may be missing.

        Returns True if the delta held something useful.
        """
        choice = choice_of(chunk)
        finish = choice.get("finish_reason") if choice else None
        if (chunk.get("error") or finish == "error" or (choice and choice.get("error"))) and self._has_failed(chunk):
            return False
        usage = usage_of(chunk)
        if usage is not None:
            self.usage = usage
        if choice is None:
            return False
        useful = self._take_delta(delta_of(choice), choice)
        if self.finish_reason is None and isinstance(finish, str) and finish:
            self.finish_reason = finish
            native = choice.get("native_finish_reason")
            self._native_finish = native.lower() if isinstance(native, str) else None
        return useful

    def _only_content(self, chunk: Mapping[str, Any]) -> str:
        """Return the text of a chunk that holds nothing else of interest, else ""."""
        choices = chunk["choices"]
        if len(choices) != 1 or self._want_logprobs or chunk.get("usage") or chunk.get("error"):
            return ""
        choice = choices[0]
        delta = delta_of(choice)
        if choice.get("finish_reason") or choice.get("error") or any(delta.get(part) for part in _OTHER_PARTS):
            return ""
        content = delta.get("content")
        return content if isinstance(content, str) else ""

    def _has_failed(self, chunk: Mapping[str, Any]) -> bool:
        if error_of(chunk) is None:
            return False
        if is_late_limit(chunk, self.finish_reason is not None):
            self.finish_reason = "length"
            return False
        self.failure = Failure(FailureKind.EVENT, 200, body=chunk)
        return True

    def _take_delta(self, delta: Mapping[str, Any], choice: Mapping[str, Any]) -> bool:
        out, useful = self._out, False
        reasoning = delta.get("reasoning")
        if reasoning or delta.get("reasoning_details"):
            thinking = reasoning_of(delta)
            if thinking:
                if not self._hide_thinking:
                    out.thinking(thinking)
                useful = True
        logprobs = logprobs_of(choice) if self._want_logprobs else None
        content, refusal = delta.get("content"), delta.get("refusal")
        text = content if isinstance(content, str) else ""
        if refusal and isinstance(refusal, str):
            text += refusal
        if text or logprobs:
            out.content(text, logprobs)
            useful = useful or bool(text)
        if delta.get("images"):
            for image in _images(delta["images"]):
                out.image(image)
                useful = True
        if delta.get("tool_calls"):
            self._calls.add(delta["tool_calls"])
            for call in self._calls.finished():
                out.tool_call(call)
            useful = useful or bool(self._calls)
        if useful:
            self._deltas += 1
            if not self.has_output:
                self.has_output = True
                self._stopwatch.first_token()
        return useful

    def _tool_call_failure(self, error: BrokenToolCall) -> Failure:
        """Return a failure of the request if the token limit cut the call off, else one of the model.

        In the first case it is a refusal with status 400: no model is at fault, and asking another one with the same
        limit would only spend more tokens.
        """
        if _LIMIT_REASONS.isdisjoint({self.finish_reason, self._native_finish}):
            return Failure(FailureKind.MALFORMED, 200, detail=str(error))
        return Failure(FailureKind.STATUS, 400, body={"error": {"code": 400, "message": _CUT_OFF}})

    def _ending(self) -> dict[str, Any]:
        return {"done": True, "done_reason": "length" if self.finish_reason == "length" else "stop"}

    def _metrics(self) -> dict[str, int]:
        return timings(
            self._stopwatch.durations(),
            self.usage,
            prompt_estimate=self._prompt_tokens,
            answer_estimate=self._deltas,
        )

    def _last_line(self) -> dict[str, Any]:
        raise NotImplementedError

    def _collected(self, collector: Collector, closing: Mapping[str, Any]) -> dict[str, Any]:
        raise NotImplementedError


class ChatAnswer(OllamaAnswer):
    """The answer of /api/chat."""

    _shape = CHAT_LINE

    def _last_line(self) -> dict[str, Any]:
        return _empty_chat(self._model, self._clock()) | self._ending() | self._metrics()

    def _collected(self, collector: Collector, closing: Mapping[str, Any]) -> dict[str, Any]:
        return collector.chat(closing)


class GenerateAnswer(OllamaAnswer):
    """The answer of /api/generate; with `raw` its last line has no `context`, as in Ollama."""

    _shape = GENERATE_LINE

    def __init__(self, model: str, *, raw: bool = False, **options: Any) -> None:
        super().__init__(model, **options)
        self._context: dict[str, Any] = {} if raw else {"context": []}

    def _last_line(self) -> dict[str, Any]:
        return _empty_generate(self._model, self._clock()) | self._ending() | self._context | self._metrics()

    def _collected(self, collector: Collector, closing: Mapping[str, Any]) -> dict[str, Any]:
        return collector.generate(closing)


def load_reply(model: str, *, generate: bool = False, now_ns: int | None = None) -> dict[str, Any]:
    """Return the whole answer to a request that only loads a model: one without messages, or without a prompt."""
    return _idle_reply(model, "load", generate, now_ns)


def unload_reply(model: str, *, generate: bool = False, now_ns: int | None = None) -> dict[str, Any]:
    """Return the whole answer to a request that only unloads a model: as for loading, but with `keep_alive` 0."""
    return _idle_reply(model, "unload", generate, now_ns)


def rendered_reply(model: str, body: Mapping[str, Any], *, generate: bool = False) -> dict[str, Any]:
    """Return the answer to `_debug_render_only`: the body that OpenRouter would get, as there is no template here."""
    now_ns = time.time_ns()
    reply = _empty_generate(model, now_ns) if generate else _empty_chat(model, now_ns)
    if not generate:
        reply["message"] = {"role": "", "content": ""}
    return {**reply, "done": False, "_debug_info": {"rendered_template": json_line(body).decode()}}


def _idle_reply(model: str, reason: str, generate: bool, now_ns: int | None) -> dict[str, Any]:
    now_ns = time.time_ns() if now_ns is None else now_ns
    reply = _empty_generate(model, now_ns) if generate else _empty_chat(model, now_ns)
    return {**reply, "done": True, "done_reason": reason}


def _empty_chat(model: str, now_ns: int) -> dict[str, Any]:
    return {"model": model, "created_at": rfc3339(now_ns), "message": {"role": "assistant", "content": ""}}


def _empty_generate(model: str, now_ns: int) -> dict[str, Any]:
    return {"model": model, "created_at": rfc3339(now_ns), "response": ""}


def _images(items: Any) -> list[str]:
    """Return the images of a delta in base64, as Ollama sends them. Only data URLs count; their prefix is removed."""
    images = []
    for item in items if isinstance(items, list) else []:
        link = item.get("image_url") if isinstance(item, dict) else None
        url = link.get("url") if isinstance(link, dict) else link
        if isinstance(url, str) and url.startswith("data:"):
            head, _, data = url.partition(",")
            if head.endswith(";base64") and data:
                images.append(data)
    return images
