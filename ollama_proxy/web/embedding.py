"""Answers a request for embeddings, in both APIs: texts that upstream finds too long are cut and sent again.

The number of tries is bounded, by MOST_CUTS and by MAX_ATTEMPTS (docs/contract.md, "Endpoints").
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

from flask import Response, current_app

from ollama_proxy.bodies.embedding_inputs import MOST_CUTS, cut
from ollama_proxy.errors import PromptTooLong
from ollama_proxy.fallback.call import Call, Tried
from ollama_proxy.fallback.exchange import Exchange
from ollama_proxy.web.context import runtime
from ollama_proxy.web.pump import WholeReader, respond_whole


def respond_embedded(
    inputs: Sequence[Any],
    call_for: Callable[[list[Any]], Call],
    reader_for: Callable[[], WholeReader],
    *,
    content_type: str,
    may_cut: bool = True,
) -> Response:
    """Answer for `inputs`: texts, lists of tokens or parts. Raises ProxyError.

    `call_for` makes the call for the inputs as they are after a cut, `reader_for` a new reader for its answer.
    """
    backend = runtime().backend
    cuts = min(MOST_CUTS, backend.settings.max_attempts - 1) if may_cut else 0
    sent = list(inputs)
    earlier: list[Tried] = []
    while True:
        exchange = Exchange(backend, call_for(sent))
        response = None
        try:
            response = respond_whole(exchange, reader_for(), content_type=content_type)
        except PromptTooLong as refusal:
            shorter = cut(sent, refusal, last=cuts == 1) if cuts > 0 else None
            if shorter is None:
                raise
            sent, cuts = shorter, cuts - 1
        finally:
            # For the log, which is written once the request has ended, and for the headers of an error too.
            exchange.tried[:0] = earlier
        if response is not None:
            response.headers["X-Proxy-Attempts"] = str(len(exchange.tried))
            response.headers["X-Proxy-Chain"] = exchange.chain
            return response
        earlier = list(exchange.tried)


def widths() -> dict[str, int]:
    """The length of the vectors of each embedding model that has answered in this process, by its id.

    OpenRouter's records do not tell it. The ids are those of the catalogue, so there are not more than models.
    """
    return cast(dict[str, int], current_app.extensions.setdefault("ollama_proxy.widths", {}))
