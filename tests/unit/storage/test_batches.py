"""Several parts share one write: what one of them does wrong stays with it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Connection, text

from ollama_proxy.storage.batches import Batches
from ollama_proxy.storage.database import Database, sqlalchemy_url
from ollama_proxy.storage.write_behind import Write, WriteBehind


class Part:
    """A part that writes what it has, and may raise when it hears of it."""

    def __init__(self, *, raises: bool = False) -> None:
        self.raises = raises
        self.waiting = self.written = self.told = 0

    def take(self) -> Write | None:
        taken, self.waiting = self.waiting, 0

        def write(connection: Connection) -> None:
            connection.execute(text("SELECT 1"))
            self.written += taken

        return write if taken else None

    def settled(self, *, made: bool) -> None:
        assert made
        self.told += 1
        if self.raises:
            raise RuntimeError("a mistake with a secret in its text")

    @property
    def waits(self) -> bool:
        return self.waiting > 0


@pytest.fixture
def behind(tmp_path: Path) -> Iterator[WriteBehind]:
    database = Database(sqlalchemy_url("", tmp_path))
    yield WriteBehind(database)
    database.dispose()


def test_a_part_that_fails_does_not_end_the_writing(behind: WriteBehind) -> None:
    warnings: list[str] = []
    batches = Batches(behind, on_warning=warnings.append)
    bad, good = Part(raises=True), Part()
    batches.of(bad, good)
    for n in range(1, 4):
        bad.waiting = good.waiting = 1
        batches.wanted()
        assert behind.flush(10)
        assert (bad.written, good.written, good.told) == (n, n, n)
    assert warnings == ["Part could not note its write: RuntimeError"]


def test_what_comes_while_a_write_ends_is_written_too(behind: WriteBehind) -> None:
    batches = Batches(behind)
    part = Part()
    batches.of(part)
    part.waiting = 1
    batches.wanted()
    batches.wanted()
    assert behind.flush(10)
    assert (part.written, part.told) == (1, 1), "one write for both"
