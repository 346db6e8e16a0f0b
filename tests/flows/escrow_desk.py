"""A shop's escrow desk for tests: a buyer, a vendor, and the calls an API would make."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Any

from sqlalchemy import Row, func, select, update

from jobs import transfers
from jobs.escrow import ending as escrow_ending
from jobs.escrow import frozen_parts
from jobs.escrow import funding as escrow_funding
from jobs.escrow import make as escrow_make
from jobs.escrow.terms import Parts, parts_of
from jobs.ownership import verify as ownership_verify
from ledger import balances
from ledger.db import Tx
from ledger.money import BTC
from ledger.schema import address, escrow, ledger_account, ownership
from ledger.schema import balance as balance_table
from tests.flows.engine import Engine

HOUR = 3_600 * 1_000_000


class Desk:
    """`engine` in its own words. The price is 500 000 unless a test names another."""

    def __init__(self, engine: Engine, vendor: int | None = None) -> None:
        self.engine = engine
        self.buyer = engine.account()
        self.vendor = vendor or engine.account()

    def another(self) -> Desk:
        """The same shop, with another buyer and another vendor."""
        return Desk(self.engine)

    def run(self, unit: Callable[[Tx], Any]) -> Any:
        return self.engine.database.run(unit, "test_escrow")

    def make(self, units: int = 500_000, **terms: Any) -> int:
        given = {"buyer_id": self.buyer, "vendor_id": self.vendor, "asset": BTC, "reference": secrets.token_hex(8)}
        wish = escrow_make.Terms(units=units, **(given | terms))
        return int(self.run(lambda tx: escrow_make.create(tx, self.engine.caller, wish, self.engine.services)).id)

    def by_address(self, units: int = 500_000, hours: int | None = 1, **terms: Any) -> int:
        """One with an address of its own, to be funded within so many hours."""
        deadline = None if hours is None else self.engine.database.now() + hours * HOUR
        return self.make(units, address=True, funding_deadline=deadline, **terms)

    def funded(self, units: int = 500_000, **terms: Any) -> int:
        """One that is funded from the buyer's balance."""
        escrow_id = self.make(units, **terms)
        self.top_up(self.row(escrow_id).wanted_units)
        self.fund(escrow_id)
        return escrow_id

    def top_up(self, units: int, account_id: int | None = None) -> None:
        """Money to spend, for the buyer unless another account is named."""
        owner = account_id or self.buyer
        before = self.engine.available(owner)
        self.engine.chain.fund(self.engine.address(owner).address, units, blocks=6)
        self.engine.tick()
        assert self.engine.available(owner) == before + units

    def paid_in(self, units: int) -> str:
        """A deposit to the buyer's balance, credited; its txid."""
        txid = self.engine.chain.fund(self.engine.address(self.buyer).address, units, blocks=6)
        self.engine.tick()
        return txid

    def give(self, giver: int, taker: int, units: int) -> None:
        """A transfer between two accounts."""
        order = transfers.Order(giver, taker, "BTC", units, secrets.token_hex(8))
        self.run(lambda tx: transfers.make(tx, self.engine.caller, order))

    def pay(self, escrow_id: int, units: int, blocks: int = 6) -> str:
        """An outside payment to the escrow's address; its txid."""
        text = self.engine.row(address, self.row(escrow_id).address_id).address
        txid = self.engine.chain.fund(text, units, blocks=blocks)
        self.engine.tick()
        return txid

    def again(self, txid: str) -> None:
        """A transaction that had vanished is sent and mined again."""
        self.engine.chain.submit(self.engine.chain.transaction(txid))
        self.engine.chain.mine(6)
        self.engine.tick()

    def lose(self, txid: str, blocks: int) -> None:
        """The blocks from this payment on are undone, and it is gone."""
        self.engine.chain.reorg(blocks, gone=[txid])
        self.engine.tick()

    def over(self, escrow_id: int, *moments: str) -> None:
        """These moments of the escrow are past, by the database's clock; its step runs."""
        self.past(escrow_id, *moments)
        self.step(escrow_id)

    def past(self, escrow_id: int, *moments: str) -> None:
        """As `over`, but no worker has looked at it yet."""
        values = dict.fromkeys(moments or ("funding_deadline",), 1)
        row = self.row(escrow_id)
        self.run(lambda tx: tx.execute(update(escrow).where(escrow.c.id == escrow_id).values(values)))
        if "funding_deadline" in values and row.address_id is not None:
            past = update(address).where(address.c.id == row.address_id).values(expires_at=1)
            self.run(lambda tx: tx.execute(past))

    def step(self, escrow_id: int) -> None:
        """The step runs now, whenever it is due."""
        e = escrow.c
        self.run(
            lambda tx: tx.execute(
                update(escrow).where(e.id == escrow_id, e.due_at.is_not(None)).values(due_at=1, lease_until=0)
            )
        )
        self.engine.runtime.advance("escrow", escrow_id)

    # What a shop asks for

    def fund(self, escrow_id: int, units: int | None = None, payer: int | None = None) -> Any:
        return self.run(lambda tx: escrow_funding.fund(tx, self.engine.caller, escrow_id, units, payer))

    def decide(self, escrow_id: int, decision: str) -> Any:
        return self.run(lambda tx: escrow_funding.decide(tx, self.engine.caller, escrow_id, decision))

    def release(self, escrow_id: int, units: int | None = None, to: str | None = None, **more: Any) -> Any:
        payout = None if to is None else escrow_ending.Payout(to, secrets.token_hex(8), **more)
        engine = self.engine
        return self.run(lambda tx: escrow_ending.release(tx, engine.caller, escrow_id, units, payout, engine.services))

    def refund(self, escrow_id: int, units: int | None = None) -> Any:
        return self.run(lambda tx: escrow_ending.refund(tx, self.engine.caller, escrow_id, units))

    def dispute(self, escrow_id: int, reason: str = "not as described") -> Any:
        return self.run(lambda tx: escrow_ending.dispute(tx, self.engine.caller, escrow_id, reason))

    def resolve(self, escrow_id: int, vendor_units: int, buyer_units: int | None = None) -> Any:
        return self.run(lambda tx: escrow_ending.resolve(tx, self.engine.caller, escrow_id, vendor_units, buyer_units))

    def cancel(self, escrow_id: int) -> Any:
        return self.run(lambda tx: escrow_ending.cancel(tx, self.engine.caller, escrow_id))

    def thaw(self, part_id: int) -> None:
        self.run(lambda tx: frozen_parts.thaw(tx, part_id, "operator:ada"))

    def take(self, part_id: int) -> int:
        return int(self.run(lambda tx: frozen_parts.take(tx, part_id, "operator:ada")))

    # What a test looks at

    def row(self, escrow_id: int) -> Row[Any]:
        return self.engine.row(escrow, escrow_id)

    def state(self, escrow_id: int) -> tuple[str, str | None]:
        row = self.row(escrow_id)
        return row.state, row.status_reason

    def parts(self, escrow_id: int) -> Parts:
        return parts_of(self.row(escrow_id))

    def money(self) -> tuple[int, int]:
        """What buyer and vendor can spend."""
        return self.engine.available(self.buyer), self.engine.available(self.vendor)

    def fees(self) -> int:
        return self.engine.house("service_fees")

    def words(self) -> list[str]:
        """The escrow events so far, without their prefix."""
        return [t.removeprefix("escrow.") for t in self.engine.event_types() if t.startswith("escrow.")]

    def history(self, row_id: int, kind: str = "escrow") -> list[tuple[str, int, str, int]]:
        """(event, account, place, units) of the ownership history of an escrow, or of another kind of subject."""
        return [
            (row.event, row.account_id, row.place, row.units)
            for row in self.engine.rows(ownership)
            if (row.subject_kind, row.subject_id) == (kind, row_id)
        ]

    def check(self) -> None:
        """The books and the histories are sound, and what escrows hold is what lies in their buyers' accounts."""
        self.engine.check_invariants()
        assert ownership_verify.verify(self.engine.database).faults == ()
        held: dict[tuple[int, str], int] = {}
        for row in self.engine.rows(escrow):
            held[row.buyer_id, row.asset] = held.get((row.buyer_id, row.asset), 0) + row.held_units
            assert min(row.held_units, row.received_units, row.undone_units) >= 0, row
        for (owner, code), units in held.items():
            lying = self.engine.database.read(lambda tx, o=owner, c=code: balances.get(tx, (o, "escrow"), c))
            assert lying == units
        a = ledger_account.c
        query = (
            select(func.count())
            .select_from(ledger_account)
            .join(balance_table, balance_table.c.ledger_account_id == a.id)
        )
        owners = {owner for owner, _ in held}
        strange = query.where(a.kind == "escrow", a.account_id.not_in(owners), balance_table.c.units != 0)
        assert self.engine.database.read(lambda tx: tx.value(strange)) == 0
