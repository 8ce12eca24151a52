"""One call to one model: until the first useful delta nothing of it is passed on, after it everything is.

An attempt is a generator. It yields BEAT whenever the client has heard nothing for a heartbeat's time, and bursts
(lists of event payloads) from the first useful delta on. A failure before that delta raises AttemptFailed, and the next
model can be tried unseen; after it StreamBroken, and the client must be told (docs/contract.md, "Requests").
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from ollama_proxy.background import Background
from ollama_proxy.fallback.clock import Clock
from ollama_proxy.openrouter.answers.chunks import MalformedChunk, dump_payload, parse_passable
from ollama_proxy.openrouter.answers.dialect import Dialect
from ollama_proxy.openrouter.answers.events import DONE, EventDecoder, EventTooLarge
from ollama_proxy.openrouter.errors.failure import Failure, FailureKind
from ollama_proxy.openrouter.http.answer_body import BodyBroken
from ollama_proxy.openrouter.http.client import LONGEST_ANSWER, LONGEST_ERROR, UpstreamAnswer, UpstreamError
from ollama_proxy.openrouter.http.fair_reads import give_turn

#: Seconds for the body of an error answer, whose headers are there already.
ERROR_BODY_TIMEOUT = 10.0

#: Seconds; a time-out of 0 would mean not to wait for the socket at all.
SHORTEST_WAIT = 0.001

#: An attempt that has not begun to answer after so many seconds is slow, and the log says so while it goes on.
SLOW_SECONDS = 10.0

#: Seconds for the connection's last bytes behind `[DONE]`: with them it can be used again.
TRAILER_TIMEOUT = 0.5

#: Bytes that may come behind the end of a stream: a connection that brings more is closed.
LONGEST_TRAILER = 64 * 1024

#: Events, and bytes with comments and all, before the first useful delta. They are held in memory; a model that thinks
#: unseen for ten thousand tokens stays far below.
MOST_HELD = 20_000
MOST_HELD_BYTES = 8 * 1024 * 1024

#: Characters of an answer's id; OpenRouter's have 35.
LONGEST_ID = 200

#: Events in one burst. A read brings up to some hundreds; of very small ones it may bring thousands, which would keep
#: others waiting while they are translated.
LONGEST_BURST = 512


class Beat:
    """Nothing came for a heartbeat's time: tell the client that the request is alive."""


BEAT: Final = Beat()

Burst = list[bytes]
"""The payloads of the events that one read brought, `LONGEST_BURST` at most; `[DONE]` comes last, if it came."""


class AttemptFailed(Exception):
    """The attempt failed before anything of it was passed on."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(str(failure.kind))
        self.failure = failure


class StreamBroken(Exception):
    """The stream failed after parts of it were passed on."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(str(failure.kind))
        self.failure = failure


@dataclass(frozen=True, slots=True)
class Patience:
    """How long an attempt waits, in seconds. `first_token` and `whole` count from its start."""

    first_token: float
    silence: float
    whole: float


class Pulse:
    """When the client last heard something; shared by the attempts of a request."""

    def __init__(self, interval: float, clock: Clock) -> None:
        self._interval = interval
        self._now = clock.monotonic
        self._heard = self._heard_before = self._now()

    def left(self) -> float:
        """Seconds until the client must hear something; 0 or less: now."""
        return self._heard + self._interval - self._now()

    def beat(self) -> Beat:
        """The client hears something now."""
        self._heard_before, self._heard = self._heard, self._now()
        return BEAT

    def missed(self) -> None:
        """Take the last `beat` back: nothing was written to the client for it."""
        self._heard = self._heard_before


