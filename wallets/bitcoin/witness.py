"""A second Bitcoin node, asked about one block at a time. It needs no wallet and no index."""

from __future__ import annotations

from wallets.bitcoin.client import BitcoinClient
from wallets.bitcoin.reply import Record, text_of


class BitcoinWitness:
    """See `wallets.protocol.Witness`."""

    def __init__(self, client: BitcoinClient) -> None:
        self._client = client

    def depth(self, txid: str, height: int, block_hash: str) -> int:
        info = Record(self._client.read("getblockchaininfo"), "getblockchaininfo")
        tip = info.integer("blocks")
        if height > tip or text_of(self._client.read("getblockhash", height), "getblockhash") != block_hash:
            return 0
        block = Record(self._client.read("getblock", block_hash, 1), "getblock")
        return tip - height + 1 if txid in block.texts("tx") else 0
