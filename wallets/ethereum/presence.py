"""What became of deposits that we know: still in a block, waiting again, or gone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from wallets.ethereum.blocks import Moved, settled
from wallets.ethereum.client import EthereumClient
from wallets.ethereum.incoming import UNKNOWN, inner_key, token_payments
from wallets.ethereum.internal import Internal
from wallets.ethereum.reply import Receipt, Record, receipt_of
from wallets.protocol import DepositStatus, SeenDeposit


class Presence:
    """Looks deposits up by their transactions' receipts."""

    def __init__(self, client: EthereumClient, internal: Internal) -> None:
        self._client = client
        self._internal = internal

    def look_up(self, deposits: Sequence[SeenDeposit]) -> Mapping[str, SeenDeposit]:
        """Where each of these stands now."""
        return settled(lambda: self._look_up(deposits))

    def _look_up(self, deposits: Sequence[SeenDeposit]) -> Mapping[str, SeenDeposit]:
        txids = list(dict.fromkeys(deposit.txid for deposit in deposits))
        answers = self._client.read_many([("eth_getTransactionReceipt", [txid]) for txid in txids])
        receipts = {
            txid: receipt_of(answer, "eth_getTransactionReceipt")
            for txid, answer in zip(txids, answers, strict=True)
            if answer is not None
        }
        self._check_present(receipts)
        waiting = self._waiting([txid for txid in txids if txid not in receipts])
        present = {}
        for deposit in deposits:
            receipt = receipts.get(deposit.txid)
            if receipt is None:
                status = DepositStatus.POOL if deposit.txid in waiting else DepositStatus.GONE
                present[deposit.key] = _elsewhere(deposit, status, "vanished")
                continue
            pays = self._still_pays(deposit, receipt)
            if pays is False:
                present[deposit.key] = _elsewhere(deposit, DepositStatus.GONE, "orphaned")
                continue
            present[deposit.key] = replace(
                deposit,
                status=DepositStatus.CONFIRMED,
                height=receipt.height,
                block_hash=receipt.block_hash,
                reason="",
                suspect=deposit.suspect if pays else UNKNOWN,
            )
        return present

    def _check_present(self, receipts: Mapping[str, Receipt]) -> None:
        """Receipts must be of the best chain's blocks."""
        places = {receipt.height: receipt.block_hash for receipt in receipts.values()}
        answers = self._client.read_many([("eth_getBlockByNumber", [hex(height), False]) for height in places])
        for expected, answer in zip(places.values(), answers, strict=True):
            if answer is None or Record(answer, "eth_getBlockByNumber").hash("hash") != expected:
                raise Moved

    def _waiting(self, txids: Sequence[str]) -> set[str]:
        """Those that the pool has (again)."""
        answers = self._client.read_many([("eth_getTransactionByHash", [txid]) for txid in txids])
        known = [
            (txid, Record(answer, "eth_getTransactionByHash"))
            for txid, answer in zip(txids, answers, strict=True)
            if answer is not None
        ]
        if any(record.has("blockHash") for _, record in known):
            raise Moved  # mined between the questions
        return {txid for txid, _ in known}

    def _still_pays(self, deposit: SeenDeposit, receipt: Receipt) -> bool | None:
        """In another block a transaction may do something else than it did before; None where the node cannot say.

        What is gone stays gone without a trace, which a node has for some blocks only: should it pay again, the page
        lists it, since every block is read."""
        if not receipt.succeeded:
            return False
        kind = deposit.key.split(":")[1]
        if kind == "tx" or receipt.block_hash == deposit.block_hash:
            return True
        if kind == "log":
            return any(found.key == deposit.key for found in token_payments(receipt, {str(deposit.token).lower()}))
        if deposit.status is DepositStatus.GONE:
            return False
        inner = self._internal.of_transaction(deposit.txid)
        return None if inner is None else any(inner_key(each) == deposit.key for each in inner)


def _elsewhere(deposit: SeenDeposit, status: DepositStatus, reason: str) -> SeenDeposit:
    gone = status is DepositStatus.GONE
    return replace(deposit, status=status, height=None, block_hash=None, reason=reason if gone else "")
