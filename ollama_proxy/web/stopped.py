"""Readers whose answer is cut at stop strings. They know no API: a `StopForm` knows the payloads.

Requests without stop strings never come here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ollama_proxy.errors import ProxyError
from ollama_proxy.openrouter.answers.chunks import MalformedChunk, dump_payload, parse_payload
from ollama_proxy.openrouter.answers.stop_cutter import StopCutter, StopForm
from ollama_proxy.openrouter.answers.stop_finder import StopFinder
from ollama_proxy.openrouter.errors.failure import Failure


class StoppedReader:
    """A reader of a stream behind a cutter: it gets no payload that lies behind a stop string."""

    def __init__(self, reader: Any, form: StopForm, stops: Sequence[str], prompt_tokens: int, echoed: str = "") -> None:
        """`reader` is a `web.pump.StreamReader`, or a `WholeReader` of a stream. The rest as for `StopCutter`."""
        self._reader = reader
        self._cutter = StopCutter(form, stops, prompt_tokens, echoed)

    @property
    def failure(self) -> Failure | None:
        failure: Failure | None = self._reader.failure
        return failure

    @property
    def whole(self) -> bool:
        return bool(self._reader.whole)

    @property
    def satisfied(self) -> bool:
        return self._cutter.stopped

    @property
    def usage(self) -> Mapping[str, Any]:
        usage: Mapping[str, Any] = self._reader.usage
        return usage

    def accepted(self, at_ns: int | None) -> None:
        self._reader.accepted(at_ns)

    def feed(self, burst: Sequence[bytes]) -> list[bytes]:
        payloads = self._cutter.feed(burst)
        return list(self._reader.feed(payloads)) if payloads else []

    def end(self) -> list[bytes]:
        held = self._cutter.rest()
        return [*(self._reader.feed(held) if held else []), *self._reader.end()]

    def heartbeat(self) -> bytes:
        return bytes(self._reader.heartbeat())

    def failed(self, error: ProxyError) -> bytes:
        return bytes(self._reader.failed(error))

    def body(self) -> bytes:
        return bytes(self._reader.body())


def cut_body(body: bytes, form: StopForm, stops: Sequence[str], echoed: str = "") -> bytes:
    """Return a whole answer without what follows the first stop string. What cannot be read stays as it is.

    `echoed` is the prompt, where the answer begins with it.
    """
    try:
        cut = form.cut_whole(parse_payload(body), StopFinder(stops, echoed))
        return body if cut is None else dump_payload(cut)
    except MalformedChunk:
        return body
