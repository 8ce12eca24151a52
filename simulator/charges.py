"""What the simulator has charged for each answer, as OpenRouter's account page would show it. It knows no HTTP.

An answer that ended costs what its usage says; one whose client left costs `CANCELLED` if it was streamed, and all of
it if it was not, as providers go on writing; one that failed costs nothing, unless its scenario's usage names a cost.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import asdict, dataclass
from typing import Any

#: Dollars for an answer of a model that is not free, and for a part of one.
WHOLE = 0.000123
CANCELLED = 0.000045

_MOST = 20_000


@dataclass(slots=True)
class Charge:
    """One answer. `session` is the request's session header, `cost` dollars, `ended` complete, cancelled or failed."""

    generation: str
    session: str
    model: str
    cost: float = 0.0
    ended: str = ""

    def document(self) -> dict[str, Any]:
        """Return what GET /generation tells."""
        return {
            "id": self.generation,
            "model": self.model,
            "cancelled": self.ended == "cancelled",
            "total_cost": self.cost,
            "usage": self.cost,
        }


def whole_cost(*, free: bool, usage: dict[str, Any] | None = None) -> float:
    """Return what a whole answer costs; a scenario's `usage` may name another amount."""
    cost: float = (usage or {}).get("cost", 0 if free else WHOLE)
    return cost


class Charges:
    """The last of them, by the answer's id."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, Charge] = OrderedDict()

    def begin(self, generation: str, session: str, model: str) -> Charge:
        """An answer begins."""
        charge = self._known[generation] = Charge(generation, session, model)
        if len(self._known) > _MOST:
            self._known.popitem(last=False)
        return charge

    def get(self, generation: str) -> Charge | None:
        """Return the charge for an answer that has ended, or None."""
        charge = self._known.get(generation)
        return charge if charge is not None and charge.ended else None

    def as_json(self) -> list[dict[str, Any]]:
        """Return all of them."""
        return [asdict(charge) for charge in self._known.values()]

    def clear(self) -> None:
        """Forget all."""
        self._known.clear()
