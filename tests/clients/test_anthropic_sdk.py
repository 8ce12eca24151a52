"""The official `anthropic` package against the proxy: its own calls, and the exceptions it raises."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from simulator.process import Simulator
from tests.servers import ProxyServer, wait_for

anthropic = pytest.importorskip("anthropic")

FIRST, SECOND = "nimbus/cirrus-ultra:free", "orchid/lumen-vl-32b:free"
UPSTREAM = "/api/v1/messages"
WEATHER: dict[str, Any] = {
    "name": "get_weather",
    "description": "The weather in a city",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
ASK: dict[str, Any] = {"model": "any", "max_tokens": 200, "messages": [{"role": "user", "content": "hello there"}]}
THINK: dict[str, Any] = {"max_tokens": 4000, "thinking": {"type": "enabled", "budget_tokens": 2000}}


def client_of(proxy: ProxyServer) -> Any:
    return anthropic.Anthropic(base_url=proxy.url, api_key="ollama", max_retries=0, timeout=30)


@pytest.fixture
def client(proxy: ProxyServer) -> Any:
    return client_of(proxy)


def test_a_message(client: Any) -> None:
    message = client.messages.create(**ASK)
    assert message.role == "assistant"
    assert [block.type for block in message.content] == ["thinking", "text"]
    assert message.content[-1].text == f"This is {FIRST} speaking. You said: hello there"
    assert (message.stop_reason, message.usage.output_tokens > 0) == ("end_turn", True)


def test_a_message_of_the_beta_api(client: Any, simulator: Simulator) -> None:
    message = client.beta.messages.create(
        **ASK, betas=["context-management-2025-06-27"], context_management={"edits": []}
    )
    assert message.content[-1].text.endswith("hello there")
    assert simulator.log(path=UPSTREAM)[0]["body"]["context_management"] == {"edits": []}


def test_a_stream_of_text(client: Any) -> None:
    with client.messages.stream(**ASK) as stream:
        pieces = list(stream.text_stream)
        final = stream.get_final_message()
    assert len(pieces) > 3
    assert "".join(pieces) == final.content[-1].text == f"This is {FIRST} speaking. You said: hello there"
    assert (final.stop_reason, final.usage.output_tokens > 3) == ("end_turn", True)


def test_a_stream_of_raw_events(client: Any) -> None:
    kinds = [event.type for event in client.messages.create(**ASK, stream=True)]
    assert (kinds[0], kinds[-2:]) == ("message_start", ["message_delta", "message_stop"])


def test_a_stream_of_thinking(client: Any) -> None:
    with client.messages.stream(**{**ASK, **THINK}) as stream:
        thoughts = [event.thinking for event in stream if event.type == "thinking"]
        final = stream.get_final_message()
    assert [block.type for block in final.content] == ["thinking", "text"]
    assert "".join(thoughts) == final.content[0].thinking
    assert final.content[0].signature


def test_a_stream_answered_by_a_whole_message(client: Any, simulator: Simulator) -> None:
    calls = [{"name": "get_weather", "arguments": '{"city":"Oslo"}', "id": "t1"}]
    simulator.queue(FIRST, {"whole_json": True, "text": "all at once", "reasoning": "hm", "tool_calls": calls})
    with client.messages.stream(**ASK, tools=[WEATHER]) as stream:
        final = stream.get_final_message()
    assert [block.type for block in final.content] == ["thinking", "text", "tool_use"]
    assert (final.content[1].text, final.content[2].input) == ("all at once", {"city": "Oslo"})


@pytest.mark.parametrize("stream", [False, True])
def test_a_tool_is_called_and_its_result_understood(client: Any, stream: bool) -> None:
    def answer(messages: list[Any]) -> Any:
        request = {"model": "any", "max_tokens": 200, "tools": [WEATHER], "messages": messages}
        if not stream:
            return client.messages.create(**request)
        with client.messages.stream(**request) as events:
            return events.get_final_message()

    history: list[Any] = [{"role": "user", "content": "what is the weather in Oslo?"}]
    first = answer(history)
    [call] = [block for block in first.content if block.type == "tool_use"]
    assert (first.stop_reason, call.name, list(call.input)) == ("tool_use", "get_weather", ["city"])
    history += [
        {"role": "assistant", "content": first.content},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": call.id, "content": "snow"}]},
    ]
    last = answer(history)
    assert (last.stop_reason, last.content[-1].text) == ("end_turn", f"This is {FIRST} speaking. The tool said: snow")


def test_pings_before_and_between_the_events_are_no_trouble(
    start_proxy: Callable[..., ProxyServer], simulator: Simulator
) -> None:
    proxy = start_proxy(heartbeat_seconds=0.1)
    simulator.queue(FIRST, {"silence": 0.5, "before_headers": True}, {"silence": 0.5, "silence_at": 8})
    for _ in range(2):
        with client_of(proxy).messages.stream(**ASK) as stream:
            assert stream.get_final_message().content[-1].text.endswith("hello there")


@pytest.mark.parametrize(
    ("body", "raised"),
    [
        pytest.param({"max_tokens": 0}, "BadRequestError", id="bad request"),
        pytest.param({"model": "lexicon/embed-small:free"}, "BadRequestError", id="no chat model"),
        pytest.param({"model": "no/such-model"}, "NotFoundError", id="unknown model"),
    ],
)
def test_refusals_of_the_proxy(strict_proxy: ProxyServer, body: dict[str, Any], raised: str) -> None:
    with pytest.raises(getattr(anthropic, raised)) as refusal:
        client_of(strict_proxy).messages.create(**{**ASK, **body})
    assert refusal.value.body["error"]["type"] in ("invalid_request_error", "not_found_error")


#: What upstream says of the request, and what the SDK makes of what the proxy makes of it.
RAISED = [
    ("400_input_required", "BadRequestError", "invalid_request_error"),
    ("403_moderation", "BadRequestError", "invalid_request_error"),
    ("413", "ContentTooLargeError", "request_too_large"),
    ("404_no_endpoints", "NotFoundError", "not_found_error"),
    ("422", "UnprocessableEntityError", "invalid_request_error"),
    ("pool_429", "RateLimitError", "rate_limit_error"),
    ("502", "InternalServerError", "api_error"),
    ("529", "InternalServerError", "overloaded_error"),
    ("504", "InternalServerError", "api_error"),
]


@pytest.fixture(scope="module")
def shared_strict_proxy(shared_simulator: Simulator, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Outside free mode only the asked model is tried, so that one failure is the answer."""
    with ProxyServer(tmp_path_factory.mktemp("strict"), shared_simulator.url, free_mode=False) as proxy:
        yield proxy


