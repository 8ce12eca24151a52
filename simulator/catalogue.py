"""The simulator's models: records in the shape of OpenRouter's `GET /models`, all of them invented.

Record shape: OpenRouter's public API reference, "List available models".
"""

from __future__ import annotations

import copy
import gzip
import json
from typing import Any

Json = dict[str, Any]

SAMPLING = ("max_tokens", "temperature", "top_p", "seed", "stop")
PENALTIES = ("top_k", "min_p", "frequency_penalty", "presence_penalty", "repetition_penalty")
MORE_SAMPLING = (*PENALTIES, "logprobs", "top_logprobs")
TOOLS = ("tools", "tool_choice")
SCHEMA = ("response_format", "structured_outputs")
THINKING = ("reasoning", "include_reasoning")
ROUTING_SUFFIXES = (":nitro", ":floor", ":exacto", ":online")
NO_END = "2098-12-31"


def record(model_id: str, **fields: Any) -> Json:
    """Return a complete record for `model_id`. `fields` replace its top-level members; dicts are merged into them."""
    slug = model_id.split("/")[-1]
    base = model_id.removeprefix("~").split(":")[0]
    price = "0" if slug.endswith(":free") else "0.0000004"
    made: Json = {
        "id": model_id,
        "canonical_slug": f"{base}-20260401",
        "name": slug.replace("-", " ").title(),
        "created": 1_775_000_000,
        "description": f"{slug} is an invented model of the simulator. It says what it was told...",
        "hugging_face_id": None,
        "context_length": 32_768,
        "architecture": {
            "modality": "text->text",
            "input_modalities": ["text"],
            "output_modalities": ["text"],
            "tokenizer": "Other",
            "instruct_type": None,
        },
        "pricing": {"prompt": price, "completion": price},
        "top_provider": {"context_length": None, "max_completion_tokens": None, "is_moderated": False},
        "per_request_limits": None,
        "supported_parameters": list(SAMPLING),
        "default_parameters": {"temperature": None, "top_p": None, "frequency_penalty": None},
        "expiration_date": None,
        "knowledge_cutoff": None,
        "supported_voices": None,
        "links": {"details": f"/api/v1/models/{base}-20260401/endpoints"},
    }
    made = merged(made, fields)
    if "top_provider" not in fields or "context_length" not in fields["top_provider"]:
        made["top_provider"]["context_length"] = made["context_length"]
    if "architecture" in fields and "modality" not in fields["architecture"]:
        shape = made["architecture"]
        shape["modality"] = "+".join(shape["input_modalities"]) + "->" + "+".join(shape["output_modalities"])
    return made


def merged(old: Json, new: Json) -> Json:
    """Return `old` with the members of `new`; dicts are merged to any depth. Neither argument is changed."""
    result = copy.deepcopy(old)
    for name, value in new.items():
        if isinstance(value, dict) and isinstance(result.get(name), dict):
            result[name] = merged(result[name], value)
        else:
            result[name] = copy.deepcopy(value)
    return result


def _free_models() -> list[Json]:
    vision = {"input_modalities": ["text", "image"]}
    thinks = {"mandatory": False, "default_enabled": True, "supported_efforts": ["high", "medium", "low"]}
    return [
        record(
            "nimbus/cirrus-ultra:free",
            name="Nimbus: Cirrus Ultra (free)",
            created=1_781_000_000,
            context_length=1_000_000,
            top_provider={"max_completion_tokens": 65_536},
            supported_parameters=[*SAMPLING, *MORE_SAMPLING, *TOOLS, *THINKING, "reasoning_effort"],
            reasoning=thinks,
        ),
        record(
            "orchid/lumen-vl-32b:free",
            name="Orchid: Lumen VL 32B (free)",
            created=1_780_000_000,
            context_length=262_144,
            architecture=vision,
            top_provider={"max_completion_tokens": 262_144},
            supported_parameters=[*SAMPLING, *MORE_SAMPLING, *TOOLS, *SCHEMA],
            expiration_date=NO_END,
        ),
        record(
            "quarry/schema-12b:free",
            created=1_779_000_000,
            context_length=128_000,
            supported_parameters=[*SAMPLING, *MORE_SAMPLING, *TOOLS, *SCHEMA, *THINKING],
            reasoning={"mandatory": False, "default_enabled": False},
        ),
        record(
            "tidal/ember-4:free",
            created=1_778_000_000,
            context_length=100_000,
            supported_parameters=[*SAMPLING, *MORE_SAMPLING, *TOOLS],
        ),
        record("harbor/beacon-24b:free", context_length=96_000, supported_parameters=[*SAMPLING, *TOOLS]),
        record("lantern/beacon-24b:free", context_length=80_000, supported_parameters=[*SAMPLING, *TOOLS]),
        record(
            "harbor/anchor-mini:free",
            context_length=131_072,
            top_provider={"context_length": 65_536, "max_completion_tokens": 8_192},
            supported_parameters=[*SAMPLING, *TOOLS, "response_format"],
        ),
        record(
            "pebble/think-2b:free",
            context_length=49_152,
            supported_parameters=[*SAMPLING, *TOOLS, *THINKING],
            reasoning={"mandatory": True},
        ),
        record("pebble/plain-8b:free"),
        record("quarry/vision-lite:free", context_length=16_384, architecture=vision),
    ]


