"""Structured logs: how lines look, and the one line that each request leaves.

No line holds a key, a prompt or an answer. Model names that clients send are shortened, and control characters cannot
break out of a line.
"""

from __future__ import annotations

import logging
import sys
import time
from typing import Any

import orjson
import structlog

from ollama_proxy.config import Settings
from ollama_proxy.observation import Observation

#: A client can send any name: what is logged of it ends here.
LONGEST_NAME = 120


def configure(settings: Settings) -> None:
    """Set up structlog and the standard library's logging alike. Called once per process, before anything is logged."""
    level = logging.getLevelNamesMapping()[settings.log_level]
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    if settings.log_format == "json":
        renderer: list[Any] = [structlog.processors.JSONRenderer(serializer=_json)]
    else:
        renderer = [
            structlog.processors.KeyValueRenderer(
                key_order=["timestamp", "level", "event"], drop_missing=True, repr_native_str=False
            )
        ]
    structlog.configure(
        processors=[*shared, *renderer],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(level=max(level, logging.INFO), format="%(asctime)s %(levelname)s %(message)s", force=True)
    # urllib3 and werkzeug have a line for each connection and request; ours says more.
    for noisy in ("urllib3", "werkzeug", "alembic"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


def _json(fields: dict[str, Any], **_: Any) -> str:
    return orjson.dumps(fields, default=str).decode()


class RequestLog:
    """An observer that writes one line per request, with the chain of models that were tried."""

    def __init__(self) -> None:
        self._log = structlog.get_logger("ollama_proxy")

    def began(self, observation: Observation) -> None:
        """Nothing is logged before a request has ended."""

    def ended(self, observation: Observation) -> None:
        """The line. `tried` reads like "a:free (rate limited), b:free"."""
        fields: dict[str, Any] = {
            "request_id": observation.request_id,
            "method": observation.method,
            "path": observation.path,
            "status": observation.status,
            "ms": round((time.monotonic() - observation.began) * 1000, 1),
        }
        if observation.asked:
            fields["asked"] = observation.asked[:LONGEST_NAME].encode("unicode_escape").decode()
        exchange = observation.exchange
        if exchange is not None:
            fields["model"] = exchange.model.id if exchange.model is not None else None
            fields["tried"] = ", ".join(
                f"{tried.model} ({tried.reason})" if tried.reason else tried.model for tried in exchange.tried
            )
            if exchange.first_token_seconds is not None:
                fields["first_token_ms"] = round(exchange.first_token_seconds * 1000, 1)
            fields["prompt_tokens"] = observation.prompt_tokens
            fields["completion_tokens"] = observation.completion_tokens
        if observation.error:
            fields["error"] = observation.error
        write = self._log.warning if observation.status >= 500 or observation.error else self._log.info
        write("request", **{name: value for name, value in fields.items() if value is not None})
