"""What a key may use of the catalogue: a value, made from the lines of a key (docs/contract.md, "Keys").

Lines mean what they mean in a filter file of whole names (`filters.py`). Knows nothing of keys.
"""

from __future__ import annotations

from dataclasses import dataclass

from ollama_proxy.catalog.filters import FilterLine, Filters, parse_lines
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

    def holds(self, models: list[Model], *, free_mode: bool) -> frozenset[str]:
        """Return the ids of those of `models` that are in the scope."""
        # Where only free models count, a name without a tag means the free one, as in free mode.
        allows = Filters(names=self.filter_lines).predicate(free_mode=free_mode or self.free_only)
        return frozenset(
            model.id for model in models if allows(model.name, model.id) and (model.is_free or not self.free_only)
        )


def scope_of(lines: tuple[str, ...], *, free_only: bool) -> Scope | None:
    """Return the scope of a key with these lines; None if it may use all models, so that nothing is narrowed for it."""
    return Scope(lines, free_only) if lines or free_only else None
