"""The texts around keys: a new key, its hash, the names that keys may have, and the entries of PROXY_API_KEYS. Pure."""

from __future__ import annotations

import hashlib
import secrets
import string
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final

from ollama_proxy.access.keys import Key

#: How every key that this program makes begins: so that people and programs that look for leaked keys know it.
MARK: Final = "opk_"
_LETTERS: Final = string.ascii_letters + string.digits
#: log2(62) bits each: 196 bits, so that a plain hash of it cannot be guessed back.
_LENGTH: Final = 33
#: How many characters of a key are shown, to tell keys apart; the rest has 172 bits yet.
_SHOWN: Final = len(MARK) + 4

#: The most characters of a key's name.
LONGEST_NAME: Final = 40
_ALSO_IN_NAMES: Final = frozenset("._-")
#: Names that other callers have: those whose address nobody knows, and sums of many.
_NOT_NAMES: Final = frozenset({"unknown", "others", "none", "events"})
#: How keys of this program and of others begin: a key that is taken for a name would be shown everywhere.
_KEYS_BEGIN: Final = (MARK, "sk-", "gsk_", "hf_", "ghp_", "xai-")
#: NAME=KEY in PROXY_API_KEYS: a shorter KEY is none, so that no key with an `=` in it is cut to a guessable end.
_SHORTEST_NAMED: Final = 8


def new_key() -> str:
    """Return a new key: 196 random bits behind `opk_`, letters and digits only, so that a double click selects it."""
    return MARK + "".join(secrets.choice(_LETTERS) for _ in range(_LENGTH))


def shown_prefix(key: str) -> str:
    """Return the part of a new key that may be shown."""
    return key[:_SHOWN]


def fingerprint(key: bytes) -> bytes:
    """Return a digest of a key. Digests all have the same length, so comparing them does not tell how long a key is."""
    return hashlib.sha256(key).digest()


def folded(name: str) -> str:
    """Return a key's name without regard to case, and to the ways in which Unicode may write a letter."""
    return unicodedata.normalize("NFKC", name).casefold()


def checked_name(name: str) -> str:
    """Return `name` as a key may have it: letters and digits of any script, `.`, `_` and `-`, 40 characters at most.

    Raises ValueError, in words and without the name: what cannot be one may be a pasted key.
    """
    name = unicodedata.normalize("NFC", name.strip())
    if not 0 < len(name) <= LONGEST_NAME or not all(char.isalnum() or char in _ALSO_IN_NAMES for char in name):
        raise ValueError(f"a name has 1 to {LONGEST_NAME} letters, digits, dots, hyphens and underscores")
    if not name[0].isalnum():
        raise ValueError("a name begins with a letter or a digit")
    if name.lower().startswith(_KEYS_BEGIN):
        raise ValueError("this looks like a key: a name is shown in logs and pages")
    if folded(name) in _NOT_NAMES or _is_address(name):
        raise ValueError("other callers are called so: take another name")
    return name


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


@dataclass(frozen=True, slots=True)
class SettingsKey:
    """One entry of PROXY_API_KEYS: the key as its callers hold it, and the texts that are taken for it.

    `NAME=KEY` has two: KEY, and the whole entry, because that was the key before entries could have names.
    """

    key: Key
    texts: tuple[str, ...]


def keys_of_settings(entries: Iterable[str]) -> tuple[SettingsKey, ...]:
    """Return the keys of PROXY_API_KEYS: admin keys without limits. One without a name is "key 1" by its place.

    Several entries may have the same name. NAME is what `checked_name` takes; where it is not, or KEY is shorter than 8
    characters or nothing but `=`, the whole entry is a key without a name (base64 ends with `=`).
    """
    found = []
    for place, entry in enumerate(entries, 1):
        name, _, secret = entry.partition("=")
        try:
            named = checked_name(name) if len(secret) >= _SHORTEST_NAMED and secret.strip("=") else ""
        except ValueError:
            named = ""
        key = Key(named or f"key {place}", admin=True)
        found.append(SettingsKey(key, (secret, entry) if named else (entry,)))
    return tuple(found)


def names_of_settings(entries: Iterable[str]) -> frozenset[str]:
    """Return the names of the keys of PROXY_API_KEYS, folded: no key of the database can have one of them."""
    return frozenset(folded(one.key.name) for one in keys_of_settings(entries))
