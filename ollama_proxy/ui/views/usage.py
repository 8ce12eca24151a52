"""Usage: what was used in a day, a week or a month, in plots and tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flask import Response, request

from ollama_proxy.ops.status.usage_states import DEFAULT_SPAN, SPANS, usage_over
from ollama_proxy.ui.page import Page, Route, look, shown
from ollama_proxy.ui.plots import lines, stacked
from ollama_proxy.ui.words import OUTCOMES


def usage() -> Response:
    """GET /ui/usage: in `span`, by default 24 hours."""
    used = usage_over(look(), request.args.get("span", DEFAULT_SPAN))
    return shown("usage.html", used=used, plots=_plots(used), spans=SPANS, outcomes=list(OUTCOMES.items()))


def _plots(used: Mapping[str, Any]) -> dict[str, Any]:
    steps, names = used["steps"], list(OUTCOMES)
    return {
        "outcomes": stacked(names, [[step[name] for name in names] for step in steps]),
        "first_token": lines(
            [
                ("whole", [step["first_token"]["p50"] for step in steps]),
                ("broken", [step["first_token"]["p95"] for step in steps]),
            ]
        ),
        "tokens": stacked(("whole", "left"), [[step["tokens_out"], step["tokens_in"]] for step in steps]),
        "cost": stacked(("whole",), [[step["cost"]] for step in steps]),
    }


page = Page("Usage", (Route("/usage", usage),))
