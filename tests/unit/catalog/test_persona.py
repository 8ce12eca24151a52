"""A persona as a value."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

import pytest

from ollama_proxy.catalog.persona import layers
from tests.unit.catalog.personas import persona


def test_its_layers_are_worked_out_once(monkeypatch: pytest.MonkeyPatch) -> None:
    mario = persona(system="x", parameters={"top_k": 1})
    assert [layer.kind for layer in layers(mario)] == ["system", "params"]

    def fail(_: Any) -> Any:
        pytest.fail("it hashes again")

    monkeypatch.setattr(hashlib, "sha256", fail)
    assert [layer.size for layer in layers(mario)] == [1, 11]
    assert mario == persona(system="x", parameters={"top_k": 1})
    monkeypatch.undo()
    assert [layer.size for layer in layers(replace(mario, system="yy"))] == [2, 11]
