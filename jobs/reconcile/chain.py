"""Reconciliation: what the books say we hold against what the chain says, each asset apart, every difference named.

    chain total = treasury by the books
                + deposits that are on chain and credited to nobody yet
                + what payments have booked as in flight and not spent on chain yet
                + doubtful: what a person must decide, because the chain's stories about it differ
                + surplus that the balance sync follows until it is final
                + unexplained

`unexplained` other than zero is what the brake (`jobs.reconcile.brake`) looks at.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

from sqlalchemy import Row

from jobs.payment.contents import stored
from jobs.reconcile import books as reconcile_books
from jobs.reconcile.books import AssetBooks, Books, Underway
from jobs.services import Services
from ledger.db import Tx
from ledger.errors import NodeNotReady, TokenUnreadable
from wallets.protocol import (
    ChainBalance,
    ChainWallet,
    DepositPage,
    DepositStatus,
    SignedTransaction,
    TxState,
    TxStatus,
)

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
    doubtful_units: int  #: suspect deposits that brought less, payments in review that took less than they say
    surplus_units: int  #: came in without a deposit; booked to suspense once it is final
    locked_units: int  #: of the chain total, ours and not to be spent for some blocks
    unread_units: int  #: of both totals, dust on indices that was not asked for now
    owed_to_customers_units: int
    suspense_units: int
    dust_units: int
    service_fees_units: int
    network_fees_units: int
    unexplained_units: int


@dataclass(frozen=True)
class Sight:
    """Which candidate of a payment the chain has taken; `state` None: none, the money is all there (or `lost`)."""

    underway: Underway
    state: TxState | None
    fee_units: int
    lost: bool = False  #: it spends coins, and the node has it in neither pool nor chain (`jobs.reconcile.lost`)

    @property
    def payment(self) -> Row[Any]:
        return self.underway.payment


@dataclass(frozen=True)
class Look:
    """One asset, its books and its chain at one moment."""

    books: AssetBooks
    balance: ChainBalance
    sights: Sequence[Sight]
    moving: bool  #: the node tells of other deposits than the rows do: at which place cannot be told now
    hot_index: int | None
    report: Report


@dataclass(frozen=True)
class Survey:
    """All assets of a chain at one moment, the chain's own coin first."""

    looks: Sequence[Look]
    unread: Mapping[str, str]  #: assets whose contract tells no balance, and what it said instead

    def of(self, asset: str) -> Report:
        """Raises `TokenUnreadable`, and `LookupError` for an asset that its chain does not have."""
        if asset in self.unread:
            raise _unreadable(asset, self.unread[asset])
        found = next((look.report for look in self.looks if look.report.asset == asset), None)
        if found is None:
            raise LookupError(f"the chain has no {asset}")
        return found


def reconcile(services: Services, chain: str) -> list[Report]:
    """Compare books and chain at one moment: a report for each asset, the chain's own coin first.

    Raises `NodeNotReady` when they never stand still long enough, `TokenUnreadable` when one cannot be compared.
    """
    found = survey(services, chain)
    for code, why in found.unread.items():
        raise _unreadable(code, why)
    return [look.report for look in found.looks]


def _unreadable(asset: str, why: str) -> TokenUnreadable:
    return TokenUnreadable(f"{asset} cannot be compared: {why}")


def survey(
    services: Services, chain: str, more: Collection[int] = (), *, most: int = reconcile_books.INDICES_MAX
) -> Survey:
    """Look at every asset that tells its balance; `more` indices are looked at besides the `most` that hold most.
    Raises `NodeNotReady` when books and chain never stand still long enough."""
    wallet = services.wallet(chain)
    apart = services.address_book(chain).apart
    looked = frozenset(more)
    for _ in range(TRIES_MAX):
        unit = partial(reconcile_books.read, chain=chain, apart=apart, more=looked, most=most)
        read = partial(services.database.read, unit, consistent=True)
        books = read()
        held, unread = _balances(wallet, books)
        page = wallet.deposits_since(books.cursor)
        if page.more:
            raise NodeNotReady("the scan has not read the chain to its end yet")
        keys = [seen.key for seen in page.deposits]
        credited = services.database.read(partial(reconcile_books.credited, chain=chain, keys=keys))
        asking = partial(_not_asked, chain=chain, books=books, page=page, credited=credited)
        fresh = services.database.read(asking) if apart else frozenset()
        if fresh:
            looked |= fresh
            continue
        held_now = cache(wallet.held)
        sights = [_sight(each, wallet, held_now) for each in books.underway]
        told = [each for each in books.assets if each.code in held]
        found = [_look(each, held[each.code], sights, page, credited, books.hot_index) for each in told]
        if books.signature() == read().signature() and _stood_still(held, page) and _balances(wallet, books)[0] == held:
            return Survey(found, unread)
    raise NodeNotReady("books and chain kept moving while they were compared")


def of_asset(services: Services, asset: str, chain: str) -> Report:
    """The report of one asset. Raises `LookupError` for one that its chain does not have, and `TokenUnreadable`."""
    return survey(services, chain).of(asset)


