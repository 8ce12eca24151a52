"""What all tables share. Each table stands in the module with its statements.

Every time in a table is a UTC epoch number in seconds.
"""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules

from sqlalchemy import Double, Integer, MetaData, Text
from sqlalchemy.orm import DeclarativeBase

from ollama_proxy import storage


class Base(DeclarativeBase):
    """The class of every table.

    Statements are written against the plain tables (`__table__`): no mapper is configured, no session is kept.
    """

    type_annotation_map = {str: Text(), float: Double(), int: Integer()}


def all_tables() -> MetaData:
    """Return all tables, for Alembic. A table is known once its module is imported, so this imports them all."""
    for module in iter_modules(storage.__path__, f"{storage.__name__}."):
        import_module(module.name)
    return Base.metadata


def storable(text: str, longest: int) -> str:
    """Return `text` as any database takes it: without NUL and lone surrogates, cut to `longest` characters."""
    if text.isascii() and len(text) <= longest and "\0" not in text:
        return text
    return text[:longest].replace("\0", "").encode("utf-8", "replace").decode("utf-8")
