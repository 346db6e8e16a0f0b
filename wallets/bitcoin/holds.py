"""Coins that the node's own selection leaves alone.

A lock is kept on the node's disk only when asked for (NODES 0.7), is dropped by broadcasting a spender, and the call
is all or nothing: one outpoint that is spent or unknown refuses the whole list.
"""

from __future__ import annotations

from collections.abc import Collection

from wallets.bitcoin.client import BitcoinClient, RpcRefused
from wallets.bitcoin.psbt import outpoint_of, resource_of
from wallets.bitcoin.reply import records_of

_INVALID_PARAMETER = -8  # unknown transaction, no such output, spent, already locked, not locked


class Holds:
    """The locked coins of one wallet."""

    def __init__(self, client: BitcoinClient) -> None:
        self._client = client

    def hold(self, resources: Collection[str]) -> None:
        """Lock on disk. An outpoint that is spent or unknown cannot be chosen anyway and is passed over."""
        self._each(False, resources, persistent=True)

    def lock_in_memory(self, resources: Collection[str]) -> None:
        """Lock until the node stops at the latest."""
        self._each(False, resources, persistent=False)

    def free(self, resources: Collection[str]) -> None:
        """Unlock; what is not locked is passed over."""
        self._each(True, resources, persistent=False)

    def held(self) -> frozenset[str]:
        answer = self._client.read("listlockunspent")
        return frozenset(resource_of(entry) for entry in records_of(answer, "listlockunspent"))

    def _each(self, unlock: bool, resources: Collection[str], *, persistent: bool) -> None:
        if not resources or self._lockunspent(unlock, resources, persistent) or len(resources) == 1:
            return
        for resource in sorted(resources):
            self._lockunspent(unlock, [resource], persistent)

    def _lockunspent(self, unlock: bool, resources: Collection[str], persistent: bool) -> bool:
        try:
            self._client.change("lockunspent", unlock, [outpoint_of(r) for r in sorted(resources)], persistent)
        except RpcRefused as refusal:
            if refusal.rpc_code != _INVALID_PARAMETER:
                raise
            return False
        return True
