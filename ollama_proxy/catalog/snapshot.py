"""The catalogue at one moment: which models are listed, which are free, and which one a name means.

It is built once per refresh and never changed, so requests read it without locks. It does not know where the records
came from, or what happens to a request whose name means no model (docs/contract.md, "Names" and "Catalogue").
"""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import replace
from datetime import date
from enum import StrEnum
from typing import Any, NamedTuple

from ollama_proxy.catalog.aliases import Alias, alias_for
from ollama_proxy.catalog.filters import Filters
from ollama_proxy.catalog.names import (
    DEFAULT_TAG,
    FREE_TAG,
    anthropic_keys,
    assign_names,
    is_valid_name,
    name_key,
    variant,
    without_vendor,
)
from ollama_proxy.catalog.persona import Persona
from ollama_proxy.catalog.records import Model, parse_record
from ollama_proxy.catalog.scope import Scope
from ollama_proxy.catalog.virtual import VIRTUAL_MODELS, VirtualModel, is_reserved

#: The most scopes for which a catalogue keeps what is left of it: as many as there may be keys would be too many.
_MOST_SCOPES = 64


class NameKind(StrEnum):
    """The kinds of things that a name can mean."""

    MODEL = "model"
    #: A virtual model, which stands for an order of the free models.
    VIRTUAL = "virtual"
    #: No model of that name may be known here; in free mode that includes every model that is not free.
    UNKNOWN = "unknown"
    #: A model that a filter file or TOOL_USE_ONLY excludes.
    FILTERED = "filtered"
    #: A short name that several ids share: they can be asked for by their full names only.
    AMBIGUOUS = "ambiguous"
    #: A text that cannot be a name.
    INVALID = "invalid"
    #: An embedding model asked to chat, and a chat model asked for embeddings.
    EMBEDDING_ON_CHAT = "embedding-on-chat"
    CHAT_ON_EMBEDDING = "chat-on-embedding"


class Resolution(NamedTuple):
    """The meaning of a name.

    `model` is set for MODEL, FILTERED (but not for a model that is gone) and the two wrong kinds (but not if a virtual
    model was asked for embeddings), `virtual` for VIRTUAL, `candidates_text` (full ids) for AMBIGUOUS. `persona` is set
    if the name is a persona's: the rest is then what its base means. `alias` is set if the name means what one says.
    """

    kind: NameKind
    model: Model | None = None
    virtual: VirtualModel | None = None
    candidates_text: tuple[str, ...] = ()
    persona: Persona | None = None
    alias: Alias | None = None


#: The kinds of names that an alias may say something about: all but those that are listed, and texts that are no names.
_MAY_BE_ALIASED = frozenset({NameKind.UNKNOWN, NameKind.FILTERED, NameKind.AMBIGUOUS})


