"""Which keys may change what all clients share. Pages are tested over sockets (tests/api/test_persona_sharing.py)."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from flask import Flask

from ollama_proxy.access.caller import CALLER_KEY, Caller
from ollama_proxy.access.keys import Key
from ollama_proxy.access.policy import AccessPolicy
from ollama_proxy.config import Settings
from ollama_proxy.errors import Forbidden
from ollama_proxy.web.permission import check_may_change


@pytest.mark.parametrize(
    ("caller", "may"),
    [
        pytest.param(Caller.at("127.0.0.1"), True, id="no keys here"),
        pytest.param(Caller.with_key(Key("owner", admin=True), "127.0.0.1"), True, id="an admin key"),
        pytest.param(Caller.with_key(Key("guest", id=1), "127.0.0.1"), False, id="another key"),
    ],
)
def test_which_keys(caller: Caller, may: bool) -> None:
    app = Flask("test")
    access = AccessPolicy(Settings(), hostnames=[], interface_ips=[])
    app.extensions["ollama_proxy"] = SimpleNamespace(access=access)
    with app.test_request_context(environ_overrides={CALLER_KEY: caller}):
        if may:
            check_may_change()
        else:
            with pytest.raises(Forbidden, match="this needs an admin key"):
                check_may_change()
