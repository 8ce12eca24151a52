"""The personas as one process knows them: a copy of the table, renewed when any process has changed it.

A request reads the copy and makes no query. What this process writes is in its copy at once, what others write within a
second. Knows the table and nothing of requests; what may be written is said in `catalog/making.py`.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from ollama_proxy.catalog.names import name_key
from ollama_proxy.catalog.persona import Persona
from ollama_proxy.storage.database import StorageUnavailable
from ollama_proxy.storage.persona_table import NAME, PersonaRow, PersonaRows, PersonaTable
from ollama_proxy.storage.revisions import Revisions

#: How many personas there may be, and how many bytes their texts may have together: every process holds all of them.
MOST_PERSONAS = 1000
MOST_BYTES_OF_ALL = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class _Copy:
    """The table at one revision, None before it was read; `personas` by the key of their names."""

    revision: int | None = None
    personas: Mapping[str, Persona] = field(default_factory=dict)


class Library:
    """The personas. One for each process. Safe for threads and greenlets."""

    def __init__(self, table: PersonaTable, revisions: Revisions) -> None:
        self._table = table
        self._revisions = revisions
        self._copy = _Copy()
        self._lock = threading.Lock()  # guards the copy; never held over a statement
        revisions.subscribe(NAME, self.reload)

    def current(self) -> Mapping[str, Persona]:
        """Return the personas by `name_key` of their names, as of a second ago at most; never changed afterwards.

        While the database is away they are those that were known last.
        """
        self._revisions.freshen()
        return self._copy.personas

    def latest(self) -> Mapping[str, Persona]:
        """Return the personas as of now, for who is about to write. Raises StorageUnavailable."""
        self.reload()
        return self._copy.personas

    def look(self, since: float) -> None:
        """Know all that was written before `since`, in seconds of the monotonic clock.

        While the database is away what was known last goes on. Raises StorageUnavailable while nothing was ever read:
        then nobody can say that a name is no persona's.
        """
        self._revisions.freshen_since(since)
        if self._copy.revision is None:
            raise StorageUnavailable("the personas have not been read yet")

    def reload(self) -> None:
        """Read the table again if it has changed. Raises StorageUnavailable."""
        known = self._copy.revision
        if known is not None and self._table.revision() == known:
            return
        found = self._table.load()
        # What is read after a revision was seen is not older, or it is another database, such as one from a backup.
        self._take(found, anyway=known is not None and found.revision < known)

    def save(self, persona: Persona) -> None:
        """Write a persona, in the place of one with its name. Raises StorageUnavailable, NoRoom.

        One that is replaced keeps how its name is written, and its time of creation.
        """
        self._take(self._table.put(row_of(persona), most=MOST_PERSONAS, most_bytes=MOST_BYTES_OF_ALL))

    def remove(self, name: str) -> bool:
        """Remove the persona of that name. Returns False if there was none. Raises StorageUnavailable."""
        was_there, found = self._table.remove(name_key(name))
        self._take(found)
        return was_there

    def _take(self, found: PersonaRows, *, anyway: bool = False) -> None:
        """Make `found` the copy, unless a newer one is there already."""
        with self._lock:
            known = self._copy.revision
            if anyway or known is None or found.revision > known:
                personas = _personas(found.rows, self._copy.personas)
                self._copy = _Copy(found.revision, MappingProxyType(personas))


def _personas(rows: list[PersonaRow], known: Mapping[str, Persona]) -> dict[str, Persona]:
    """The personas of these rows by their keys. One that is as it was known is the same object.

    What another program wrote and cannot be read is left out.
    """
    found = {}
    for row in rows:
        old = known.get(row.key)
        same = old is not None and (old.digest, old.modified, old.name) == (row.digest, row.modified, row.name)
        persona = old if same else _persona(row)
        if persona is not None:
            found[row.key] = persona
    return found


def _persona(row: PersonaRow) -> Persona | None:
    try:
        licenses, parameters, messages = map(json.loads, (row.licenses, row.parameters, row.messages))
    except (ValueError, RecursionError):
        return None
    texts = isinstance(licenses, list) and all(isinstance(text, str) for text in licenses)
    objects = isinstance(messages, list) and all(isinstance(message, dict) for message in messages)
    if not (texts and objects and isinstance(parameters, dict)):
        return None
    return Persona(
        name=row.name,
        base=row.base,
        system=row.system,
        template=row.template,
        licenses=tuple(licenses),
        parameters=parameters,
        messages=tuple(messages),
        digest=row.digest,
        created=row.created,
        modified=row.modified,
        renderer=row.renderer,
        parser=row.parser,
        requires=row.requires,
    )


def row_of(persona: Persona) -> PersonaRow:
    """The row that holds a persona."""
    json_texts = [_json(part) for part in (persona.licenses, persona.parameters, persona.messages)]
    texts = (persona.system, persona.template, persona.renderer, persona.parser, persona.requires, *json_texts)
    return PersonaRow(
        key=name_key(persona.name),
        name=persona.name,
        base=persona.base,
        system=persona.system,
        template=persona.template,
        licenses=json_texts[0],
        parameters=json_texts[1],
        messages=json_texts[2],
        renderer=persona.renderer,
        parser=persona.parser,
        requires=persona.requires,
        digest=persona.digest,
        size=sum(len(text.encode()) for text in texts),
        created=persona.created,
        modified=persona.modified,
    )


def _json(value: Any) -> str:
    # ASCII: a database takes every escape, not every character.
    return json.dumps(dict(value) if isinstance(value, Mapping) else value, separators=(",", ":"))
