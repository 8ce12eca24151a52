"""With keys the pages are for admins: whoever else has a key is told so in words."""

from __future__ import annotations

from pathlib import Path

import pytest

from ollama_proxy import create_app
from ollama_proxy.access.caller import CALLER_KEY, Caller
from ollama_proxy.access.keys import Key
from ollama_proxy.config import Settings
from ollama_proxy.observation import ENVIRON_KEY, Observation

PATHS = ("/ui", "/ui/now", "/ui/models", "/ui/requests", "/ui/requests/0123", "/ui/usage")


@pytest.mark.parametrize(
    ("caller", "may_look"),
    [
        pytest.param(Caller.at("127.0.0.1"), True, id="where no key is needed"),
        pytest.param(Caller.with_key(Key("boss", admin=True), "127.0.0.1"), True, id="an admin"),
        pytest.param(Caller.with_key(Key("kid", id=1), "127.0.0.1"), False, id="somebody with a key"),
        pytest.param(Caller.with_key(Key("prometheus", id=2, metrics=True), "127.0.0.1"), False, id="a scraper's key"),
    ],
)
def test_who_may_look(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caller: Caller, may_look: bool) -> None:
    monkeypatch.chdir(tmp_path)
    app = create_app(Settings(database_url=f"sqlite:///{tmp_path}/x.db", openrouter_api_key="sk-or-none"))
    for method, path in [*(("GET", path) for path in PATHS), ("POST", "/ui/models/forget"), ("GET", "/ui/static/x")]:
        known = {CALLER_KEY: caller, ENVIRON_KEY: Observation("r1", method, path)}
        with app.test_request_context(path, method=method, environ_overrides=known):
            response = app.full_dispatch_request()
        assert (response.status_code == 403) is not may_look, (method, path)
        if not may_look:
            assert "the pages need the key of an admin" in response.get_data(as_text=True)
