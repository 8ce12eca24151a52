"""OpenRouter's embeddings in, Ollama's reply out. Pure: one body comes, one object goes."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ollama_proxy.ollama.answer.lines import json_line
from ollama_proxy.openrouter.answers.chunks import MalformedChunk, count_of, parse_payload, usage_of
from ollama_proxy.openrouter.answers.vectors import MalformedVectors, vectors_of
from ollama_proxy.openrouter.errors.failure import Failure, FailureKind

Reply = Callable[[list[list[float]], Mapping[str, int]], dict[str, Any]]


class EmbedAnswer:
    """Reads the answer to an embedding request. `reply` makes the object from the vectors and the metrics."""

    satisfied = False

    def __init__(self, reply: Reply, *, count: int, started_ns: int) -> None:
        """`count` vectors are expected. `started_ns` is a reading of the monotonic clock."""
        self._reply = reply
        self._count = count
        self._started_ns = started_ns
        self._vectors: list[list[float]] = []
        self.failure: Failure | None = None
        self.usage: Mapping[str, Any] = {}

    @property
    def whole(self) -> bool:
        """Whether the vectors have come."""
        return bool(self._vectors)

    def accepted(self, at_ns: int | None) -> None:
        """Nothing is timed but the whole."""

    def feed(self, burst: Sequence[bytes]) -> list[bytes]:
        """Takes the body. Sets `failure` if it does not hold one vector for each text."""
        try:
            body = parse_payload(burst[0])
            self._vectors = vectors_of(body, self._count)
        except (MalformedChunk, MalformedVectors) as error:
            self.failure = Failure(FailureKind.MALFORMED, 200, detail=str(error))
            return []
        self.usage = usage_of(body) or {}
        return []

    def end(self) -> list[bytes]:
        """Makes no writes."""
        return []

    def body(self) -> bytes:
        """The reply as one JSON object."""
        return json_line(self._reply(self._vectors, self._metrics()))

    def _metrics(self) -> dict[str, int]:
        tokens = count_of(self.usage, "prompt_tokens")
        counted = {"prompt_eval_count": tokens} if tokens else {}
        return {"total_duration": max(time.monotonic_ns() - self._started_ns, 1), "load_duration": 1, **counted}