class Attempt:
    """A call that has been started. Iterate it once; `close` it whatever happens."""

    def __init__(
        self,
        call: Background[UpstreamAnswer],
        *,
        streamed: bool,
        patience: Patience,
        pulse: Pulse,
        dialect: Dialect,
        on_slow: Callable[[float], None],
        clock: Clock,
    ) -> None:
        """`on_slow` is called once, with the seconds so far, if nothing useful has come after `SLOW_SECONDS`."""
        self._call = call
        self._clock = clock
        self._now = clock.monotonic
        self._streamed = streamed
        self._patience = patience
        self._pulse = pulse
        self._dialect = dialect
        #: When it began, on the monotonic clock in seconds.
        self.began = self._last_byte = self._now()
        self._deadline = self.began + (patience.first_token if streamed else patience.whole)
        self._on_slow = on_slow
        self._slow_at = self.began + SLOW_SECONDS
        self._answer: UpstreamAnswer | None = None
        #: When the answer's headers were there, on the monotonic clock in nanoseconds.
        self.accepted_ns: int | None = None
        #: The answer has said that it is complete.
        self.complete = False
        #: What it said of its use before its first useful delta: {} if nothing, which is usual for one that succeeds.
        self.usage: Mapping[str, Any] = {}

    @property
    def generation(self) -> str:
        """OpenRouter's id of the answer; "" before it is known. Its cost can be asked for by this id later."""
        named = self._answer.headers.get("X-Generation-Id", "") if self._answer is not None else ""
        return named if len(named) <= LONGEST_ID else ""

    @property
    def status(self) -> int | None:
        """Upstream's HTTP status; None before its headers are there."""
        return None if self._answer is None else self._answer.status

    def close(self) -> None:
        """End the call: its connection goes back to the pool if the answer was read to its end, else is closed."""
        if self._answer is not None:
            self._answer.close()
        else:
            self._call.cancel()

    def __iter__(self) -> Iterator[Beat | Burst]:
        answer = self._answer = yield from self._headers()
        self.accepted_ns = self._clock.monotonic_ns()
        if answer.status != 200:
            raise AttemptFailed((yield from self._error_answer(answer)))
        if self._streamed and answer.is_stream:
            yield from self._stream(answer)
        elif answer.is_json:
            yield from self._whole(answer)
        else:
            raise AttemptFailed(Failure(FailureKind.MALFORMED, 200, answer.headers, detail="neither JSON nor a stream"))

    def _headers(self) -> Generator[Beat, None, UpstreamAnswer]:
        while not self._call.wait(self._slice()):
            yield from self._still_waiting()
        try:
            return self._call.result()
        except UpstreamError as error:
            raise AttemptFailed(error.failure) from error

    # Waiting for the first useful delta

    def _slice(self) -> float:
        """How long the next wait may last: until a heartbeat is due, the attempt is slow, or the patience ends."""
        until = min(self._deadline, self._slow_at) - self._now()
        return max(min(self._pulse.left(), until, self._silence_left()), SHORTEST_WAIT)

    def _silence_left(self) -> float:
        return self._last_byte + self._patience.silence - self._now()

    def _still_waiting(self) -> Iterator[Beat]:
        """A beat if one is due. Raises AttemptFailed when the patience has ended."""
        now = self._now()
        if now >= self._slow_at:
            self._slow_at = float("inf")
            self._on_slow(now - self.began)
        if now >= self._deadline:
            if self._streamed:
                raise AttemptFailed(Failure(FailureKind.FIRST_TOKEN_TIMEOUT, detail="no first token in time"))
            raise AttemptFailed(Failure(FailureKind.TOTAL_TIMEOUT, detail="no whole answer in time"))
        if self._silence_left() <= 0:
            raise AttemptFailed(Failure(FailureKind.READ_TIMEOUT, detail="nothing came for too long"))
        if self._pulse.left() <= 0:
            yield self._pulse.beat()

    def _next(self, answer: UpstreamAnswer) -> Generator[Beat, None, bytes]:
        """The next bytes of the body, b"" at its end. Comments and padding keep the bytes coming: the clock runs on."""
        while True:
            yield from self._still_waiting()
            if (data := self._read(answer, self._slice())) is not None:
                return data

    def _read(self, answer: UpstreamAnswer, timeout: float) -> bytes | None:
        try:
            data = answer.body.read(timeout)
        except BodyBroken:
            # What the answer has said until now decides whether it was whole: here it simply ends.
            return b""
        if data:
            self._last_byte = self._now()
        return data

    def _judge(self, payload: bytes, answer: UpstreamAnswer) -> tuple[Mapping[str, Any], bytes]:
        """The parsed payload, and it as it may be passed on. Raises AttemptFailed for an error, or what is no JSON."""
        try:
            parsed, payload = parse_passable(payload)
        except MalformedChunk as error:
            raise AttemptFailed(Failure(FailureKind.MALFORMED, 200, answer.headers, detail=str(error))) from error
        if type(used := parsed.get("usage")) is dict:
            self.usage = used
        if self._dialect.error(parsed) is not None:
            raise AttemptFailed(Failure(FailureKind.EVENT, 200, answer.headers, parsed))
        return parsed, payload

    # A stream

    def _stream(self, answer: UpstreamAnswer) -> Iterator[Beat | Burst]:
        decoder = EventDecoder()
        first = yield from self._first_useful(answer, decoder)
        self._pulse.beat()
        if len(first) > LONGEST_BURST:
            yield from self._in_parts(first)
        else:
            yield first
        while not self.complete:
            if self._pulse.left() <= 0:
                yield self._pulse.beat()
            data = self._read(answer, max(min(self._pulse.left(), self._silence_left()), SHORTEST_WAIT))
            if data is None:
                if self._silence_left() <= 0:
                    raise StreamBroken(Failure(FailureKind.READ_TIMEOUT, detail="the stream fell silent"))
                continue
            if burst := self._payloads(decoder, data):
                self._pulse.beat()
                if len(burst) > LONGEST_BURST:
                    yield from self._in_parts(burst)
                else:
                    yield burst
            if not data:
                return
        self._read_trailer(answer)

    def _in_parts(self, payloads: Burst) -> Iterator[Burst]:
        """The payloads in bursts; others get their turn between them. The answer is complete with the last one."""
        complete, self.complete = self.complete, False
        last = (len(payloads) - 1) // LONGEST_BURST * LONGEST_BURST
        for at in range(0, last, LONGEST_BURST):
            yield payloads[at : at + LONGEST_BURST]
            give_turn()
        self.complete = complete
        yield payloads[last:]

    def _payloads(self, decoder: EventDecoder, data: bytes) -> Burst:
        try:
            payloads = decoder.feed(data) if data else decoder.flush()
        except EventTooLarge as error:
            raise StreamBroken(Failure(FailureKind.MALFORMED, detail=str(error))) from error
        if DONE in payloads:
            self.complete = True
            payloads = payloads[: payloads.index(DONE) + 1]
        elif (last := self._dialect.last) is not None and any(map(last, payloads)):
            self.complete = True
        return payloads

    def _first_useful(self, answer: UpstreamAnswer, decoder: EventDecoder) -> Generator[Beat, None, Burst]:
        """Hold everything back until something useful has come. Returns the payloads until then."""
        held: Burst = []
        ending: str | None = None
        tokens = size = 0
        while True:
            data = yield from self._next(answer)
            size += len(data)
            try:
                burst = self._payloads(decoder, data)
            except StreamBroken as error:
                raise AttemptFailed(error.failure) from error
            held += burst
            for payload in burst:
                if payload == DONE:
                    break
                parsed, _ = self._judge(payload, answer)
                if self._dialect.useful(parsed):
                    return held
                ending = self._dialect.ending(parsed) or ending
                tokens = max(tokens, self._dialect.tokens(parsed))
            if len(held) > MOST_HELD or size > MOST_HELD_BYTES:
                raise AttemptFailed(
                    Failure(FailureKind.MALFORMED, 200, answer.headers, detail="much came, and no token")
                )
            if self.complete or not data:
                self._check_without_output(ending, tokens, answer)
                return held

    def _check_without_output(self, ending: str | None, tokens: int, answer: UpstreamAnswer) -> None:
        """The answer is over and said nothing. It counts only if it ended properly and tokens were spent on it."""
        if ending is None and not self.complete:
            raise AttemptFailed(Failure(FailureKind.EARLY_CLOSE, 200, answer.headers, detail="the stream ended early"))
        if ending is None or tokens <= 0:
            raise AttemptFailed(Failure(FailureKind.EMPTY, 200, answer.headers, detail="an empty answer"))
        self.complete = True

    def _read_trailer(self, answer: UpstreamAnswer) -> None:
        """Read on to the end of the body, so that the connection can be used again."""
        deadline = self._now() + TRAILER_TIMEOUT
        size = 0
        while (left := deadline - self._now()) > 0 and size < LONGEST_TRAILER:
            if not (data := self._read(answer, left)):
                return
            size += len(data)

    # A whole answer

    def _whole(self, answer: UpstreamAnswer) -> Iterator[Beat | Burst]:
        """A JSON body: read to its end, judged, and passed on as one burst."""
        self._deadline = min(self._deadline, self.began + self._patience.whole)
        body = bytearray()
        while data := (yield from self._next(answer)):
            body += data
            if len(body) > LONGEST_ANSWER:
                raise AttemptFailed(Failure(FailureKind.MALFORMED, 200, detail="the answer is too long"))
        parsed, whole = self._judge(bytes(body).strip(), answer)
        as_payload = self._dialect.from_whole(parsed)
        if not self._dialect.useful(as_payload):
            self._check_without_output(self._dialect.ending(parsed), self._dialect.tokens(parsed), answer)
        try:
            burst = [dump_payload(as_payload), DONE] if self._streamed else [whole]
        except MalformedChunk as error:
            raise AttemptFailed(Failure(FailureKind.MALFORMED, 200, answer.headers, detail=str(error))) from error
        self.complete = True
        self._pulse.beat()
        yield burst

    def _error_answer(self, answer: UpstreamAnswer) -> Generator[Beat, None, Failure]:
        """The failure that an answer with an error status is; its body as far as it comes in time."""
        self._deadline = min(self._deadline, self._now() + ERROR_BODY_TIMEOUT)
        body = bytearray()
        try:
            while len(body) <= LONGEST_ERROR and (data := (yield from self._next(answer))):
                body += data
        except AttemptFailed:
            pass  # the status and what is there of the body say enough
        return Failure(FailureKind.STATUS, answer.status, answer.headers, bytes(body))
