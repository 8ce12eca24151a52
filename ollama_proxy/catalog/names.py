"""Model names: how an OpenRouter id is listed under an Ollama name, and which texts are model names.

Pure text rules (docs/contract.md, "Names"); it knows no records, filters or modes.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable

from ollama_proxy import limits
from ollama_proxy.errors import BadRequest

#: The tag that Ollama adds to a name without one.
DEFAULT_TAG = "latest"
#: The tag of OpenRouter's free variants.
FREE_TAG = "free"

# Ollama's grammar, docs/contract.md "Names": `[scheme://][host/][namespace/]model[:tag]`. It allows two things more
# than Ollama does, so that every OpenRouter id is a name: a namespace may hold dots (`z.ai/x`) and begin with `~`.
_NAME = re.compile(
    r"(?:[A-Za-z][A-Za-z0-9+]*://)?"
    r"(?:(?P<host>[A-Za-z0-9_][A-Za-z0-9_.:-]{0,349})/(?=[^/]+/))?"
    r"(?:(?P<namespace>~?[A-Za-z0-9_][A-Za-z0-9_.-]{0,79})/)?"
    r"(?P<model>[A-Za-z0-9_][A-Za-z0-9_.-]{0,79})"
    r"(?::(?P<tag>[A-Za-z0-9_][A-Za-z0-9_.-]{0,79}))?"
)
# Anthropic's API has no dots in names, and puts a date or "latest" behind them.
_CLAUDE = re.compile(
    r"(?:anthropic/)?(?P<name>claude-[a-z0-9.-]*?)(?:-(?:\d{8}|latest))?(?P<tag>:[^:]*)", re.IGNORECASE
)
# An id is written to headers and log lines, so it must be visible ASCII without an empty part.
_ID = re.compile(r"[~@]?[A-Za-z0-9_][!-~]{0,254}")


def is_valid_name(text: str) -> bool:
    """Return True if `text`, without surrounding blanks, could be the name of a model, known or not."""
    return len(text) <= limits.NAME and _NAME.fullmatch(text.strip()) is not None


def is_valid_id(model_id: str) -> bool:
    """Return True if `model_id` can be a catalogue id.

    The form is `vendor/slug[:variant]`; the vendor may be missing behind a gateway.
    """
    return (
        _ID.fullmatch(model_id) is not None
        and all(part not in ("", "~", "@") and not part.startswith(":") for part in model_id.split("/"))
        and not model_id.endswith(":")
    )


def variant(name: str) -> str:
    """Return the tag of a name or id, in lower case; "" if there is none. A colon left of the last slash is a port."""
    return name.rpartition("/")[2].partition(":")[2].rpartition(":")[2].lower()


def tagged(name: str) -> str:
    """Return the name with its tag: `gpt-4o` becomes `gpt-4o:latest`."""
    return name if variant(name) else f"{name}:{DEFAULT_TAG}"


def bare(name: str) -> str:
    """Return the name as people write it, without the tag that Ollama adds: `gpt-4o:latest` becomes `gpt-4o`."""
    return name.removesuffix(f":{DEFAULT_TAG}")


def name_key(name: str) -> str:
    """Return a key that is equal for all spellings of a name: the tagged name in lower case."""
    return tagged(name.strip()).lower()


def without_source(asked: str) -> str:
    """Return the name without Ollama's `:local`, which means a model on this machine.

    `:cloud` means a model of ollama.com; it stays, and so the name is unknown in this catalogue. Raises BadRequest if
    the name has both.
    """
    name = asked.strip()
    words = name.lower().split(":")[1:]
    if "local" in words and "cloud" in words:
        raise BadRequest(f'use either :local or :cloud, not both: "{asked}"')
    return name[: -len(":local")] if words and words[-1] == "local" else name


def anthropic_keys(name: str) -> tuple[str, ...]:
    """Return keys for a name of Anthropic's as OpenRouter or Anthropic spells it, the most exact one first.

    They are equal for `anthropic/claude-sonnet-4.5` and `claude-sonnet-4-5`; the second key is without the date of
    `claude-sonnet-4-5-20250929`. Other vendors' names have none. Source: https://docs.anthropic.com/en/docs/about-claude/models
    """
    key = name_key(name)
    match = _CLAUDE.fullmatch(key)
    if match is None:
        return ()
    exact = key.removeprefix("anthropic/").replace(".", "-")
    return tuple(dict.fromkeys((exact, match["name"].replace(".", "-") + match["tag"])))


def without_vendor(model_id: str) -> str:
    """Return the id without its vendor: `openai/gpt-4o` becomes `gpt-4o`."""
    return model_id.partition("/")[2] or model_id


def _never(_name: str) -> bool:
    return False


def assign_names(ids: Iterable[str], *, is_reserved: Callable[[str], bool] = _never) -> dict[str, str]:
    """The listed name of each id of the whole catalogue, in the order given.

    The vendor is dropped and the tag is always shown; ids that would share a name, or take another id's place or a
    reserved name (asked in lower case, with its tag), all keep their vendor. Names are unique without regard to case.
    An id that differs from an earlier one only by case or an explicit `:latest` cannot be told apart and is left out.
    """
    by_key: dict[str, str] = {}
    for model_id in ids:
        by_key.setdefault(name_key(model_id), model_id)
    short = {key: name_key(without_vendor(model_id)) for key, model_id in by_key.items()}
    # A short name may not be another model's full id either: `b/c` of `a/b/c` is not the id `b/c`.
    keeps_vendor = {key for key, name in short.items() if is_reserved(name) or (name in by_key and name != key)}
    holders: defaultdict[str, list[str]] = defaultdict(list)
    for key, name in short.items():
        holders[name].append(key)
    keeps_vendor.update(key for keys in holders.values() if len(keys) > 1 for key in keys)
    return {
        model_id: tagged(model_id if key in keeps_vendor else without_vendor(model_id))
        for key, model_id in by_key.items()
    }
