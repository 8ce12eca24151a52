"""The way of each route's request through readers and translators, and a plausible body for it.

The bodies hold every field that somebody looks at: a new one belongs there.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import date
from typing import Any

from ollama_proxy.anthropic import error_form as anthropic_errors
from ollama_proxy.anthropic import unavailable
from ollama_proxy.anthropic.deferred_tools import may_defer
from ollama_proxy.anthropic.needs import needs_of
from ollama_proxy.anthropic.request import body_for, read_messages
from ollama_proxy.bodies.client_tools import needed_server_tool
from ollama_proxy.bodies.fit import fit
from ollama_proxy.bodies.guard import guarded
from ollama_proxy.catalog import making
from ollama_proxy.catalog.filters import Filters
from ollama_proxy.catalog.library import row_of
from ollama_proxy.catalog.records import Model
from ollama_proxy.catalog.snapshot import Catalog
from ollama_proxy.catalog.target import chat_target, embedding_target
from ollama_proxy.errors import ProxyError
from ollama_proxy.fallback.candidates import candidates
from ollama_proxy.fallback.needs import Needs
from ollama_proxy.gojson.codec import encode_body
from ollama_proxy.ollama import error_form as ollama_errors
from ollama_proxy.ollama.models import lookup
from ollama_proxy.ollama.models.show import show, show_persona
from ollama_proxy.ollama.models.tags import ListedPersona
from ollama_proxy.ollama.request import chat_bodies, create_body, embed_bodies, library_bodies
from ollama_proxy.ollama.request.to_openrouter import translate_chat, translate_embed, translate_generate
from ollama_proxy.openai import error_form as openai_errors
from ollama_proxy.openai.embeddings import check_input, read_embeddings
from ollama_proxy.openai.request import PassedRequest, read_chat, read_completion, read_responses
from ollama_proxy.openrouter.answers.stop_finder import StopFinder

PARAMETER_NAMES = (
    "temperature top_p top_k min_p seed stop frequency_penalty presence_penalty repetition_penalty logprobs "
    "top_logprobs response_format structured_outputs tools tool_choice max_tokens reasoning"
)


def _record(model_id: str, **changes: Any) -> dict[str, Any]:
    modalities = {"input_modalities": ["text", "image"], "output_modalities": ["text"]}
    free = {"prompt": "0", "completion": "0"}
    record = {"id": model_id, "context_length": 10**9, "pricing": free, "supported_parameters": PARAMETER_NAMES.split()}
    return {**record, "architecture": modalities, "top_provider": {"max_completion_tokens": 10**6}, **changes}


def _catalog(*, free_mode: bool) -> Catalog:
    embeds = {"architecture": {"input_modalities": ["text"], "output_modalities": ["embeddings"]}}
    return Catalog.build(
        [_record("mistralai/gale:free"), _record("tidal/ember:free", reasoning={"supported_efforts": ["low", "high"]})],
        [_record("openai/embed:free", **embeds)],
        free_mode=free_mode,
        tool_use_only=False,
        filters=Filters(),
        today=date(2026, 1, 1),
        fetched_at=0.0,
    )


CATALOGS = {True: _catalog(free_mode=True), False: _catalog(free_mode=False)}
FREE = CATALOGS[True]


# The ways


def _sent(name: str, needs: Needs, body: Callable[[Model], dict[str, Any]]) -> None:
    for catalog in CATALOGS.values():
        for model in candidates(chat_target(name, catalog, strict=False), catalog, needs):
            encode_body(body(model))


def _ollama(reader: Callable[[bytes], Any], translate: Callable[[Any], Any], data: bytes) -> None:
    asked = reader(data)
    target = lookup.answering_target(asked.asked, FREE, strict=False)
    asked.check_values()
    translation = translate(asked)
    _sent(target.name, translation.needs, lambda model: fit(translation.body, model, drop_unsupported=True))


def _embed(reader: Callable[[bytes], Any], data: bytes) -> None:
    asked = reader(data)
    lookup.check_name(asked.asked, FREE)
    asked.texts()
    lookup.embedding_model(asked.asked, FREE)
    asked.check_values()
    encode_body(translate_embed(asked).body)


def _show(data: bytes) -> None:
    asked = library_bodies.read_show(data)
    target = lookup.shown_target(asked.asked, FREE, strict=False)
    encode_body(show(target.model or FREE.free[0], asked.asked, system=asked.system))


def _named(reader: Callable[[bytes], Any], data: bytes) -> None:
    lookup.pulled_target(reader(data).asked, FREE, strict=False)


def _create(data: bytes) -> None:
    """As the view does it, with each persona in a library that has one already."""
    asked = create_body.read_create(data)
    asked.check_files()
    lookup.check_name(asked.asked, FREE)
    making.check_free(asked.asked, FREE)
    asked.check_remote()
    origin = making.origin_of(asked.base, FREE)
    with suppress(ProxyError):  # whatever comes of the files
        asked.check_source(has_base=bool(asked.base))
    making.check_template(asked.template)
    asked.check_end()
    draft = asked.draft()
    persona = making.made(draft, origin, making.spelled(asked.asked, {}), 0.0)
    making.stored_layers(persona, draft, {"a:latest": persona})
    row_of(persona)
    listed = ListedPersona(persona, FREE.free[0])
    encode_body(show_persona(listed, "a", "a", width=None))


def _copy(data: bytes) -> None:
    asked = library_bodies.read_copy(data)
    lookup.check_name(asked.source, FREE)
    lookup.check_name(asked.destination, FREE)


def _passed_body(asked: PassedRequest, free_mode: bool, model: Model) -> dict[str, Any]:
    return fit(guarded(asked.body, model, free_mode=free_mode), model)


def _passed(reader: Callable[..., PassedRequest], data: bytes, **options: Any) -> None:
    asked = reader(data, **options)
    if asked.stops:
        StopFinder(asked.stops)
    needed_server_tool(asked.body)
    if asked.forms is not None:
        encode_body(asked.forms.expanded(asked.body))
    for free_mode in (True, False):
        _sent(
            asked.name,
            asked.needs,
            lambda model, mode=free_mode: fit(guarded(asked.body, model, free_mode=mode), model),
        )


def _embeddings(data: bytes) -> None:
    asked = read_embeddings(data)
    model = embedding_target(asked.name, FREE).model
    assert model is not None
    check_input(asked.body, model)
    encode_body(_passed_body(asked, True, model))


def _messages(data: bytes) -> None:
    asked = read_messages(data)
    if asked.get("stop_sequences"):
        StopFinder(asked["stop_sequences"])
    if (kind := needed_server_tool(asked)) is not None:
        encode_body(unavailable.message(asked, kind))
    for mode in (True, False):
        _sent(
            asked["model"],
            needs_of(asked),
            lambda model, mode=mode: body_for(
                asked, model, frozenset(), None, free_mode=mode, may_defer=may_defer(data)
            ),
        )


# The templates: a plausible body for each route, with every field that somebody looks at.

PARAMETERS = {"type": "object", "properties": {}}
FUNCTION = {"name": "f", "description": "d", "parameters": PARAMETERS, "strict": True}
PNG = "iVBORw0KGgo="
ANSWERED: dict[str, Any] = {
    "model": "gale:free",
    "stream": True,
    "format": {"type": "object"},
    "keep_alive": "5m",
    "think": "low",
    "options": {"temperature": 1.0, "num_predict": 5, "seed": 1, "stop": ["a"], "num_ctx": 1},
    "logprobs": True,
    "top_logprobs": 1,
}
OLLAMA_CHAT = {
    **ANSWERED,
    "messages": [
        {"role": "user", "content": "a", "images": [PNG]},
        {
            "role": "assistant",
            "content": "a",
            "thinking": "a",
            "tool_calls": [{"id": "i", "function": {"name": "f", "arguments": {"a": "b"}}}],
        },
        {"role": "tool", "content": "a", "tool_name": "f", "tool_call_id": "i"},
        {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "image_url", "image_url": {"url": PNG}}]},
    ],
    "tools": [{"type": "function", "function": FUNCTION}],
    "tool_choice": {"type": "function", "function": {"name": "f"}},
}
OLLAMA_GENERATE = {
    **ANSWERED,
    "prompt": "a",
    "suffix": "",
    "system": "a",
    "template": "{{ .Prompt }}",
    "context": [1],
    "images": [PNG],
}
OPENAI_TOOL = {"type": "function", "function": FUNCTION}
DATA_URL = f"data:image/jpg;base64,{PNG}"
SAMPLED: dict[str, Any] = {
    "model": "gale:free",
    "stream": True,
    "stream_options": {"include_usage": True},
    "max_tokens": 5,
    "temperature": 1,
    "stop": ["a"],
    "user": "u",
    "metadata": {"a": None},
    "logit_bias": {"1": 1},
    "top_k": 0,
    "provider": {"order": ["a"], "max_price": {"prompt": 1}},
}
OPENAI_CHAT = {
    **SAMPLED,
    "messages": [
        {"role": "system", "content": "a"},
        {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "image_url", "image_url": {"url": "u"}}]},
        {"role": "User", "name": None, "content": ["a", {"type": "image_url", "image_url": DATA_URL}]},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"function": {"name": "f"}}, {"function": {"name": "g"}}],
        },
        {"role": "tool", "content": "a", "name": "g"},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "i", "type": "function", "function": {"name": "f", "arguments": {"a": 1}}}],
        },
        {"role": "tool", "content": "a", "tool_call_id": "i"},
    ],
    "tools": [OPENAI_TOOL, {"type": "web_search"}],
    "tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [OPENAI_TOOL]}},
    "response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": PARAMETERS}},
    "reasoning": {"effort": "low"},
    "reasoning_effort": "low",
    "max_completion_tokens": 5,
}
RESPONSES = {
    "model": "gale:free",
    "instructions": "a",
    "input": [
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "a"}]},
        {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c", "output": [{"type": "input_text", "text": "a"}]},
        {"type": "function_call_output", "name": "f", "output": "a"},
        {"type": "custom_tool_call", "call_id": "d", "name": "c", "namespace": "n", "input": "a"},
        {"type": "local_shell_call", "id": "l", "call_id": "e", "action": {"type": "exec", "command": ["a"]}},
        {"type": "local_shell_call_output", "id": "l", "output": "a"},
        {"type": "tool_search_call", "call_id": "s", "arguments": {"query": "a"}},
        {"type": "tool_search_output", "call_id": "s", "tools": [{"type": "function", "name": "h"}]},
        {"type": "additional_tools", "role": "developer", "tools": [{"type": "function", "name": "h"}]},
        {"role": "assistant", "content": [{"type": "output_text", "text": "a"}], "id": None},
        {"role": "user", "content": [{"type": "input_image", "image_url": DATA_URL}]},
        {"type": "reasoning", "content": None},
    ],
    "tools": [
        {"type": "function", "name": "f", "parameters": PARAMETERS},
        {"type": "web_search"},
        {"type": "namespace", "name": "n", "tools": [{"type": "function", "name": "g", "defer_loading": True}]},
        {"type": "custom", "name": "c", "format": {"type": "grammar", "definition": "a"}},
        {"type": "tool_search", "execution": "client", "description": "d", "parameters": PARAMETERS},
        {"type": "local_shell"},
    ],
    "tool_choice": {"type": "function", "name": "f"},
    "reasoning": {"effort": "low", "summary": "auto"},
    "text": {"format": {"type": "json_schema", "name": "n", "schema": PARAMETERS}},
    "max_output_tokens": 5,
    "include": ["a"],
    "store": True,
    "previous_response_id": "r",
}
TEXT = {"type": "text", "text": "a"}
MESSAGES = {
    "model": "gale:free",
    "max_tokens": 5000,
    "stream": True,
    "system": [{"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}}],
    "messages": [
        {"role": "user", "content": [{"type": "image", "source": {"type": "base64", "data": "a"}}]},
        {"role": "assistant", "content": [{"type": "tool_use", "id": "i", "name": "f", "input": {"a": "b"}}]},
        {
            "role": "user",
            "content": [{"type": "tool_result", "tool_use_id": "i", "content": [{"type": "text", "text": "a"}]}],
        },
        {
            "role": "User",
            "content": ["a", {"type": "tool_result", "content": [{"type": "tool_reference", "tool_name": "f"}]}],
        },
        {
            "role": "assistant",
            "content": [
                {"type": "server_tool_use", "id": "s", "name": "tool_search_tool_bm25", "input": {}},
                {"type": "tool_search_tool_result", "content": {"tool_references": [{"tool_name": "f"}]}},
            ],
        },
        {
            "role": "user",
            "content": [{"type": "document", "source": {"type": "content", "content": [{"type": "text"}]}}],
        },
    ],
    "tools": [
        {"name": "f", "description": "d", "input_schema": PARAMETERS},
        {"type": "bash_1", "name": "b"},
        {"name": "g", "defer_loading": True},
    ],
    "tool_choice": {"type": "tool", "name": "f"},
    "thinking": {"type": "enabled", "budget_tokens": 2000},
    "output_config": {"effort": "low", "format": {"type": "json_schema", "schema": PARAMETERS}},
    "stop_sequences": ["a"],
    "metadata": {"user_id": "u"},
}

Way = Callable[[bytes], None]
WAYS: dict[str, tuple[Way, dict[str, Any], Any]] = {
    "/api/chat": (
        lambda data: _ollama(chat_bodies.read_chat, translate_chat, data),
        OLLAMA_CHAT,
        ollama_errors,
    ),
    "/api/generate": (
        lambda data: _ollama(chat_bodies.read_generate, translate_generate, data),
        OLLAMA_GENERATE,
        ollama_errors,
    ),
    "/api/embed": (
        lambda data: _embed(embed_bodies.read_embed, data),
        {"model": "embed:free", "input": ["a"], "dimensions": 1, "keep_alive": "5m", "options": {"seed": 1}},
        ollama_errors,
    ),
    "/api/embeddings": (
        lambda data: _embed(embed_bodies.read_embedding, data),
        {"model": "embed:free", "prompt": "a", "options": {"seed": 1}},
        ollama_errors,
    ),
    "/api/show": (_show, {"model": "gale:free", "system": "a", "template": "a", "options": {"seed": 1}}, ollama_errors),
    "/api/pull": (
        lambda data: _named(library_bodies.read_pull, data),
        {"model": "gale:free", "name": "a"},
        ollama_errors,
    ),
    "/api/create": (
        _create,
        {
            "model": "mario",
            "from": "gale",
            "files": {"a": "b"},
            "system": "a",
            "template": "a",
            "license": ["a"],
            "parameters": {"temperature": 0.6, "stop": ["a"], "a": 1},
            "messages": [{"role": "user", "content": "a"}],
            "info": {"capabilities": ["a"]},
            "renderer": "a",
            "requires": "a",
        },
        ollama_errors,
    ),
    "/api/copy": (_copy, {"source": "gale:free", "destination": "a"}, ollama_errors),
    "/v1/chat/completions": (
        lambda data: _passed(read_chat, data, free_mode=False),
        OPENAI_CHAT,
        openai_errors,
    ),
    "/v1/completions": (
        lambda data: _passed(read_completion, data),
        {**SAMPLED, "prompt": "a", "suffix": "a"},
        openai_errors,
    ),
    "/v1/responses": (lambda data: _passed(read_responses, data, free_mode=False), RESPONSES, openai_errors),
    "/v1/embeddings": (
        _embeddings,
        {"model": "embed:free", "input": ["a", [1], {"content": []}], "encoding_format": "float", "dimensions": 1},
        openai_errors,
    ),
    "/v1/messages": (_messages, MESSAGES, anthropic_errors),
}


def go(path: str, data: bytes) -> bytes | None:
    """Send a body its way; the error's body if it is refused."""
    way, _, form = WAYS[path]
    try:
        way(data)
    except ProxyError as error:
        body: bytes = form.error_body(error)
        return body
    return None
