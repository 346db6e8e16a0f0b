"""`coffer verify-history` and the daily task behind it: whatever is changed in a history by hand, it is found."""

from __future__ import annotations

import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, insert, text, update

from jobs import accounts
from jobs.ownership import heads as ownership_heads
from ledger import ownership
from ledger.db import Tx
from ledger.ids import new_id
from ledger.schema import account, alarm, audit, audit_head, deposit, escrow, ownership_head
from ledger.schema import ownership as table
from ledger.schema.ownership import SUBJECTS
from tests.ops.installation import ROW_MAC_KEY, Installation

Install = Callable[..., Installation]

#: What stands in the way of somebody who writes to the database by hand, and may drop triggers too.
GUARDS = [("ownership", "update"), ("ownership", "delete"), ("ownership_head", "delete"), ("audit", "update")]


@pytest.fixture(params=["sqlite", "mariadb"])
def here(request: pytest.FixtureRequest, install: Install) -> Iterator[Installation]:
    """Three deposits to one order, and a database that lets itself be tampered with."""
    found = install(dialect=request.param)
    engine = found.engine
    owner = engine.database.run(lambda tx: accounts.create(tx, engine.caller, "order 1", "order").id, "test")
    for units in (70_000, 80_000, 90_000):
        engine.chain.fund(engine.address(owner).address, units, blocks=6)
    engine.tick()
    for name, verb in GUARDS:
        found.database.run(lambda tx, n=name, v=verb: tx.execute(text(f"DROP TRIGGER {n}_no_{v}")), "t")  # type: ignore[misc]
    yield found
    if request.param == "mariadb":  # the database is shared by the tests of a process
        for name, verb in GUARDS:
            guard = f"CREATE TRIGGER {name}_no_{verb} BEFORE {verb.upper()} ON {name} FOR EACH ROW "
            guard += f"SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = '{name} rows are never {verb}d'"
            found.database.run(lambda tx, g=guard: tx.execute(text(g)), "t")  # type: ignore[misc]


def do(here: Installation, statement: Any) -> None:
    assert here.database.run(lambda tx: tx.execute(statement), "t").rowcount >= 1


def chain_of(here: Installation, kind: str) -> list[Any]:
    return [row for row in here.engine.rows(table) if row.subject_kind == kind]


def broken(here: Installation, *arguments: str) -> str:
    result = here.coffer("verify-history", *arguments)
    assert result.exit_code == 1, result.output
    return str(result.stderr)


def test_whole_histories_are_told_to_be_whole(here: Installation) -> None:
    assert here.said("verify-history") == "4 histories with 6 rows, whole\n"
    order = here.engine.row(account, chain_of(here, "order")[0].subject_id).public_id
    assert here.said("verify-history", order) == "1 histories with 3 rows, whole\n"
    assert "no deposit, order or escrow dp_1" in here.refused("verify-history", "dp_1")


CHANGES: dict[str, Any] = {
    "subject_kind": next(kind for kind in SUBJECTS if kind == "escrow"),
    "subject_id": 999,
    "number": 9,
    "event": "released",
    "account_id": 1,
    "place": "held",
    "asset": "XMR",
    "units": 70_001,
    "reason": "why not",
    "cause_kind": "transfer",
    "cause_id": 77,
    "at": 1,
    "previous_hash": "1" * 64,
    "hash": "2" * 64,
}


def test_every_column_of_a_row_is_tried() -> None:
    """But for its own number in the table, which says nothing of who owned what."""
    assert CHANGES.keys() == {column.name for column in table.c} - {"id"}


@pytest.mark.parametrize("column", CHANGES)
def test_a_changed_column_of_a_row_is_found_and_the_row_named(here: Installation, column: str) -> None:
    row = chain_of(here, "order")[1]
    do(here, update(table).where(table.c.id == row.id).values({column: CHANGES[column]}))
    assert "row 2" in broken(here)


