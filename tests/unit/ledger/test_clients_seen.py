"""Which clients were served: noted once a minute, the later time wins, and only those that are known."""

from __future__ import annotations

from ollama_proxy.ledger.clients_seen import ClientsSeen
from ollama_proxy.storage.batches import Batches
from ollama_proxy.storage.clients_table import ClientsTable
from ollama_proxy.storage.database import Database
from ollama_proxy.storage.write_behind import WriteBehind
from tests.postgres import postgres_url
from tests.storage_databases import ScriptedDatabase, database
from tests.unit.ledger.observations import ended

__all__ = ["database", "postgres_url"]


class Process:
    """What one process notes."""

    def __init__(self, database: Database, now: float = 5000.0) -> None:
        self.now = now
        self.database = ScriptedDatabase(database.url)
        self.behind = WriteBehind(self.database)
        batches = Batches(self.behind)
        self.clients = ClientsSeen(ClientsTable(self.database), batches, clock=lambda: self.now)
        batches.of(self.clients)

    def serve(self, client: str, status: int = 200) -> None:
        self.clients.served(ended(client=client, status=status))

    def written(self) -> dict[str, float]:
        assert self.behind.flush(10)
        return self.clients.last_seen()


def test_all_processes_see_who_was_served_last(database: Database) -> None:
    one, other = Process(database), Process(database, now=7000.0)
    one.serve("zed")
    one.serve("codex")
    assert one.written() == {"zed": 5000.0, "codex": 5000.0}
    other.serve("zed")
    assert other.written() == {"zed": 7000.0, "codex": 5000.0}
    one.now = 6500.0
    one.serve("zed")
    assert one.written()["zed"] == 7000.0, "the clock of one process may be behind"


def test_a_client_is_noted_once_a_minute(database: Database) -> None:
    process = Process(database)
    process.serve("zed")
    assert process.clients.waits
    assert process.written() == {"zed": 5000.0}
    process.now += 59
    process.serve("zed")
    assert not process.clients.waits
    process.now += 1
    process.serve("zed")
    assert process.written() == {"zed": 5060.0}
    process.now -= 4000
    process.serve("zed")
    assert process.clients.waits, "a clock that was set back keeps nobody out"


def test_who_was_refused_was_not_served(database: Database) -> None:
    process = Process(database)
    for status in (0, 401, 403, 404, 429, 502):
        process.serve("zed", status)
    assert process.written() == {}
