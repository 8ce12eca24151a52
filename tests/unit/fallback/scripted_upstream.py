"""A client of OpenRouter whose answers are scripted, and a clock that passes only while somebody waits: no sockets."""

from __future__ import annotations

import itertools
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ollama_proxy.catalog.snapshot import Catalog
from ollama_proxy.config import Settings
from ollama_proxy.fallback.backend import Backend
from ollama_proxy.fallback.choosing import Chooser
from ollama_proxy.fallback.conversations import Conversations
from ollama_proxy.fallback.free_requests import FreeRequestCount
from ollama_proxy.fallback.measurements import Measurements
from ollama_proxy.fallback.memory import FailureMemory
from ollama_proxy.openrouter.errors.failure import Failure, FailureKind
from ollama_proxy.openrouter.http.answer_body import BodyBroken
from ollama_proxy.openrouter.http.client import UpstreamAnswer, UpstreamError

EPOCH = 1_800_000_000.0


class FakeTime:
    """Stands in for the module `time`. `now` is seconds since the test began."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def monotonic_ns(self) -> int:
        return int(self.now * 1e9)

    def time(self) -> float:
        return EPOCH + self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def event(payload: Any) -> bytes:
    """One event of a stream."""
    return b"data: " + (payload if isinstance(payload, bytes) else json.dumps(payload).encode()) + b"\n\n"


def delta(text: str) -> bytes:
    """An event with content."""
    return event({"choices": [{"index": 0, "delta": {"content": text}}]})


COMMENT = b": OPENROUTER PROCESSING\n\n"
ROLE = event({"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]})
DONE = event(b"[DONE]")


def finish(reason: str = "stop", tokens: int = 3) -> bytes:
    """The event with the finish reason and the usage."""
    return event({"choices": [{"delta": {}, "finish_reason": reason}], "usage": {"completion_tokens": tokens}})


@dataclass(frozen=True)
class Reply:
    """One answer: the headers come after `headers_after` seconds, then the parts, each after its own seconds."""

    parts: Iterable[tuple[float, bytes]] = ()
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=lambda: {"Content-Type": "text/event-stream"})
    headers_after: float = 0.0
    breaks: bool = False
    failure: Failure | None = None


def good(text: str = "hello", *, after: float = 0.0) -> Reply:
    """A good stream."""
    return Reply([(0, COMMENT), (after, ROLE + delta(text)), (0, finish() + DONE)])


def refusal(status: int, message: str = "no", *, headers: Mapping[str, str] | None = None, **metadata: Any) -> Reply:
    """An error answer as OpenRouter sends it."""
    body = {"error": {"code": status, "message": message, "metadata": metadata}}
    return Reply([(0, json.dumps(body).encode())], status, {"Content-Type": "application/json", **(headers or {})})


def whole(body: Any) -> Reply:
    """A JSON body with status 200."""
    return Reply([(0, b"   "), (0, json.dumps(body).encode())], headers={"Content-Type": "application/json"})


def unreachable(detail: str = "the connection was refused", *, sent: bool = False) -> Reply:
    """No answer at all, before or after the request was handed over."""
    return Reply(failure=Failure(FailureKind.NETWORK, detail=detail, sent=sent))


def only_comments(every: float = 1.0) -> Reply:
    """An answer that never begins."""
    return Reply((every, COMMENT) for _ in itertools.count())


class ScriptedBody:
    """`Body` of a Reply."""

    def __init__(self, reply: Reply, clock: FakeTime) -> None:
        self._parts: Iterator[tuple[float, bytes]] = iter(reply.parts)
        self._breaks = reply.breaks
        self._clock = clock
        self._due = clock.now
        self._next: bytes | None = None
        self.ended = False
        self.closed = False

    def read(self, timeout: float) -> bytes | None:
        assert not self.closed
        if self._next is None:
            after, self._next = next(self._parts, (0.0, b""))
            self._due = self._clock.now + after
        if self._due > self._clock.now + timeout:
            self._clock.now += timeout
            return None
        self._clock.now = max(self._clock.now, self._due)
        data, self._next = self._next, None
        if not data:
            self.ended = True
            if self._breaks:
                raise BodyBroken("broken")
        return data

    def close(self) -> None:
        self.closed = True


class ScriptedCall:
    """What `Backend.start` returns."""

    def __init__(self, reply: Reply, clock: FakeTime) -> None:
        self._reply = reply
        self._clock = clock
        self._due = clock.now + reply.headers_after
        self.body = ScriptedBody(reply, clock)
        self.cancelled = False

    def wait(self, timeout: float) -> bool:
        self._clock.now = min(self._clock.now + timeout, max(self._due, self._clock.now))
        return self._clock.now >= self._due

    def result(self) -> UpstreamAnswer:
        if self._reply.failure is not None:
            raise UpstreamError(self._reply.failure)
        return UpstreamAnswer(self._reply.status, self._reply.headers, self.body)

    def cancel(self) -> None:
        self.cancelled = True

    @property
    def is_closed(self) -> bool:
        """Nothing of it is open any more."""
        return self.body.closed or self.cancelled or self._reply.failure is not None


class Upstream:
    """`Backend.start`: gives each model its replies in order; without one left the reply is good."""

    def __init__(self, clock: FakeTime) -> None:
        self._clock = clock
        self.replies: defaultdict[str, list[Reply]] = defaultdict(list)
        self.asked: list[dict[str, Any]] = []
        self.asked_at: list[float] = []
        self.calls: list[ScriptedCall] = []

    def start(self, path: str, body: bytes, headers: Mapping[str, str]) -> ScriptedCall:
        asked = json.loads(body)
        self.asked.append(asked)
        self.asked_at.append(self._clock.now)
        replies = self.replies[asked["model"]]
        call = ScriptedCall(replies.pop(0) if replies else good(asked["model"]), self._clock)
        self.calls.append(call)
        return call

    @property
    def models(self) -> list[str]:
        """The models asked, in order."""
        return [asked["model"] for asked in self.asked]


class Keeper:
    """The catalogue's keeper, as far as an exchange knows it."""

    last_error = None
    has_failed = False

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self.forgotten: list[str] = []
        self.refreshes = 0

    def current(self) -> Catalog:
        return self._catalog

    def forget(self, model_id: str) -> None:
        self.forgotten.append(model_id)

    def request_refresh(self) -> None:
        self.refreshes += 1


class World:
    """Everything that an exchange works with."""

    def __init__(self, catalog: Catalog, **settings: Any) -> None:
        self.clock = FakeTime()
        given: dict[str, Any] = {"heartbeat_seconds": 10, "first_token_timeout_seconds": 30, "max_attempts": 5}
        self.settings = Settings(**(given | settings))
        self.upstream = Upstream(self.clock)
        self.keeper = Keeper(catalog)
        self.memory = FailureMemory(self.settings, clock=self.clock.time)
        self.measured = Measurements(self.settings.slow_first_token_seconds, clock=self.clock.time)
        self.conversations = Conversations(self.settings.sticky_minutes, "a secret")
        self.chooser = Chooser(self.settings, self.measured, self.conversations)
        self.observed: list[tuple[str, str]] = []
        self.backend = Backend(
            settings=self.settings,
            client=None,  # type: ignore[arg-type]
            start=self.upstream.start,  # type: ignore[arg-type]
            keeper=self.keeper,  # type: ignore[arg-type]
            memory=self.memory,
            free_requests=FreeRequestCount(self.settings.free_requests_per_minute, clock=self.clock.monotonic),
            clock=self.clock,
            chooser=self.chooser,
            observe_failure=lambda model, verdict: self.observed.append((model, verdict.reason)),
        )
