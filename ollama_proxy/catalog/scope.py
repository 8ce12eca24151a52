"""What a key may use of the catalogue: a value, made from the lines of a key (docs/contract.md, "Keys").

Lines mean what they mean in a filter file of whole names (`filters.py`). Knows nothing of keys.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ollama_proxy.catalog.filters import Allows, FilterLine, Filters, parse_lines
from ollama_proxy.catalog.names import FREE_TAG, tagged, variant, without_vendor
from ollama_proxy.catalog.records import Model


@dataclass(frozen=True, slots=True)
class Scope:
    """`lines` as in a filter file, () for all models; `free_only`: no model that costs anything."""

    lines: tuple[str, ...] = ()
    free_only: bool = False

    @property
    def filter_lines(self) -> tuple[FilterLine, ...]:
        """The lines, read."""
        return parse_lines("\n".join(self.lines))

    def names(self, *, free_mode: bool) -> Allows:
        """Return a function that says whether the lines allow a model of that listed name and id."""
        # Where only free models count, a name without a tag means the free one, as in free mode.
        return Filters(names=self.filter_lines).predicate(free_mode=free_mode or self.free_only)

    def holds(self, models: list[Model], *, free_mode: bool) -> frozenset[str]:
        """Return the ids of those of `models` that are in the scope."""
        allows = self.names(free_mode=free_mode)
        return frozenset(
            model.id for model in models if allows(model.name, model.id) and (model.is_free or not self.free_only)
        )

    def holds_id(self, *, free_mode: bool) -> Callable[[str], bool]:
        """Return a function that says whether a model with that id would be in the scope if there were one.

        What a model that is gone did cost nobody knows; its variant says whether it was free.
        """
        allows = self.names(free_mode=free_mode)

        def holds(model_id: str) -> bool:
            is_free = free_mode or not self.free_only or variant(model_id) == FREE_TAG
            return is_free and allows(tagged(without_vendor(model_id)), model_id)

        return holds


def scope_of(lines: tuple[str, ...], *, free_only: bool) -> Scope | None:
    """Return the scope of a key with these lines; None if it may use all models, so that nothing is narrowed for it."""
    return Scope(lines, free_only) if lines or free_only else None
