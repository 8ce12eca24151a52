"""Structured logs: the form of the lines, and the one line that each request writes.

No line holds a key, a prompt or an answer. Model names that clients send are shortened, and control characters are
escaped, so that they cannot start a new line.
"""

from __future__ import annotations

import logging
import re
import sys
import time
from typing import Any

import orjson
import structlog

from ollama_proxy.config import Settings
from ollama_proxy.observation import Observation

#: The most characters of a name that are logged: a client can send a name of any length.
LONGEST_NAME = 120

_PLAIN = re.compile(r"[!#-<>-~]+")


def configure(settings: Settings) -> None:
    """Set up structlog and the standard library's logging in the same form.

    Called once per process, before anything is logged.
    """
    level = logging.getLevelNamesMapping()[settings.log_level]
    structlog.configure(
        processors=[*_FIELDS, _renderer(settings.log_format)],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler()
    handler.setFormatter(standard_formatter(settings.log_format))
    logging.basicConfig(level=max(level, logging.INFO), handlers=[handler], force=True)
    # urllib3 and werkzeug write a line for each connection and request; our own line says more.
    for noisy in ("urllib3", "werkzeug", "alembic"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


def server_logging(settings: Settings) -> dict[str, Any]:
    """Return gunicorn's `logconfig_dict`: its lines look like ours, so that a log collector reads one format."""
    formatter = {"()": lambda: standard_formatter(settings.log_format)}
    handler = {"class": "logging.StreamHandler", "formatter": "ours", "stream": "ext://sys.stderr"}
    logger = {"level": settings.log_level, "handlers": ["ours"], "filters": ["news"], "propagate": False}
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"ours": formatter},
        "filters": {"news": {"()": lambda: _is_news}},
        "handlers": {"ours": handler},
        "root": {"level": "WARNING", "handlers": ["ours"]},
        "loggers": {"gunicorn.error": logger},
    }


def _is_news(record: logging.LogRecord) -> bool:
    """Return False for gunicorn's greeting: our own line says more, and a refused key should leave one line only."""
    return not str(record.msg).startswith("Starting gunicorn")


def standard_formatter(log_format: str) -> logging.Formatter:
    """Return a formatter that gives the standard library's records the form of our lines."""
    last = [structlog.stdlib.ProcessorFormatter.remove_processors_meta, _renderer(log_format)]
    return structlog.stdlib.ProcessorFormatter(foreign_pre_chain=_FIELDS, processors=last)


_FIELDS: list[Any] = [
    structlog.processors.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    structlog.processors.format_exc_info,
]


def _renderer(log_format: str) -> Any:
    return structlog.processors.JSONRenderer(serializer=_json) if log_format == "json" else _text


def _text(_logger: Any, _name: str, fields: dict[str, Any]) -> str:
    """Return `TIME LEVEL EVENT name=value ...`; a traceback follows on lines of its own."""
    traceback = fields.pop("exception", "")
    head = f"{fields.pop('timestamp', '')} {fields.pop('level', ''):7} {_one_line(str(fields.pop('event', '')))}"
    values = " ".join(f"{name}={_value(value)}" for name, value in fields.items())
    return f"{head} {values}".rstrip() + (f"\n{traceback}" if traceback else "")


def _value(value: Any) -> str:
    text = str(value)
    return text if _PLAIN.fullmatch(text) else orjson.dumps(_one_line(text)).decode().replace("\\\\", "\\")


def _one_line(text: str) -> str:
    return text if text.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def _json(fields: dict[str, Any], **_: Any) -> str:
    return orjson.dumps(fields, default=str).decode()


def shown(text: str) -> str:
    """Return a client's text as a log may hold it: cut short, and without control characters."""
    return text[:LONGEST_NAME].encode("unicode_escape").decode()


class RequestLog:
    """An observer that writes one line per request, with the models that were tried."""

    def __init__(self) -> None:
        self._log = structlog.get_logger("ollama_proxy")

    def began(self, observation: Observation) -> None:
        """Do nothing: a request is logged when it ends."""

    def answering(self, observation: Observation) -> None:
        """Do nothing: a request is logged when it ends."""

    def ended(self, observation: Observation) -> None:
        """Write the line. `tried` reads like "a:free (rate limited), b:free"; who was passed over stands there too."""
        fields: dict[str, Any] = {
            "request_id": observation.request_id,
            "method": observation.method,
            "path": shown(observation.path),
            "status": observation.status,
            "ms": round((time.monotonic() - observation.began) * 1000, 1),
            "client": observation.caller,
            "outcome": observation.outcome,
        }
        if observation.asked:
            fields["asked"] = shown(observation.asked)
        exchange = observation.exchange
        if exchange is not None:
            fields["model"] = exchange.model.id if exchange.model is not None else None
            fields["tried"] = exchange.chain
            if exchange.first_token_seconds is not None:
                fields["first_token_ms"] = round(exchange.first_token_seconds * 1000, 1)
            fields["prompt_tokens"] = observation.prompt_tokens
            fields["completion_tokens"] = observation.completion_tokens
            fields["cost"] = observation.cost
        if observation.error:
            fields["error"] = observation.error
        write = self._log.warning if observation.status >= 500 or observation.broken else self._log.info
        write("request", **{name: value for name, value in fields.items() if value is not None})
