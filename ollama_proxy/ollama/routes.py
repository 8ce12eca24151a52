"""The Ollama API's routes: read the request, hand it down, answer."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import TypeVar

import structlog
from flask import Blueprint, Response, current_app, request

from ollama_proxy.catalog.records import Model
from ollama_proxy.errors import BadRequest, ProxyError
from ollama_proxy.fallback.candidates import asked_model
from ollama_proxy.fallback.exchange import Call, Exchange
from ollama_proxy.fallback.fit import fit
from ollama_proxy.observation import ENVIRON_KEY, Observation
from ollama_proxy.ollama import lines, schemas
from ollama_proxy.ollama.answering import JSON, respond
from ollama_proxy.ollama.errors import error_body
from ollama_proxy.ollama.from_openrouter import Answer, ChatAnswer, GenerateAnswer, load_reply, unload_reply
from ollama_proxy.ollama.json_body import encode
from ollama_proxy.ollama.listing import Listing
from ollama_proxy.ollama.requests import Answered, ChatRequest, GenerateRequest
from ollama_proxy.ollama.running import Running
from ollama_proxy.ollama.tags import Listed
from ollama_proxy.ollama.to_openrouter import Translation, translate_chat, translate_generate
from ollama_proxy.request_body import read_body
from ollama_proxy.runtime import Runtime

Request = TypeVar("Request", ChatRequest, GenerateRequest)

log = structlog.get_logger("ollama_proxy")
blueprint = Blueprint("ollama", __name__)

MEGABYTE = 1024 * 1024


def _runtime() -> Runtime:
    runtime: Runtime = current_app.extensions["ollama_proxy"]
    return runtime


def _listing() -> Listing:
    listing: Listing = current_app.extensions.setdefault("ollama_proxy.listing", Listing())
    return listing


def _running() -> Running:
    running: Running = current_app.extensions.setdefault("ollama_proxy.running", Running())
    return running


def _observation() -> Observation:
    observation: Observation = request.environ[ENVIRON_KEY]
    return observation


def _body() -> bytes:
    settings = _runtime().settings
    return read_body(
        request.environ,
        limit_bytes=int(settings.max_body_mb * MEGABYTE),
        timeout_seconds=settings.body_timeout_seconds,
    )


def _json(body: bytes) -> Response:
    return Response(body, content_type=JSON)


@blueprint.errorhandler(ProxyError)
def _proxy_error(error: ProxyError) -> Response:
    _observation().error = error.message if error.status >= 500 else ""
    response = Response(error_body(error), status=error.status, content_type=JSON)
    if error.retry_after is not None:
        response.headers["Retry-After"] = str(error.retry_after)
    return response


@blueprint.errorhandler(Exception)
def _unexpected(error: Exception) -> Response:
    log.error("request failed", error=type(error).__name__, exc_info=True)
    return _proxy_error(ProxyError("internal error"))


@blueprint.route("/", methods=["GET", "HEAD"])
def alive() -> Response:
    return Response("Ollama is running", content_type="text/plain; charset=utf-8")


@blueprint.route("/api/version", methods=["GET", "HEAD"])
def version() -> Response:
    return _json(lines.encode({"version": _runtime().settings.ollama_version}))


@blueprint.route("/api/tags", methods=["GET", "HEAD"])
def tags() -> Response:
    return _json(_listing().tags(_runtime().services.catalog()))


@blueprint.get("/api/ps")
def ps() -> Response:
    return _json(lines.encode({"models": _running().entries()}))


@blueprint.post("/api/show")
def show() -> Response:
    asked = schemas.read_show(_body())
    if not asked.asked.strip():
        raise BadRequest("model is required")
    catalog = _runtime().services.catalog()
    model = _find(asked.asked, embedding_too=True)
    copilot = request.headers.get("User-Agent", "").startswith("GitHubCopilotChat/")
    return _json(_listing().show(catalog, model, asked.asked, copilot=copilot, system=asked.system))


@blueprint.post("/api/chat")
def chat() -> Response:
    asked = schemas.read_chat(_body())
    if not asked.asked.strip():
        raise BadRequest("model is required")
    return _answer(asked, translate_chat, ChatAnswer)


@blueprint.post("/api/generate")
def generate() -> Response:
    asked = schemas.read_generate(_body())
    return _answer(asked, translate_generate, partial(GenerateAnswer, raw=asked.raw))


def _find(name: str, *, embedding_too: bool = False) -> Listed:
    """The model that `name` is shown as. Raises ModelNotFound, BadRequest."""
    runtime = _runtime()
    catalog = runtime.services.catalog()
    if embedding_too and (found := catalog.resolve(name, embedding=True)).kind == "model" and found.model is not None:
        return found.model
    settings = runtime.settings
    model = asked_model(catalog.resolve(name), name, free_mode=settings.free_mode, strict=settings.strict_models)
    return model if model is not None else _listing().alias(catalog)


def _answer(
    asked: Request,
    translate: Callable[[Request], Translation],
    answer: Callable[..., Answer],
) -> Response:
    started = time.monotonic_ns()
    observation = _observation()
    observation.asked = asked.asked
    model = _find(asked.asked)
    if asked.is_load:
        return _loaded(asked, model)
    asked.check_values()
    translation = translate(asked)
    services = _runtime().services
    exchange = Exchange(services, Call(asked.asked, translation.needs, partial(_fitted, translation)))
    made = answer(
        asked.asked,
        started_ns=started,
        tool_names=translation.tool_names,
        want_logprobs=asked.logprobs,
        collect=not asked.stream,
        prompt_tokens=translation.needs.prompt_tokens,
    )
    running = _running()

    def ended() -> None:
        running.used(model.name, model, asked.keep_alive)

    return respond(exchange, made, observation, stream=asked.stream, environ=request.environ, ended=ended)


def _loaded(asked: Answered, model: Listed) -> Response:
    """Nothing to answer: the model is "loaded" or "unloaded", which costs OpenRouter nothing."""
    generate = isinstance(asked, GenerateRequest)
    if asked.keep_alive == 0:
        _running().unload(model.name)
        return _json(lines.encode(unload_reply(asked.asked, generate=generate)))
    asked.check_values()
    _running().used(model.name, model, asked.keep_alive)
    return _json(lines.encode(load_reply(asked.asked, generate=generate)))


def _fitted(translation: Translation, model: Model, without: frozenset[str], at_most: int | None) -> bytes:
    """The body for one model: `without` and `at_most` are what an earlier attempt taught."""
    body = {key: value for key, value in translation.body.items() if key not in without}
    if at_most is not None:
        body["max_tokens"] = at_most
    return encode({**fit(body, model, drop_unsupported=True), "stream": True})
