"""The Messages API's route: read the request, hand it down, answer as an event stream or as one object.

Bodies pass through: see `request` for what goes up and `stream` for what comes down. `/v1/messages/count_tokens` is no
route here, as it is none of Ollama's (docs/contract.md, "Endpoints").
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import cast

import structlog
from flask import Blueprint, Response, current_app, request

from ollama_proxy.anthropic.errors import CONTENT_TYPE, error_body, error_event
from ollama_proxy.anthropic.needs import needs_of
from ollama_proxy.anthropic.request import body_for, read_messages
from ollama_proxy.anthropic.stream import PING, MessageStream
from ollama_proxy.anthropic.whole import as_message
from ollama_proxy.catalog.records import Model
from ollama_proxy.disconnect import watch_client
from ollama_proxy.errors import ProxyError
from ollama_proxy.fallback.attempt import Beat, StreamBroken
from ollama_proxy.fallback.exchange import Call, Exchange
from ollama_proxy.observation import ENVIRON_KEY, Observation
from ollama_proxy.ollama.json_body import encode
from ollama_proxy.openrouter.messages_dialect import MESSAGES
from ollama_proxy.request_body import read_body
from ollama_proxy.runtime import Runtime
from ollama_proxy.streaming import StreamBody

log = structlog.get_logger("ollama_proxy")
blueprint = Blueprint("anthropic", __name__)

MEGABYTE = 1024 * 1024
EVENT_STREAM = "text/event-stream; charset=utf-8"
