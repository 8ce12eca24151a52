"""Who calls: the name under which a request is logged, counted and held responsible."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls. `name` is the key's name, or the client's address where no key is needed; it holds no secret."""

    name: str


#: A caller whose address cannot be told, such as one behind a proxy that names nobody.
UNKNOWN_CALLER = Caller("unknown")
