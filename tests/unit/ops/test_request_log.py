"""ops.request_log: what a request leaves in the log, and what it never does."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import structlog
from structlog.testing import capture_logs

from ollama_proxy.fallback.explanation import MOST_NAMED, ExplainedAttempt, ExplainedChoice
from ollama_proxy.observation import Observation
from ollama_proxy.ops.request_log import LONGEST_NAME, Explanations, RequestLog, explanations, shown


def safe(name: str) -> str:
    """As `ledger/names.py` has it, for these tests."""
    return "" if name.startswith("sk-") else name


@pytest.fixture(autouse=True)
def _whole_log() -> None:
    """Another test may have made an application, which sets the log's level for its process."""
    structlog.reset_defaults()


@pytest.fixture
def log() -> RequestLog:
    return RequestLog(safe)


def line_of(log: RequestLog, observation: Observation) -> dict[str, Any]:
    with capture_logs() as lines:
        log.ended(observation)
    [line] = lines
    return dict(line)


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


def test_a_request_leaves_one_line(log: RequestLog) -> None:
    observation = Observation("id", "POST", "/api/chat\n", status=200, asked="m\n", address="10.0.0.7")
    with capture_logs() as lines:
        log.began(observation)
        log.answering(observation)
    assert lines == []
    line = line_of(log, observation)
    assert line["path"] == "/api/chat\\n"
    assert line["asked"] == "m\\n"
    assert line["log_level"] == "info"
    assert line["client"] == "10.0.0.7"
    assert "key" not in line


def test_the_line_has_the_clients_address_and_the_name_of_its_key(log: RequestLog) -> None:
    line = line_of(log, Observation("id", "GET", "/api/tags", status=200, address="10.0.0.7", key="key 2"))
    assert (line["client"], line["key"]) == ("10.0.0.7", "key 2")


@pytest.mark.parametrize(
    ("path", "route", "logged"),
    [
        pytest.param("/api/chat", "/api/chat", "/api/chat", id="a route"),
        pytest.param("/v1/models/a/b:free", "/v1/models/<path:name>", "/v1/models/a/b:free", id="a model's name"),
        pytest.param("/v1/models/sk-or-1", "/v1/models/<path:name>", "/v1/models/***", id="a key as a name"),
        pytest.param("/sk-or-1/api/chat", "", "/***/api/chat", id="a key in a path that no route has"),
        pytest.param("//x/", "", "//x/", id="empty parts"),
    ],
)
def test_no_key_in_a_path_is_logged(log: RequestLog, path: str, route: str, logged: str) -> None:
    assert line_of(log, Observation("id", "GET", path, status=404, route=route))["path"] == logged


@pytest.mark.parametrize(
    ("route", "method", "status", "level"),
    [
        ("/health", "GET", 200, "debug"),
        ("/health/ready", "GET", 503, "debug"),
        ("/", "HEAD", 200, "debug"),
        ("/", "GET", 200, "debug"),
        ("/metrics", "GET", 200, "debug"),
        ("/api/proxy/status", "GET", 200, "debug"),
        ("/api/proxy/status", "GET", 500, "warning"),
        ("", "GET", 401, "info"),
        ("/api/tags", "GET", 200, "info"),
        ("/api/chat", "POST", 502, "warning"),
    ],
)
def test_probes_and_scrapes_are_for_debug(log: RequestLog, route: str, method: str, status: int, level: str) -> None:
    line = line_of(log, Observation("id", method, route or "/metrics", status=status, route=route))
    assert line["log_level"] == level


def test_a_slow_attempt_has_a_line_of_its_own(log: RequestLog) -> None:
    observation = Observation("id", "POST", "/api/chat", address="10.0.0.7", key="key 1", streamed=True)
    with capture_logs() as lines:
        log.slow(observation, "a/b:free", 10.04)
    assert lines == [
        {
            "event": "slow attempt",
            "log_level": "warning",
            "request_id": "id",
            "client": "10.0.0.7",
            "key": "key 1",
            "model": "a/b:free",
            "seconds": 10.0,
            "streamed": True,
        }
    ]


def test_only_debug_explains() -> None:
    assert explanations("INFO") is None
    assert isinstance(explanations("DEBUG"), Explanations)


def test_an_explanation_names_candidates_and_why_not_the_others() -> None:
    many = [f"m/{number}" for number in range(MOST_NAMED + 7)]
    choice = ExplainedChoice(("a/b", "c/d"), frozenset({"c/d"}), {"does not support tools": ["e/f"], "not free": many})
    with capture_logs() as lines:
        Explanations().chosen(Observation("id", "POST", "/api/chat"), choice)
        Explanations().attempted(
            Observation("id", "POST", "/api/chat"), ExplainedAttempt("a/b", 429, 0.0123, None, "rate limited")
        )
    chosen, attempt = lines
    assert chosen["candidates"] == "a/b, c/d (suspected)"
    assert chosen["left_out"].startswith("does not support tools: e/f; not free: m/0, m/1, ")
    assert chosen["left_out"].endswith("and 7 more")
    assert attempt == {
        "event": "attempt",
        "log_level": "debug",
        "request_id": "id",
        "model": "a/b",
        "upstream_status": 429,
        "headers_ms": 12.3,
        "reason": "rate limited",
    }


def test_tried_models_are_in_the_line(log: RequestLog) -> None:
    chain = "a (rate limited), b"
    exchange = SimpleNamespace(model=SimpleNamespace(id="b"), chain=chain, tried=[], first_token_seconds=1.5)
    line = line_of(log, Observation("id", "POST", "/api/chat", status=200, exchange=exchange, cost=0.5))
    assert (line["model"], line["tried"], line["first_token_ms"]) == ("b", "a (rate limited), b", 1500.0)
    assert line["cost"] == 0.5
