"""Scenarios of docs/scenarios.md that no other test of the databases plays."""

from __future__ import annotations

import os
from typing import Any

import pytest
from alembic import op
from sqlalchemy import literal, select

from jobs import bootstrap
from ledger.errors import SchemaMismatch
from tests.integration.test_db_migrations import MakeUrl, make_url, settings_of
from tests.ledger_books import Books

__all__ = ["make_url"]
READS = 50


class CutShort(BaseException):
    """The process ended here."""


@pytest.mark.parametrize("tables", [1, 10])
def test_a_migration_that_was_cut_short_is_no_database_to_work_on(
    make_url: MakeUrl, monkeypatch: pytest.MonkeyPatch, tables: int
) -> None:
    """C9: the version is written last, so that what is half made is known by its absence."""
    url, create, made = make_url(), op.create_table, list[str]()

    def mortal(name: str, *parts: Any, **more: Any) -> Any:
        if len(made) == tables:
            raise CutShort
        made.append(name)
        return create(name, *parts, **more)

    with monkeypatch.context() as patch:
        patch.setattr(op, "create_table", mortal)
        with pytest.raises(CutShort):
            bootstrap.upgrade(settings_of(url))
    with pytest.raises(SchemaMismatch, match="coffer db upgrade"):
        bootstrap.open_database(settings_of(url))


def test_a_forked_database_has_connections_of_its_own(shared: Books) -> None:
    """H8: parent and child ask at once, each gets its own answers, and the child's end costs the parent nothing."""
    database = shared.database

    def answers(first: int) -> bool:
        numbers = range(first, first + READS)
        return all(database.read(lambda tx, n=n: tx.value(select(literal(n)))) == n for n in numbers)

    assert answers(0)
    child = os.fork()
    if child == 0:
        right = False
        try:
            database.after_fork()
            right = answers(1_000)
        finally:
            os._exit(0 if right else 1)
    right = answers(2_000)
    assert os.waitpid(child, 0)[1] == 0
    assert right
    assert answers(3_000)
