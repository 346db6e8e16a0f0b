"""The two-chain engine of the trade tests itself: two assets, two chains, inventory of both, rates for both."""

from __future__ import annotations

from tests.flows.trade_engine import INVENTORY, TradeEngine


def test_two_chains_pay_in_and_out_beside_each_other(trades: TradeEngine) -> None:
    account = trades.funded_in(BTC=10**8, XMR=3 * 10**12)
    payees = {code: trades.outside(code) for code in ("BTC", "XMR")}
    rows = [
        trades.withdraw(account, 10**7, payees["BTC"], asset="BTC"),
        trades.withdraw(account, 10**12, payees["XMR"], asset="XMR"),
    ]
    trades.settle()
    assert [trades.state(row) for row in rows] == ["completed", "completed"]
    assert trades.received(payees["BTC"], "BTC") == 10**7
    assert trades.received(payees["XMR"], "XMR") == 10**12
    assert {code: trades.guarded("inventory", code) for code in INVENTORY} == INVENTORY
    trades.check_invariants()
