"""What an escrow does to the books: each movement a transfer of its own, with its line in the ownership history.

Its money lies in the buyer's ledger account `escrow`, where `held_units` is this escrow's part. Every function here
runs in the transaction that also writes the escrow's row, which is locked.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Row, or_, select, update

from jobs import debts
from jobs.escrow import frozen_parts
from jobs.escrow import view as escrow_view
from jobs.escrow.terms import Parts, columns, parts_of
from jobs.views import View
from ledger import accounts, balances, history, ownership, postings
from ledger.accounts import HOUSE_ACCOUNT, Owner, house
from ledger.db import Tx
from ledger.errors import LedgerBroken
from ledger.postings import Leg
from ledger.schema import escrow, posting, transfer

#: The ledger account that deposits to an escrow's address and funds from a balance go to.
PLACE = "escrow"


class Draft:
    """One transaction's work on one escrow: posts as it goes, and keeps the amounts that its row must have afterwards.

    Its transfers are numbered by the row's `releases`, so that a repeat of the same work is refused. The ownership
    history is written by `finish`, last: whoever adds to a history has locked the balances before.
    """

    def __init__(self, tx: Tx, row: Row[Any]) -> None:
        self.tx = tx
        self.row = row
        self.parts: Parts = parts_of(row)
        self._number: int = row.releases
        self._lines: list[tuple[str, Owner, int, tuple[str, int], str | None]] = []

    def finish(self) -> dict[str, Any]:
        """Write the history; the column values that the row must get."""
        row = self.row
        subjects = [("escrow", row.id)] + ([] if row.order_id is None else [("order", row.order_id)])
        for event, owner, units, cause, reason in self._lines:
            for subject in subjects:
                ownership.record(self.tx, subject, event, owner, row.asset, units, cause, reason and reason[:64])
        self._lines = []
        return columns(self.parts) | {"releases": self._number}

    def fund(self, payer_id: int, units: int) -> None:
        """From the payer's available balance. Raises `InsufficientFunds`."""
        self._post("escrow_funding", [Leg((payer_id, "available"), self._aside, units)])
        self.parts = self.parts.came(units)
        self._owned("funded", [], None)

    def paid_in(self, deposit_id: int, units: int) -> None:
        """A deposit has just been credited to it. What it had passed on before that deposit was undone is made good
        first: that much goes to the buyer's balance, and from there to what the buyer owes for it."""
        self.parts = self.parts.came(units)
        self._owned("paid_in", [], None, ("deposit", deposit_id))
        again = min(self.parts.undone_units, units)
        if again:
            self._to_buyer("escrow_return", again, self.parts.repaid(again), "funding_returned", owed=0)

    def release(self, units: int, reason: str | None = None) -> int:
        """So much of the price to the vendor, spendable at once, and its fee to the house; what the vendor got."""
        self.parts, vendor_units, fee_units = self.parts.released(units)
        vendor, fees = (self.row.vendor_id, "available"), house("service_fees")
        self._post("escrow_release", [Leg(self._aside, vendor, vendor_units), Leg(self._aside, fees, fee_units)])
        self._owned("released", [(vendor, vendor_units), (fees, fee_units)], reason)
        return vendor_units

    def refund(self, units: int, reason: str | None = None) -> int:
        """So much of the price to the buyer, with the fee that it would have borne; what the buyer got."""
        after, back = self.parts.refunded(units)
        self._to_buyer("escrow_refund", back, after, reason)
        return back

    def return_surplus(self, reason: str) -> None:
        """What is more than needed, to the buyer."""
        units = self.parts.surplus
        if units:
            self._to_buyer("escrow_return", units, self.parts.given_back(units), reason)

    def return_all(self, reason: str) -> None:
        """All that came, to the buyer: the escrow ends without having been funded."""
        units = self.parts.held_units
        if units:
            self._to_buyer("escrow_return", units, self.parts.given_back(units), reason)

    def paid_out(self, withdrawal_id: int, units: int) -> None:
        """What the vendor got is on its way to an address."""
        self._record("paid_out", (self.row.vendor_id, "held"), units, ("withdrawal", withdrawal_id), None)

    def taken_back(self, deposit_id: int, units: int, *, in_escrow: bool) -> int:
        """A deposit that it was funded with has left the chain; how much of it was here. The caller posts.

        `in_escrow`: it was credited to the escrow the last time, and not to the buyer's balance."""
        self.parts, here = self.parts.taken_back(units) if in_escrow else (self.parts.undone(units), 0)
        self._owned("funding_reversed", [], None, ("deposit", deposit_id))
        return here

    @property
    def _aside(self) -> Owner:
        return self.row.buyer_id, PLACE

    def _to_buyer(self, kind: str, units: int, after: Parts, reason: str | None, *, owed: int | None = None) -> None:
        """`owed` of it goes back to the order account instead: by default what that owes and had paid in."""
        owed = self._owed_by_order(units) if owed is None else owed
        buyer, event = (self.row.buyer_id, "available"), kind.removeprefix("escrow_") + "ed"
        legs, got = [Leg(self._aside, buyer, units - owed)], [(buyer, units - owed)]
        if owed:
            order = (self.row.order_id, "available")
            legs, got = [Leg(self._aside, order, owed), *legs], [(order, owed), *got]
        self._post(kind, legs)
        self.parts = after
        frozen_parts.follow(self.tx, ("escrow", self.row.id), [(who[0], n) for who, n in got], left=after.held_units)
        self._owned(event, got, reason)

    def _owed_by_order(self, units: int) -> int:
        """A deposit to the order account may have left the chain after the escrow was funded from there: what the order
        owes for it is not the buyer's to spend."""
        order_id, code = self.row.order_id, self.row.asset
        owed = 0 if order_id is None else balances.get(self.tx, (order_id, "receivable"), code)
        if owed == 0:
            return 0
        order = accounts.find(self.tx, [(order_id, "available")], code)[order_id, "available"]
        p, ours = posting.c, (transfer.c.ref_kind == "escrow") & (transfer.c.ref_id == self.row.id)
        moved = select(p.debit_id, p.units).join(transfer, transfer.c.id == p.transfer_id)
        lines = self.tx.all(moved.where(ours, or_(p.debit_id == order, p.credit_id == order)))
        paid_in = sum(line.units if line.debit_id == order else -line.units for line in lines)
        return max(0, min(units, owed, int(paid_in)))

    def _post(self, kind: str, legs: list[Leg]) -> None:
        self._number += 1
        key = f"escrow:{self.row.id}:{self._number}"
        if postings.post(self.tx, key, kind, self.row.asset, legs, ("escrow", self.row.id)) is None:
            raise LedgerBroken(f"{key}: posted before")
        for leg in legs:
            if leg.credit[1] == "available" and leg.credit[0] != HOUSE_ACCOUNT:
                debts.collect(self.tx, leg.credit[0], self.row.asset, f"{key}:{leg.credit[0]}")

    def _owned(
        self, event: str, got: list[tuple[Owner, int]], reason: str | None, cause: tuple[str, int] | None = None
    ) -> None:
        """Who got how much, and then what the buyer has in escrow now."""
        for owner, units in got:
            if units:
                self._record(event, owner, units, cause, reason)
        self._record(event, self._aside, self.parts.held_units, cause, reason)

    def _record(self, event: str, owner: Owner, units: int, cause: tuple[str, int] | None, reason: str | None) -> None:
        self._lines.append((event, owner, units, cause or ("escrow", self.row.id), reason))


def write(tx: Tx, draft: Draft, **values: Any) -> None:
    """Write the amounts of a row whose state the saga runtime has just written in this transaction."""
    tx.execute(update(escrow).where(escrow.c.id == draft.row.id).values(draft.finish() | values))


def tell(tx: Tx, row: Row[Any], word: str) -> View:
    """Emit the event `escrow.<word>` with the escrow as it is now, which is returned."""
    shown = escrow_view.escrow(tx, row.id)
    history.emit(tx, row.project_id, f"escrow.{word}", shown["id"], shown)
    return shown