class Catalog:
    """The models at one moment; it never changes. Make one with `Catalog.build`."""

    #: Listed chat models in display order: free mode by usable context, else newest first.
    models: tuple[Model, ...]
    #: Listed embedding models.
    embeddings: tuple[Model, ...]
    #: Free chat models that pass the filters and TOOL_USE_ONLY, largest usable context first; outside free mode too.
    free: tuple[Model, ...]
    #: Epoch seconds at which the records were fetched.
    fetched_at: float
    free_mode: bool
    #: The personas by `name_key`, those whose base is gone or kept out too.
    personas: Mapping[str, Persona]
    #: What names that are not listed mean; the first that fits counts.
    aliases: Sequence[Alias]

    def __init__(
        self,
        known: Iterable[Model],
        allowed: Set[str],
        *,
        free_mode: bool,
        fetched_at: float,
        aliases: Sequence[Alias] = (),
    ) -> None:
        """`known` are all models of the catalogue, `allowed` the ids that may be asked for. Use `build`."""
        self.free_mode, self.fetched_at = free_mode, fetched_at
        self.aliases, self.personas = aliases, {}
        self._by_id = {model.id: model for model in known}
        self._allowed = allowed
        self._within: dict[Scope, Catalog] = {}
        #: Of a catalogue for a key: whether an id that is in no list is in the key's scope. None: no scope.
        self._holds_id: Callable[[str], bool] | None = None
        self._by_name: dict[str, Model] = {}
        short: defaultdict[str, list[str]] = defaultdict(list)
        self._claudes: defaultdict[str, list[Model]] = defaultdict(list)
        for model in self._by_id.values():
            self._by_name[name_key(model.name)] = self._by_name[name_key(model.id)] = model
            short[name_key(without_vendor(model.id))].append(model.id)
            if model.id.startswith("anthropic/") and (spellings := anthropic_keys(model.id)):
                self._claudes[spellings[0]].append(model)
        self._shared = {name: ids for name, ids in short.items() if len(ids) > 1}
        self.models = self.embeddings = self.free = ()

    @classmethod
    def build(
        cls,
        chat_records: Iterable[Any],
        embedding_records: Iterable[Any],
        *,
        free_mode: bool,
        tool_use_only: bool,
        filters: Filters,
        today: date,
        fetched_at: float,
        aliases: Sequence[Alias] = (),
    ) -> Catalog:
        """Build the catalogue from the two lists of raw records. Records that cannot be read are skipped; nothing is
        raised.

        `:batch` records (another API) and models that answer without text are left out. TOOL_USE_ONLY hides embedding
        models from the list, but they can still be asked for: it is a rule for models that chat.
        """
        known = _named(_parse(chat_records, embedding_records, today))
        allows = filters.predicate(free_mode=free_mode)
        allowed = {
            model.id
            for model in known
            if allows(model.name, model.id) and (model.is_embedding or model.lists_tools or not tool_use_only)
        }
        catalog = cls(known, allowed, free_mode=free_mode, fetched_at=fetched_at, aliases=aliases)
        passing = [model for model in known if model.id in allowed]
        chat = [model for model in passing if not model.is_embedding]
        catalog.free = tuple(sorted((model for model in chat if model.is_free), key=_by_context))
        catalog.models = catalog.free if free_mode else tuple(sorted(chat, key=_by_age))
        if not tool_use_only:
            embedding = (model for model in passing if model.is_embedding and (model.is_free or not free_mode))
            catalog.embeddings = tuple(sorted(embedding, key=_by_context if free_mode else _by_age))
        return catalog

    def known(self) -> Iterable[Model]:
        """Return every model of the catalogue, before modes and filters."""
        return self._by_id.values()

    def without(self, gone: Set[str]) -> Catalog:
        """Return this catalogue without some ids among the free models, and in free mode in the list.

        It is used for models that upstream has dropped. Their names still resolve, so that a client that asks for one
        can be told what happened to it.
        """
        if gone.isdisjoint(model.id for model in self.free):
            return self
        less = copy.copy(self)
        less.free = tuple(model for model in self.free if model.id not in gone)
        if self.free_mode:
            less.models = less.free
        return less

    def __copy__(self) -> Catalog:
        """Return a catalogue to change, which keeps nothing that was worked out from this one."""
        made = object.__new__(type(self))
        made.__dict__ |= self.__dict__ | {"_within": {}}
        return made

    def within(self, scope: Scope | None) -> Catalog:
        """Return what a key with this scope sees of the catalogue: itself for None. Worked out once for each scope.

        All else is as if a filter kept the other models out: they are not listed, and not to be asked for.
        """
        if scope is None:
            return self
        if (found := self._within.get(scope)) is None:
            if len(self._within) >= _MOST_SCOPES:
                self._within.clear()
            found = self._within[scope] = self._narrowed(scope)
        return found

    def _narrowed(self, scope: Scope) -> Catalog:
        held = scope.holds(list(self._by_id.values()), free_mode=self.free_mode)
        less = copy.copy(self)
        less._allowed = self._allowed & held
        less._holds_id = scope.holds_id(free_mode=self.free_mode)
        less.free = tuple(model for model in self.free if model.id in held)
        less.models = less.free if self.free_mode else tuple(model for model in self.models if model.id in held)
        less.embeddings = tuple(model for model in self.embeddings if model.id in held)
        return less

    def allows(self, model_id: str) -> bool:
        """Whether the model passes filters and scope, so that it may be asked for."""
        return model_id in self._allowed

    def with_personas(self, personas: Mapping[str, Persona]) -> Catalog:
        """Return this catalogue with other personas: a mapping by `name_key` that is never changed afterwards.

        It costs one copy of a few references, however many there are.
        """
        more = copy.copy(self)
        more.personas = personas
        return more

    def may_be_name(self, name: str) -> bool:
        """Whether `name` could be the name of some model, known here or not."""
        return self.resolve(name).kind is not NameKind.INVALID

    def resolve(self, name: str, *, embedding: bool = False) -> Resolution:
        """Return what a client's `name` means on a chat route, or on an embedding route. Costs a few dictionary
        look-ups.

        The order: a persona, a listed name, an alias. So a model that appears later takes no persona's place, and an
        alias none of a listed model's.
        """
        if not self.personas and not self.aliases:
            return self._listed(name, embedding=embedding)
        meaning = self.resolve_exactly(name, embedding=embedding)
        if meaning.kind not in _MAY_BE_ALIASED or meaning.persona is not None:
            return meaning
        alias = alias_for(name, self.aliases)
        if alias is None:
            return meaning
        return self.resolve_exactly(alias.target, embedding=embedding)._replace(alias=alias)

    def resolve_exactly(self, name: str, *, embedding: bool = False) -> Resolution:
        """Return what `name` means without aliases: a persona, else a listed name."""
        if self.personas and (persona := self.personas.get(name_key(name))) is not None:
            return self.resolve_base(persona.base, embedding=embedding)._replace(persona=persona)
        return self._listed(name, embedding=embedding)

    def resolve_base(self, base: str, *, embedding: bool = False) -> Resolution:
        """Return what a persona's base means: UNKNOWN if that model is gone, or in free mode not free any more; but
        FILTERED for a key in whose scope it would not be: it is not to learn of it.

        In free mode an id without a variant means its own `:free` variant too, as names do.
        """
        if (virtual := VIRTUAL_MODELS.get(base)) is not None:
            return Resolution(NameKind.CHAT_ON_EMBEDDING) if embedding else Resolution(NameKind.VIRTUAL, None, virtual)
        model = self._by_id.get(base)
        if self.free_mode and (model is None or not model.is_free) and not variant(base):
            model = self._by_id.get(f"{base}:{FREE_TAG}")
        if model is None or (self.free_mode and not model.is_free):
            is_out_of_scope = self._holds_id is not None and not self._holds_id(base)
            return Resolution(NameKind.FILTERED if is_out_of_scope else NameKind.UNKNOWN)
        return self._judge(model, embedding=embedding)

    def _listed(self, name: str, *, embedding: bool) -> Resolution:
        """Return what `name` means among models and virtual models.

        Accepted without regard to case: the listed name, the full id, each with or without `:latest`; in free mode a
        name without a tag also means its own `:free` variant; outside it a model of Anthropic's may be spelled as
        Anthropic does. It never means another variant or a part of a name.
        """
        name = name.strip()
        key = name_key(name)
        if key not in self._by_name and key.removesuffix(f":{DEFAULT_TAG}") in self._by_name:
            name = name[: -len(DEFAULT_TAG) - 1]  # the full id of a variant, with the tag: `vendor/slug:free:latest`
            key = name_key(name)
        if not embedding and (virtual := VIRTUAL_MODELS.get(key)) is not None:
            return Resolution(NameKind.VIRTUAL, virtual=virtual)
        keys = [key]
        if self.free_mode and not variant(name):
            keys.insert(0, key.removesuffix(DEFAULT_TAG) + FREE_TAG)
        for one in keys:
            model = self._by_name.get(one)
            if model is not None and (model.is_free or not self.free_mode):
                return self._judge(model, embedding=embedding)
            if model is None and (ids := self._askable(one)):
                return Resolution(NameKind.AMBIGUOUS, candidates_text=ids)
        if not self.free_mode and (model := self._claude(name)) is not None:
            return self._judge(model, embedding=embedding)
        known = any(one in self._by_name or one in self._shared for one in keys)
        return Resolution(NameKind.UNKNOWN if known or is_valid_name(name) else NameKind.INVALID)

    def _claude(self, name: str) -> Model | None:
        """Return the one model that Anthropic itself calls `name`; None if there is none, or more than one."""
        found = next((self._claudes[key] for key in anthropic_keys(name) if key in self._claudes), [])
        return found[0] if len(found) == 1 else None

    def _judge(self, model: Model, *, embedding: bool) -> Resolution:
        if model.id not in self._allowed:
            return Resolution(NameKind.FILTERED, model)
        if model.is_embedding is embedding:
            return Resolution(NameKind.MODEL, model)
        return Resolution(NameKind.EMBEDDING_ON_CHAT if model.is_embedding else NameKind.CHAT_ON_EMBEDDING, model)

    def _askable(self, key: str) -> tuple[str, ...]:
        """Return the ids that share this short name, but only those that may be asked for."""
        models = (self._by_id[model_id] for model_id in self._shared.get(key, ()))
        return tuple(
            model.id for model in models if model.id in self._allowed and (model.is_free or not self.free_mode)
        )


def _parse(chat: Iterable[Any], embedding: Iterable[Any], today: date) -> dict[str, Model]:
    """Return the models of both lists by id; the first record of an id counts."""
    found: dict[str, Model] = {}
    for records, is_embedding in ((chat, False), (embedding, True)):
        for raw in records:
            model = parse_record(raw, today=today, is_embedding=is_embedding)
            if model is None or variant(model.id) == "batch":
                continue
            if model.is_embedding or "text" in model.output_modalities:
                found.setdefault(model.id, model)
    return found


def _named(models: Mapping[str, Model]) -> list[Model]:
    names = assign_names(models, is_reserved=is_reserved)
    return [replace(models[model_id], name=name) for model_id, name in names.items()]


def _by_context(model: Model) -> tuple[int, str]:
    return -model.context_length, model.id


def _by_age(model: Model) -> tuple[int, str]:
    return -model.created, model.id
