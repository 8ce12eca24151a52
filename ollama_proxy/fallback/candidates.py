"""Which models may answer a request, and in what order. Pure: catalogue, needs and name in, models out.

The rules are those of docs/contract.md, "Requests": the asked model first, then, in free mode, every free model that
can serve the request's needs, by usable context, largest first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ollama_proxy.catalog.records import Model
from ollama_proxy.catalog.snapshot import Catalog, Resolution
from ollama_proxy.errors import BadRequest, ModelNotFound
from ollama_proxy.fallback.needs import Needs


@dataclass(frozen=True, slots=True)
class Candidates:
    """`models` in the order to try them. `asked` is the model that the client named, None for an alias of `free`."""

    models: tuple[Model, ...]
    asked: Model | None


def candidates(name: str, catalog: Catalog, needs: Needs, *, free_mode: bool, strict: bool) -> Candidates:
    """The models that may answer a chat or generate request for `name`.

    Raises ModelNotFound, or BadRequest for a name that cannot be one and for needs that no model here can serve.
    """
    asked = asked_model(catalog.resolve(name), name, free_mode=free_mode, strict=strict)
    if not free_mode and asked is not None:
        if lack := _lacking(asked, needs, judge_size=False):
            raise BadRequest(_does_not_support(name, lack))
        return Candidates((asked,), asked)
    pool = ([asked] if asked is not None else []) + [model for model in catalog.free if model is not asked]
    able = _able(pool, needs)
    if not able:
        raise _nobody(name, asked, pool, needs)
    if needs.thinking and any(model.thinking for model in able):
        # Thinking is a wish, which the asked model may ignore; its stand-ins are such that can, as long as there are.
        able = [model for model in able if model.thinking or model is asked]
    return Candidates(tuple(able), asked)


def embedding_candidates(name: str, catalog: Catalog) -> Candidates:
    """The one model that may embed for `name`: vectors of different models cannot be compared, so none stands in.

    Raises ModelNotFound, or BadRequest for a name that cannot be one or is a chat model's.
    """
    resolution = catalog.resolve(name, embedding=True)
    match resolution.kind:
        case "model" if resolution.model is not None:
            return Candidates((resolution.model,), resolution.model)
        case "invalid":
            raise BadRequest("invalid model name")
        case "chat-on-embedding":
            raise BadRequest(_does_not_support(name, "embeddings"))
        case "ambiguous":
            raise ModelNotFound(_which(name, resolution))
        case _:
            raise ModelNotFound(f'model "{name}" not found, try pulling it first')


def asked_model(resolution: Resolution, name: str, *, free_mode: bool, strict: bool) -> Model | None:
    """The model that `name` means, None where it means the best free one. Raises BadRequest, ModelNotFound."""
    match resolution.kind:
        case "model":
            return resolution.model
        case "free":
            return None
        case "unknown" if free_mode and not strict:
            return None
        case "invalid":
            raise BadRequest("invalid model name")
        case "embedding-on-chat":
            raise BadRequest(f'"{name}" does not support chat')
        case "ambiguous":
            raise ModelNotFound(_which(name, resolution))
        case _:
            raise ModelNotFound(f"model '{name}' not found")


def _which(name: str, resolution: Resolution) -> str:
    meant = " or ".join(f"'{text}'" for text in resolution.candidates_text)
    return f"model '{name}' not found: say which one you mean, {meant}"


#: The needs that a model serves or does not, in the order in which a lack is reported, with the words for it.
_ABILITIES: tuple[tuple[str, str, Callable[[Model], bool]], ...] = (
    ("tools", "tools", lambda model: model.tools),
    ("images", "image input", lambda model: model.vision),
    ("schema", "structured output", lambda model: model.json_schema),
)


def _lacking(model: Model, needs: Needs, *, judge_size: bool = True) -> str | None:
    """What `model` lacks of `needs`, in words; None if it can serve them."""
    for need, words, has in _ABILITIES:
        if getattr(needs, need) and not has(model):
            return words
    if judge_size and 0 < model.context_length < needs.prompt_tokens + output_tokens(model, needs):
        return "context"
    return None


def _able(pool: Sequence[Model], needs: Needs) -> list[Model]:
    """Those of `pool` that lack nothing. Every request asks this of every free model, so the usual case is quick."""
    demanded = [has for need, _, has in _ABILITIES if getattr(needs, need)]
    wanted = needs.prompt_tokens + needs.output_tokens  # a model may be asked for less, never for more
    able = [model for model in pool if model.context_length >= wanted or _lacking(model, needs) is None]
    return [model for model in able if all(has(model) for has in demanded)] if demanded else able


def output_tokens(model: Model, needs: Needs) -> int:
    """The output that `model` will be asked for: the client's wish, cut to what the model can give."""
    return min(needs.output_tokens, model.max_completion_tokens or needs.output_tokens)


def _does_not_support(name: str, lack: str) -> str:
    return f'"{name}" does not support {lack}'


def _nobody(name: str, asked: Model | None, pool: Sequence[Model], needs: Needs) -> BadRequest | ModelNotFound:
    """Why none of `pool` can serve: the asked model's lack, else the most common one, decides the words."""
    if not pool:
        return ModelNotFound(f"model '{name}' not found: no free model passes the filters")
    lacks = [_lacking(model, needs) for model in pool]
    most = lacks[0] if asked is not None else max(lacks, key=lacks.count)
    if most == "context":
        wanted = needs.prompt_tokens + needs.output_tokens
        largest = max(model.context_length for model, lack in zip(pool, lacks, strict=True) if lack == most)
        return BadRequest(
            f"the request needs a context of about {wanted} tokens, more than any model here has "
            f"that can serve it (the largest: {largest}): shorten it or ask for fewer tokens"
        )
    text = _does_not_support(name, str(most))
    return BadRequest(text if asked is not None else f"{text}: no free model does")
