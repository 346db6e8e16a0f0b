"""Column types that are exact on both databases."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, NoReturn

from sqlalchemy import BigInteger, CheckConstraint, Integer, Numeric, String
from sqlalchemy.engine import Dialect
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import TypeDecorator, TypeEngine

from ledger.money import UNITS_BOUND

#: Surrogate keys: 64 bits; SQLite counts up by itself only for its own INTEGER.
Id = BigInteger().with_variant(Integer(), "sqlite")

#: A moment: whole microseconds since 1970-01-01 UTC, by the database's clock.
Micros = BigInteger

_BIAS = 10**39  # keeps text order equal to numeric order, for negative values too
_WIDTH = 40


def sqlite_units(units: int) -> str:
    """How SQLite stores `units`: biased, fixed-width decimal text that sorts as the numbers do."""
    return str(units + _BIAS).zfill(_WIDTH)


class Units(TypeDecorator[int]):
    """Whole atomic units between -10^38 and 10^38, exclusive: NUMERIC(38,0) on MariaDB, text on SQLite.

    SQLite would turn what does not fit 64 bits into a float (NUMERIC) or wrap (INTEGER), so it gets text, and
    arithmetic in SQL is refused here: sums are made in Python, or by `total`.
    """

    impl = Numeric
    cache_ok = True

    class Comparator(TypeDecorator.Comparator[int]):
        def _no_arithmetic(self, *_: Any) -> NoReturn:
            raise TypeError("units are added in Python, never in SQL")

        __add__ = __sub__ = __mul__ = __truediv__ = __floordiv__ = __mod__ = __neg__ = _no_arithmetic
        __radd__ = __rsub__ = __rmul__ = __rtruediv__ = __rfloordiv__ = __rmod__ = _no_arithmetic

    comparator_factory = Comparator

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        if dialect.name == "sqlite":
            return dialect.type_descriptor(String(_WIDTH))
        return dialect.type_descriptor(Numeric(38, 0, asdecimal=True))

    def process_bind_param(self, value: int | None, dialect: Dialect) -> Any:
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int):
            raise TypeError(f"units are int, not {type(value).__name__}")
        if not -UNITS_BOUND < value < UNITS_BOUND:
            raise OverflowError("units need more than 38 digits")
        return sqlite_units(value) if dialect.name == "sqlite" else Decimal(value)

    def process_result_value(self, value: Any, dialect: Dialect) -> int | None:
        if value is None:
            return None
        if dialect.name != "sqlite":
            return int(value)
        if not isinstance(value, str):  # an aggregate such as SUM, which SQLite makes a float of
            raise TypeError("units are added in Python, never in SQL")
        return int(value) - _BIAS


class total(FunctionElement[int]):  # in lower case, as it reads in a query
    """The exact sum of a `Units` column, NULL without rows. SQLite asks `SqliteTotal`, which each connection registers
    under this name: adding rows up there takes a tenth of what fetching them takes."""

    name = "units_total"
    type = Units()
    inherit_cache = True


@compiles(total)
def _total(element: total, compiler: Any, **options: Any) -> str:
    return f"SUM({compiler.process(element.clauses, **options)})"


@compiles(total, "sqlite")
def _total_sqlite(element: total, compiler: Any, **options: Any) -> str:
    return f"units_total({compiler.process(element.clauses, **options)})"


class SqliteTotal:
    """An aggregate for sqlite3: whole numbers of any size, out of and into SQLite's form of `Units`."""

    def __init__(self) -> None:
        self._sum: int | None = None

    def step(self, text: str | None) -> None:
        if text is not None:
            self._sum = (self._sum or 0) + int(text) - _BIAS

    def finalize(self) -> str | None:
        return None if self._sum is None else str(self._sum + _BIAS)


def units_checks(column: str, *, positive: bool) -> tuple[CheckConstraint, ...]:
    """CHECKs that refuse a negative (or, with `positive`, a zero) amount, and on SQLite any ill-formed text."""
    sign, name = (">" if positive else ">="), f"{column}_{'positive' if positive else 'not_negative'}"
    text = (
        f"typeof({column}) = 'text' AND length({column}) = {_WIDTH} AND {column} NOT GLOB '*[^0-9]*' "
        f"AND {column} {sign} '{sqlite_units(0)}' AND {column} < '{sqlite_units(UNITS_BOUND)}'"
    )
    return (
        CheckConstraint(text, name=name).ddl_if(dialect="sqlite"),
        CheckConstraint(f"{column} {sign} 0", name=name).ddl_if(
            dialect=("mysql", "mariadb")  # type: ignore[arg-type]  # a tuple works and is documented for execute_if
        ),
    )
