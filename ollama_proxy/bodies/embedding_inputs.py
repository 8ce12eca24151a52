"""The texts of an embedding request, cut to a model's window. Pure."""

from __future__ import annotations

from ollama_proxy.errors import BadRequest

_BYTES_PER_TOKEN = 4
_SAFE_BYTES_PER_TOKEN = 3  # a text that must be cut is cut so that it fits even if its tokens are short


def fitting(texts: list[str], window: int, *, truncate: bool) -> list[str]:
    """Return the texts, cut where they are too long for a window of `window` tokens (0: unknown).

    Without `truncate` a text that is too long raises BadRequest, in Ollama's words. Tokens are estimated.
    """
    if window <= 0:
        return texts
    most = window * _BYTES_PER_TOKEN
    fitted = []
    for text in texts:
        if len(text) * 4 > most and len(data := text.encode()) > most:
            if not truncate:
                raise BadRequest("the input length exceeds the context length")
            text = data[: window * _SAFE_BYTES_PER_TOKEN].decode(errors="ignore")
        fitted.append(text)
    return fitted