def _not_asked(tx: Tx, chain: str, books: Books, page: DepositPage, credited: set[tuple[str, str]]) -> frozenset[int]:
    """Indices at which something has come in that no row tells of yet, and whose balance was not asked for: it would
    count as here and not be there."""
    asked = {each.contract: {books.hot_index, *each.indices} for each in books.assets}
    codes = {each.contract: each.code for each in books.assets}
    known = credited | {(each.code, key) for each in books.assets for key, _, at in each.uncredited if at is not None}
    coming = [
        seen
        for seen in page.deposits
        if seen.status is DepositStatus.CONFIRMED and seen.token in codes and (codes[seen.token], seen.key) not in known
    ]
    places = reconcile_books.places_of(tx, chain, {seen.address for seen in coming})
    return frozenset(
        places[seen.address]
        for seen in coming
        if seen.address in places and places[seen.address] not in asked[seen.token]
    )


def _balances(wallet: ChainWallet, books: Books) -> tuple[dict[str, ChainBalance], dict[str, str]]:
    """What each asset tells; and of those that tell nothing, what they said."""
    held, unread = {}, {}
    for each in books.assets:
        try:
            held[each.code] = wallet.balance(each.contract, each.indices)
        except TokenUnreadable as error:
            unread[each.code] = error.detail
    return held, unread


def _stood_still(held: Mapping[str, ChainBalance], page: DepositPage) -> bool:
    return all(balance.tip == page.tip for balance in held.values())


def _look(
    books: AssetBooks,
    balance: ChainBalance,
    sights: Sequence[Sight],
    page: DepositPage,
    credited: set[tuple[str, str]],
    hot_index: int | None,
) -> Look:
    recorded = {key: units for key, units, _ in books.uncredited}
    news = _news(books, page, credited)
    moving = news != recorded or bool(balance.pending_units and balance.at_index)
    report = _report(books, balance, sights, sum(news.values()))
    return Look(books, balance, sights, moving, hot_index, report)


def _report(books: AssetBooks, balance: ChainBalance, sights: Sequence[Sight], news: int) -> Report:
    treasury = -books.house["treasury_hot"]
    uncredited = news + balance.pending_units
    in_flight = sum(_left(sight, books.code) for sight in sights)
    total = balance.total_units + books.unread
    rest = total - treasury - uncredited - in_flight
    doubtful = max(-sum(books.suspect.values()), min(rest, _unclear(sights, books.code)))
    surplus = max(0, min(rest - doubtful, books.followed))
    return Report(
        asset=books.code,
        height=balance.tip.height,
        chain_total_units=total,
        treasury_units=treasury,
        uncredited_units=uncredited,
        in_flight_units=in_flight,
        doubtful_units=doubtful,
        surplus_units=surplus,
        locked_units=balance.locked_units,
        unread_units=books.unread,
        owed_to_customers_units=books.owed,
        suspense_units=books.house["suspense"],
        dust_units=books.house["dust"],
        service_fees_units=books.house["service_fees"],
        network_fees_units=-books.house["network_fees"],
        unexplained_units=rest - doubtful - surplus,
    )


def _news(books: AssetBooks, page: DepositPage, credited: set[tuple[str, str]]) -> dict[str, int]:
    """Money in blocks that the books do not have, by key: by the node's word of this moment where it gave one."""
    units = {key: units for key, units, _ in books.uncredited}
    for seen in page.deposits:
        if seen.token != books.contract:
            continue
        if seen.status is not DepositStatus.CONFIRMED:
            units.pop(seen.key, None)
        elif (books.code, seen.key) not in credited:
            units[seen.key] = seen.units
    return units


def _left(sight: Sight, code: str) -> int:
    """What a payment has booked as in flight of this asset, and the chain has not taken."""
    row, left = sight.payment, 0
    if row.fee_asset == code:
        left += row.fee_max_units - sight.fee_units
    if reconcile_books.leaves(row, code) and sight.state in (None, TxState.FAILED):
        left += row.units
    return int(left)


def _unclear(sights: Sequence[Sight], code: str) -> int:
    """Units of payments that are in the chain and did something else than they say: they may be here still."""
    return sum(
        sight.payment.units
        for sight in sights
        if sight.state is TxState.UNCLEAR and reconcile_books.leaves(sight.payment, code)
    )


def _sight(each: Underway, wallet: ChainWallet, held: Callable[[], Collection[str]]) -> Sight:
    lost = False
    for found in each.candidates:
        tx = stored(found, each.payment)
        status = wallet.look_up(tx)
        if _taken(each.payment, tx, status, held):
            fee = found.fee_units if status.fee_units is None else status.fee_units
            return Sight(each, status.state, fee)
        lost |= status.state is TxState.UNKNOWN and bool(each.payment.proposal["spends"])
    return Sight(each, None, 0, lost)


def _taken(row: Row[Any], tx: SignedTransaction, status: TxStatus, held: Callable[[], Collection[str]]) -> bool:
    """Whether balances lack it already. A chain that knows coins counts what its pool spends; one that knows balances
    (it names no coins in its proposals) counts blocks only."""
    if status.state is TxState.POOL:
        return bool(row.proposal["spends"]) and not _unheard(tx, held())
    return status.state in (TxState.CONFIRMED, TxState.FAILED, TxState.UNCLEAR)


def _unheard(tx: SignedTransaction, held: Collection[str]) -> bool:
    """Whether the wallet has not heard of what its node has in the pool: one that Monero's wallet did not send, or
    forgot in a kill before it had stored it. It counts the inputs as here until a block spends them; once a wallet
    knows of the spender, it holds them no more."""
    return any(resource in held for resource in tx.resources)
