"""One model of the catalogue, read from a record of OpenRouter's model lists.

The records come from another program and change shape over the months, so every field has a default and nothing here
raises. This module knows nothing of lists, filters or the modes of the proxy (docs/contract.md, "Catalogue").
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import orjson

from ollama_proxy.catalog.free import is_free, is_stealth
from ollama_proxy.catalog.names import is_valid_id, without_vendor
from ollama_proxy.catalog.ratings import UNRATED, Ratings, read_ratings

#: Expiry dates from this year on mean "no end".
_NO_END_YEAR = 2098
_SIZE = re.compile(r"(?:^|[-_/])(e?(?:\d+x)?\d+(?:\.\d+)?[bt]|\d{2,3}m)(?=$|[-_:.])", re.IGNORECASE)
_TEXT = frozenset({"text"})
_NOT_FAMILY = re.compile(r"[^a-z0-9_-]+")


@dataclass(frozen=True, slots=True)
class Model:
    """A model of the catalogue. Windows are in tokens, `created` in epoch seconds.

    `context_length` is the usable window: the smaller of the advertised one and the one the endpoint accepts, 0 if
    neither is known. `digest` is 64 hex digits that change only when something changes that a client could notice.
    """

    id: str
    name: str
    title: str
    created: int
    context_length: int
    max_completion_tokens: int | None
    input_modalities: frozenset[str]
    output_modalities: frozenset[str]
    supported_parameters: frozenset[str]
    reasoning: Mapping[str, Any] | None = field(compare=False)
    expires: date | None
    is_free: bool
    is_embedding: bool
    is_stealth: bool
    digest: str
    record: Mapping[str, Any] = field(compare=False, repr=False)
    #: What public benchmarks say of it. It is no part of the digest: clients do not see it.
    ratings: Ratings = field(default=UNRATED, compare=False)

    @property
    def tools(self) -> bool:
        """True if the model accepts tools."""
        return "tools" in self.supported_parameters

    @property
    def lists_tools(self) -> bool:
        """True if the parameters hold `tools` or `tool_choice`: what TOOL_USE_ONLY demands."""
        return self.tools or "tool_choice" in self.supported_parameters

    @property
    def vision(self) -> bool:
        """True if the model accepts images."""
        return "image" in self.input_modalities

    @property
    def thinking(self) -> bool:
        """True if it can be asked to reason."""
        asked_by = ("reasoning", "include_reasoning")
        return self.reasoning is not None or not self.supported_parameters.isdisjoint(asked_by)

    @property
    def reasoning_mandatory(self) -> bool:
        """True if its reasoning cannot be switched off."""
        return self.reasoning is not None and self.reasoning.get("mandatory") is True

    @property
    def supported_efforts(self) -> tuple[str, ...]:
        """The reasoning efforts it lists, in its own order; empty if it lists none."""
        return _words((self.reasoning or {}).get("supported_efforts"))

    @property
    def json_schema(self) -> bool:
        """True if a format of the answer can be asked for."""
        return not self.supported_parameters.isdisjoint(("structured_outputs", "response_format"))

    @property
    def family(self) -> str:
        """The vendor as one simple word without dots: keys of Ollama's `model_info` begin with it."""
        vendor, slash, slug = self.id.lower().partition("/")
        word = vendor if slash else re.split(r"[-.:]", slug or vendor, maxsplit=1)[0]
        return _NOT_FAMILY.sub("-", word).strip("-") or "unknown"

    @property
    def capabilities(self) -> list[str]:
        """The capabilities in Ollama's words, and only the words that every client knows."""
        if self.is_embedding:
            return ["embedding"]
        found = (("completion", True), ("vision", self.vision), ("tools", self.tools), ("thinking", self.thinking))
        return [word for word, present in found if present]

    @property
    def parameter_size(self) -> str:
        """The size that its id names, such as "70B" or "8X22B"; "" if it names none."""
        found = _SIZE.search(without_vendor(self.id))
        return found[1].upper() if found else ""


