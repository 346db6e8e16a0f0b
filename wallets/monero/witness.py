"""A second monerod, asked about one block at a time. It needs no wallet."""

from __future__ import annotations

from ledger.errors import NodeNotReady
from wallets.monero.client import MoneroClient
from wallets.monero.daemon import Daemon


class MoneroWitness:
    """See `wallets.protocol.Witness`. `client` has no wallet-rpc that is ever asked."""

    def __init__(self, client: MoneroClient) -> None:
        self._daemon = Daemon(client)

    def depth(self, txid: str, height: int, block_hash: str) -> int:
        tip = self._daemon.tip()
        try:
            if height > tip.height or self._daemon.hash_at(height) != block_hash:
                return 0
        except NodeNotReady:  # its chain has just become shorter
            return 0
        where = self._daemon.whereabouts([txid]).get(txid)
        return tip.height - height + 1 if where is not None and where.height == height else 0
