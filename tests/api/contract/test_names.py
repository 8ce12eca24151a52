"""docs/contract.md, "Names": what a name means on each route, and the words if it means nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.api.contract.wire import Row, check, post
from tests.servers import ProxyServer

CHAT, GENERATE, SHOW, EMBED, EMBEDDINGS = "/api/chat", "/api/generate", "/api/show", "/api/embed", "/api/embeddings"
ROUTES = (CHAT, GENERATE, SHOW, EMBED, EMBEDDINGS)
INPUT = {
    CHAT: {"messages": [{"role": "user", "content": "hi"}], "stream": False},
    GENERATE: {"prompt": "hi", "stream": False},
    SHOW: {},
    EMBED: {"input": "hi"},
    EMBEDDINGS: {"prompt": "hi"},
}

REFUSED = {
    "missing": (
        {},
        (400, "model is required"),
        (404, "model '' not found"),
        (400, "model is required"),
        (404, "model '' not found"),
        (400, "model is required"),
    ),
    "blank": (
        {"model": " "},
        (400, "model is required"),
        (404, "model ' ' not found"),
        (400, "model is required"),
        (404, "model ' ' not found"),
        (400, "model is required"),
    ),
    "no name": ({"model": "a b"}, *[(400, "invalid model name")] * 5),
    "four parts": ({"model": "x/y/z/w"}, *[(400, "invalid model name")] * 5),
    "an empty tag": ({"model": "plain:"}, *[(400, "invalid model name")] * 5),
    "unknown": (
        {"model": "nosuch"},
        (404, "model 'nosuch' not found"),
        (404, "model 'nosuch' not found"),
        (404, "model 'nosuch:latest' not found"),
        (404, 'model "nosuch" not found, try pulling it first'),
        (404, 'model "nosuch" not found, try pulling it first'),
    ),
    "of ollama.com": (
        {"model": "nosuch:cloud"},
        (404, "model 'nosuch:cloud' not found"),
        (404, "model 'nosuch:cloud' not found"),
        (404, "model 'nosuch:cloud' not found"),
        (404, 'model "nosuch:cloud" not found, try pulling it first'),
        (404, 'model "nosuch:cloud" not found, try pulling it first'),
    ),
    "here and there at once": (
        {"model": "x:local:cloud"},
        *[(400, 'use either :local or :cloud, not both: "x:local:cloud"')] * 5,
    ),
    "another variant is another model": (
        {"model": "ember-4:nitro"},
        (404, "model 'ember-4:nitro' not found"),
        (404, "model 'ember-4:nitro' not found"),
        (404, "model 'ember-4:nitro' not found"),
        (404, 'model "ember-4:nitro" not found, try pulling it first'),
        (404, 'model "ember-4:nitro" not found, try pulling it first'),
    ),
}


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("case", REFUSED.values(), ids=REFUSED)
def test_a_name_that_means_nothing(named_only: ProxyServer, route: str, case: tuple[Any, ...]) -> None:
    status, text = case[1 + ROUTES.index(route)]
    check(named_only, post(route, case[0] | INPUT[route], status, text))


@pytest.mark.parametrize("route", [CHAT, GENERATE, SHOW])
def test_strict_models_makes_an_unknown_name_unknown_in_free_mode_too(
    start_proxy: Callable[..., ProxyServer], route: str
) -> None:
    tag = ":latest" if route == SHOW else ""
    server = start_proxy(strict_models="true")
    check(server, post(route, {"model": "nosuch"} | INPUT[route], 404, f"model 'nosuch{tag}' not found"))


def test_a_short_name_of_two_models_names_both(proxy: ProxyServer) -> None:
    text = "model 'beacon-24b' not found: say which one you mean, 'harbor/beacon-24b:free' or 'lantern/beacon-24b:free'"
    check(proxy, post(CHAT, {"model": "beacon-24b"} | INPUT[CHAT], 404, text))


@pytest.mark.parametrize("route", [CHAT, GENERATE, SHOW])
def test_a_model_of_ollama_com_is_unknown_in_free_mode_too(proxy: ProxyServer, route: str) -> None:
    """The CLI looks for `x:cloud` when there is no `x`, suggests what it finds, and then wants a sign-in."""
    check(proxy, post(route, {"model": "nosuch:20b-cloud"} | INPUT[route], 404, "model 'nosuch:20b-cloud' not found"))


FREE_MODE = {
    "the listed name": ("cirrus-ultra:free", "nimbus/cirrus-ultra:free"),
    "without its tag": ("cirrus-ultra", "nimbus/cirrus-ultra:free"),
    "the full id": ("nimbus/cirrus-ultra:free", "nimbus/cirrus-ultra:free"),
    "in capitals": ("CIRRUS-Ultra:FREE", "nimbus/cirrus-ultra:free"),
    "with blanks around": (" cirrus-ultra ", "nimbus/cirrus-ultra:free"),
    "the one on this machine": ("cirrus-ultra:local", "nimbus/cirrus-ultra:free"),
    "the free variant, not the paid one": ("ember-4", "tidal/ember-4:free"),
    "free, the best for the request": ("free", ":free"),  # which one that is depends on what was measured
    "free with its tag": ("free:latest", ":free"),
    "free with another order": ("free:fast", ":free"),
    "an unknown name means the free ones": ("llama3.2", "nimbus/cirrus-ultra:free"),
    "a paid model's name is unknown": ("vertex/omni-4", "nimbus/cirrus-ultra:free"),
}


@pytest.mark.parametrize("case", FREE_MODE.values(), ids=FREE_MODE)
def test_free_mode_asks_only_free_models_and_echoes_the_name(proxy: ProxyServer, case: tuple[str, str]) -> None:
    name, answering = case
    answer = check(proxy, Row("POST", CHAT, INPUT[CHAT] | {"model": name}, want={"model": name}))
    found = answer.headers["x-openrouter-model"]
    assert found.endswith(answering) if answering == ":free" else found == answering


OTHER_MODE = {
    "the listed name": ("ember-4:latest", "tidal/ember-4"),
    "without its tag": ("ember-4", "tidal/ember-4"),
    "another variant": ("ember-4:extended", "tidal/ember-4:extended"),
    "the full id": ("tidal/ember-4", "tidal/ember-4"),
    "the full id with the tag": ("tidal/ember-4:latest", "tidal/ember-4"),
    "free works here too": ("free", ":free"),
}


@pytest.mark.parametrize("case", OTHER_MODE.values(), ids=OTHER_MODE)
def test_outside_free_mode_a_name_means_its_model(named_only: ProxyServer, case: tuple[str, str]) -> None:
    name, answering = case
    answer = check(named_only, Row("POST", CHAT, INPUT[CHAT] | {"model": name}, want={"model": name}))
    found = answer.headers["x-openrouter-model"]
    assert found.endswith(answering) if answering == ":free" else found == answering


ORDER = {
    "broken JSON before all": (CHAT, b"{", "unexpected EOF"),
    "a wrong type before the name": (CHAT, {"model": "!", "stream": 1}, None),
    "top_logprobs before the name": (
        CHAT,
        {"model": "!", "top_logprobs": 99},
        "top_logprobs must be between 0 and 20",
    ),
    "the name before the options": (CHAT, {"model": "!", "options": {"seed": "x"}}, "invalid model name"),
    "ability before the options": (
        CHAT,
        {"model": "embed-small", "options": {"seed": "x"}},
        '"embed-small" does not support chat',
    ),
    "options before loading": (
        GENERATE,
        {"model": "plain-8b", "options": {"seed": "x"}},
        'option "seed" must be of type integer',
    ),
    "embed: the name before the input": (EMBED, {"model": "a b", "input": 5}, "invalid model name"),
    "embed: the input before the model exists": (EMBED, {"model": "nosuch", "input": 5}, "invalid input type"),
}


@pytest.mark.parametrize("case", ORDER.values(), ids=ORDER)
def test_the_order_of_checks(proxy: ProxyServer, case: tuple[str, Any, str | None]) -> None:
    route, body, text = case
    text = text or "json: cannot unmarshal number into Go struct field ChatRequest.stream of type bool"
    check(proxy, post(route, body, 400, text))
