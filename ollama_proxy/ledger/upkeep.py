"""What the ledger does in the background of each process, every two seconds: a few comparisons, if nothing is due."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

from ollama_proxy.ledger.announcing import Announcer
from ollama_proxy.ledger.ledger import Ledger
from ollama_proxy.ledger.quota_keeper import QuotaKeeper
from ollama_proxy.ledger.retention import Retention
from ollama_proxy.ledger.under_way import UnderWay
from ollama_proxy.storage.batches import Batches
from ollama_proxy.storage.database import StorageUnavailable
from ollama_proxy.storage.revisions import Revisions

EVERY = 2.0


class Upkeep:
    """The background work of the ledger. `run` needs a thread of its own."""

    def __init__(
        self,
        ledger: Ledger,
        quota: QuotaKeeper,
        *,
        under_way: UnderWay,
        batches: Batches,
        announcer: Announcer,
        retention: Retention,
        revisions: Revisions,
        on_warning: Callable[[str], object],
        clock: Callable[[], float] = time.time,
        more: Sequence[Callable[[], object]] = (),
    ) -> None:
        """`more` is called every time as well; like all of it, it may raise StorageUnavailable."""
        self._ledger, self._quota, self._under_way, self._batches = ledger, quota, under_way, batches
        self._retention, self._revisions = retention, revisions
        self._on_warning, self._clock = on_warning, clock
        self._has_warned = False
        self._steps = (self.tell, quota.ask_if_due, announcer.look, self.trim, *more)

    def run(self, stop: threading.Event) -> None:
        """Do what is due until `stop` is set."""
        while True:
            for step in self._steps:
                try:
                    step()
                except StorageUnavailable:
                    continue  # the database reports itself
                except Exception as error:  # noqa: BLE001 - this thread has to outlive any mistake made in it
                    if not self._has_warned:
                        self._on_warning(f"the ledger's upkeep failed: {type(error).__name__}")
                    self._has_warned = True
            if stop.wait(EVERY):
                return

    def tell(self) -> None:
        """Have what is under way written for the other processes, if somebody looks."""
        if self._under_way.is_idle:
            return
        # A process whose answers are all long hears of a look only by this.
        self._revisions.freshen()
        if self._under_way.tell(watched=self._quota.is_watched()):
            self._batches.wanted()

    def trim(self) -> None:
        """Remove what is too old, or too much. Raises StorageUnavailable."""
        self._retention.trim_if_due(self._clock(), recorded=self._ledger.recorded)
