"""Once a day: does each cold address hold what the books say? Where the chain lets anybody see it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from sqlalchemy import select

from jobs import alarms
from jobs.assets import on_chain
from jobs.payment import books as payment_books
from jobs.saga import SECOND
from jobs.services import Services
from jobs.sweep.rows import ENDED
from ledger import balances
from ledger.db import Tx
from ledger.errors import TokenUnreadable
from ledger.schema import address, deposit, payment

EVERY_US = 86_400 * SECOND
#: After a difference, so that its end is noticed sooner.
AGAIN_US = 3_600 * SECOND


@dataclass(frozen=True)
class Expected:
    """Between these many units, by the books: money on its way there or back may or may not have arrived."""

    code: str
    contract: str | None
    least: int
    most: int


@dataclass(frozen=True)
class Watched:
    """What was seen; `looked_at` is the moment from which the next look is counted."""

    looked_at: int
    seen: Sequence[tuple[Expected, int]] = ()

    def tell(self, tx: Tx) -> None:
        for wanted, units in self.seen:
            subject = f"cold:{wanted.code}"
            if wanted.least <= units <= wanted.most:
                alarms.clear(tx, subject)
                continue
            detail = f"{wanted.code}: the cold address holds {units} units, the books expect {wanted.least}"
            alarms.raise_(tx, "cold_mismatch", subject, detail)


def look(services: Services, chain: str, last: int, now: int) -> Watched:
    """Ask the node, when it is time. Nothing is told of what cannot be seen."""
    cold = services.cold_addresses.get(chain)
    if cold is None or now - last < EVERY_US:
        return Watched(last)
    wallet = services.wallet(chain)
    seen = []
    for wanted in services.database.read(lambda tx: _expected(tx, chain)):
        with suppress(TokenUnreadable):  # the brake tells of it
            units = wallet.watched_balance(cold, wanted.contract)
            if units is not None:
                seen.append((wanted, units))
    wrong = any(not wanted.least <= units <= wanted.most for wanted, units in seen)
    return Watched(now - EVERY_US + AGAIN_US if wrong else now, seen)


def _expected(tx: Tx, chain: str) -> list[Expected]:
    p, d = payment.c, deposit.c
    found = []
    for asset in on_chain(tx, chain):
        booked = -balances.of_house(tx, asset.code)["treasury_cold"]
        there = (p.chain == chain) & (p.asset == asset.code) & (p.purpose == "cold") & p.state.not_in(ENDED)
        rows = tx.all(select(p.id, p.units).where(there))
        leaving = sum(row.units for row in rows if payment_books.intent_stands(tx, row.id))
        back = (d.chain == chain) & (d.asset == asset.code) & (d.credited == 0) & (d.seen == "confirmed")
        query = select(d.units).join(address, address.c.id == d.address_id).where(back)
        refills = sum(row.units for row in tx.all(query.where(address.c.purpose_kind == "refill")))
        found.append(Expected(asset.code, asset.contract, booked - refills, booked + leaving))
    return found
