"""Makes deterministic embedding vectors and the body of /embeddings. Pure."""

from __future__ import annotations

import base64
import hashlib
import math
import random
import struct
from functools import lru_cache
from typing import Any

from simulator.answers import Envelope
from simulator.asks import text_of

Json = dict[str, Any]
DIMENSIONS = {"lexicon/embed-small:free": 384, "lexicon/embed-large:free": 1024, "vectorworks/embed-3": 1536}


@lru_cache(maxsize=256)
def vector(model: str, text: str, dimensions: int) -> tuple[float, ...]:
    """Return a unit vector that depends on nothing but the arguments."""
    seed = hashlib.sha256(f"{model}\0{text}".encode("utf-8", "surrogatepass")).digest()
    chance = random.Random(seed)
    raw = [chance.uniform(-1, 1) for _ in range(dimensions)]
    length = math.sqrt(sum(value * value for value in raw))
    return tuple(value / length for value in raw)


def inputs(given: Any) -> list[str]:
    """Return the texts of an `input`: a string, strings, tokens, lists of tokens, or objects with `content` parts."""
    if isinstance(given, str):
        return [given]
    if isinstance(given, list):
        if given and all(isinstance(item, int) for item in given):
            return [repr(given)]
        return [text_of(item.get("content")) if isinstance(item, dict) else str(item) for item in given]
    return []


def embeddings_body(envelope: Envelope, body: Json, texts: list[str]) -> Json:
    model = body["model"]
    dimensions = body.get("dimensions") or DIMENSIONS.get(model, 256)
    data = []
    for index, text in enumerate(texts):
        made = vector(model, text, dimensions)
        shown: Any = list(made)
        if body.get("encoding_format") == "base64":
            shown = base64.b64encode(struct.pack(f"<{dimensions}f", *made)).decode()
        data.append({"object": "embedding", "embedding": shown, "index": index})
    tokens = sum(max(1, len(text) // 4) for text in texts)
    return {
        "object": "list",
        "data": data,
        "model": model.split("/")[-1].split(":")[0],
        "usage": {
            "prompt_tokens": tokens,
            "total_tokens": tokens,
            "cost": envelope.cost,
            "is_byok": False,
        },
        "provider": "Simulated",
        "id": envelope.id.replace("gen-", "gen-emb-"),
    }
