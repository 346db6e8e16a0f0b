"""Deposits: what arrived since a cursor, and what became of those we know.

The wallet knows what is ours and how much it is; the daemon knows where it is. That a deposit has gone is told by
nothing but asking for it again (NODES 3.4).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache

from ledger.errors import NodeNotReady, NodeProtocolError
from wallets.monero.client import MoneroClient
from wallets.monero.coins import SPENDABLE_DEPTH
from wallets.monero.daemon import Daemon, Whereabouts
from wallets.monero.incoming import Entry, Incoming, Place
from wallets.monero.sync import Sync
from wallets.protocol import DepositPage, DepositStatus, SeenDeposit, Tip

#: Reorganisations up to here are read again by every page; a deeper one still by `look_up`.
CURSOR_DEPTH = 100
#: Confirmations before a mined coin can be spent; others take `SPENDABLE_DEPTH`.
COINBASE_MATURITY = 60
#: The wallet lists more, or less, than it could spend.
MISMATCH = "balance_mismatch"
_ATTEMPTS = 5


class Deposits:
    """The incoming side of one wallet."""

    def __init__(self, client: MoneroClient) -> None:
        self._daemon = Daemon(client)
        self._sync = Sync(client, self._daemon)
        self._incoming = Incoming(client)

    def since(self, cursor: str | None) -> DepositPage:
        """All that others sent to addresses of ours in blocks after the cursor, and in the pool.

        One page, however long. The cursor, `height:hash`, names a block `CURSOR_DEPTH` below the tip; one that the node
        never had raises `NodeProtocolError`.
        """
        for _ in range(_ATTEMPTS):
            tip = self._sync.caught_up()
            listed, sent = self._incoming.after(self._start(cursor, tip))
            entries = self._expected(listed)
            odd, hash_at = self._incoming.odd(entries), cache(self._daemon.hash_at)
            found = tuple(_deposit(entry, hash_at, MISMATCH if entry.key in odd else "") for entry in entries)
            height = max(0, tip.height - CURSOR_DEPTH)
            page = DepositPage(found, f"{height}:{hash_at(height)}", tip, outgoing=tuple(sent))
            if self._daemon.tip() == tip:
                return page
        raise NodeNotReady("the chain moves faster than it can be read", reason="syncing")

    def resources_of(self, txid: str) -> tuple[str, ...]:
        return self._daemon.key_images(txid)

    def _start(self, cursor: str | None, tip: Tip) -> int | None:
        """The height above which to read; None: from the first block."""
        if cursor is None:
            return None
        height_text, _, block_hash = cursor.partition(":")
        if not (height_text.isascii() and height_text.isdecimal()):
            raise NodeProtocolError(f"{cursor!r} is no deposit cursor")
        height = int(height_text)
        if height > tip.height:
            raise NodeNotReady(f"the node's chain has not reached block {height} of the cursor", reason="syncing")
        if self._daemon.hash_at(height) == block_hash:
            return height
        if self._daemon.had(block_hash):
            return None  # a reorganisation deeper than the cursor
        raise NodeProtocolError(
            f"the node does not know block {cursor} of the deposit cursor: another chain, or one that was made anew. "
            "Nothing is scanned on it"
        )

    def _expected(self, entries: list[Entry]) -> list[Entry]:
        """Without what the wallet still lists in the pool and the daemon does not, or not without a rival there."""
        where = self._daemon.whereabouts(entry.txid for entry in entries if entry.height is None)
        return [entry for entry in entries if entry.height is not None or _is_coming(where.get(entry.txid))]

    def look_up(self, deposits: Sequence[SeenDeposit]) -> Mapping[str, SeenDeposit]:
        """Where each of these stands now by the daemon, and whether it is ours to spend by the wallet."""
        for _ in range(_ATTEMPTS):
            tip = self._sync.caught_up()
            where = self._daemon.whereabouts(deposit.txid for deposit in deposits)
            own = self._incoming.sent([place.height for place in where.values() if place.height is not None])
            entries = self._incoming.mined_at({_place_of(deposit.key) for deposit in deposits})
            listed = {entry.key: entry for entry in entries if entry.txid in where and entry.txid not in own}
            odd, hash_at = self._incoming.odd(listed.values()), cache(self._daemon.hash_at)
            present = {}
            for deposit in deposits:
                place = None if deposit.txid in own else where.get(deposit.txid)
                entry = None if deposit.key in odd else listed.get(deposit.key)
                present[deposit.key] = _present(deposit, place, entry, hash_at)
            if self._daemon.tip() == tip:
                return present
        raise NodeNotReady("the chain moves faster than it can be read", reason="syncing")


def _present(
    deposit: SeenDeposit, where: Whereabouts | None, entry: Entry | None, hash_at: Callable[[int], str]
) -> SeenDeposit:
    """`where` None: in neither pool nor chain, or a payment of our own. `entry` None: not, or not rightly, listed."""
    bare = replace(deposit, height=None, block_hash=None, reason="")
    if where is None:
        return replace(bare, status=DepositStatus.GONE, reason="orphaned" if deposit.coinbase else "vanished")
    if where.height is None:
        if where.contested:
            return replace(bare, status=DepositStatus.GONE, reason="replaced")
        return replace(bare, status=DepositStatus.POOL)
    if entry is None:
        # In the chain, and the wallet, which has read it, would not spend it: a wallet file that is older than its
        # addresses, or worse.
        block_hash = hash_at(where.height)
        return replace(
            bare, status=DepositStatus.CONFIRMED, height=where.height, block_hash=block_hash, suspect=MISMATCH
        )
    return _deposit(replace(entry, height=where.height), hash_at, "")


def _deposit(entry: Entry, hash_at: Callable[[int], str], suspect: str) -> SeenDeposit:
    return SeenDeposit(
        key=entry.key,
        txid=entry.txid,
        address=entry.address,
        units=entry.units,
        status=DepositStatus.POOL if entry.height is None else DepositStatus.CONFIRMED,
        height=entry.height,
        block_hash=None if entry.height is None else hash_at(entry.height),
        coinbase=entry.coinbase,
        spendable_depth=COINBASE_MATURITY if entry.coinbase else SPENDABLE_DEPTH,
        locked=entry.locked,
        suspect=suspect,
    )


def _is_coming(where: Whereabouts | None) -> bool:
    return where is not None and where.height is None and not where.contested


def _place_of(key: str) -> Place:
    """(major, minor) of a deposit key, `txid:major:minor`."""
    _, major, minor = key.split(":")
    return int(major), int(minor)
