"""The pages, in the order of the navigation. A page is a module here, a template, and one line in this list."""

from __future__ import annotations

from ollama_proxy.ui.page import Page
from ollama_proxy.ui.views import connect, keys, models, now, personas, playground, requests, usage

NAVIGATION: tuple[Page, ...] = (
    now.page,
    models.page,
    requests.page,
    usage.page,
    playground.page,
    keys.page,
    personas.page,
    connect.page,
)
