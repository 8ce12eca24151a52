"""docs/contract.md, "Endpoints": vectors, of the asked model only."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest

from simulator.process import Simulator
from tests.api.contract.wire import Row, check, post
from tests.servers import ProxyServer

SMALL = "lexicon/embed-small:free"
TAKES = {
    "one text": ({"input": "a"}, 1),
    "several": ({"input": ["a", "b", "a"]}, 3),
    "an empty text in a list": ({"input": [""]}, 1),
    "nothing": ({}, 0),
    "null": ({"input": None}, 0),
    "an empty text": ({"input": ""}, 0),
    "an empty list": ({"input": []}, 0),
    "options of nulls": ({"input": "a", "options": {"num_ctx": None, "seed": None}}, 1),
    "what LangChain sends": ({"input": ["a"], "truncate": True, "keep_alive": None, "dimensions": None}, 1),
}


@pytest.mark.parametrize("case", TAKES.values(), ids=TAKES)
def test_embed(proxy: ProxyServer, case: tuple[dict[str, Any], int]) -> None:
    fields, count = case
    answer = check(proxy, Row("POST", "/api/embed", {"model": "embed-small"} | fields)).json()
    assert answer["model"] == "embed-small"
    assert len(answer["embeddings"]) == count
    for vector in answer["embeddings"]:
        assert len(vector) == 384
        assert math.isclose(math.hypot(*vector), 1, abs_tol=1e-5)
    metrics = {"total_duration", "load_duration", "prompt_eval_count"} if count else set()
    assert set(answer) == {"model", "embeddings"} | metrics


def test_vectors_follow_the_order_of_the_texts(proxy: ProxyServer, simulator: Simulator) -> None:
    """Upstream may send them in any order, each with its index."""
    data = [{"object": "embedding", "index": index, "embedding": [3.0 * index, 4.0]} for index in (2, 0, 1)]
    simulator.scenario(SMALL, times=2, status=200, body={"object": "list", "data": data, "model": "x"})
    answer = check(proxy, Row("POST", "/api/embed", {"model": SMALL, "input": ["a", "b", "c"]})).json()
    assert answer["embeddings"] == [[0, 1], [0.6, 0.8], pytest.approx([6 / math.sqrt(52), 4 / math.sqrt(52)])]


DIMENSIONS = {
    "fewer": (3, 3),
    "one": (1, 1),
    "all": (384, 384),
    "more": (999, 384),
    "none": (0, 384),
    "less": (-1, 384),
}


@pytest.mark.parametrize("case", DIMENSIONS.values(), ids=DIMENSIONS)
def test_dimensions_cut_and_normalise_again(proxy: ProxyServer, case: tuple[int, int]) -> None:
    dimensions, length = case
    whole = check(proxy, Row("POST", "/api/embed", {"model": SMALL, "input": "a"})).json()["embeddings"][0]
    row = Row("POST", "/api/embed", {"model": SMALL, "input": "a", "dimensions": dimensions})
    vector = check(proxy, row).json()["embeddings"][0]
    scale = math.hypot(*whole[:length])
    assert vector == pytest.approx([value / scale for value in whole[:length]])


def test_the_older_route_gives_the_vector_as_it_came(proxy: ProxyServer, simulator: Simulator) -> None:
    body = {"object": "list", "data": [{"index": 0, "embedding": [3.0, 4.0]}], "model": "x"}
    simulator.scenario(SMALL, times=1, status=200, body=body)
    row = Row("POST", "/api/embeddings", {"model": SMALL, "prompt": "a"}, want='{"embedding":[3.0,4.0]}')
    check(proxy, row)
    check(proxy, Row("POST", "/api/embeddings", {"model": SMALL, "prompt": ""}, want='{"embedding":[]}'))


LONG = "word " * 8_000  # 10 000 tokens by estimate, for a window of 8192
REFUSED = {
    "a number": post("/api/embed", {"model": SMALL, "input": 5}, 400, "invalid input type"),
    "numbers": post("/api/embed", {"model": SMALL, "input": [1, 2]}, 400, "invalid input type"),
    "a wrong option": post(
        "/api/embed",
        {"model": SMALL, "input": "a", "options": {"seed": "x"}},
        400,
        'option "seed" must be of type integer',
    ),
    "half a dimension": post(
        "/api/embed",
        {"model": SMALL, "input": "a", "dimensions": 1.5},
        400,
        "json: cannot unmarshal number 1.5 into Go struct field EmbedRequest.dimensions of type int",
    ),
    "a chat model": post(
        "/api/embed", {"model": "ember-4", "input": "a"}, 400, '"ember-4" does not support embeddings'
    ),
    "free": post("/api/embed", {"model": "free", "input": "a"}, 404, 'model "free" not found, try pulling it first'),
    "a paid one in free mode": post(
        "/api/embed", {"model": "embed-3", "input": "a"}, 404, 'model "embed-3" not found, try pulling it first'
    ),
    "too long a text that may not be cut": post(
        "/api/embed",
        {"model": SMALL, "input": LONG, "truncate": False},
        400,
        "the input length exceeds the context length",
    ),
}


@pytest.mark.parametrize("row", REFUSED.values(), ids=REFUSED)
def test_embed_refuses(proxy: ProxyServer, row: Row) -> None:
    check(proxy, row)


def test_too_long_a_text_is_cut(proxy: ProxyServer, simulator: Simulator) -> None:
    check(proxy, Row("POST", "/api/embed", {"model": SMALL, "input": LONG}))
    assert 0 < len(simulator.chats()[-1]["body"]["input"][0]) < 8_192 * 4


def test_no_other_model_stands_in(start_proxy: Callable[..., ProxyServer], simulator: Simulator) -> None:
    server = start_proxy()
    simulator.scenario(SMALL, error_name="502_network")
    answer = check(server, Row("POST", "/api/embed", {"model": SMALL, "input": "a"}, 502))
    assert "upstream error" in answer.json()["error"]
    assert {entry["model"] for entry in simulator.chats()} == {SMALL}


def test_an_answer_without_all_vectors_is_an_upstream_error(
    start_proxy: Callable[..., ProxyServer], simulator: Simulator
) -> None:
    body = {"object": "list", "data": [{"index": 0, "embedding": [3.0, 4.0]}], "model": "x"}
    simulator.scenario(SMALL, times=1, status=200, body=body)
    answer = check(start_proxy(), Row("POST", "/api/embed", {"model": SMALL, "input": ["a", "b"]}, 502))
    assert "upstream error" in answer.json()["error"]


def refuses(tokens: int) -> dict[str, Any]:
    """The simulator's refusal of a text of so many tokens, as an inference server words it."""
    text = f"The input ({tokens} tokens) is longer than the model's context length (8192 tokens)."
    return {"status": 400, "body": {"error": {"code": 400, "message": text}}}


