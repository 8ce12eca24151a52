"""Reads the requests of the OpenAI API: the body to pass on, and what the proxy must know about it.

`read_*` turns the bytes of a body into a `PassedRequest` or raises BadRequest with Ollama's text. A body is changed
only where Ollama accepts something that OpenRouter would refuse (docs/contract.md, "Requests"). Knows neither HTTP nor
the catalogue.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ollama_proxy import limits
from ollama_proxy.errors import BadRequest, ModelNotFound
from ollama_proxy.fallback.needs import Needs
from ollama_proxy.gojson.codec import encode_body
from ollama_proxy.gojson.text import kind, quote
from ollama_proxy.openai import needs, schemas, tool_filter

#: The allowed efforts; OpenRouter knows all of them but Ollama's "ultra".
_EFFORTS = frozenset({"minimal", "low", "medium", "high", "xhigh", "ultra", "max", "none"})
_ALLOWED_EFFORTS = '"minimal", "low", "medium", "high", "xhigh", "ultra", "max", or "none"'

#: An assistant's message without content must have one of these instead.
_INSTEAD_OF_CONTENT = ("tool_calls", "function_call", "reasoning", "reasoning_details", "refusal", "audio", "images")
_GO_KINDS = {"number": "float64", "bool": "bool", "object": "map[string]interface {}"}


@dataclass(frozen=True, slots=True)
class PassedRequest:
    """A request to pass on.

    `name` is the model as the client wrote it, `body` goes upstream once it is fitted to a model, `limit_name` is the
    field that limits the output.
    """

    name: str
    body: dict[str, Any]
    needs: Needs
    stream: bool = False
    limit_name: str = "max_tokens"

    @property
    def include_usage(self) -> bool:
        """True if the client wants the usage in its stream, in OpenAI's words or in OpenRouter's."""
        options, usage = self.body.get("stream_options"), self.body.get("usage")
        if isinstance(usage, dict) and usage.get("include") is True:
            return True
        return isinstance(options, dict) and options.get("include_usage") is True

    @property
    def says_nothing(self) -> bool:
        """True for a completion without a prompt, or a response without input: there is nothing to answer."""
        return "messages" not in self.body and not (self.body.get("prompt") or self.body.get("input"))


def read_chat(data: bytes, *, free_mode: bool) -> PassedRequest:
    """Read the body of POST /v1/chat/completions. Raises BadRequest."""
    body = schemas.read(schemas.CHAT, data)
    if not body.get("messages"):
        raise BadRequest("[] is too short - 'messages'")
    name = _model_of(body)
    body["messages"] = [_message(message) for message in body["messages"]]
    _fix_efforts(body)
    _drop_endless(body, "max_tokens", "max_completion_tokens")
    tool_filter.keep_known_tools(body, tool_filter.only_functions if free_mode else tool_filter.chat_tools)
    limit = "max_completion_tokens" if "max_completion_tokens" in body else "max_tokens"
    return PassedRequest(name, body, needs.chat_needs(body), body.get("stream") is True, limit)


def read_completion(data: bytes) -> PassedRequest:
    """Read the body of POST /v1/completions. Raises BadRequest, ModelNotFound."""
    body = schemas.read(schemas.COMPLETION, data)
    name = body.get("model") or ""
    if not name.strip():
        raise ModelNotFound(f"model '{name}' not found")
    _drop_endless(body, "max_tokens")
    return PassedRequest(name, body, needs.completion_needs(body), body.get("stream") is True)


def read_responses(data: bytes, *, free_mode: bool) -> PassedRequest:
    """Read the body of POST /v1/responses. Raises BadRequest."""
    body = schemas.read(schemas.RESPONSES, data)
    name = _model_of(body)
    if isinstance(body.get("input"), list):
        limits.check_count(len(body["input"]), limits.MESSAGES, "items in input")
    _fix_efforts(body)
    _drop_endless(body, "max_output_tokens")
    tool_filter.keep_known_tools(body, tool_filter.only_functions if free_mode else tool_filter.response_tools)
    return PassedRequest(name, body, needs.responses_needs(body), body.get("stream") is True, "max_output_tokens")


def _model_of(body: dict[str, Any]) -> str:
    name: str = body.get("model") or ""
    if not name.strip():
        raise BadRequest("model is required")
    return name


def _message(message: Any) -> Any:
    """Return a message in the form that OpenRouter accepts. Raises BadRequest for a `content` of a wrong type."""
    if not isinstance(message, dict):
        return message
    content = message.get("content")
    if content is None:
        if not any(message.get(name) for name in _INSTEAD_OF_CONTENT):
            raise BadRequest("invalid message content type: <nil>")
    elif not isinstance(content, str | list):
        raise BadRequest(f"invalid message content type: {_GO_KINDS[kind(content)]}")
    calls = message.get("tool_calls")
    if isinstance(calls, list) and any(_has_parsed_arguments(call) for call in calls):
        return {**message, "tool_calls": [_with_text_arguments(call) for call in calls]}
    return message


def _has_parsed_arguments(call: Any) -> bool:
    """Return True if the arguments are an object, as in Ollama's own API: OpenRouter accepts only their text."""
    function = call.get("function") if isinstance(call, dict) else None
    return isinstance(function, dict) and isinstance(function.get("arguments"), dict)


def _with_text_arguments(call: Any) -> Any:
    if not _has_parsed_arguments(call):
        return call
    function = call["function"]
    return {**call, "function": {**function, "arguments": encode_body(function["arguments"]).decode()}}


def _fix_efforts(body: dict[str, Any]) -> None:
    reasoning = body.get("reasoning")
    if isinstance(reasoning, dict) and isinstance(reasoning.get("effort"), str):
        body["reasoning"] = {**reasoning, "effort": _effort(reasoning["effort"])}
    if isinstance(body.get("reasoning_effort"), str):
        body["reasoning_effort"] = _effort(body["reasoning_effort"])


def _effort(effort: str) -> str | None:
    """Return the effort in OpenRouter's words, None for an empty one. Raises BadRequest for an unknown one."""
    if effort and effort not in _EFFORTS:
        raise BadRequest(f"invalid reasoning value: {quote(effort)} (must be {_ALLOWED_EFFORTS})")
    return "max" if effort == "ultra" else effort or None


def _drop_endless(body: dict[str, Any], *names: str) -> None:
    """Remove limits below one: to Ollama they mean no limit, but OpenRouter refuses them."""
    for name in names:
        if isinstance(body.get(name), int) and body[name] < 1:
            del body[name]
