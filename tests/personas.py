"""Puts personas into the database of a server, as another process that shares it would."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ollama_proxy.catalog.library import Library
from ollama_proxy.storage.database import Database, sqlalchemy_url
from ollama_proxy.storage.persona_table import PersonaTable
from ollama_proxy.storage.revisions import Revisions


@contextmanager
def library_of(database_url: str) -> Iterator[Library]:
    """The personas in a database, to change them: servers know it within a second."""
    database = Database(sqlalchemy_url(database_url, Path("/nonexistent")))
    try:
        yield Library(PersonaTable(database), Revisions(database))
    finally:
        database.dispose()
