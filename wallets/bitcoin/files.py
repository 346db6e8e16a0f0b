"""The node's wallet file, copied and put back by the node itself: nobody else may read one that is in use."""

from __future__ import annotations

from pathlib import Path

from ledger.errors import NodeNotReady
from wallets.bitcoin.client import BitcoinClient
from wallets.files import copy_private

NAME = "wallet.dat"


class BitcoinFiles:
    """See `wallets.files.WalletFiles`. `shared` is a folder that the node sees under the same name, where it does not
    see the backup's own; its user must be allowed `backupwallet` and `restorewallet`."""

    def __init__(self, client: BitcoinClient, wallet: str, shared: Path | None = None) -> None:
        self._client = client
        self._wallet = wallet
        self._shared = shared

    def save(self, folder: Path) -> None:
        """`backupwallet` copies in one piece while the node works (https://bitcoincore.org/en/doc/30.0.0/rpc/)."""
        self._client.read("getwalletinfo")  # loads it, where the node was restarted without
        written = ((self._shared or folder) / f"coffer-{self._wallet}.dat").resolve()
        written.unlink(missing_ok=True)
        try:
            self._client.change("backupwallet", str(written))
            copy_private(written, folder / NAME)
        finally:
            written.unlink(missing_ok=True)

    def put_back(self, folder: Path) -> bool:
        try:
            self._client.read("getwalletinfo")
            return False
        except NodeNotReady:
            pass
        source = folder / NAME
        if self._shared is not None:
            source = self._shared / f"coffer-{self._wallet}.dat"
            source.unlink(missing_ok=True)
            copy_private(folder / NAME, source)
        try:
            self._client.change("restorewallet", self._wallet, str(source.resolve()), True)
        finally:
            if self._shared is not None:
                source.unlink(missing_ok=True)
        return True
