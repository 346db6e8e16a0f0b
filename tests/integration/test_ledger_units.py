"""The column type for amounts: exact to 38 digits, in numeric order, and refusing what it cannot keep."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Column, Integer, MetaData, Table, delete, func, insert, literal, select
from sqlalchemy.exc import DBAPIError, StatementError

from ledger.db import Database
from ledger.money import UNITS_BOUND
from ledger.types import Units, total

MOST = UNITS_BOUND - 1
NUMBERS = [-MOST, -(2**64), -(10**19), -10, -9, -1, 0, 1, 9, 10, 2**53 + 1, 2**63 - 1, 2**63, 10**19, 2**64, MOST]

scratch = Table("units_scratch", MetaData(), Column("id", Integer, primary_key=True), Column("units", Units))


@pytest.fixture(scope="module")
def table(shared_database: Database) -> Iterator[Database]:
    scratch.drop(shared_database.engine, checkfirst=True)
    scratch.create(shared_database.engine)
    yield shared_database
    scratch.drop(shared_database.engine)


def store(database: Database, *numbers: Any) -> None:
    def unit(tx: Any) -> None:
        tx.execute(delete(scratch))
        for number in numbers:
            tx.execute(insert(scratch).values(units=number))

    database.run(unit, "test_units")


def stored(database: Database, query: Any) -> list[Any]:
    return [row[0] for row in database.read(lambda tx: tx.all(query))]


def test_every_size_and_sign_comes_back_exactly_and_in_order(table: Database) -> None:
    store(table, *reversed(NUMBERS), None)
    ordered = select(scratch.c.units).where(scratch.c.units.is_not(None)).order_by(scratch.c.units)
    assert stored(table, ordered) == NUMBERS
    assert all(type(number) is int for number in stored(table, ordered))
    assert stored(table, select(scratch.c.units).where(scratch.c.units.is_(None))) == [None]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.integers(-MOST, MOST), min_size=1, max_size=20), st.integers(-MOST, MOST))
def test_comparison_in_sql_is_comparison_of_numbers(table: Database, numbers: list[int], edge: int) -> None:
    store(table, *numbers)
    units = scratch.c.units
    for compare in (operator.lt, operator.le, operator.eq, operator.ne, operator.ge, operator.gt):
        found = stored(table, select(units).where(compare(units, edge)).order_by(units))
        assert found == sorted(n for n in numbers if compare(n, edge)), compare
    assert stored(table, select(func.max(units))) == [max(numbers)]
    assert stored(table, select(func.min(units))) == [min(numbers)]


@pytest.mark.parametrize("value", [True, False, 1.0, 0.1, float("nan"), "1", Decimal(1), b"1", 1j], ids=repr)
def test_only_ints_are_stored_or_compared(table: Database, value: Any) -> None:
    with pytest.raises((StatementError, TypeError), match="units are int"):
        store(table, value)
    with pytest.raises((StatementError, TypeError), match="units are int"):
        stored(table, select(scratch.c.id).where(scratch.c.units == literal(value, Units())))


@pytest.mark.parametrize("value", [UNITS_BOUND, -UNITS_BOUND, 10**39, 2**256 - 1])
def test_more_than_38_digits_are_refused(table: Database, value: int) -> None:
    store(table, 5)
    with pytest.raises((StatementError, OverflowError), match="38 digits"):
        store(table, value)
    assert stored(table, select(scratch.c.units)) == [5]


_ARITHMETIC: list[Callable[[Any], Any]] = [
    lambda c: c + 1, lambda c: 1 + c, lambda c: c - 1, lambda c: 1 - c, lambda c: c * 2, lambda c: 2 * c,
    lambda c: c / 2, lambda c: 2 / c, lambda c: c // 2, lambda c: 2 // c, lambda c: c % 2, lambda c: 2 % c,
    lambda c: -c, lambda c: c + c,
]  # fmt: skip


@pytest.mark.parametrize("sum_up", _ARITHMETIC, ids=range(len(_ARITHMETIC)))
def test_arithmetic_in_sql_is_refused(sum_up: Callable[[Any], Any]) -> None:
    with pytest.raises(TypeError, match="added in Python"):
        sum_up(scratch.c.units)


def test_a_sum_in_sql_is_exact_or_refused(table: Database) -> None:
    """SQLite would add text as floats; the answer must never be a number that is only nearly right."""
    store(table, 10**20, 1)
    if table.sqlite:
        with pytest.raises(TypeError, match="added in Python"):
            stored(table, select(func.sum(scratch.c.units)))
    else:
        assert stored(table, select(func.sum(scratch.c.units))) == [10**20 + 1]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.integers(-MOST, MOST), max_size=20))
def test_the_total_is_exact_also_beyond_38_digits(table: Database, numbers: list[int]) -> None:
    store(table, *numbers, None)
    assert (stored(table, select(total(scratch.c.units)))[0] or 0) == sum(numbers)


def test_the_total_of_nothing_is_null(table: Database) -> None:
    store(table)
    assert stored(table, select(total(scratch.c.units))) == [None]


def test_mariadb_refuses_digits_that_do_not_fit(table: Database) -> None:
    """Strict mode: never cut to the largest number, never rounded to a whole one."""
    if table.sqlite:
        pytest.skip("SQLite has CHECKs on real tables instead: see test_ledger_guards")
    with table.engine.connect() as connection, pytest.raises(DBAPIError):
        connection.exec_driver_sql(f"INSERT INTO units_scratch (units) VALUES ({'9' * 39})")
