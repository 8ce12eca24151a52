"""langchain-ollama: tools, structured output, reasoning, usage and embeddings."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_ollama import ChatOllama, OllamaEmbeddings
from pydantic import BaseModel

from simulator.process import Simulator
from tests.servers import ProxyServer


@tool
def get_weather(city: str) -> str:
    """The weather in a city."""
    return f"rain in {city}"


class Person(BaseModel):
    """A person."""

    name: str
    age: int


def chat(proxy: ProxyServer, model: str = "ember-4", **options: Any) -> ChatOllama:
    return ChatOllama(model=model, base_url=proxy.url, **options)


@pytest.mark.parametrize("name", ["ember-4:free", "ember-4", "free", "free:latest"])
def test_the_model_is_in_the_list(proxy: ProxyServer, name: str) -> None:
    assert chat(proxy, name, validate_model_on_init=True).invoke("hello").text.endswith("hello")


def test_two_parallel_tool_calls_and_their_results(proxy: ProxyServer, simulator: Simulator) -> None:
    """Ids do not survive in the package below: results are paired by order."""
    calls = [{"name": "get_weather", "arguments": {"city": city}} for city in ("Rome", "Oslo")]
    simulator.scenario("tidal/ember-4:free", times=1, tool_calls=calls)
    bound = chat(proxy).bind_tools([get_weather])
    messages: list[Any] = [HumanMessage("what is the weather?")]
    answer = bound.invoke(messages)
    assert isinstance(answer, AIMessage)
    assert [call["args"] for call in answer.tool_calls] == [{"city": "Rome"}, {"city": "Oslo"}]
    results = [get_weather.invoke(call) for call in answer.tool_calls]
    assert all(isinstance(result, ToolMessage) for result in results)
    last = bound.invoke([*messages, answer, *results])
    assert last.text.endswith("The tool said: rain in Rome; rain in Oslo")
    sent = simulator.chats()[-1]["body"]["messages"]
    ids = [call["id"] for message in sent for call in message.get("tool_calls", [])]
    assert ids == [message["tool_call_id"] for message in sent if message["role"] == "tool"]
    assert len(set(ids)) == 2


@pytest.mark.parametrize("method", ["json_schema", "function_calling", "json_mode"])
def test_structured_output(proxy: ProxyServer, simulator: Simulator, method: Any) -> None:
    if method == "json_mode":
        simulator.scenario("quarry/schema-12b:free", times=1, text='{"name": "text", "age": 1}')
    if method == "function_calling":
        call = {"name": "Person", "arguments": {"name": "text", "age": 1}}
        simulator.scenario("quarry/schema-12b:free", times=1, tool_calls=[call])
    found = chat(proxy, "schema-12b").with_structured_output(Person, method=method).invoke("who?")
    assert found == Person(name="text", age=1)


def test_reasoning(proxy: ProxyServer) -> None:
    thought = chat(proxy, "cirrus-ultra", reasoning=True).invoke("hello")
    assert thought.additional_kwargs["reasoning_content"]
    assert "reasoning_content" not in chat(proxy, "cirrus-ultra", reasoning=False).invoke("hello").additional_kwargs


def test_usage_is_not_counted_twice(proxy: ProxyServer) -> None:
    whole = chat(proxy).invoke("hello").usage_metadata
    total = AIMessageChunk("")
    for part in chat(proxy).stream("hello"):
        total += part  # type: ignore[assignment]
    assert total.usage_metadata == whole
    assert total.response_metadata["done_reason"] == "stop"


def test_embeddings(proxy: ProxyServer) -> None:
    embeddings = OllamaEmbeddings(model="embed-small", base_url=proxy.url)
    assert [len(vector) for vector in embeddings.embed_documents(["a", "b"])] == [384, 384]
    assert embeddings.embed_query("a") == embeddings.embed_documents(["a"])[0]
