"""What a model name of the Ollama API means, and the refusal in Ollama's words if it means nothing.

Each route has its own words for the same mistake, and clients match on them. Ollama's `:cloud` is dealt
with here; the rest is what names mean in all APIs (`catalog.target`). Pure: names and a catalogue in, Targets out
(docs/contract.md, "Names").
"""

from __future__ import annotations

import re

from ollama_proxy.catalog.names import tagged, without_source
from ollama_proxy.catalog.snapshot import Catalog
from ollama_proxy.catalog.target import Newer, Target, chat_target, embedding_target, served_target
from ollama_proxy.errors import BadRequest, ModelNotFound

#: What Ollama says of a model that its registry does not have; the command line searches for it.
NO_MANIFEST = "pull model manifest: file does not exist"


def answering_target(asked: str, catalog: Catalog, *, strict: bool, newer: Newer | None = None) -> Target:
    """What `asked` means to chat and generate; an embedding model is found too, because it may be unloaded.

    A name of a model at ollama.com is never taken for an unknown one: the CLI asks for `x:cloud` when it found no `x`,
    and then for a sign-in. Raises BadRequest for a text that cannot be a name, ModelNotFound for an unknown one.
    """
    name = without_source(asked)
    return chat_target(name, catalog, strict=strict or _is_cloud(name), may_embed=True, newer=newer)


def shown_target(asked: str, catalog: Catalog, *, strict: bool, newer: Newer | None = None) -> Target:
    """What `asked` means to show: as for chat. Its refusal names the tag, as Ollama's does here and only here."""
    try:
        return answering_target(asked, catalog, strict=strict, newer=newer)
    except ModelNotFound as error:
        unqualified = f"model '{without_source(asked)}' not found"
        tagged_name = f"model '{tagged(asked.strip())}' not found"
        raise ModelNotFound(error.message.replace(unqualified, tagged_name)) from None


def embedding_model(asked: str, catalog: Catalog) -> Target:
    """The embedding model that `asked` means; nothing ever stands in for one. Raises BadRequest, ModelNotFound."""
    return embedding_target(without_source(asked), catalog)


def pulled_target(asked: str, catalog: Catalog, *, strict: bool, newer: Newer | None = None) -> Target:
    """What `asked` means to pull: what chat would answer with, if anything. Raises BadRequest for an invalid name.

    ModelNotFound has Ollama's own text for a model that its registry does not have, which the CLI searches for; behind
    it is what else there is to say, such as which models an ambiguous name may mean.
    """
    name = without_source(asked)
    try:
        return served_target(name, catalog, strict=strict or _is_cloud(name), newer=newer)
    except ModelNotFound as error:
        more = error.message.partition(" not found: ")[2]
        raise ModelNotFound(NO_MANIFEST + (f" ({more})" if more else "")) from error


def stands_in(target: Target) -> bool:
    """Return True if nothing is called so, not even a virtual model: the free models answer in its place."""
    return target.virtual is not None and target.order is None


def check_name(asked: str, catalog: Catalog) -> None:
    """Raises BadRequest if `asked` cannot be a name, known or not."""
    if not catalog.may_be_name(without_source(asked)):
        raise BadRequest("invalid model name")


def _is_cloud(name: str) -> bool:
    """Return True if Ollama would look for the name at ollama.com: `x:cloud`, `x:20b-cloud`."""
    return re.search(r":(?:[^:/]*-)?cloud$", name, re.IGNORECASE) is not None
