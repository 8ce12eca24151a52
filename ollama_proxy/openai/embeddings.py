"""Reads embedding requests, and returns vectors in the encoding that the client wants.

Pure: bytes and dicts in and out (docs/contract.md, "Requests";
https://platform.openai.com/docs/api-reference/embeddings).
"""

from __future__ import annotations

import base64
import struct
from collections.abc import Callable
from typing import Any

from ollama_proxy.catalog.records import Model
from ollama_proxy.errors import BadRequest, ModelNotFound, UpstreamFailed
from ollama_proxy.fallback.needs import Needs
from ollama_proxy.openai import schemas
from ollama_proxy.openai.request import PassedRequest
from ollama_proxy.openrouter.answers.chunks import dump_payload, parse_payload

_ENCODINGS = ("float", "base64")

#: Vendor of the models that accept lists of tokens: clients make them with OpenAI's tokenizer.
_TAKES_TOKENS = "openai/"


def read_embeddings(data: bytes) -> PassedRequest:
    """Read the body of POST /v1/embeddings. Raises BadRequest, ModelNotFound."""
    body = schemas.read(schemas.EMBEDDING, data)
    given = body.get("input")
    if given is None or given == []:
        raise BadRequest("invalid input")
    if not isinstance(given, str) and not (isinstance(given, list) and all(map(_may_be_input, given))):
        raise BadRequest("invalid input type")
    encoding = body.get("encoding_format") or "float"
    if encoding.lower() not in _ENCODINGS:
        raise BadRequest(
            f"Invalid value for 'encoding_format' = {encoding[:40]}. Supported values: ['float', 'base64']."
        )
    if body.get("encoding_format"):
        body["encoding_format"] = encoding.lower()
    name = body.get("model") or ""
    if not name.strip():
        raise ModelNotFound(f"model '{name}' not found")
    return PassedRequest(name, body, Needs())


def check_input(body: dict[str, Any], model: Model) -> None:
    """Raise BadRequest if the input has tokens and this model has another tokenizer."""
    given = body["input"]
    has_tokens = isinstance(given, list) and any(isinstance(item, int | list) for item in given)
    if has_tokens and not model.id.startswith(_TAKES_TOKENS):
        raise BadRequest("invalid input type")


def _may_be_input(item: Any) -> bool:
    """Return True for a text, a token, a list of tokens, or an object with `content` (parts of several kinds)."""
    if isinstance(item, list):
        return bool(item) and all(type(token) is int for token in item)
    return isinstance(item, str | dict) or type(item) is int


def encoded(body: bytes, *, as_base64: bool) -> bytes:
    """Return the answer with its vectors as asked for: numbers, or base64 of little-endian 32-bit floats.

    Raises UpstreamFailed for vectors that cannot be converted.
    """
    answer = parse_payload(body)
    data = answer.get("data")
    items = [item for item in data if isinstance(item, dict)] if isinstance(data, list) else []
    wrong: type = list if as_base64 else str
    turned = [item for item in items if isinstance(item.get("embedding"), wrong)]
    if not turned:
        return body
    turn: Callable[[Any], Any] = _to_base64 if as_base64 else _to_floats
    try:
        for item in turned:
            item["embedding"] = turn(item["embedding"])
        return dump_payload(answer)
    except (struct.error, OverflowError, ValueError) as error:
        raise UpstreamFailed("upstream error: the model did not answer with vectors") from error


def _to_base64(vector: list[float]) -> str:
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()


def _to_floats(text: str) -> list[float]:
    data = base64.b64decode(text)
    return list(struct.unpack(f"<{len(data) // 4}f", data[: len(data) // 4 * 4]))
