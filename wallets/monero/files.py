"""The two files of a wallet: the keys, and the cache of what the wallet has read and promised.

wallet-rpc writes each anew beside the old one and renames it (wallet2::store_to), so that a copy is never half of one.
"""

from __future__ import annotations

import filecmp
from pathlib import Path

from ledger.errors import NodeNotReady
from wallets.files import copy_private
from wallets.monero.client import MoneroClient
from wallets.monero.daemon import Daemon
from wallets.monero.sync import Sync

KEYS, CACHE = "wallet.keys", "wallet"


class MoneroFiles:
    """See `wallets.files.WalletFiles`. `folder` is wallet-rpc's `--wallet-dir`."""

    def __init__(self, client: MoneroClient, folder: Path) -> None:
        self._client = client
        self._sync = Sync(client, Daemon(client))
        self._keys, self._cache = folder / f"{client.wallet}.keys", folder / client.wallet

    def save(self, folder: Path) -> None:
        self._sync.check_wallet()
        self._client.change("store")
        copy_private(self._keys, folder / KEYS)
        copy_private(self._cache, folder / CACHE)

    def put_back(self, folder: Path) -> bool:
        if self._keys.exists():
            return False
        self._keys.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not self._cache.exists():
            copy_private(folder / CACHE, self._cache)
        elif not filecmp.cmp(folder / CACHE, self._cache, shallow=False):  # the same is of a restore that was cut off
            raise NodeNotReady(f"{self._cache} lies there without its keys: move it away first", reason="no_wallet")
        copy_private(folder / KEYS, self._keys)  # last: with it there is a wallet
        return True
