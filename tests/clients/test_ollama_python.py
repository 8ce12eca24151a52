"""The official Python package, sync and async, as its users call it."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable, Iterator
from typing import Any

import ollama
import pytest
from pydantic import BaseModel

from simulator.process import Simulator
from tests.servers import ProxyServer

PNG = b"\x89PNG\r\n\x1a\n" + bytes(64)
HELLO = [{"role": "user", "content": "hello"}]


class Sync:
    """The package's client, called straight."""

    def __init__(self, server: ProxyServer) -> None:
        self._client = ollama.Client(server.url)

    def __call__(self, method: str, *args: Any, **options: Any) -> Any:
        """The result of a method; of a stream, the list of its parts."""
        result = getattr(self._client, method)(*args, **options)
        return list(result) if isinstance(result, Iterator) else result


class Async:
    """The asynchronous client, behind the same form."""

    def __init__(self, server: ProxyServer) -> None:
        self._url = server.url

    def __call__(self, method: str, *args: Any, **options: Any) -> Any:
        return asyncio.run(self._call(method, args, options))

    async def _call(self, method: str, args: Any, options: Any) -> Any:
        result = await getattr(ollama.AsyncClient(self._url), method)(*args, **options)
        return [part async for part in result] if hasattr(result, "__aiter__") else result


Client = Callable[..., Any]


@pytest.fixture(params=[Sync, Async])
def kind(request: pytest.FixtureRequest) -> Callable[[ProxyServer], Client]:
    made: Callable[[ProxyServer], Client] = request.param
    return made


@pytest.fixture
def client(kind: Callable[[ProxyServer], Client], proxy: ProxyServer) -> Client:
    return kind(proxy)


def test_list_and_show(client: Client) -> None:
    models = client("list").models
    assert {"free:latest", "cirrus-ultra:free", "embed-small:free"} <= {model.model for model in models}
    for model in models:
        shown = client("show", model.model)
        assert shown.capabilities
        assert shown.modelinfo["general.basename"]
        assert shown.modified_at == model.modified_at


def test_ps(client: Client) -> None:
    client("generate", "ember-4", keep_alive="10m")
    running = {model.model: model for model in client("ps").models}
    assert running["ember-4:free"].expires_at.tzinfo
    assert running["ember-4:free"].context_length == 100_000
    client("generate", "ember-4", keep_alive=0)


def test_chat(client: Client) -> None:
    answer = client("chat", "ember-4", HELLO)
    assert answer.message.content.endswith("You said: hello")
    assert answer.done_reason == "stop"
    assert answer.prompt_eval_count > 0
    assert answer.eval_count > 0


def test_chat_streamed(client: Client) -> None:
    parts = client("chat", "ember-4", HELLO, stream=True)
    assert "".join(part.message.content for part in parts).endswith("You said: hello")
    assert [part.done for part in parts] == [False] * (len(parts) - 1) + [True]


@pytest.mark.parametrize("text", ["a\u2028b\u2029c\u0085d", "\U0001f600\U0001f469\u200d\U0001f680 \u00fc"])
def test_text_that_breaks_lines_elsewhere(client: Client, text: str) -> None:
    parts = client("chat", "ember-4", [{"role": "user", "content": text}], stream=True)
    assert "".join(part.message.content for part in parts).endswith(text)


def test_generate(client: Client) -> None:
    answer = client("generate", "ember-4", "hello", system="be kind")
    assert answer.response.endswith("hello")
    assert answer.context == []
    parts = client("generate", "ember-4", "hello", stream=True)
    assert "".join(part.response for part in parts).endswith("hello")


def get_weather(city: str) -> str:
    """The weather.

    Args:
        city: where
    """
    return f"rain in {city}"


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
def test_tools_there_and_back(client: Client, simulator: Simulator, stream: bool) -> None:
    messages: list[Any] = [{"role": "user", "content": "call get_weather and call get_weather"}]
    simulator.scenario(
        "tidal/ember-4:free",
        times=1,
        tool_calls=[{"name": "get_weather", "arguments": {"city": city}} for city in ("Rome", "Oslo")],
    )
    answer = client("chat", "ember-4", messages, tools=[get_weather], stream=stream)
    turns = [part.message for part in answer] if stream else [answer.message]
    calls = [call for turn in turns for call in turn.tool_calls or []]
    assert [call.function.arguments for call in calls] == [{"city": "Rome"}, {"city": "Oslo"}]
    messages += [{"role": "assistant", "content": "", "tool_calls": calls}]
    messages += [
        {"role": "tool", "tool_name": "get_weather", "content": get_weather(**call.function.arguments)}
        for call in calls
    ]
    answer = client("chat", "ember-4", messages, tools=[get_weather])
    assert answer.message.content.endswith("The tool said: rain in Rome; rain in Oslo")


