"""Who calls: the name under which a request is counted and held responsible, and where it came from."""

from __future__ import annotations

from dataclasses import dataclass

from ollama_proxy.access.keys import Key

#: Where a WSGI environment holds its request's Caller.
CALLER_KEY = "ollama_proxy.caller"


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls; it holds no secret.

    `name` is the key's name, or the client's address where no key is needed. `address` is the client's address in any
    case, `key` the key's name, "" for a caller without one. `holds` is what that key allows.
    """

    name: str
    address: str
    key: str = ""
    holds: Key | None = None

    @classmethod
    def at(cls, address: str) -> Caller:
        """A caller without a key."""
        return cls(address, address)

    @classmethod
    def with_key(cls, key: Key, address: str) -> Caller:
        """A caller who has shown that key."""
        return cls(key.name, address, key.name, key)


#: A caller whose address cannot be told, such as one behind a proxy that names nobody.
UNKNOWN_CALLER = Caller.at("unknown")
