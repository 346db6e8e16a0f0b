"""Prepared bytes to the network, and where a transaction of ours stands.

The daemon decides: what it has in pool or chain, and which key images it has seen spent. The wallet's own word for a
payment (`failed` after 500 seconds, which it may yet recover from) is never asked (FAULTS D8).
"""

from __future__ import annotations

from collections.abc import Iterable

from ledger.errors import NodeNotReady, NodeProtocolError, TransactionRefused
from wallets.monero.blob import read_blob
from wallets.monero.client import MoneroClient, RpcRefused
from wallets.monero.daemon import Daemon
from wallets.monero.marks import Marks
from wallets.monero.prepared import Prepared
from wallets.monero.reply import Record
from wallets.monero.sync import Sync
from wallets.protocol import SignedTransaction, TxState, TxStatus

# What `is_key_image_spent` says of each.
_UNSPENT, _SPENT_IN_CHAIN, _SPENT_IN_POOL = 0, 1, 2
#: How many of the wallet's newest transactions are looked through for a rival.
_RIVALS_MAX = 20_000
#: Reasons that monerod gives as flags of its answer.
_FLAGS = (
    "double_spend fee_too_low invalid_input invalid_output low_mixin not_relayed overspend sanity_check_failed too_big"
    " too_few_outputs tx_extra_too_big"
).split()


class Sending:
    """Sends and finds again what one wallet has prepared."""

    def __init__(self, client: MoneroClient, marks: Marks) -> None:
        self._client = client
        self._daemon = Daemon(client)
        self._sync = Sync(client, self._daemon)
        self._marks = marks

    def broadcast(self, tx: SignedTransaction) -> None:
        """Idempotent. The wallet itself sends only what the daemon does not have yet and the same wallet file made:
        then it knows of its change at once. `relay_tx` of what is in the chain would count the change twice for good
        (NODES 0.4); anything but the plain case goes to the daemon, which spoils nothing."""
        prepared = Prepared.read(tx.payload)
        prepared.checked()
        if prepared.txid != tx.txid or prepared.blob != tx.raw:
            raise NodeProtocolError("the stored transaction is not the one that was prepared")
        known = self._daemon.find(tx.txid)
        if known is not None:
            self._check_tried(known)
            return
        if not self._may_relay(prepared) or not self._relay(prepared):
            self.push(tx)

    def _check_tried(self, known: Record) -> None:
        """Raises `TransactionRefused` for one that lies in the daemon's pool and is never tried again. To send it again
        changes nothing there; the same bytes may be as good as ever once the daemon has forgotten them."""
        txid = known.text("tx_hash")
        if known.boolean("in_pool") and self._daemon.given_up(txid):
            raise TransactionRefused(f"in monerod's pool, and given up by it: sent again after flush_txpool {txid}")

    def _may_relay(self, prepared: Prepared) -> bool:
        return self._marks.file() == prepared.wallet and not any(self._spent(prepared.key_images))

    def _relay(self, prepared: Prepared) -> bool:
        """Whether it was sent. The wallet may refuse what the daemon took, so that a refusal decides nothing."""
        try:
            reply = Record(self._client.change("relay_tx", hex=prepared.metadata), "relay_tx")
        except (RpcRefused, NodeNotReady):
            return False
        if reply.text("tx_hash") != prepared.txid:
            raise NodeProtocolError("the wallet sent a transaction of another id than the one that was prepared")
        self._client.change("store")  # or a restart forgets the payment, and its change until a block holds it
        return True

    def push(self, tx: SignedTransaction) -> None:
        """Straight to the daemon. Known already is success."""
        if read_blob(tx.raw).txid != tx.txid:
            raise NodeProtocolError("the stored bytes are not those of the transaction")
        reply = Record(self._client.push(tx.raw), "send_raw_transaction")
        status = reply.text("status")
        if status == "OK":
            return
        if status == "BUSY":
            raise NodeNotReady("monerod is catching up", reason="syncing")
        if self._daemon.find(tx.txid) is not None:
            return
        flags = [name for name in _FLAGS if reply.boolean(name, default=False)]
        unspent = not any(self._spent(tx.resources))
        invalid = "invalid_input" in flags and "double_spend" not in flags and unspent
        raise TransactionRefused(", ".join(flags) or status, invalid=invalid)

    def look_up(self, tx: SignedTransaction) -> TxStatus:
        record = self._daemon.find(tx.txid)
        if record is None:
            return self._look_up_unseen(tx)
        if record.boolean("in_pool"):
            lost = self._daemon.given_up(tx.txid)
            return TxStatus(TxState.UNKNOWN if lost else TxState.POOL)
        height = record.units("block_height")
        header = Record(self._client.daemon("get_block_header_by_height", height=height), "get_block_header_by_height")
        block = header.record("block_header")
        return TxStatus(TxState.CONFIRMED, block.units("depth") + 1, height, block.text("hash"))

    def _look_up_unseen(self, tx: SignedTransaction) -> TxStatus:
        spent = dict(zip(tx.resources, self._spent(tx.resources), strict=True))
        lost = {image for image, status in spent.items() if status == _SPENT_IN_CHAIN}
        if lost:
            return self._conflict(tx, lost)
        waiting = {image for image, status in spent.items() if status == _SPENT_IN_POOL}
        return TxStatus(TxState.UNKNOWN, conflicting=self._pool_spenders(waiting))

    def _conflict(self, tx: SignedTransaction, lost: set[str]) -> TxStatus:
        """Who spent it, and how deep. Only our keys can, so that the wallet knows of it once it has read the block."""
        self._sync.caught_up()
        found = self._daemon.spenders(lost, self._own_newest_first())
        if tx.txid in found or not any(self._spent(tx.resources)):
            return TxStatus(TxState.UNKNOWN)  # a block or a reorganisation came between the questions
        if not found:
            raise NodeProtocolError("an output is spent in the chain by a transaction that the wallet does not list")
        depth = self._daemon.tip().height + 1 - min(found.values())
        return TxStatus(TxState.CONFLICTED, max(depth, 1), conflicting=tuple(sorted(found)))

    def _own_newest_first(self) -> list[str]:
        """The wallet's own transactions in the chain: a rival is most often young, and reading ends with it."""
        params = {"out": True, "all_accounts": True}
        listing = Record(self._client.read("get_transfers", **params), "get_transfers").some_records("out")
        heights = {record.text("txid"): record.units("height") for record in listing}
        return sorted(heights, key=lambda txid: -heights[txid])[:_RIVALS_MAX]

    def _pool_spenders(self, key_images: set[str]) -> tuple[str, ...]:
        if not key_images:
            return ()
        pool = Record(self._client.daemon_path("get_transaction_pool"), "get_transaction_pool")
        entries = [e for e in pool.some_records("spent_key_images") if e.text("id_hash") in key_images]
        return tuple(sorted({txid for entry in entries for txid in entry.texts("txs_hashes")}))

    def _spent(self, key_images: Iterable[str]) -> list[int]:
        """Unspent 0, in the chain 1, in the pool 2; for each in order."""
        asked = list(key_images)
        reply = Record(self._client.daemon_path("is_key_image_spent", key_images=asked), "is_key_image_spent")
        statuses = reply.some_integers("spent_status")
        if len(statuses) != len(asked) or not set(statuses) <= {_UNSPENT, _SPENT_IN_CHAIN, _SPENT_IN_POOL}:
            raise NodeProtocolError("is_key_image_spent answers for other key images than asked")
        return statuses
