"""Swaps by deposit as a shop makes them, on the two model chains: BTC is sold, XMR is bought."""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Mapping
from typing import Any, ClassVar

from sqlalchemy import Row, select

from jobs.caller import Caller
from jobs.swap import open as swap_open
from jobs.swap import quotes
from jobs.swap.books import Wish
from jobs.withdrawal import ENDED
from ledger.money import BTC, XMR, Asset
from ledger.schema import address, alarm, event, swap, task, transfer
from ledger.schema import withdrawal as withdrawals
from tests.clock import Clock
from tests.flows.trade_engine import PRICES, TradeEngine

#: What is sold unless a test says otherwise, and what it is quoted at: 400 XMR for one BTC, 0.5 % spread, 0.25 % fee.
SELL = 10_000_000
BOUGHT = SELL * 4_000_000 * 995 // 1000 * 9975 // 10_000
#: What a payout of XMR and a refund of BTC cost their customer.
XMR_FEE, BTC_FEE = 5 * 10**8, 2_000
#: Periodic work that swaps need; all else rests, for the sake of time.
WORK = ("scan", "batch", "watch")


class Desk:
    """The engine, its clock, and what tests ask of swaps."""

    coins: ClassVar[Mapping[str, Asset]] = {"BTC": BTC, "XMR": XMR}

    def __init__(self, engine: TradeEngine, clock: Clock) -> None:
        self.engine = engine
        self.clock = clock
        everything = [row.name for row in engine.rows(task)]
        engine.resting |= {name for name in everything if name.partition(":")[0] not in WORK}
        self.start = self._inventory()

    def quote(self, *, sell: int = SELL, payout: bool = True) -> dict[str, Any]:
        ask = quotes.Ask(BTC, XMR, "sell", sell, payout)
        return self._run(lambda tx: quotes.ask(tx, self.engine.caller, ask, self.engine.services))

    def open(self, *, sell: int = SELL, account: int | None = None, refund: str | None = "new", **wish: Any) -> int:
        """A swap that waits for its deposit, paid out and refunded outside unless said otherwise; its row id."""
        asked = self.wish(account=account, refund=refund, **wish)
        return self.accept(self.quote(sell=sell, payout=asked.payout_address is not None)["id"], asked)

    def wish(self, *, account: int | None = None, refund: str | None = "new", **more: Any) -> Wish:
        payout = more.pop("payout_address", self.engine.outside("XMR"))
        back = self.engine.outside("BTC") if refund == "new" else refund
        return Wish(account or self.engine.account(), secrets.token_hex(8), payout, back, **more)

    def accept(self, quote_id: str, wish: Wish, caller: Caller | None = None) -> int:
        made = self._run(
            lambda tx: swap_open.make(tx, caller or self.engine.caller, quote_id, wish, self.engine.services)
        )
        return int(
            self.engine.database.read(lambda tx: tx.value(select(swap.c.id).where(swap.c.public_id == made["id"])))
        )

    def pay(self, swap_id: int, units: int = SELL, blocks: int = 6) -> str:
        """A payment to the swap's address, seen and (with enough blocks) credited. Its txid."""
        txid = self.send(swap_id, units, blocks)
        self.work()
        return txid

    def send(self, swap_id: int, units: int = SELL, blocks: int = 6) -> str:
        return self.engine.pay_in(self.home(swap_id).address, units, "BTC", blocks)

    def home(self, swap_id: int) -> Row[Any]:
        """The row of the address that it waits at."""
        return self.engine.row(address, self.row(swap_id).address_id)

    def mine(self, blocks: int = 6) -> None:
        self.engine.chain.mine(blocks)
        self.work()

    def pass_by(self, **time: int) -> None:
        """So much time goes by, and rates stay as fresh as they were."""
        self.clock.forward(**time)
        self.engine.tick(2)  # the first one reads the chains again, which were read long ago

    def late(self) -> None:
        """The deposit's time is over."""
        self.clock.forward(minutes=21)
        self.engine.set_rates(**PRICES)
        self.engine.tick(2)

    def work(self) -> None:
        self.engine.tick()

    def settle(self) -> None:
        """Payouts and refunds are sent and buried."""
        for _ in range(2):
            self.work()
            for chain in self.engine.chains.values():
                chain.mine(12)
        self.work()

    def row(self, swap_id: int) -> Row[Any]:
        return self.engine.row(swap, swap_id)

    def state(self, swap_id: int) -> tuple[str, str | None]:
        row = self.row(swap_id)
        return row.state, row.status_reason

    def got(self, swap_id: int) -> int:
        """What the chain has paid to the payout address."""
        return self.engine.received(self.row(swap_id).payout_address, "XMR")

    def refunded(self, swap_id: int) -> int:
        return self.engine.received(self.row(swap_id).refund_address, "BTC")

    def balance(self, swap_id: int, asset: str, kind: str = "available") -> int:
        return self.engine.balance(self.row(swap_id).account_id, kind, asset)

    def told(self, swap_id: int) -> list[str]:
        """The swap's events so far."""
        name = self.row(swap_id).public_id
        return [row.type.removeprefix("swap.") for row in self.engine.rows(event) if row.resource_id == name]

    def alarms(self) -> list[str]:
        return [f"{row.name} {row.subject} {row.detail}" for row in self.engine.rows(alarm) if row.open == 1]

    def check(self) -> None:
        """Nothing lost, nothing paid twice: books and chains agree, and the inventory has moved by the swaps alone."""
        self.engine.check_invariants()
        rows = self.engine.rows(swap)
        moved: Counter[str] = Counter()
        for row in rows:
            assert row.held_units == 0 or row.state in ("awaiting_deposit", "expired", "refunding")
            if row.executed_at is not None:
                assert row.refund_withdrawal_id is None
                moved["BTC"] += row.sell_units
                fees = row.service_fee_units + row.network_fee_units + row.rounding_units
                moved["XMR"] -= row.buy_units + fees
        for code, units in self._inventory().items():
            assert units == self.start[code] + moved[code], code
        assert self.engine.guarded("reserved", "XMR") == sum(row.reserved_units for row in rows)
        for account_id in {row.account_id for row in rows}:
            held = sum(row.held_units for row in rows if row.account_id == account_id)
            assert self.engine.balance(account_id, "swap", "BTC") == held
        self._check_paid_once(rows)

    def _check_paid_once(self, rows: list[Row[Any]]) -> None:
        """Each exchange is one pair of transfers; whatever left, left by the one withdrawal that the swap names."""
        keys = Counter(t.transfer_key for t in self.engine.rows(transfer))
        for row in rows:
            once = int(row.executed_at is not None)
            assert [keys[f"swap:{row.id}:{leg}"] for leg in ("sell", "buy")] == [once, once]
        named = {row.withdrawal_id for row in rows} | {row.refund_withdrawal_id for row in rows}
        made = {w.id for w in self.engine.rows(withdrawals) if w.reference.startswith("swap:")}
        assert made == named - {None}
        for row in rows:
            if row.state in ("completed", "refunded", "failed"):
                ends = [self.engine.state(i) for i in (row.withdrawal_id, row.refund_withdrawal_id) if i is not None]
                assert set(ends) <= set(ENDED)

    def _inventory(self) -> dict[str, int]:
        kinds = ("inventory", "reserved")
        return {code: sum(self.engine.guarded(kind, code) for kind in kinds) for code in ("BTC", "XMR")}

    def _run(self, unit: Any) -> Any:
        return self.engine.database.run(unit, "test_swap")