def test_a_missing_row_is_found(here: Installation) -> None:
    row = chain_of(here, "order")[1]
    do(here, delete(table).where(table.c.id == row.id))
    assert "row 2 is missing" in broken(here)


def test_rows_that_changed_places_are_found(here: Installation) -> None:
    first, second, _ = chain_of(here, "order")
    do(here, update(table).where(table.c.id == first.id).values(number=7))
    do(here, update(table).where(table.c.id == second.id).values(number=1))
    do(here, update(table).where(table.c.id == first.id).values(number=2))
    assert "row 1 does not follow" in broken(here)


def test_a_row_added_by_hand_is_found(here: Installation) -> None:
    last = chain_of(here, "order")[-1]
    row = dict(last._mapping) | {"id": last.id + 100, "number": 4, "units": 10**9, "previous_hash": last.hash}
    do(here, insert(table).values(row | {"hash": ownership.digest(row)}))
    assert "row 4 is its last, its head is of row 3" in broken(here)


def test_a_history_that_vanished_whole_is_found_by_what_the_ledger_says(here: Installation) -> None:
    row = chain_of(here, "deposit")[0]
    do(here, delete(table).where(table.c.id == row.id))
    subject = (ownership_head.c.subject_kind == "deposit") & (ownership_head.c.subject_id == row.subject_id)
    do(here, delete(ownership_head).where(subject))
    assert "its history does not end so" in broken(here)


def test_a_deposit_and_an_escrow_whose_amounts_were_changed_by_hand_are_found(here: Installation) -> None:
    """Their histories are whole, and tell otherwise."""
    owner = chain_of(here, "order")[0].account_id
    project = here.engine.caller.project_id

    def unit(tx: Tx) -> None:
        values = {"public_id": new_id("es"), "project_id": project, "queue": "tasks", "asset": "BTC"}
        values |= {"buyer_id": owner, "vendor_id": owner, "units": 500, "fee_units": 0, "fee_from": "buyer"}
        values |= {"wanted_units": 500, "held_units": 500, "reference": "r", "actor": "t", "arbiter": "key"}
        values |= {"on_underpaid": "wait", "on_overpaid": "keep", "on_late": "hold", "state": "funded"}
        row_id = tx.insert(insert(escrow).values(values | {"created_at": tx.now, "updated_at": tx.now}))
        ownership.record(tx, ("escrow", row_id), "funded", (owner, "escrow"), "BTC", 500, ("escrow", row_id))
        ownership.record(tx, ("escrow", row_id), "released", (owner, "available"), "BTC", 0, ("escrow", row_id))

    here.database.run(unit, "t")
    assert "5 histories" in here.said("verify-history")
    do(here, update(escrow).values(held_units=501))
    assert "the ledger has 501 units in it, its history 500" in broken(here)
    do(here, update(escrow).values(held_units=500))
    do(here, update(deposit).where(deposit.c.units == 70_000).values(credited=0, credited_to=None))
    assert "the ledger has it taken back" in broken(here)


def forge_end(here: Installation) -> None:
    """Take the order's last row away as someone would who knows how hashes are made: the chain is whole without it."""
    *_, before, last = chain_of(here, "order")
    do(here, delete(table).where(table.c.id == last.id))
    subject = (ownership_head.c.subject_kind == "order") & (ownership_head.c.subject_id == last.subject_id)
    do(here, update(ownership_head).where(subject).values(number=before.number, hash=before.hash))


def test_a_chain_cut_off_is_found_by_an_exported_head(here: Installation, tmp_path: Path) -> None:
    file = tmp_path / "heads.txt"
    assert "4 heads written" in here.said("verify-history", "--export", str(file))
    assert "every head" in here.said("verify-history", "--against", str(file))
    forge_end(here)
    assert "whole" in here.said("verify-history")
    assert "row 3 was exported, and is gone or another now" in broken(here, "--against", str(file))


