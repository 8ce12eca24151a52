"""What may be kept of the model name that a client sent: people paste keys into model fields.

Pure. A name that means a listed model is kept. Any other text is kept only if it is built like a name and not like a
secret; in doubt it is not kept (docs/contract.md, "Ledger").
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence

from ollama_proxy.catalog.snapshot import Catalog, NameKind

#: The most characters of a name that is kept.
LONGEST = 100

#: How many names a process remembers.
_MOST_REMEMBERED = 256

# A name has at most so many groups (`author/family:variant` has three), and a group so many parts.
_MOST_GROUPS, _MOST_PARTS = 3, 10
# Parts of letters and digits as model names have them: `Llama`, `MiniMax`, `70b`, `8x22b`, `q4`, `e4b`, `20240718`. A
# key is one long mixture of both, which changes between them, and between large and small letters, again and again.
# Anybody may send what is matched here, also who is refused. So a name is split first, each part is matched alone, and
# no text of a part can be read in two ways by a pattern: the time is in proportion to the length.
_WORD = r"(?:[A-Z]{0,4}[a-z]{1,20}(?:[A-Z]{1,4}[a-z]{0,12})?|[A-Z]{5,8}[a-z]{0,12}|[A-Z]{0,4})"
_PART = re.compile(rf"{_WORD}(?:[0-9]{{1,3}}[A-Za-z]{{0,3}})?|[0-9]{{1,8}}|[0-9]{{1,3}}[xX][0-9]{{1,3}}[bB]")
_BETWEEN_PARTS = re.compile(r"[-._]")
# `a--b`: no name has it, and the words between look like names.
_TWO = re.compile(r"[-._]-")

# How keys and tokens of well-known services begin, and words that people write before them.
_SECRET = re.compile(
    r"(?:^|[/:])(?:opk|sk|pk|rk|ak|gsk|hf|xai|nvapi|ghp|gho|ghs|github_pat|glpat|xox[abp]|pplx|fw|r8|key|apikey|api[-_]key|token|"
    r"bearer|basic|secret|password|passwd|pw)[-_]"
    r"|[0-9a-f]{8}-[0-9a-f]{4}-|AIza|eyJ",
    re.IGNORECASE,
)
# Changes from small to large letters: names have some, a key has many.
_HUMP = re.compile(r"[a-z](?=[A-Z])")
_MOST_HUMPS = 2
# Groups of the same length, as licence keys and app passwords have them.
_GROUPS = re.compile(r"([A-Za-z0-9]{4,6})(?:-[A-Za-z0-9]{4,6}){3,}")


def kept_name(asked: str, *, is_listed: Callable[[str], bool], secrets: Sequence[str]) -> str:
    """Return the name that a client `asked` for as it may be kept, "" if it may be something else than a name.

    `is_listed` says whether a text means a listed model. `secrets` are this server's own keys: no text that holds one
    of them, or is a part of one, is kept unless it is listed.
    """
    if len(asked) > LONGEST or not (name := asked.strip()):
        return ""
    if is_listed(name):
        return name if name.isascii() and name.isprintable() else ""
    if not _is_built_like_a_name(name) or _SECRET.search(name) or _GROUPS.fullmatch(name):
        return ""
    if len(_HUMP.findall(name)) > _MOST_HUMPS:
        return ""
    return "" if any(secret in name or name in secret for secret in secrets) else name


def _is_built_like_a_name(text: str) -> bool:
    """Return True for `author/family:variant` of parts that names have, with or without author and variant."""
    path, colon, variant = text.removeprefix("~").partition(":")
    groups = path.split("/")
    if len(groups) > _MOST_GROUPS:
        return False
    return all(_is_group(group) for group in ([*groups, variant] if colon else groups))


def _is_group(text: str) -> bool:
    parts = _BETWEEN_PARTS.split(text)
    if len(parts) > _MOST_PARTS or _TWO.search(text) is not None:
        return False
    return all(_PART.fullmatch(part) is not None for part in parts)


class NameKeeper:
    """`kept_name` for one process. It remembers the names that it has kept: most requests ask for the same few."""

    def __init__(self, catalog: Callable[[], Catalog | None], secrets: Iterable[str]) -> None:
        """`catalog` returns the current one, `secrets` are this server's own keys."""
        self._catalog = catalog
        self._secrets = [secret for secret in secrets if secret]
        self._kept: dict[str, str] = {}

    def __call__(self, asked: str) -> str:
        """Return what may be kept of the name that a client `asked` for."""
        found = self._kept.get(asked)
        if found is None:
            found = kept_name(asked, is_listed=self._is_known, secrets=self._secrets)
            if found:
                if len(self._kept) >= _MOST_REMEMBERED:
                    self._kept.clear()
                self._kept[asked] = found
        return found

    def _is_known(self, name: str) -> bool:
        catalog = self._catalog()
        if catalog is None:
            return False
        # Without aliases: a pattern may fit anything, a key too.
        meaning = catalog.resolve_exactly(name)
        return meaning.persona is not None or meaning.kind not in (NameKind.UNKNOWN, NameKind.INVALID)
