"""Sends an answer as a scenario wants it: at the right time, in pieces, or not to its end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise

from simulator.answers import Frame
from simulator.log import Entry, RequestLog
from simulator.scenarios import Gates, Scenario
from simulator.wire import Connection


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer to send: `frames` are written one by one, `filler` keeps the connection alive while nothing comes.

    `length` is set for bodies that are sent with a Content-Length.
    """

    status: int
    headers: dict[str, str]
    frames: Iterable[Frame]
    filler: bytes = b""
    length: int | None = None
    tokens: int = 0


class Hangup(Exception):
    """The scenario ends the connection here."""


def shaped(frames: Iterator[Frame], scenario: Scenario, error: Callable[[], Frame]) -> Iterator[Frame]:
    """Apply a scenario to the events of a stream: errors between them, missing ends, line ends."""
    for frame in _with_error(frames, scenario, error):
        if scenario.close_without_done and frame.kind == "done":
            return
        if scenario.crlf and frame.kind != "other":
            yield Frame(frame.data.replace(b"\n", b"\r\n"), frame.kind)
        else:
            yield frame


def _with_error(frames: Iterator[Frame], scenario: Scenario, error: Callable[[], Frame]) -> Iterator[Frame]:
    """Put the scenario's error among the frames.

    Shapes 1 and 2 end the stream (with [DONE] if `error_done`), shape 3 comes in the place of the usage chunk.
    """
    at = scenario.in_stream_error
    for index, frame in enumerate(frames):
        if scenario.early_end == index:
            return
        if scenario.shape == 3 and at is not None:
            yield error() if frame.kind == "usage" else frame
            continue
        if at == index or (at is not None and frame.kind == "done"):
            yield error()
            if scenario.error_done:
                yield Frame(b"data: [DONE]\n\n", "done")
            return
        yield frame


def pieces(data: bytes, scenario: Scenario) -> Iterator[Frame]:
    """Yield `data`, cut where the scenario says."""
    cuts = scenario.cut or []
    if scenario.cut_every:
        cuts = list(range(scenario.cut_every, len(data), scenario.cut_every))
    edges = [0, *sorted({cut for cut in cuts if 0 < cut < len(data)}), len(data)]
    for start, end in pairwise(edges):
        yield Frame(data[start:end], "content")


@dataclass(slots=True)
class Player:
    """Sends one answer on one connection and keeps the log entry up to date."""

    connection: Connection
    entry: Entry
    scenario: Scenario
    gates: Gates
    log: RequestLog
    _due: float = 0.0

    async def play(self, answer: Answer) -> None:
        """Send the whole answer. Raises `Hangup` after it closed the connection on purpose."""
        scenario = self.scenario
        self.entry.status = answer.status
        if scenario.before_headers:
            await self._wait_before_headers()
        cut = scenario.cut_head
        self.connection.start(answer.status, answer.headers, length=answer.length, chunked=scenario.chunked, cut=cut)
        if cut is not None:
            await self._hang_up()
        self.entry.t_first_byte = time.time()
        frames = iter(answer.frames)
        if scenario.cut or scenario.cut_every or scenario.coalesce:
            filler = answer.filler * scenario.comments
            frames = pieces(filler + b"".join(frame.data for frame in frames), scenario)
        elif answer.filler:
            for _ in range(scenario.comments):
                await self.connection.send(answer.filler)
        await self._send_all(frames, answer)

    async def _wait_before_headers(self) -> None:
        scenario = self.scenario
        if scenario.hold:
            await self._hold()
        await asyncio.sleep(scenario.silence)
        if scenario.early_close == 0:
            await self._hang_up()

    async def _send_all(self, frames: Iterator[Frame], answer: Answer) -> None:
        """Send all frames. It reads one frame ahead, so that the last one goes out with the end of the body."""
        index, frame = 0, next(frames, None)
        while frame is not None:
            await self._pause(index, frame, answer)
            following = next(frames, None)
            await self.connection.send(frame.data, last=following is None and self.scenario.early_close != index + 1)
            self._sent(frame)
            index, frame = index + 1, following
        if self.scenario.early_close == index:
            await self._hang_up()
        if index == 0:
            await self.connection.send(b"", last=True)

    def _sent(self, frame: Frame) -> None:
        self.entry.events_sent += 1
        if self.scenario.record_times and frame.kind == "content":
            self.entry.event_times.append(time.time())
        self.log.notify()

    async def _pause(self, index: int, frame: Frame, answer: Answer) -> None:
        scenario = self.scenario
        if scenario.early_close == index:
            await self._hang_up()
        if scenario.holds_at(index):
            await self._hold()
        if scenario.silence and index == scenario.silence_at and not scenario.before_headers:
            await self._silence(scenario.silence, answer.filler)
        if index == 0 and scenario.delay_first:
            await asyncio.sleep(scenario.delay_first)
        if scenario.token_delay and answer.tokens and index == 0:
            await self._silence(scenario.token_delay * answer.tokens, answer.filler, every=1.0)
        elif scenario.token_delay and index and frame.kind == "content":
            await self._until_due()
        if scenario.cut_delay and index:
            await asyncio.sleep(scenario.cut_delay)

    async def _until_due(self) -> None:
        """Wait for the next step of `token_delay`, without adding the time that sending takes."""
        now = time.monotonic()
        if self._due < now - 1:
            self._due = now
        self._due += self.scenario.token_delay
        await asyncio.sleep(max(0.0, self._due - now))

    async def _hold(self) -> None:
        assert self.scenario.hold is not None
        self.entry.holding = self.scenario.hold
        self.log.notify()
        await self.gates.wait(self.scenario.hold)
        self.entry.holding = None

    async def _silence(self, seconds: float, filler: bytes, *, every: float | None = None) -> None:
        """Send nothing for `seconds`, except a comment at intervals if there is an interval."""
        every = self.scenario.comment_every or every
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            await asyncio.sleep(min(left, every) if every else left)
            if every and filler and time.monotonic() < end:
                await self.connection.send(filler)

    async def _hang_up(self) -> None:
        if self.scenario.rst:
            await asyncio.sleep(0.02)  # the bytes already sent should arrive before the reset
        self.connection.drop(rst=self.scenario.rst)
        raise Hangup
