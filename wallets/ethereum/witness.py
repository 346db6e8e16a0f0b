"""A second Ethereum node, asked about one block at a time."""

from __future__ import annotations

from ledger.errors import NodeProtocolError
from wallets.ethereum.client import EthereumClient
from wallets.reply import Record, text_of


class EthereumWitness:
    """See `wallets.protocol.Witness`."""

    def __init__(self, client: EthereumClient) -> None:
        self._client = client

    def depth(self, txid: str, height: int, block_hash: str) -> int:
        block = self._client.read("eth_getBlockByNumber", hex(height), False)
        if block is None:
            return 0
        found = Record(block, "eth_getBlockByNumber")
        if found.text("hash") != block_hash or txid not in found.texts("transactions"):
            return 0
        tip = text_of(self._client.read("eth_blockNumber"), "eth_blockNumber")
        try:
            return max(1, int(tip, 16) - height + 1)
        except ValueError:
            raise NodeProtocolError("eth_blockNumber is not a number") from None
