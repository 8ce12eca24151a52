"""Joins the parts of the ledger for one process."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ollama_proxy.config import Settings
from ollama_proxy.ledger.announcing import Announcer, Logger
from ollama_proxy.ledger.clients_seen import ClientsSeen
from ollama_proxy.ledger.cost_lookup import CostLookup
from ollama_proxy.ledger.key_check import KeyCheck
from ollama_proxy.ledger.key_counting import KeyCounting
from ollama_proxy.ledger.ledger import Ledger
from ollama_proxy.ledger.quota_keeper import QuotaKeeper
from ollama_proxy.ledger.retention import Retention
from ollama_proxy.ledger.under_way import UnderWay
from ollama_proxy.ledger.upkeep import Upkeep
from ollama_proxy.storage.batches import Batches
from ollama_proxy.storage.clients_table import ClientsTable
from ollama_proxy.storage.database import Database
from ollama_proxy.storage.failure_table import LimitRow
from ollama_proxy.storage.in_flight_table import InFlightTable
from ollama_proxy.storage.key_usage_table import KeyUsageTable
from ollama_proxy.storage.leases import Leases
from ollama_proxy.storage.ledger_table import LedgerTable
from ollama_proxy.storage.quota_table import QuotaTable
from ollama_proxy.storage.revisions import Revisions
from ollama_proxy.storage.write_behind import WriteBehind


@dataclass(frozen=True, slots=True)
class Stores:
    """What the ledger needs of `storage/`."""

    database: Database
    writes: WriteBehind
    revisions: Revisions


@dataclass(frozen=True, slots=True)
class Books:
    """The ledger of a process, the account's quota, the clients seen, and their background work."""

    ledger: Ledger
    clients: ClientsSeen
    quota: QuotaKeeper
    upkeep: Upkeep
    #: What the keys of clients use.
    counting: KeyCounting


def open_books(
    settings: Settings,
    stores: Stores,
    *,
    check: Callable[[], KeyCheck],
    cost: Callable[[str], int | None],
    limits: Callable[[], Sequence[LimitRow]],
    log: Logger,
    on_lost: Callable[[int], object] | None = None,
) -> Books:
    """Join the parts. Opens no connection and starts no thread.

    `check` asks OpenRouter about the key, `cost` for the cost of an earlier answer in millionths of a dollar, `limits`
    returns what is remembered of the account's limits. `on_lost` is called with the number of records that are lost.
    """
    token = uuid.uuid4().hex[:12]

    def holder() -> str:
        return f"{token}-{os.getpid()}"  # the process id: a fork shares the token

    leases, batches = Leases(stores.database), Batches(stores.writes, on_warning=log.warning)
    table, quota_table = LedgerTable(stores.database), QuotaTable(stores.database)
    in_flight = InFlightTable(stores.database)
    under_way = UnderWay(in_flight, process=holder)
    quota = QuotaKeeper(
        quota_table,
        batches=batches,
        revisions=stores.revisions,
        leases=leases,
        check=check,
        limits=limits,
        minute_limit=settings.free_requests_per_minute,
        holder=holder,
    )
    clients = ClientsSeen(ClientsTable(stores.database), batches)
    ledger = Ledger(
        table,
        batches=batches,
        under_way=under_way,
        answered=quota.answered,
        served=clients.served,
        keeps_log=settings.request_log_days > 0,
        on_warning=log.warning,
        on_lost=on_lost,
    )
    counting, lookup = _counting(stores, batches, cost, log)
    # The statements on keys come last, as in the transactions that write nothing else.
    batches.of(quota, ledger, under_way, clients, counting.unlimited)
    upkeep = Upkeep(
        ledger,
        quota,
        under_way=under_way,
        batches=batches,
        announcer=Announcer(quota=quota.now, limits=limits, leases=leases, holder=holder, log=log),
        retention=Retention(
            table,
            quota=quota_table,
            in_flight=in_flight,
            key_usage=KeyUsageTable(stores.database),
            leases=leases,
            holder=holder,
            log_days=settings.request_log_days,
        ),
        revisions=stores.revisions,
        on_warning=log.warning,
        more=(counting.renew_if_due, lookup.look_if_due),
    )
    return Books(ledger, clients, quota, upkeep, counting)


def _counting(
    stores: Stores, batches: Batches, cost: Callable[[str], int | None], log: Logger
) -> tuple[KeyCounting, CostLookup]:
    table = KeyUsageTable(stores.database)
    lookup = CostLookup(table, cost)
    at_once = Batches(stores.writes, name="keys", within=0.0, on_warning=log.warning)
    counting = KeyCounting(
        table,
        at_once=at_once,
        with_ledger=batches,
        on_lost=lambda number: log.warning(f"what {number} requests of keys used is not counted"),
        on_awaited=lookup.awaited,
    )
    at_once.of(counting.limited)
    return counting, lookup