PATHS = {
    "/api/embed": lambda answer: [len(vector) for vector in answer["embeddings"]],
    "/api/embeddings": lambda answer: [len(answer["embedding"])],
    "/v1/embeddings": lambda answer: [len(item["embedding"]) for item in answer["data"]],
}


@pytest.mark.parametrize("path", PATHS)
def test_an_error_after_a_cut_tells_of_all_tries(proxy: ProxyServer, simulator: Simulator, path: str) -> None:
    simulator.queue(SMALL, refuses(20_000), {"error_name": "502_network"})
    text = "\u6f22\u5b57" * 4_000
    answer = proxy.post(path, {"model": SMALL, "input": text, "prompt": text})
    assert (answer.status_code, len(simulator.chats())) == (502, 2)
    assert answer.headers["X-Proxy-Chain"].count(SMALL) == 2


@pytest.mark.parametrize("path", PATHS)
def test_a_text_that_is_dense_in_tokens_is_cut_until_it_fits(
    proxy: ProxyServer, simulator: Simulator, path: str
) -> None:
    simulator.queue(SMALL, refuses(20_000), refuses(9_000))
    text = "\u6f22\u5b57" * 4_000
    answer = proxy.post(path, {"model": SMALL, "input": text, "prompt": text})
    assert (answer.status_code, PATHS[path](answer.json())) == (200, [384])
    assert answer.headers["X-Proxy-Attempts"] == "3"
    assert answer.headers["X-Proxy-Chain"].count(SMALL) == 3
    sent = [entry["body"]["input"] for entry in simulator.chats()]
    lengths = [len(one if isinstance(one, str) else one[0]) for one in sent]
    assert lengths == sorted(lengths, reverse=True)
    assert len(set(lengths)) == 3
    assert lengths[1] / lengths[0] == pytest.approx(0.95 * 8192 / 20_000, rel=0.01)


def test_it_is_not_cut_for_ever(proxy: ProxyServer, simulator: Simulator) -> None:
    simulator.scenario(SMALL, **refuses(20_000))
    answer = proxy.post("/api/embed", {"model": SMALL, "input": "\u6f22" * 8_000})
    assert (answer.status_code, len(simulator.chats())) == (400, 3), "what fits for certain is the last try"
    assert answer.json()["error"].startswith("prompt is too long: 20000 tokens > 8192 maximum")


def test_what_may_not_be_cut_is_refused_in_ollamas_words(proxy: ProxyServer, simulator: Simulator) -> None:
    simulator.queue(SMALL, refuses(20_000))
    body = {"model": SMALL, "input": "\u6f22" * 8_000, "truncate": False}
    check(proxy, post("/api/embed", body, 400, "the input length exceeds the context length"))
    assert len(simulator.chats()) == 1


def test_the_openai_api_gives_vectors_of_length_one_cut_as_asked(proxy: ProxyServer, simulator: Simulator) -> None:
    whole = check(proxy, Row("POST", "/api/embed", {"model": SMALL, "input": "a"})).json()["embeddings"][0]
    answer = proxy.post("/v1/embeddings", {"model": SMALL, "input": ["a", ""], "dimensions": 3}).json()
    scale = math.hypot(*whole[:3])
    assert answer["data"][0]["embedding"] == pytest.approx([value / scale for value in whole[:3]])
    assert math.hypot(*answer["data"][1]["embedding"]) == pytest.approx(1)
    sent = simulator.chats()[-1]["body"]
    assert ("dimensions" in sent, sent["input"]) == (False, ["a", " "]), "an empty text is refused upstream"
    assert proxy.post("/v1/embeddings", {"model": SMALL, "input": LONG}).ok
    assert len(simulator.chats()[-1]["body"]["input"]) < 8_192 * 4


def test_the_width_of_vectors_is_shown_once_it_is_known(start_proxy: Callable[..., ProxyServer]) -> None:
    server = start_proxy()

    def shown(**headers: str) -> Any:
        info = server.post("/api/show", {"model": SMALL}, headers=headers).json()["model_info"]
        return info.get(f"{info['general.architecture']}.embedding_length")

    assert shown() is None, "programs make tables of this width"
    assert shown(**{"User-Agent": "ktor-client"}) > 0, "koog fails on the whole list without a number"
    server.post("/v1/embeddings", {"model": SMALL, "input": "a", "dimensions": 7})
    assert shown() == 384
    assert shown(**{"User-Agent": "ktor-client"}) == 384
