"""In which order free models are tried. An order is a strategy that a Target names (docs/contract.md, "Requests").

To add one, write it and add it to `ORDERS`; a virtual model in `catalog/virtual.py` can then name it. Pure: the free
models of a catalogue in, the same models in another order out.
"""

from __future__ import annotations

from typing import Protocol

from ollama_proxy.catalog.records import Model

Models = tuple[Model, ...]


class Order(Protocol):
    """An order of candidates. `arrange` is called for each request: what it works out is kept as long as it holds."""

    def arrange(self, models: Models) -> Models:
        """`models` with the one to try first in front. `models` is the same object until the catalogue changes."""


class ByContext:
    """The largest usable window first, then by id."""

    def __init__(self) -> None:
        self._arranged: tuple[Models, Models] = ((), ())

    def arrange(self, models: Models) -> Models:
        given, arranged = self._arranged
        if given is not models:
            arranged = tuple(sorted(models, key=lambda model: (-model.context_length, model.id)))
            self._arranged = (models, arranged)
        return arranged


#: The orders by the name that a Target has for them.
ORDERS: dict[str, Order] = {"context": ByContext()}
