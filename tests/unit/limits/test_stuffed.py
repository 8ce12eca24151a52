"""No field of any request costs much time, whatever it is stuffed with: a new one that does is found here.

Each place of each route's body is stuffed with each kind of thing, and goes through the readers and translators. With
STUFFED_KB=1024 the bodies are of a megabyte, which takes some minutes (`make fuzz`).
"""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Iterator

import pytest

from tests.unit.limits.stuffing import NUMBERED, STUFFING, place_takes, places, stuffed
from tests.unit.limits.ways import WAYS, go

KILOBYTE = 1024
SIZE = int(os.environ.get("STUFFED_KB", "16")) * KILOBYTE

#: Seconds of processor time for a megabyte; for each value in it, of which there are 100 000 at most; and for any body.
PER_MEGABYTE = 0.1
PER_VALUE = 4e-6
FOR_ANY = 0.005

#: An answer to a refused request does not echo what was sent.
LONGEST_ERROR = 2_000


@pytest.fixture(autouse=True)
def no_garbage_collection() -> Iterator[None]:
    """What it takes depends on all that the tests before this one have left."""
    gc.disable()
    yield
    gc.enable()


def problem(path: str, data: bytes) -> str:
    """What is wrong with the way that a body goes; "" if nothing is."""
    values = data.count(b",") + data.count(b"{") + data.count(b"[")
    allowed = FOR_ANY + PER_MEGABYTE * len(data) / KILOBYTE**2 + PER_VALUE * min(values, 100_000)
    spent = allowed
    for _ in range(6):  # what is slow once may be an accident
        began = time.process_time()
        error = go(path, data)
        spent = min(spent, time.process_time() - began)
        if error is not None and len(error) > LONGEST_ERROR:
            return f"an error of {len(error)} bytes"
        if spent < allowed:
            return ""
    return f"more than {allowed:.3f} s for {len(data)} bytes"


@pytest.mark.parametrize("path", WAYS)
def test_no_field_is_slow_whatever_it_holds(path: str) -> None:
    # A string of this length costs next to nothing where nobody looks into it.
    longer = max(SIZE, 64 * KILOBYTE)
    texts = {name: make(longer if name.startswith("a string") else SIZE) for name, make in STUFFING.items()}
    template = WAYS[path][1]
    problems = {
        (".".join(map(str, place)), name): found
        for place in places(template)
        for name, text in texts.items()
        if place_takes(template, place, text) and (found := problem(path, stuffed(template, place, text)))
    }
    assert not problems


#: Lists whose elements mean something, and may have to be told apart, paired, and replaced.
LISTS = [
    ("/api/chat", ("messages",)),
    ("/api/chat", ("messages", 1, "tool_calls")),
    ("/api/chat", ("messages", 0, "images")),
    ("/api/chat", ("tools",)),
    ("/v1/chat/completions", ("messages",)),
    ("/v1/chat/completions", ("messages", 2, "tool_calls")),
    ("/v1/chat/completions", ("tools",)),
    ("/v1/chat/completions", ("tool_choice", "allowed_tools", "tools")),
    ("/v1/responses", ("input",)),
    ("/v1/responses", ("tools",)),
    ("/v1/messages", ("messages",)),
    ("/v1/messages", ("messages", 0, "content")),
    ("/v1/messages", ("tools",)),
]


@pytest.mark.parametrize(("path", "place"), LISTS, ids=[f"{path} {place[-1]}" for path, place in LISTS])
@pytest.mark.parametrize("name", NUMBERED)
def test_twice_as_much_takes_twice_as_long(path: str, place: tuple[object, ...], name: str) -> None:
    """Not four times. What is refused takes next to nothing, and may do so at once for the larger one."""
    template = WAYS[path][1]
    text = STUFFING[f"many {name}"]

    def seconds(size: int) -> float:
        data = stuffed(template, place, text(size))
        began = time.process_time()
        go(path, data)
        return time.process_time() - began

    # A machine under load makes one of them slow; what is quadratic takes four times as long each time.
    tries = [(seconds(100 * KILOBYTE), seconds(200 * KILOBYTE))]
    while len(tries) < 8 and min(large for _, large in tries) >= 3 * min(small for small, _ in tries) + FOR_ANY:
        tries.append((seconds(100 * KILOBYTE), seconds(200 * KILOBYTE)))
    assert min(large for _, large in tries) < 3 * min(small for small, _ in tries) + FOR_ANY
