"""What tests of the wire share."""

from __future__ import annotations

import pytest

from ollama_proxy.openrouter.http import client as client_module


@pytest.fixture(params=["direct", "library"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both ways in which a request is sent: on the pool's connections directly, and through the library."""
    if request.param == "library":
        monkeypatch.setattr(client_module, "pool_of", lambda *_: None)
    return str(request.param)
