"""Reads embedding requests, and returns vectors in the encoding that the client wants.

Pure: bytes and dicts in and out (docs/contract.md, "Requests";
https://platform.openai.com/docs/api-reference/embeddings).
"""

from __future__ import annotations

import base64
import struct
from collections.abc import Callable
from typing import Any

from ollama_proxy.bodies.embedding_inputs import fitting, not_empty
from ollama_proxy.catalog.records import Model
from ollama_proxy.errors import BadRequest, ModelNotFound, UpstreamFailed
from ollama_proxy.fallback.needs import Needs
from ollama_proxy.openai import schemas
from ollama_proxy.openai.request import PassedRequest
from ollama_proxy.openrouter.answers.chunks import dump_payload, parse_payload
from ollama_proxy.openrouter.answers.vectors import is_vector, unit

_ENCODINGS = ("float", "base64")

_TAKEN = "a string or a list of strings is taken, and lists of tokens only for models of OpenAI"

#: Vendor of the models that accept lists of tokens: clients make them with OpenAI's tokenizer.
_TAKES_TOKENS = "openai/"


def read_embeddings(data: bytes) -> PassedRequest:
    """Read the body of POST /v1/embeddings. Raises BadRequest, ModelNotFound."""
    body = schemas.read(schemas.EMBEDDING, data)
    given = body.get("input")
    if given is None or given == []:
        raise BadRequest("invalid input")
    if not isinstance(given, str) and not (isinstance(given, list) and all(map(_may_be_input, given))):
        raise BadRequest(f"invalid input type: {_TAKEN}")
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
        raise BadRequest(f"invalid input type: {_TAKEN}")


def asked_of(body: dict[str, Any]) -> dict[str, Any]:
    """Return how the body wants its vectors, as `encoded` takes it."""
    return {"as_base64": body.get("encoding_format") == "base64", "dimensions": body.get("dimensions") or 0}


def inputs_of(body: dict[str, Any], window: int) -> list[Any]:
    """Return the inputs of a body one by one, texts cut to a window of so many tokens (0: unknown)."""
    inputs = not_empty([body["input"]] if _is_one(body["input"]) else body["input"])
    return [fitting([one], window, truncate=True)[0] if isinstance(one, str) else one for one in inputs]


def with_inputs(body: dict[str, Any], inputs: list[Any]) -> dict[str, Any]:
    """Return the body for these inputs. `dimensions` stays here: not every model knows it, and `encoded` cuts."""
    rest = {name: value for name, value in body.items() if name != "dimensions"}
    return {**rest, "input": inputs[0] if _is_one(body["input"]) else inputs}


def _is_one(given: Any) -> bool:
    """Return True for one input: a text, or a list of tokens."""
    return isinstance(given, str) or all(type(item) is int for item in given)


def _may_be_input(item: Any) -> bool:
    """Return True for a text, a token, a list of tokens, or an object with `content` (parts of several kinds)."""
    if isinstance(item, list):
        return bool(item) and all(type(token) is int for token in item)
    return isinstance(item, str | dict) or type(item) is int


def encoded(body: bytes, *, as_base64: bool, dimensions: int = 0, learn: Callable[[int], None] | None = None) -> bytes:
    """Return the answer with vectors of length 1, cut to `dimensions` first, as numbers or as base64 of little-endian
    32-bit floats. `learn` is told how many numbers the model's own vectors have.

    Raises UpstreamFailed for vectors that cannot be converted.
    """
    answer = parse_payload(body)
    data = answer.get("data")
    items = [item for item in data if isinstance(item, dict)] if isinstance(data, list) else []
    changed = False
    try:
        for item in items:
            given = item.get("embedding")
            if not isinstance(given, list | str):
                continue
            vector = _to_floats(given) if isinstance(given, str) else _checked(given)
            if learn is not None:
                learn(len(vector))
            made = unit(vector, dimensions)
            if made is not vector or isinstance(given, str) is not as_base64:
                item["embedding"], changed = _to_base64(made) if as_base64 else made, True
        return dump_payload(answer) if changed else body
    except (struct.error, OverflowError, ValueError) as error:
        raise UpstreamFailed("upstream error: the model did not answer with vectors") from error


def _checked(vector: list[Any]) -> list[float]:
    if not is_vector(vector):
        raise ValueError("no vector")
    return vector


def _to_base64(vector: list[float]) -> str:
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()


def _to_floats(text: str) -> list[float]:
    data = base64.b64decode(text)
    if not data:
        raise ValueError("no vector")
    return list(struct.unpack(f"<{len(data) // 4}f", data[: len(data) // 4 * 4]))
