"""Triggers: what the database refuses even to hand-written SQL.

Journal, history, audit and signed candidates are append-only; what a withdrawal pays, what a deposit brought, and
whose an account or address is, never changes once written.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from alembic import op


def append_only(tables: Iterable[str]) -> None:
    """Refuse UPDATE and DELETE on these tables."""
    for table in tables:
        for verb in ("UPDATE", "DELETE"):
            _trigger(f"{table}_no_{verb.lower()}", f"BEFORE {verb} ON {table}", None, f"{table} rows are never changed")


def no_delete(tables: Iterable[str]) -> None:
    """Refuse DELETE on these tables."""
    for table in tables:
        _trigger(f"{table}_no_delete", f"BEFORE DELETE ON {table}", None, f"{table} rows are never deleted")


def delete_only(table: str, condition: str) -> None:
    """Refuse DELETE of rows of which `condition`, on OLD, is not true."""
    _trigger(f"{table}_no_delete", f"BEFORE DELETE ON {table}", f"NOT ({condition})", f"{table}: this row must stay")


def no_update(table: str) -> None:
    """Refuse UPDATE."""
    _trigger(f"{table}_no_update", f"BEFORE UPDATE ON {table}", None, f"{table} rows are never changed")


def frozen_columns(table: str, columns: Sequence[str]) -> None:
    """Refuse an UPDATE that changes one of these columns."""
    same = _same()
    changed = " OR ".join(f"NOT (OLD.{c} {same} NEW.{c})" for c in columns)
    _trigger(f"{table}_fixed", f"BEFORE UPDATE ON {table}", changed, f"{table}: what it stands for never changes")


def frozen_once(table: str, column: str, condition: str) -> None:
    """Refuse an UPDATE that changes this column of a row of which `condition`, on OLD, is true."""
    changed = f"{condition} AND NOT (OLD.{column} {_same()} NEW.{column})"
    _trigger(f"{table}_{column}_fixed", f"BEFORE UPDATE ON {table}", changed, f"{table}: {column} never changes")


def set_once(table: str, column: str) -> None:
    """Refuse an UPDATE that changes this column once it is no longer NULL."""
    same = _same()
    changed = f"OLD.{column} IS NOT NULL AND NOT (OLD.{column} {same} NEW.{column})"
    _trigger(f"{table}_{column}_once", f"BEFORE UPDATE ON {table}", changed, f"{table}: {column} never changes")


def final_states(table: str, states: Sequence[str]) -> None:
    """Refuse an UPDATE that leaves one of these states."""
    listed = ", ".join(f"'{s}'" for s in states)
    left = f"OLD.state IN ({listed}) AND NEW.state <> OLD.state"
    _trigger(f"{table}_final", f"BEFORE UPDATE ON {table}", left, f"{table}: this state is final")


def _same() -> str:
    """Equality that takes NULL as a value."""
    return "IS" if op.get_bind().dialect.name == "sqlite" else "<=>"


def _trigger(name: str, when: str, condition: str | None, message: str) -> None:
    if op.get_bind().dialect.name == "sqlite":
        clause = f" WHEN {condition}" if condition else ""
        op.execute(f"CREATE TRIGGER {name} {when}{clause} BEGIN SELECT RAISE(ABORT, '{message}'); END")
    else:
        signal = f"SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = '{message}'"
        body = f"IF {condition} THEN {signal}; END IF" if condition else signal
        op.execute(f"CREATE TRIGGER {name} {when} FOR EACH ROW {body}")
