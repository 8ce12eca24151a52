"""Which requests leave a record, and what it holds."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest
from flask import Flask

from ollama_proxy import create_app
from ollama_proxy.config import Settings
from ollama_proxy.ledger.record import ASKING_ROUTES, RequestRecord, Step, is_recorded, record_of
from ollama_proxy.observation import Outcome
from ollama_proxy.storage.ledger_table import REQUEST_LOG
from tests.unit.ledger.observations import ended, exchange, tried


@pytest.mark.parametrize(
    ("noted", "recorded"),
    [
        pytest.param({}, True, id="an answer"),
        pytest.param({"status": 400, "exchange": None}, True, id="refused by its body"),
        pytest.param({"status": 404, "exchange": None}, True, id="an unknown model"),
        pytest.param({"status": 502, "exchange": exchange(tried("a"), answered=False)}, True, id="nobody answered"),
        pytest.param({"status": 0, "left": True, "exchange": None}, True, id="the client left before it was asked"),
        pytest.param({"route": "/api/tags", "exchange": None}, False, id="a list"),
        pytest.param({"route": "/health", "exchange": None}, False, id="health"),
        pytest.param({"route": "", "status": 401, "exchange": None}, False, id="refused at the door"),
        pytest.param({"route": "", "status": 405, "exchange": None}, False, id="a wrong method"),
        pytest.param({"exchange": None}, False, id="a model is loaded: nobody is asked"),
    ],
)
def test_who_leaves_a_record(noted: dict[str, Any], recorded: bool) -> None:
    assert is_recorded(ended(**noted)) is recorded


def test_the_routes_that_ask_are_routes(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    app: Flask = create_app(Settings(database_url=f"sqlite:///{tmp_path}/x.db"))
    posts = {rule.rule for rule in app.url_map.iter_rules() if "POST" in (rule.methods or ())}
    assert posts >= ASKING_ROUTES
    asks = {"chat", "generate", "embed", "embeddings", "completions", "responses", "messages"}
    assert {rule for rule in posts if rule.rpartition("/")[2] in asks} == ASKING_ROUTES


def test_what_a_record_holds() -> None:
    noted = ended(
        exchange=exchange(tried("a/one:free", "rate limited upstream", seconds=1.0), tried("b/two", is_free=False)),
        cost=0.0012345,
        streamed=True,
        broken=True,
        error="read timeout",
    )
    assert record_of(noted, ended_at=1000.0, seconds=2.5) == RequestRecord(
        id="r1",
        ended_at=1000.0,
        caller="10.0.0.1",
        api="ollama",
        route="/api/chat",
        asked="free",
        model="b/two",
        chain=(Step("a/one:free", "rate limited upstream", 1.0), Step("b/two", None, 0.5)),
        free_attempts=1,
        first_token_seconds=0.7,
        seconds=2.5,
        prompt_tokens=10,
        completion_tokens=20,
        cost=1234,
        status=200,
        outcome=Outcome.BROKEN,
        streamed=True,
        error="read timeout",
    )


@pytest.mark.parametrize(
    ("noted", "status"),
    [
        pytest.param({"status": 0, "left": True}, 499, id="the client left first"),
        pytest.param({"status": 0, "error": "failed"}, 500, id="the server broke"),
        pytest.param({"status": 200, "left": True}, 200, id="the client left its stream"),
    ],
)
def test_the_status_of_a_request_without_one(noted: dict[str, Any], status: int) -> None:
    assert record_of(ended(**noted), ended_at=0, seconds=0).status == status


def test_a_refused_request_has_no_chain() -> None:
    record = record_of(ended(status=400, exchange=None, prompt_tokens=None), ended_at=0, seconds=0)
    assert (record.model, record.chain, record.free_attempts, record.first_token_seconds) == (None, (), 0, None)
    assert (record.prompt_tokens, record.cost, record.outcome) == (None, None, Outcome.REFUSED)


def test_the_table_has_a_column_for_each_field() -> None:
    assert [column.name for column in REQUEST_LOG.c] == [field.name for field in fields(RequestRecord)]
