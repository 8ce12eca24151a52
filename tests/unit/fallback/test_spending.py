"""What a request of a key reserves, and what it is settled with, however it ends. Scripted answers, no sockets."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from gevent import GreenletExit

from ollama_proxy.access.allowance import Spent
from ollama_proxy.access.keys import Key, Limits
from ollama_proxy.bodies.cost_bound import DEFAULT_OUTPUT
from ollama_proxy.catalog.records import Model
from ollama_proxy.catalog.target import chat_target
from ollama_proxy.errors import BadRequest, KeyLimitReached, ProxyError
from ollama_proxy.fallback.call import Call
from ollama_proxy.fallback.exchange import Exchange
from ollama_proxy.fallback.needs import Needs
from ollama_proxy.openrouter.errors.failure import Failure, FailureKind
from tests.unit.catalog.free_models import catalog_of, record
from tests.unit.fallback.scripted_upstream import (
    DONE,
    ROLE,
    Reply,
    World,
    delta,
    event,
    good,
    refusal,
    unreachable,
    whole,
)

A, B, C = "a/a:free", "b/b:free", "c/c:free"
PAID_MODEL, NO_PRICE = "p/paid", "p/auto"
CAPPED = Key("anna", id=7, limits=Limits(microusd_per_day=10**6))
GENERATION = {"Content-Type": "text/event-stream", "X-Generation-Id": "gen-1"}


class Counter:
    """A Gate that lets everything through, or nothing."""

    def __init__(self) -> None:
        self.admitted: list[tuple[int, bool]] = []
        self.settled: list[Spent] = []
        self.refusal: BaseException | None = None
        self.headers: Mapping[str, str] = {"X-Key-Remaining-Usd": "1"}

    def admit(self, key: Key, *, microusd: int, free: bool) -> Counter:
        self.admitted.append((microusd, free))
        if self.refusal is not None:
            raise self.refusal
        return self

    def settle(self, spent: Spent) -> None:
        self.settled.append(spent)


def make_world(*, free_mode: bool = False) -> tuple[World, Counter]:
    records = [record(name, 600_000 - place) for place, name in enumerate((A, B, C))]
    records.append(record(PAID_MODEL, pricing={"prompt": "0.000001", "completion": "0.00001"}))
    records.append(record(NO_PRICE, pricing={"prompt": "-1", "completion": "-1"}))
    world = World(catalog_of(*records, free_mode=free_mode), free_mode=free_mode)
    world.backend.gate = gate = Counter()
    return world, gate


def body_for(model: Model, without: frozenset[str], at_most: int | None) -> bytes:
    return json.dumps({"model": model.id, "messages": [], "max_tokens": at_most or 100}).encode()


def exchange_of(world: World, name: str = PAID_MODEL, key: Key | None = CAPPED, **options: Any) -> Exchange:
    target = chat_target(name, world.backend.catalog(), strict=False)
    needs = Needs(prompt_tokens=50)
    return Exchange(world.backend, Call(target, needs, options.pop("body_for", body_for), key=key, **options))


def usage(**members: Any) -> bytes:
    return event({"choices": [{"delta": {}, "finish_reason": "stop"}], "usage": members})


EMPTY = Reply([(0, ROLE + event({"choices": [], "usage": {"cost": 0.00002}}) + DONE)])


FEWER = (
    "This request requires more credits, or fewer max_tokens. You requested up to 100 tokens, but can only afford 40"
)


# What is reserved


def test_the_most_that_it_can_cost_is_reserved_before_anything_is_sent() -> None:
    world, gate = make_world()
    exchange = exchange_of(world)
    assert gate.admitted == [], "not before somebody iterates"
    next(iter(exchange))
    [(microusd, free)] = gate.admitted
    assert microusd > 100 * 10
    assert not free
    assert exchange.left_headers == {"X-Key-Remaining-Usd": "1"}
    [sent] = world.upstream.asked
    assert sent["max_tokens"] == 100
    assert sent["provider"]["max_price"] == {"prompt": "1.000000", "completion": "10.00000", "request": "0"}
    exchange.close()


def test_max_tokens_are_added_for_a_key_with_a_cap_only() -> None:
    def without_limit(model: Model, without: frozenset[str], at_most: int | None) -> bytes:
        return json.dumps({"model": model.id, "messages": []}).encode()

    for key, added in ((CAPPED, DEFAULT_OUTPUT), (Key("b", id=8), None), (Key("settings"), None), (None, None)):
        world, _ = make_world()
        exchange = exchange_of(world, key=key, body_for=without_limit)
        next(iter(exchange))
        exchange.close()
        assert world.upstream.asked[0].get("max_tokens") == added
        assert ("provider" in world.upstream.asked[0]) is (added is not None)


@pytest.mark.parametrize(
    ("name", "free_mode", "key", "admitted"),
    [
        (A, True, CAPPED, [(0, True)]),
        ("free", False, CAPPED, [(0, True)]),
        (A, False, Key("b", id=8, limits=Limits(free_per_day=5)), [(0, True)]),
        (PAID_MODEL, False, Key("b", id=8, limits=Limits(free_per_day=5)), [(0, False)]),
        (PAID_MODEL, False, Key("of the settings", admin=True), []),
        (PAID_MODEL, False, None, []),
    ],
    ids=[
        "free mode",
        "free ones outside free mode",
        "a limit of free ones",
        "one that costs, without a cap",
        "a key of PROXY_API_KEYS",
        "no key",
    ],
)
def test_what_is_asked_of_the_gate(
    name: str, free_mode: bool, key: Key | None, admitted: list[tuple[int, bool]]
) -> None:
    world, gate = make_world(free_mode=free_mode)
    exchange = exchange_of(world, name, key)
    next(iter(exchange))
    exchange.close()
    exchange.settle({})
    assert gate.admitted == admitted
    assert len(gate.settled) == len(admitted)


def test_a_free_model_is_no_way_to_buy_something_else() -> None:
    """Outside free mode a search can be bought with any model."""

    def searching(model: Model, without: frozenset[str], at_most: int | None) -> bytes:
        return json.dumps({"model": model.id, "messages": [], "plugins": [{"id": "web"}]}).encode()

    for key, passes in ((CAPPED, False), (Key("b", id=8), True)):
        world, _ = make_world()
        exchange = exchange_of(world, A, key, body_for=searching)
        next(iter(exchange))
        exchange.close()
        assert ("plugins" in world.upstream.asked[0]) is passes


def test_a_refused_request_asks_nobody_and_is_held_against_nobody() -> None:
    world, gate = make_world(free_mode=True)
    gate.refusal = KeyLimitReached("this key's limit", retry_after=9, left={"X-Key-Remaining-Free": "0"})
    exchange = exchange_of(world, A)
    with pytest.raises(KeyLimitReached):
        next(iter(exchange))
    exchange.close()
    exchange.settle({})
    assert (world.upstream.asked, gate.settled, world.observed) == ([], [], [])
    assert exchange.left_headers == {"X-Key-Remaining-Free": "0"}
    assert world.memory.limit(world.clock.time(), free=True) is None


def test_without_a_price_a_key_with_a_cap_may_not() -> None:
    world, gate = make_world()
    exchange = exchange_of(world, NO_PRICE)
    with pytest.raises(BadRequest, match="no price that is known beforehand"):
        next(iter(exchange))
    exchange.close()
    exchange.settle({})
    assert gate.admitted == gate.settled == []


# What it is settled with


def cost(**members: Any) -> Reply:
    return Reply([(0, ROLE + delta("hello")), (0, usage(**members) + DONE)], headers=GENERATION)


LONG = Reply([(0, ROLE + delta("hello")), *[(1, delta("a" * 40)) for _ in range(9)]], headers=GENERATION)


def ended_whole(exchange: Exchange) -> Mapping[str, Any]:
    """Read it to its end, and return the usage in it."""
    found: Mapping[str, Any] = {}
    for burst in exchange:
        for payload in burst if isinstance(burst, list) else ():
            if payload != b"[DONE]":
                found = json.loads(payload).get("usage") or found
    exchange.succeeded()
    return found


def ended_in_an_error(exchange: Exchange) -> Mapping[str, Any]:
    with pytest.raises(ProxyError):
        list(exchange)
    return {}


def ended_early(exchange: Exchange) -> Mapping[str, Any]:
    list(exchange)
    assert not exchange.complete
    exchange.broken(Failure(FailureKind.EARLY_CLOSE, 200))
    return {}


def left_by_the_client(exchange: Exchange) -> Mapping[str, Any]:
    for place, _ in enumerate(exchange):
        if place == 4:
            break
    return {}


def left_before_the_answer(exchange: Exchange) -> Mapping[str, Any]:
    return {}


def ended_by_a_mistake(exchange: Exchange) -> Mapping[str, Any]:
    next(iter(exchange))
    with pytest.raises(GreenletExit):
        exchange._run.throw(GreenletExit)
    return {}


BROKEN = Reply([(0, ROLE + delta("hello")), (0, delta("b"))], headers=GENERATION, breaks=True)
PROMPT = 50

ENDINGS = {
    "whole": ([cost(cost=0.000123, prompt_tokens=5, completion_tokens=6)], ended_whole, Spent(123, 0, 5, 6)),
    "an explicit zero stays zero": ([cost(cost=0, prompt_tokens=5)], ended_whole, Spent(0, 0, 5, 0)),
    "no cost is said: by the tokens": (
        [cost(prompt_tokens=5, completion_tokens=6)],
        ended_whole,
        Spent(65, 0, 5, 6, 65, "gen-1"),
    ),
    "nothing is said": ([Reply([(0, delta("a") + DONE)], headers=GENERATION)], ended_whole, None),
    "failed": ([refusal(502, "Bad gateway")], ended_in_an_error, Spent()),
    "failed, and charged": ([EMPTY], ended_in_an_error, Spent(20)),
    "unreachable": ([unreachable(), unreachable()], ended_in_an_error, Spent()),
    "broken": ([BROKEN], ended_early, None),
    "the client left": ([LONG], left_by_the_client, None),
    "a mistake, or the server's end": ([LONG], ended_by_a_mistake, None),
}


@pytest.mark.parametrize("ending", ENDINGS)
def test_every_ending_is_settled_once(ending: str) -> None:
    replies, end, expected = ENDINGS[ending]
    world, gate = make_world()
    world.upstream.replies[PAID_MODEL] += replies
    exchange = exchange_of(world)
    said = end(exchange)
    exchange.close()
    exchange.settle(said)
    [spent] = gate.settled
    if expected is not None:
        assert spent == expected
    else:
        assert spent.estimated == spent.microusd
        assert PROMPT < spent.microusd <= gate.admitted[0][0]
        assert spent.generation == "gen-1"


def test_a_whole_answer_that_nobody_waited_for_costs_all_that_was_reserved() -> None:
    """Providers go on writing, and nobody tells what it costs."""
    world, gate = make_world()
    world.upstream.replies[PAID_MODEL] += [Reply(headers_after=1e9)]
    exchange = exchange_of(world, streamed=False)
    next(iter(exchange))  # a heartbeat
    exchange.close()
    exchange.settle({})
    most = gate.admitted[0][0]
    assert gate.settled == [Spent(most, estimated=most)]


JSON = {"Content-Type": "application/json", "X-Generation-Id": "gen-1"}
SLOWLY = [(1.0, b" ")] * 1000


@pytest.mark.parametrize(
    ("reply", "streamed", "takes_all"),
    [
        (unreachable(sent=True), True, False),
        (unreachable(sent=True), False, True),
        (Reply(headers_after=1e9), True, False),
        (Reply(headers_after=1e9), False, True),
        (Reply(SLOWLY, headers=JSON), False, True),
        (Reply([(0, b"{")], headers=JSON), False, True),
        (Reply([(0, ROLE)], headers=GENERATION), True, False),
    ],
    ids=[
        "sent, no answer",
        "sent, no whole answer",
        "silence",
        "silence, not streamed",
        "too slow",
        "broken JSON",
        "the stream ended early",
    ],
)
def test_what_the_proxy_itself_gives_up_may_be_paid_for(reply: Reply, streamed: bool, takes_all: bool) -> None:
    """It costs as much as where the client gave up: the model may go on."""
    world, gate = make_world()
    world.upstream.replies[PAID_MODEL] += [reply]
    exchange = exchange_of(world, streamed=streamed)
    assert ended_in_an_error(exchange) == {}
    exchange.close()
    exchange.settle({})
    most = gate.admitted[0][0]
    expected = most if takes_all else PROMPT
    assert gate.settled == [Spent(expected, estimated=expected, generation=reply.headers.get("X-Generation-Id", ""))]


def test_a_page_of_another_server_costs_nothing() -> None:
    world, gate = make_world()
    page = Reply([(0, b"<html>log in</html>")], headers={"Content-Type": "text/html"})
    world.upstream.replies[PAID_MODEL] += [page]
    exchange = exchange_of(world, streamed=False)
    ended_in_an_error(exchange)
    exchange.close()
    exchange.settle({})
    assert gate.settled == [Spent()]


def test_attempts_behind_a_fallback_belong_to_the_key() -> None:
    """Of the free attempts those count that OpenRouter counts; what a failed one was charged for is charged."""
    world, gate = make_world(free_mode=True)
    pool = refusal(429, "Provider returned error", provider_name="X", raw="rate-limited upstream")
    world.upstream.replies[A] += [pool]
    world.upstream.replies[B] += [EMPTY]
    exchange = exchange_of(world, A)
    ended_whole(exchange)
    exchange.close()
    exchange.settle({"prompt_tokens": 3, "completion_tokens": 4, "cost": 0})
    assert world.upstream.models == [A, B, C]
    assert gate.settled == [Spent(20, 2, 3, 4)]


def test_a_cost_that_was_told_is_no_estimate() -> None:
    """What a failed attempt was charged for stays, when the estimate behind it is corrected."""
    world, gate = make_world()
    error = {"code": 402, "message": FEWER}
    charged = event({"error": error, "choices": [], "usage": {"cost": 0.5}})
    world.upstream.replies[PAID_MODEL] += [Reply([(0, ROLE + charged)]), LONG]
    exchange = exchange_of(world)
    left_by_the_client(exchange)
    exchange.close()
    exchange.settle({})
    [spent] = gate.settled
    assert (spent.microusd - spent.estimated, spent.generation) == (500_000, "gen-1")
    assert spent.estimated > PROMPT


def test_a_first_usage_is_no_last_one() -> None:
    """The Messages API tells one output token when an answer begins: one that breaks off has written more."""
    world, gate = make_world()
    world.upstream.replies[PAID_MODEL] += [LONG]
    exchange = exchange_of(world)
    left_by_the_client(exchange)
    exchange.close()
    exchange.settle({"input_tokens": 7, "output_tokens": 1, "cost": 0})
    [spent] = gate.settled
    assert spent.estimated
    assert spent.microusd > 7 + 4 * 10


def test_a_whole_body_tells_its_usage() -> None:
    world, gate = make_world()
    answer = {"choices": [{"message": {"content": "hello"}, "finish_reason": "stop"}], "usage": {"cost": 0.5}}
    world.upstream.replies[PAID_MODEL] += [whole(answer)]
    exchange = exchange_of(world, streamed=False)
    for _ in exchange:
        pass
    exchange.close()
    exchange.settle(answer["usage"])  # type: ignore[arg-type]
    assert gate.settled == [Spent(500_000)]


def test_a_retry_with_fewer_tokens_stays_within_what_was_reserved() -> None:
    world, _ = make_world()
    world.upstream.replies[PAID_MODEL] += [refusal(402, FEWER), good()]
    exchange = exchange_of(world)
    ended_whole(exchange)
    exchange.close()
    assert [one["max_tokens"] for one in world.upstream.asked] == [100, 40]
