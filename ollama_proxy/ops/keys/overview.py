"""All keys with what each has used in the UTC day and month that run: what people see of them at a glance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ollama_proxy.ledger.key_windows import windows_at
from ollama_proxy.ops.keys.management import KeyManagement
from ollama_proxy.runtime import Runtime
from ollama_proxy.storage.key_usage_table import Counts


@dataclass(frozen=True, slots=True)
class KeyWithUse:
    """A key: `told` is what `KeyManagement` tells of it, `last_day` the UTC day of its last use or ""."""

    told: Mapping[str, Any]
    day: Counts
    month: Counts
    last_day: str


@dataclass(frozen=True, slots=True)
class AllKeys:
    """Whether keys are required, and the keys of the database by name."""

    required: bool
    keys: list[KeyWithUse]


def all_keys(parts: Runtime, operations: KeyManagement, now: float) -> AllKeys:
    """Return all keys with their use at `now` (UTC epoch seconds), by one query a table. Raises StorageUnavailable."""
    stored = parts.key_table.load()
    used = parts.counting.used_by_all(windows_at(now)) if stored.rows else {}
    keys = []
    for row in stored.rows:
        of_key = used.get(row.id)
        day, month, last = (Counts(), Counts(), "") if of_key is None else of_key
        keys.append(KeyWithUse(operations.told(row), day, month, last))
    return AllKeys(bool(stored.required), keys)
