"""What all tables share."""

from __future__ import annotations

from typing import Any

from sqlalchemy import CheckConstraint, Column, ForeignKey, MetaData, String, Table
from sqlalchemy.schema import SchemaItem

from ledger.types import Id, Micros

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def table(name: str, *items: SchemaItem, **options: Any) -> Table:
    """A table whose text compares byte by byte and whose writes are transactional on MariaDB."""
    return Table(
        name,
        metadata,
        *items,
        mysql_engine="InnoDB",
        mysql_charset="utf8mb4",
        mysql_collate="utf8mb4_bin",
        **options,
    )


def key(name: str = "id") -> Column[int]:
    return Column(name, Id, primary_key=True, autoincrement=True)


def link(name: str, target: str, *, null: bool = False, index: bool = False) -> Column[int]:
    return Column(name, Id, ForeignKey(target), nullable=null, index=index)


def public_id() -> Column[str]:
    """`wd_` and the like, then the 32 hex digits of a UUIDv7 (RFC 9562)."""
    return Column("public_id", String(40), nullable=False, unique=True)


def moment(name: str, *, null: bool = False) -> Column[int]:
    return Column(name, Micros, nullable=null)


def word(name: str, length: int = 32, *, null: bool = False, **options: Any) -> Column[str]:
    return Column(name, String(length), nullable=null, **options)


def one_of(column: str, values: tuple[str, ...]) -> CheckConstraint:
    """A CHECK that a word column holds one of a closed list."""
    return CheckConstraint(f"{column} IN ({', '.join(repr(v) for v in values)})", name=f"{column}_known")
