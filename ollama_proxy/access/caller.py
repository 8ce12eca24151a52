"""Who calls: the name under which a request is counted and held responsible, and where it came from."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls; it holds no secret.

    `name` is the key's name, or the client's address where no key is needed. `address` is the client's address in any
    case, `key` the key's name, "" for a caller without one.
    """

    name: str
    address: str
    key: str = ""

    @classmethod
    def at(cls, address: str) -> Caller:
        """A caller without a key."""
        return cls(address, address)

    @classmethod
    def with_key(cls, key: str, address: str) -> Caller:
        """A caller who has shown the key of that name."""
        return cls(key, address, key)


#: A caller whose address cannot be told, such as one behind a proxy that names nobody.
UNKNOWN_CALLER = Caller.at("unknown")
