"""Cuts an answer at a stop string: some models do not know the parameter, and there may be more than upstream takes.

Pure: payloads in, payloads out. A payload that may hold the beginning of a stop string is held back until more has
come; all others are passed on byte by byte (docs/contract.md, "Requests"). What the payloads of an endpoint look like
is for a `StopForm` to know (`stop_forms.py`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from ollama_proxy.openrouter.answers.chunks import MalformedChunk, dump_payload, parse_payload
from ollama_proxy.openrouter.answers.events import DONE
from ollama_proxy.openrouter.answers.stop_finder import StopFinder

Json = dict[str, Any]

#: Behind a held text other payloads (thinking, calls) wait too. More of them than this are passed on.
MOST_HELD = 1_000


@dataclass(frozen=True, slots=True)
class Counted:
    """Tokens of an answer that ended here before upstream could count them: estimates."""

    prompt: int
    completion: int


class StopForm(Protocol):
    """The payloads of one endpoint."""

    def whole(self, payload: Json) -> bool:
        """Whether the payload is a whole answer, though a stream was asked for."""

    def cut_whole(self, payload: Json, finder: StopFinder) -> Json | None:
        """The whole answer without what follows the first stop string; None if it has none."""

    def text(self, payload: Json) -> str:
        """The text in it that stop strings are looked for in, "" if none."""

    def counts(self, payload: Json) -> bool:
        """Whether it brings a token, of text or of thinking."""

    def ends(self, payload: Json) -> bool:
        """Whether the text is over with this payload: no stop string goes on behind it."""

    def usage(self, payload: Json) -> Mapping[str, Any] | None:
        """Upstream's own count, if the payload brings it."""

    def with_text(self, payload: Json, text: str) -> Json:
        """The payload with this text only, without an end and without usage."""

    def ending(self, payload: Json, stop: str, usage: Mapping[str, Any] | None, counted: Counted) -> list[bytes]:
        """The payloads that end the answer; `payload` is the one in which `stop` ended."""


class StopCutter:
    """One streamed answer. `stopped` is true once a stop string has been met: nothing more is wanted of upstream."""

    def __init__(self, form: StopForm, stops: Sequence[str], prompt_tokens: int, echoed: str = "") -> None:
        """`prompt_tokens` is an estimate. `echoed` is the prompt, where the answer begins with it."""
        self.stopped = False
        self._form = form
        self._finder = StopFinder(stops, echoed)
        self._prompt_tokens = prompt_tokens
        self._waiting: deque[tuple[bytes, Json, int]] = deque()  # payload, parsed, characters of text
        self._characters = 0  # of the texts that wait
        self._tokens = 0

    def feed(self, burst: Sequence[bytes]) -> list[bytes]:
        """Return the payloads that may go on now. What cannot be read goes on: the reader behind says so."""
        out: list[bytes] = []
        for number, payload in enumerate(burst):
            if self.stopped:
                break
            try:
                parsed = parse_payload(payload) if payload != DONE else {}
            except MalformedChunk:
                return [*out, *self.rest(), *burst[number:]]
            self._take(payload, parsed, burst[number + 1 :], out)
        return out

    def rest(self) -> list[bytes]:
        """What was held back, once it is known that nothing follows."""
        held = [payload for payload, _, _ in self._waiting]
        self._waiting.clear()
        self._characters = 0
        self._finder.restart()
        return held

    def _take(self, payload: bytes, parsed: Json, following: Sequence[bytes], out: list[bytes]) -> None:
        form = self._form
        if parsed and form.whole(parsed):
            cut = form.cut_whole(parsed, self._finder)
            out += [*self.rest(), payload if cut is None else dump_payload(cut)]
            return
        text = form.text(parsed)
        self._tokens += form.counts(parsed)
        if text and (found := self._finder.find(text)) is not None:
            place, stop = found
            # Where more was held than may be, some of a stop string may have gone on.
            kept = max(self._characters + place - len(stop), 0)
            self._stop(parsed, kept, stop, following, out)
            return
        if payload == DONE or form.ends(parsed):
            out += [*self.rest(), payload]
            return
        if not text and not self._waiting:
            out.append(payload)
            return
        self._waiting.append((payload, parsed, len(text)))
        self._characters += len(text)
        held = self._finder.held
        while self._waiting and (self._characters - self._waiting[0][2] >= held or len(self._waiting) > MOST_HELD):
            first, _, length = self._waiting.popleft()
            self._characters -= length
            out.append(first)

    def _stop(self, last: Json, kept: int, stop: str, following: Sequence[bytes], out: list[bytes]) -> None:
        """End the answer after `kept` characters of the texts that wait and of `last`."""
        self.stopped = True
        form = self._form
        for payload, parsed, length in self._waiting:
            if length <= kept:
                out.append(payload)
                kept -= length
            else:
                if kept:
                    out.append(dump_payload(form.with_text(parsed, form.text(parsed)[:kept])))
                kept = 0
                break
        else:
            if kept:
                out.append(dump_payload(form.with_text(last, form.text(last)[:kept])))
        self._waiting.clear()
        usage = form.usage(last)
        for payload in following:  # upstream may have counted already
            if b'"usage"' in payload:
                usage = form.usage(_parsed(payload)) or usage
        out += form.ending(last, stop, usage, Counted(self._prompt_tokens, self._tokens))


def _parsed(payload: bytes) -> Json:
    try:
        return parse_payload(payload)
    except MalformedChunk:
        return {}
