"""Which models may answer a request. Pure: a Target, a catalogue and the request's needs in, models out.

The rules are those of docs/contract.md, "Requests": the asked model first, then, in free mode, every free model that
can serve the request's needs, in the order in which they are given (`order.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from ollama_proxy.catalog.records import Model
from ollama_proxy.catalog.snapshot import Catalog
from ollama_proxy.catalog.target import Target
from ollama_proxy.errors import BadRequest, ModelNotFound, PromptTooLong
from ollama_proxy.fallback.needs import Needs


def candidates(
    target: Target,
    catalog: Catalog,
    needs: Needs,
    free: Sequence[Model] | None = None,
    bad: Collection[str] = (),
) -> tuple[Model, ...]:
    """Return the models that may answer a request for `target`, in the order to try them.

    `free` are the free models in their order, by default that of the list; `bad` the ids of those that are measured to
    be bad. Only the named model for an embedding, and
    outside free mode for any named model. Raises BadRequest for needs that
    no model here can serve, ModelNotFound where no free model passes the filters.
    """
    asked = target.model
    if asked is not None and (asked.is_embedding or not catalog.free_mode):
        if lack := lacking(asked, needs, judge_size=False):
            raise BadRequest(_does_not_support(target.name, lack))
        return (asked,)
    pool: Sequence[Model] = catalog.free if free is None else free
    if asked is not None:
        pool = [asked, *[model for model in pool if model.id != asked.id]]
    able = _able(pool, needs)
    if not able:
        raise _nobody(target.name, asked, pool, needs)
    if needs.thinking and any(model.thinking for model in able):
        # The asked model may ignore the wish to think. Other models are only used if they can think, if any can.
        able = [model for model in able if model.thinking or model is asked]
    return tuple(_preferred(able, asked, needs.preferred, bad) if needs.preferred else able)


def _preferred(able: list[Model], asked: Model | None, names: frozenset[str], bad: Collection[str]) -> list[Model]:
    """Return the models with those first that list the parameters; the order within both halves stays.

    A schema is only enforced by a model that lists it: so this one goes before the asked model too. For anything else
    a bad model stays behind the others.
    """
    schema, others = names & _ENFORCED, names - _ENFORCED

    def place(model: Model) -> tuple[bool, ...]:
        listed = model.supported_parameters
        return not schema <= listed, model is not asked, model.id in bad, not others <= listed

    return sorted(able, key=place)


def enforcing(models: Sequence[Model], needs: Needs) -> Sequence[Model]:
    """Return those of `models` that enforce what `needs` prefers; all of them if none does, or if nothing is to be."""
    wanted = needs.preferred & _ENFORCED
    return ([model for model in models if wanted <= model.supported_parameters] or models) if wanted else models


#: What no model does that does not list it, whatever it is told.
_ENFORCED = frozenset({"structured_outputs"})

#: The needs that a model serves or does not, in the order in which a lack is reported, with the words for it.
_ABILITIES: tuple[tuple[str, str, Callable[[Model], bool]], ...] = (
    ("tools", "tools", lambda model: model.tools),
    ("images", "image input", lambda model: model.vision),
    ("schema", "structured output", lambda model: model.json_schema),
)


def lacking(model: Model, needs: Needs, *, judge_size: bool = True) -> str | None:
    """Return in words which of the `needs` `model` cannot serve; None if it can serve all."""
    for need, words, has in _ABILITIES:
        if getattr(needs, need) and not has(model):
            return words
    if judge_size and 0 < model.context_length < needs.prompt_tokens + output_tokens(model, needs):
        return "context"
    return None


def _able(pool: Sequence[Model], needs: Needs) -> list[Model]:
    """Return the models of `pool` that can serve the needs. Every request asks this of all: it is quick."""
    demanded = [has for need, _, has in _ABILITIES if getattr(needs, need)]
    wanted = needs.prompt_tokens + needs.output_tokens  # a model may be asked for less, never for more
    able = [model for model in pool if model.context_length >= wanted or lacking(model, needs) is None]
    return [model for model in able if all(has(model) for has in demanded)] if demanded else able


def output_tokens(model: Model, needs: Needs) -> int:
    """Return the output tokens that `model` will be asked for: the client's number, cut to what the model can give."""
    return min(needs.output_tokens, model.max_completion_tokens or needs.output_tokens)


def _does_not_support(name: str, lack: str) -> str:
    return f'"{name}" does not support {lack}'


def _nobody(name: str, asked: Model | None, pool: Sequence[Model], needs: Needs) -> BadRequest | ModelNotFound:
    """Return the error that says why no model of `pool` can serve: what the asked one lacks, else what most lack."""
    if not pool:
        return ModelNotFound(f"model '{name}' not found: no free model passes the filters")
    lacks = [lacking(model, needs) for model in pool]
    most = lacks[0] if asked is not None else max(lacks, key=lacks.count)
    if most == "context":
        wanted = needs.prompt_tokens + needs.output_tokens
        largest = max(model.context_length for model, lack in zip(pool, lacks, strict=True) if lack == most)
        said = "no model here that can serve the request has a larger window: shorten it or ask for fewer tokens"
        return PromptTooLong(wanted, largest, said=said)
    text = _does_not_support(name, str(most))
    return BadRequest(text if asked is not None else f"{text}: no free model does")
