"""A debt ends in the moment in which the account comes to owe more (FAULTS E2, H): whoever commits first, who owes is
frozen, and what is frozen for the debt stays so. MariaDB only: SQLite has one writer.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable
from typing import Any

import pytest

from devstack.mariadb import MariaDB
from jobs import debts, transfers
from jobs.resolve import accounts as resolve_accounts
from jobs.trace import dependants
from ledger import accounts, postings
from ledger.accounts import house
from ledger.db import Tx
from ledger.postings import Leg
from ledger.schema import account, deposit, frozen_part
from tests.flows.engine import Engine
from tests.flows.escrow_desk import Desk
from tests.flows.lock_waits import PATIENCE_SECONDS, beside, server_of

#: What ends a debt in bitcoin of an account, given by its row id and by its public id.
End = Callable[[Tx, int, str], object]


@pytest.fixture
def server(engine: Engine, request: pytest.FixtureRequest) -> MariaDB:
    return server_of(engine.database, request)


def meanwhile(engine: Engine, server: MariaDB, first: Callable[[Tx], object], second: Callable[[Tx], object]) -> None:
    """The transaction `second` begins when all that `first` does is done but for its COMMIT, and ends when it can."""
    others: list[threading.Thread] = []

    def unit(tx: Tx) -> None:
        first(tx)
        if not others:
            others.append(beside(server, lambda: engine.database.run(second, "test_second")))

    engine.database.run(unit, "test_first")
    (other,) = others
    other.join(PATIENCE_SECONDS)
    assert not other.is_alive()


def take(tx: Tx, owner: int, code: str) -> None:
    """A deposit of 500 is gone, and spent."""
    debts.take_back(tx, owner, code, 500, f"test:{secrets.token_hex(4)}", ("account", owner))


def repay(tx: Tx, owner: int) -> None:
    key = f"test:{secrets.token_hex(4)}"
    leg = Leg(house("treasury_hot"), (owner, "available"), 500)
    postings.post(tx, key, "deposit", "BTC", [leg], ("account", owner))
    debts.collect(tx, owner, "BTC", key)


def debtor(engine: Engine) -> tuple[int, str]:
    """An account that has owed in either asset before: the first time a foreign key locks its row. Its ids."""
    owner = engine.account()
    kinds = [(owner, "available"), (owner, "receivable")]
    engine.database.run(lambda tx: [accounts.find(tx, kinds, code) for code in ("BTC", "ETH")], "test_accounts")
    return owner, engine.row(account, owner).public_id


ENDS: dict[str, End] = {
    "repaid": lambda tx, owner, _: repay(tx, owner),
    "written_off": lambda tx, _, name: resolve_accounts.write_off(tx, name, "BTC", "operator:ada"),
}


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
def test_who_comes_to_owe_in_another_asset_while_a_debt_ends_stays_frozen(
    engine: Engine, server: MariaDB, end: End
) -> None:
    owner, name = debtor(engine)
    engine.database.run(lambda tx: take(tx, owner, "BTC"), "test_debt")
    assert engine.frozen(owner) == "reorg_debt"
    meanwhile(engine, server, lambda tx: take(tx, owner, "ETH"), lambda tx: end(tx, owner, name))
    assert [engine.balance(owner, "receivable", code) for code in ("BTC", "ETH")] == [0, 500]
    assert engine.frozen(owner) == "reorg_debt"


def test_who_comes_to_owe_while_an_operator_unfreezes_him_stays_frozen(engine: Engine, server: MariaDB) -> None:
    (owner, name), actor = debtor(engine), "operator:ada"
    engine.database.run(lambda tx: resolve_accounts.freeze_account(tx, name, "a question", actor), "test_freeze")
    end: Callable[[Tx], object] = lambda tx: resolve_accounts.unfreeze_account(tx, name, actor)  # noqa: E731
    meanwhile(engine, server, lambda tx: take(tx, owner, "ETH"), end)
    assert (engine.balance(owner, "receivable", "ETH"), engine.frozen(owner)) == (500, "reorg_debt")


def test_a_part_that_pays_a_debt_which_grows_meanwhile_thaws_nothing_else(
    engine: Engine, server: MariaDB, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk, third = Desk(engine), engine.account()
    older = spent(desk, 70_000, third)
    newer = spent(desk, 500_000, desk.vendor)
    desk.lose(newer, 6)
    (part,) = engine.rows(frozen_part)
    assert (part.account_id, engine.balance(desk.buyer, "receivable")) == (desk.vendor, 500_000)
    engine.chain.reorg(13, gone=[older])
    engine.run_task("scan")
    (paid,) = [row for row in engine.rows(deposit) if row.txid == older]
    real, others = dependants.freeze, list[threading.Thread]()

    def freezes(tx: Tx, *args: Any) -> None:
        if not others:
            others.append(beside(server, lambda: desk.take(part.id)))
        real(tx, *args)

    monkeypatch.setattr(dependants, "freeze", freezes)
    engine.runtime.advance("deposit", paid.id)
    (other,) = others
    other.join(PATIENCE_SECONDS)
    assert not other.is_alive()
    assert engine.balance(desk.buyer, "receivable") == 70_000
    assert [(row.account_id, row.units) for row in engine.rows(frozen_part) if row.live == 1] == [(third, 70_000)]
    assert engine.frozen(desk.buyer) == "reorg_debt"
    assert "money_frozen" in {name for name, _ in engine.alarms()}
    desk.check()


def spent(desk: Desk, units: int, taker: int) -> str:
    """A deposit of the buyer's, credited and passed on; its txid."""
    txid = desk.engine.chain.fund(desk.engine.address(desk.buyer).address, units, blocks=6)
    desk.engine.tick()
    order = transfers.Order(desk.buyer, taker, "BTC", units, secrets.token_hex(8))
    desk.run(lambda tx: transfers.make(tx, desk.engine.caller, order))
    return txid
