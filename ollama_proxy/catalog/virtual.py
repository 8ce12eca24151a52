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
FREE = VirtualModel("free:latest", "Free: best free model for the request", "balanced")
FAST = VirtualModel("free:fast", "Free: quickest good model", "fast")
SMART = VirtualModel("free:smart", "Free: smartest model", "smart")
CODING = VirtualModel("free:coding", "Free: best model for code", "coding")

#: All of them by their listed name, in the order in which they are listed.
VIRTUAL_MODELS = {model.name: model for model in (FREE, FAST, SMART, CODING)}


def is_reserved(key: str) -> bool:
    """Whether no real model may be listed under a name: `free` with any tag. `key` is in lower case, with its tag."""
    return key.startswith("free:")