def parse_record(raw: object, *, today: date, name: str = "", is_embedding: bool = False) -> Model | None:
    """Return the model of one record, or None if the record is not an object or has no usable id. Never raises.

    `is_embedding` says that the record comes from the list of embedding models; elsewhere the output modalities decide.
    `today` decides whether a free model has expired.
    """
    if not isinstance(raw, Mapping):
        return None
    model_id = raw.get("id")
    if not isinstance(model_id, str) or not is_valid_id(model_id):
        return None
    top, pricing = _object(raw.get("top_provider")), _object(raw.get("pricing"))
    inputs, outputs = _modalities(_object(raw.get("architecture")))
    embeds = is_embedding or "embeddings" in outputs
    expires = _expiry(raw.get("expiration_date"))
    answers = "embeddings" if embeds else "text"
    reasoning = raw.get("reasoning")
    windows = [size for size in map(_size, (raw.get("context_length"), top.get("context_length"))) if size]
    title = raw.get("name")
    fields: dict[str, Any] = {
        "id": model_id,
        "created": _size(raw.get("created")),
        "context_length": min(windows, default=0),
        "max_completion_tokens": _size(top.get("max_completion_tokens")) or None,
        "input_modalities": inputs,
        "output_modalities": outputs,
        "supported_parameters": frozenset(_words(raw.get("supported_parameters"))),
        "reasoning": reasoning if isinstance(reasoning, Mapping) else None,
        "is_embedding": embeds,
        "expires": expires,
    }
    return Model(
        **fields,
        name=name,
        title=title if isinstance(title, str) and title else model_id,
        is_free=is_free(
            model_id, pricing, inputs=inputs, outputs=outputs, expires=expires, today=today, answers=answers
        ),
        is_stealth=is_stealth(model_id, pricing),
        digest=_digest(fields, pricing),
        record=raw,
        ratings=read_ratings(raw),
    )


def _digest(fields: Mapping[str, Any], pricing: Mapping[str, Any]) -> str:
    """Return a SHA-256 over what matters for serving.

    Descriptions, benchmarks, links and today's date are left out, and lists are sorted.
    """
    matter = {
        **{key: sorted(value) if isinstance(value, frozenset) else value for key, value in fields.items()},
        "pricing": pricing,
    }
    try:
        text = orjson.dumps(matter, option=orjson.OPT_SORT_KEYS)
    except TypeError:  # only the slow encoder writes numbers of more than 64 bits and lone surrogates
        text = _slow_json(matter)
    return hashlib.sha256(text).hexdigest()


def _slow_json(value: Mapping[str, Any]) -> bytes:
    try:
        return json.dumps(value, sort_keys=True, default=str).encode()
    except (TypeError, ValueError, RecursionError):
        return repr(value.get("id")).encode()


def _object(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _words(value: object) -> tuple[str, ...]:
    return tuple(word for word in value if isinstance(word, str)) if isinstance(value, list | tuple) else ()


def _size(value: object) -> int:
    """Return a count as an int; 0 for anything but a positive number."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1 << 53:
        return 0
    return int(value)


def _modalities(architecture: Mapping[str, Any]) -> tuple[frozenset[str], frozenset[str]]:
    """Return the input and output modalities, each at least "text".

    Where the lists are missing, they are read from `modality` ("text+image->text").
    """
    short = architecture.get("modality")
    before, _, after = short.partition("->") if isinstance(short, str) else ("", "", "")
    inputs = _words(architecture.get("input_modalities")) or before.split("+")
    outputs = _words(architecture.get("output_modalities")) or after.split("+")
    return frozenset(filter(None, inputs)) or _TEXT, frozenset(filter(None, outputs)) or _TEXT


def _expiry(value: object) -> date | None:
    try:
        day = date.fromisoformat(value[:10]) if isinstance(value, str) else None
    except ValueError:
        return None
    return None if day is None or day.year >= _NO_END_YEAR else day