def _traps() -> list[Json]:
    """Return records that a proxy must not use as free chat models, although their price or name suggests it."""
    song = {"input_modalities": ["text"], "output_modalities": ["text", "audio"]}
    return [
        record(
            "melodia/song-maker-preview",
            context_length=1_048_576,
            architecture=song,
            pricing={"prompt": "0", "completion": "0"},
        ),
        record("sentry/content-safety-4b:free", context_length=131_072),
        record(
            "nimbus/bygone-13b:free",
            context_length=400_000,
            supported_parameters=[*SAMPLING, *TOOLS],
            expiration_date="2026-01-31",
        ),
        record(
            "stealth/mist-alpha",
            context_length=256_000,
            pricing={"prompt": "0", "completion": "0"},
            supported_parameters=[*SAMPLING, *TOOLS],
        ),
    ]


def _paid_models() -> list[Json]:
    overrides = [{"min_prompt_tokens": 200_000, "prompt": "0.0000008", "completion": "0.0000016"}]
    omni = {"input_modalities": ["text", "image", "file"]}
    return [
        record(
            "vertex/omni-4",
            name="Vertex: Omni 4",
            context_length=400_000,
            architecture=omni,
            pricing={"prompt": "0.00000125", "completion": "0.00001", "web_search": "0.01", "overrides": overrides},
            supported_parameters=[*SAMPLING, *MORE_SAMPLING, *TOOLS, *SCHEMA, *THINKING, "reasoning_effort"],
            reasoning={"mandatory": False, "default_enabled": False, "supported_efforts": ["high", "medium", "low"]},
        ),
        record("tidal/ember-4", context_length=131_072, supported_parameters=[*SAMPLING, *MORE_SAMPLING, *TOOLS]),
        record("tidal/ember-4:extended", context_length=524_288, supported_parameters=[*SAMPLING, *TOOLS]),
        record("tidal/ember-4:batch", context_length=131_072, supported_parameters=[*SAMPLING, *TOOLS]),
        record(
            "~tidal/ember-latest",
            context_length=131_072,
            alias_target={"name": "Ember 4", "slug": "tidal/ember-4"},
        ),
        record(
            "openrouter/auto",
            name="Auto Router",
            context_length=2_000_000,
            architecture={"tokenizer": "Router"},
            top_provider={"context_length": None},
            pricing={"prompt": "-1", "completion": "-1"},
            supported_parameters=[*SAMPLING, *TOOLS],
        ),
    ]


def _embedding_models() -> list[Json]:
    shape = {"input_modalities": ["text"], "output_modalities": ["embeddings"]}
    made = [
        ("lexicon/embed-small:free", 8_192, "0"),
        ("lexicon/embed-large:free", 32_768, "0"),
        ("vectorworks/embed-3", 8_192, "0.00000002"),
    ]
    return [
        record(name, context_length=window, architecture=shape, pricing={"prompt": price, "completion": "0"})
        for name, window, price in made
    ]


def default_records() -> list[Json]:
    return [*_free_models(), *_traps(), *_paid_models(), *_embedding_models()]


def is_embedding(model: Json) -> bool:
    return "embeddings" in model.get("architecture", {}).get("output_modalities", [])


def usable_context(model: Json) -> int:
    windows = [model.get("context_length"), (model.get("top_provider") or {}).get("context_length")]
    return min((window for window in windows if window), default=1_000_000)


def is_free(model: Json) -> bool:
    pricing = model.get("pricing", {})
    return bool(pricing.get("prompt") == "0" and pricing.get("completion") == "0")


class Catalogue:
    """The current records. Records given from outside may be partial: the rest is filled with defaults."""

    def __init__(self, records: list[Json] | None = None) -> None:
        self._initial = copy.deepcopy(default_records() if records is None else records)
        self.reset()

    def reset(self) -> None:
        self._replace(self._initial)
        self.hidden_from_user: set[str] = set()

    def _replace(self, records: list[Json]) -> None:
        self._by_id = {model["id"]: copy.deepcopy(model) for model in records}
        self._pages: dict[str, tuple[bytes, bytes]] = {}

    def change(self, change: Json) -> None:
        """Change the records.

        `data`: all records anew; `add`: records (may be partial); `remove`: ids; `patch`: {id: members}.
        """
        models = dict(self._by_id)
        if "data" in change:
            models = {model["id"]: model for model in change["data"]}
        for model in change.get("add", ()):
            models[model["id"]] = record(model["id"], **model)
        for name in change.get("remove", ()):
            models.pop(name, None)
        for name, members in change.get("patch", {}).items():
            models[name] = merged(models[name], members)
        self._replace(list(models.values()))
        if "hidden_from_user" in change:
            self.hidden_from_user = set(change["hidden_from_user"])

    def get(self, model_id: str) -> Json | None:
        """Return the record for a request's `model_id`: aliases are followed, routing suffixes ignored. None if
        unknown.
        """
        found = self._by_id.get(model_id)
        if found is None:
            for suffix in ROUTING_SUFFIXES:
                if model_id.endswith(suffix):
                    return self.get(model_id.removesuffix(suffix))
            return None
        target = found.get("alias_target")
        return self._by_id.get(target["slug"], found) if target else found

    def listed(self, kind: str) -> list[Json]:
        """Return the records, newest first. `kind`: text (default list), user (text, without hidden ones), embeddings,
        all.
        """
        models = sorted(self._by_id.values(), key=lambda model: -model.get("created", 0))
        if kind == "embeddings":
            return [model for model in models if is_embedding(model)]
        if kind != "all":
            models = [m for m in models if "text" in m.get("architecture", {}).get("output_modalities", ["text"])]
        if kind == "user":
            models = [model for model in models if model["id"] not in self.hidden_from_user]
        return models

    def page(self, kind: str) -> tuple[bytes, bytes]:
        """Return the body of a list, plain and gzipped."""
        if kind not in self._pages or kind == "user":
            plain = json.dumps({"data": self.listed(kind)}).encode()
            self._pages[kind] = plain, gzip.compress(plain, 1)
        return self._pages[kind]
