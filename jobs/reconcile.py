"""Reconciliation: what the books say we hold against what the chain says, with every difference named.

    chain total = treasury by the books
                + deposits that are on chain and credited to nobody yet
                + what payments have booked as in flight and not spent on chain yet
                + unexplained

`unexplained` other than zero, twice in a row, pauses withdrawals of that asset.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from sqlalchemy import Row, select

from jobs import alarms, payment_books
from jobs.payment_contents import stored
from jobs.services import Services, chain_row
from jobs.tasks import Ran
from ledger import balances, pauses
from ledger.db import Tx
from ledger.errors import NodeNotReady
from ledger.schema import asset, balance, deposit, ledger_account, payment
from wallets.protocol import ChainBalance, ChainWallet, DepositPage, DepositStatus, TxState

#: Looks before giving up because chain or books moved meanwhile.
TRIES_MAX = 8


@dataclass(frozen=True)
class Report:
    """One asset at one block, atomic units. Zero `unexplained_units` means that books and chain agree to the atom."""

    asset: str
    height: int
    chain_total_units: int
    treasury_units: int  #: what the books say is ours on chain
    uncredited_units: int  #: deposits seen, not in the books yet
    in_flight_units: int  #: left the books' treasury, not the chain yet (a fee ceiling, an unsent payment)
    owed_to_customers_units: int
    suspense_units: int
    dust_units: int
    service_fees_units: int
    network_fees_units: int
    unexplained_units: int


@dataclass(frozen=True)
class _Books:
    """What the database says at one moment."""

    asset: str
    house: Mapping[str, int]
    owed: int
    uncredited: Sequence[Row[Any]]
    underway: Sequence[tuple[Row[Any], Sequence[Row[Any]]]]  #: payments with a booked intent, and their candidates
    cursor: str | None


def reconcile(services: Services, chain: str) -> Report:
    """Compare books and chain at one moment. Raises `NodeNotReady` when they never stand still long enough."""
    wallet = services.wallet(chain)
    read = partial(services.database.read, partial(_read_books, chain=chain), consistent=True)
    for _ in range(TRIES_MAX):
        books = read()
        balance = wallet.balance()
        page = wallet.deposits_since(books.cursor)
        keys = [seen.key for seen in page.deposits]
        credited = services.database.read(partial(_credited, chain=chain, keys=keys))
        report = _report(books, wallet, balance, page, credited)
        if _same(books, read()) and balance.tip == page.tip and wallet.balance() == balance:
            return report
    raise NodeNotReady("books and chain kept moving while they were compared")


def _read_books(tx: Tx, chain: str) -> _Books:
    code = str(tx.value(select(asset.c.code).where(asset.c.chain == chain, asset.c.contract.is_(None))))
    d, p = deposit.c, payment.c
    live = select(payment).where(
        p.chain == chain, p.state.in_(("broadcast", "confirming", "bumping", "review", "releasing"))
    )
    return _Books(
        code,
        balances.of_house(tx, code),
        _owed(tx, code),
        tx.all(select(d.output_key, d.units).where(d.chain == chain, d.credited == 0, d.seen != "gone").order_by(d.id)),
        [
            (row, payment_books.candidates(tx, row.id))
            for row in tx.all(live.order_by(p.id))
            if payment_books.intent_stands(tx, row.id)
        ],
        chain_row(tx, chain).scan_cursor,
    )


def _same(one: _Books, other: _Books) -> bool:
    states = [[(row.id, row.state) for row, _ in books.underway] for books in (one, other)]
    return (one.house, one.owed, list(one.uncredited), states[0]) == (
        other.house,
        other.owed,
        list(other.uncredited),
        states[1],
    )


def _report(books: _Books, wallet: ChainWallet, balance: ChainBalance, page: DepositPage, credited: set[str]) -> Report:
    treasury = -books.house["treasury_hot"]
    uncredited = _uncredited(books, page, credited)
    in_flight = sum(
        row.units + row.fee_max_units - _spent(row, candidates, wallet) for row, candidates in books.underway
    )
    return Report(
        asset=books.asset,
        height=balance.tip.height,
        chain_total_units=balance.total_units,
        treasury_units=treasury,
        uncredited_units=uncredited,
        in_flight_units=in_flight,
        owed_to_customers_units=books.owed,
        suspense_units=books.house["suspense"],
        dust_units=books.house["dust"],
        service_fees_units=books.house["service_fees"],
        network_fees_units=-books.house["network_fees"],
        unexplained_units=balance.total_units - treasury - uncredited - in_flight,
    )


def _uncredited(books: _Books, page: DepositPage, credited: set[str]) -> int:
    """Coins on chain that the books do not have: by the node's word of this moment where it gave one."""
    units = {row.output_key: row.units for row in books.uncredited}
    for seen in page.deposits:
        if seen.status is DepositStatus.GONE:
            units.pop(seen.key, None)
        elif seen.key not in credited:
            units[seen.key] = seen.units
    return sum(units.values())


def _credited(tx: Tx, chain: str, keys: Sequence[str]) -> set[str]:
    d = deposit.c
    found: set[str] = set()
    for start in range(0, len(keys), 500):
        part = (d.chain == chain) & d.output_key.in_(keys[start : start + 500]) & (d.credited == 1)
        found |= {row.output_key for row in tx.all(select(d.output_key).where(part))}
    return found


def _spent(row: Row[Any], candidates: Sequence[Row[Any]], wallet: ChainWallet) -> int:
    """What the chain has already taken for a payment that the books still call in flight."""
    for found in candidates:
        if wallet.look_up(stored(found, row)).state in (TxState.POOL, TxState.CONFIRMED):
            return int(row.units + found.fee_units)
    return 0


def _owed(tx: Tx, code: str) -> int:
    a = ledger_account.c
    rows = tx.all(
        select(balance.c.units, a.kind).join(ledger_account, a.id == balance.c.ledger_account_id).where(a.asset == code)
    )
    return sum(row.units for row in rows if row.kind in ("available", "held", "escrow"))


def task(row: Row[Any], services: Services) -> Ran:
    """Task step for `reconcile:<chain>`: keep the report; raise and pause when a difference stays unexplained."""
    chain = row.name.partition(":")[2]
    report = reconcile(services, chain)
    last: Mapping[str, Any] = row.progress or {}
    stays = report.unexplained_units != 0 and last.get("unexplained_units") == str(report.unexplained_units)
    kept = {
        name: value if isinstance(value, (str, int)) and name == "height" else str(value)
        for name, value in asdict(report).items()
    }

    def judge(tx: Tx, _: Row[Any]) -> None:
        subject = f"reconcile:{report.asset}"
        if report.unexplained_units == 0:
            alarms.clear(tx, subject)
            return
        detail = f"{report.asset}: {report.unexplained_units} units on chain are unexplained at height {report.height}"
        alarms.raise_(tx, "reconciliation", subject, detail)
        if stays:
            pauses.stop(tx, report.asset, "withdrawals", detail[:255], "engine")

    return Ran(values={"progress": kept}, effect=judge)
