"""The front door: each request that begins ends once, whatever fails."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

import pytest
from gevent import GreenletExit

from ollama_proxy.access.policy import AccessPolicy, Decision
from ollama_proxy.observation import Observation
from ollama_proxy.ollama import error_form as ollama_errors
from ollama_proxy.web.error_rendering import ErrorForms
from ollama_proxy.web.front import Front


class Watcher:
    """Notes what it is told."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.errors: list[str] = []

    def began(self, observation: Observation) -> None:
        self.told.append("began")

    def answering(self, observation: Observation) -> None:
        self.told.append(f"answering {observation.status}")

    def ended(self, observation: Observation) -> None:
        self.told.append("ended")
        self.errors.append(observation.error)


class BrokenAccess:
    """A policy with a mistake in it."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def check(self, environ: dict[str, Any]) -> Decision:
        raise self.error


def application(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    raise AssertionError("nobody may come so far")


def call(watcher: Watcher, error: BaseException) -> Iterable[bytes]:
    access = cast(AccessPolicy, BrokenAccess(error))
    forms = ErrorForms(("", ollama_errors))
    front = Front(application, access, watcher, error_forms=forms, first_request=lambda: None)
    return front({"REQUEST_METHOD": "GET", "PATH_INFO": "/api/tags"}, lambda *_: None)


def test_a_request_whose_access_cannot_be_checked_ends() -> None:
    watcher = Watcher()
    with pytest.raises(ValueError, match="a mistake"):
        call(watcher, ValueError("a mistake"))
    assert (watcher.told, watcher.errors) == (["began", "ended"], ["failed"])


def test_so_does_one_that_is_ended_meanwhile() -> None:
    watcher = Watcher()
    body = call(watcher, GreenletExit())
    assert watcher.told == ["began", "answering 503"]
    cast(Any, body).close()
    cast(Any, body).close()
    assert watcher.told == ["began", "answering 503", "ended"]
