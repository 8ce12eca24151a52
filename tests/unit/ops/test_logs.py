"""ops.logs: lines that nothing can break, in both formats."""

from __future__ import annotations

import logging

import orjson
import pytest

from ollama_proxy.config import load_settings
from ollama_proxy.ops.logs import server_level, standard_formatter


def formatted(log_format: str, message: str, *arguments: object) -> str:
    record = logging.LogRecord("gunicorn.error", logging.INFO, "f", 1, message, arguments, None)
    return standard_formatter(log_format).format(record)


@pytest.mark.parametrize("log_format", ["text", "json"])
@pytest.mark.parametrize(
    "evil",
    ["a\nlevel=error b", "a\r\nb", "a\x1b[31mb", "a\u2028b", "a\x85b"],
    ids=["LF", "CRLF", "escape", "LS", "NEL"],
)
def test_a_line_stays_one_line(log_format: str, evil: str) -> None:
    line = formatted(log_format, "%s happened", evil)
    if log_format == "json":
        assert orjson.loads(line)["event"] == f"{evil} happened"
        assert "\n" not in line
    else:
        assert line.isprintable()
        assert "happened" in line


def test_a_text_line_has_time_level_and_words() -> None:
    time, level, words = formatted("text", "hello").split()
    assert (time[-1], level, words) == ("Z", "info", "hello")


@pytest.mark.parametrize(("given", "level"), [("debug", "INFO"), ("info", "INFO"), ("warning", "WARNING")])
def test_gunicorn_never_dumps_its_configuration(given: str, level: str) -> None:
    assert server_level(load_settings({"LOG_LEVEL": given})) == level
