"""Structured logs: the form of the lines, which is the same for ours and for the libraries'.

Control characters are escaped, so that nothing can start a new line. What a request's own lines hold: `request_log.py`.
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
from ollama_proxy.ops.terminal import has_colour, is_terminal

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
    logger = {"level": server_level(settings), "handlers": ["ours"], "filters": ["news"], "propagate": False}
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"ours": formatter},
        "filters": {"news": {"()": lambda: _is_news}},
        "handlers": {"ours": handler},
        "root": {"level": "WARNING", "handlers": ["ours"]},
        "loggers": {"gunicorn.error": logger},
    }


def server_level(settings: Settings) -> str:
    """Return gunicorn's `loglevel`: at DEBUG it would print its whole configuration and a line for each connection."""
    return "INFO" if settings.log_level == "DEBUG" else settings.log_level


#: How gunicorn greets. In a terminal the start has said more already (`welcome.py`).
_GREETING = "Starting gunicorn"
_GREETINGS = (_GREETING, "Listening at", "Using worker", "Booting worker")


def _is_news(record: logging.LogRecord) -> bool:
    """Return False for gunicorn's greeting: our own line says more, and a refused key should leave one line only."""
    return not str(record.msg).startswith(_GREETINGS if is_terminal(sys.stderr) else _GREETING)


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
    if log_format == "json":
        return structlog.processors.JSONRenderer(serializer=_json)
    return _for_people(colour=has_colour(sys.stderr)) if is_terminal(sys.stderr) else _text


def _for_people(*, colour: bool) -> Any:
    """The renderer for a terminal: short local times, colours."""
    plain = structlog.dev.plain_traceback
    console = structlog.dev.ConsoleRenderer(colors=colour, pad_event_to=0, sort_keys=False, exception_formatter=plain)

    def render(logger: Any, name: str, fields: dict[str, Any]) -> Any:
        lines = {key: _one_line(value) if isinstance(value, str) else value for key, value in fields.items()}
        if "exception" in fields:
            lines["exception"] = fields["exception"]  # a traceback has lines of its own
        return console(logger, name, lines | {"timestamp": time.strftime("%H:%M:%S")})

    return render


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