def test_a_rewritten_chain_is_found_by_an_exported_head(here: Installation, tmp_path: Path) -> None:
    file = tmp_path / "heads.txt"
    here.said("verify-history", "--export", str(file))
    last = chain_of(here, "order")[-1]
    changed = dict(last._mapping) | {"units": 1}
    changed["hash"] = ownership.digest(changed)
    do(here, update(table).where(table.c.id == last.id).values(units=1, hash=changed["hash"]))
    subject = (ownership_head.c.subject_kind == "order") & (ownership_head.c.subject_id == last.subject_id)
    do(here, update(ownership_head).where(subject).values(hash=changed["hash"]))
    assert "whole" in here.said("verify-history")
    assert "row 3 was exported" in broken(here, "--against", str(file))


def test_a_rewritten_audit_log_is_found_by_an_exported_head(here: Installation, tmp_path: Path) -> None:
    here.said("pause", "BTC", "swaps", "--reason", "a drill")
    file = tmp_path / "heads.txt"
    here.said("verify-history", "--export", str(file))
    last = here.engine.rows(audit)[-1]
    do(here, update(audit).where(audit.c.id == last.id).values(hash="3" * 64))
    do(here, update(audit_head).values(hash="3" * 64))
    assert f"audit log: row {last.id} was exported" in broken(here, "--against", str(file))


def test_histories_that_grew_since_still_have_the_exported_heads(here: Installation, tmp_path: Path) -> None:
    file = tmp_path / "heads.txt"
    here.said("verify-history", "--export", str(file))
    owner = chain_of(here, "order")[0].account_id
    here.chain.fund(here.engine.address(owner).address, 60_000, blocks=6)
    here.engine.tick()
    assert "5 histories with 8 rows, whole" in here.said("verify-history", "--against", str(file))


def test_a_file_that_was_touched_proves_nothing(here: Installation, tmp_path: Path) -> None:
    file = tmp_path / "heads.txt"
    here.said("verify-history", "--export", str(file))
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    good = file.read_text()
    lines = good.splitlines(keepends=True)
    for touched in (
        "".join(lines[:2] + lines[3:]),  # one head left out
        "".join(lines[:-1]),  # cut off
        good.replace(" 3 ", " 2 "),
        good.replace("coffer-heads 1 in_", "coffer-heads 1 in_0"),
        good + "\n",
        "",
    ):
        assert touched != good
        file.write_text(touched)
        assert "heads" in here.refused("verify-history", "--against", str(file))
    file.write_text(good)
    here.variables["COFFER_ROW_MAC_KEY"] = "ab" * 32
    assert "another key" in here.refused("verify-history", "--against", str(file))
    here.variables["COFFER_ROW_MAC_KEY"] = ROW_MAC_KEY
    assert "cannot be read" in here.refused("verify-history", "--against", str(tmp_path / "none"))
    assert "No such file" in here.refused("verify-history", "--export", str(tmp_path / "none" / "heads"))


# The daily task


def run_heads(here: Installation, folder: Path) -> set[str]:
    """The names of the open alarms after it ran."""
    here.engine.services.export_dir = folder
    step = ownership_heads.task_step(None, here.engine.services)  # type: ignore[arg-type]

    def finish(tx: Tx) -> None:
        assert step.effect is not None
        step.effect(tx, None)  # type: ignore[arg-type]

    here.database.run(finish, "t")
    return {row.name for row in here.engine.rows(alarm) if row.open == 1 and row.subject == "histories"}


def test_each_day_leaves_a_file_of_heads_until_a_history_is_broken(here: Installation, tmp_path: Path) -> None:
    folder = tmp_path / "exports"
    assert run_heads(here, folder) == {"heads_not_exported"}  # there is no such folder
    folder.mkdir()
    assert run_heads(here, folder) == set()
    assert run_heads(here, folder) == set()
    first, second = sorted(folder.iterdir())
    assert "every head" in here.said("verify-history", "--against", str(first))
    forge_end(here)
    for _ in range(2):  # the last good file stays what it is compared with
        assert run_heads(here, folder) == {"history_broken"}
    assert sorted(folder.iterdir()) == [first, second]
