"""Deposits: what arrived since a cursor, and what became of those we know.

`listsinceblock` finds; only `gettransaction` tells that a deposit is gone: one that a reorganisation removed and a
double spend replaced is in no later answer of `listsinceblock` (NODES 0.3).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from ledger.errors import NodeProtocolError
from wallets.bitcoin.client import BitcoinClient, RpcRefused
from wallets.bitcoin.psbt import resource_of
from wallets.bitcoin.reply import Record, text_of
from wallets.protocol import DepositPage, DepositStatus, SeenDeposit, SeenSpend, Tip

#: Reorganisations up to here are read again by every page; a deeper one still by `look_up_deposits`.
CURSOR_DEPTH = 100
COINBASE_MATURITY = 100

_RECEIVED = {"receive", "generate", "immature", "orphan"}
_MINED = {"generate", "immature", "orphan"}
_NOT_FOUND = -5


class Deposits:
    """The incoming side of one wallet."""

    def __init__(self, client: BitcoinClient) -> None:
        self._client = client

    def since(self, cursor: str | None) -> DepositPage:
        """All outputs to addresses of ours in blocks after the cursor, in the pool, or removed since.

        One page, however long: the node has no bound to ask with (about 30 µs an entry). The cursor is the hash of a
        block `CURSOR_DEPTH` below the tip. An unknown cursor raises: the node follows another chain or lost its own.
        """
        reply = self._list_since(cursor)
        tip = self._tip(reply.text("lastblock"))
        found: dict[str, SeenDeposit] = {}
        sent: dict[str, SeenSpend] = {}
        for entry in (*reply.records("removed"), *reply.records("transactions")):
            if entry.text("category") == "send":
                height = entry.integer("blockheight") if entry.integer("confirmations") > 0 else None
                sent[entry.text("txid")] = SeenSpend(entry.text("txid"), height)
            if entry.text("category") in _RECEIVED:
                deposit = _from_entry(entry)
                found[deposit.key] = deposit
        unclear = [deposit for deposit in found.values() if deposit.status is not DepositStatus.CONFIRMED]
        found.update(self.look_up(unclear))
        next_cursor = self._client.read("getblockhash", max(0, tip.height - CURSOR_DEPTH))
        cursor = text_of(next_cursor, "getblockhash")
        return DepositPage(tuple(found.values()), cursor, tip, outgoing=tuple(sent.values()))

    def resources_of(self, txid: str) -> tuple[str, ...]:
        if transaction(self._client, txid) is None:
            return ()
        record = Record(self._client.read("gettransaction", txid, True, True), "gettransaction")
        return tuple(resource_of(entry) for entry in record.record("decoded").records("vin"))

    def bytes_of(self, txid: str) -> str | None:
        found = transaction(self._client, txid)
        return None if found is None else found.text("hex")

    def _list_since(self, cursor: str | None) -> Record:
        try:
            # blockhash, target_confirmations, include_watchonly, include_removed, include_change
            answer = self._client.read("listsinceblock", cursor or "", 1, False, True, False)
        except RpcRefused as refusal:
            if refusal.rpc_code == _NOT_FOUND:
                raise NodeProtocolError(
                    f"the node does not know block {cursor} of the deposit cursor: another chain, or a node that is "
                    "still catching up. Nothing is scanned until it does"
                ) from None
            raise
        return Record(answer, "listsinceblock")

    def _tip(self, block_hash: str) -> Tip:
        return Tip(
            Record(self._client.read("getblockheader", block_hash), "getblockheader").integer("height"), block_hash
        )

    def look_up(self, deposits: Sequence[SeenDeposit]) -> Mapping[str, SeenDeposit]:
        """Where each of these stands now; one or two calls for each transaction."""
        by_txid: dict[str, list[SeenDeposit]] = {}
        for deposit in deposits:
            by_txid.setdefault(deposit.txid, []).append(deposit)
        present = {}
        for txid, ours in by_txid.items():
            status = self._present(txid)
            for deposit in ours:
                reason = "orphaned" if status.reason and deposit.coinbase else status.reason
                present[deposit.key] = replace(
                    deposit, status=status.status, height=status.height, block_hash=status.block_hash, reason=reason
                )
        return present

    def _present(self, txid: str) -> SeenDeposit:
        """The state of a transaction, carried in a deposit of no key and no amount."""
        tx = transaction(self._client, txid)
        if tx is None:
            return _state(txid, DepositStatus.GONE, "vanished")
        if tx.integer("confirmations") == 0:
            if in_pool(self._client, txid):
                return _state(txid, DepositStatus.POOL)
            tx = transaction(self._client, txid)  # it may have been mined between the two questions
            if tx is None or tx.integer("confirmations") == 0:
                rivals = tx is not None and (tx.texts("mempoolconflicts") or tx.texts("walletconflicts"))
                return _state(txid, DepositStatus.GONE, "replaced" if rivals else "vanished")
        if tx.integer("confirmations") < 0:
            return _state(txid, DepositStatus.GONE, "conflicted")
        return replace(
            _state(txid, DepositStatus.CONFIRMED), height=tx.integer("blockheight"), block_hash=tx.text("blockhash")
        )


def transaction(client: BitcoinClient, txid: str) -> Record | None:
    """`gettransaction`; None for one that this wallet has never seen."""
    try:
        return Record(client.read("gettransaction", txid), "gettransaction")
    except RpcRefused as refusal:
        if refusal.rpc_code == _NOT_FOUND:
            return None
        raise


def in_pool(client: BitcoinClient, txid: str) -> bool:
    """A wallet also keeps transactions that the pool has dropped: only the pool itself knows."""
    try:
        client.read("getmempoolentry", txid)
    except RpcRefused as refusal:
        if refusal.rpc_code == _NOT_FOUND:
            return False
        raise
    return True


def _from_entry(entry: Record) -> SeenDeposit:
    """A deposit as `listsinceblock` shows it; its status is final only when it is in a block of the best chain."""
    txid, vout = entry.text("txid"), entry.integer("vout")
    units = entry.units("amount")
    if vout < 0 or units < 0:
        raise NodeProtocolError("listsinceblock: a received output has a negative number")
    confirmed = entry.integer("confirmations") > 0
    coinbase = entry.text("category") in _MINED
    return SeenDeposit(
        key=f"{txid}:{vout}",
        txid=txid,
        address=entry.text("address"),
        units=units,
        status=DepositStatus.CONFIRMED if confirmed else DepositStatus.POOL,
        height=entry.integer("blockheight") if confirmed else None,
        block_hash=entry.text("blockhash") if confirmed else None,
        coinbase=coinbase,
        spendable_depth=COINBASE_MATURITY if coinbase else 1,
    )


def _state(txid: str, status: DepositStatus, reason: str = "") -> SeenDeposit:
    return SeenDeposit("", txid, "", 0, status, reason=reason)
