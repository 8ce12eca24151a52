"""Why a request's candidates are these, for a log that explains everything. Nothing here is asked of a usual request.

Pure: a Target, a catalogue, the request's needs and what is remembered in, names and our own words out: nothing of a
prompt, and no name that a client sent.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ollama_proxy.catalog.records import Model
from ollama_proxy.catalog.snapshot import Catalog
from ollama_proxy.catalog.target import Target
from ollama_proxy.fallback.candidates import lacking
from ollama_proxy.fallback.needs import Needs

#: Models of one kind that are named; of more only the number is said.
MOST_NAMED = 40


@dataclass(frozen=True, slots=True)
class ExplainedChoice:
    """Who may answer a request: the ids of the candidates in the order of trying, the others by why they are left out.

    `suspected` are those candidates that failed for somebody a moment ago.
    """

    candidates: tuple[str, ...]
    suspected: frozenset[str]
    left_out: dict[str, list[str]]


@dataclass(frozen=True, slots=True)
class ExplainedAttempt:
    """How an attempt went as far as it has: the model's id, upstream's HTTP status and the seconds until its headers
    (None: there were none), the seconds until its first token (None: it failed), and why it failed (None: it did not).
    """

    model: str
    status: int | None
    headers_seconds: float | None
    first_token_seconds: float | None
    reason: str | None


def explain_choice(
    target: Target,
    catalog: Catalog,
    needs: Needs,
    chosen: Sequence[Model],
    *,
    unavailable: Callable[[Model], str | None],
    suspected: Callable[[Model], bool],
) -> ExplainedChoice:
    """Return why `chosen` are the candidates. `unavailable` says in words why a model is not tried now, None if it is.

    Where only the asked model may answer, nobody is left out: nobody else was looked at.
    """
    ids = {model.id for model in chosen}
    left_out: dict[str, list[str]] = {}
    only_asked = target.model is not None and (target.model.is_embedding or not catalog.free_mode)
    if not only_asked:
        listed = {model.id for model in catalog.free}
        for model in catalog.known():
            if model.id not in ids and not model.is_embedding:
                why = _why(model, target, needs, listed=model.id in listed, unavailable=unavailable(model))
                left_out.setdefault(why, []).append(model.id)
    suspects = frozenset(model.id for model in chosen if suspected(model))
    return ExplainedChoice(tuple(model.id for model in chosen), suspects, left_out)


def _why(model: Model, target: Target, needs: Needs, *, listed: bool, unavailable: str | None) -> str:
    if not model.is_free:
        return "not free"
    if not listed:
        return "filtered, or gone"
    asked = target.model is not None and target.model.id == model.id
    if (lack := lacking(model, needs)) is not None:
        return f"does not support {lack}"
    if unavailable is not None:
        return unavailable
    return "another can think" if needs.thinking and not asked and not model.thinking else "not chosen"


__all__ = ["MOST_NAMED", "ExplainedAttempt", "ExplainedChoice", "explain_choice"]
