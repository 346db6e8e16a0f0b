"""A deposit was exchanged, and what was bought with it passed on in the other asset, before it left the chain."""

from __future__ import annotations

import secrets

import pytest

from jobs import transfers
from jobs.escrow import frozen_parts
from jobs.explain import explain
from ledger.errors import StateConflict
from ledger.schema import frozen_part
from tests.flows.swapping import BTC, accept, ask, units
from tests.flows.trade_engine import TradeEngine


@pytest.mark.parametrize("passed_on", [1, 3])
def test_what_a_swap_bought_and_others_have_is_frozen_in_its_own_asset(trades: TradeEngine, passed_on: int) -> None:
    owner, third = trades.account(), trades.account()
    txid = trades.pay_in(trades.address(owner).address, BTC // 10, "BTC", 6)
    trades.tick()
    made = accept(trades, owner, ask(trades, "BTC", "XMR", sells=BTC // 10))
    bought = units(made, "buy")
    given = bought * passed_on // 3
    order = transfers.Order(owner, third, "XMR", given, secrets.token_hex(8))
    trades.database.run(lambda tx: transfers.make(tx, trades.caller, order), "test_transfer")

    trades.chain.reorg(6, gone=[txid])
    trades.tick()
    assert trades.balance(owner, "receivable", "BTC") == BTC // 10
    assert trades.frozen(owner) == "reorg_debt"  # which keeps what it has of the other asset, too
    (part,) = trades.rows(frozen_part)
    assert (part.account_id, part.asset, part.units, part.live) == (third, "XMR", given, 1)
    assert trades.available(third, "XMR") == 0
    with pytest.raises(StateConflict, match="was bought with it"):
        trades.database.run(lambda tx: frozen_parts.take(tx, part.id, "operator:ada"), "test_take")
    trades.check_invariants()
    said = trades.database.read(lambda tx: explain(tx, txid)).trace
    assert any(f"sold by {made['id']} for" in line for line in said)

    trades.chain.submit(trades.chain.transaction(txid))
    trades.chain.mine(6)
    trades.tick()
    assert trades.balance(owner, "receivable", "BTC") == 0
    assert (trades.frozen(owner), trades.available(third, "XMR")) == (None, given)
    trades.check_invariants()
