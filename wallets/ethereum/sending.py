"""Signed bytes to the node, and where a transaction of ours stands.

No decision hangs on the text of a refusal: geth and anvil differ, and versions of each. After any refusal the
transaction is looked for by its hash, then by its nonce.
"""

from __future__ import annotations

from dataclasses import replace

from ledger.errors import NodeNotReady, NodeProtocolError, TransactionRefused
from wallets.ethereum.client import EthereumClient, RpcRefused
from wallets.ethereum.hd import checksummed
from wallets.ethereum.reply import Receipt, Record, block_of, hash_of, quantity_of, receipt_of
from wallets.ethereum.state import final_height
from wallets.ethereum.tokens import transfers
from wallets.ethereum.transaction import Draft, read_payload
from wallets.protocol import SignedTransaction, TxState, TxStatus
from wallets.reply import list_of

#: Times that the chain may move between two questions before we say that it moves too fast.
_ATTEMPTS = 5


class Sending:
    """Sends and finds again what one wallet has signed."""

    def __init__(self, client: EthereumClient) -> None:
        self._client = client

    def broadcast(self, tx: SignedTransaction) -> None:
        """Idempotent: the same bytes are the same transaction."""
        try:
            answer = self._client.change("eth_sendRawTransaction", tx.raw)
        except RpcRefused as refusal:
            known = self.look_up(tx).state
            if known in (TxState.POOL, TxState.CONFIRMED, TxState.FAILED, TxState.UNCLEAR):
                return
            raise TransactionRefused(f"{refusal.rpc_code} {refusal.message}") from None
        if hash_of(answer, "eth_sendRawTransaction") != tx.txid:
            raise NodeProtocolError("the node sent a transaction of another id than the one that was signed")

    def look_up(self, tx: SignedTransaction) -> TxStatus:
        draft = read_payload(tx.payload)
        for _ in range(_ATTEMPTS):
            status = self._look_once(tx.txid, draft)
            if status is not None:
                return status
        raise NodeNotReady("the chain moves faster than it can be read")

    def _look_once(self, txid: str, draft: Draft) -> TxStatus | None:
        """None when the chain moved between the questions."""
        receipt = self._receipt(txid)
        if receipt is not None:
            return self._mined(receipt, draft)
        if self._client.read("eth_getTransactionByHash", txid) is not None:
            # Mined since the question before, or a block that has just been left: the next round tells.
            record = Record(self._client.read("eth_getTransactionByHash", txid), "eth_getTransactionByHash")
            return None if record.has("blockHash") else TxStatus(TxState.POOL)
        used = self._client.read("eth_getTransactionCount", draft.sender, "latest")
        if quantity_of(used, "eth_getTransactionCount") <= draft.nonce:
            return TxStatus(TxState.UNKNOWN)
        if self._receipt(txid) is not None:  # asked again, now that the nonce is known to be used
            return None
        return self._conflict(txid, draft)

    def _receipt(self, txid: str) -> Receipt | None:
        answer = self._client.read("eth_getTransactionReceipt", txid)
        if answer is None:
            return None
        receipt = receipt_of(answer, "eth_getTransactionReceipt")
        if receipt.txid != txid:
            raise NodeProtocolError("the node gave the receipt of another transaction")
        return receipt

    def _mined(self, receipt: Receipt, draft: Draft) -> TxStatus | None:
        block, head = self._client.read_many(
            [("eth_getBlockByNumber", [hex(receipt.height), False]), ("eth_getBlockByNumber", ["latest", False])]
        )
        if block is None or block_of(block, "eth_getBlockByNumber").hash != receipt.block_hash:
            return None
        tip = block_of(head, "eth_getBlockByNumber").number
        final = final_height(self._client)
        return TxStatus(
            _outcome(receipt, draft),
            depth=max(1, tip - receipt.height + 1),
            height=receipt.height,
            block_hash=receipt.block_hash,
            fee_units=receipt.fee_units,
            contract=None if receipt.contract is None else checksummed(bytes.fromhex(receipt.contract[2:])),
            final=final is not None and receipt.height <= final,
        )

    def _conflict(self, txid: str, draft: Draft) -> TxStatus | None:
        """Another transaction has used the nonce: since when, and which."""
        head = block_of(self._client.read("eth_getBlockByNumber", "latest", False), "eth_getBlockByNumber").number
        height, known = self._used_since(draft, head)
        if height is None:
            return None
        status = TxStatus(TxState.CONFLICTED, depth=head - height + 1, final=self._used_for_good(draft))
        if not known:
            return status
        block = Record(self._client.read("eth_getBlockByNumber", hex(height), True), "eth_getBlockByNumber")
        rival = _rival(block, draft)
        if rival == txid:
            return None
        return replace(status, conflicting=() if rival is None else (rival,))

    def _used_since(self, draft: Draft, head: int) -> tuple[int | None, bool]:
        """The height at which the nonce was used, by halving; whether that is exact. A node keeps the state of about
        the last 128 blocks only: where it knows no further, the conflict is at least that deep. None: not used."""
        if not self._used_at(draft, head):
            return None, False
        high, step = head, 1  # used at `high`
        low = -1  # not used at `low`
        while high > 0:
            probe = max(0, head - step)
            used = self._used_at(draft, probe)
            if used is None:
                return high, False
            if not used:
                low = probe
                break
            high, step = probe, step * 2
            if probe == 0:
                return 0, True
        while high - low > 1:
            middle = (high + low) // 2
            used = self._used_at(draft, middle)
            if used is None:
                return high, False
            high, low = (middle, low) if used else (high, middle)
        return high, True

    def _used_for_good(self, draft: Draft) -> bool:
        """Whether the nonce was used up to the block that the chain calls final. That one is some 64 blocks old: most
        nodes still have its state where they do not have that of a block 100 deep. One that lacks it proves nothing."""
        return self._used_at(draft, "finalized") is True

    def _used_at(self, draft: Draft, height: int | str) -> bool | None:
        block = height if isinstance(height, str) else hex(height)
        try:
            count = self._client.read("eth_getTransactionCount", draft.sender, block)
        except RpcRefused:
            return None
        return quantity_of(count, "eth_getTransactionCount") > draft.nonce


