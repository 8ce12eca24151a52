"""ops.logs: lines that nothing can break, in both formats."""

from __future__ import annotations

import logging

import orjson
import pytest

from ollama_proxy.observation import Observation
from ollama_proxy.ops.logs import standard_formatter
from ollama_proxy.ops.request_log import LONGEST_NAME, RequestLog, shown


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


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("gpt-4o:latest", "gpt-4o:latest"),
        ("a\r\nb", "a\\r\\nb"),
        ("é", "\\xe9"),
        ("x" * 500, "x" * LONGEST_NAME),
    ],
    ids=["a name", "line ends", "not ASCII", "long"],
)
def test_a_clients_words_are_short_and_harmless(text: str, expected: str) -> None:
    assert shown(text) == expected


def test_a_request_leaves_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    from structlog.testing import capture_logs

    observation = Observation("id", "POST", "/api/chat\n", status=200, asked="m\n")
    log = RequestLog()
    with capture_logs() as lines:
        log.began(observation)
        log.answering(observation)
        assert lines == []
        log.ended(observation)
    [line] = lines
    assert line["path"] == "/api/chat\\n"
    assert line["asked"] == "m\\n"
    assert line["log_level"] == "info"
