"""Reads the requests of the OpenAI API: the body to pass on, and what the proxy must know about it.

`read_*` turns the bytes of a body into a `PassedRequest` or raises BadRequest with Ollama's text. A body is changed
only where Ollama accepts something that OpenRouter would refuse (docs/contract.md, "Bodies that are passed through").
Knows neither HTTP nor the catalogue.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ollama_proxy import limits
from ollama_proxy.bodies.client_tools import needed_server_tool
from ollama_proxy.bodies.sampling import MOST_STOPS, put_in_range, stops_of
from ollama_proxy.errors import BadRequest, ModelNotFound
from ollama_proxy.fallback.needs import Needs
from ollama_proxy.gojson.text import quote
from ollama_proxy.openai import needs, schemas, tool_filter
from ollama_proxy.openai.chat_messages import repaired_messages, repaired_tools
from ollama_proxy.openai.response_items import repaired_items
from ollama_proxy.openai.tool_forms import ToolForms, with_known_forms

#: The allowed efforts; OpenRouter knows all of them but Ollama's "ultra".
_EFFORTS = frozenset({"minimal", "low", "medium", "high", "xhigh", "ultra", "max", "none"})
_ALLOWED_EFFORTS = '"minimal", "low", "medium", "high", "xhigh", "ultra", "max", or "none"'

#: Fields of `reasoning` that say how much to think.
_SAY_HOW_MUCH = frozenset({"effort", "enabled", "max_tokens"})


#: What `include` of /responses may ask for (https://openrouter.ai/openapi.json); anything else is refused there.
_INCLUDED = (
    "reasoning.encrypted_content",
    "message.input_image.image_url",
    "file_search_call.results",
    "code_interpreter_call.outputs",
    "computer_call_output.output.image_url",
)


@dataclass(frozen=True, slots=True)
class PassedRequest:
    """A request to pass on.

    `name` is the model as the client wrote it, `body` goes upstream once it is fitted to a model, `limit_name` is the
    field that limits the output. `stops` are all stop strings, of which the body holds as many as OpenRouter takes.
    `unavailable` is the type of a tool that a server must run to answer, where none may be run. `forms` are tools of
    /responses in other forms than the client's.
    """

    name: str
    body: dict[str, Any]
    needs: Needs
    stream: bool = False
    limit_name: str = "max_tokens"
    stops: tuple[str, ...] = ()
    unavailable: str | None = None
    forms: ToolForms | None = None

    @property
    def include_usage(self) -> bool:
        """True if the client wants the usage in its stream, in OpenAI's words or in OpenRouter's."""
        options, usage = self.body.get("stream_options"), self.body.get("usage")
        if isinstance(usage, dict) and usage.get("include") is True:
            return True
        return isinstance(options, dict) and options.get("include_usage") is True

    @property
    def echoed(self) -> str:
        """The prompt of a completion whose answer is to begin with it (`echo`), else ""."""
        prompt = self.body.get("prompt") if self.body.get("echo") is True else None
        return prompt if isinstance(prompt, str) else ""

    @property
    def says_nothing(self) -> bool:
        """True for a completion without a prompt, a response without input, or a chat whose messages are all lists of
        no parts: there is nothing to answer.
        """
        messages = self.body.get("messages")
        if isinstance(messages, list):
            return all(
                isinstance(one, dict) and one.get("content") == [] and not one.get("tool_calls") for one in messages
            )
        return messages is None and not (self.body.get("prompt") or self.body.get("input"))


def read_chat(data: bytes, *, free_mode: bool) -> PassedRequest:
    """Read the body of POST /v1/chat/completions. Raises BadRequest."""
    body = schemas.read(schemas.CHAT, data)
    if not body.get("messages"):
        raise BadRequest("[] is too short - 'messages'")
    name = _model_of(body)
    body["messages"] = repaired_messages(body["messages"])
    _fix_efforts(body)
    put_in_range(body)
    stops = _fit_stops(body)
    unavailable = needed_server_tool(body) if free_mode and "tools" in body else None
    repaired_tools(body)
    tool_filter.keep_known_tools(body, tool_filter.only_functions if free_mode else tool_filter.chat_tools)
    limit = "max_completion_tokens" if "max_completion_tokens" in body else "max_tokens"
    needed = needs.chat_needs(body)
    return PassedRequest(name, body, needed, body.get("stream") is True, limit, stops, unavailable)


def read_completion(data: bytes) -> PassedRequest:
    """Read the body of POST /v1/completions. Raises BadRequest, ModelNotFound."""
    body = schemas.read(schemas.COMPLETION, data)
    name = body.get("model") or ""
    if not name.strip():
        raise ModelNotFound(f"model '{name}' not found")
    put_in_range(body)
    stops = _fit_stops(body)
    return PassedRequest(name, body, needs.completion_needs(body), body.get("stream") is True, stops=stops)


def read_responses(data: bytes, *, free_mode: bool) -> PassedRequest:
    """Read the body of POST /v1/responses. Raises BadRequest."""
    body = schemas.read(schemas.RESPONSES, data)
    name = _model_of(body)
    # What points to something that a server has stored: OpenRouter refuses it, Ollama ignores it.
    body.pop("previous_response_id", None)
    if body.get("store") is not False:
        body.pop("store", None)
    if isinstance(body.get("include"), list):
        body["include"] = [wanted for wanted in body["include"] if wanted in _INCLUDED]
    _fix_efforts(body)
    put_in_range(body)
    unavailable = needed_server_tool(body) if free_mode else None
    known = tool_filter.client_response_tools if free_mode else tool_filter.response_tools
    if isinstance(body.get("input"), list):
        limits.check_count(len(body["input"]), limits.MESSAGES, "items in input")
        body["input"] = repaired_items(body["input"], has_nulls=b"null" in data)
    forms = with_known_forms(body)
    tool_filter.keep_known_tools(body, known)
    needed = needs.responses_needs(body)
    streamed = body.get("stream") is True
    return PassedRequest(name, body, needed, streamed, "max_output_tokens", unavailable=unavailable, forms=forms)


def _fit_stops(body: dict[str, Any]) -> tuple[str, ...]:
    """Leave as many stop strings in the body as OpenRouter takes, and return all. Raises BadRequest."""
    if "stop" not in body:
        return ()
    stops = stops_of(body["stop"])
    if not stops:
        del body["stop"]
    elif stops != body["stop"] and [body["stop"]] != stops:
        body["stop"] = stops
    if len(stops) > MOST_STOPS:
        body["stop"] = stops[:MOST_STOPS]
    return tuple(stops)


def _model_of(body: dict[str, Any]) -> str:
    name: str = body.get("model") or ""
    if not name.strip():
        raise BadRequest("model is required")
    return name


def _fix_efforts(body: dict[str, Any]) -> None:
    reasoning = body.get("reasoning")
    if isinstance(reasoning, dict) and isinstance(reasoning.get("effort"), str):
        effort = _effort(reasoning["effort"])
        rest = {name: value for name, value in reasoning.items() if name != "effort"}
        body["reasoning"] = reasoning = {**rest, "effort": effort} if effort else rest
    if isinstance(body.get("reasoning_effort"), str):
        body["reasoning_effort"] = _effort(body["reasoning_effort"])
        if body["reasoning_effort"] is None:
            del body["reasoning_effort"]
    if isinstance(reasoning, dict) and "reasoning_effort" in body:
        # OpenRouter refuses two efforts; to Ollama the one in `reasoning` counts.
        effort = body.pop("reasoning_effort")
        if not _SAY_HOW_MUCH & reasoning.keys():
            body["reasoning"] = {**reasoning, "effort": effort}


def _effort(effort: str) -> str | None:
    """Return the effort in OpenRouter's words, None for an empty one. Raises BadRequest for an unknown one."""
    if effort and effort not in _EFFORTS:
        raise BadRequest(f"invalid reasoning value: {quote(effort)} (must be {_ALLOWED_EFFORTS})")
    return "max" if effort == "ultra" else effort or None
