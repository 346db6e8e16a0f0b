"""More that random lives do: calls that come twice, many at once in one call, and operators who stop things.

None of it leaves a state of its own behind: what is stopped goes on at the end of the same step.
"""

from __future__ import annotations

from collections import Counter
from fractions import Fraction
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import Bundle, rule
from sqlalchemy import select

from ledger import accounts, pauses
from ledger.db import Tx
from ledger.schema import account
from tests.flows.trade_engine import TradeEngine
from tests.flows.trade_shop import TradeShop, new_name, text
from tests.integration.trades_model import CODES

CODE = st.sampled_from(CODES)
SHARE = st.fractions(0, Fraction(3, 2))
#: A withdrawal's least amount and its fee.
LEAST = {"BTC": 20_000, "XMR": 2 * 10**10}
FEE = {"BTC": 2_000, "XMR": 10**12 // 2_000}
FLOWS = ("transfers", "withdrawals", "escrows")


class Again:
    """Rules for a machine that has `engine`, `shop`, `own`, `away` and `refused`."""

    engine: TradeEngine
    shop: TradeShop
    own: Counter[tuple[str, str]]
    away: Counter[tuple[str, str]]
    refused: Any

    @rule(giver=Bundle("accounts"), taker=Bundle("accounts"), code=CODE, share=SHARE)
    def pays_and_asks_again(self, giver: str, taker: str, code: str, share: Fraction) -> None:
        """The same reference under another key, also when there is nothing left: it is told what it has made."""
        units = int(self.own[giver, code] * share)
        if giver == taker or not 0 < units <= self.own[giver, code]:
            return
        order = {"from_account": giver, "to_account": taker, "asset": code, "reference": new_name()}
        self.shop.post("transfers", **order, amount=text(units, code))
        self.own[giver, code] -= units
        self.own[taker, code] += units
        for amount in (units, 1):
            self.refused(
                "reference_exists", lambda a=amount: self.shop.post("transfers", **order, amount=text(a, code))
            )

    @rule(name=Bundle("accounts"), code=CODE, count=st.integers(1, 4), share=SHARE)
    def withdraws_many(self, name: str, code: str, count: int, share: Fraction) -> None:
        """All of a batch or none of it; the batch again is told what it has made."""
        units = max(LEAST[code], int(self.own[name, code] * share / count))
        orders = [self.order(name, code, units) for _ in range(count)]
        total = count * (units + FEE[code])
        if total > self.own[name, code]:
            self.refused("insufficient_funds", lambda: self.shop.post("withdrawals/batch", withdrawals=orders))
            return
        self.shop.post("withdrawals/batch", withdrawals=orders)
        self.own[name, code] -= total
        self.away[name, code] += total
        self.refused("reference_exists", lambda: self.shop.post("withdrawals/batch", withdrawals=orders))

    def order(self, name: str, code: str, units: int) -> dict[str, Any]:
        payee = self.engine.outside(code)
        return {"account": name, "asset": code, "amount": text(units, code), "address": payee, "reference": new_name()}

    @rule(name=Bundle("accounts"), other=Bundle("accounts"), code=CODE)
    def is_frozen_for_a_while(self, name: str, other: str, code: str) -> None:
        """Nothing leaves it by any way; what is there stays its own."""
        query = select(account.c.id).where(account.c.public_id == name)
        row_id = self.engine.database.read(lambda tx: tx.value(query))
        self.operator(lambda tx: accounts.freeze(tx, row_id, "tests"))
        order = self.order(name, code, LEAST[code])
        self.refused("account_frozen", lambda: self.shop.post("withdrawals", **order))
        if name != other:
            self.refused("account_frozen", lambda: self.shop.transfer(name, other, code, 1))
        self.operator(lambda tx: accounts.unfreeze(tx, row_id, "tests"))

    @rule(name=Bundle("accounts"), other=Bundle("accounts"), code=CODE)
    def all_is_stopped_for_a_while(self, name: str, other: str, code: str) -> None:
        for flow in FLOWS:
            self.operator(lambda tx, f=flow: pauses.stop(tx, code, f, "tests", "tests"))
        order = self.order(name, code, LEAST[code])
        self.refused("asset_disabled", lambda: self.shop.post("withdrawals", **order))
        if name != other:
            self.refused("asset_disabled", lambda: self.shop.transfer(name, other, code, 1))
            self.refused("asset_disabled", lambda: self.shop.escrow(name, other, code, 1))
        for flow in FLOWS:
            self.operator(lambda tx, f=flow: pauses.resume(tx, code, f, "tests"))

    def operator(self, act: Any) -> None:
        def unit(tx: Tx) -> None:
            act(tx)

        self.engine.database.run(unit, "operator")
