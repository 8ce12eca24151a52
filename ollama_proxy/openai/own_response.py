"""The `response` object of /v1/responses where this server answers by itself, without asking a model. Pure.

Its members are OpenAI's (https://platform.openai.com/docs/api-reference/responses/object).
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence
from typing import Any

Json = dict[str, Any]


def own_response(model: str, output: Sequence[Json]) -> Json:
    """Return a completed response with the items of `output`, of no tokens. `model` is what the client asked for."""
    return {
        "id": f"resp_{secrets.token_hex(12)}",
        "object": "response",
        "created_at": int(time.time()),
        "status": "completed",
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "metadata": {},
        "model": model,
        "output": list(output),
        "parallel_tool_calls": True,
        "temperature": None,
        "tool_choice": "auto",
        "tools": [],
        "top_p": None,
        "usage": {
            "input_tokens": 0,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": 0,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": 0,
        },
    }
