"""The tables, for what must outlive a process.

Columns and types only; the statements are in the other modules here. Every time is a UTC epoch number in seconds.
"""

from __future__ import annotations

from typing import cast

from sqlalchemy import BigInteger, Double, Integer, Table, Text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Base(DeclarativeBase):
    """What Alembic compares the migrations with."""

    type_annotation_map = {str: Text(), float: Double(), int: Integer()}


class ModelFailure(Base):
    """A model that is to blame for a failure, and until when it cools down (docs/contract.md, "Failures")."""

    __tablename__ = "model_failures"

    model: Mapped[str] = mapped_column(primary_key=True)
    blame: Mapped[str]
    count: Mapped[int]
    failed_at: Mapped[float]
    until: Mapped[float]
    reason: Mapped[str]
    record_digest: Mapped[str | None]


class AccountLimit(Base):
    """A limit of the account or key; `scope` is "free", "stealth" or "account"."""

    __tablename__ = "account_limits"

    scope: Mapped[str] = mapped_column(primary_key=True)
    until: Mapped[float]
    reason: Mapped[str]
    message: Mapped[str]
    updated_at: Mapped[float]
    status: Mapped[int]


class CatalogModel(Base):
    """One record of the last good model list, as JSON text, in the order OpenRouter listed it.

    The kind belongs to the key: an id in both lists must not cost the whole copy.
    """

    __tablename__ = "catalog_models"

    id: Mapped[str] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(primary_key=True)
    position: Mapped[int]
    record: Mapped[str]


class CatalogRefresh(Base):
    """One row named "models": when the list was fetched, and which process is fetching it now."""

    __tablename__ = "catalog_state"

    name: Mapped[str] = mapped_column(primary_key=True)
    fetched_at: Mapped[float]
    source: Mapped[str]
    lease_holder: Mapped[str]
    lease_until: Mapped[float]
    revision: Mapped[int]


class Revision(Base):
    """How often the shared state `name` has changed. Other processes look at it (`storage/revisions.py`)."""

    __tablename__ = "revisions"

    name: Mapped[str] = mapped_column(primary_key=True)
    revision: Mapped[int] = mapped_column(BigInteger)


# Statements are written against the plain tables: no mapper is configured, no session is kept.
MODEL_FAILURES = cast(Table, ModelFailure.__table__)
ACCOUNT_LIMITS = cast(Table, AccountLimit.__table__)
CATALOG_MODELS = cast(Table, CatalogModel.__table__)
CATALOG_STATE = cast(Table, CatalogRefresh.__table__)
REVISIONS = cast(Table, Revision.__table__)
