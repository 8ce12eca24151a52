"""Conversations stay with the model that answered them. Known by a hash of who asks and how the conversation began.

No text of a conversation is kept, only a keyed hash of its opening, in memory, for the latest ones. The same hash is
the session that OpenRouter is told of, so that a provider's prompt caches serve the next turn
(docs/contract.md, "Conversations"; https://openrouter.ai/docs/features/prompt-caching, "sticky routing").
"""

from __future__ import annotations

import hashlib
import re
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

#: The most conversations that are remembered; the one that was quiet for longest goes first.
MOST_CONVERSATIONS = 10_000

#: Of each text of an opening so many characters are hashed, and of the opening so many texts.
MOST_CHARACTERS = 4096
MOST_TEXTS = 32

#: The header by which OpenRouter groups requests, and what it takes: at most 256 characters.
SESSION_HEADER = "x-session-id"
_SESSION = re.compile(r"[!-~]{1,256}")


class Opening(NamedTuple):
    """How a conversation began: a hash of its first texts. `continues`: there were turns before this request's."""

    digest: bytes
    continues: bool = False


class Conversation(NamedTuple):
    """A conversation as this process knows it: the key of what is remembered, and the session for OpenRouter."""

    key: bytes
    session: str
    continues: bool


def opening_of(texts: Iterable[str], *, continues: bool) -> Opening:
    """Return the opening of a conversation that began with `texts`: the system's, then the user's first ones."""
    found = hashlib.blake2b(digest_size=16)
    for text in islice(texts, MOST_TEXTS):
        found.update(b"%d:%b" % (len(text), text[:MOST_CHARACTERS].encode("utf-8", "replace")))
    return Opening(found.digest(), continues)


def usable_session(value: object) -> str:
    """Return a client's own name for its session as it may go upstream in a header; "" if it may not."""
    return value if isinstance(value, str) and _SESSION.fullmatch(value) else ""


@dataclass(slots=True)
class _Stay:
    model: str
    at: float


class Conversations:
    """Who answered which conversation last. One for each process."""

    def __init__(self, minutes: float, secret: str, *, most: int = MOST_CONVERSATIONS) -> None:
        """A conversation stays for `minutes` after its last answer, 0: never.

        `secret` is this installation's: without it nobody can tell from a session what a conversation is about.
        """
        self._seconds = minutes * 60
        self._key = hashlib.blake2b(secret.encode(), person=b"conversation").digest()
        self._most = most
        self._stays: OrderedDict[bytes, _Stay] = OrderedDict()

    def of(self, opening: Opening, caller: str, target: str) -> Conversation:
        """Return the conversation of `caller` that began so; under another `target` it is remembered apart."""
        # Keyed BLAKE2 is a MAC of its own (RFC 7693, section 2.9), and costs a tenth of an HMAC.
        said = opening.digest + caller.encode("utf-8", "replace")
        session = hashlib.blake2b(said, digest_size=16, key=self._key).digest()
        return Conversation(session + target.encode(), session.hex(), opening.continues)

    def model(self, conversation: Conversation, now: float) -> str | None:
        """Return the id of the model that answered last, if that is not too long ago."""
        stay = self._stays.get(conversation.key)
        return stay.model if stay is not None and 0 <= now - stay.at < self._seconds else None

    def answered(self, conversation: Conversation, model: str, now: float) -> None:
        """Note that `model` has answered a turn."""
        if not self._seconds:
            return
        stays = self._stays
        stays[conversation.key] = _Stay(model, now)
        stays.move_to_end(conversation.key)
        while len(stays) > self._most:
            stays.popitem(last=False)

    def __len__(self) -> int:
        return len(self._stays)
