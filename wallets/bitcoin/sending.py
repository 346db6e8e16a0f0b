"""Signed bytes to the node, and where a transaction of ours stands."""

from __future__ import annotations

from ledger.errors import NodeProtocolError, TransactionRefused
from wallets.bitcoin.client import BitcoinClient, RpcRefused
from wallets.bitcoin.deposits import in_pool, transaction
from wallets.bitcoin.psbt import resource_of
from wallets.bitcoin.reply import Record, btc_of, text_of
from wallets.bitcoin.spending import RATE_MAX
from wallets.protocol import SignedTransaction, TxState, TxStatus

_ALREADY_CONFIRMED = -27


class Sending:
    """Sends and finds again what one wallet has signed."""

    def __init__(self, client: BitcoinClient) -> None:
        self._client = client

    def broadcast(self, tx: SignedTransaction) -> None:
        """Idempotent: the same bytes are the same transaction. -25 stands both for `confirmed, and all its outputs
        spent` and for `its inputs are gone` (NODES 2.3), so that only a look at the chain tells them apart."""
        try:
            # maxfeerate in BTC per 1000 vB: the fee was checked when it was signed; this must not be what stops it.
            txid = text_of(
                self._client.change("sendrawtransaction", tx.raw, btc_of(2 * RATE_MAX)), "sendrawtransaction"
            )
        except RpcRefused as refusal:
            if refusal.rpc_code == _ALREADY_CONFIRMED:
                return
            if self.look_up(tx).state in (TxState.POOL, TxState.CONFIRMED):
                return
            raise TransactionRefused(f"{refusal.rpc_code} {refusal.message}") from None
        if txid != tx.txid:
            raise NodeProtocolError("the node sent a transaction of another id than the one that was signed")

    def look_up(self, tx: SignedTransaction) -> TxStatus:
        record = transaction(self._client, tx.txid)
        if record is None:
            return self._look_up_unseen(tx)
        if record.integer("confirmations") == 0:
            if in_pool(self._client, tx.txid):
                return TxStatus(TxState.POOL)
            record = transaction(self._client, tx.txid) or record  # it may have been mined between the questions
        confirmations = record.integer("confirmations")
        if confirmations > 0:
            return TxStatus(TxState.CONFIRMED, confirmations, record.integer("blockheight"), record.text("blockhash"))
        rivals = tuple(sorted({*record.texts("walletconflicts"), *record.texts("mempoolconflicts")}))
        state = TxState.CONFLICTED if confirmations < 0 else TxState.UNKNOWN
        return TxStatus(state, -confirmations, conflicting=rivals)

    def _look_up_unseen(self, tx: SignedTransaction) -> TxStatus:
        """The wallet knows of a conflict only for transactions that it has seen. One that was never sent can lose an
        input all the same: then the input's own history tells."""
        for resource in tx.resources:
            parent = transaction(self._client, resource.rpartition(":")[0])
            if parent is None:
                raise NodeProtocolError(f"the wallet does not know {resource}, which it once proposed to spend")
            if parent.integer("confirmations") < 0:
                return TxStatus(TxState.CONFLICTED, -parent.integer("confirmations"))
            if parent.integer("confirmations") > 0 and not self._unspent_in_chain(resource):
                return self._conflict(resource, parent)
        return TxStatus(TxState.UNKNOWN)

    def _unspent_in_chain(self, resource: str) -> bool:
        txid, _, vout = resource.rpartition(":")
        return self._client.read("gettxout", txid, int(vout), False) is not None

    def _conflict(self, resource: str, parent: Record) -> TxStatus:
        """Who spent it: some transaction of this wallet (they are our keys) since the block that made it."""
        before = Record(self._client.read("getblockheader", parent.text("blockhash")), "getblockheader")
        since = before.text("previousblockhash")
        listing = Record(self._client.read("listsinceblock", since, 1, False, False, False), "listsinceblock")
        sent = {entry.text("txid") for entry in listing.records("transactions") if entry.text("category") == "send"}
        for txid in sorted(sent):
            record = Record(self._client.read("gettransaction", txid, True, True), "gettransaction")
            inputs = record.record("decoded").records("vin")
            if record.integer("confirmations") > 0 and resource in {resource_of(entry) for entry in inputs}:
                return TxStatus(TxState.CONFLICTED, record.integer("confirmations"), conflicting=(txid,))
        if self._unspent_in_chain(resource):
            return TxStatus(TxState.UNKNOWN)  # a reorganisation came between the questions
        raise NodeProtocolError(f"{resource} is spent on chain by a transaction that the wallet does not list")
