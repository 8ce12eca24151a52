"""Aliases: what a name that is not listed means, as MODEL_ALIASES says. Pure: a name in, another name out.

Programs have names of models built in (`claude-haiku-4-5`, `gpt-4o-mini`). An alias says which model such a name means
here (docs/contract.md, "Aliases").
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from ollama_proxy.catalog.glob import Glob
from ollama_proxy.catalog.names import bare

_STAR = "*"


@dataclass(frozen=True, slots=True)
class Alias:
    """A pattern for whole names, in which each `*` stands for any run of characters, and the name that is meant.

    Both as they were written. A name fits without regard to case, and without its `:latest`.
    """

    pattern: str
    target: str
    _glob: Glob = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_glob", Glob(bare(self.pattern.lower())))

    @property
    def is_exact(self) -> bool:
        """The pattern is one name."""
        return _STAR not in self.pattern

    def fits(self, name: str) -> bool:
        """Whether the pattern is for `name`. The time is in proportion to the pattern times the name."""
        return self._glob.matches(bare(name.strip().lower()))


def aliases_of(pairs: Iterable[tuple[str, str]]) -> tuple[Alias, ...]:
    """The aliases of MODEL_ALIASES: pairs of pattern and target, in the order in which they are looked at."""
    return tuple(Alias(pattern, target) for pattern, target in pairs)


def alias_for(name: str, aliases: Iterable[Alias]) -> Alias | None:
    """The first alias that is for `name`, or None."""
    return next((alias for alias in aliases if alias.fits(name)), None)