@pytest.fixture
def strict_proxy(shared_strict_proxy: ProxyServer, simulator: Simulator) -> ProxyServer:
    return shared_strict_proxy


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("name", "raised", "kind"), RAISED, ids=[name for name, _, _ in RAISED])
def test_errors_before_the_answer_raise_the_sdks_exceptions(
    strict_proxy: ProxyServer, simulator: Simulator, name: str, raised: str, kind: str, stream: bool
) -> None:
    simulator.queue("vertex/omni-4", {"error_name": name})
    with pytest.raises(getattr(anthropic, raised)) as error:
        client_of(strict_proxy).messages.create(**{**ASK, "model": "vertex/omni-4"}, stream=stream)
    assert error.value.body["error"]["type"] == kind


def test_a_key_that_is_demanded_is_taken_from_the_sdks_header(start_proxy: Callable[..., ProxyServer]) -> None:
    proxy = start_proxy(proxy_api_keys="right", ready=False)
    with pytest.raises(anthropic.AuthenticationError) as error:
        client_of(proxy).messages.create(**ASK)
    assert error.value.body["error"]["type"] == "authentication_error"
    client = anthropic.Anthropic(base_url=proxy.url, api_key="right", max_retries=0, timeout=30)
    answer = wait_for(lambda: _answer_or_none(client), what="a catalogue")
    assert answer.content[-1].text.endswith("hello there")


def test_a_client_from_elsewhere_raises_permission_denied(start_proxy: Callable[..., ProxyServer]) -> None:
    proxy = start_proxy(allow_networks="192.0.2.0/24", ready=False)
    with pytest.raises(anthropic.PermissionDeniedError) as error:
        client_of(proxy).messages.create(**ASK)
    assert error.value.body["error"]["type"] == "permission_error"


def _answer_or_none(client: Any) -> Any:
    try:
        return client.messages.create(**ASK)
    except anthropic.InternalServerError:
        return None


def test_an_error_in_the_middle_raises_behind_the_text(forgetful: ProxyServer, simulator: Simulator) -> None:
    simulator.queue(FIRST, {"in_stream_error": 6, "error_name": "529", "reasoning": False})
    pieces: list[str] = []
    with (
        pytest.raises(anthropic.APIStatusError, match="upstream error") as error,
        client_of(forgetful).messages.stream(**ASK) as stream,
    ):
        pieces.extend(stream.text_stream)
    assert pieces
    assert error.value.body["error"]["type"] == "overloaded_error"


def test_another_model_answers_unseen(forgetful: ProxyServer, simulator: Simulator) -> None:
    simulator.queue(FIRST, {"in_stream_error": 1, "error_name": "502"})
    with client_of(forgetful).messages.stream(**ASK) as stream:
        final = stream.get_final_message()
    assert final.content[-1].text == f"This is {SECOND} speaking. You said: hello there"


