"""Translates a typed Ollama request to the body of an OpenRouter call, and to what the call needs of a model.

Pure: no model is known yet (`bodies.fit` fits the body to one), and nothing is sent here (docs/contract.md,
"Requests").
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ollama_proxy.bodies.options import sampling
from ollama_proxy.bodies.sampling import stops_of
from ollama_proxy.bodies.tool_names import ToolNames
from ollama_proxy.fallback.conversations import MOST_TEXTS, Opening, opening_of
from ollama_proxy.fallback.needs import Needs, preferences
from ollama_proxy.gojson.codec import encode_part
from ollama_proxy.ollama.request.chat_bodies import AnswerRequest, ChatRequest, GenerateRequest
from ollama_proxy.ollama.request.embed_bodies import EmbeddingRequest, EmbedRequest
from ollama_proxy.ollama.request.images import image_part
from ollama_proxy.ollama.request.messages import Message
from ollama_proxy.ollama.request.thinking import reasoning
from ollama_proxy.ollama.request.tool_history import repair
from ollama_proxy.ollama.request.tools import definitions, tool_choice

_BYTES_PER_TOKEN = 4


@dataclass(frozen=True, slots=True)
class Translation:
    """`body` has no `model` and no `stream`. `tool_names` maps names that were changed for upstream back to the
    client's. The answer is cut at each of the `stops`. `opening` is how the conversation began; None for what is none,
    such as a prompt.
    """

    body: dict[str, Any]
    needs: Needs
    tool_names: dict[str, str] = field(default_factory=dict)
    stops: tuple[str, ...] = ()
    opening: Opening | None = None


def translate_chat(request: ChatRequest) -> Translation:
    """Translate a chat. Raises BadRequest for an image of an unknown type.

    Call `check_values` before. `tool_choice` is passed on although Ollama has no such field: clients that send it
    expect it to work.
    """
    messages = repair(request.messages)
    in_history = [call.name for message in messages for call in message.calls]
    names = ToolNames([*(function["name"] for function in request.tools), *in_history])
    body: dict[str, Any] = {"messages": _messages(messages, names)}
    tools_bytes = 0
    if request.tools:
        body["tools"] = definitions(request.tools, names)
        chosen = tool_choice(request.tool_choice, names)
        if chosen is not None:
            body["tool_choice"] = chosen
        tools_bytes = len(encode_part(body["tools"]))
    elif in_history:
        # The client left the tools out of a follow-up, but some providers demand the definitions of called tools.
        body["tools"] = definitions(({"name": name} for name in in_history), names)
        body["tool_choice"] = "none"
    return _finish(request, body, messages, tools_bytes, names, opening=_opening(request.client_messages or messages))


def _opening(messages: list[Message]) -> Opening | None:
    """Return how a chat began: the texts up to the user's first message. None without one among the first messages.

    A persona's messages are no part of it: all conversations with it would be one.
    """
    texts = []
    for place, message in enumerate(messages[:MOST_TEXTS]):
        if message.role in ("system", "user"):
            texts.append(message.text)
        if message.role == "user":
            return opening_of(texts, continues=len(messages) > place + 1)
    return None


def translate_generate(request: GenerateRequest) -> Translation:
    """Translate a prompt to a chat of one user message and perhaps a system message.

    `raw` sends the prompt alone. `template`, `context` and `suffix` mean nothing to a chat model behind OpenRouter; the
    route refuses a suffix, as Ollama does for models that cannot insert.
    """
    messages = [*request.lead, Message("user", request.prompt, request.images)]
    if request.system:
        messages.insert(0, Message("system", request.system))
    return _finish(request, {"messages": _messages(messages, ToolNames())}, messages, 0, ToolNames())


def translate_embed(request: EmbedRequest | EmbeddingRequest) -> Translation:
    """Translate a request for embeddings. Raises BadRequest if the input is not text.

    `dimensions` is not sent, because few models support it: the answer is cut and normalised here, as Ollama does. An
    empty text becomes a space, because providers refuse an empty one and Ollama embeds it.
    """
    texts = [text or " " for text in request.texts()]
    needs = Needs(prompt_tokens=sum(map(_size, texts)) // _BYTES_PER_TOKEN)
    return Translation({"input": texts, "encoding_format": "float"}, needs)


def _finish(
    request: AnswerRequest,
    body: dict[str, Any],
    messages: list[Message],
    tools_bytes: int,
    names: ToolNames,
    *,
    opening: Opening | None = None,
) -> Translation:
    body |= sampling(request.options)
    response_format = _response_format(request.schema)
    if response_format:
        body["response_format"] = response_format
    thinking = reasoning(request.think)
    if thinking:
        body["reasoning"] = thinking
    if request.logprobs:
        body["logprobs"] = True
        if request.top_logprobs:
            body["top_logprobs"] = request.top_logprobs
    needs = Needs(
        tools="tools" in body and body.get("tool_choice") != "none",
        images=any(isinstance(message.get("content"), list) for message in body["messages"]),
        schema=response_format is not None,
        thinking=bool(request.think),
        prompt_tokens=(sum(map(_prompt_bytes, messages)) + tools_bytes) // _BYTES_PER_TOKEN,
        output_tokens=body.get("max_tokens", 0),
        preferred=preferences(schema=bool(request.schema), logprobs=request.logprobs, stop="stop" in body),
    )
    return Translation(body, needs, names.renamed, tuple(stops_of(request.options.get("stop"))), opening)


def _response_format(schema: dict[str, Any] | None) -> dict[str, Any] | None:
    """Return OpenRouter's `response_format` for a schema.

    `strict` is not set: it forbids optional properties, which most schemas of Ollama's clients have.
    """
    if schema is None:
        return None
    if not schema:
        return {"type": "json_object"}
    return {"type": "json_schema", "json_schema": {"name": "response", "schema": schema}}


def _messages(messages: list[Message], names: ToolNames) -> list[dict[str, Any]]:
    """Return OpenRouter's messages without empty ones, because providers refuse those.

    Thinking is sent back only within the current turn (after the last user message), where models that think between
    tool calls want it; before that it would only cost context.
    """
    last_user = max((index for index, message in enumerate(messages) if message.role == "user"), default=-1)
    built = []
    for index, message in enumerate(messages):
        if not (message.text or message.images or message.calls or message.role == "tool"):
            continue
        upstream: dict[str, Any] = {"role": message.role, "content": message.text}
        if message.images and message.role in ("user", "tool"):
            upstream["content"] = _parts(message)
        if message.calls:
            upstream["tool_calls"] = [
                {
                    "id": call.id,
                    "type": "function",
                    "function": {"name": names.upstream(call.name), "arguments": call.arguments},
                }
                for call in message.calls
            ]
        if message.role == "tool":
            upstream["tool_call_id"] = message.tool_call_id
        elif message.thinking and index > last_user and message.role == "assistant":
            upstream["reasoning"] = message.thinking
        built.append(upstream)
    return built or [{"role": "user", "content": ""}]


def _parts(message: Message) -> list[dict[str, Any]]:
    parts: list[dict[str, Any]] = [{"type": "text", "text": message.text}] if message.text else []
    return parts + [image_part(image) for image in message.images]


def _prompt_bytes(message: Message) -> int:
    size = _size(message.text)
    for call in message.calls:
        size += _size(call.arguments) + _size(call.name)
    return size


def _size(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode())
