"""The official `openai` package against the proxy: its own calls, its own types, its own exceptions."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import openai
import pytest
from openai import OpenAI
from pydantic import BaseModel

from simulator.process import Simulator
from tests.servers import PATIENCE, ProxyServer, wait_for

EMBER = "tidal/ember-4:free"
HELLO: Any = [{"role": "user", "content": "a b c"}]
SAID = f"This is {EMBER} speaking. You said: a b c"
TOOLS: Any = [
    {
        "type": "function",
        "function": {
            "name": "get_weather",
            "description": "the weather",
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
        },
    }
]


def client_of(proxy: ProxyServer, **options: Any) -> OpenAI:
    return OpenAI(base_url=f"{proxy.url}/v1", api_key="ollama", max_retries=0, timeout=PATIENCE, **options)


@pytest.fixture
def client(proxy: ProxyServer) -> Iterator[OpenAI]:
    with client_of(proxy) as made:
        yield made


def test_list_and_retrieve(client: OpenAI) -> None:
    ids = [model.id for model in client.models.list()]
    assert "ember-4:free" in ids
    assert "free:latest" in ids
    assert client.models.retrieve("tidal/ember-4:free").id == "tidal/ember-4:free"
    assert client.models.retrieve("ember-4:free").owned_by == "tidal"


def test_chat(client: OpenAI) -> None:
    answer = client.chat.completions.create(model="ember-4:free", messages=HELLO)
    assert answer.choices[0].message.content == SAID
    assert answer.choices[0].finish_reason == "stop"
    assert answer.model == EMBER
    assert answer.usage is not None
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens


@pytest.mark.parametrize("include_usage", [True, False])
def test_chat_streamed(client: OpenAI, include_usage: bool) -> None:
    stream = client.chat.completions.create(
        model="ember-4:free", messages=HELLO, stream=True, stream_options={"include_usage": include_usage}
    )
    chunks = list(stream)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == SAID
    assert [chunk.choices == [] for chunk in chunks if chunk.usage] == ([True] if include_usage else [])
    assert len({chunk.id for chunk in chunks}) == 1


def test_a_tool_call_and_its_result(client: OpenAI) -> None:
    messages: Any = [{"role": "user", "content": "weather"}]
    answer = client.chat.completions.create(model="ember-4:free", messages=messages, tools=TOOLS)
    message = answer.choices[0].message
    assert answer.choices[0].finish_reason == "tool_calls"
    [call] = message.tool_calls or []
    assert call.type == "function"
    assert json.loads(call.function.arguments).keys() == {"city"}
    messages += [message, {"role": "tool", "tool_call_id": call.id, "content": "sunny"}]
    told = client.chat.completions.create(model="ember-4:free", messages=messages, tools=TOOLS)
    assert told.choices[0].message.content == f"This is {EMBER} speaking. The tool said: sunny"


def test_tools_through_the_streaming_helper(client: OpenAI) -> None:
    messages: Any = [{"role": "user", "content": "weather"}]
    with client.chat.completions.stream(model="ember-4:free", messages=messages, tools=TOOLS) as stream:
        kinds = [event.type for event in stream]
        final = stream.get_final_completion()
    assert kinds.count("tool_calls.function.arguments.done") == 1
    [call] = final.choices[0].message.tool_calls or []
    assert call.function.name == "get_weather"


class City(BaseModel):
    name: str
    people: int


def test_structured_output(client: OpenAI) -> None:
    answer = client.chat.completions.parse(model="schema-12b:free", messages=HELLO, response_format=City)
    assert isinstance(answer.choices[0].message.parsed, City)


def test_completions(client: OpenAI) -> None:
    whole = client.completions.create(model="ember-4:free", prompt="a b c")
    pieces = client.completions.create(model="ember-4:free", prompt="a b c", stream=True)
    assert whole.choices[0].text == "".join(piece.choices[0].text for piece in pieces) == SAID


def test_embeddings_in_both_encodings(client: OpenAI, simulator: Simulator) -> None:
    # Without a format the SDK asks for base64 and decodes it.
    decoded = client.embeddings.create(model="embed-small:free", input=["x", "y"]).data
    plain = client.embeddings.create(model="embed-small:free", input=["x", "y"], encoding_format="float").data
    assert [entry["body"]["encoding_format"] for entry in simulator.chats()] == ["base64", "float"]
    assert [len(item.embedding) for item in decoded] == [384, 384]
    for one, other in zip(decoded, plain, strict=True):
        assert one.embedding == pytest.approx(other.embedding, abs=1e-6)


def test_responses(client: OpenAI) -> None:
    answer = client.responses.create(model="ember-4:free", input="a b c")
    assert answer.output_text == SAID
    assert answer.status == "completed"
    events = list(client.responses.create(model="ember-4:free", input="a b c", stream=True))
    assert events[0].type == "response.created"
    assert events[-1].type == "response.completed"
    assert "".join(event.delta for event in events if event.type == "response.output_text.delta") == SAID
    assert [event.sequence_number for event in events] == list(range(len(events)))


def test_tools_in_responses(client: OpenAI) -> None:
    tool: Any = {"type": "function", **TOOLS[0]["function"]}
    with client.responses.stream(model="ember-4:free", input="weather", tools=[tool]) as stream:
        for _ in stream:
            pass
        [call] = [item for item in stream.get_final_response().output if item.type == "function_call"]
    assert call.name == "get_weather"
    history: Any = [
        {"role": "user", "content": "weather"},
        {"type": "function_call", "call_id": call.call_id, "name": call.name, "arguments": call.arguments},
        {"type": "function_call_output", "call_id": call.call_id, "output": "sunny"},
    ]
    told = client.responses.create(model="ember-4:free", input=history, tools=[tool])
    assert told.output_text.endswith("The tool said: sunny")


# Errors


def test_what_the_client_got_wrong(client: OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as unknown:
        client.models.retrieve("beacon-24b")
    assert unknown.value.type == "not_found_error"
    with pytest.raises(openai.BadRequestError) as empty:
        client.chat.completions.create(model="ember-4:free", messages=[])
    assert empty.value.body == {
        "message": "[] is too short - 'messages'",
        "type": "invalid_request_error",
        "param": None,
        "code": None,
    }
    with pytest.raises(openai.NotFoundError):
        client.embeddings.create(model="nosuch", input="x")


def test_a_key_that_is_demanded(start_proxy: Callable[..., ProxyServer]) -> None:
    proxy = start_proxy(proxy_api_keys="right", ready=False)
    with pytest.raises(openai.AuthenticationError):
        client_of(proxy).models.list()
    with OpenAI(base_url=f"{proxy.url}/v1", api_key="right") as client:
        assert wait_for(lambda: client.models.list().data, what="a catalogue")


@pytest.mark.parametrize(
    ("scenario", "raised", "status"),
    [
        ({"error_name": "400_empty_input"}, openai.BadRequestError, 400),
        ({"error_name": "403_moderation"}, openai.BadRequestError, 400),
        ({"error_name": "422"}, openai.UnprocessableEntityError, 422),
        ({"error_name": "502"}, openai.InternalServerError, 503),
        ({"empty": True}, openai.InternalServerError, 503),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else None,
)
def test_errors_before_the_first_word(
    forgetful: ProxyServer,
    simulator: Simulator,
    scenario: dict[str, Any],
    raised: type[openai.APIStatusError],
    status: int,
) -> None:
    simulator.scenario("*", **scenario)
    check_error(forgetful, raised, status)


@pytest.mark.parametrize(
    ("scenario", "raised", "status"),
    [
        ({"error_name": "free_per_day", "reset_in": 3600}, openai.RateLimitError, 429),
        ({"error_name": "402_credits"}, openai.InternalServerError, 502),
    ],
    ids=["limit", "credits"],
)
def test_errors_of_the_account(
    start_proxy: Callable[..., ProxyServer],
    simulator: Simulator,
    scenario: dict[str, Any],
    raised: type[openai.APIStatusError],
    status: int,
) -> None:
    simulator.scenario("*", **scenario)
    check_error(start_proxy(), raised, status)


def check_error(proxy: ProxyServer, raised: type[openai.APIStatusError], status: int) -> None:
    """The SDK raises it, streamed and not."""
    with client_of(proxy) as client:
        for stream in (False, True):
            with pytest.raises(raised) as caught:
                client.chat.completions.create(model="ember-4:free", messages=HELLO, stream=stream)
            assert caught.value.status_code == status
            assert isinstance(caught.value.body, dict)
            assert status != 429 or " UTC, in " in caught.value.message


def test_an_error_in_the_middle_of_a_stream_is_raised(forgetful: ProxyServer, simulator: Simulator) -> None:
    simulator.scenario(EMBER, tokens=20, in_stream_error=8, error_name="502")
    with client_of(forgetful) as client:
        chunks: list[Any] = []
        with pytest.raises(openai.APIError, match="upstream error"):
            chunks.extend(client.chat.completions.create(model="ember-4:free", messages=HELLO, stream=True))
        assert [chunk.choices[0].delta.content for chunk in chunks[:2]] == ["t0 ", "t1 "]
        events: list[Any] = []
        with pytest.raises(openai.APIError, match="upstream error"):
            events.extend(client.responses.create(model="ember-4:free", input="x", stream=True))
        assert events[-1].type == "response.failed"


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_leaving_ends_the_call_upstream(proxy: ProxyServer, simulator: Simulator, stream: bool) -> None:
    simulator.scenario(EMBER, tokens=50, hold="gate", **({"hold_at": 10} if stream else {"before_headers": True}))
    with client_of(proxy).with_options(timeout=PATIENCE if stream else 1.0) as client:
        if stream:
            answer = client.chat.completions.create(model="ember-4:free", messages=HELLO, stream=True)
            assert next(iter(answer)).choices[0].delta.content == "t0 "
            answer.close()
        else:
            with pytest.raises(openai.APITimeoutError):
                client.chat.completions.create(model="ember-4:free", messages=HELLO)
    [entry] = simulator.chats(outcome="client_gone", wait=5)
    assert entry["outcome"] == "client_gone"


CUSTOM: Any = {"type": "custom", "name": "apply_patch", "description": "patches"}


def test_responses_with_a_custom_tool(client: OpenAI) -> None:
    with client.responses.stream(model="ember-4:free", input="call apply_patch", tools=[CUSTOM]) as events:
        types = [event.type for event in events]
        response = events.get_final_response()
    assert "response.custom_tool_call_input.done" in types
    [call] = response.output
    assert (call.type, call.name, call.input) == ("custom_tool_call", "apply_patch", "input for apply_patch")


def test_responses_with_a_custom_tool_that_the_model_refuses(forgetful: ProxyServer, simulator: Simulator) -> None:
    simulator.scenario(EMBER, error_name="400_tool_type", only_for='"custom"', times=1)
    simulator.scenario(EMBER, tool_calls=[{"name": "apply_patch", "arguments": '{"input":"*** Begin"}'}])
    with client_of(forgetful) as client:
        tools: Any = [CUSTOM]
        with client.responses.stream(model="ember-4:free", input="go", tools=tools) as events:
            told = list(events)
            response = events.get_final_response()
    [call] = response.output
    assert (call.type, call.name, call.input) == ("custom_tool_call", "apply_patch", "*** Begin")
    assert [event.type for event in told if "custom_tool_call_input" in event.type] == [
        "response.custom_tool_call_input.delta",
        "response.custom_tool_call_input.done",
    ]


@pytest.mark.parametrize("stream", [True, False])
def test_a_search_that_nobody_may_run_has_failed(client: OpenAI, simulator: Simulator, stream: bool) -> None:
    tools: Any = [{"type": "web_search"}]
    if stream:
        with client.responses.stream(model="free", input="find it", tools=tools) as events:
            response: Any = list(events) and events.get_final_response()
    else:
        response = client.responses.create(model="free", input="find it", tools=tools)
    call, message = response.output
    assert (call.type, call.status, call.action.query) == ("web_search_call", "failed", "find it")
    assert message.content[0].text == response.output_text
    assert "not available" in response.output_text
    assert simulator.chats() == []
