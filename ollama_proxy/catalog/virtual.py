"""The virtual models: names that mean no one model, but the best free model that can serve the request.

A virtual model names an order of candidates (`fallback/order.py`). To add one, add it to `VIRTUAL_MODELS`: names,
lists and requests of all three APIs read them from here (docs/contract.md, "Names").
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class VirtualModel:
    """A listed name (with its tag), its title for people, and the order in which free models are tried for it."""

    name: str
    title: str
    order: str


#: The best free model for the request.
FREE = VirtualModel("free:latest", "Free: best free model for the request", "context")

#: All of them by their listed name. The names are reserved: no real model is ever listed under one.
VIRTUAL_MODELS = {model.name: model for model in (FREE,)}
