"""An answer that is known without asking a model, in the form that a model's would have. Knows Flask and a dialect."""

from __future__ import annotations

from typing import Any

from flask import Response

from ollama_proxy.openrouter.answers.chunks import dump_payload
from ollama_proxy.openrouter.answers.dialect import Dialect
from ollama_proxy.openrouter.answers.events import DONE
from ollama_proxy.web.context import observation
from ollama_proxy.web.pump import JSON, SSE, StreamReader


def respond_told(answer: dict[str, Any], dialect: Dialect, stream: StreamReader | None) -> Response:
    """The response for a whole answer as upstream would give it: as the events of `stream`, or as it is without one."""
    if stream is None:
        return Response(dump_payload(answer), content_type=JSON)
    observation().streamed = True
    writes = [*stream.feed([dump_payload(dialect.from_whole(answer)), DONE]), *stream.end()]
    return Response(
        b"".join(writes), content_type=SSE, headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
    )