def test_images(client: Client, simulator: Simulator) -> None:
    client("chat", "lumen-vl-32b", [{"role": "user", "content": "look", "images": [PNG]}])
    part = simulator.chats()[-1]["body"]["messages"][-1]["content"][-1]
    assert part["image_url"]["url"] == f"data:image/png;base64,{base64.b64encode(PNG).decode()}"
    client("generate", "lumen-vl-32b", "look", images=[PNG])
    assert part in simulator.chats()[-1]["body"]["messages"][-1]["content"]


def test_thinking(client: Client) -> None:
    answer = client("chat", "cirrus-ultra", HELLO, think=True)
    assert answer.message.thinking
    assert client("chat", "cirrus-ultra", HELLO, think=False).message.thinking is None
    parts = client("chat", "cirrus-ultra", HELLO, think="high", stream=True)
    assert "".join(part.message.thinking or "" for part in parts) == answer.message.thinking
    assert client("generate", "cirrus-ultra", "hello", think=True).thinking == answer.message.thinking


def test_think_is_no_error_for_a_model_that_cannot(client: Client) -> None:
    assert client("chat", "plain-8b", HELLO, think=False).message.content


class Person(BaseModel):
    name: str
    age: int


def test_a_schema_as_format(client: Client) -> None:
    answer = client("chat", "schema-12b", HELLO, format=Person.model_json_schema())
    assert Person.model_validate_json(answer.message.content) == Person(name="text", age=1)


def test_embeddings(client: Client) -> None:
    assert len(client("embed", "embed-small", "a").embeddings) == 1
    assert len(client("embed", "embed-small", ["a", "b"], dimensions=8).embeddings[1]) == 8
    assert len(client("embeddings", "embed-small", "a").embedding) == 384


def test_pull(client: Client) -> None:
    assert client("pull", "ember-4").status == "success"
    assert [part.status for part in client("pull", "ember-4", stream=True)][-1] == "success"


NOT_HERE = {
    "pull of a model of ollama.com": ("pull", ("nosuch:cloud",), 501, "pull model manifest: file does not exist"),
    "delete of a model of OpenRouter's": ("delete", ("ember-4",), 501, "ember-4 is OpenRouter's"),
    "copy of an unknown model": ("copy", ("a", "b"), 404, 'model "a" not found'),
    "create out of nothing": ("create", ("a",), 400, "neither 'from' or 'files' was specified"),
    "push": ("push", ("a",), 501, "models cannot be pushed"),
    "an embedding of an unknown model": ("embed", ("nosuch", "a"), 404, 'model "nosuch" not found'),
    "an ambiguous name": ("chat", ("beacon-24b", HELLO), 404, "model 'beacon-24b' not found"),
    "no name": ("show", ("a b",), 400, "invalid model name"),
}


@pytest.mark.parametrize("case", NOT_HERE.values(), ids=NOT_HERE)
def test_errors_have_status_and_text(client: Client, case: tuple[str, tuple[Any, ...], int, str]) -> None:
    method, args, status, text = case
    with pytest.raises(ollama.ResponseError) as caught:
        client(method, *args)
    assert caught.value.status_code == status
    assert caught.value.error.startswith(text)


def test_create_show_chat_copy_and_delete(
    kind: Callable[[ProxyServer], Client], start_proxy: Callable[..., ProxyServer], simulator: Simulator
) -> None:
    client = kind(start_proxy())
    made = client("create", "mario", from_="ember-4", system="You are Mario.", parameters={"temperature": 0.6})
    assert made.status == "success"
    parts = client("create", "mario", from_="mario", license=["MIT"], stream=True)
    assert [part.status for part in parts][-2:] == ["writing manifest", "success"]
    shown = client("show", "mario")
    assert (shown.license, shown.template is not None) == ("MIT", True)
    assert "SYSTEM You are Mario." in shown.modelfile
    client("chat", "mario", HELLO)
    assert simulator.chats()[-1]["body"]["messages"][0] == {"role": "system", "content": "You are Mario."}
    assert client("copy", "mario", "luigi").status == "success"
    listed = {model.model: model.digest for model in client("list").models}
    assert listed["luigi:latest"] == listed["mario:latest"]
    assert client("delete", "mario").status == "success"
    assert client("delete", "luigi").status == "success"
    assert not {"mario:latest", "luigi:latest"} & {model.model for model in client("list").models}


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
def test_a_limit_is_429(
    kind: Callable[[ProxyServer], Client],
    start_proxy: Callable[..., ProxyServer],
    simulator: Simulator,
    stream: bool,
) -> None:
    simulator.scenario("/chat/completions", error_name="free_per_day")
    with pytest.raises(ollama.ResponseError) as caught:
        kind(start_proxy())("chat", "ember-4", HELLO, stream=stream)
    assert caught.value.status_code == 429


def test_an_error_in_the_middle_of_a_stream(
    kind: Callable[[ProxyServer], Client], start_proxy: Callable[..., ProxyServer], simulator: Simulator
) -> None:
    simulator.scenario("tidal/ember-4:free", tokens=20, in_stream_error=9, error_name="502_network")
    with pytest.raises(ollama.ResponseError, match="upstream error"):
        kind(start_proxy())("chat", "ember-4", HELLO, stream=True)
