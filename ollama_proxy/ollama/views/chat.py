"""POST /api/chat and /api/generate: the checks in Ollama's order, then the answer of the model that serves it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from flask import Response

from ollama_proxy.bodies.fit import fit
from ollama_proxy.catalog.records import Model
from ollama_proxy.catalog.snapshot import Catalog
from ollama_proxy.catalog.target import Target
from ollama_proxy.errors import BadRequest, ModelNotFound
from ollama_proxy.fallback.call import Call
from ollama_proxy.fallback.exchange import Exchange
from ollama_proxy.gojson.codec import encode_body
from ollama_proxy.ollama.answer.from_openrouter import (
    ChatAnswer,
    GenerateAnswer,
    OllamaAnswer,
    load_reply,
    rendered_reply,
    unload_reply,
)
from ollama_proxy.ollama.models.lookup import answering_target
from ollama_proxy.ollama.models.tags import Listed
from ollama_proxy.ollama.request.chat_bodies import (
    AnswerRequest,
    ChatRequest,
    GenerateRequest,
    read_chat,
    read_generate,
)
from ollama_proxy.ollama.request.personas import with_persona
from ollama_proxy.ollama.request.to_openrouter import Translation, translate_chat, translate_generate
from ollama_proxy.ollama.views.replies import JSON, NDJSON, json_reply
from ollama_proxy.ollama.views.state import listing, running
from ollama_proxy.openrouter.answers.stop_forms import CHAT as CHAT_STOPS
from ollama_proxy.web.context import caller, catalog, newest_catalog, note_asked, observation, request_body, runtime
from ollama_proxy.web.conversation import client_session
from ollama_proxy.web.pump import respond_streamed, respond_whole
from ollama_proxy.web.stopped import StoppedReader

Request = TypeVar("Request", ChatRequest, GenerateRequest)


def chat() -> Response:
    """POST /api/chat."""
    asked = read_chat(request_body())
    if not asked.asked.strip():
        raise BadRequest("model is required")
    return _serve(asked, translate_chat, ChatAnswer)


def generate() -> Response:
    """POST /api/generate."""
    asked = read_generate(request_body())
    if not asked.asked.strip():
        raise ModelNotFound(f"model '{asked.asked}' not found")
    return _serve(asked, translate_generate, partial(GenerateAnswer, raw=asked.raw))


def _serve(
    asked: Request, translate: Callable[[Request], Translation], answer: Callable[..., OllamaAnswer]
) -> Response:
    """Check in Ollama's order and answer.

    The order: the model exists, unloading, the model's abilities, values, loading, and then everything else.
    """
    parts = runtime()
    note_asked(asked.asked, observation(), parts)
    models = catalog()
    target = answering_target(asked.asked, models, strict=parts.settings.strict_models, newer=newest_catalog)
    shown = listing().listed(models, target)
    if asked.is_load and asked.keep_alive == 0:
        return _unloaded(asked, shown)
    _check_abilities(asked, target)
    if target.persona is not None:
        asked = with_persona(asked, target.persona)
    asked.check_values()
    if asked.is_load:
        return _loaded(asked, shown)
    translation = translate(asked)
    if asked.debug_render_only:
        return json_reply(rendered_reply(asked.asked, translation.body, generate=isinstance(asked, GenerateRequest)))
    return _answered(asked, models, target, shown, translation, answer)


def _check_abilities(asked: AnswerRequest, target: Target) -> None:
    """Raises BadRequest for what the model can never do; whether it can use tools or see images is seen later."""
    generates = isinstance(asked, GenerateRequest)
    if target.embeds:
        raise BadRequest(f'"{asked.asked}" does not support {"generate" if generates else "chat"}')
    if isinstance(asked, GenerateRequest) and asked.suffix:
        raise BadRequest(f'"{asked.asked}" does not support insert')


def _unloaded(asked: AnswerRequest, model: Listed) -> Response:
    running().unload(model.name)
    return json_reply(unload_reply(asked.asked, generate=isinstance(asked, GenerateRequest)))


def _loaded(asked: AnswerRequest, model: Listed) -> Response:
    """Count the model as loaded from now on. There is nothing to answer, and OpenRouter is not asked."""
    running().used(model, asked.keep_alive, asked=observation().asked)
    return json_reply(load_reply(asked.asked, generate=isinstance(asked, GenerateRequest)))


def _answered(
    asked: AnswerRequest,
    models: Catalog,
    target: Target,
    model: Listed,
    translation: Translation,
    answer: Callable[..., OllamaAnswer],
) -> Response:
    asker = observation()
    call = Call(
        target,
        translation.needs,
        partial(_body_for, translation),
        caller=asker.caller,
        key=caller().holds,
        observation=asker,
        opening=translation.opening,
        session=client_session(),
        catalog=models,
    )
    exchange = Exchange(runtime().backend, call)
    reader: OllamaAnswer | StoppedReader = answer(
        asked.asked,
        started_ns=int(asker.began * 1e9),
        tool_names=translation.tool_names,
        want_logprobs=asked.logprobs,
        hide_thinking=asked.think is False,
        collect=not asked.stream,
        prompt_tokens=translation.needs.prompt_tokens,
    )
    if translation.stops:
        reader = StoppedReader(reader, CHAT_STOPS, translation.stops, translation.needs.prompt_tokens)
    used = partial(running().used, model, asked.keep_alive, asked=asker.asked)
    used()
    if asked.stream:
        return respond_streamed(exchange, reader, content_type=NDJSON, ended=used)
    return respond_whole(exchange, reader, content_type=JSON, ended=used)


def _body_for(translation: Translation, model: Model, without: frozenset[str], at_most: int | None) -> bytes:
    """Return the body for one model. `without` and `at_most` are changes learned from an earlier attempt."""
    body: dict[str, Any] = {key: value for key, value in translation.body.items() if key not in without}
    if at_most is not None:
        body["max_tokens"] = at_most
    return encode_body({**fit(body, model, drop_unsupported=True), "stream": True})