def _outcome(receipt: Receipt, draft: Draft) -> TxState:
    """A token that takes a fee, or that says false and does nothing, leaves a successful receipt all the same: only
    its event of exactly this amount from us to the payee is a payment (FAULTS E14)."""
    if not receipt.succeeded:
        return TxState.FAILED
    if draft.plan.token is None:
        return TxState.CONFIRMED
    token = draft.plan.token.lower()
    seen = [moved for _, contract, *moved in transfers(receipt.logs) if contract == token]
    for move in draft.plan.moves:
        wanted = [move.sender.lower(), move.payee.lower(), move.units]
        if wanted not in seen:
            return TxState.UNCLEAR
        seen.remove(wanted)
    return TxState.CONFIRMED


def _rival(block: Record, draft: Draft) -> str | None:
    """The transaction in this block that used the nonce: as its sender, or by an authorization (EIP-7702)."""
    for item in list_of(block.get("transactions"), "eth_getBlockByNumber.transactions"):
        record = Record(item, "eth_getBlockByNumber.transactions")
        if record.address("from") == draft.sender.lower() and record.quantity("nonce") == draft.nonce:
            return record.hash("hash")
    for item in list_of(block.get("transactions"), "eth_getBlockByNumber.transactions"):
        record = Record(item, "eth_getBlockByNumber.transactions")
        if not record.has("authorizationList"):
            continue
        entries = [Record(entry, "authorizationList") for entry in record.items("authorizationList")]
        if any(entry.quantity("nonce") == draft.nonce for entry in entries):
            return record.hash("hash")
    return None