def test_closing_a_stream_ends_the_upstream_call(client: Any, simulator: Simulator) -> None:
    simulator.queue(FIRST, {"hold": "gone", "hold_at": 6, "reasoning": False})
    with client.messages.stream(**ASK) as stream:
        assert next(iter(stream.text_stream))
    wait_for(lambda: simulator.log(path=UPSTREAM, outcome="client_gone"), what="upstream is closed")


def test_cancelling_a_task_ends_the_upstream_call(proxy: ProxyServer, simulator: Simulator) -> None:
    simulator.queue(FIRST, {"hold": "gone", "before_headers": True})

    async def cancelled() -> None:
        async with anthropic.AsyncAnthropic(base_url=proxy.url, api_key="ollama", max_retries=0) as client:
            task = asyncio.create_task(client.messages.create(**ASK))
            await asyncio.to_thread(simulator.log, path=UPSTREAM, holding="gone", wait=10)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(cancelled())
    wait_for(lambda: simulator.log(path=UPSTREAM, outcome="client_gone"), what="upstream is closed")


def test_the_tool_runner_sends_everything_again_because_no_thread_is_kept(client: Any, simulator: Simulator) -> None:
    """Its later turns hold only what is new, until the server says that it does not know the thread."""

    @anthropic.beta_tool
    def get_weather(city: str) -> str:
        """The weather in a city."""
        return f"sunny in {city}"

    question = {"role": "user", "content": "what is the weather in Paris?"}
    runner = client.beta.messages.tool_runner(model=FIRST, max_tokens=500, tools=[get_weather], messages=[question])
    final = runner.until_done()
    assert "The tool said: sunny in" in final.content[-1].text
    sent = [entry["body"] for entry in simulator.log(path=UPSTREAM)]
    assert [len(body["messages"]) for body in sent] == [1, 3], "a refused turn is sent to nobody"
    assert all("thread" not in body for body in sent)


def test_a_continued_thread_is_refused_as_the_sdk_knows_it(client: Any, simulator: Simulator) -> None:
    with pytest.raises(anthropic.BadRequestError) as caught:
        client.beta.messages.create(**ASK, thread={"type": "continue", "previous_message_id": "msg_1"})
    assert caught.value.body["error"]["details"] == {"error_code": "thread_not_found"}
    assert simulator.chats() == []
    assert client.beta.messages.create(**ASK, thread={"type": "create"}).content[-1].text.endswith("hello there")


def test_a_long_wait_is_not_slept_through(start_proxy: Callable[..., ProxyServer], simulator: Simulator) -> None:
    simulator.scenario("*", error_name="free_per_day", reset_in=7200)
    patient = anthropic.Anthropic(base_url=start_proxy().url, api_key="ollama", max_retries=2, timeout=30)
    with pytest.raises(anthropic.RateLimitError, match=" UTC, in "):
        patient.messages.create(**ASK)
    assert len(simulator.chats()) == 1, "x-should-retry stops the SDK"


WEB_SEARCH: Any = {"type": "web_search_20250305", "name": "web_search", "max_uses": 8}


@pytest.mark.parametrize("stream", [True, False])
def test_a_search_that_nobody_may_run_has_failed(client: Any, simulator: Simulator, stream: bool) -> None:
    """As Claude Code's WebSearch reads it: an error in the place of the results, and the reason as text."""
    asked = {**ASK, "tools": [WEB_SEARCH]}
    if stream:
        with client.messages.stream(**asked) as events:
            types = [event.type for event in events]
            message = events.get_final_message()
        assert (types[0], types[-1]) == ("message_start", "message_stop")
    else:
        message = client.messages.create(**asked)
    use, result, text = message.content
    assert (use.type, use.name, use.input) == ("server_tool_use", "web_search", {"query": "hello there"})
    assert (result.tool_use_id, result.content.type, result.content.error_code) == (
        use.id,
        "web_search_tool_result_error",
        "unavailable",
    )
    assert "not available" in text.text
    assert (message.stop_reason, simulator.chats()) == ("end_turn", [])


def test_a_stop_sequence_ends_a_stream(client: Any, simulator: Simulator) -> None:
    simulator.control("models", {"patch": {FIRST: {"supported_parameters": ["max_tokens"]}}})
    with client.messages.stream(**ASK, stop_sequences=["speaking", "zzz"]) as events:
        message = events.get_final_message()
    assert message.content[-1].text == f"This is {FIRST} "
    assert (message.stop_reason, message.stop_sequence) == ("stop_sequence", "speaking")
    assert message.usage.output_tokens > 0
