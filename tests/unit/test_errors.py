"""What a log may say of an error: nothing that its text quotes."""

from __future__ import annotations

import pytest

from ollama_proxy.errors import ProxyError

SECRET = "sk-or-v1-secret"


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        pytest.param(f"model '{SECRET}' not found", "model … not found", id="a name"),
        pytest.param(f'"{SECRET}" does not support tools', "… does not support tools", id="at the start"),
        pytest.param(f"model 'a' {SECRET} 'b' not found", "model … not found", id="marks in the name"),
        pytest.param(f'name "{SECRET}\'s" is invalid', "name … is invalid", id="an apostrophe in the name"),
        pytest.param("the key's limit is used up", "the key's limit is used up", id="an apostrophe is no mark"),
        pytest.param(f'invalid format: "{SECRET}\n"; expected x', "invalid format: …; expected x", id="two lines"),
        pytest.param("no marks at all", "no marks at all", id="no marks"),
    ],
)
def test_the_reason_quotes_nothing(message: str, reason: str) -> None:
    assert ProxyError(message).reason == reason


def test_a_reason_that_is_given_is_taken() -> None:
    assert ProxyError("the model said 'no'", reason="HTTP 400").reason == "HTTP 400"
